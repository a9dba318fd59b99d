"""Draw what ``collect.py`` found: ``python draw.py FIGURES.json FOLDER`` writes time-{cells,parts,disorders}.svg."""

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from mvit import files
from mvit.analysis.markup import Child, Html, tag
from mvit.analysis.plots import alone, percent
from mvit.evaluation.statistics import t_quantile

Figures = Mapping[str, Mapping[str, Any]]

CELLS = {
    "base": "multiscale, stem of 3 frames, positions of time",
    "factorial-multiscale-3-frame-no-time": "multiscale, 3 frames, none of time",
    "factorial-multiscale-1-frame-time": "multiscale, 1 frame, positions of time",
    "factorial-multiscale-1-frame-no-time": "multiscale, 1 frame, none of time",
    "factorial-columnar-3-frame-time": "columnar, 3 frames, positions of time",
    "factorial-columnar-3-frame-no-time": "columnar, 3 frames, none of time",
    "factorial-columnar-1-frame-time": "columnar, 1 frame, positions of time",
    "factorial-columnar-1-frame-no-time": "columnar, 1 frame, none of time",
    "controls-video-swin": "Video Swin",
    "controls-vivit": "ViViT",
    "vivit-fast": "ViViT, at twice the rate",
    "controls-timesformer": "TimeSformer",
    "timesformer-fast": "TimeSformer, at twice the rate",
}
PARTS = {
    "base": "pyramid, learned poolings of 3x3x3",
    "pooled-in-space": "the same, learned, of 1x3x3",
    "pooling-average-overlapping": "the same, averages, s + 1 wide, of 1 frame",
    "pooling-max-overlapping": "the same, maxima, s + 1 wide, of 1 frame",
    "pooling-max-wide": "the same, maxima, 2 s + 1 wide, of 1 frame",
    "pooling-max-stride": "the same, maxima, s wide, of 1 frame",
    "multiscale-merged": "pyramid by merging patches, no poolings",
    "multiscale-columnar-kv-pooled": "no pyramid, learned poolings of 3x3x3",
    "factorial-columnar-3-frame-time": "no pyramid, no poolings",
}
"""Of the multiscale model's parts; s is a stride."""
PROBED = {
    "base": "multiscale, stem of 3 frames",
    "factorial-columnar-3-frame-time": "columnar, stem of 3 frames",
    "factorial-columnar-1-frame-time": "columnar, stem of 1 frame",
}
DISORDERS = {
    "shuffled": "shuffled",
    "deranged_2": "deranged within windows of 2",
    "deranged_4": "deranged within windows of 4",
    "windows_2": "windows of 2 shuffled whole",
    "windows_4": "windows of 4 shuffled whole",
    "shuffled_after_stem": "shuffled behind the stem",
    "reversed": "reversed",
    "single_frame": "one frame, repeated",
}
MARKS = ("M{x} {y}m-5 0a5 5 0 1 0 10 0a5 5 0 1 0 -10 0", "M{x} {y}m-4.5 -4.5h9v9h-9z", "M{x} {y}m0 -6l5.5 10h-11z")
"""Circle, square, triangle, so that colours need not be told apart."""
STYLE = "svg .name { font-size: 12px; } .value { font-size: 12px; }"
LEFT, WIDTH, ROW, TOP = 300.0, 460.0, 30.0, 40.0


def bars(figures: Figures, labels: Mapping[str, str]) -> str:
    """Top-1 of every variant: a dot a seed, the mean as a bar and in figures."""
    shown = {name: label for name, label in labels.items() if figures.get(name)}
    parts: list[Child] = [tag("text", "top-1 on 330 clips of four people it never saw", x=0.0, y=14.0, class_="title")]
    bottom = TOP + ROW * len(shown)
    parts += _axis([(share, percent(share, 0)) for share in (0, 0.25, 0.5, 0.75, 1)], bottom)
    chance = LEFT + WIDTH / 14
    parts.append(tag("line", x1=chance, x2=chance, y1=TOP - 8, y2=bottom, class_="chance"))
    parts.append(tag("text", "chance 7.1 %", x=chance, y=TOP - 12, class_="middle small"))
    for row, (name, label) in enumerate(shown.items()):
        y, runs = TOP + ROW * (row + 0.5), [run["top1"] for run in figures[name].values()]
        low, high = _interval(runs)
        middle = mean(runs)
        parts.append(tag("text", label, x=LEFT - 12, y=y + 4, class_="end name"))
        parts.append(tag("rect", x=LEFT, y=y - 9, width=WIDTH * middle, height=18.0, class_="bar", fill_opacity=0.45))
        parts += [tag("circle", cx=LEFT + WIDTH * each, cy=y, r=3.0, class_="end-0") for each in runs]
        said = f"{100 * middle:.1f} [{100 * low:.1f}, {100 * high:.1f}], {len(runs)} seeds"
        parts.append(tag("text", said, x=LEFT + WIDTH + 12, y=y + 4, class_="value"))
    words = "; ".join(
        f"{label} {percent(mean(r['top1'] for r in figures[name].values()))}" for name, label in shown.items()
    )
    parts.append(
        tag("text", "mean and 95 % interval over seeds; a dot is a run", x=LEFT, y=bottom + 36, class_="small")
    )
    return alone(LEFT + WIDTH + 210, bottom + 44, words, parts, STYLE)


def disorders(figures: Figures) -> str:
    """Points lost by each disorder, of each kind of model: mean over seeds, and the lowest and highest of them."""
    shown = {name: label for name, label in PROBED.items() if _probes(figures, name)}
    top, row_height, most, least = TOP + 26, 20.0 * len(shown), 65.0, -10.0
    bottom = top + row_height * len(DISORDERS)

    def across(points: float) -> float:
        return LEFT + WIDTH * (points - least) / (most - least)

    parts: list[Child] = [tag("text", "points of top-1 lost when frames are", x=0.0, y=14.0, class_="title")]
    marks = [((points - least) / (most - least), f"{points:g}") for points in range(-10, 61, 10)]
    parts += _axis(marks, bottom)
    parts.append(tag("line", x1=across(0), x2=across(0), y1=top, y2=bottom, class_="frame"))
    for number, (name, label) in enumerate(shown.items()):
        x = 12.0 + 305.0 * number
        order = mean(probe["disorders"]["ordered"]["top1"] for probe in _probes(figures, name))
        parts.append(_mark(number, x, TOP - 8))
        parts.append(tag("text", f"{label}: {percent(order)} in order", x=x + 12, y=TOP - 4, class_="name"))
    for row, (disorder, title) in enumerate(DISORDERS.items()):
        y = top + row_height * row
        parts.append(tag("text", title, x=LEFT - 12, y=y + row_height / 2 + 4, class_="end name"))
        parts.append(tag("line", x1=0.0, x2=LEFT + WIDTH, y1=y, y2=y, class_="grid"))
        for number, name in enumerate(shown):
            lost = [probe["drops"][disorder] for probe in _probes(figures, name)]
            at = y + 20.0 * (number + 0.5)
            said = f"{shown[name]}, {title}: {mean(lost):.1f} points"
            line = f"M{across(min(lost)):.1f} {at:.1f}H{across(max(lost)):.1f}"
            parts.append(tag("path", d=line, class_=f"line line-{number}"))
            parts.append(tag("g", tag("title", said), _mark(number, across(mean(lost)), at)))
            parts.append(
                tag(
                    "text",
                    f"{mean(lost) + 0.0:.1f}".replace("-0.0", "0.0"),
                    x=LEFT + WIDTH + 48,
                    y=at + 4,
                    class_=f"end value key-{number}",
                )
            )
    seeds = ", ".join(str(len(_probes(figures, name))) for name in shown)
    note = f"mean of {seeds} seeds, lines from the lowest to the highest of them; one view, 10 orders a clip, 330 clips"
    parts.append(tag("text", note, x=12.0, y=bottom + 40, class_="small"))
    words = "points lost: " + "; ".join(
        f"{title}: {mean(probe['drops'][key] for probe in _probes(figures, 'base')):.1f}"
        for key, title in DISORDERS.items()
    )
    return alone(LEFT + WIDTH + 160, bottom + 50, words, parts, STYLE)


def _probes(figures: Figures, name: str) -> list[dict[str, Any]]:
    return [run["probe"] for run in figures.get(name, {}).values() if run["probe"]]


def _mark(number: int, x: float, y: float) -> Html:
    return tag("path", d=MARKS[number].format(x=f"{x:.1f}", y=f"{y:.1f}"), class_=f"end-{number}")


def _axis(marks: list[tuple[float, str]], bottom: float) -> Iterator[Html]:
    for share, name in marks:
        x = LEFT + WIDTH * share
        yield tag("line", x1=x, x2=x, y1=TOP, y2=bottom, class_="grid")
        yield tag("text", name, x=x, y=bottom + 18, class_="middle")


def _interval(values: list[float]) -> tuple[float, float]:
    """By Student's t."""
    middle, count = mean(values), len(values)
    if count < 2:
        return middle, middle
    wide = t_quantile(0.975, count - 1) * stdev(values) / count**0.5
    return middle - wide, middle + wide


if __name__ == "__main__":
    read, folder = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")), Path(sys.argv[2])
    drawings = {"cells": bars(read, CELLS), "parts": bars(read, PARTS), "disorders": disorders(read)}
    for name, drawing in drawings.items():
        files.write_text(folder / f"time-{name}.svg", drawing)
