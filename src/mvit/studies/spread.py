"""What repeated measurements say: medians with quartiles, ratios round by round, and the line through points."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import floor


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
