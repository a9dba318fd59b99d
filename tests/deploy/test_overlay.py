"""Words in pictures, and the file they are written to."""

import numpy as np
import pytest

from mvit.data import video
from mvit.data.video import Video
from mvit.deploy.overlay import Overlay, captioned, draw


def test_words_stand_on_a_strip_over_the_lower_edge():
    picture = np.full((241, 321, 3), 128, np.uint8)
    page = captioned(picture, "wave 81%")
    assert page.shape == (240, 320, 3)
    assert (page[:210] == 128).all()
    assert page[-20:].max() > 240 > 60 > page[-20:].min()
    assert (captioned(picture, "") == 128).all()
    long = captioned(picture, "wave " * 100)
    assert long[-20:, :8].max() > 240  # from its beginning, and cut short


TIMES = np.array([0, 1, 2, 10, 11, 30, 31, 32, 33, 50]) / 30


@pytest.fixture
def film(tmp_path):
    """Grey, with uneven times."""
    path = tmp_path / "film.mp4"
    with Overlay(path, 30) as written:
        for seconds in TIMES:
            written.add(float(seconds), np.full((48, 64, 3), 128, np.uint8), "")
    with Video(path) as opened:
        yield opened


def test_a_video_is_drawn_with_every_time_and_what_is_said_of_each_moment(film, tmp_path):
    out = tmp_path / "out.mp4"
    assert film.times == pytest.approx(TIMES, abs=1e-4)
    draw(film, out, lambda seconds: "words" if seconds >= 1 else "")
    with Video(out) as drawn:
        assert drawn.times == pytest.approx(TIMES, abs=1e-4)
        assert (drawn.facts.width, drawn.facts.height) == (320, 240)
        strips = drawn.read()[:, -20:].reshape(10, -1)
    assert (strips.min(axis=1) < 60).tolist() == (TIMES >= 1).tolist()
    draw(film, out, lambda _: "", until=1.0)
    assert video.probe(out).frames == 5


def fails_half_way(out):
    with Overlay(out, 25) as overlay:
        overlay.add(0, np.zeros((240, 320, 3), np.uint8), "a")
        raise RuntimeError("half way")


def test_a_file_that_fails_half_way_is_not_left(tmp_path):
    with pytest.raises(RuntimeError, match="half way"):
        fails_half_way(tmp_path / "out.mp4")
    assert not list(tmp_path.iterdir())
