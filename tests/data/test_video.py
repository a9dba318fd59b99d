"""Frames are exact: the oracle is every frame of a file decoded in sequence."""

import itertools
import os
import pickle
import struct
import subprocess
import sys
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from mvit.data import stream
from mvit.data.video import OWN, UnreadableVideo, Video, VideoFacts, probe, read, write

B_FRAMES = {"bf": "3", "b_strategy": "0"}
ENCODINGS = {
    "no reordering": {"options": {"bf": "0", "g": "12"}},
    "reordered, key frame every 12": {"options": {**B_FRAMES, "g": "12"}},
    "one key frame": {"options": {**B_FRAMES, "g": "250"}},
    "open groups": {"options": {**B_FRAMES, "g": "12", "x264-params": "open-gop=1:scenecut=0:b-pyramid=normal"}},
    "intra refresh": {"options": {"g": "12", "x264-params": "intra-refresh=1"}},
    "hevc, open groups": {
        "codec": "libx265",
        "options": {"x265-params": "keyint=12:open-gop=1:bframes=3:log-level=none:pools=none"},
    },
    "vp8 with hidden frames": {
        "codec": "libvpx",
        "name": "n.webm",
        "options": {
            "auto-alt-ref": "1",
            "lag-in-frames": "16",
            "g": "30",
            "deadline": "good",
            "cpu-used": "5",
            "b": "1M",
        },
    },
    "vp9 with hidden frames": {
        "codec": "libvpx-vp9",
        "name": "n.webm",
        "options": {"auto-alt-ref": "1", "lag-in-frames": "16", "g": "30", "cpu-used": "8", "b": "1M"},
    },
    "mpeg-4 part 2 in avi, reordered": {
        "codec": "mpeg4",
        "name": "n.avi",
        "options": {"bf": "2", "g": "12", "b": "2M"},
    },
    "mpeg-2 in a transport stream": {
        "codec": "mpeg2video",
        "name": "n.ts",
        "options": {"bf": "2", "g": "12", "b": "4M"},
    },
    "h264 in a transport stream": {"name": "n.ts", "options": {**B_FRAMES, "g": "12"}},
    "h264 in matroska": {"name": "n.mkv", "options": {**B_FRAMES, "g": "12"}},
    "motion jpeg in avi": {"codec": "mjpeg", "name": "n.avi", "pixels": "yuvj420p"},
}


def _in_sequence(path: Path) -> list[av.VideoFrame]:
    with av.open(str(path), metadata_errors="replace") as container:
        container.streams.video[0].thread_type = "NONE"
        return list(container.decode(video=0))


def _rgb(frame: av.VideoFrame) -> np.ndarray:
    return frame.to_ndarray(format="rgb24")


@pytest.mark.parametrize("encoding", ENCODINGS.values(), ids=ENCODINGS)
@pytest.mark.parametrize("packets", ["kept", "read again"])
def test_any_frame_of_any_encoding_is_exact(encoding, packets, numbered_video, numbers_in, monkeypatch):
    if packets == "read again":
        monkeypatch.setattr(stream, "_PACKET_MEMORY", 0)
    path = numbered_video(60, **encoding)
    assert probe(path).frames == len(_in_sequence(path)) == 60
    with Video(path) as opened:
        for wanted in ([0], [59], [13], [11, 12, 13], [59, 3, 3, 40, 0], [24, 36, 48], list(range(60))):
            assert numbers_in(opened.read(wanted)) == wanted
        assert numbers_in(opened.read()) == list(range(60))


@pytest.mark.parametrize("name", ["numbered.mp4", "numbered.mkv"])
def test_only_the_groups_of_wanted_frames_are_decoded(name, numbered_video, monkeypatch):
    path = numbered_video(96, name=name, options={"bf": "0", "g": "12", "sc_threshold": "0"})
    decoded = []
    run = stream.PictureStream._run
    monkeypatch.setattr(
        stream.PictureStream, "_run", lambda self, *needs: (decoded.append(f.pts) or f for f in run(self, *needs))
    )
    read(path, [14, 85])
    assert len(decoded) == 3 + 2  # 12, 13, 14 and 84, 85


@pytest.mark.parametrize("frames", [1, 2, 5])
def test_very_short_videos(frames, numbered_video, numbers_in):
    path = numbered_video(frames)
    assert probe(path) == VideoFacts(frames, 30.0, pytest.approx(frames / 30), 64, 32)
    assert numbers_in(read(path)) == list(range(frames))


def test_times_give_the_frame_shown_then(numbered_video, numbers_in):
    path = numbered_video(6, fps=10, shown=[0, 1, 2, 10, 11, 20])  # variable: frame 2 is shown for 0.8 s
    assert numbers_in(read(path, times=[0, 0.05, 0.1, 0.2, 0.5, 0.999, 1.0, 1.1, 1.999, 2.0])) == [
        *(0, 0, 1, 2, 2, 2, 3, 4, 4, 5)
    ]
    with Video(path) as opened:
        assert numbers_in(opened.read(times=opened.times)) == list(range(6))
        assert opened.fps == 2.5
    for wrong in ([-0.1], [9.0], [float("nan")], []):
        with pytest.raises(ValueError, match="times must be"):
            read(path, times=wrong)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [([5], "frames 0 to 4; asked for 5 to 5"), ([-1], "asked for -1"), ([0.5], "whole number"), ([], "at least one")],
)
def test_frames_that_do_not_exist_are_refused(wrong, message, numbered_video):
    path = numbered_video(5)
    with pytest.raises(ValueError, match=message) as caught:
        read(path, wrong)
    assert not isinstance(caught.value, UnreadableVideo)
    with pytest.raises(ValueError, match="not both"):
        read(path, [0], times=[0])


@pytest.mark.parametrize("turn", [90, 180, 270])
def test_rotated_videos_come_upright(turn, numbered_video):
    stored = _in_sequence(path := numbered_video(3, turn=turn))
    facts = probe(path)
    assert (facts.width, facts.height) == ((32, 64) if turn != 180 else (64, 32))
    assert np.array_equal(read(path, [2])[0], np.rot90(_rgb(stored[2]), turn // 90))
    assert read(path, short_side=16).shape[1:3] == ((32, 16) if turn != 180 else (16, 32))


def _jpeg(picture: np.ndarray, orientation: int) -> bytes:
    codec = av.CodecContext.create("mjpeg", "w")
    codec.height, codec.width = picture.shape[:2]
    codec.pix_fmt, codec.time_base = "yuvj420p", Fraction(1, 25)
    frame = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format="yuvj420p")
    frame.pts = 0
    data = b"".join(bytes(packet) for packet in [*codec.encode(frame), *codec.encode(None)])
    exif = b"Exif\0\0II*\0" + struct.pack("<IHHHIHHI", 8, 1, 0x112, 3, 1, orientation, 0, 0)
    return data[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + data[2:]


def test_photographs_are_one_upright_frame_whatever_their_orientation(tmp_path):
    scene = np.zeros((32, 48, 3), np.uint8)
    scene[:16, :24], scene[:16, 24:], scene[16:, :24] = (255, 0, 0), (0, 255, 0), (0, 0, 255)
    stored = {  # what a camera stores for each orientation of EXIF, so that it shows as the scene
        1: scene,
        2: scene[:, ::-1],
        3: scene[::-1, ::-1],
        4: scene[::-1],
        5: scene.swapaxes(0, 1),
        6: np.rot90(scene),
        7: np.rot90(scene.swapaxes(0, 1), 2),
        8: np.rot90(scene, -1),
    }
    for orientation, picture in stored.items():
        path = tmp_path / f"photo%d_{orientation}.jpg"  # a pattern, which must not be expanded
        path.write_bytes(_jpeg(np.ascontiguousarray(picture), orientation))
        assert (probe(path).frames, probe(path).width, probe(path).height) == (1, 48, 32)
        assert np.abs(read(path)[0].astype(int) - scene).mean() < 5, orientation


def test_scaling_keeps_the_aspect_and_does_not_alias(tmp_path):
    lines = np.zeros((64, 160, 3), np.uint8)
    lines[:, ::2] = 255  # the finest detail there is; anything but grey is aliasing
    path = tmp_path / "lines.png"
    codec = av.CodecContext.create("png", "w")
    codec.height, codec.width, codec.pix_fmt, codec.time_base = 64, 160, "rgb24", Fraction(1, 25)
    frame = av.VideoFrame.from_ndarray(lines, format="rgb24")
    path.write_bytes(b"".join(bytes(packet) for packet in [*codec.encode(frame), *codec.encode(None)]))
    assert np.array_equal(read(path)[0], lines)
    small = read(path, short_side=16)
    assert small.shape == (1, 16, 40, 3)
    assert np.abs(small[:, :, 2:-2].astype(int) - 127).max() < 8
    assert read(path, short_side=81).shape == (1, 81, 202, 3)
    for wrong in (0, -5, 2.5, "16"):
        with pytest.raises(ValueError, match="short_side must be a whole number of at least 1 pixel"):
            read(path, short_side=wrong)


def test_what_is_no_video_says_so_in_one_line(tmp_path, numbered_video):
    whole = numbered_video(30).read_bytes()
    broken = {
        "empty.mp4": (b"", "the file is empty"),
        "text.mp4": (b"not a video at all\n" * 50, "no video or image"),
        "cut.mp4": (whole[: len(whole) // 2], "no video or image"),
        "list.mp4": (b"ffconcat version 1.0\nfile numbered.mp4\n", "format is not among those allowed"),
        "list.m3u8": (b"#EXTM3U\n#EXTINF:1,\nnumbered.mp4\n#EXT-X-ENDLIST\n", "no video or image"),
    }
    for name, (content, reason) in broken.items():
        (tmp_path / name).write_bytes(content)
        for action in (probe, read):
            with pytest.raises(UnreadableVideo, match=reason) as caught:
                action(tmp_path / name)
            assert str(caught.value).startswith(f"{tmp_path / name} cannot be read: ")
            assert "\n" not in str(caught.value)
    with pytest.raises(UnreadableVideo, match="it is a folder without numbered"):
        probe(tmp_path)
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe.mp4")
        with pytest.raises(UnreadableVideo, match="it is no regular file"):
            probe(tmp_path / "pipe.mp4")
    with pytest.raises(FileNotFoundError, match=r"there is no file .*absent\.mp4"):
        probe(tmp_path / "absent.mp4")


def test_codecs_and_sizes_that_are_not_allowed(numbered_video):
    with pytest.raises(UnreadableVideo, match=r"codec|opened"):
        probe(numbered_video(3, name="n.avi", codec="huffyuv", pixels="yuv422p"))
    path = numbered_video(3)
    for field, value, reason in (
        ("answer_bytes", 10_000, r"3 frames of 64x32 .* 10,000 bytes allowed; ask for fewer, or for a smaller"),
        ("answer_frames", 2, "more than the 2 frames allowed at once; ask for some"),
        ("frames", 2, "more than the 2 frames allowed"),
        ("pixels", 2000, r"more than 2,000 pixels|opened"),
        ("file_bytes", 100, "more than the 100 allowed"),
        ("seconds", 0, "longer than the 0 s allowed"),
        ("codecs", ("vp9",), r"codec \(h264\) is not among those allowed: vp9$"),
        ("formats", ("matroska", "png_pipe"), "its format is not among those allowed: matroska, png$"),
    ):
        with pytest.raises(UnreadableVideo, match=reason):
            read(path, limits=replace(OWN, **{field: value}))
    with pytest.raises(UnreadableVideo, match="3 frames of 64x32 at once are more than the 2 frames allowed"):
        read(path, [0, 1, 1], limits=replace(OWN, answer_frames=2))


def test_an_animated_webp_is_said_to_be_one(numbered_video):
    with pytest.raises(UnreadableVideo, match="animated WebP, which is not decoded: make an MP4 of it"):
        read(numbered_video(3, name="n.webp", codec="libwebp_anim"))


def test_a_cut_stream_is_as_long_as_what_can_be_decoded(numbered_video):
    path = numbered_video(60, name="n.ts", options={**B_FRAMES, "g": "12"})
    path.write_bytes(path.read_bytes()[188 * 40 :])  # starts in the middle of a group
    expected = _in_sequence(path)
    with Video(path) as opened:
        assert opened.frames == len(expected) < 60
        for number in (len(expected) - 1, 0, 20):
            assert np.array_equal(opened.read([number])[0], _rgb(expected[number]))


def test_damage_is_met_only_by_those_who_ask_for_the_damaged_frames(shared):
    path = shared / "data/odd_videos/files/corrupted.mp4"
    assert len(read(path, [0, 5])) == 2
    with pytest.raises(UnreadableVideo, match="damaged"):
        read(path, [0, 45])


def test_unreadable_survives_the_way_between_processes():
    error = pickle.loads(pickle.dumps(UnreadableVideo("a/b.mp4", "the file is empty")))  # noqa: S301
    assert (error.path, error.reason) == (Path("a/b.mp4"), "the file is empty")
    assert str(error) == f"{Path('a/b.mp4')} cannot be read: the file is empty"


def test_files_are_closed(numbered_video, tmp_path):
    path = numbered_video(3)
    (tmp_path / "text.mp4").write_text("no video")
    for _, name in itertools.product(range(3), (path, tmp_path / "text.mp4")):
        try:
            read(name)
        except UnreadableVideo:
            continue
    if Path("/proc/self/fd").is_dir():
        held = [
            os.readlink(f"/proc/self/fd/{number}")
            for number in os.listdir("/proc/self/fd")
            if number.isdigit() and os.path.exists(f"/proc/self/fd/{number}")
        ]
        assert not [name for name in held if str(tmp_path) in name]


def test_written_videos_are_read_back(tmp_path):
    rng = np.random.default_rng(0)
    frames = np.kron(rng.integers(0, 256, (10, 3, 4, 3), np.uint8), np.ones((1, 16, 16, 1), np.uint8))
    write(tmp_path / "w.mp4", frames, fps=12.5)
    assert probe(tmp_path / "w.mp4") == VideoFacts(10, 12.5, 0.8, 64, 48)
    assert np.abs(read(tmp_path / "w.mp4").astype(int) - frames).mean() < 12  # colour at half resolution
    for wrong in (frames[:, :47], frames[..., 0], frames.astype(np.float32), frames[:0]):
        with pytest.raises(ValueError, match=r"even height|must be uint8"):
            write(tmp_path / "x.mp4", wrong)


def test_no_torch_is_needed(numbered_video):
    path = numbered_video(20)
    program = """
import sys

class NoTorch:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "torchvision"):
            raise ImportError(f"{name} is hidden")

sys.meta_path.insert(0, NoTorch())
import mvit
from mvit.data.sampling import ClipSampling
from mvit.data.views import Preprocessing, read_views

assert mvit.data.video.read(sys.argv[1], [19, 0]).shape == (2, 32, 64, 3)
preprocessing = Preprocessing(sampling=ClipSampling(frames=4), short_side=32, crop=32)
print(read_views(sys.argv[1], preprocessing, clips=2, crops=3).shape)
"""
    done = subprocess.run([sys.executable, "-c", program, str(path)], capture_output=True, text=True, timeout=60)
    assert (done.stdout.strip(), done.stderr) == ("(6, 3, 4, 32, 32)", "")


UNREADABLE = {"full_blocks.mkv", "sample_audio_only.mp4", "sample_malformed_free_box.mp4", "truncated_60pct.mp4"}
UNREADABLE |= {"invalid-bitstream.webm"}
DAMAGED = {"corrupted.mp4": 28, "sample_with_invalid_nalu.mp4": 26}  # good frames
LARGE = {
    "hdr10-av1.mp4",
    "sample_vvc.mp4",
    "h265_with_metadata_track.mp4",
    "mmaction2_S001C001P001R001A001_rgb.avi",
    "edit_list_positive_shift.mp4",
}


def test_real_odd_files_are_exact(shared):
    """Every file that decodes in sequence without damage gives the same frames by number, in any order."""
    rng = np.random.default_rng(0)
    files = sorted((shared / "data/odd_videos/files").iterdir())
    assert {path.name for path in files} >= UNREADABLE | set(DAMAGED) | LARGE
    for path in files:
        if path.name in UNREADABLE:
            with pytest.raises(UnreadableVideo):
                probe(path)
        elif path.name not in set(DAMAGED) | LARGE:
            expected = _in_sequence(path)
            with Video(path) as opened:
                wanted = rng.integers(0, opened.frames, 4)
                frames = opened.read(wanted)
                assert opened.facts.frames == len(expected), path.name
                transposed, mirror_x, mirror_y = opened._turn
            for number, frame in zip(wanted, frames, strict=True):
                stored = _rgb(expected[number])
                upright = (stored.swapaxes(0, 1) if transposed else stored)[
                    :: -1 if mirror_y else 1, :: -1 if mirror_x else 1
                ]
                assert np.array_equal(upright, frame), (path.name, number)
