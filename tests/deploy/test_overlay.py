"""Words in pictures, and the file they are written to."""

import errno
import resource

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


def test_a_disk_that_fills_up_at_the_end_leaves_no_half_of_a_file(tmp_path):
    """The index of an MP4 is written as it is closed."""
    out = tmp_path / "out.mp4"
    noise = np.random.default_rng(0).integers(0, 255, (3, 240, 320, 3), dtype=np.uint8)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8192, hard))
    try:
        with pytest.raises(OSError, match=r"out\.mp4") as full:
            drawn(out, noise)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert full.value.errno == errno.EFBIG
    assert not list(tmp_path.iterdir())


def drawn(out, pictures, fps=25, **how) -> Overlay:
    with Overlay(out, fps, **how) as overlay:
        for number, picture in enumerate(pictures):
            overlay.add(number / fps, picture, "words")
    return overlay


def interrupted(out, keep):
    with Overlay(out, 25, keep) as overlay:
        for number in range(3):
            overlay.add(number / 25, np.zeros((240, 320, 3), np.uint8), "a")
        raise KeyboardInterrupt


def test_what_is_kept_ends_where_it_was_interrupted(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        interrupted(tmp_path / "gone.mp4", (ValueError,))
    with pytest.raises(KeyboardInterrupt):
        interrupted(tmp_path / "kept.mp4", (KeyboardInterrupt,))
    assert [path.name for path in tmp_path.iterdir()] == ["kept.mp4"]
    assert video.probe(tmp_path / "kept.mp4").frames == 3


def test_small_pictures_are_enlarged_and_none_give_no_file(tmp_path):
    assert drawn(tmp_path / "small.mp4", np.full((2, 48, 61, 3), 128, np.uint8)).written
    facts = video.probe(tmp_path / "small.mp4")
    assert (facts.frames, facts.width, facts.height) == (2, 304, 240)
    assert not drawn(tmp_path / "none.mp4", []).written
    assert not (tmp_path / "none.mp4").exists()


def test_pictures_may_be_hours_apart(tmp_path):
    assert drawn(tmp_path / "slow.mp4", np.full((3, 240, 320, 3), 128, np.uint8), fps=1 / 3600).written
    assert video.probe(tmp_path / "slow.mp4").duration_seconds == pytest.approx(3 * 3600)
