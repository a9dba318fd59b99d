"""The section of a report about a probe of time: disorders as bars, distance to the true order, pairs, classes."""

from collections.abc import Mapping, Sequence
from typing import Any

from mvit.analysis import plots
from mvit.analysis.markup import Child, Html, join, table, tag
from mvit.analysis.plots import Bar, percent, unbroken
from mvit.analysis.record import ORDERS, metric, number
from mvit.data.samples import counted, counted_units

COLUMNS = {
    "ordered": "in order",
    "shuffled": "shuffled",
    "deranged_4": "within 4",
    "windows_4": "4s whole",
    "reversed": "reversed",
    "single_frame": "one frame",
}
"""The disorders that the table of classes has, and what their columns are called."""
MOST_CLASSES = 60
DASH = "–"
OLD_TITLES = {
    "ordered": "in order",
    "shuffled": "shuffled",
    "reversed": "reversed",
    "single_frame": "one frame, repeated",
}
"""Of probes that do not say what their disorders are called."""


def section(probe: Mapping[str, Any]) -> Html:
    """What it means, the figures, and, of probes that have them, the curve over distances, classes and pairs."""
    return join(
        tag("p", unbroken(probe["meaning"])),
        _bars(probe),
        _curve(probe) if probe.get("kendall") else None,
        _pairs(probe) if probe.get("collapses") else None,
        _classes(probe) if len(probe.get("per_class", ())) > 1 else None,
    )


def _bars(probe: Mapping[str, Any]) -> Html:
    key, _, title = metric(probe["ordered"])
    rows = [
        Bar(
            probe[name].get("title", OLD_TITLES.get(name, name)),
            _note(name, probe),
            probe[name][key],
            *probe[name][f"{key}_interval"],
            quiet=name != "ordered",
        )
        for name in probe.get("disorders", ORDERS)
    ]
    backwards = probe["reversed"]
    if (called := number(backwards.get("called_mirror"))) is not None:
        note = f"of {counted(backwards['mirror_videos'], 'video')} whose class has one"
        rows.append(Bar("reversed, called its mirror", note, called, *backwards["called_mirror_interval"]))
    caption = (
        f"{title} by the order in which the frames of a clip are shown, with 95 % intervals over {_units(probe)}; "
        "under each the points lost against the true order. "
    )
    if probe.get("majority", 0) > probe["chance"] * 1.05:
        caption += f"Always naming the most frequent class would be right for {percent(probe['majority'])}. "
    if most := probe["shuffled"].get("most_called"):
        caption += (
            f"Shuffled, {percent(most['share'])} are called {most['class']}, in order {percent(most['ordered'])}. "
        )
    caption += f"{counted(probe['orders'], 'random order')} a video. {_protocol(probe)}"
    figure = plots.bars(rows, [("chance", probe["chance"])])
    return tag("figure", figure, tag("figcaption", unbroken(caption)))


def _note(name: str, probe: Mapping[str, Any]) -> str:
    if name == "ordered":
        return counted(probe["videos"], "video")
    if (interval := probe.get("drop_intervals", {}).get(name)) is None:
        return f"{probe['drops'][name]:z.1f} points lost"
    return f"{probe['drops'][name]:z.1f} points lost [{interval[0]:z.1f}, {interval[1]:z.1f}]"


def _units(probe: Mapping[str, Any]) -> str:
    sampled = probe.get("sampled", {"unit": "video", "count": probe["videos"]})
    if "groups" not in sampled:  # earlier versions did not tell them from videos without one
        return counted(sampled["count"], sampled["unit"])
    return counted_units(sampled["count"], sampled["groups"])


def _protocol(probe: Mapping[str, Any]) -> str:
    return f"{probe['protocol']}; {probe['videos']:,} of {counted(probe['listed'], 'video')}."


def _curve(probe: Mapping[str, Any]) -> Html:
    """The metric against Kendall distance, from the true order (0) to the reversed one (1)."""
    key, _, title = metric(probe["ordered"])
    points = [(0.0, probe["ordered"]), *((grade["distance"], grade) for grade in probe["kendall"])]
    if probe["kendall"][-1]["distance"] < 1:
        points.append((1.0, probe["reversed"]))
    drawn = plots.against(
        f"{title} against the distance to the true order",
        "Kendall distance: share of pairs of frames in the wrong order (0: in order, 1: reversed)",
        [(distance, figures[key], *figures[f"{key}_interval"]) for distance, figures in points],
        ("chance", probe["chance"]),
    )
    caption = (
        f"{title} of random orders by how far they are from the true one; {counted(probe['orders'], 'order')} a video, "
        f"spread evenly over all distances; 95 % intervals over {_units(probe)}. {_protocol(probe)}"
    )
    return tag("figure", drawn, tag("figcaption", unbroken(caption)))


def _pairs(probe: Mapping[str, Any]) -> Html:
    rows: list[Sequence[Child]] = []
    for pair in probe["collapses"]:
        (first, second), (forth, back) = pair["classes"], pair["shuffled_each"]
        names = f"{first} and {second}" + (", its mirror in time" if pair.get("mirror") else "")
        rows.append(
            (
                names,
                f"{pair['videos']:,}",
                percent(pair["ordered"]),
                percent(pair["shuffled"]),
                _share(forth),
                _share(back),
            )
        )
    columns = {
        "pair": "short",
        "videos": "n",
        "in order": "n",
        "shuffled": "n",
        "first as second": "n",
        "second as first": "n",
    }
    caption = (
        "The pairs of classes that shuffling makes alike most: the share of their videos that are called the other one "
        "of the two, in order and shuffled, and, shuffled, of each."
    )
    return table(caption, columns, rows)


def _classes(probe: Mapping[str, Any]) -> Html:
    shown = {name: head for name, head in COLUMNS.items() if name in probe["disorders"]}
    rows: list[Sequence[Child]] = []
    for name, figures in probe["per_class"].items():
        lost = None if figures["ordered"] is None else f"{100 * (figures['ordered'] - figures['shuffled']):z.1f}"
        if lost and (interval := figures.get("drop_interval")):
            lost += f" [{interval[0]:z.1f}, {interval[1]:z.1f}]"
        rows.append((name, f"{figures['support']:,}", *(_share(figures[order]) for order in shown), lost or DASH))
    columns = {"class": "short", "videos": "n", **dict.fromkeys(shown.values(), "n"), "lost by shuffling": "n"}
    what = "Average precision" if "map" in probe["ordered"] else "Recall"
    explained = [f"{head}: {probe[name]['title']}" for name, head in shown.items() if name.endswith("_4")]
    caption = f"{what} of each class by the order of frames; what is lost is in points. {'; '.join(explained)}."
    whole = table(caption, columns, rows)
    return whole if len(rows) <= MOST_CLASSES else tag("details", tag("summary", "By class"), whole)


def _share(share: float | None) -> str:
    return DASH if share is None else percent(share)
