"""What repeated measurements say: medians with quartiles, ratios round by round, and the line through points."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import floor, fsum, sqrt

from mvit.evaluation.statistics import t_quantile


@dataclass(frozen=True)
class Spread:
    """The middle of several numbers, and the quartiles around it."""

    median: float
    low: float
    high: float

    def to_dict(self) -> dict[str, float]:
        """Plain values that JSON can hold."""
        return asdict(self)


def spread(values: Sequence[float]) -> Spread:
    """Median and quartiles, between neighbours by their distance; raises ``ValueError`` where there is no number."""
    if not values:
        raise ValueError("no number has a median")
    ordered = sorted(values)
    return Spread(median=_quantile(ordered, 0.5), low=_quantile(ordered, 0.25), high=_quantile(ordered, 0.75))


def _quantile(ordered: Sequence[float], share: float) -> float:
    place = share * (len(ordered) - 1)
    below = floor(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (place - below) * (ordered[above] - ordered[below])


def ratios(numerators: Sequence[float], denominators: Sequence[float]) -> Spread:
    """The spread of the ratios of two series that were measured round by round.

    What slows the machine down for a while slows both down, and leaves their ratio.
    """
    return spread([over / under for over, under in zip(numerators, denominators, strict=True)])


@dataclass(frozen=True)
class Line:
    """``at_zero + slope * x``."""

    at_zero: float
    slope: float

    def at(self, x: float) -> float:
        """Its height."""
        return self.at_zero + self.slope * x


def line(points: Sequence[tuple[float, float]]) -> Line:
    """The line of least squares through points (x, y); raises ``ValueError`` unless two of them differ in x."""
    if len({x for x, _ in points}) < 2:
        raise ValueError(f"a line needs two different places, not {[x for x, _ in points]}")
    mean_x, mean_y = (sum(each) / len(points) for each in zip(*points, strict=True))
    slope = sum((x - mean_x) * (y - mean_y) for x, y in points) / sum((x - mean_x) ** 2 for x, _ in points)
    return Line(at_zero=mean_y - slope * mean_x, slope=slope)


# ---- differences between two that were measured in pairs -----------------------------------------------------------

CONFIDENCE, POWER = 0.95, 0.8
ROUNDING = 1e-9
"""Differences that are no further apart are the same."""


@dataclass(frozen=True)
class Contrast:
    """The mean of paired differences, its 95 % interval by Student's t, and what such pairs could tell from nothing.

    Pairs that all differ alike show no spread, as few of few videos often do by chance: there is no interval then.
    """

    mean: float
    low: float | None
    high: float | None
    resolvable: float | None
    """The difference that four of five such experiments would find: (t of 95 % + t of 80 % power) x standard error."""

    @property
    def resolved(self) -> bool:
        """Whether there is an interval and it leaves out 0."""
        return self.low is not None and self.high is not None and not self.low <= 0 <= self.high

    def to_dict(self) -> dict[str, float | bool | None]:
        """Plain values that JSON can hold."""
        return asdict(self) | {"resolved": self.resolved}


def contrast(values: Sequence[float], reference: Sequence[float]) -> Contrast:
    """How far values are from those of a reference, pair by pair; raises ``ValueError`` below two pairs."""
    differences = [value - other for value, other in zip(values, reference, strict=True)]
    middle, error = mean(differences), deviation(differences) / sqrt(len(differences))
    if max(differences) - min(differences) < ROUNDING:
        return Contrast(mean=middle, low=None, high=None, resolvable=None)
    freedom = len(differences) - 1
    wide = t_quantile((1 + CONFIDENCE) / 2, freedom)
    return Contrast(
        mean=middle,
        low=middle - wide * error,
        high=middle + wide * error,
        resolvable=(wide + t_quantile(POWER, freedom)) * error,
    )


def mean(values: Sequence[float]) -> float:
    """The arithmetic mean."""
    return fsum(values) / len(values)


def deviation(values: Sequence[float]) -> float:
    """The standard deviation of a sample, over n - 1; raises ``ValueError`` where it has one value or none."""
    if len(values) < 2:
        raise ValueError(f"{len(values)} values have no spread: there must be at least 2")
    middle = mean(values)
    return sqrt(fsum((value - middle) ** 2 for value in values) / (len(values) - 1))
