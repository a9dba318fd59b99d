"""No file makes the reader wait, read another file, or take much memory: each is refused with a reason."""

import json
import subprocess
import sys
from dataclasses import replace

import av
import numpy as np
import pytest

from hostile import attacks
from mvit.data.stills import encoded
from mvit.data.video import OWN, STRANGERS, UnreadableVideo, Video, read
from pictures import save_in_tiles

# In a process of its own: each file read whole, and the most memory that the process took so far.
PROGRAM = """
import json, resource, sys
from mvit.data.video import OWN, STRANGERS, UnreadableVideo, read

def peak():
    try:
        status = open("/proc/self/status").read().splitlines()
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM"))

for path in sys.argv[1:]:
    for limits in (OWN, STRANGERS):
        try:
            reason = f"read {read(path, limits=limits).shape}"
        except UnreadableVideo as error:
            reason = str(error)
        print(json.dumps([path, reason, peak()]))
"""


def test_hostile_files_are_refused_with_little_memory(tmp_path):
    paths = list(map(str, attacks(tmp_path)))
    done = subprocess.run([sys.executable, "-c", PROGRAM, *paths], capture_output=True, text=True, timeout=100)
    assert (done.returncode, done.stderr) == (0, "")
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(answers) == 2 * len(paths)
    for path, reason, peak in answers:
        assert reason.startswith(f"{path} cannot be read: "), reason
        assert peak < 300e6, path


def test_links_to_regular_files_are_followed(numbered_video, numbers_in, tmp_path):
    (tmp_path / "first.mp4").symlink_to(numbered_video(5))
    (tmp_path / "second.mp4").symlink_to("first.mp4")
    assert numbers_in(read(tmp_path / "second.mp4", limits=STRANGERS)) == list(range(5))
    (tmp_path / "dangling.mp4").symlink_to("nowhere.mp4")
    with pytest.raises(UnreadableVideo, match=r"a link to nowhere\.mp4, which is not there"):
        read(tmp_path / "dangling.mp4")


@pytest.mark.parametrize(("name", "reason"), [("a" * 300, "too long"), ("a\0b", "null"), ("clip.mp4/x", "directory")])
def test_names_that_cannot_be(name, reason, numbered_video):
    path = numbered_video(1, name="clip.mp4")
    with pytest.raises(UnreadableVideo, match=reason):
        read(path.parent / name)


ONES_OWN = {  # readable where it is the user's own
    "flv1.flv": ("flv", "yuv420p"),
    "ffv1.mkv": ("ffv1", "yuv420p"),
    "qtrle.mov": ("qtrle", "rgb24"),
    "mpeg1.mpg": ("mpeg1video", "yuv420p"),
    "moving.gif": ("gif", "rgb8"),
    "prores.mov": ("prores_ks", "yuv422p10le"),
    "raw.avi": ("rawvideo", "rgb24"),
    "raw.h264": ("libx264", "yuv420p"),
}


@pytest.mark.parametrize("name", ONES_OWN)
def test_what_is_outside_the_short_list_is_read_only_as_ones_own(name, numbered_video, numbers_in):
    codec, pixels = ONES_OWN[name]
    path = numbered_video(9, name=name, codec=codec, pixels=pixels)
    assert numbers_in(read(path, [8, 0, 4])) == [8, 0, 4]
    with pytest.raises(UnreadableVideo, match="not among those allowed"):
        read(path, limits=STRANGERS)


@pytest.mark.parametrize("limits", [OWN, STRANGERS], ids=["own", "strangers"])
def test_a_tile_is_not_taken_for_the_picture(limits, tmp_path):
    tiles = [encoded(np.full((64, 64, 3), level, np.uint8), "mjpeg", "yuvj444p") for level in (0, 255)]
    save_in_tiles(tmp_path / "phone.heic", tiles, 64)
    with av.open(str(tmp_path / "phone.heic")) as container:
        assert [stream.codec_context.name for stream in container.streams.video] == ["mjpeg", "mjpeg"]
    with pytest.raises(UnreadableVideo, match="it is a picture in tiles, as HEIC files of phones are: make a JPEG"):
        read(tmp_path / "phone.heic", limits=limits)


def test_the_short_list_is_a_part_of_the_longer():
    assert set(STRANGERS.formats) < set(OWN.formats)
    assert set(STRANGERS.codecs) < set(OWN.codecs)
    for field in ("pixels", "frames", "file_bytes", "answer_frames", "answer_bytes", "seconds"):
        assert getattr(STRANGERS, field) < getattr(OWN, field)
    forbidden = {"concat", "ffconcat", "hls", "dash", "image2", "webm_dash_manifest", "sdp", "rtsp", "lavfi", "tty"}
    assert not forbidden & set(OWN.formats)


def test_work_ends_when_its_time_is_over(numbered_video, monkeypatch):
    path = numbered_video(60)
    with Video(path, limits=replace(OWN, seconds=5)) as opened:
        now = opened._stream._deadline
        monkeypatch.setattr("mvit.data.stream.monotonic", lambda: now)  # the clock starts anew with every call
        opened.read([3])
        times = iter([now, *[now + 6] * 1000])
        monkeypatch.setattr("mvit.data.stream.monotonic", lambda: next(times))
        with pytest.raises(UnreadableVideo, match="longer than the 5 s allowed"):
            opened.read([59])
