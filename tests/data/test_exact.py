"""Any pattern of requests gives the frames of a sequential decode, bit for bit; what is damaged gives what is good."""

import json
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mvit.data.video import UnreadableVideo, Video, read

FILES = "data/odd_videos"
LARGE = {"edit_list_positive_shift.mp4", "hdr10-av1.mp4", "mmaction2_S001C001P001R001A001_rgb.avi"}
PATTERNS = st.lists(st.integers(0, 10_000), min_size=1, max_size=12)


def _manifest(shared: Path) -> list[dict]:
    return json.loads((shared / FILES / "manifest.json").read_text())


def _in_sequence(path: Path) -> list[np.ndarray]:
    with av.open(str(path), metadata_errors="replace") as container:
        container.streams.video[0].thread_type = "NONE"
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def _compare(opened: Video, expected: list[np.ndarray]) -> None:
    assert opened.frames == len(expected)
    opened.read([0])
    transposed, mirror_x, mirror_y = opened._turn

    @settings(max_examples=12)
    @given(PATTERNS, st.booleans(), st.integers(1, 5))
    def check(pattern, by_time, stride):
        wanted = np.array(pattern) % opened.frames
        if by_time:
            wanted = np.minimum(wanted[0] + np.arange(len(wanted)) * stride, opened.frames - 1)
        frames = opened.read(times=opened.times[wanted]) if by_time else opened.read(wanted)
        for number, frame in zip(wanted, frames, strict=True):
            stored = expected[number].swapaxes(0, 1) if transposed else expected[number]
            assert np.array_equal(stored[:: -1 if mirror_y else 1, :: -1 if mirror_x else 1], frame), number

    check()


def _good_and_small(entry: dict) -> bool:
    pixels = entry.get("decoded_frames", 0) and entry["decoded_frames"] * entry["width"] * entry["height"]
    return bool(pixels) and not entry["decode_error"] and pixels < 4e6


def test_good_odd_files_are_exact_with_any_pattern(shared):
    entries = [entry for entry in _manifest(shared) if _good_and_small(entry)]
    assert len(entries) > 15
    for entry in entries:
        path = shared / FILES / entry["file"]
        with Video(path) as opened:
            _compare(opened, _in_sequence(path))


@pytest.mark.slow
def test_all_good_odd_files_are_exact_with_any_pattern(shared):
    for entry in _manifest(shared):
        path = shared / FILES / entry["file"]
        if entry.get("decoded_frames") and not entry["decode_error"] and path.name not in LARGE:
            with Video(path) as opened:
                _compare(opened, _in_sequence(path))


def test_every_odd_file_has_the_frames_of_its_manifest_or_a_reason(shared):
    for entry in _manifest(shared):
        path = shared / FILES / entry["file"]
        if entry.get("decoded_frames") and not entry["decode_error"]:
            with Video(path) as opened:
                last = opened.read([opened.frames - 1], short_side=32)
                assert (opened.frames, len(last)) == (entry["decoded_frames"], 1), path.name
        elif path.name != "hopper.gif":  # a comment that is not UTF-8; the manifest's reader stumbled over it
            with pytest.raises(UnreadableVideo, match="cannot be read: "):
                read(path, short_side=32)


@pytest.mark.parametrize(("name", "good"), [("corrupted.mp4", 28), ("sample_with_invalid_nalu.mp4", 26)])
def test_frames_before_damage_are_had_by_asking_for_them(name, good, shared):
    path = shared / FILES / "files" / name
    with Video(path) as opened:
        assert opened.frames > good
        with pytest.raises(UnreadableVideo, match="damaged"):
            opened.read()
        assert opened.good_frames == opened.frames == good
        frames = opened.read()
        assert np.array_equal(opened.read([good - 1, 3]), frames[[good - 1, 3]])
    with av.open(str(path)) as container:
        first = next(container.decode(video=0)).to_ndarray(format="rgb24")
    assert np.array_equal(frames[0], first)


def test_a_whole_file_has_only_good_frames(numbered_video):
    with Video(numbered_video(20)) as opened:
        assert opened.good_frames == opened.frames == 20


ENCODINGS = {
    "frames that none refers to": {"options": {"bf": "3", "b_strategy": "0", "g": "24"}},
    "a pyramid of them": {"options": {"g": "40", "x264-params": "bframes=5:b-adapt=0:b-pyramid=strict"}},
    "interlaced": {"options": {"g": "20", "x264-params": "interlaced=1:bframes=2:b-adapt=0"}, "name": "n.ts"},
    "ten bits": {"options": {"bf": "3", "b_strategy": "0"}, "pixels": "yuv420p10le"},
    "of any length": {"shown": np.cumsum(np.arange(48) % 7 + 1).tolist(), "options": {"bf": "2"}, "name": "n.mkv"},
    "before zero": {"shown": list(range(-20, 28)), "options": {"bf": "2"}, "name": "n.mkv"},
    "after a million years": {"shown": [2**45 + number for number in range(48)], "name": "n.mkv"},
    "temporal layers": {
        "codec": "libx265",
        "options": {"x265-params": "keyint=20:bframes=4:temporal-layers=2:log-level=none:pools=none"},
    },
    "no times": {"name": "n.h264", "options": {"bf": "2", "g": "12"}},
}


@pytest.mark.parametrize("encoding", ENCODINGS.values(), ids=ENCODINGS)
def test_odd_encodings_are_exact_with_any_pattern(encoding, numbered_video):
    path = numbered_video(48, **encoding)
    with Video(path) as opened:
        _compare(opened, _in_sequence(path))


def test_streams_joined_in_the_middle_of_a_group(numbered_video):
    path = numbered_video(48, name="n.ts", options={"bf": "2", "g": "12"})
    data = path.read_bytes()
    third = len(data) // 188 // 3 * 188
    for joined in (data[: 2 * third] + data[third:], data + data, data[1000:-777]):
        path.write_bytes(joined)
        with Video(path) as opened:
            _compare(opened, _in_sequence(path))


@pytest.mark.parametrize("codec", ["libx264", "libx265"])
@pytest.mark.parametrize("box", ["stss", "ctts", "elst"])
def test_tables_that_a_writer_forgot(box, codec, numbered_video):
    """Without them any frame is called a key frame, is shown when it is decoded, or its time starts before zero."""
    path = numbered_video(48, codec=codec, options={"bf": "3", "g": "12", "x265-params": "log-level=none:bframes=3"})
    data = path.read_bytes()
    place = data.rindex(box.encode())
    path.write_bytes(data[:place] + b"free" + data[place + 4 :])
    with Video(path) as opened:
        _compare(opened, _in_sequence(path))


def test_an_unmarked_cover_is_not_the_video(tmp_path, numbered_video):
    path = tmp_path / "cover.mkv"
    with av.open(str(numbered_video(12))) as source, av.open(str(path), "w") as container:
        cover = container.add_stream("mjpeg", rate=30)
        cover.width, cover.height, cover.pix_fmt = 64, 32, "yuvj420p"
        stream = container.add_stream_from_template(source.streams.video[0])
        picture = av.VideoFrame(64, 32, "yuvj420p")
        picture.pts = 0
        container.mux([*cover.encode(picture), *cover.encode(None)])
        for packet in source.demux(video=0):
            if packet.size:
                packet.stream = stream
                container.mux(packet)
    with Video(path) as opened:
        assert opened.frames == 12
