"""Printed accuracy against cost: a panel for each data set, MViT beside what it is compared with, as one SVG."""

import math
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path

from mvit import files
from mvit.analysis.labels import Box, Point, line, placed
from mvit.analysis.markup import Child, Html, tag
from mvit.analysis.plots import alone, ticks
from mvit.analysis.published import TABLES, Data, Published
from mvit.model.presets import PRESETS

PANELS: tuple[Data, ...] = ("Kinetics-400", "ImageNet-1K")
WIDTH, HEIGHT = 960.0, 600.0
LEFT, RIGHT, TOP, BOTTOM = 46.0, 16.0, 44.0, 62.0
KEY_HEIGHT = 26.0
NAME, NAMED = (0.60, 11.0), (0.68, 13.0)
"""Mean width of a letter as a share of the font's size, at most among the page's fonts, and that size."""
STYLE = """
svg .small, svg .value { paint-order: stroke; stroke: var(--page); stroke-width: 3px; stroke-linejoin: round; }
.ours { fill: var(--blue); stroke: var(--blue); } .others { fill: var(--ochre); stroke: var(--ochre); }
circle { stroke-width: 1.6; } circle.pretrained { fill: var(--page); }
.leader { stroke: var(--muted); stroke-width: 0.8; }
"""


def check(out: Path, names: Collection[str]) -> list[str]:
    """Of the names, those that the plot has no point for; raises ``ValueError`` for a file that is not called .svg."""
    if out.suffix.lower() != ".svg":
        raise ValueError(f"{out} would hold SVG: give --plot a file that ends in .svg")
    rows = [row for data in PANELS for row in systems(data)]
    return [name for name in names if not any(_is(row, name) for row in rows)]


def write(out: Path, named: Collection[str]) -> Path:
    """Draw the papers' systems into an SVG file that needs nothing else; those ``named`` stand out.

    Cost is what is printed for a view times the views of a video, so that systems with many views show what they cost.
    Raises ``OSError`` for a file that cannot be written.
    """
    drawn = [_panel(data, KEY_HEIGHT + HEIGHT * place, named) for place, data in enumerate(PANELS)]
    said = "printed accuracy against computation, on " + " and ".join(PANELS)
    files.write_text(out, alone(WIDTH, KEY_HEIGHT + HEIGHT * len(PANELS), said, [_key(), drawn], STYLE))
    return out


def systems(data: Data) -> list[Published]:
    """The rows of the tables with an accuracy on a data set, each system once."""
    rows = [row for table in TABLES.values() for row in table if row.data == data and row.top1 is not None]
    return [row for row in rows if "," not in row.system or row.system.endswith(", max")]


def gmac_per_video(row: Published) -> float:
    """Thousand million multiply-adds of all views that the printed accuracy takes."""
    return row.gmac * math.prod(row.views)


def _is(row: Published, name: str) -> bool:
    """Whether a row is of the preset or the baseline of this name."""
    if row.config is None or name not in PRESETS:
        return row.baseline == name
    return replace(PRESETS[name], num_classes=row.config.num_classes) == row.config


def _key() -> Html:
    parts: list[Child] = []
    x = LEFT
    for kind, said in (
        ("ours", "MViT"),
        ("others", "others"),
        ("ours pretrained", "hollow: pre-trained, on other data or without labels"),
    ):
        parts.append(tag("circle", cx=x, cy=8.0, r=4.5, class_=kind))
        parts.append(tag("text", said, x=x + 10, y=12.0))
        x += 36 + NAME[0] * 11.5 * len(said)
    return tag("g", parts)


class _Axes:
    """A data set's frame on the page, and where a cost and a score lie in it."""

    def __init__(self, data: Data, top: float) -> None:
        self.rows = systems(data)
        costs, scores = [gmac_per_video(row) for row in self.rows], [row.top1 or 0.0 for row in self.rows]
        self.low, self.high = math.log10(min(costs)) - 0.1, math.log10(max(costs)) + 0.1
        self.floor, self.ceiling = math.floor(min(scores)) - 1, math.ceil(max(scores)) + 1
        self.first, self.last = top + TOP, top + HEIGHT - BOTTOM
        self.points = [(self.across(cost), self.down(score)) for cost, score in zip(costs, scores, strict=True)]

    def across(self, cost: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * (math.log10(cost) - self.low) / (self.high - self.low)

    def down(self, score: float) -> float:
        return self.first + (self.last - self.first) * (self.ceiling - score) / (self.ceiling - self.floor)


def layout(data: Data, named: Collection[str], top: float) -> tuple[list[Point], list[Box]]:
    """Where the points of a panel that begins at ``top`` lie, and the boxes of their names."""
    axes = _Axes(data, top)
    sizes = [_size(row, named) for row in axes.rows]
    return axes.points, placed(axes.points, sizes, (LEFT + 2, axes.first, WIDTH - 2, axes.last - 2))


def _panel(data: Data, top: float, named: Collection[str]) -> Html:
    axes = _Axes(data, top)
    last = axes.last
    video = "all views of a video" if data.startswith("Kinetics") else "an image"
    parts: list[Child] = [tag("text", f"{data}: printed top-1 in %", x=0.0, y=axes.first - 16, class_="title")]
    for mark in ticks(axes.floor, axes.ceiling, 8):
        y = axes.down(mark)
        parts.append(tag("line", x1=LEFT, x2=WIDTH - RIGHT, y1=y, y2=y, class_="grid"))
        parts.append(tag("text", f"{mark:g}", x=LEFT - 8, y=y + 4, class_="end"))
    for cost in _round_costs(axes.low, axes.high):
        x = axes.across(cost)
        parts.append(tag("line", x1=x, x2=x, y1=last, y2=last + 6, class_="interval"))
        parts.append(tag("text", f"{cost:,g}", x=x, y=last + 20, class_="middle"))
    said = f"GMAC of {video} (10\N{SUPERSCRIPT NINE} multiply-adds), on a logarithmic scale"
    parts.append(tag("line", x1=LEFT, x2=WIDTH - RIGHT, y1=last, y2=last, class_="interval"))
    parts.append(tag("text", said, x=WIDTH - RIGHT, y=last + 40, class_="end"))

    dots: list[Child] = []
    names: list[Child] = []
    for row, point, box in zip(axes.rows, *layout(data, named, top), strict=True):
        before = f", pre-trained: {row.pretraining}" if row.pretraining else ""
        said = f"{row.system}: {row.top1:g} %, {gmac_per_video(row):,.4g} GMAC{before} [{row.source}]"
        kind = ("ours" if "MViT" in row.system else "others") + (" pretrained" if row.pretraining else "")
        if joint := line(point, box):
            (x1, y1), (x2, y2) = joint
            parts.append(tag("line", x1=x1, y1=y1, x2=x2, y2=y2, class_="leader"))
        strong = _stands_out(row, named)
        dot = tag("circle", tag("title", said), cx=point[0], cy=point[1], r=5.0 if strong else 3.5, class_=kind)
        dots.insert(0 if strong else len(dots), dot)  # a large one lies below those that it would hide
        weight = "value" if strong else "small"
        names.append(tag("text", row.system, x=(box[0] + box[2]) / 2, y=box[3] - 2, class_=f"{weight} middle"))
    return tag("g", parts, dots, names)


def _stands_out(row: Published, named: Collection[str]) -> bool:
    return any(_is(row, name) for name in named)


def _size(row: Published, named: Collection[str]) -> tuple[float, float]:
    share, pixels = NAMED if _stands_out(row, named) else NAME
    return share * pixels * len(row.system), pixels


def _round_costs(low: float, high: float) -> Sequence[float]:
    """1, 2 and 5 times powers of ten between two logarithms."""
    powers = range(math.floor(low), math.ceil(high) + 1)
    costs = [factor * 10.0**power for power in powers for factor in (1, 2, 5)]
    return [cost for cost in costs if low <= math.log10(cost) <= high]
