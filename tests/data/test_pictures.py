"""A folder of numbered pictures is a video like any other."""

import random
from dataclasses import replace
from fractions import Fraction

import av
import numpy as np
import pytest

from mvit.data.video import OWN, STRANGERS, UnreadableVideo, Video, VideoFacts, probe, read


def _save(path, number, codec="mjpeg", height=32):
    picture = np.full((height, 64, 3), 10, np.uint8)
    picture[:, : 4 * (number + 1)] = 240
    encoder = av.CodecContext.create(codec, "w")
    encoder.height, encoder.width = height, 64
    encoder.pix_fmt, encoder.time_base = {"mjpeg": "yuvj444p", "png": "rgb24"}[codec], Fraction(1, 25)
    frame = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format=encoder.pix_fmt)
    path.write_bytes(b"".join(bytes(packet) for packet in [*encoder.encode(frame), *encoder.encode(None)]))


def _shown(frames):
    return [round((frame[:, :, 0] > 127).mean() * 16) - 1 for frame in frames]


@pytest.fixture
def folder(tmp_path):
    """Pictures img_1 to img_12 show 0 to 11; written in no order, among other files."""
    names = [(f"img_{number + 1}.jpg", number) for number in range(12)]
    random.Random(0).shuffle(names)
    for name, number in names:
        _save(tmp_path / name, number)
    (tmp_path / "notes.txt").write_text("no picture")
    (tmp_path / ".hidden.jpg").write_text("no picture")
    return tmp_path


def test_pictures_are_frames_in_the_order_of_their_numbers(folder):
    assert probe(folder) == VideoFacts(12, 30.0, 0.4, 64, 32)
    with Video(folder, fps=10, limits=STRANGERS) as opened:
        assert _shown(opened.read()) == list(range(12))
        assert _shown(opened.read([11, 0, 9, 9])) == [11, 0, 9, 9]
        assert _shown(opened.read(times=[0, 0.1, 1.1, 0.95])) == [0, 1, 11, 9]
        assert opened.fps == 10
        assert opened.read([1], short_side=16).shape == (1, 16, 32, 3)
        assert opened.good_frames == 12


def test_names_of_several_kinds(tmp_path):
    for number, name in enumerate(["00001.png", "00002.PNG", "00010.jpeg"]):
        _save(tmp_path / name, number, "mjpeg" if name.endswith("jpeg") else "png")
    assert _shown(read(tmp_path)) == [0, 1, 2]
    (tmp_path / "part2_1.jpg").write_bytes((tmp_path / "00010.jpeg").read_bytes())
    with pytest.raises(UnreadableVideo, match="differ by more than a number"):
        read(tmp_path)


def test_what_cannot_be_a_video_says_why(folder, tmp_path_factory):
    empty = tmp_path_factory.mktemp("empty")
    with pytest.raises(UnreadableVideo, match="a folder without numbered pictures"):
        read(empty)
    _save(empty / "cat.jpg", 0)
    with pytest.raises(UnreadableVideo, match=r"cat\.jpg has no number"):
        read(empty)
    for limits, reason in (
        ({"frames": 11}, "more than 11 pictures"),
        ({"answer_frames": 11}, "more than 11 pictures"),
        ({"pixels": 1000}, "picture img_1.jpg: "),
        ({"codecs": ("png",)}, "picture img_1.jpg: it is neither JPEG nor PNG"),
        ({"seconds": -1}, "longer than"),
    ):
        with pytest.raises(UnreadableVideo, match=reason):
            read(folder, limits=replace(OWN, **limits))
    with pytest.raises(ValueError, match="fps must be"):
        read(folder, fps=0)
    with pytest.raises(ValueError, match="fps is for folders"):
        read(folder / "img_1.jpg", fps=10)


@pytest.mark.parametrize("what", ["another size", "text", "half", "empty", "device", "dangling"])
def test_a_bad_picture_is_named_and_those_before_it_are_good(what, folder):
    bad = folder / "img_9.jpg"
    data = bad.read_bytes()
    bad.unlink()
    if what == "another size":
        _save(bad, 8, height=48)
    elif what == "device":
        bad.symlink_to("/dev/zero")
    elif what == "dangling":
        bad.symlink_to("nowhere.jpg")
    else:
        bad.write_bytes({"text": b"no picture", "half": data[: len(data) // 2], "empty": b""}[what])
    assert _shown(read(folder, [7, 9])) == [7, 9]
    with Video(folder) as opened:
        with pytest.raises(UnreadableVideo, match=r"picture img_9\.jpg: "):
            opened.read()
        assert opened.good_frames == opened.frames == 8
        assert _shown(opened.read()) == list(range(8))
