"""Learned positions and pooling kernels as SVG that needs nothing else: small grids of shaded squares."""

import math
from collections.abc import Mapping, Sequence

from torch import Tensor

from mvit.analysis.markup import Child, Html, tag
from mvit.analysis.plots import alone, percent

SHADES = 10
CELLS = 24_000
"""Of the maps of all places together: of more, places are left out evenly, so that the file stays small."""
KERNEL_CELL = 15.0
ROWS = 24
"""Of a relative table: likewise."""
SIDE, GAP, ACROSS = 124.0, 18.0, 6
STYLE = ".less { fill: var(--ochre); } .more { fill: var(--blue); }"


def alike(tables: Mapping[str, Tensor]) -> str:
    """How alike learned positions are, from ``learned.positions``: blue where alike, ochre where opposite."""
    top, width = 40.0, ACROSS * (SIDE + GAP)
    rest = dict(tables)
    space = rest.pop("space", None)
    key = "cosine between learned positions: blue 0 to 1, ochre 0 to -1"
    parts: list[Child] = [_line(f"{key}; of a table's rows, each with each, from the first on" if rest else key, 0)]
    if space is not None:
        body, size = _of_places(space)
        said = "space: each small map is one place's likeness to every place"
        parts += [tag("text", said, x=0.0, y=top + 4, class_="title"), _moved(body, 0, top + 16)]
        top += size + 50
    for number, (name, table) in enumerate(rest.items()):
        x, y = number % ACROSS * (SIDE + GAP), top + number // ACROSS * (SIDE + 48)
        shown = table[_evenly(len(table), ROWS)][:, _evenly(len(table), ROWS)]
        drawn = _moved(_squares(shown, SIDE / len(shown)), x, y + 12)
        parts += [tag("text", f"{name}: {len(table)} rows", x=x, y=y + 4, class_="small"), drawn]
    height = top + math.ceil(len(rest) / ACROSS) * (SIDE + 48)
    return alone(width, height, "how alike learned positions are", parts, STYLE)


def kernels(blocks: Sequence[tuple[int, Mapping[str, Tensor]]]) -> str:
    """What each place of a window weighs in each pooling, from ``learned.kernels``: a row for each block that pools."""
    pooling = [(index, pools) for index, pools in blocks if pools]
    departures = {
        (index, name): kernel * kernel.numel() - 1 for index, pools in pooling for name, kernel in pools.items()
    }
    most = max(max(float(each.abs().max()) for each in departures.values()), 0.01)
    parts: list[Child] = [
        _line(
            f"share of a window's absolute weight at each of its places, mean over channels, against an even share: "
            f"blue up to {percent(most, 0)} more,",
            0,
        ),
        _line(f"ochre up to {percent(most, 0)} less", 1),
    ]
    names = [name for name in ("queries", "keys", "values") if any(name in pools for _, pools in pooling)]
    wide = {name: max(_width(pools[name]) for _, pools in pooling if name in pools) for name in names}
    left = {name: 76 + sum(max(wide[other], 140) + 30 for other in names[:at]) for at, name in enumerate(names)}
    y = 76.0
    for name in names:
        parts.append(tag("text", f"{name}, frame by frame", x=left[name], y=y - 16, class_="title"))
    for index, pools in pooling:
        tall = max(kernel.shape[1] for kernel in pools.values()) * KERNEL_CELL
        parts.append(tag("text", f"block {index}", x=0.0, y=y + tall / 2 + 4))
        for name, kernel in pools.items():
            for frame, picture in enumerate(departures[index, name] / most):
                x = left[name] + frame * (kernel.shape[2] * KERNEL_CELL + 8)
                parts.append(_moved(_squares(picture, KERNEL_CELL, kernel[frame]), x, y))
        y += tall + 12
    return alone(max(sum(left.values()), 720), y + 4, "pooling kernels", parts, STYLE)


def _width(kernel: Tensor) -> float:
    return kernel.shape[0] * (kernel.shape[2] * KERNEL_CELL + 8)


def _line(said: str, number: int) -> Html:
    return tag("text", said, x=0.0, y=14.0 + 16 * number, class_="small")


def _of_places(space: Tensor) -> tuple[Html, float]:
    """(H, W, H, W) as maps laid out as their places are, and their height."""
    h, w = space.shape[:2]
    most = max(2, math.isqrt(CELLS // (h * w)))
    down, across = _evenly(h, most), _evenly(w, most)
    cell = ACROSS * (SIDE + GAP) / (len(across) * (w + 1))
    maps = [
        _moved(_squares(space[y, x], cell), column * (w + 1) * cell, row * (h + 1) * cell)
        for row, y in enumerate(down)
        for column, x in enumerate(across)
    ]
    return tag("g", maps), len(down) * (h + 1) * cell


def _evenly(count: int, most: int) -> list[int]:
    """At most so many of the numbers below ``count``, evenly spread."""
    if count <= most:
        return list(range(count))
    return [round(number * (count - 1) / (most - 1)) for number in range(most)]


def _squares(levels: Tensor, cell: float, shares: Tensor | None = None) -> list[Html]:
    """Levels (rows, columns) of -1 to 1 as squares: a path for each shade, or with ``shares`` each with a tooltip."""
    height, width = levels.shape
    drawn = [tag("rect", x=0.0, y=0.0, width=width * cell, height=height * cell, class_="frame")]
    paths: dict[int, str] = {}
    for y, row in enumerate(levels.tolist()):
        for x, level in enumerate(row):
            square = f"M{x * cell:.2f} {y * cell:.2f}h{cell:.2f}v{cell:.2f}h-{cell:.2f}z"
            if shares is not None:
                said = tag("title", percent(float(shares[y, x])))
                drawn.append(
                    tag("path", said, d=square, class_="more" if level > 0 else "less", fill_opacity=abs(level))
                )
            elif shade := round(SHADES * max(-1, min(1, level))):
                paths[shade] = paths.get(shade, "") + square
    kinds = ((("more" if shade > 0 else "less"), abs(shade), path) for shade, path in sorted(paths.items()))
    return drawn + [tag("path", d=path, class_=kind, fill_opacity=shade / SHADES) for kind, shade, path in kinds]


def _moved(drawn: Child, x: float, y: float) -> Html:
    return tag("g", drawn, transform=f"translate({x:.1f} {y:.1f})")
