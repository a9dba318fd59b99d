"""One page about one run or several, from the files in their folders: nothing is fetched, and no script is in it."""

import json
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import Any

from mvit import __version__, files
from mvit.analysis import comparison, sections, trust
from mvit.analysis.markup import Child, Html, join, table, tag
from mvit.analysis.plots import percent
from mvit.analysis.record import RunRecord, home_of, metric, read
from mvit.analysis.sections import DASH
from mvit.analysis.thumbnails import Thumbnails
from mvit.data.samples import counted

POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
PROBED = ("ordered", "shuffled", "reversed", "single_frame")


def report(
    runs: Sequence[Path],
    out: Path,
    *,
    frames: bool = True,
    compared: Mapping[str, Any] | None = None,
    unwritten: Mapping[Path, dict[str, Any]] | None = None,
) -> Path:
    """Write a self-contained HTML page about runs, atomically, from the files in their folders; returns its path.

    With ``frames`` it shows some of the videos, as far as their files are there; without, it names none either.
    ``compared`` is what ``evaluation.comparison`` found of several runs, by the names of ``names``, ``unwritten`` what
    calibration.json would hold of those that cannot be written to. Raises ValueError for a folder that is missing or no
    run's, and for files in it that mvit did not write.
    """
    records = [read(Path(run)) for run in runs]
    records = [replace(each, trust=(unwritten or {}).get(each.folder, each.trust)) for each in records]
    if not records:
        raise ValueError("a report needs at least one run folder")
    out = Path(out)
    files.write_text(out, page(records, Thumbnails(wanted=frames), compared))
    return out


def page(records: Sequence[RunRecord], thumbnails: Thumbnails, compared: Mapping[str, Any] | None) -> str:
    """The whole page as HTML."""
    if len(records) == 1:
        title, body = _names(records)[0], _sections(records[0], "h2", thumbnails)
        head = _head("Report of a run", title, sections.about(records[0]))
    else:
        drawn = _compared(records, compared) if compared else None
        title, body = f"{len(records)} runs", join(_comparison(records), drawn, _articles(records, thumbnails))
        head = _head("Report of runs", title, None)
    return _whole(title, head, body, _footer(records, thumbnails))


def compared_page(record: Mapping[str, Any], title: str) -> str:
    """A page about a comparison alone, as ``studies.compare`` records it, as HTML."""
    head = _head("Comparison of models", title, counted(len(record["models"]), "model"))
    machine = record["hardware"].get("gpu") or record["hardware"]["processor"]
    return _whole(title, head, comparison.section(record), f"Written by mvit {__version__}, computed on {machine}.")


def _whole(title: str, head: Html, body: Html, footer: str) -> str:
    style = resources.files("mvit.analysis").joinpath("report.css").read_text(encoding="utf-8")
    metadata = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=POLICY),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("title", f"{title} · mvit"),
        tag("style", Html(style)),
    )
    whole = tag("html", metadata, tag("body", head, tag("main", body), tag("footer", footer)), lang="en")
    return f"<!doctype html>\n{whole}\n"


def _compared(records: Sequence[RunRecord], compared: Mapping[str, Any]) -> Html:
    """Accuracy against cost and the differences of runs that were measured alike."""
    named = dict(zip(names([record.folder for record in records]), records, strict=True))
    models = {
        name: model | comparison.cost(named[name]) | comparison.order_drop(named[name].probe, compared["listed"])
        for name, model in compared["models"].items()
    }
    return tag("section", tag("h2", "Differences"), comparison.section({**compared, "models": models}))


def _footer(records: Sequence[RunRecord], thumbnails: Thumbnails) -> str:
    folders = ", ".join(str(record.folder) for record in records)
    said = f"Written by mvit {__version__} from the files in {folders}."
    if thumbnails.shown:
        held = counted(thumbnails.shown, "video")
        said += f" It holds frames of {held}; mvit report --no-frames leaves them and all names of videos out."
    if not thumbnails.wanted:
        said += " Videos have numbers here: their frames, paths and names are left out."
    if thumbnails.lacking:
        said += f" {counted(thumbnails.lacking, 'video')} could not be shown: not there any more, or unreadable."
    return said


def _sections(record: RunRecord, heading: str, thumbnails: Thumbnails) -> Html:
    """All sections about a run, under headings of the given element."""
    content: dict[str, Callable[[], Html]] = {
        "Training": lambda: sections.training(record),
        "Order of frames": lambda: sections.order(record),
        "Confusions": lambda: sections.confusions(record, thumbnails),
        "Classes": lambda: sections.classes(record),
        "Calibration": lambda: trust.calibration(record),
        "Worst mistakes": lambda: sections.worst(record, thumbnails),
        "Probable label errors": lambda: trust.label_errors(record, thumbnails),
        "Unreadable videos": lambda: sections.unreadable(record, thumbnails),
        "Recipe and versions": lambda: sections.recipe(record),
    }
    if sections.is_of_several(record):
        del content["Confusions"]  # a video of several classes is not taken for another one
    return join(
        sections.headline(record),
        trust.learned(record),
        [tag("p", note, class_="note") for note in record.notes],
        [tag("section", tag(heading, title), made()) for title, made in content.items()],
    )


def _head(eyebrow: str, title: str, about: str | None) -> Html:
    lines = [tag("p", eyebrow, class_="eyebrow"), tag("h1", title), tag("p", about, class_="about") if about else None]
    return tag("header", lines)


def names(folders: Sequence[Path]) -> list[str]:
    """The folders' names, after that of their run where they lie in one; whole paths where two have the same name."""
    short = [folder.relative_to(home_of(folder).parent).as_posix() for folder in (each.resolve() for each in folders)]
    return short if len(set(short)) == len(short) else [str(folder) for folder in folders]


def _names(records: Sequence[RunRecord]) -> list[str]:
    return names([record.folder for record in records])


def _articles(records: Sequence[RunRecord], thumbnails: Thumbnails) -> list[Html]:
    return [
        tag(
            "article",
            tag("h2", name),
            tag("p", sections.about(record), class_="about"),
            _sections(record, "h3", thumbnails),
            id=f"run-{place}",
        )
        for place, (name, record) in enumerate(zip(_names(records), records, strict=True))
    ]


def _comparison(records: Sequence[RunRecord]) -> Html:
    """All runs in one table, those that differ in their seed alone together with their mean and spread."""
    alike: dict[tuple[str, int], list[int]] = {}
    for place, record in enumerate(records):
        same_data = next(first for first, other in enumerate(records) if _of_the_same_data(record, other))
        alike.setdefault((_but_for_the_seed(record), same_data), []).append(place)
    rows: list[Sequence[Child]] = []
    summaries: list[int] = []
    titles = _names(records)
    for places in alike.values():
        rows += [_row(tag("a", titles[place], href=f"#run-{place}"), records[place]) for place in places]
        if len(places) > 1 and len({records[place].seed for place in places}) == len(places):
            summaries.append(len(rows))
            rows.append(_mean_and_spread([records[place] for place in places]))
    metrics = sorted({metric(record.result) for record in records if record.result}) or [metric({})]
    judged = " or ".join(kind.name for kind in metrics)
    columns = {
        name: "n" if name != "run" else None
        for name in (
            "run",
            "seed",
            f"{judged} [95 %]",
            "mean class",
            "in order",
            "shuffled",
            "reversed",
            "one frame",
            "videos",
        )
    }
    caption = (
        f"{' or '.join(kind.title for kind in metrics)} with its 95 % interval over videos, and its mean over classes; "
        f"in order, shuffled, reversed and with one frame it is that of the order probe{_probed_by(records)}."
    )
    if summaries:
        caption += (
            " In bold: mean ± standard deviation over runs that differ in nothing but their seed; (of k): over the k "
            "that have such a figure."
        )
    protocols = sorted({record.result["protocol"] for record in records if record.result})
    if len(protocols) == 1:
        caption += f" {protocols[0]}."
    notes = []
    if len(protocols) > 1:
        notes.append(
            f"These runs were not measured alike, so their figures cannot be compared: {'; '.join(protocols)}."
        )
    if len(metrics) > 1:
        notes.append(
            "Some of these runs are judged by mAP, as their videos are of several classes at once: it is no top-1."
        )
    if len({json.dumps(_support(record)) for record in records if record.result}) > 1:
        notes.append("These runs were not measured on as many videos of the same classes.")
    return join([tag("p", note, class_="note") for note in notes], table(caption, columns, rows, summaries))


def _probed_by(records: Sequence[RunRecord]) -> str:
    protocols = sorted({record.probe["protocol"] for record in records if record.probe})
    return f" ({'; '.join(protocols)})" if protocols else ""


def _row(name: Html, record: RunRecord) -> Sequence[Child]:
    result, probe = record.result, record.probe
    seed = DASH if record.seed is None else str(record.seed)
    probed = [percent(probe[order][metric(probe[order]).key]) if probe else DASH for order in PROBED]
    if result is None:
        return name, seed, DASH, DASH, *probed, DASH
    key = metric(result).key
    low, high = result[f"{key}_interval"]
    judged = f"{percent(result[key])} [{100 * low:.1f}, {100 * high:.1f}]"
    videos = f"{result['videos']:,} of {result['listed']:,}"
    mean_class = percent(result["mean_class"]) if "mean_class" in result else DASH
    return name, seed, judged, mean_class, *probed, videos


def _mean_and_spread(group: Sequence[RunRecord]) -> Sequence[Child]:
    def spread(values: Sequence[float]) -> str:
        if len(values) < 2:
            return DASH
        of = f" (of {len(values)})" if len(values) < len(group) else ""
        return f"{100 * statistics.fmean(values):.1f} ± {100 * statistics.stdev(values):.1f}{of}"

    results = [record.result for record in group if record.result]
    probes = [record.probe for record in group if record.probe]
    probed = [spread([probe[order][metric(probe[order]).key] for probe in probes]) for order in PROBED]
    figure = spread([result[metric(result).key] for result in results])
    mean_class = spread([result["mean_class"] for result in results if "mean_class" in result])
    return f"mean of {len(group)} seeds", "", figure, mean_class, *probed, ""


def _but_for_the_seed(record: RunRecord) -> str:
    """The same for runs of one recipe measured alike; a run without recipe or result is like no other.

    Nor is what was found of other videos or views, as they need not be the same of two runs.
    """
    if not record.settings or record.result is None or home_of(record.folder) != record.folder:
        return str(record.folder.resolve())
    train = {key: value for key, value in record.settings.get("train", {}).items() if key != "seed"}
    return json.dumps(
        [record.settings | {"train": train}, record.result["protocol"], _support(record)], sort_keys=True, default=str
    )


def _of_the_same_data(record: RunRecord, other: RunRecord) -> bool:
    """Whether runs learned from one data set: as it is, wherever it lies, or split by each run's own seed."""
    if record.origin is None or other.origin is None:
        return record.origin is other.origin
    ours, theirs = record.origin["data"], other.origin["data"]
    return ours["sha256"] == theirs["sha256"] or all(
        ours[key] == theirs[key] for key in ("folder", "classes", "train", "val")
    )


def _support(record: RunRecord) -> Any:
    return {name: figures["support"] for name, figures in record.result["per_class"].items()} if record.result else None
