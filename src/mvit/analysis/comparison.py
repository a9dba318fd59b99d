"""Models side by side on a page: accuracy against cost, a table, and which differences can be told from chance."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from mvit.analysis.complexity import complexity
from mvit.analysis.labels import line, placed
from mvit.analysis.markup import Child, Html, join, table, tag
from mvit.analysis.plots import figure, percent, ticks
from mvit.analysis.record import RunRecord, metric
from mvit.data.samples import counted, counted_units
from mvit.model.config import MViTConfig

DASH = "–"
MEBIBYTE = 2**20
WIDTH, HEIGHT = 760.0, 430.0
LEFT, RIGHT, TOP, BOTTOM = 56.0, 20.0, 36.0, 54.0
NAME, PIXELS = 0.62, 12.0  # mean width of a letter as a share of the font's size, and that size
LONGEST_NAME = 30
FEW_UNITS = 10
EXPLAINED = {
    "MiB": "memory that one clip takes beside the model",
    "order": "points of top-1 lost when the frames of these videos are shuffled, as mvit probe found by its own views",
}
"""Columns of the table of models that do not speak for themselves."""


def cost(run: RunRecord) -> dict[str, Any]:
    """What a run says of its cost: parameters, GMAC a view and a video; None for what its files do not say."""
    known: dict[str, Any] = dict.fromkeys(("parameters", "gmac_per_view", "views", "gmac_per_video"))
    try:
        counted_of = complexity(MViTConfig.from_dict(run.model["config"])) if run.model else None
        views = tuple(int(number) for number in run.model["views"]) if run.model else None
    except (KeyError, TypeError, ValueError):  # another version's, or no model of ours
        counted_of = views = None
    if counted_of is not None and views is not None:
        view = counted_of.macs / 1e9
        known |= {"parameters": counted_of.parameters, "gmac_per_view": view, "views": list(views)}
        known["gmac_per_video"] = view * math.prod(views)
    return known


def order_drop(probe: Mapping[str, Any] | None, listed: int) -> dict[str, Any]:
    """``order_drop``, the points of top-1 that a model loses when frames are shuffled, and its interval.

    None without a probe, and where its videos are not as many as are ``listed`` here.
    """
    if probe is None or probe["listed"] != listed or metric(probe["ordered"]).key != "top1":
        return {"order_drop": None}
    return {
        "order_drop": probe["drops"]["shuffled"],
        "order_drop_interval": probe.get("drop_intervals", {}).get("shuffled"),
    }


def section(record: Mapping[str, Any]) -> Html:
    """What ``evaluation.comparison`` found, with what each model costs where that is known."""
    return join(_plots(record), _models(record), _pairs(record))


def _plots(record: Mapping[str, Any]) -> Html | None:
    models = record["models"]
    costs = {
        "gmac_per_video": "GMAC of a video (10\N{SUPERSCRIPT NINE} multiply-adds, all views), logarithmic",
        "milliseconds_per_video": "milliseconds of a video (all views, one at a time), as measured, logarithmic",
    }
    drawn = []
    for key, axis in costs.items():
        points = {name: model for name, model in models.items() if model.get(key)}
        if points:
            drawn.append(_against(axis, points, key))
    if not drawn:
        return None
    caption = (
        f"Top-1 over {record['videos']:,} of {record['listed']:,} videos against cost; whiskers are 95 % intervals "
        f"over {over(record)}, each of one model by itself: whether two differ stands in the table of pairs. "
        f"{_protocols(record)}"
    )
    if lacking := [name for name, model in models.items() if not model.get("gmac_per_video")]:
        caption += f" Multiply-adds are not known of {', '.join(lacking)}."
    return tag("figure", drawn, tag("figcaption", caption))


def _against(axis: str, models: Mapping[str, Mapping[str, Any]], key: str) -> Html:
    costs = [math.log10(model[key]) for model in models.values()]
    lows, highs = zip(*(model["top1_interval"] for model in models.values()), strict=True)
    margin = max(0.08, 0.08 * (max(costs) - min(costs)))
    first, last = min(costs) - margin, max(costs) + margin
    floor, ceiling = max(0.0, math.floor(20 * min(lows)) / 20), min(1.0, math.ceil(20 * max(highs)) / 20)
    ceiling = max(ceiling, floor + 0.05)

    def across(value: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * (value - first) / (last - first)

    def down(share: float) -> float:
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * (share - floor) / (ceiling - floor)

    parts: list[Child] = [tag("text", "top-1", x=0.0, y=14.0, class_="title")]
    for mark in ticks(floor, ceiling, 7):
        parts.append(tag("line", x1=LEFT, x2=WIDTH - RIGHT, y1=down(mark), y2=down(mark), class_="grid"))
        parts.append(tag("text", percent(mark, 0), x=LEFT - 8, y=down(mark) + 4, class_="end"))
    bottom = HEIGHT - BOTTOM
    parts.append(tag("line", x1=LEFT, x2=WIDTH - RIGHT, y1=bottom, y2=bottom, class_="interval"))
    for mark in _round(first, last):
        at = across(math.log10(mark))
        parts.append(tag("line", x1=at, x2=at, y1=bottom, y2=bottom + 5, class_="interval"))
        parts.append(tag("text", f"{mark:,.10g}", x=at, y=bottom + 19, class_="middle"))
    parts.append(tag("text", axis, x=WIDTH - RIGHT, y=bottom + 42, class_="end"))
    points = [(across(at), down(model["top1"])) for at, model in zip(costs, models.values(), strict=True)]
    names = [name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 1]}…" for name in models]
    sizes = [(NAME * PIXELS * len(name), PIXELS) for name in names]
    boxes = placed(points, sizes, (LEFT + 2, 20.0, WIDTH - 2, bottom - 2))
    for name, model, point, box in zip(models, models.values(), points, boxes, strict=True):
        low, high = model["top1_interval"]
        said = f"{name}: {percent(model['top1'])}, {percent(low)} to {percent(high)}; {model[key]:,.4g}"
        parts.append(tag("line", x1=point[0], x2=point[0], y1=down(low), y2=down(high), class_="interval"))
        if joint := line(point, box):
            (x1, y1), (x2, y2) = joint
            parts.append(tag("line", x1=x1, x2=x2, y1=y1, y2=y2, class_="leader"))
        parts.append(tag("circle", tag("title", said), cx=point[0], cy=point[1], r=4.5, class_="dot"))
    for name, box in zip(names, boxes, strict=True):
        parts.append(tag("text", name, x=(box[0] + box[2]) / 2, y=box[3] - 2, class_="middle halved"))
    said = "; ".join(f"{name} {percent(model['top1'])} at {model[key]:,.4g}" for name, model in models.items())
    return figure(WIDTH, HEIGHT, f"top-1 against {axis}: {said}", parts)


def _round(low: float, high: float) -> Sequence[float]:
    """1, 2 and 5 times powers of ten between two logarithms, or, where there is at most one, more of them."""
    powers = range(math.floor(low), math.ceil(high) + 1)
    for factors in ((1, 2, 5), (1, 1.5, 2, 3, 4, 5, 6, 7, 8, 9), tuple(tenth / 10 for tenth in range(10, 100))):
        marks = [factor * 10.0**power for power in powers for factor in factors]
        if len(inside := [mark for mark in marks if low <= math.log10(mark) <= high]) > 1:
            return inside[:: math.ceil(len(inside) / 8)]
    return inside


def _few(record: Mapping[str, Any]) -> str:
    return " So few make intervals rather too narrow." if record["units"] < FEW_UNITS else ""


def _models(record: Mapping[str, Any]) -> Html:
    rows = [(name, *cells(model).values()) for name, model in record["models"].items()]
    titles = ["model", *cells(next(iter(record["models"].values())))]
    kept = [place for place in range(len(titles)) if place == 0 or any(row[place] != DASH for row in rows)]
    caption = (
        f"Top-1 with its 95 % interval over {over(record)}; {record['videos']:,} of {record['listed']:,} videos."
        f"{_few(record)} GMAC are 10\N{SUPERSCRIPT NINE} multiply-adds, of a view and of all views of a video. "
    )
    if "measured" in record:
        caption += f"Clips/s: {record['measured']['protocol']}; median and quartiles. "
        if why := record["measured"].get("no_memory"):
            caption += f"MiB are not measured, as {why}. "
    explained = [
        f"{title}: {said}. " for title, said in EXPLAINED.items() if title in [titles[place] for place in kept]
    ]
    caption += f"{''.join(explained)}{DASH}: not known."
    columns = {titles[place]: "n" if place else None for place in kept}
    return table(caption, columns, [[row[place] for place in kept] for row in rows])


def cells(model: Mapping[str, Any]) -> dict[str, str]:
    """What a table says of a model, by column."""
    low, high = model["top1_interval"]
    cells = {"top-1": f"{percent(model['top1'])} [{100 * low:.1f}, {100 * high:.1f}]"}
    parameters, view, video = (model.get(key) for key in ("parameters", "gmac_per_view", "gmac_per_video"))
    cells["parameters"] = DASH if parameters is None else f"{parameters / 1e6:,.2f} M"
    views = "x".join(map(str, model.get("views") or ()))
    cells["GMAC a view, video"] = DASH if view is None or video is None else f"{view:,.3g}, {video:,.3g} ({views})"
    speed, memory = model.get("clips_per_second"), model.get("memory_bytes")
    cells["clips/s"] = (
        DASH if not speed else f"{_rate(speed['median'])} [{_rate(speed['low'])}, {_rate(speed['high'])}]"
    )
    cells["MiB"] = DASH if memory is None else f"{memory / MEBIBYTE:,.0f}"
    drop, interval = model.get("order_drop"), model.get("order_drop_interval")
    between = f" [{interval[0]:z.1f}, {interval[1]:z.1f}]" if interval else ""
    cells["order"] = DASH if drop is None else f"{drop:z.1f}{between}"
    return cells


def _rate(clips_per_second: float) -> str:
    return f"{clips_per_second:,.0f}" if clips_per_second >= 100 else f"{clips_per_second:.3g}"


def _pairs(record: Mapping[str, Any]) -> Html | None:
    if not record["pairs"]:
        return None
    rows = []
    for pair in record["pairs"]:
        low, high = (100 * limit for limit in pair["difference_interval"])
        apart = "" if low <= 0 <= high else "yes"
        drawn = pair["method"] == "bootstrap"
        rows.append(
            (
                f"{pair['first']} – {pair['second']}",
                f"{100 * pair['difference']:+z.1f}",
                f"{low:+z.1f} to {high:+z.1f}" + ("" if drawn else f", {pair['method']}"),
                apart,
                f"{pair['only_first']:,} : {pair['only_second']:,}",
                shown_p(pair["p"]),
                shown_p(pair["p_corrected"]),
            )
        )
    columns = {
        "pair": None,
        "points": "n",
        "95 % interval": "n",
        "without 0": None,
        "right alone": "n",
        "p": "n",
        "p of all": "n",
    }
    methods = {pair["method"] for pair in record["pairs"]}
    caption = "Differences of top-1 in points. "
    if "bootstrap" in methods:
        caption += f"Intervals by drawing {over(record)} with replacement, for both alike.{_few(record)} "
    for method in sorted(methods - {"bootstrap"}):
        caption += f"{method.capitalize()}: {undrawn(method, record)}. "
    caption += (
        "Right alone: videos that only the one, or only the other, has right. p: McNemar's exact test of these two "
        "models as they are, which knows no groups and does not say how either would come out if trained again; p of "
        f"all: corrected for {counted(len(rows), 'pair')} (Holm)."
    )
    return table(caption, columns, rows)


def undrawn(method: str, record: Mapping[str, Any]) -> str:
    """What the interval of a pair is, where draws cannot differ."""
    if method == "exact":
        return f"the bound for {counted(record['videos'], 'video')}, each by itself, as none differs"
    return f"{over(record)} counting as so many, as all differ alike"


def shown_p(p: float) -> str:
    """A p as people write it."""
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def over(record: Mapping[str, Any]) -> str:
    """What intervals are over."""
    return counted_units(record["units"], record["groups"])


def _protocols(record: Mapping[str, Any]) -> str:
    if "protocol" in record:
        return f"{record['protocol']}."
    return "; ".join(f"{name}: {model['protocol']}" for name, model in record["models"].items()) + "."
