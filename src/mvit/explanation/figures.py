"""How far attention reaches, as SVG that needs nothing else."""

from collections.abc import Iterator, Mapping, Sequence

from mvit.analysis.markup import Child, Html, tag
from mvit.analysis.plots import alone, ticks
from mvit.explanation.distance import Distance

WIDTH, HEIGHT = 420.0, 210.0
LEFT, RIGHT, TOP, BOTTOM = 48.0, 16.0, 54.0, 40.0
LINE = 18.0
STYLE = """
.stage { stroke: var(--muted); stroke-width: 0.8; }
.even { stroke: var(--muted); stroke-width: 1.4; stroke-dasharray: 4 3; fill: none; }
.head { fill: none; stroke-width: 1.4; } .head.of-0 { stroke: var(--ochre); } .head.of-1 { stroke: var(--blue); }
.mean { fill: none; stroke-width: 2; } .mean.of-0 { stroke: var(--ochre); } .mean.of-1 { stroke: var(--blue); }
"""

States = Mapping[str, Sequence[Distance]]
"""Up to two states of a model, such as before and after training, by name."""


def reach(models: Mapping[str, States], over: str) -> str:
    """Mean attention distance of every head by block, in space and in time: a column of panels for each model.

    Dashes are what attention that prefers no key would have. ``over`` says which clips it is a mean over. There is no
    panel for time where no clip has more than one frame of tokens.
    """
    every = [each for states in models.values() for found in states.values() for each in found]
    panels = [(0, "in space: pixels")] + ([(1, "in time: frames")] if any(d.even_frames for d in every) else [])
    states = list(next(iter(models.values())))
    top = LINE * (len(states) + 2)
    parts: list[Child] = [_key(states, over)]
    for row, (kind, unit) in enumerate(panels):
        highest = max(value for each in every for value in (*_heads(each, kind), _even(each, kind))) * 1.05
        for column, (name, of_model) in enumerate(models.items()):
            place = f"translate({column * (LEFT + WIDTH + RIGHT):.0f} {top + row * (TOP + HEIGHT + BOTTOM):.0f})"
            parts.append(tag("g", _panel(f"{name}, {unit}", of_model, kind, highest), transform=place))
    size = len(models) * (LEFT + WIDTH + RIGHT), top + len(panels) * (TOP + HEIGHT + BOTTOM)
    return alone(*size, f"mean attention distance by block, {over}", parts, STYLE)


def _heads(distance: Distance, kind: int) -> tuple[float, ...]:
    return (distance.pixels, distance.frames)[kind]


def _even(distance: Distance, kind: int) -> float:
    return (distance.even_pixels, distance.even_frames)[kind]


def _key(states: Sequence[str], over: str) -> Html:
    parts: list[Child] = [tag("text", f"mean attention distance, {over}", x=0.0, y=12.0, class_="small")]
    lines = [
        (f"mean of-{place}", f"{state}: a ring is a head, the line their mean") for place, state in enumerate(states)
    ]
    for place, (kind, said) in enumerate([*lines, ("even", "attention that prefers no key")], start=1):
        parts.append(tag("path", d=f"M0 {LINE * place + 8:.0f}h24", class_=kind))
        parts.append(tag("text", said, x=32.0, y=LINE * place + 12))
    return tag("g", parts)


def _panel(title: str, states: States, kind: int, highest: float) -> Iterator[Html]:
    blocks = next(iter(states.values()))
    step = WIDTH / len(blocks)

    def down(value: float) -> float:
        return TOP + HEIGHT * (1 - value / highest)

    yield tag("text", title, x=0.0, y=TOP - 16, class_="title")
    for mark in ticks(0, highest, 6):
        yield tag("line", x1=LEFT, x2=LEFT + WIDTH, y1=down(mark), y2=down(mark), class_="grid")
        yield tag("text", f"{mark:g}", x=LEFT - 8, y=down(mark) + 4, class_="end")
    for place, block in enumerate(blocks):
        x = LEFT + step * (place + 0.5)
        if len(blocks) <= 24 or place % 4 == 0:
            yield tag("text", block.index, x=x, y=TOP + HEIGHT + 18, class_="middle")
        if place and block.stage != blocks[place - 1].stage:
            yield tag("line", x1=x - step / 2, x2=x - step / 2, y1=TOP, y2=TOP + HEIGHT, class_="stage")
        even = down(_even(block, kind))
        yield tag("path", d=f"M{x - step * 0.45:.1f} {even:.1f}h{step * 0.9:.1f}", class_="even")
    yield tag("text", "block (upright lines part stages)", x=LEFT + WIDTH, y=TOP + HEIGHT + 34, class_="end small")
    for number, found in enumerate(states.values()):
        shift = step * 0.16 * (2 * number - 1) * (len(states) > 1)
        across = [LEFT + step * (place + 0.5) + shift for place in range(len(found))]
        means = [sum(_heads(each, kind)) / len(_heads(each, kind)) for each in found]
        line = "L".join(f"{x:.1f} {down(mean):.1f}" for x, mean in zip(across, means, strict=True))
        yield tag("path", d=f"M{line}", class_=f"mean of-{number}")
        for x, each in zip(across, found, strict=True):
            for head, value in enumerate(_heads(each, kind)):
                said = tag("title", f"block {each.index}, head {head}: {value:.1f}")
                yield tag("circle", said, cx=x, cy=down(value), r=3.0, class_=f"head of-{number}")
