"""What scores say about a classifier: counts, shares and how sure one may be of them. Pure numpy."""

from statistics import NormalDist
from typing import Any

import numpy as np


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities over the last axis, float64, safe for logits of any size."""
    logits = np.asarray(logits, dtype=np.float64)
    exponentials = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return exponentials / exponentials.sum(axis=-1, keepdims=True)


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
