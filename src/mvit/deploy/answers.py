"""What a model says of many videos: decoded ahead, computed in batches across videos, each failure its video's own.

It needs no torch: of a model only what ``Described`` names.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np

from mvit.data.opening import why
from mvit.data.samples import Sample
from mvit.data.video import UnreadableVideo
from mvit.data.views import describe, read_views
from mvit.deploy.described import Described
from mvit.evaluation.evaluate import checked, decoded
from mvit.evaluation.scoring import by_name, checked_logits
from mvit.evaluation.statistics import t_quantile

BATCH = 8
"""Clips that are computed together: enough for a GPU, and of 16x224x224 still about a gigabyte."""
SPREAD = (2, 7, 4, 0, 9, 5, 1, 6, 3, 8)
"""The clips of a video, of which 10 are spread over it, in the order in which ``settled`` ones are taken."""
CONFIDENCE = 0.95
Compute = Callable[[np.ndarray], np.ndarray]
"""Of clips (N, 3, T, H, W): a row each."""
Asker = TypeVar("Asker")
"""Whatever views are of."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What came of one video: its scores, or why it has none."""

    video: Path
    """As ``Sample.id`` has it: a part of a video with its seconds."""
    scores: dict[str, float] | None = None
    """By class name, the highest first."""
    views: int = 0
    """How many were taken."""
    error: str | None = None


def answers(
    model: Described, samples: Iterable[Sample], views: tuple[int, int] | None = None, *, batch: int = BATCH
) -> Iterator[Answer]:
    """What a model says of each video, in the order given; as evaluation has it with as many clips x crops.

    The model's own views unless others are given. A video that cannot be read has its reason in its answer, and the
    others go on. Raises ``NotFiniteError`` (a ``ValueError``) for scores that are no numbers.
    """
    clips, crops = views or model.views
    for sample, found in in_batches(
        partial(_logits, model), decoded(samples, model.preprocessing, clips, crops), batch
    ):
        yield Answer(video=sample.id, error=found) if isinstance(found, str) else _answer(model, sample, found)


def in_batches(
    compute: Compute, videos: Iterable[tuple[Sample, np.ndarray | str]], batch: int
) -> Iterator[tuple[Sample, np.ndarray | str]]:
    """What is computed of each video's views, (views, ...), in the order given; of so many clips at once at most.

    Clips of several videos are computed together. What could not be read is passed through with its reason.
    """
    waiting: list[tuple[Sample, np.ndarray | str]] = []
    held = 0
    for sample, views in videos:
        waiting.append((sample, views))
        held += 0 if isinstance(views, str) else len(views)
        if held >= batch or held == 0:
            yield from together(compute, waiting, batch)
            waiting, held = [], 0
    yield from together(compute, waiting, batch)


def together(
    compute: Compute, waiting: Sequence[tuple[Asker, np.ndarray | str]], batch: int
) -> Iterator[tuple[Asker, np.ndarray | str]]:
    """The same of those that wait now: whoever asks with the rows of the views that are theirs."""
    every = [views for _, views in waiting if not isinstance(views, str)]
    ends = np.cumsum([len(views) for views in every[:-1]])
    computed = iter(np.split(_in_pieces(compute, np.concatenate(every), batch), ends) if every else ())
    for sample, views in waiting:
        yield sample, views if isinstance(views, str) else next(computed)


def _in_pieces(compute: Compute, clips: np.ndarray, batch: int) -> np.ndarray:
    return np.concatenate([compute(clips[first : first + batch]) for first in range(0, len(clips), batch)])


def _logits(model: Described, clips: np.ndarray) -> np.ndarray:
    return checked_logits(model.logits(clips), len(clips))


def _answer(model: Described, sample: Sample, logits: np.ndarray) -> Answer:
    scores = checked(model.scoring.scores(logits), model.classes)
    return Answer(video=sample.id, scores=by_name(scores, model.classes), views=len(logits))


# ---- as many views as it takes -------------------------------------------------------------------------------------


def settled_answers(model: Described, samples: Iterable[Sample], *, batch: int = BATCH) -> Iterator[Answer]:
    """The same with as few clips of each video as settle its first class (``settled``), 2 to 10 of 10 spread over it.

    Crops are the model's. Raises ``ValueError`` for a model whose scores are not means of softmax.
    """
    if model.scoring.multi_label or model.scoring.aggregate != "mean":
        raise ValueError(
            "--views auto asks when the mean over views is settled, but this model "
            + ("is of several classes at once" if model.scoring.multi_label else "takes the highest score of all views")
            + ": give a number of views, such as 5x1"
        )
    return _settled_answers(model, samples, batch)


def _settled_answers(model: Described, samples: Iterable[Sample], batch: int) -> Iterator[Answer]:
    for sample, found in decoded(samples, model.preprocessing, len(SPREAD), model.views[1], SPREAD[:2]):
        if isinstance(found, str):
            yield Answer(video=sample.id, error=found)
            continue
        try:
            yield _answer(model, sample, _until_settled(model, sample, found, batch))
        except (UnreadableVideo, OSError) as error:
            yield Answer(video=sample.id, error=why(error))


def _until_settled(model: Described, sample: Sample, clips: np.ndarray, batch: int) -> np.ndarray:
    """The logits of a video's first two clips, and of each further one that it takes."""
    crops, compute = model.views[1], partial(_logits, model)
    logits = _in_pieces(compute, clips, batch)
    for place in SPREAD[2:]:
        if settled(_by_clip(model, logits, crops)):
            break
        how = {"clips": len(SPREAD), "crops": crops, "part": sample.part, "chosen": (place,)}
        more = read_views(sample.path, model.preprocessing, **how)
        logits = np.concatenate([logits, _in_pieces(compute, more, batch)])
    return logits


def _by_clip(model: Described, logits: np.ndarray, crops: int) -> np.ndarray:
    return np.stack([model.scoring.scores(piece) for piece in np.split(logits, len(logits) // crops)])


def settled(scores: np.ndarray) -> bool:
    """Whether more clips would hardly change which class is first, by those of a video so far: (clips, classes).

    The lead of the first class over each other one, clip by clip, has a mean whose 95 % interval by Student's t lies
    above 0. Clips of one video resemble each other, so this is a rule to stop by, not a promise.
    """
    clips = len(scores)
    first = scores.mean(axis=0).argmax()
    leads = np.delete(scores[:, [first]] - scores, first, axis=1)
    if leads.shape[1] == 0:
        return True
    wide = t_quantile((1 + CONFIDENCE) / 2, clips - 1) / np.sqrt(clips)
    return bool((leads.mean(axis=0) > wide * leads.std(axis=0, ddof=1)).all())


def protocol(model: Described, views: tuple[int, int] | None) -> str:
    """How videos are looked at, in words; None: by as many views as it takes."""
    if views is None:
        words = describe(model.preprocessing, len(SPREAD), model.views[1], model.scoring.aggregate)
        return f"2 to {words}, as many as settle the first class"
    return describe(model.preprocessing, *views, model.scoring.aggregate)
