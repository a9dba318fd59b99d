"""Parts of videos: which frames they are, and that training, test views, evaluation and scan see no other."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mvit.data import video
from mvit.data.clips import Clips, Drawn, decide_flip
from mvit.data.samples import Sample
from mvit.data.sampling import ClipSampling, Part
from mvit.data.scan import scan
from mvit.data.transforms import Augmentation
from mvit.data.video import UnreadableVideo
from mvit.data.views import Preprocessing, read_views
from mvit.evaluation.evaluate import evaluate, result

EVEN = np.arange(100) / 25  # 4 s at 25 frames a second
UNEVEN = np.array([0.0, 0.1, 0.5, 2.0, 2.1])


@pytest.mark.parametrize(
    ("times", "start", "end", "first", "last"),
    [
        (EVEN, 0, None, 0, 99),
        (EVEN, 0, 1, 0, 24),
        (EVEN, 1, 2, 25, 49),
        (EVEN, 1.02, 1.06, 25, 26),  # frame 25 is shown until 1.04 s, frame 26 from then on
        (EVEN, 1.01, 1.02, 25, 25),
        (EVEN, 0.0401, 0.08, 1, 1),
        (EVEN, 0.0397, 0.0803, 1, 1),  # rounded to less than half a millisecond off
        (EVEN, 3.9, 4.0, 97, 99),
        (EVEN, 3.99, 4.02, 99, 99),
        (UNEVEN, 0.3, 1.9, 1, 2),
        (UNEVEN, 0.6, 1.0, 2, 2),
        (UNEVEN, 2.05, None, 3, 4),
        ([0.0], 0, None, 0, 0),
    ],
)
def test_a_part_is_the_frames_shown_in_it(times, start, end, first, last):
    assert Part(start, end).frames(np.asarray(times)) == range(first, last + 1)


@given(st.integers(1, 400), st.sampled_from([8.0, 24.0, 25.0, 30000 / 1001, 60.0]), st.data())
def test_parts_that_meet_at_frames_share_none_and_miss_none(frames, fps, data):
    times = np.arange(frames) / fps
    cuts = sorted(data.draw(st.sets(st.integers(1, max(frames - 1, 1)), max_size=5)) | {0})
    # As a table with milliseconds would say it.
    seconds = [round(cut / fps, 3) for cut in cuts if cut < frames]
    parts = [Part(start, end) for start, end in zip(seconds, [*seconds[1:], None], strict=True)]
    assert [number for part in parts for number in part.frames(times)] == list(range(frames))


@pytest.mark.parametrize(
    ("part", "reason"),
    [
        (Part(0, 4), None),
        (Part(0, 4.04), None),  # rounded up to the next frame
        (Part(3.9), None),
        (Part(0, 4.1), "its part ends at 4.1 s, but it is only 4 s long"),
        (Part(4), "its part starts at 4 s, but it is only 4 s long"),
        (Part(400, 500), "its part starts at 400 s, but it is only 4 s long"),
    ],
)
def test_a_part_beyond_the_end_has_a_reason(part, reason):
    assert part.misfit(4.0, 25) == reason


@pytest.mark.parametrize(
    ("start", "end"), [(-1, 2), (2, 2), (3, 2), (float("nan"), 2), (0, float("inf")), (0, float("nan"))]
)
def test_a_part_that_is_none_is_refused(start, end):
    with pytest.raises(ValueError, match="a part must start at 0 s or later and end after that"):
        Part(start, end)


SEGMENTS = Preprocessing(sampling=ClipSampling(frames=8, mode="segments"), short_side=32, crop=32)
DENSE = Preprocessing(sampling=ClipSampling(frames=8, spacing=2), short_side=32, crop=32)


@pytest.fixture
def half(numbered_video):
    """A video of 100 frames in 4 s."""
    return numbered_video(100, fps=25, options={"g": "10"})


@pytest.mark.parametrize("preprocessing", [SEGMENTS, DENSE], ids=["segments", "dense"])
def test_test_views_see_only_the_part(half, preprocessing):
    part = Part(1, 2)
    views = read_views(half, preprocessing, clips=3, part=part)
    cut = half.with_name("cut.mp4")
    video.write(cut, video.read(half, range(25, 50)), fps=25, crf=0)
    expected = read_views(cut, preprocessing, clips=3)
    assert np.abs(views - expected).max() < 0.1  # the same frames, encoded once more


def test_training_clips_see_only_the_part(numbered_video, numbers_in):
    path = numbered_video(100, fps=25)
    preprocessing = Preprocessing(sampling=ClipSampling(frames=4, spacing=2), short_side=32, crop=32)
    samples = [Sample(path, "a", None, part) for part in (Part(0, 1), Part(1, 2), Part(3.5), None, Part(5, 6))]
    clips = Clips(samples, ["a"], preprocessing, Augmentation(), decide_flip(["a"], "off"), seed=0)
    seen: list[list[int]] = []
    read = video.Video.read
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            video.Video, "read", lambda self, indices, **kw: (seen.append(list(indices)), read(self, indices, **kw))[1]
        )
        for epoch in range(20):
            for place in range(4):
                drawn = clips[epoch, place]
                assert len(drawn.clips) == 1
                assert (drawn.labels, drawn.path, drawn.reason) == ([[0]], str(samples[place].id), "")
    assert all(min(seen[n]) >= 0 and max(seen[n]) < 25 for n in range(0, 80, 4))
    assert all(min(seen[n]) >= 25 and max(seen[n]) < 50 for n in range(1, 80, 4))
    assert all(min(seen[n]) >= 87 for n in range(2, 80, 4))
    assert max(max(seen[n]) for n in range(3, 80, 4)) > 50
    assert clips[0, 4] == Drawn(f"{path}#t=5,6", [], [], reason="its part starts at 5 s, but it is only 4 s long")


def test_scan_and_evaluation_count_parts_one_by_one(half):
    samples = [Sample(half, "b" if n == 1 else "a", None, Part(n, n + 1)) for n in (0, 1, 9)]
    found = scan(samples, workers=0)
    assert [found.facts[sample.id].frames for sample in samples[:2]] == [25, 25]
    assert found.unreadable == {samples[2].id: "its part starts at 9 s, but it is only 4 s long"}
    assert found.readable(samples) == tuple(samples[:2])
    content = result(evaluate(lambda clips: np.zeros((len(clips), 2)), samples, ["a", "b"], SEGMENTS, clips=1))
    assert (content["videos"], content["listed"]) == (2, 3)
    assert list(content["unreadable"]) == [f"{half}#t=9,10"]
    with pytest.raises(UnreadableVideo, match=r"numbered\.mp4 cannot be read: its part starts at 9 s"):
        read_views(half, SEGMENTS, part=Part(9, 10))


def test_a_broken_video_is_unreadable_in_every_part(tmp_path: Path):
    (tmp_path / "bad.mp4").write_text("no video")
    samples = [Sample(tmp_path / "bad.mp4", "a", None, Part(n, n + 1)) for n in range(3)]
    assert set(scan(samples, workers=0).unreadable) == {sample.id for sample in samples}
