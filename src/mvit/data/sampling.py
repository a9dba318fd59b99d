"""Which frames make a clip, and a part of a video: pure arithmetic on counts, times and rates of frames."""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

ROUNDING = 5e-4  # seconds: tables give times in milliseconds, or hundredths


@dataclass(frozen=True, kw_only=True)
class ClipSampling:
    """How a clip of `frames` frames is taken from a video.

    dense: the official sampling of Kinetics. The clip spans frames * spacing frames of the video (times fps over
    target_fps where a target rate is set) and is read at evenly spread points from the first to the last frame of the
    span: 16 frames at spacing 4 lie 63 / 15 = 4.2 frames apart. A video shorter than the span repeats its last frame.
    segments: that of Something-Something. The whole video is cut into `frames` equal segments and one frame is taken
    from each: a random one in training, the centre in test; `spacing` and `target_fps` do not matter.
    """

    frames: int = 16
    spacing: float = 4.0
    target_fps: float | None = None
    mode: Literal["dense", "segments"] = "dense"

    def __post_init__(self) -> None:
        if self.frames < 1 or self.frames % 1:  # of infinity it is NaN, which counts
            raise ValueError(f"frames must be a whole number of at least 1, got {self.frames}")
        if not 0 < self.spacing < math.inf:
            raise ValueError(f"spacing must be a positive number of frames, got {self.spacing}")
        if self.target_fps is not None and not 0 < self.target_fps < math.inf:
            raise ValueError(f"target_fps must be a positive rate or left out, got {self.target_fps}")
        if self.mode not in ("dense", "segments"):
            raise ValueError(f'sampling mode must be "dense" or "segments", got {self.mode!r}')


@dataclass(frozen=True, slots=True)
class Part:
    """The part of a video from `start` to `end`, in seconds from its first frame; without `end`, up to its end."""

    start: float = 0.0
    end: float | None = None

    def __post_init__(self) -> None:
        end = math.inf if self.end is None else self.end
        if not (0 <= self.start < end and (self.end is None or end < math.inf)):
            raise ValueError(f"a part must start at 0 s or later and end after that, got {self}")

    def __str__(self) -> str:
        return f"{self.start:.15g}," + ("" if self.end is None else f"{self.end:.15g}")

    def misfit(self, duration_seconds: float, fps: float) -> str | None:
        """Why a video of this length has no such part, or None; an end may be rounded up by a frame."""
        if self.start > duration_seconds - ROUNDING:
            return f"its part starts at {self.start:g} s, but it is only {duration_seconds:.4g} s long"
        if self.end is not None and self.end > duration_seconds + max(1 / fps, ROUNDING):
            return f"its part ends at {self.end:g} s, but it is only {duration_seconds:.4g} s long"
        return None

    def frames(self, times: np.ndarray) -> range:
        """The numbers of the frames shown in this part, at least one, of frames shown from `times` (seconds) on.

        A part that starts between two frames starts with the earlier, which is still shown then; parts that meet where
        a frame begins share none.
        """
        first = int(np.searchsorted(times, self.start + ROUNDING, side="right")) - 1
        stop = len(times) if self.end is None else int(np.searchsorted(times, self.end - ROUNDING, side="left"))
        first = min(max(first, 0), len(times) - 1)
        return range(first, max(stop, first + 1))


def span(fps: float, sampling: ClipSampling) -> float:
    """How many frames of a video one dense clip covers."""
    rate = 1.0 if sampling.target_fps is None else fps / sampling.target_fps
    return sampling.frames * sampling.spacing * rate


def test_indices(num_frames: int, fps: float, sampling: ClipSampling, clips: int) -> np.ndarray:
    """Frame numbers of `clips` test clips spread over the video; int64 (clips, T).

    One dense clip is the middle one; of several, the first starts with the video and clip i starts i * floor(slack /
    (clips - 1)) frames later (SlowFast, datasets/decoder.py, USE_OFFSET_SAMPLING). In a video whose slack is smaller
    than clips - 1 that step would be 0 and all clips the same, so there they start evenly spread, between frames too.
    Test clips of segments take evenly spread offsets in each segment, one clip the centre.
    """
    _check(num_frames, fps)
    if clips < 1:
        raise ValueError(f"the number of test clips must be at least 1, got {clips}")
    if sampling.mode == "segments":
        offsets = (np.arange(clips) + 0.5) / clips
        return _segment_frames(num_frames, sampling.frames, np.repeat(offsets[:, None], sampling.frames, axis=1))
    slack = max(num_frames - span(fps, sampling), 0.0)
    if clips == 1:
        starts = np.array([math.floor(slack / 2)])
    elif slack >= clips - 1:
        starts = np.arange(clips) * math.floor(slack / (clips - 1))
    else:
        starts = np.linspace(0, slack, clips)
    return _dense_frames(num_frames, fps, sampling, starts)


def random_indices(
    num_frames: int,
    fps: float,
    sampling: ClipSampling,
    rng: np.random.Generator,
    duration: tuple[float, float] = (1.0, 1.0),
) -> np.ndarray:
    """Frame numbers of one training clip, drawn from `rng`; int64 (T,).

    Segments are cut from a part of the video, anywhere in it, whose share of the whole is drawn from `duration`.
    """
    _check(num_frames, fps)
    if sampling.mode == "segments":
        share = rng.uniform(*duration) if duration[0] < 1 else 1.0
        start = rng.uniform(0, num_frames * (1 - share)) if share < 1 else 0.0
        return _segment_frames(num_frames, sampling.frames, rng.random((1, sampling.frames)), start, share)[0]
    slack = max(num_frames - span(fps, sampling), 0.0)
    return _dense_frames(num_frames, fps, sampling, np.array([rng.uniform(0, slack)]))[0]


def padding_share(num_frames: int, fps: float, sampling: ClipSampling) -> float:
    """Which share of a test clip's frames only repeats the one before, because the video is too short."""
    clip = test_indices(num_frames, fps, sampling, 1)[0]
    return 1 - len(np.unique(clip)) / len(clip)


def _dense_frames(num_frames: int, fps: float, sampling: ClipSampling, starts: np.ndarray) -> np.ndarray:
    steps = np.linspace(0, max(span(fps, sampling) - 1, 0), sampling.frames)  # (T,)
    return np.clip(starts[:, None] + steps, 0, num_frames - 1).astype(np.int64)


def _segment_frames(
    num_frames: int, segments: int, offsets: np.ndarray, start: float = 0.0, share: float = 1.0
) -> np.ndarray:
    """Offsets within [0, 1) of each segment, (clips, T), to frame numbers."""
    positions = start + (np.arange(segments) + offsets) * num_frames * share / segments
    return np.clip(positions, 0, num_frames - 1).astype(np.int64)


def _check(num_frames: int, fps: float) -> None:
    if num_frames < 1:
        raise ValueError(f"a video needs at least one frame to sample from, got {num_frames}")
    if not 0 < fps < math.inf:
        raise ValueError(f"the frame rate must be a positive number, got {fps}")
