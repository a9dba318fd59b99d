"""Figures as SVG drawn by hand: a page's own fonts and colours, light and dark, text that can be searched and read out.

Colours are classes of report.css, so a figure follows the reader's theme and prints in black on white.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib import resources

from mvit.analysis.markup import Child, Html, join, tag

GLYPH = 0.56  # mean width of a letter, as a share of the font's size
ALONE = "svg { background: var(--page); }"  # of a figure that is a whole page
MARGIN = 16.0  # around such a figure, in pixels
MATRIX_PIXELS = 620.0
LABELLED_CELL, NUMBERED_CELL = 11.0, 20.0  # pixels from which a cell's name, and its count, can be read
SMALLEST_SPECK = 2.6
LONGEST_LABEL = 26


@dataclass(frozen=True)
class Series:
    """A line: None where nothing was measured, and what is not finite breaks it."""

    name: str
    values: Sequence[float | None]


@dataclass(frozen=True)
class Bar:
    """A share with its interval; ``note`` stands small under the label."""

    label: str
    note: str
    share: float
    low: float
    high: float
    quiet: bool = False


def percent(share: float, digits: int = 1) -> str:
    """A share as the page shows it: ``71.9 %``, with a space at which no line breaks."""
    return f"{100 * share:.{digits}f}\N{NO-BREAK SPACE}%"


def unbroken(text: str) -> str:
    """Text in which no line breaks between a number and its percent sign."""
    return text.replace(" %", "\N{NO-BREAK SPACE}%")


def ticks(low: float, high: float, most: int = 5) -> list[float]:
    """Round numbers from low to high, at most so many: steps of 1, 2, 2.5 or 5 times a power of ten."""
    if not high > low:
        return [low]
    step = _step(low, high, most)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(number * step, 12) for number in range(first, last + 1)]


def _step(low: float, high: float, most: int) -> float:
    rough = (high - low) / (most - 1)
    power = 10.0 ** math.floor(math.log10(rough))
    return next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= rough * 0.999)


def curves(
    title: str,
    x: Sequence[float],
    series: Sequence[Series],
    *,
    show: Callable[[float], str],
    low: float | None = None,
    high: float | None = None,
) -> Html:
    """Lines over epochs in a small panel."""
    width, height, left, right, top, bottom = 400.0, 216.0, 52.0, 14.0, 38.0, 34.0
    known = [value for line in series for value in line.values if value is not None and math.isfinite(value)]
    floor = min(known, default=0.0) if low is None else low
    ceiling = max(known, default=1.0) if high is None else high
    if ceiling <= floor:
        ceiling = floor + (abs(floor) or 1.0)
    step = _step(floor, ceiling, 5)
    floor = floor if low is not None else step * math.floor(floor / step + 1e-9)
    ceiling = ceiling if high is not None else step * math.ceil(ceiling / step - 1e-9)
    marks = ticks(floor, ceiling, 6)
    first, last = min(x, default=0), max(x, default=1)

    def across(value: float) -> float:
        return left + (width - left - right) * ((value - first) / (last - first) if last > first else 0.5)

    def down(value: float) -> float:
        return height - bottom - (height - top - bottom) * (value - floor) / (ceiling - floor)

    parts = [tag("text", title, x=0.0, y=14.0, class_="title")]
    for mark in marks:
        parts.append(tag("line", x1=left, x2=width - right, y1=down(mark), y2=down(mark), class_="grid"))
        parts.append(tag("text", show(mark), x=left - 8, y=down(mark) + 4, class_="end"))
    epochs = [mark for mark in ticks(first, last, 7) if float(mark).is_integer()]
    parts.append(tag("text", "epoch", x=left - 8, y=height - bottom + 20, class_="end"))
    for mark in epochs or [first]:
        parts.append(tag("text", f"{mark:g}", x=across(mark), y=height - bottom + 20, class_="middle"))
    at = width - right
    for number, line in reversed(list(enumerate(series))):
        if len(series) > 1:
            parts.append(tag("text", line.name, x=at, y=14.0, class_=f"end key-{number}"))
            at -= 13 * GLYPH * len(line.name) + 14
        parts.append(_line(x, line.values, across, down, number))
    return figure(width, height, f"{title} by epoch", parts)


def bars(rows: Sequence[Bar], marks: Sequence[tuple[str, float]]) -> Html:
    """Shares from 0 to 100 % as bars with their intervals, and dashed lines at named shares such as chance."""
    width, left, right, row_height, top = 760.0, 236.0, 76.0, 46.0, 26.0
    bottom = top + row_height * len(rows)
    across = [left + (width - left - right) * share for share in (0, 0.25, 0.5, 0.75, 1)]
    parts: list[Child] = []
    for at, share in zip(across, (0, 25, 50, 75, 100), strict=True):
        parts.append(tag("line", x1=at, x2=at, y1=top, y2=bottom, class_="grid"))
        parts.append(tag("text", f"{share} %", x=at, y=bottom + 18, class_="middle"))

    def place(share: float) -> float:
        return left + (width - left - right) * share

    for number, row in enumerate(rows):
        middle = top + row_height * (number + 0.5)
        parts += [
            tag("text", _shortened(row.label, 34), x=left - 14, y=middle - 2, class_="end name"),
            tag("text", row.note, x=left - 14, y=middle + 13, class_="end small"),
            tag(
                "rect",
                tag("title", f"{row.label}: {percent(row.share)}, {percent(row.low)} to {percent(row.high)}"),
                x=left,
                y=middle - 11,
                width=max(place(row.share) - left, 0.5),
                height=22.0,
                class_="bar quiet" if row.quiet else "bar",
            ),
            [
                tag("path", d=_whisker(place(row.low), place(row.high), middle), class_=kind)
                for kind in ("halo", "whisker")
            ],
            tag("text", percent(row.share), x=width, y=middle + 4, class_="end value"),
        ]
    for name, share in marks:
        parts.append(tag("line", x1=place(share), x2=place(share), y1=top - 6, y2=bottom, class_="chance"))
        parts.append(tag("text", f"{name} {percent(share)}", x=place(share), y=top - 12, class_="middle small"))
    said = "; ".join(f"{row.label} {percent(row.share)}" for row in rows)
    return figure(width, bottom + 26, said, parts)


def against(
    title: str, axis: str, points: Sequence[tuple[float, float, float, float]], mark: tuple[str, float]
) -> Html:
    """Shares against a number from 0 to 1: points (number, share, low, high) joined by a line, and a named share."""
    width, height, left, right, top, bottom = 760.0, 330.0, 52.0, 14.0, 34.0, 50.0

    def across(value: float) -> float:
        return left + (width - left - right) * value

    def down(share: float) -> float:
        return height - bottom - (height - top - bottom) * share

    parts = [tag("text", title, x=0.0, y=14.0, class_="title")]
    for share in (0, 0.25, 0.5, 0.75, 1):
        parts.append(tag("line", x1=left, x2=width - right, y1=down(share), y2=down(share), class_="grid"))
        parts.append(tag("text", percent(share, 0), x=left - 8, y=down(share) + 4, class_="end"))
    for value in (0, 0.25, 0.5, 0.75, 1):
        parts.append(tag("text", f"{value:g}", x=across(value), y=height - bottom + 20, class_="middle"))
    parts.append(tag("text", axis, x=(left + width - right) / 2, y=height - 8, class_="middle"))
    name, level = mark
    parts.append(tag("line", x1=left, x2=width - right, y1=down(level), y2=down(level), class_="chance"))
    parts.append(tag("text", f"{name} {percent(level)}", x=left + 4, y=down(level) - 5, class_="small"))
    for number, share, low, high in points:
        at, ends = across(number), "".join(f"M{across(number) - 5:.1f} {down(end):.1f}h10" for end in (low, high))
        path = f"M{at:.1f} {down(low):.1f}V{down(high):.1f}{ends}"
        said = f"{number:.2f}: {percent(share)}, {percent(low)} to {percent(high)}"
        dot = tag("circle", tag("title", said), cx=at, cy=down(share), r=4.0, class_="dot")
        parts += [tag("path", d=path, class_="whisker"), dot]
    line = "L".join(f"{across(number):.1f} {down(share):.1f}" for number, share, _, _ in points)
    said = "; ".join(f"{number:.2f} {percent(share)}" for number, share, _, _ in points)
    return figure(width, height, f"{title}: {said}", [*parts, tag("path", d=f"M{line}", class_="line line-0")])


def strip(share: float, low: float, high: float) -> Html:
    """A share and its interval, small enough for a cell of a table."""
    width, height = 132.0, 14.0

    def place(value: float) -> float:
        return 4 + (width - 8) * value

    return figure(
        width,
        height,
        f"{percent(share)}, {percent(low)} to {percent(high)}",
        [
            tag("line", x1=place(0), x2=place(1), y1=height / 2, y2=height / 2, class_="grid"),
            tag("line", x1=place(low), x2=place(high), y1=height / 2, y2=height / 2, class_="interval"),
            tag("circle", cx=place(share), cy=height / 2, r=3.5, class_="dot"),
        ],
    )


def is_named(classes: int) -> bool:
    """Whether the matrix of so many classes has room for their names."""
    return MATRIX_PIXELS / classes >= LABELLED_CELL


def matrix(classes: Sequence[str], counts: Sequence[Sequence[int]]) -> Html:
    """A confusion matrix: a row for each true class, shaded by the share of the row, readable from 1 to 1,000 classes.

    Cells carry counts while they have room, and names while they have room; beyond that the axes count the classes.
    """
    size = len(classes)
    cell = min(MATRIX_PIXELS / size, 64.0)
    named = cell >= LABELLED_CELL
    font = min(12.5, cell * 0.85) if named else 11.0
    names = [_shortened(name, LONGEST_LABEL) for name in classes]
    longest = GLYPH * font * max(len(name) for name in names) if named else 28.0
    upright = longest > cell - 6
    left, top = (
        30 + longest + 8,
        26 + (longest * (0.72 if cell >= NUMBERED_CELL else 1) if named and upright else 18) + 8,
    )
    side = cell * size
    parts = _cells(classes, counts, cell) if named else _specks(counts, cell)
    parts.append(tag("rect", x=0.0, y=0.0, width=side, height=side, class_="frame"))
    parts += _names(names, cell, font, upright) if named else _places(size, cell)
    parts.append(tag("text", "predicted class", x=side / 2, y=14 - top, class_="middle title"))
    turned = f"rotate(-90 {14 - left:.1f} {side / 2:.1f})"
    parts.append(tag("text", "true class", x=14 - left, y=side / 2, transform=turned, class_="middle title"))
    overhang = longest * 0.72 if named and upright and cell >= NUMBERED_CELL else 0
    body = tag("g", parts, transform=f"translate({left:.1f} {top:.1f})")
    said = f"confusion matrix of {size} classes"
    return figure(
        left + side + max(overhang - cell / 2, 0) + 8, top + side + 2, said, [body], style=f"font-size:{font:.1f}px"
    )


def _filled(counts: Sequence[Sequence[int]]) -> Iterator[tuple[int, int, int, int]]:
    """Row, column, count and the row's total of each cell that is not empty."""
    for row, line in enumerate(counts):
        total = sum(line)
        yield from ((row, column, count, total) for column, count in enumerate(line) if count)


def _cells(classes: Sequence[str], counts: Sequence[Sequence[int]], cell: float) -> list[Html]:
    """Cells with what they mean as a tooltip, and their counts while there is room."""
    drawn = []
    for row, column, count, total in _filled(counts):
        x, y, share, kind = column * cell, row * cell, count / total, "right" if row == column else "wrong"
        said = f"{classes[row]} taken for {classes[column]}: {count:,} of {total:,} ({percent(share)})"
        shade = tag("rect", x=x, y=y, width=cell, height=cell, class_=kind, fill_opacity=0.12 + 0.88 * share)
        number = None
        if cell >= NUMBERED_CELL:
            size = min(14.0, cell * 0.46, cell * 1.5 / len(f"{count}"))
            weight = "count strong" if share > 0.55 else "count"
            place = {"x": x + cell / 2, "y": y + cell / 2 + size * 0.35}
            number = tag("text", count, class_=weight, style=f"font-size:{size:.1f}px", **place)
        drawn.append(tag("g", tag("title", said), shade, number))
    return drawn


def _specks(counts: Sequence[Sequence[int]], cell: float) -> list[Html]:
    """Thousands of small cells, large enough to be seen, as one path for each of eight shades."""
    shades: dict[tuple[str, int], list[str]] = {}
    size = max(cell, SMALLEST_SPECK)
    for row, column, count, total in _filled(counts):
        x, y = ((place + 0.5) * cell - size / 2 for place in (column, row))
        paths = shades.setdefault(("right" if row == column else "wrong", math.ceil(8 * count / total)), [])
        paths.append(f"M{x:.1f} {y:.1f}h{size:.1f}v{size:.1f}h-{size:.1f}z")
    return [
        tag("path", d="".join(paths), class_=kind, fill_opacity=0.3 + 0.7 * level / 8)
        for (kind, level), paths in sorted(shades.items(), reverse=True)
    ]


def _names(names: Sequence[str], cell: float, font: float, upright: bool) -> list[Html]:
    parts = []
    for number, name in enumerate(names):
        middle = (number + 0.5) * cell
        parts.append(tag("text", name, x=-8.0, y=middle + font * 0.35, class_="end"))
        if not upright:
            parts.append(tag("text", name, x=middle, y=-8.0, class_="middle"))
            continue
        angle = -45 if cell >= NUMBERED_CELL else -90
        x, y = middle + (font * 0.2 if angle == -45 else font * 0.35), -7.0
        parts.append(tag("text", name, x=x, y=y, transform=f"rotate({angle} {x:.1f} {y:.1f})"))
    return parts


def _places(size: int, cell: float) -> list[Html]:
    parts = []
    for mark in (int(mark) for mark in ticks(0, size, 9) if 1 <= mark <= size):
        middle = (mark - 0.5) * cell
        parts.append(tag("text", mark, x=-8.0, y=middle + 4, class_="end"))
        parts.append(tag("text", mark, x=middle, y=-8.0, class_="middle"))
    return parts


def _line(
    x: Sequence[float],
    values: Sequence[float | None],
    across: Callable[[float], float],
    down: Callable[[float], float],
    number: int,
) -> Html:
    path, pen, last = "", "M", None
    for at, value in zip(x, values, strict=True):
        if value is None:  # not measured in this epoch: the line goes on to the next that was
            continue
        if not math.isfinite(value):
            pen = "M"
            continue
        last = (across(at), down(value))
        path += f"{pen}{last[0]:.1f} {last[1]:.1f}"
        pen = "L"
    end = tag("circle", cx=last[0], cy=last[1], r=2.8, class_=f"end-{number}") if last else None
    return join(tag("path", d=path, class_=f"line line-{number}"), end)


def _whisker(low: float, high: float, y: float) -> str:
    ends = "".join(f"M{x:.1f} {y - 5:.1f}v10" for x in (low, high))
    return f"M{low:.1f} {y:.1f}H{high:.1f}{ends}"


def figure(
    width: float, height: float, label: str, parts: Sequence[Child], *, margin: float = 0.0, **attributes: str
) -> Html:
    """Parts as one SVG of so many pixels, and a margin around them, with what it shows in words."""
    wide, tall = width + 2 * margin, height + 2 * margin
    return tag(
        "svg",
        parts,
        viewBox=f"{0 - margin:.0f} {0 - margin:.0f} {wide:.0f} {tall:.0f}",
        width=f"{wide:.0f}",
        height=f"{tall:.0f}",
        role="img",
        aria_label=label,
        **attributes,
    )


def alone(width: float, height: float, label: str, parts: Sequence[Child], style: str = "") -> str:
    """A figure as the text of an SVG file that needs nothing else: it brings the page's style and its own."""
    page = resources.files("mvit.analysis").joinpath("report.css").read_text(encoding="utf-8")
    styled = [tag("style", page, ALONE, style), *parts]
    # The margin is of the picture: a padding of the element is cut off where the file is shown as an image.
    svg = figure(width, height, label, styled, margin=MARGIN, xmlns="http://www.w3.org/2000/svg")
    return f"{svg}\n"


def _shortened(name: str, most: int) -> str:
    flat = " ".join(name.split())
    return flat if len(flat) <= most else f"{flat[: most - 1]}…"
