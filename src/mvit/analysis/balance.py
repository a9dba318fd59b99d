"""Where the computation of a model goes, drawn: block by block at one size, and stage by stage as the size changes."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from fractions import Fraction
from pathlib import Path

from mvit import files
from mvit.analysis.complexity import Complexity, complexity
from mvit.analysis.markup import Child, Html, tag
from mvit.analysis.plots import alone, percent, ticks
from mvit.model.config import MViTConfig, Triple

WIDTH, HEIGHT = 760.0, 200.0
LEFT, TOP, BOTTOM = 64.0, 56.0, 66.0
FACTORS = tuple(Fraction(n, 2) for n in (1, 2, 3, 4, 6, 8))
"""By which the size is changed, one of its axes at a time: time, or height and width together."""
FILLS = ("var(--blue)", "var(--ochre)", "var(--green)", "var(--muted)")
DASHES = (None, "7 3", "2 3", "9 3 2 3")
STYLE = "svg .name { font-size: 11.5px; }"


def write(out: Path, models: Mapping[str, MViTConfig], clip: Triple) -> Path:
    """Draw where computation goes for a clip of (frames, height, width) and for others into an SVG file.

    Raises ``ValueError`` for a clip smaller than the stem's patch, ``OSError`` for a file that cannot be written.
    """
    files.write_text(out, draw(models, clip))
    return out


def draw(models: Mapping[str, MViTConfig], clip: Triple) -> str:
    """The text of that file: a model's blocks, and the shares of its stages as space and as time change."""
    parts: list[Child] = []
    y = 0.0
    for name, config in models.items():
        counted = complexity(config, clip)
        frames, height, width = counted.clip
        sizes = [(frames, int(height * factor), int(width * factor)) for factor in FACTORS]
        longer = [(int(frames * factor), height, width) for factor in FACTORS]
        wider = [f"{size[1]}x{size[2]}" for size in sizes]
        parts.append(_panel(_blocks(name, counted), y))
        y += TOP + HEIGHT + BOTTOM
        if config.stages == 1:
            continue
        title = f"{name}: shares of the stages, {frames} frames of other sizes"
        parts.append(_panel(_shares(title, config, sizes, wider, "pixels, height x width"), y))
        y += TOP + HEIGHT + BOTTOM
        if frames > 1:
            title = f"{name}: shares of the stages, clips of other lengths of {height}x{width}"
            parts.append(_panel(_shares(title, config, longer, [str(size[0]) for size in longer], "frames"), y))
            y += TOP + HEIGHT + BOTTOM
    return alone(LEFT + WIDTH, y, f"where the computation goes: {', '.join(models)}", parts, STYLE)


def _panel(parts: Iterator[Html], y: float) -> Html:
    return tag("g", list(parts), transform=f"translate(0 {y:.0f})")


def _blocks(name: str, counted: Complexity) -> Iterator[Html]:
    size = "x".join(map(str, counted.clip))
    yield tag("text", f"{name}: {_gmac(counted.macs)} for {size}, by block", x=0.0, y=14.0, class_="title")
    gmacs = [block.macs / 1e9 for block in counted.blocks]
    highest, step = max(gmacs) * 1.08, WIDTH / len(gmacs)
    yield from _axis(ticks(0, highest, 6), highest, "{:g}".format)
    for place, (block, gmac) in enumerate(zip(counted.blocks, gmacs, strict=True)):
        x, tall = LEFT + step * place, HEIGHT * gmac / highest
        said = tag("title", f"block {block.index}, stage {block.stage + 1}: {gmac:,.4g} GMAC")
        bar = {"x": x + step * 0.12, "y": TOP + HEIGHT - tall, "width": step * 0.76, "height": tall}
        yield tag("rect", said, style=f"fill: {_fill(block.stage)}", **bar)
        if len(gmacs) <= 24 or place % 4 == 0:
            yield tag("text", block.index, x=x + step / 2, y=TOP + HEIGHT + 16, class_="middle")
    for stage, cost in enumerate(counted.stages):
        said = f"stage {stage + 1}: {_gmac(cost.macs)} ({percent(cost.macs / counted.macs, 0)})"
        x = LEFT + WIDTH * stage / len(counted.stages)
        yield tag("rect", x=x, y=TOP - 22, width=10.0, height=10.0, style=f"fill: {_fill(stage)}")
        yield tag("text", said, x=x + 15, y=TOP - 13, class_="name")
    said = f"block, in GMAC; stem and head besides: {_gmac(counted.stem.macs + counted.head.macs)}"
    yield tag("text", said, x=LEFT + WIDTH, y=TOP + HEIGHT + 34, class_="end small")


def _shares(title: str, config: MViTConfig, sizes: Sequence[Triple], names: Sequence[str], unit: str) -> Iterator[Html]:
    known = [(name, complexity(config, size)) for name, size in zip(names, sizes, strict=True) if _fits(config, size)]
    yield tag("text", title, x=0.0, y=14.0, class_="title")
    yield from _axis([0, 0.25, 0.5, 0.75, 1], 1, lambda share: percent(share, 0))
    step = WIDTH / len(known)
    for stage in range(config.stages):
        shares = [cost.stages[stage].macs / sum(each.macs for each in cost.stages) for _, cost in known]
        across = [LEFT + step * (place + 0.5) for place in range(len(known))]
        down = [TOP + HEIGHT * (1 - share) for share in shares]
        line = "L".join(f"{x:.1f} {y:.1f}" for x, y in zip(across, down, strict=True))
        style = f"stroke: {_fill(stage)}"
        yield tag("path", d=f"M{line}", class_="line", style=style, stroke_dasharray=DASHES[stage % len(DASHES)])
        for x, y, share in zip(across, down, shares, strict=True):
            said = tag("title", f"stage {stage + 1}: {percent(share)}")
            yield tag("circle", said, cx=x, cy=y, r=3.2, style=f"fill: {_fill(stage)}")
        key = LEFT + 130.0 * stage
        yield tag(
            "path", d=f"M{key:.0f} {TOP - 17:.0f}h26", class_="line", style=style, stroke_dasharray=DASHES[stage % 4]
        )
        yield tag("text", f"stage {stage + 1}", x=key + 32, y=TOP - 13, class_="name")
    for place, (name, cost) in enumerate(known):
        x = LEFT + step * (place + 0.5)
        yield tag("text", name, x=x, y=TOP + HEIGHT + 16, class_="middle")
        yield tag("text", _gmac(cost.macs), x=x, y=TOP + HEIGHT + 30, class_="middle small")
    said = f"{unit}; shares of what the blocks compute"
    yield tag("text", said, x=LEFT + WIDTH, y=TOP + HEIGHT + 46, class_="end small")


def _fits(config: MViTConfig, size: Triple) -> bool:
    try:
        return min(config.grid_of(size)) > 0
    except ValueError:
        return False


def _axis(marks: Sequence[float], highest: float, show: Callable[[float], str]) -> Iterator[Html]:
    for mark in marks:
        y = TOP + HEIGHT * (1 - mark / highest)
        yield tag("line", x1=LEFT, x2=LEFT + WIDTH, y1=y, y2=y, class_="grid")
        yield tag("text", show(mark), x=LEFT - 8, y=y + 4, class_="end")


def _gmac(macs: int) -> str:
    size = macs / 1e9
    if size < 0.001:
        return f"{macs / 1e6:.3g} MMAC"
    return f"{size:,.0f} GMAC" if size >= 100 else f"{size:.3g} GMAC"


def _fill(stage: int) -> str:
    return FILLS[stage % len(FILLS)]
