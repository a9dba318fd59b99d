"""Which frames make a clip, as tables."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mvit.data import sampling
from mvit.data.sampling import ClipSampling, padding_share, random_indices

# (not imported by name: pytest would take it for a test)
clips_of = sampling.test_indices

KINETICS = [0, 4, 8, 12, 16, 21, 25, 29, 33, 37, 42, 46, 50, 54, 58, 63]  # linspace(0, 63, 16): 4.2 apart, not 4


@pytest.mark.parametrize(
    ("frames", "clips", "starts"),
    [
        (64, 1, [0]),
        (300, 1, [118]),
        (301, 1, [118]),
        (300, 5, [0, 59, 118, 177, 236]),  # floor(236 / 4) = 59
        (303, 5, [0, 59, 118, 177, 236]),  # floor(239 / 4) is still 59: the last frames go unseen, as officially
        (300, 3, [0, 118, 236]),
        (68, 5, [0, 1, 2, 3, 4]),
        (66, 2, [0, 2]),
    ],
)
def test_clips_of_16x4_start_where_the_official_code_starts_them(frames, clips, starts):
    expected = np.array(starts)[:, None] + KINETICS
    assert clips_of(frames, 30, ClipSampling(), clips).tolist() == expected.tolist()


def test_clips_of_a_video_hardly_longer_than_one_still_differ():
    clips = clips_of(66, 30, ClipSampling(), 5)
    assert clips[:, 0].tolist() == [0, 0, 1, 1, 2]  # starts 0, 0.5, 1, 1.5 and 2
    assert clips[:, -1].tolist() == [63, 63, 64, 64, 65]
    assert len(np.unique(clips, axis=0)) == 5


@pytest.mark.parametrize(
    ("frames", "how", "expected", "padding"),
    [
        (32, {"spacing": 2}, [0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 31], 0),
        (32, {"spacing": 4}, [0, 4, 8, 12, 16, 21, 25, 29, *[31] * 8], 7 / 16),
        (1, {"frames": 4}, [0, 0, 0, 0], 3 / 4),
        (1, {"frames": 1}, [0], 0),
        (9, {"frames": 1}, [2], 0),
        (16, {"spacing": 1}, list(range(16)), 0),
        (10, {"frames": 4, "spacing": 4}, [0, 5, 9, 9], 1 / 4),
        (8, {"frames": 4, "mode": "segments"}, [1, 3, 5, 7], 0),
        (100, {"frames": 4, "mode": "segments"}, [12, 37, 62, 87], 0),
        (2, {"frames": 4, "mode": "segments"}, [0, 0, 1, 1], 1 / 2),
        (3, {"frames": 4, "mode": "segments", "spacing": 9}, [0, 1, 1, 2], 1 / 4),
    ],
)
def test_single_clips_and_the_share_of_frames_that_repeat(frames, how, expected, padding):
    clip_sampling = ClipSampling(**how)
    assert clips_of(frames, 30, clip_sampling, 1).tolist() == [expected]
    assert padding_share(frames, 30, clip_sampling) == pytest.approx(padding)


def test_the_span_is_a_time_where_a_target_rate_is_set():
    at_30 = ClipSampling(frames=8, spacing=4, target_fps=30)
    assert sampling.span(30, at_30) == 32
    assert sampling.span(15, at_30) == 16
    assert sampling.span(60, at_30) == 64
    assert clips_of(64, 60, at_30, 1).tolist() == [[0, 9, 18, 27, 36, 45, 54, 63]]
    assert clips_of(64, 60, ClipSampling(frames=8, spacing=8), 1).tolist() == clips_of(64, 60, at_30, 1).tolist()


def test_clips_of_segments_take_other_frames_of_each_segment():
    clips = clips_of(40, 30, ClipSampling(frames=4, mode="segments"), 5)
    assert clips.tolist() == [[first + 2 * i for first in (1, 11, 21, 31)] for i in range(5)]


@given(
    frames=st.integers(1, 400),
    fps=st.floats(1, 120),
    count=st.integers(1, 40),
    spacing=st.floats(0.25, 16),
    target=st.none() | st.floats(1, 60),
    mode=st.sampled_from(["dense", "segments"]),
    clips=st.integers(1, 12),
)
def test_every_clip_lies_in_its_video_in_order_and_views_differ(frames, fps, count, spacing, target, mode, clips):
    clip_sampling = ClipSampling(frames=count, spacing=spacing, target_fps=target, mode=mode)
    indices = clips_of(frames, fps, clip_sampling, clips)
    assert (indices.shape, indices.dtype) == ((clips, count), np.int64)
    assert indices.min() >= 0
    assert indices.max() < frames
    assert (np.diff(indices, axis=1) >= 0).all()
    slack = frames - sampling.span(fps, clip_sampling) if mode == "dense" else frames / count - 1
    if slack >= clips - 1:
        assert len(np.unique(indices, axis=0)) == clips
    drawn = random_indices(frames, fps, clip_sampling, np.random.default_rng(0))
    assert drawn.shape == (count,)
    assert 0 <= drawn.min() <= drawn.max() < frames
    assert (np.diff(drawn) >= 0).all()


def test_random_clips_reach_the_whole_video_and_follow_their_generator():
    drawn = np.stack([random_indices(70, 30, ClipSampling(), np.random.default_rng(seed)) for seed in range(200)])
    starts = drawn[:, 0]
    assert set(starts) == {0, 1, 2, 3, 4, 5}
    assert np.ptp(drawn - starts[:, None], axis=0).max() <= 1  # a start between two frames rounds down each point
    segments = ClipSampling(frames=4, mode="segments")
    drawn = np.stack([random_indices(40, 30, segments, np.random.default_rng(seed)) for seed in range(200)])
    assert [set(column) for column in drawn.T.tolist()] == [set(range(first, first + 10)) for first in (0, 10, 20, 30)]
    again = [random_indices(70, 30, ClipSampling(), np.random.default_rng(7)).tolist() for _ in range(2)]
    assert again[0] == again[1]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"frames": 0}, "at least 1, got 0"),
        ({"frames": 2.5}, "whole number"),
        ({"spacing": 0}, "spacing must be a positive"),
        ({"spacing": float("nan")}, "spacing must be a positive"),
        ({"target_fps": -1}, "target_fps must be a positive"),
        ({"mode": "dence"}, "got 'dence'"),
    ],
)
def test_impossible_samplings_are_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        ClipSampling(**wrong)


def test_impossible_videos_are_refused():
    with pytest.raises(ValueError, match="at least one frame"):
        clips_of(0, 30, ClipSampling(), 1)
    with pytest.raises(ValueError, match="frame rate"):
        random_indices(10, 0, ClipSampling(), np.random.default_rng(0))
    with pytest.raises(ValueError, match="number of test clips must be at least 1, got 0"):
        clips_of(10, 30, ClipSampling(), 0)


def test_duration_takes_segments_from_a_part_anywhere_in_the_video():
    segments = ClipSampling(frames=8, mode="segments")
    whole = [random_indices(40, 30, segments, np.random.default_rng(seed)).tolist() for seed in range(200)]
    assert whole == [
        random_indices(40, 30, segments, np.random.default_rng(seed), (1.0, 1.0)).tolist() for seed in range(200)
    ]
    drawn = np.stack([random_indices(40, 30, segments, np.random.default_rng(seed), (0.5, 0.5)) for seed in range(400)])
    assert (np.diff(drawn, axis=1) >= 0).all()
    assert np.ptp(drawn, axis=1).max() <= 20
    assert drawn.min() == 0
    assert drawn.max() == 39
    assert drawn[:, 0].mean() == pytest.approx(10 + 0.5 * 20 / 8, abs=1)
