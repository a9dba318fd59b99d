"""What scores say about a classifier: counts, shares and how sure one may be of them. Pure numpy."""

from collections.abc import Callable, Sequence
from statistics import NormalDist
from typing import Any

import numpy as np


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities over the last axis, float64, safe for logits of any size."""
    logits = np.asarray(logits, dtype=np.float64)
    exponentials = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return exponentials / exponentials.sum(axis=-1, keepdims=True)


def sigmoid(logits: np.ndarray) -> np.ndarray:
    """The probability of each class by itself, float64, safe for logits of any size."""
    return 0.5 * (1 + np.tanh(0.5 * np.asarray(logits, dtype=np.float64)))


def in_top_k(scores: np.ndarray, labels: np.ndarray, k: int) -> np.ndarray:
    """Whether each row's true class is among its k highest scores: (N, classes), (N,) -> (N,) bool.

    Of equal scores the class that comes first counts as the higher, as ``argmax`` has it, so a model that gives every
    class the same score is not called right.
    """
    assert 1 <= k <= scores.shape[1]
    rows = np.arange(len(labels))
    own = scores[rows, labels][:, None]
    before = np.arange(scores.shape[1])[None, :] < labels[:, None]
    rank = (scores > own).sum(axis=1) + ((scores == own) & before).sum(axis=1)
    return rank < k


def confusion(labels: np.ndarray, predictions: np.ndarray, classes: int) -> np.ndarray:
    """Videos of each true class (row) by the class they were taken for (column): (classes, classes) int64."""
    matrix = np.zeros((classes, classes), dtype=np.int64)
    np.add.at(matrix, (labels, predictions), 1)
    return matrix


def per_class(matrix: np.ndarray) -> list[dict[str, Any]]:
    """Precision, recall with its 95 % interval, F1 and support (videos) of each class of a confusion matrix.

    A share of nothing is ``None``, not 0: recall and F1 of a class without videos, precision of one never predicted.
    """
    figures = []
    for index, row in enumerate(matrix):
        right, support, predicted = int(row[index]), int(row.sum()), int(matrix[:, index].sum())
        figures.append(
            {
                "precision": right / predicted if predicted else None,
                "recall": right / support if support else None,
                "recall_interval": wilson(right, support) if support else None,
                "f1": 2 * right / (support + predicted) if support else None,
                "support": support,
            }
        )
    return figures


def mean_class(matrix: np.ndarray) -> float:
    """The mean recall over the classes that have videos: each class counts the same, however many videos it has."""
    support = matrix.sum(axis=1)
    present = support > 0
    return float((matrix.diagonal()[present] / support[present]).mean())


def wilson(successes: float, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """The interval in which a share lies that was seen as ``successes`` of ``n`` (Wilson, 1927; holds near 0 and 1).

    ``successes`` may be a sum of shares between 0 and 1, one for each of n videos: the interval is then too wide
    rather than too narrow, as such shares vary less than 0 and 1 do.
    """
    assert 0 <= successes <= n
    if n == 0:
        return 0.0, 1.0
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    share = successes / n
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * (share * (1 - share) / n + z * z / (4 * n * n)) ** 0.5
    return max(0.0, centre - half), min(1.0, centre + half)


def paired_difference(first: np.ndarray, second: np.ndarray, confidence: float = 0.95) -> tuple[float, float]:
    """The interval of ``mean(first - second)``, both measured on the same n videos, each value between 0 and 1.

    Agresti and Min (2005): half a video is added to each of the four cells of right and wrong, which keeps the interval
    from shrinking to a point when all videos agree.
    """
    difference = np.asarray(first, dtype=np.float64) - np.asarray(second, dtype=np.float64)
    n = len(difference) + 2
    mean = difference.sum() / n
    variance = max(0.0, ((difference**2).sum() + 1) / n - mean**2) / n
    half = NormalDist().inv_cdf(0.5 + confidence / 2) * variance**0.5
    return float(max(-1.0, mean - half)), float(min(1.0, mean + half))


class Ranking:
    """Videos by falling score, class by class: sorted once, and counted with any weights of the videos.

    N videos, K classes, P pairs of a video and a class that it is of.
    """

    def __init__(self, scores: np.ndarray, labels: np.ndarray) -> None:
        """From scores (N, K) and the classes of each video, bool (N, K)."""
        self.videos, self.classes = scores.shape
        self._order = np.argsort(-scores.T, axis=1, kind="stable")  # (K, N)
        ranked = np.take_along_axis(scores.T, self._order, axis=1)
        # Videos of equal score are one place: whichever of them were listed first, all are counted at its end.
        ends = np.full(ranked.shape, self.videos - 1)
        ends[:, :-1] = np.where(ranked[:, 1:] != ranked[:, :-1], np.arange(self.videos - 1), self.videos - 1)
        ends = np.minimum.accumulate(ends[:, ::-1], axis=1)[:, ::-1]
        self._class, places = np.nonzero(np.take_along_axis(labels.T, self._order, axis=1))  # (P,) each, in order
        self._video, self._end = self._order[self._class, places], ends[self._class, places]
        keys = self._class * self.videos + self._end
        self._first = np.searchsorted(self._class, self._class)
        self._last = np.searchsorted(keys, keys, side="right") - 1

    def average_precision(self, weights: np.ndarray | None = None) -> np.ndarray:
        """The average precision of each class, (K,), with weights of videos (N,) or without; NaN for one of no video.

        The mean, over its videos, of the precision among all that score as high or higher: what scikit-learn's
        ``average_precision_score`` gives, which does not interpolate.
        """
        weights = np.ones(self.videos) if weights is None else np.asarray(weights, dtype=np.float64)
        own = weights[self._video]
        seen = weights[self._order].cumsum(axis=1)[self._class, self._end]
        running = own.cumsum()
        found = running[self._last] - (running - own)[self._first]
        precision = np.divide(found, seen, out=np.zeros_like(own), where=seen > 0)
        total = np.bincount(self._class, own, self.classes)
        gained = np.bincount(self._class, own * precision, self.classes)
        return np.divide(gained, total, out=np.full(self.classes, np.nan), where=total > 0)

    def mean(self, weights: np.ndarray | None = None) -> float:
        """The mean of average precision over the classes that have videos; NaN where none has."""
        figures = self.average_precision(weights)
        return float(np.nanmean(figures)) if not np.isnan(figures).all() else np.nan

    def interval(self, *, resamples: int = 1000, seed: int = 0) -> tuple[float, float]:
        """The 95 % interval of the mean, by ``bootstrap``; where the order is perfect a point, however few videos."""
        ((low, high),) = bootstrap(lambda weights: [self.mean(weights)], self.videos, resamples=resamples, seed=seed)
        return max(0.0, low), min(1.0, high)


def bootstrap(
    figures: Callable[[np.ndarray], Sequence[float]],
    videos: int,
    *,
    units: np.ndarray | None = None,
    resamples: int = 1000,
    seed: int = 0,
) -> list[tuple[float, float]]:
    """The 95 % intervals of figures (F,) of weighted videos, by drawing videos with replacement (Efron, 1979).

    As many as there are, again and again; where the unit of each is given, (videos,), whole units. In a ranking, videos
    drawn twice stand together, which raises what counts how soon they are found: percentiles are shifted so that their
    mean is the figure itself. So an interval tells where other test sets of this size would come out, and rare classes
    do not put the figure outside of it. A draw without a figure (NaN) is left out.
    """
    rng = np.random.default_rng(seed)
    units = np.arange(videos) if units is None else units
    count = int(units.max()) + 1
    draws = (np.bincount(rng.integers(count, size=count), minlength=count)[units] for _ in range(resamples))
    drawn = np.array([figures(draw) for draw in draws])
    drawn = drawn[~np.isnan(drawn).any(axis=1)]
    shift = np.array(figures(np.ones(videos))) - drawn.mean(axis=0)
    low, high = np.quantile(drawn, (0.025, 0.975), axis=0) + shift
    return list(zip(low.tolist(), high.tolist(), strict=True))
