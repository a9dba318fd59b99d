"""Whether a score means what it says: are 80 % of the answers right that score 0.8, and which answers can be trusted.

An answer is the class of a video's highest score, and its confidence is that score. N videos, K classes, U units that
were sampled (``statistics.units``). Pure numpy.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from mvit.evaluation.metrics import bootstrap, wilson
from mvit.evaluation.statistics import difference_interval, difference_method, mean_interval

BINS = 15
"""Of confidence, as Guo et al. (2017) have it."""
PRECISIONS = (0.8, 0.9, 0.95, 0.99)
"""For which a threshold is sought."""
FOLDS = 5
RESAMPLES = 1000
CURVE_POINTS = 100
CURVE_FROM = 10
"""Answers from which on the share that is right is drawn: of fewer it says little."""


def equal_width(confidence: np.ndarray, bins: int = BINS) -> np.ndarray:
    """The bin of each answer, (N,) int64, of bins as wide as each other; one that lies on an edge is in the lower."""
    # Rounded first, as 0.6 * 15 is a little over 9.
    return np.clip(np.ceil(np.round(confidence * bins, 9)).astype(np.int64) - 1, 0, bins - 1)


def adaptive(confidence: np.ndarray, bins: int = BINS) -> np.ndarray:
    """The bin of each answer, (N,) int64, of bins that hold as many; equal confidences are in one, at most N bins.

    Source: Nguyen and O'Connor (2015).
    """
    below = np.searchsorted(np.sort(confidence), confidence, side="left")
    return below * min(bins, len(confidence)) // len(confidence)


def calibration_error(
    confidence: np.ndarray, right: np.ndarray, bins: np.ndarray, weights: np.ndarray | None = None
) -> float:
    """The expected calibration error: how far the confidence of an answer's bin is from its share right, on average.

    Of answers (N,) with weights or without. Source: Naeini et al. (2015).
    """
    weights = np.ones(len(bins)) if weights is None else weights
    gaps = np.bincount(bins, weights * (right - confidence))
    return float(np.abs(gaps).sum() / weights.sum())


def calibration(confidence: np.ndarray, right: np.ndarray, units: np.ndarray, *, seed: int = 0) -> dict[str, Any]:
    """How far confidence is from the share that is right, as JSON holds it; shares are fractions, intervals 95 %.

    ``overconfidence`` is their difference over all answers. Of each way to bin: ``error`` (``calibration_error``), its
    interval by drawing units (``metrics.bootstrap``), or by that of ``overconfidence`` where all is right or wrong, and
    what it would come to, were every confidence exactly the chance to be right: ``by_chance``, the mean, and
    ``by_chance_most``, which 95 of 100 sets of these videos would not exceed (Bröcker and Smith, 2007). Small sets have
    an error in any case, and this says how much of it is that.
    """
    rng = np.random.default_rng(seed)
    pretended = [rng.random(len(confidence)) < confidence for _ in range(RESAMPLES)]
    ways: dict[str, Any] = {}
    for name, bins in (("equal_width", equal_width(confidence)), ("adaptive", adaptive(confidence))):
        low, high = _error_interval(confidence, right, bins, units, seed)
        chance = [calibration_error(confidence, drawn, bins) for drawn in pretended]
        ways[name] = {
            "error": calibration_error(confidence, right, bins),
            "error_interval": (low, high),
            "by_chance": float(np.mean(chance)),
            "by_chance_most": float(np.quantile(chance, 0.95)),
            "bins": [_bin(confidence[bins == number], right[bins == number]) for number in np.unique(bins)],
        }
    return {
        "confidence": float(confidence.mean()),
        "right": float(right.mean()),
        "overconfidence": float(confidence.mean() - right.mean()),
        "overconfidence_interval": _gap_interval(confidence, right, units, seed),
        **ways,
    }


def _gap_interval(confidence: np.ndarray, right: np.ndarray, units: np.ndarray, seed: int) -> tuple[float, float]:
    """The interval of mean confidence less share right, by drawing units, also where all of them have the same right.

    Draws say nothing then of how the share right may come out, which is joined in by Wilson's interval of so many
    trials: each limit is as far off as those of the two together, by squares (Zou and Donner, 2008).
    """
    own = np.bincount(units, right) / np.bincount(units)
    if np.ptp(own) >= 1e-12 or difference_method(confidence, right, units) == "trials":
        return difference_interval(confidence, right, units, seed=seed)
    sure, share = float(confidence.mean()), float(right.mean())
    least_sure, most_sure = mean_interval(confidence, units, seed=seed)
    least, most = mean_interval(right, units, seed=seed)
    gap = sure - share
    return gap - math.hypot(sure - least_sure, most - share), gap + math.hypot(most_sure - sure, share - least)


def _error_interval(
    confidence: np.ndarray, right: np.ndarray, bins: np.ndarray, units: np.ndarray, seed: int
) -> tuple[float, float]:
    def error(drawn: np.ndarray) -> Sequence[float]:  # (U,) how often each unit was drawn
        return [calibration_error(confidence, right, bins, drawn[units].astype(np.float64))]

    own = np.bincount(units, right) / np.bincount(units)
    certain = bool(right.all() or not right.any())
    if len(own) == 1 or (np.ptp(own) < 1e-12 and not certain):
        return 0.0, 1.0  # one unit, or units that are alike, say nothing of how others differ from them
    if certain:  # the error is the mean gap then, of which draws show too little
        low, high = _gap_interval(confidence, right, units, seed)
        return max(low, -high, 0.0), min(1.0, max(-low, high))
    ((low, high),) = bootstrap(error, int(units.max()) + 1, resamples=RESAMPLES, seed=seed)
    return max(0.0, low), min(1.0, high)


def _bin(confidence: np.ndarray, right: np.ndarray) -> dict[str, Any]:
    """A bin's answers: how many, between which confidences, their mean, and the share right with Wilson's interval."""
    return {
        "videos": len(right),
        "low": float(confidence.min()),
        "high": float(confidence.max()),
        "confidence": float(confidence.mean()),
        "right": float(right.mean()),
        "right_interval": wilson(int(right.sum()), len(right)),
    }


def log_loss(scores: np.ndarray, labels: np.ndarray) -> float:
    """The mean of minus the logarithm of the true class's score, of (N, K) and (N,), which is at least 1e-300."""
    own = scores[np.arange(len(labels)), labels]
    return float(np.log(1 / np.maximum(own, 1e-300)).mean())


def threshold(confidence: np.ndarray, right: np.ndarray, precision: float) -> float | None:
    """The lowest confidence such that at least this share is right of all answers with no less; None where none is.

    Chosen on these answers, so what it reaches on them is what it reaches elsewhere or more: see ``thresholds``.
    """
    order = np.argsort(-confidence, kind="stable")
    ranked, shares = confidence[order], right[order].cumsum() / np.arange(1, len(order) + 1)
    last = np.append(ranked[1:] != ranked[:-1], True)  # equal confidences are answered together
    enough = np.flatnonzero(last & (shares >= precision - 1e-12))
    return float(ranked[enough[-1]]) if len(enough) else None


def thresholds(
    confidence: np.ndarray,
    right: np.ndarray,
    units: np.ndarray,
    precisions: Sequence[float] = PRECISIONS,
    *,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """The threshold for each wished precision with what it is worth, as JSON holds it; shares are fractions.

    ``threshold`` is chosen on all videos; ``chosen_on`` says what it reaches on these, which flatters it: ``precision``
    and ``coverage``, the share of videos that are answered. ``checked`` is fair: units are dealt into ``folds`` parts,
    each is judged by the threshold that the others choose, and all answers so given are counted; the interval is over
    units. It is None where there is one unit only, and its precision where no answer was given.
    """
    count = int(units.max()) + 1
    folds = min(FOLDS, count)
    dealt = np.random.default_rng(seed).permutation(count) % folds
    fold = dealt[units]
    rows = []
    for wished in precisions:
        chosen = threshold(confidence, right, wished)
        row: dict[str, Any] = {"wished": wished, "threshold": chosen, "chosen_on": None, "checked": None}
        if chosen is not None:
            answered = confidence >= chosen
            row["chosen_on"] = {"precision": float(right[answered].mean()), "coverage": float(answered.mean())}
        if folds > 1:
            elsewhere = [threshold(confidence[fold != n], right[fold != n], wished) for n in range(folds)]
            limits = np.array([np.inf if limit is None else limit for limit in elsewhere])[fold]
            answered = confidence >= limits
            row["checked"] = {
                "folds": folds,
                "answered": int(answered.sum()),
                "coverage": float(answered.mean()),
                "precision": float(right[answered].mean()) if answered.any() else None,
                "precision_interval": _precision_interval(right, answered, units, seed) if answered.any() else None,
            }
        rows.append(row)
    return rows


def _precision_interval(right: np.ndarray, answered: np.ndarray, units: np.ndarray, seed: int) -> tuple[float, float]:
    _, own = np.unique(units[answered], return_inverse=True)
    return mean_interval(right[answered], own, seed=seed)


def coverage_curve(confidence: np.ndarray, right: np.ndarray) -> list[tuple[float, float, float]]:
    """Coverage, the share right of what is answered, and the threshold for it, from few answers to all of them."""
    order = np.argsort(-confidence, kind="stable")
    ranked, shares = confidence[order], right[order].cumsum() / np.arange(1, len(order) + 1)
    ends = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True))
    ends = ends[(ends + 1 >= min(CURVE_FROM, len(order))) | (ends == len(order) - 1)]
    if len(ends) > CURVE_POINTS:
        ends = ends[np.linspace(0, len(ends) - 1, CURVE_POINTS).round().astype(np.int64)]
    return [((end + 1) / len(order), float(shares[end]), float(ranked[end])) for end in ends.tolist()]
