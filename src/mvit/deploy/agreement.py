"""Whether a file says what the model says that it was made from: differences, top classes and speed, on real clips."""

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

import numpy as np

from mvit.evaluation.scoring import Predict, checked_logits

BATCHES = (1, 2, 5)
CLOSE = 1e-4
"""The largest difference of a float32 file's logits from the model's, over the model's largest logit."""
AGREE = 0.98
"""The least share of clips on which an int8 file names the class that the model names."""


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """What was found; times are of the smallest batch, taken turn by turn."""

    clips: int
    batches: tuple[int, ...]
    largest_difference: float
    """Over the largest logit of the model."""
    agreeing: int
    """Clips whose first class is the model's in every batch."""
    model_milliseconds: float
    file_milliseconds: float
    ratio: float
    """The median of the file's time over the model's."""

    @property
    def share(self) -> float:
        """Of clips on which both name the same class."""
        return self.agreeing / self.clips

    def to_dict(self) -> dict[str, Any]:
        """As JSON holds it."""
        return asdict(self)

    def __str__(self) -> str:
        *others, last = map(str, self.batches)
        batches = f"{', '.join(others)} and {last}" if others else last
        timed = "one clip takes" if (size := min(self.batches)) == 1 else f"{size} clips take"
        return (
            f"on {self.clips} clips in batches of {batches}: largest difference {self.largest_difference:.1e} of the "
            f"largest logit, the same first class on {self.agreeing} of {self.clips} ({self.share:.1%}); "
            f"{timed} {self.file_milliseconds:.1f} ms, the model {self.model_milliseconds:.1f} ms (median of ratios "
            f"{self.ratio:.2f})"
        )


def compare(model: Predict, file: Predict, clips: np.ndarray, batches: Sequence[int] = BATCHES) -> Agreement:
    """What a file says of clips (N, 3, T, H, W) in batches of each size, beside a model that sees the smallest ones."""
    smallest = min(batches)
    model(clips[:smallest]), file(clips[:smallest])  # both have something to set up
    expected, answers, times = [], [], []
    for number, piece in enumerate(_pieces(clips, smallest)):
        both = [(model, expected), (file, answers)]
        taken = {}
        for predict, kept in both if number % 2 else both[::-1]:
            begun = time.perf_counter()
            kept.append(checked_logits(predict(piece), len(piece)))
            taken[predict is file] = time.perf_counter() - begun
        times.append((taken[False], taken[True]))
    due = np.concatenate(expected)
    largest, agrees = 0.0, np.ones(len(clips), dtype=bool)
    for size in batches:
        found = np.concatenate(answers) if size == smallest else _in_batches(file, clips, size)
        largest = max(largest, float(np.abs(found - due).max()))
        agrees &= found.argmax(axis=1) == due.argmax(axis=1)
    return Agreement(
        clips=len(clips),
        batches=tuple(batches),
        largest_difference=largest / (float(np.abs(due).max()) or 1.0),  # log scores of a single class are all 0
        agreeing=int(agrees.sum()),
        model_milliseconds=1e3 * median(ours for ours, _ in times),
        file_milliseconds=1e3 * median(its for _, its in times),
        ratio=median(its / ours for ours, its in times),
    )


def _in_batches(predict: Predict, clips: np.ndarray, size: int) -> np.ndarray:
    return np.concatenate([checked_logits(predict(piece), len(piece)) for piece in _pieces(clips, size)])


def _pieces(clips: np.ndarray, size: int) -> list[np.ndarray]:
    return [clips[first : first + size] for first in range(0, len(clips), size)]


def require(found: Agreement, *, int8: bool) -> None:
    """Raise ``ValueError`` where a file is off: int8 by its first classes, float32 by its logits."""
    if int8 and found.share < AGREE:
        raise ValueError(
            f"nothing was written: in int8 the model names another class on {found.clips - found.agreeing} of "
            f"{found.clips} clips, and at most {1 - AGREE:.0%} may be ({found}): export it without --int8"
        )
    if not int8 and found.largest_difference > CLOSE:
        raise ValueError(
            f"nothing was written: the file is off by more than {CLOSE:g} of the largest logit ({found}): other "
            "versions of torch or of the runtime may do better"
        )
