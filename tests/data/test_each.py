"""Frames one at a time are those of `read`, for videos of any length."""

import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from mvit.data import video
from mvit.data.limits import OWN
from mvit.data.stream import Miscounted, PictureStream
from mvit.data.video import UnreadableVideo, Video


@pytest.mark.parametrize("name", ["a.mp4", "a.avi", "a.mkv"])
@pytest.mark.parametrize("chosen", [None, [3, 4, 40, 90, 99]])
def test_each_gives_what_read_gives(name, chosen, numbered_video):
    codec = "mpeg4" if name == "a.avi" else "libx264"
    path = numbered_video(100, name=name, codec=codec, options={"g": "10", "bf": "2"})
    with Video(path) as opened:
        pictures = list(opened.each(chosen, short_side=16))
        np.testing.assert_array_equal(np.stack(pictures), video.read(path, chosen, short_side=16))


def test_frames_of_a_turned_video_and_of_a_folder_come_as_they_are_read(numbered_video, tmp_path):
    path = numbered_video(20, name="turned.mp4", turn=90)
    with Video(path) as turned:
        pictures = np.stack(list(turned.each()))
    assert pictures.shape == (20, 64, 32, 3)
    np.testing.assert_array_equal(pictures, video.read(path))
    pictures = video.read(numbered_video(12))
    (tmp_path / "frames").mkdir()
    for n, picture in enumerate(pictures):
        Image.fromarray(picture).save(tmp_path / "frames" / f"{n}.png")
    with Video(tmp_path / "frames") as folder:
        np.testing.assert_array_equal(np.stack(list(folder.each([2, 5, 11]))), pictures[[2, 5, 11]])


def test_a_video_that_is_too_long_for_one_answer_comes_in_pieces(numbered_video):
    path, limits = numbered_video(200), replace(OWN, answer_frames=50, answer_bytes=2**20)
    with Video(path, limits=limits) as opened:
        with pytest.raises(UnreadableVideo, match="more than the 50 frames allowed"):
            opened.read()
        with pytest.raises(UnreadableVideo, match="more than the 1,048,576 bytes allowed"):
            next(opened.each(short_side=2000))
        tracemalloc.start()
        try:
            assert sum(1 for _ in opened.each(short_side=128)) == 200
            assert tracemalloc.get_traced_memory()[1] < 20 * 128 * 256 * 3
        finally:
            tracemalloc.stop()


def test_numbers_that_do_not_rise_and_frames_that_are_not_there_are_refused(numbered_video):
    with Video(numbered_video(10)) as opened:
        for numbers in ([3, 3], [4, 2]):
            with pytest.raises(ValueError, match="by rising numbers, each once"):
                next(opened.each(numbers))
        with pytest.raises(ValueError, match="has frames 0 to 9; asked for 3 to 10"):
            next(opened.each([3, 10]))


def test_frames_before_damage_are_given_and_then_it_is_told(numbered_video, numbers_in):
    path = numbered_video(100, options={"g": "10"})
    data = bytearray(path.read_bytes())
    middle = data.index(b"mdat") + (len(data) - data.index(b"mdat")) // 2
    data[middle : middle + 400] = bytes(400)
    path.write_bytes(data)
    came = []
    with Video(path) as opened, pytest.raises(UnreadableVideo, match="damaged"):
        came.extend(opened.each())
    assert 20 < len(came) < 90
    assert numbers_in(np.stack(came)) == list(range(len(came)))


def test_a_file_whose_time_stamps_mislead_goes_on_by_order_and_misses_what_is_not_there(
    numbered_video, numbers_in, monkeypatch
):
    real = PictureStream.pictures

    def misled(self, wanted):
        for rank, frame in real(self, wanted):
            if not self.in_order and wanted[rank] == 30:
                raise Miscounted
            yield rank, frame

    monkeypatch.setattr(PictureStream, "pictures", misled)
    with Video(numbered_video(50)) as opened:
        assert numbers_in(np.stack(list(opened.each()))) == list(range(50))
        assert not opened.indexed
    count = PictureStream.count_by_decoding
    monkeypatch.setattr(
        PictureStream, "count_by_decoding", lambda self: (count(self), setattr(self, "_pts", self._pts[:40]))
    )
    came = []
    with Video(numbered_video(50)) as opened, pytest.raises(UnreadableVideo, match="only 40 of its 50 frames"):
        came.extend(opened.each())
    assert numbers_in(np.stack(came)) == list(range(40))
