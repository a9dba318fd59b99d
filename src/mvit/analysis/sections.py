"""The sections of a report about one run; each says what is missing and which command makes it."""

import json
import shlex
import statistics
from collections.abc import Callable, Mapping
from typing import Any

from mvit.analysis import order_of_frames, plots
from mvit.analysis.markup import Html, join, table, tag
from mvit.analysis.plots import Series, percent, unbroken
from mvit.analysis.record import RunRecord, home_of, metric, number
from mvit.analysis.thumbnails import Thumbnails
from mvit.data.samples import counted

MOST_ROWS, SHOWN_ROWS = 60, 30  # a longer table shows its head and folds the rest away
MOST_CONFUSED, EXAMPLES = 10, 2
DASH = "–"
UNITS = (1, "seconds"), (60, "minutes"), (3600, "hours")


def about(record: RunRecord) -> str:
    """What the run is, in a line: model, classes, seed, length."""
    classes = (record.result or record.model or {}).get("classes")
    seconds = sum(record.measured("seconds"))
    size, unit = next(choice for choice in UNITS if seconds < 100 * choice[0] or choice == UNITS[-1])
    parts = [
        record.model_name,
        counted(len(classes), "class", "classes") if isinstance(classes, list) else None,
        f"seed {record.seed}" if record.seed is not None else None,
        f"{counted(len(record.epochs), 'epoch')} in {seconds / size:.3g} {unit}" if seconds else None,
    ]
    return " · ".join(part for part in parts if part)


def headline(record: RunRecord) -> Html:
    """The result in large type, with its interval, protocol and denominator."""
    result = record.result
    if result is None:
        return missing("result", "evaluate", record)
    key, name, _ = metric(result)
    low, high = result[f"{key}_interval"]
    known: dict[str, object] = (
        {
            "hit@1": percent(result["hit1"]),
            "equal scores": percent(result["chance"]),
            "classes that have videos": f"{result['map_classes']:,} of {len(result['classes']):,}",
        }
        if key == "map"
        else {
            "top-5": percent(result["top5"]) if number(result.get("top5")) is not None else None,
            "mean over classes": percent(result["mean_class"]),
            "chance": percent(1 / len(result["classes"])),
        }
    )
    facts = known | {
        "videos": f"{result['videos']:,} of {result['listed']:,}",
        "unreadable counted as wrong": percent(result[f"{key}_unreadable_wrong"]) if result["unreadable"] else None,
    }
    figure = tag(
        "div",
        tag("p", f"{100 * result[key]:.1f}", tag("small", " %"), class_="figure"),
        tag("p", f"{name}, 95 % interval over videos {100 * low:.1f} to {100 * high:.1f}", class_="said"),
    )
    return join(
        tag("div", figure, _facts(facts), class_="headline"), tag("p", unbroken(result["headline"]), class_="cite")
    )


def training(record: RunRecord) -> Html:
    """Loss, accuracy, learning rate, data wait and gradient norm over epochs."""
    if not record.epochs:
        return tag("p", "This folder holds no record of training (metrics.jsonl).", class_="missing")
    x = [float(epoch["epoch"]) for epoch in record.epochs]

    def panel(title: str, lines: dict[str, str], show: Callable[[float], str], **limits: float) -> Html:
        series = [Series(name, [number(epoch.get(key)) for epoch in record.epochs]) for name, key in lines.items()]
        series = [line for line in series if any(value is not None for value in line.values)]
        return plots.curves(title, x, series, show=show, **limits)

    def whole_percent(share: float) -> str:
        return percent(share, 0)

    shares = (
        {"mAP": {"val": "val_map", "held out of train": "holdout_map"}, "Hit@1": {"train": "train_hit1"}}
        if is_of_several(record)
        else {"Top-1": {"train": "train_top1", "val": "val_top1", "held out of train": "holdout_top1"}}
    )
    norms = {"mean": "gradient_norm", "largest": "gradient_norm_max"}
    panels = [
        panel("Loss", {"train": "loss"}, "{:g}".format),
        *(panel(title, lines, whole_percent, low=0, high=1) for title, lines in shares.items()),
        panel("Learning rate", {"rate": "lr"}, "{:.3g}".format, low=0),
        panel("Time spent waiting for data", {"wait": "data_wait"}, whole_percent, low=0, high=1),
    ]
    if record.measured("gradient_norm"):
        panels.append(panel("Gradient norm before clipping", norms, "{:.3g}".format, low=0))
    return tag("figure", tag("div", panels, class_="panels"), tag("figcaption", _training_said(record)))


def _training_said(record: RunRecord) -> str:
    losses, speeds = record.measured("loss"), record.measured("clips_per_second")
    said = []
    if losses:
        said.append(f"Loss {losses[0]:.3g} after the first epoch recorded, {losses[-1]:.3g} after the last.")
    if speeds:
        said.append(f"Median speed {statistics.median(speeds):,.3g} clips a second.")
    if unknown := len(record.epochs) - len(losses):
        said.append(f"{counted(unknown, 'epoch')} ended without a finite loss.")
    if skipped := sum(record.measured("skipped")):
        said.append(f"{counted(round(skipped), 'step was', 'steps were')} skipped: loss or gradient not finite.")
    hit = (
        "Hit@1 of train, the share with the highest score in one of their classes,"
        if is_of_several(record)
        else "Top-1 of train"
    )
    said.append(f"{hit} is over clips as they were augmented to learn from; on the way, val has one view a video.")
    return " ".join(said)


def is_of_several(record: RunRecord) -> bool:
    """Whether videos are of several classes at once."""
    return "map" in (record.result or {}) or any("train_hit1" in epoch for epoch in record.epochs)


def order(record: RunRecord) -> Html:
    """What the probe of time found, or which command asks."""
    if record.settings.get("data", {}).get("frames") == 1:
        return tag("p", "The model looks at single images, which have no order.", class_="missing")
    if record.probe is None:
        return join(missing("order probe", "probe", record), _other_probes(record))
    trained = record.settings.get("augment", {}).get("order") == "shuffled"
    control = "The model was trained on shuffled clips: what it loses below, it does not lose for want of their kind."
    note = tag("p", control, class_="note") if trained else None
    return join(note, order_of_frames.section(record.probe), _other_probes(record))


def _other_probes(record: RunRecord) -> Html | None:
    """Which commands draw the probes of other videos or views, which lie in folders of their own."""
    if not record.other_probes:
        return None
    lines = [tag("code", f"mvit report {shlex.quote(str(folder))}") for folder in record.other_probes]
    separated = [(", " if place else "", line) for place, line in enumerate(lines)]
    return tag("p", "Of other videos or views the probe is drawn by ", separated, ".")


def confusions(record: RunRecord, thumbnails: Thumbnails) -> Html:
    """The confusion matrix, and its largest wrong cells in words, with videos of each."""
    result = record.result
    if result is None:
        return missing("confusion matrix", "evaluate", record)
    names, counts = result["classes"], result["confusion"]
    caption = (
        "Videos of each true class by the class they were called, shaded by their share of the row; on the diagonal "
        "what is right. Classes stand in the order of the next table"
    )
    caption += "." if plots.is_named(len(names)) else ", which has their numbers."
    figure = tag("figure", plots.matrix(names, counts), tag("figcaption", caption), class_="matrix")
    wrong = [
        (count, count / sum(line), names[row], names[column])
        for row, line in enumerate(counts)
        for column, count in enumerate(line)
        if row != column and count
    ]
    if not wrong:
        return figure
    examples: dict[tuple[str, str], list[str]] = {}
    for mistake in sorted(record.mistakes or (), key=lambda mistake: -mistake.score):
        examples.setdefault((mistake.label, mistake.predicted), []).append(mistake.path)
    rows = []
    for count, share, name, called in sorted(wrong, key=lambda cell: (-cell[0], -cell[1]))[:MOST_CONFUSED]:
        pictures = [thumbnails.of(path) for path in examples.get((name, called), [])[:EXAMPLES]]
        rows.append((name, called, f"{count:,}", percent(share), pictures))
    columns = {"true class": None, "called": None, "videos": "n", "of its class": "n"}
    caption = "The most frequent confusions"
    if any(picture for *_, pictures in rows for picture in pictures):
        columns["the surest of them"] = "pictures"
        caption += "; of each the videos that were called so with the highest score, three frames of each"
    else:
        rows = [row[:-1] for row in rows]
    return join(figure, table(f"{caption}.", columns, rows))


def classes(record: RunRecord) -> Html:
    """Precision, recall with its interval, and F1 of each class, or its average precision where videos have several."""
    result = record.result
    if result is None:
        return missing("figures by class", "evaluate", record)
    if "map" in result:
        return _average_precisions(result)

    rows = []
    for place, name in enumerate(result["classes"]):
        figures = result["per_class"][name]
        others = [count if index != place else 0 for index, count in enumerate(result["confusion"][place])]
        most = max(others)
        mistaken = f"{result['classes'][others.index(most)]} ({most:,})" if most else DASH
        recall, interval = figures["recall"], figures["recall_interval"]
        drawn = plots.strip(recall, *interval) if recall is not None and interval else DASH
        share = _shown(figures["precision"]), _shown(figures["f1"])
        rows.append((place + 1, name, f"{figures['support']:,}", _shown(recall), drawn, *share, mistaken))
    columns = {
        "no.": "n quiet-text",
        "class": None,
        "videos": "n",
        "recall": "n",
        "95 % interval": None,
        "precision": "n",
        "F1": "n",
        "most often mistaken for": "quiet-text",
    }
    caption = (
        f"The mean recall over classes is {percent(result['mean_class'])}; {DASH} where there is nothing to count."
    )
    return folded(caption, columns, rows, "classes")


def _average_precisions(result: Mapping[str, Any]) -> Html:
    """The average precision of each class beside that of equal scores, which is the share of videos it has."""
    rows = []
    for place, name in enumerate(result["classes"]):
        precision, support = (result["per_class"][name][key] for key in ("average_precision", "support"))
        equal = support / result["videos"] if support else None
        rows.append((place + 1, name, f"{support:,}", _shown(precision), _shown(equal)))
    columns = {"no.": "n quiet-text", "class": None, "videos": "n", "average precision": "n", "of equal scores": "n"}
    caption = (
        f"mAP is the mean over the {counted(result['map_classes'], 'class', 'classes')} that have videos; average "
        "precision is that of the videos by falling score, with equal scores the share of videos of the class."
    )
    return folded(caption, columns, rows, "classes")


def _shown(share: float | None) -> str:
    return DASH if share is None else percent(share)


def worst(record: RunRecord, thumbnails: Thumbnails) -> Html:
    """The wrong answers of the highest loss, or, where videos are of several classes, of the highest score."""
    if record.mistakes is None:
        return missing("scores of videos (scores.csv)", "evaluate", record)
    if not record.mistakes:
        return tag("p", "None: every readable video was called by its class.")
    several = is_of_several(record)
    rows = [
        (
            (thumbnails.of(mistake.path), " ", thumbnails.named(mistake.path)),
            mistake.label or DASH,
            mistake.predicted,
            f"{mistake.score:.3f}",
            DASH if mistake.true_score is None else f"{mistake.true_score:.3f}",
            *(() if several else (f"{mistake.loss:.2f}",)),
        )
        for mistake in record.worst
    ]
    true, own = ("true classes", "the best of these") if several else ("true class", "true class's")
    columns = {"video": "path", true: None, "called": None, "score": "n", own: "n"} | ({} if several else {"loss": "n"})
    what = (
        "Videos whose highest score is of none of their classes"
        if several
        else "Wrong answers of the highest loss, which is minus the natural logarithm of the true class's score"
    )
    over = f"{len(rows):,} of {counted(len(record.mistakes), 'wrong answer')}"
    return table(f"{what}: {over}; look at their labels too.", columns, rows)


def unreadable(record: RunRecord, thumbnails: Thumbnails) -> Html:
    """The videos that were left out, with the reason; without names how many, as reasons may quote names."""
    if not record.unreadable:
        return tag("p", "None: every video listed could be read." if record.result else "None is recorded.")
    caption = f"{counted(len(record.unreadable), 'video')} left out; none was replaced by another."
    if not thumbnails.wanted:
        return tag("p", caption)
    return folded(caption, {"video": "path", "reason": None, "found in": "short"}, record.unreadable, "videos")


def recipe(record: RunRecord) -> Html:
    """All settings of the run, and what it was made with."""
    model = record.model or {}
    versions = model.get("versions")
    facts = {"mvit": model.get("mvit"), "model": record.model_name, "prediction": model.get("protocol")}
    config = model.get("config")
    return join(
        _facts(facts | (versions if isinstance(versions, dict) else {}) | _origin(record)),
        tag("p", "This folder holds no recipe.toml.", class_="missing")
        if record.recipe is None
        else tag("pre", record.recipe.strip(), class_="recipe"),
        tag("details", tag("summary", "Configuration of the model"), tag("pre", json.dumps(config, ensure_ascii=False)))
        if isinstance(config, dict)
        else None,
    )


def _origin(record: RunRecord) -> dict[str, object]:
    """When the run began, on what, and by which its data is known again."""
    if record.origin is None:
        return {}
    environment, data = record.origin["environment"], record.origin["data"]
    hardware = environment["hardware"]
    return {
        "begun": record.origin["begun"],
        "commit": record.origin["commit"],
        "computed on": f"{hardware.get('gpu') or hardware['processor']}, {environment['system']}",
        **environment["versions"],
        "data": f"{data['train']:,} videos to learn from, {data['val']:,} held out, sha256 {data['sha256']}",
    }


def missing(what: str, command: str, record: RunRecord, *, data: bool = True) -> Html:
    """That something is not there yet, and the command that makes it."""
    folder = record.folder
    if record.model is None and record.result is None and record.recipe is not None and home_of(folder) == folder:
        line = f"mvit train DATA --out {shlex.quote(str(folder))} --resume"
        said = f"No {what} yet, as its training has not ended: go on with it by "
        return tag("p", said, tag("code", line), ".", class_="missing")
    line = f"mvit {command} {shlex.quote(str(home_of(folder) if data else folder))}{' DATA' if data else ''}"
    return tag("p", f"No {what} yet: run ", tag("code", line), ".", class_="missing")


def missing_trust(what: str, record: RunRecord) -> Html:
    """That what a report computes from an evaluation is not there yet, and the command that makes it."""
    judged = record.result is not None and record.mistakes is not None
    return missing(what, "report", record, data=False) if judged else missing(what, "evaluate", record)


def _facts(facts: Mapping[str, object]) -> Html:
    return tag("dl", [(tag("dt", name), tag("dd", str(value))) for name, value in facts.items() if value is not None])


def folded(caption: str, columns: dict[str, str | None], rows: list | tuple, what: str) -> Html:
    """A table of which the end is folded away where it is long."""
    if len(rows) <= MOST_ROWS:
        return table(caption, columns, rows)
    rest = table("", columns, rows[SHOWN_ROWS:])
    more = tag("details", tag("summary", f"The other {len(rows) - SHOWN_ROWS:,} {what}"), rest)
    return join(table(caption, columns, rows[:SHOWN_ROWS]), more)
