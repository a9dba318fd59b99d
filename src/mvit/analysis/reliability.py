"""Figures of how far scores can be trusted: right against confidence, and right against how much is answered."""

from collections.abc import Mapping, Sequence
from typing import Any

from mvit.analysis.markup import Child, Html, tag
from mvit.analysis.plots import figure, percent
from mvit.data.samples import counted

WIDTH, LEFT, RIGHT, TOP = 400.0, 52.0, 22.0, 38.0  # right: half of the last mark's label
SIDE = 250.0  # height of the square
GAP, COUNTS = 14.0, 54.0  # to the histogram below it, and its height
LABELS = 42.0  # below the lowest axis
MARKS = (0.0, 0.25, 0.5, 0.75, 1.0)


def reliability(title: str, bins: Sequence[Mapping[str, Any]]) -> Html:
    """Each bin's share right, with its interval, at its mean confidence, and below how many videos it holds."""
    bottom = TOP + SIDE
    floor = bottom + GAP + COUNTS
    parts = [*_frame(title, "share right"), *_across("confidence of the answer", floor, bottom)]
    parts.append(tag("line", x1=_x(0), y1=_y(0), x2=_x(1), y2=_y(1), class_="chance"))
    most = max(each["videos"] for each in bins)
    for each in bins:
        low, high = each["right_interval"]
        left, right = _x(each["low"]), _x(each["high"])
        tall = COUNTS * each["videos"] / most
        said = (
            f"{counted(each['videos'], 'video')} with {percent(each['low'])} to {percent(each['high'])}, on average "
            f"{percent(each['confidence'])}: {percent(each['right'])} right, {percent(low)} to {percent(high)}"
        )
        at = _x(each["confidence"])
        wide = max(right - left, 4.0)
        start = (left + right - wide) / 2
        bar = tag("rect", x=start, y=floor - tall, width=wide, height=max(tall, 1.0), class_="bar quiet")
        whisker = tag("line", x1=at, x2=at, y1=_y(low), y2=_y(high), class_="whisker")
        dot = tag("circle", cx=at, cy=_y(each["right"]), r=4.0, class_="dot")
        parts.append(tag("g", tag("title", said), bar, whisker, dot))
    parts.append(tag("text", f"{most:,}", x=LEFT - 8, y=floor - COUNTS + 10, class_="end"))
    parts.append(tag("text", "videos", x=LEFT - 8, y=floor, class_="end"))
    said = "; ".join(f"confidence {percent(each['confidence'])}: {percent(each['right'])} right" for each in bins)
    return figure(WIDTH, floor + LABELS, f"{title}: {said}", parts)


def coverage(title: str, curve: Sequence[Sequence[float]], precisions: Sequence[float]) -> Html:
    """The share right of the surest answers by how many are given, with dashed lines at wished precisions."""
    bottom = TOP + SIDE
    low = min(share for _, share, _ in curve)
    floor = max(0.0, min(0.75, int(low * 4) / 4))

    def down(share: float) -> float:
        return bottom - SIDE * (share - floor) / (1 - floor)

    marks = [floor + (1 - floor) * place / 5 for place in range(6)]
    parts = [*_frame(title, "share right", marks, down), *_across("coverage: share of videos answered", bottom)]
    for wished in precisions:
        if wished > floor:
            parts.append(tag("line", x1=_x(0), x2=_x(1), y1=down(wished), y2=down(wished), class_="chance"))
    path = "L".join(f"{_x(share):.1f} {down(right):.1f}" for share, right, _ in curve)
    parts.append(tag("path", d=f"M{path}", class_="line line-0"))
    share, right, _ = curve[-1]
    said = f"all answered: {percent(right)} right"
    parts.append(tag("circle", tag("title", said), cx=_x(share), cy=down(right), r=4.0, class_="dot"))
    return figure(WIDTH, bottom + LABELS, f"{title}: {said}", parts)


def _x(share: float) -> float:
    return LEFT + (WIDTH - LEFT - RIGHT) * share


def _y(share: float) -> float:
    return TOP + SIDE * (1 - share)


def _frame(title: str, axis: str, marks: Sequence[float] = MARKS, down: Any = _y) -> list[Child]:
    parts: list[Child] = [
        tag("text", title, x=0.0, y=14.0, class_="title"),
        tag("text", axis, x=WIDTH - RIGHT, y=14.0, class_="end"),
    ]
    for mark in marks:
        parts.append(tag("line", x1=_x(0), x2=_x(1), y1=down(mark), y2=down(mark), class_="grid"))
        parts.append(tag("text", percent(mark, 0), x=LEFT - 8, y=down(mark) + 4, class_="end"))
    return parts


def _across(axis: str, floor: float, *others: float) -> list[Child]:
    parts: list[Child] = [tag("line", x1=_x(0), x2=_x(1), y1=floor, y2=floor, class_="interval")]
    for mark in MARKS:
        at = _x(mark)
        parts += [tag("line", x1=at, x2=at, y1=other, y2=other + 5, class_="interval") for other in (floor, *others)]
        parts.append(tag("text", percent(mark, 0), x=at, y=floor + 18, class_="middle"))
    parts.append(tag("text", axis, x=_x(0.5), y=floor + 36, class_="middle"))
    return parts
