"""Windows that slide over a video of any length, each scored as if it were a video by itself."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from mvit.data.sampling import ROUNDING, ClipSampling, Part, test_indices
from mvit.data.video import UnreadableVideo, Video
from mvit.data.views import Preprocessing, views_of
from mvit.deploy.described import Described
from mvit.evaluation.evaluate import checked
from mvit.evaluation.scoring import score_views

MOST_WINDOWS = 2**19
"""Of one video: three days at a stride of half a second."""


@dataclass(frozen=True, kw_only=True)
class Windowing:
    """Windows of so many seconds, one begun every so many; no moment lies between two of them."""

    window_seconds: float = 2.0
    stride_seconds: float = 0.5

    def __post_init__(self) -> None:
        if not 0 < self.stride_seconds <= self.window_seconds < math.inf:
            raise ValueError(
                f"{self}: both must be above 0 s, and the stride no longer than the window, or what lies between two "
                "windows would not be seen"
            )
        if self.stride_seconds < 2 * ROUNDING:
            raise ValueError(f"a stride of {self.stride_seconds:g} s is finer than the times of videos: give 0.001 s")

    def __str__(self) -> str:
        return f"windows of {self.window_seconds:g} s every {self.stride_seconds:g} s"

    def over(self, duration_seconds: float) -> list[Part]:
        """The windows of a video; where the last does not end with it, one more that does; of a short one all of it.

        Raises ValueError for more than ``MOST_WINDOWS``.
        """
        left = duration_seconds - self.window_seconds
        if left <= ROUNDING:
            return [Part(0, duration_seconds)]
        if self.at_most(duration_seconds) > MOST_WINDOWS:
            raise ValueError(
                f"{duration_seconds:,.0f} s in {self} are more than {MOST_WINDOWS:,} windows: give a longer --stride"
            )
        starts = [n * self.stride_seconds for n in range(self._whole(left))]
        if left - starts[-1] > ROUNDING:
            starts.append(left)
        return [Part(start, start + self.window_seconds) for start in starts]

    def at_most(self, duration_seconds: float) -> int:
        """How many windows a video has, or one more: what is known before any is made."""
        return self._whole(max(duration_seconds - self.window_seconds, 0.0)) + 1

    def _whole(self, left: float) -> int:
        return math.floor((left + ROUNDING) / self.stride_seconds) + 1


@dataclass(frozen=True)
class Scored:
    """A window, in seconds from the video's first frame, and the score of every class in it, float64 (classes,)."""

    part: Part
    scores: np.ndarray


def scored(model: Described, video: Video, parts: Sequence[Part]) -> Iterator[Scored]:
    """Each window of a video with its scores: those that a prediction of a file cut to it gives.

    Raises what `pictures` does.
    """
    for part, shown in zip(parts, pictures(video, parts, model.preprocessing, model.views[0]), strict=True):
        yield Scored(part, score(model, shown))


def pictures(video: Video, parts: Sequence[Part], preprocessing: Preprocessing, clips: int) -> Iterator[np.ndarray]:
    """The frames of each window's clips, uint8 (clips, T, H, W, 3), scaled to `short_side`.

    The video is decoded once, and only frames that windows on the way need are held, at the size that the model takes.
    `parts` start and end in rising order. Raises UnreadableVideo for damaged data, once the windows before them were
    given, and for windows so many and long that the frames which they share would fill the memory.
    """
    times, fps = video.times, video.fps
    plan = [_frames(part.frames(times), fps, preprocessing.sampling, clips) for part in parts]  # of each (clips, T)
    needed = np.unique(np.concatenate([indices.ravel() for indices in plan]))
    firsts, lasts = [int(indices.min()) for indices in plan], [int(indices.max()) for indices in plan]
    at_once = int((np.searchsorted(needed, lasts) - np.searchsorted(needed, firsts)).max()) + 1
    video.locate(needed, short_side=preprocessing.short_side, at_once=at_once)
    decoded = zip(needed.tolist(), video.each(needed, short_side=preprocessing.short_side), strict=True)
    held: dict[int, np.ndarray] = {}
    newest = -1
    for indices, first, last in zip(plan, firsts, lasts, strict=True):
        held = {number: picture for number, picture in held.items() if number >= first}
        while newest < last:
            newest, picture = next(decoded)
            held[newest] = picture
        chosen = np.stack([held[number] for number in indices.ravel().tolist()])
        yield chosen.reshape(*indices.shape, *chosen.shape[1:])


class Sweep:
    """The windows of a video from its beginning to its end, or to where its data are damaged."""

    def __init__(self, model: Described, video: Video, windowing: Windowing) -> None:
        self.parts = windowing.over(video.duration_seconds)
        self.done, self.end_seconds = 0, 0.0
        """Windows that came so far, and the end of the last."""
        self.damage: UnreadableVideo | None = None
        """Why there are no more, where those that came are not all."""
        self._scored = scored(model, video, self.parts)

    def __iter__(self) -> Iterator[Scored]:
        """Raises UnreadableVideo where not even one can be read."""
        try:
            for window in self._scored:
                self.done += 1
                self.end_seconds = window.part.end or 0.0
                yield window
        except UnreadableVideo as error:
            if not self.done:
                raise
            self.damage = error


def score(model: Described, shown: np.ndarray) -> np.ndarray:
    """The score of every class, float64 (classes,), in a window's clips of frames, uint8 (clips, T, H, W, 3)."""
    views = views_of(shown, model.preprocessing, model.views[1])
    return checked(score_views(model.logits, views, model.scoring), model.classes)


def _frames(frames: range, fps: float, sampling: ClipSampling, clips: int) -> np.ndarray:
    return frames.start + test_indices(len(frames), fps, sampling, clips)
