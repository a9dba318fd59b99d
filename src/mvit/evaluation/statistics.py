"""How sure one may be of a difference: intervals over people or source videos, tests, orders. Pure numpy.

N videos, U units that were sampled: groups, or the videos themselves where they have none.
"""

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np

from mvit.evaluation.metrics import paired_difference, wilson

RESAMPLES = 2000
DRAWN_AT_ONCE = 2**21  # numbers, so that a bootstrap of any number of units fits into memory


def units(groups: Sequence[str | None]) -> np.ndarray:
    """The unit of each video, (N,) int64 from 0 on: videos of one group are one, a video without a group is its own."""
    index: dict[object, int] = {}
    # A group is a string and a place is none, so no group can be taken for a video.
    return np.array(
        [index.setdefault(place if group is None else group, len(index)) for place, group in enumerate(groups)],
        dtype=np.int64,
    )


def mean_interval(
    values: np.ndarray,
    units: np.ndarray,
    *,
    confidence: float = 0.95,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> tuple[float, float]:
    """The interval of the mean of values (N,) between 0 and 1, by drawing whole units (N,) with replacement.

    The percentiles of a cluster bootstrap (Davison and Hinkley, 1997, section 3.8): as many units as there are, again
    and again, each with all its videos. Where all units have the same share, as when all is right, draws cannot differ,
    and the interval is that of so many trials (``wilson``). Few units give an interval that is too narrow.
    """
    values = np.asarray(values, dtype=np.float64)
    sums, sizes = np.bincount(units, values), np.bincount(units)
    shares = sums / sizes
    if np.ptp(shares) < 1e-12:
        return wilson(min(float(shares.sum()), len(shares)), len(shares), confidence)
    return _percentiles(_resampled(sums, sizes, resamples, seed), confidence)


def difference_interval(
    first: np.ndarray,
    second: np.ndarray,
    units: np.ndarray,
    *,
    confidence: float = 0.95,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> tuple[float, float]:
    """The interval of ``mean(first - second)``, both measured on the same N videos, by ``difference_method``.

    bootstrap: as ``mean_interval`` has it, both of the same draws of units. trials: of so many as there are units
    (``metrics.paired_difference``). exact: means differ by no more than the share of videos that differ, which is below
    the upper limit for none of N (Clopper and Pearson, 1934), each video by itself: it knows no units.
    """
    method = difference_method(first, second, units)
    if method == "exact":
        bound = 1 - (0.5 - confidence / 2) ** (1 / len(units))
        return -bound, bound
    sizes = np.bincount(units)
    one, other = (np.bincount(units, np.asarray(values, dtype=np.float64)) for values in (first, second))
    if method == "trials":
        return paired_difference(one / sizes, other / sizes, confidence)
    return _percentiles(_resampled(one - other, sizes, resamples, seed), confidence)


def difference_method(
    first: np.ndarray, second: np.ndarray, units: np.ndarray
) -> Literal["bootstrap", "exact", "trials"]:
    """How the interval of a difference is had: draws cannot differ where no video does, or where all units do alike."""
    difference = np.asarray(first, dtype=np.float64) - np.asarray(second, dtype=np.float64)
    if not difference.any():
        return "exact"
    return "trials" if np.ptp(np.bincount(units, difference) / np.bincount(units)) < 1e-12 else "bootstrap"


def _resampled(sums: np.ndarray, sizes: np.ndarray, resamples: int, seed: int) -> np.ndarray:
    """The means of so many draws of units, from each unit's sum and number of videos."""
    rng = np.random.default_rng(seed)
    rows = max(1, DRAWN_AT_ONCE // len(sums))
    means = []
    for first in range(0, resamples, rows):
        drawn = rng.integers(len(sums), size=(min(rows, resamples - first), len(sums)))
        means.append(sums[drawn].sum(axis=1) / sizes[drawn].sum(axis=1))
    return np.concatenate(means)


def _percentiles(drawn: np.ndarray, confidence: float) -> tuple[float, float]:
    low, high = np.quantile(drawn, (0.5 - confidence / 2, 0.5 + confidence / 2))
    return float(low), float(high)


def mcnemar(first: np.ndarray, second: np.ndarray) -> float:
    """The two-sided p that two fixed models are right equally often, from which videos each has right, (N,) bool.

    Exact (McNemar, 1947, by the binomial distribution): of the videos that one of them alone has right, each is as
    likely to be the one's as the other's. It knows no groups, nor how either would come out if trained again.
    """
    first, second = np.asarray(first, dtype=bool), np.asarray(second, dtype=bool)
    only_first, only_second = int((first & ~second).sum()), int((second & ~first).sum())
    differing = only_first + only_second
    tail = sum(math.comb(differing, count) for count in range(min(only_first, only_second) + 1))
    return min(1.0, 2 * tail / 2**differing)  # whole numbers of any length, so nothing is lost


def holm(p: Sequence[float]) -> list[float]:
    """Each p corrected for how many there are, in the order given (Holm, 1979): below 0.05 in 5 % of families at most.

    The smallest is multiplied by their number, the next by one less, and so on, none below the one before it.
    """
    corrected, highest = [0.0] * len(p), 0.0
    for rank, index in enumerate(sorted(range(len(p)), key=lambda index: p[index])):
        highest = max(highest, min(1.0, (len(p) - rank) * p[index]))
        corrected[index] = highest
    return corrected


def t_quantile(share: float, freedom: int) -> float:
    """The quantile of Student's t for a share above one half, by halving; 2.776 for 0.975 and 4 degrees of freedom."""
    low, high = 0.0, 1.0
    while _t_below(high, freedom) < share:
        high *= 2
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if _t_below(middle, freedom) < share else (low, middle)
    return high


def _t_below(t: float, freedom: int) -> float:
    """The share of Student's t below a positive t, for whole degrees of freedom (Abramowitz and Stegun 26.7.3-4)."""
    angle = math.atan(t / math.sqrt(freedom))
    square = math.cos(angle) ** 2
    odd = freedom % 2
    term = total = math.cos(angle) if odd else 1.0
    for k in range(2 + odd, freedom - 1, 2):
        term *= square * (k - 1) / k
        total += term
    within = (
        2 / math.pi * (angle + math.sin(angle) * (total if freedom > 1 else 0.0)) if odd else math.sin(angle) * total
    )
    return (1 + within) / 2


def kendall_distance(orders: np.ndarray) -> np.ndarray:
    """The share of pairs that stand in the wrong order, 0 (in order) to 1 (reversed): (..., T) -> (...).

    Of permutations of T; (1 - tau) / 2 of Kendall's tau (1938) to the true order. A random order has 0.5 on average.
    """
    size = orders.shape[-1]
    assert size >= 2
    first, second = np.triu_indices(size, k=1)
    return (orders[..., first] > orders[..., second]).mean(axis=-1)
