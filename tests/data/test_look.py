"""One look at one file: what it holds, what its header promises, and a thumbnail that survives another size."""

from pathlib import Path

import numpy as np
import pytest

from mvit.data import video
from mvit.data.look import THUMBNAIL_BYTES, look, shortfall, thumbnail
from mvit.data.video import Video


@pytest.mark.parametrize(
    ("frames", "came", "seconds", "lasted", "said"),
    [
        (100, 100, None, 4.0, ""),
        (100, 95, None, 4.0, ""),
        (100, 94, None, 4.0, "its header promises 100 frames, 94 came"),
        (20, 18, None, 1.0, ""),
        (20, 17, None, 1.0, "its header promises 20 frames, 17 came"),
        (4, 30, None, 1.0, ""),  # the first of several fragments
        (30, 30, 60.0, 1.0, ""),  # frames count before seconds
        (None, 30, None, 1.0, ""),
        (None, 30, 1.4, 1.0, ""),
        (None, 30, 20.0, 19.2, ""),
        (None, 3000, 2000.0, 100.0, "its header promises 2000.0 s, 100.0 s came"),
    ],
)
def test_what_is_promised_is_held_against_what_came(frames, came, seconds, lasted, said):
    assert shortfall(frames, came, seconds, lasted) == said


def test_a_thumbnail_is_the_mean_of_equal_parts_at_any_size():
    grey = np.arange(192).reshape(3, 8, 8)
    for height, width in ((8, 8), (24, 16), (40, 72)):
        frames = np.kron(grey, np.ones((1, height // 8, width // 8)))[..., None].repeat(3, axis=3).astype(np.uint8)
        assert thumbnail(frames)[:192] == bytes(range(192))
    odd = thumbnail(np.full((3, 5, 7, 3), 9, np.uint8))
    assert odd == bytes([9] * THUMBNAIL_BYTES)


def test_a_look_at_good_and_bad_files(numbered_video, tmp_path: Path):
    path = numbered_video(9, turn=90)
    seen = look(path)
    assert seen.facts == video.probe(path)
    assert (seen.codec, seen.short, seen.reason, seen.lasting) == ("h264", "", "", True)
    assert (seen.rotation_degrees % 180, seen.mirrored) == (90, False)
    assert len(seen.thumbnail) == THUMBNAIL_BYTES
    assert seen.is_of(path)
    path.write_bytes(path.read_bytes()[:500])
    assert not seen.is_of(path)
    broken = look(path)
    assert broken.facts is None
    assert broken.reason
    assert broken.lasting
    gone = look(tmp_path / "gone.mp4")
    assert gone.reason == "there is no such file"
    assert not gone.lasting


@pytest.mark.parametrize("turn", [0, 90, 180, 270])
def test_rotation_is_what_makes_frames_upright(numbered_video, turn: int):
    with Video(numbered_video(3, turn=turn)) as opened, Video(numbered_video(3, name="plain.mp4")) as plain:
        degrees, mirrored = opened.rotation
        turned = np.rot90(plain.read([1])[0], k=-degrees // 90)
        assert not mirrored
        assert np.abs(turned.astype(int) - opened.read([1])[0]).mean() < 3


def test_odd_videos_that_promise_too_much_are_noted_and_no_other(shared: Path):
    files = shared / "data" / "odd_videos" / "files"
    small = [path for path in sorted(files.iterdir()) if path.stat().st_size < 300_000]
    short = {path.name for path in small if look(path).short}
    expected = {"jhmdb_header_says_48_has_40.avi", "truncated_40pct.avi", "truncated_50pct.mkv"}
    assert short == expected & {path.name for path in small}
