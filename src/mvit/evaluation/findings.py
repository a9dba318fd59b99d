"""What the answers to a probe of time say: figures by disorder with intervals and drops, and by class.

N videos, V views of each, K variants shown of each view, C classes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mvit.data.directions import mirror_in_time
from mvit.evaluation.disorders import TITLES
from mvit.evaluation.evaluate import chance, require_labelled
from mvit.evaluation.metrics import Ranking, bootstrap, confusion
from mvit.evaluation.scoring import Metric, Scoring
from mvit.evaluation.statistics import difference_interval, mean_interval, units
from mvit.evaluation.verdict import meaning

GRADED = "graded"
"""Columns of the orders of graded distance, beside those of the disorders."""
RANKED_RESAMPLES = 500  # mAP of every variant is counted again in each
MOST_COLLAPSED = 10


@dataclass(frozen=True, kw_only=True)
class Answers:
    """What a classifier made of each video in every variant; ``columns`` are those of each disorder among the K."""

    columns: Mapping[str, slice]
    grade: np.ndarray
    """The grade of distance of each graded order, from 0 on."""
    distances: np.ndarray
    """Kendall distance of each variant to the true order, (N, K); NaN for what is no order of the same frames."""
    outcomes: np.ndarray
    """The class taken of all views together, and then, where there are several, of each: (N, 1 or 1 + V, K).

    Where videos have several classes, scores: (..., C).
    """


class _Top1:
    """Figures of videos of one class each."""

    def __init__(self, answers: Answers, labels: np.ndarray, sampled: np.ndarray) -> None:
        self.right = (answers.outcomes == labels[:, None, None]).astype(np.float64)
        self.labels, self.sampled = labels, sampled
        self.ordered = self.share(answers.columns["ordered"])

    def share(self, columns: slice) -> np.ndarray:
        # The sample is the videos: one video in ten orders is not ten videos, so each counts with its share of orders.
        return self.right[:, 0, columns].mean(axis=1)

    def by_order(self, columns: slice, view: int) -> np.ndarray:
        return self.right[:, view, columns].mean(axis=0)

    def intervals(self, columns: slice) -> tuple[tuple[float, float], tuple[float, float]]:
        share = self.share(columns)
        return mean_interval(share, self.sampled), difference_interval(self.ordered, share, self.sampled)

    def by_class(self, columns: slice, index: int) -> float:
        return float(self.share(columns)[self.labels == index].mean())


class _MeanAveragePrecision:
    """Figures of videos of several classes at once; all intervals come from the same draws of videos."""

    def __init__(self, answers: Answers, labels: np.ndarray, sampled: np.ndarray) -> None:
        self.scores, self.labels, self.sampled = answers.outcomes, labels, sampled
        (self.ordered,) = self._rankings(answers.columns["ordered"], 0)

    def _rankings(self, columns: slice, view: int) -> list[Ranking]:
        places = range(*columns.indices(self.scores.shape[2]))
        return [Ranking(self.scores[:, view, place], self.labels) for place in places]

    def by_order(self, columns: slice, view: int) -> np.ndarray:
        return np.array([ranking.mean() for ranking in self._rankings(columns, view)])

    def intervals(self, columns: slice) -> tuple[tuple[float, float], tuple[float, float]]:
        if not self.sampled.any():
            return (0.0, 1.0), (-1.0, 1.0)  # one unit says nothing of how others differ from it
        rankings = self._rankings(columns, 0)

        def figures_of(weights: np.ndarray) -> list[float]:
            value = float(np.mean([ranking.mean(weights) for ranking in rankings]))
            return [value, self.ordered.mean(weights) - value]

        (low, high), drop = bootstrap(figures_of, len(self.labels), units=self.sampled, resamples=RANKED_RESAMPLES)
        return (max(0.0, low), min(1.0, high)), (max(-1.0, drop[0]), min(1.0, drop[1]))

    def by_class(self, columns: slice, index: int) -> float:
        return float(np.mean([ranking.average_precision()[index] for ranking in self._rankings(columns, 0)]))


def summary(
    answers: Answers,
    labels: np.ndarray,
    classes: Sequence[str],
    groups: Sequence[str | None] = (),
    *,
    control: bool = False,
) -> dict[str, Any]:
    """The probe's figures from labels (N,), or, of several, bool (N, C), and the group of each video where known.

    By disorder ``top1`` or ``map`` with interval, mean ``kendall`` distance, ``std_over_orders`` and ``per_view``, what
    each view alone has; ``drops`` are in points. ``kendall`` has the figures by grade of distance, ``collapses`` the
    pairs of classes that shuffling makes alike. A ``control`` was trained on shuffled clips.
    """
    several = labels.ndim == 2
    if several:
        require_labelled(labels)
    sampled = units(groups or [None] * len(labels))
    judge = (_MeanAveragePrecision if several else _Top1)(answers, labels, sampled)
    metric = Scoring(multi_label=several).metric
    names = [name for name in TITLES if name in answers.columns]
    views = answers.outcomes.shape[1] - 1
    figures: dict[str, Any] = {}
    drops: dict[str, float] = {}
    drop_intervals: dict[str, list[float]] = {}
    for name in names:
        columns = answers.columns[name]
        by_order, distances = judge.by_order(columns, 0), answers.distances[:, columns]
        value, (interval, drop_interval) = float(by_order.mean()), judge.intervals(columns)
        figures[name] = {
            "title": TITLES[name],
            metric.key: value,
            f"{metric.key}_interval": interval,
            "orders": len(by_order),
            "kendall": None if np.isnan(distances).any() else float(distances.mean()),
            "per_view": [float(judge.by_order(columns, view).mean()) for view in range(1, 1 + views)] or [value],
        }
        if len(by_order) > 1 or name == "shuffled":
            figures[name]["std_over_orders"] = float(by_order.std())
        if name != "ordered":
            drops[name] = 100 * (figures["ordered"][metric.key] - value)
            drop_intervals[name] = [100 * drop_interval[0], 100 * drop_interval[1]]
    named = len({group for group in groups if group is not None})
    content: dict[str, Any] = {
        "videos": len(labels),
        "sampled": {"unit": "group" if named else "video", "count": int(sampled.max()) + 1, "groups": named},
        "control": control,
        "chance": chance(labels) if several else 1 / len(classes),
        **({} if several else {"majority": int(np.bincount(labels).max()) / len(labels)}),
        "disorders": names,
        **figures,
        "drops": drops,
        "drop_intervals": drop_intervals,
        "kendall": _by_distance(judge, answers, metric),
        "per_class": _per_class(judge, answers, labels, classes, names),
    }
    if not several:
        content["reversed"] |= _backwards(answers, labels, classes, sampled)
        content["shuffled"]["most_called"] = _most_called(answers, classes)
        content["collapses"] = _collapses(answers, labels, classes, content["reversed"]["mirrors"])
    return {"meaning": meaning(content), **content}


def _by_distance(judge: _Top1 | _MeanAveragePrecision, answers: Answers, metric: Metric) -> list[dict[str, Any]]:
    """The figures of each grade of graded orders, with the mean of their distances."""
    first, grades = answers.columns[GRADED].start, int(answers.grade.max()) + 1
    figures = []
    for number in range(grades):
        places = first + np.flatnonzero(answers.grade == number)  # grades rise, so these lie side by side
        columns = slice(int(places[0]), int(places[-1]) + 1)
        figures.append(
            {
                "from": number / grades,
                "to": (number + 1) / grades,
                "distance": float(answers.distances[:, columns].mean()),
                metric.key: float(judge.by_order(columns, 0).mean()),
                f"{metric.key}_interval": judge.intervals(columns)[0],
            }
        )
    return figures


def _per_class(
    judge: _Top1 | _MeanAveragePrecision,
    answers: Answers,
    labels: np.ndarray,
    classes: Sequence[str],
    names: Sequence[str],
) -> dict[str, Any]:
    """Recall, or average precision, of each class in every disorder, and the interval of what shuffling costs it."""
    figures: dict[str, Any] = {}
    for index, name in enumerate(classes):
        own = labels[:, index] if labels.ndim == 2 else labels == index
        shares = {
            disorder: judge.by_class(answers.columns[disorder], index) if own.any() else None for disorder in names
        }
        figures[name] = {"support": int(own.sum()), **shares}
        if isinstance(judge, _Top1) and own.any():
            sampled = np.unique(judge.sampled[own], return_inverse=True)[1]
            shuffled = judge.share(answers.columns["shuffled"])
            low, high = difference_interval(judge.ordered[own], shuffled[own], sampled)
            figures[name]["drop_interval"] = [100 * low, 100 * high]
    return figures


def _backwards(answers: Answers, labels: np.ndarray, classes: Sequence[str], sampled: np.ndarray) -> dict[str, Any]:
    """Reversed clips against the class that theirs becomes when played backwards.

    ``called_mirror`` is over videos of classes that have such a mirror; ``shown_top1`` over all, those of the other
    classes scored against their own.
    """
    backwards, forwards = (answers.outcomes[:, 0, answers.columns[name]][:, 0] for name in ("reversed", "ordered"))
    mirror = mirror_in_time(classes)
    index = {name: position for position, name in enumerate(classes)}
    target = np.array([index[mirror.get(name, name)] for name in classes])[labels]
    mirrored = target != labels
    content: dict[str, Any] = {"mirror_videos": int(mirrored.sum()), "mirrors": mirror}
    if not mirrored.any():
        return content | dict.fromkeys(("called_mirror", "called_mirror_interval", "mirror_ordered_top1", "shown_top1"))
    called = (backwards == target).astype(np.float64)
    among = np.unique(sampled[mirrored], return_inverse=True)[1]
    return content | {
        "called_mirror": float(called[mirrored].mean()),
        "called_mirror_interval": mean_interval(called[mirrored], among),
        "mirror_ordered_top1": float((forwards == labels)[mirrored].mean()),
        "shown_top1": float(called.mean()),
        "shown_top1_interval": mean_interval(called, sampled),
    }


def _most_called(answers: Answers, classes: Sequence[str]) -> dict[str, Any]:
    """The class that most shuffled clips are called, and the shares that are, shuffled and in order."""
    shuffled, ordered = (answers.outcomes[:, 0, answers.columns[name]] for name in ("shuffled", "ordered"))
    most = int(np.bincount(shuffled.ravel(), minlength=len(classes)).argmax())
    return {
        "class": classes[most],
        "share": float((shuffled == most).mean()),
        "ordered": float((ordered == most).mean()),
    }


def _collapses(
    answers: Answers, labels: np.ndarray, classes: Sequence[str], mirrors: Mapping[str, str]
) -> list[dict[str, Any]]:
    """The pairs of classes that are taken for each other in more videos when shuffled, those of most videos first."""

    def taken(disorder: str) -> np.ndarray:
        predicted = answers.outcomes[:, 0, answers.columns[disorder]]
        orders = predicted.shape[1]
        return confusion(labels.repeat(orders), predicted.ravel(), len(classes)) / orders

    before, after = taken("ordered"), taken("shuffled")
    support = np.bincount(labels, minlength=len(classes))
    growth = after + after.T - before - before.T
    first, second = np.triu_indices(len(classes), k=1)
    most = np.argsort(-growth[first, second], kind="stable")[:MOST_COLLAPSED]
    return [
        {
            "classes": [classes[a], classes[b]],
            "videos": int(support[a] + support[b]),
            "ordered": float((before[a, b] + before[b, a]) / (support[a] + support[b])),
            "shuffled": float((after[a, b] + after[b, a]) / (support[a] + support[b])),
            "shuffled_each": [
                float(after[one, other] / support[one]) if support[one] else None for one, other in ((a, b), (b, a))
            ],
            "mirror": mirrors.get(classes[a]) == classes[b],
        }
        for a, b in zip(first[most], second[most], strict=True)
        if growth[a, b] > 1e-9
    ]
