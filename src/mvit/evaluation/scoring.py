"""From the logits of a video's views to its scores: one definition for evaluation, prediction and the order probe."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, NamedTuple

import numpy as np

from mvit.evaluation.metrics import sigmoid, softmax

Predict = Callable[[np.ndarray], np.ndarray]
"""A classifier: float32 clips (N, 3, T, H, W) to logits (N, classes)."""


@dataclass(frozen=True)
class AfterStem:
    """A classifier that can put what its stem makes of a clip into another order in time before it goes on."""

    places: int
    """Tokens in time that the stem makes of a clip."""
    predict: Callable[[np.ndarray, np.ndarray], np.ndarray]
    """Clips as ``Predict`` takes them, and an order for each, int64 (N, places), to logits."""


class Metric(NamedTuple):
    """What a model is judged by: its key in result.json and metrics.jsonl, and its name for people."""

    key: str
    name: str


class NotFiniteError(ValueError):
    """A classifier's scores are no numbers."""


@dataclass(frozen=True, kw_only=True)
class Scoring:
    """What becomes of logits; stored with the model, so that evaluation and prediction do the same."""

    multi_label: bool = False
    """Videos are of several classes at once: each class has a score by itself."""
    aggregate: Literal["mean", "max"] = "mean"
    """Which score of a class the views of a video give together."""

    def __post_init__(self) -> None:
        if not isinstance(self.multi_label, bool) or self.aggregate not in ("mean", "max"):
            raise ValueError(f"multi_label is true or false and aggregate mean or max, not {asdict(self)}")

    @property
    def activation(self) -> str:
        """What makes scores of logits: "softmax", or "sigmoid" where one class does not exclude another."""
        return "sigmoid" if self.multi_label else "softmax"

    @property
    def metric(self) -> Metric:
        """What an evaluation is summed up by."""
        return Metric("map", "mAP") if self.multi_label else Metric("top1", "top-1")

    @property
    def hit(self) -> Metric:
        """The share whose highest score is that of their class, or, as YouTube-8M has it, of one of their classes.

        Source of the latter's name: arXiv 1609.08675.
        """
        return Metric("hit1", "hit@1") if self.multi_label else Metric("top1", "top-1")

    def scores(self, logits: np.ndarray) -> np.ndarray:
        """The scores of one video from the logits of its views: (N, classes) -> (classes,) float64."""
        scores = sigmoid(logits) if self.multi_label else softmax(logits)
        return scores.mean(axis=0) if self.aggregate == "mean" else scores.max(axis=0)

    def to_dict(self) -> dict[str, Any]:
        """As model.json holds it."""
        return asdict(self)

    @classmethod
    def of(cls, description: Mapping[str, Any]) -> "Scoring":
        """That of a model.json; one from before it was written down there is of one label and takes the mean.

        Raises ValueError for values that are none.
        """
        return cls(**{name: description[name] for name in ("multi_label", "aggregate") if name in description})


SINGLE = Scoring()


def score_views(predict: Predict, views: np.ndarray, scoring: Scoring = SINGLE) -> np.ndarray:
    """The class scores of one video from its views; (N, 3, T, H, W) -> (classes,) float64.

    Raises ValueError when the classifier gives something other than a row of numbers for each view, and NotFiniteError
    when these are not finite.
    """
    return scoring.scores(checked_logits(predict(views), len(views)))


def by_name(scores: np.ndarray, classes: Sequence[str]) -> dict[str, float]:
    """The scores of one video (classes,) by class name, the highest first, of equal ones in the classes' order."""
    return {classes[index]: float(scores[index]) for index in np.argsort(-scores, kind="stable")}


def checked_logits(answer: np.ndarray, views: int) -> np.ndarray:
    """What a classifier gave for so many views, (N, classes), after a look whether it is a row of numbers for each.

    Raises ValueError where it is not.
    """
    logits = np.asarray(answer)
    if logits.ndim != 2 or len(logits) != views:
        raise ValueError(f"the classifier gave an array of shape {logits.shape} for {views} views: a row each is due")
    if not np.isfinite(logits).all():
        raise NotFiniteError(
            "the classifier gave scores that are not finite numbers: its training has probably diverged; "
            "train again with a lower learning rate"
        )
    return logits
