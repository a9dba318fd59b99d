"""Printed accuracy against cost: a panel for each data set, MViT beside what it is compared with, as one SVG."""

import math
from collections.abc import Collection, Sequence
from importlib import resources
from pathlib import Path

from mvit.analysis.markup import Child, Html, tag
from mvit.analysis.plots import GLYPH, figure, ticks
from mvit.analysis.published import TABLES, Data, Published

PANELS: tuple[Data, ...] = ("Kinetics-400", "ImageNet-1K")
WIDTH, HEIGHT = 760.0, 430.0
LEFT, RIGHT, TOP, BOTTOM = 46.0, 130.0, 40.0, 46.0
FONT, BOLD = 11.5, 1.25

Box = tuple[float, float, float, float]
"""Left, top, right, bottom."""


def write(out: Path, named: Collection[str]) -> Path:
    """Draw the papers' systems into an SVG file that needs nothing else; those ``named`` stand out, with MViT's own.

    Cost is what is printed for a view times the views of a video, so that systems with many views show what they cost.
    """
    style = resources.files("mvit.analysis").joinpath("report.css").read_text(encoding="utf-8")
    drawn = [_panel(data, TOP + HEIGHT * place, named) for place, data in enumerate(PANELS)]
    whole = figure(
        WIDTH,
        HEIGHT * len(PANELS),
        "printed accuracy against computation, on " + " and ".join(PANELS),
        [tag("style", style, "svg { background: var(--page); padding: 1rem; }"), drawn],
        xmlns="http://www.w3.org/2000/svg",
    )
    out.write_text(f"{whole}\n", encoding="utf-8")
    return out


def systems(data: Data) -> list[Published]:
    """The rows of the tables with an accuracy on a data set, each system once."""
    rows = [row for table in TABLES.values() for row in table if row.data == data and row.top1 is not None]
    return [row for row in rows if "," not in row.system or row.system.endswith(", max")]


def gmac_per_video(row: Published) -> float:
    """Thousand million multiply-adds of all views that the printed accuracy takes."""
    return row.gmac * math.prod(row.views)


def _panel(data: Data, top: float, named: Collection[str]) -> Html:
    rows = systems(data)
    costs, scores = [gmac_per_video(row) for row in rows], [row.top1 or 0.0 for row in rows]
    low, high = math.log10(min(costs)) - 0.1, math.log10(max(costs)) + 0.1
    floor, ceiling = math.floor(min(scores)), math.ceil(max(scores))
    height = HEIGHT - TOP - BOTTOM

    def across(cost: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * (math.log10(cost) - low) / (high - low)

    def down(score: float) -> float:
        return top + height * (ceiling - score) / (ceiling - floor)

    video = "all views of a video" if data.startswith("Kinetics") else "an image"
    parts: list[Child] = [tag("text", f"{data}: top-1 in % against GMAC of {video}", x=0.0, y=top - 16, class_="title")]
    for mark in ticks(floor, ceiling, 7):
        parts.append(tag("line", x1=LEFT, x2=WIDTH - RIGHT, y1=down(mark), y2=down(mark), class_="grid"))
        parts.append(tag("text", f"{mark:g}", x=LEFT - 8, y=down(mark) + 4, class_="end"))
    for cost in _round_costs(low, high):
        parts.append(tag("text", f"{cost:,g}", x=across(cost), y=top + height + 20, class_="middle"))
    taken = [
        (x - 4, y - 4, x + 4, y + 4) for x, y in ((across(c), down(s)) for c, s in zip(costs, scores, strict=True))
    ]
    for row, cost, score in zip(rows, costs, scores, strict=True):
        ours = "MViT" in row.system
        stands_out = ours or row.baseline in named
        said = f"{row.system}: {score:g} %, {cost:,.4g} GMAC [{row.source}]"
        kind = "dot" if ours else "wrong"
        parts.append(
            tag(
                "circle", tag("title", said), cx=across(cost), cy=down(score), r=5.0 if stands_out else 3.5, class_=kind
            )
        )
        parts.append(_label(row.system, across(cost), down(score), stands_out, taken))
    return tag("g", parts)


def _label(name: str, x: float, y: float, stands_out: bool, taken: list[Box]) -> Html:
    """The name beside its point, where it hides the least of what is there."""
    wide = GLYPH * FONT * (BOLD if stands_out else 1.0) * len(name)
    corners = [(x + 8, y - 6), (x - 8 - wide, y - 6), (x - wide / 2, y - 20), (x - wide / 2, y + 7)]
    corners += [(x + 7, y - 16), (x + 7, y + 5), (x - 7 - wide, y - 16), (x - 7 - wide, y + 5)]
    boxes = [(left, above, left + wide, above + 12) for left, above in corners]
    inside = [box for box in boxes if box[0] >= 0 and box[2] <= WIDTH] or boxes
    box = min(inside, key=lambda box: (sum(_overlap(box, other) for other in taken), inside.index(box)))
    taken.append(box)
    return tag("text", name, x=box[0], y=box[1] + 10, class_="value" if stands_out else "small")


def _overlap(one: Box, other: Box) -> float:
    wide, tall = min(one[2], other[2]) - max(one[0], other[0]), min(one[3], other[3]) - max(one[1], other[1])
    return max(wide, 0.0) * max(tall, 0.0)


def _round_costs(low: float, high: float) -> Sequence[float]:
    """1, 2 and 5 times powers of ten between two logarithms."""
    powers = range(math.floor(low), math.ceil(high) + 1)
    costs = [factor * 10.0**power for power in powers for factor in (1, 2, 5)]
    return [cost for cost in costs if low <= math.log10(cost) <= high]
