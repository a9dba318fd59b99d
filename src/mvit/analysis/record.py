"""What a run folder says about its run: its files read, checked for what the report needs, and nothing executed."""

import csv
import json
import math
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import NoneType
from typing import Any, NamedTuple

NUMBER = (int, float)
PAIR = [NUMBER]
SHARE = (int, float, NoneType)
RESULT_FIELDS: dict[str, Any] = {
    "headline": str,
    "protocol": str,
    "videos": int,
    "listed": int,
    "unreadable": dict,
    "classes": [str],
    "per_class": dict,
}
"""Of any result; the next two, by the metric that it is summed up by, with what stands there of each class."""
METRIC_FIELDS: dict[str, dict[str, Any]] = {
    "top1": {
        "top1": NUMBER,
        "top1_interval": PAIR,
        "top1_unreadable_wrong": NUMBER,
        "mean_class": NUMBER,
        "confusion": [[int]],
    },
    "map": {
        "map": NUMBER,
        "map_interval": PAIR,
        "map_unreadable_wrong": NUMBER,
        "map_classes": int,
        "chance": NUMBER,
        "hit1": NUMBER,
    },
}
PER_CLASS_FIELDS: dict[str, dict[str, Any]] = {
    "top1": {"precision": SHARE, "recall": SHARE, "recall_interval": (list, NoneType), "f1": SHARE, "support": int},
    "map": {"average_precision": SHARE, "support": int},
}
ORIGIN_FIELDS: dict[str, Any] = {
    "begun": str,
    "commit": (str, NoneType),
    "environment": {"system": str, "hardware": {"processor": str}, "versions": dict},
    "data": {"folder": str, "classes": int, "train": int, "val": int, "sha256": str},
}
PROBE_FIELDS: dict[str, Any] = {
    "meaning": str,
    "protocol": str,
    "videos": int,
    "listed": int,
    "orders": int,
    "chance": NUMBER,
    "drops": {"shuffled": NUMBER, "reversed": NUMBER, "single_frame": NUMBER},
    "ordered": {},
    "shuffled": {"std_over_orders": NUMBER},
    "reversed": {},
    "single_frame": {},
}
"""Of any probe; of one of top-1 also the next, and of each order its metric."""
TOP1_PROBE_FIELDS: dict[str, Any] = {
    "majority": NUMBER,
    "reversed": {"called_mirror": SHARE, "called_mirror_interval": (list, NoneType), "mirror_videos": int},
}
ERROR_FIELDS: dict[str, Any] = {
    "error": NUMBER,
    "error_interval": PAIR,
    "by_chance": NUMBER,
    "by_chance_most": NUMBER,
    "bins": [
        {"videos": int, "low": NUMBER, "high": NUMBER, "confidence": NUMBER, "right": NUMBER, "right_interval": PAIR}
    ],
}
TRUST_FIELDS: dict[str, Any] = {
    "videos": int,
    "protocol": str,
    "groups": int,
    "units": int,
    "log_loss": NUMBER,
    "calibration": {
        "confidence": NUMBER,
        "right": NUMBER,
        "overconfidence": NUMBER,
        "overconfidence_interval": PAIR,
        "equal_width": ERROR_FIELDS,
        "adaptive": ERROR_FIELDS,
    },
    "thresholds": [{"wished": NUMBER, "threshold": SHARE, "chosen_on": (dict, NoneType), "checked": (dict, NoneType)}],
    "coverage": [[NUMBER]],
    "label_errors": [{"path": str, "label": str, "suggested": str, "score": NUMBER, "own_score": NUMBER}],
}
ORDERS = ("ordered", "shuffled", "reversed", "single_frame")
DISORDER_FIELDS: dict[str, Any] = {"title": str, "orders": int, "kendall": SHARE}
"""Of each disorder that a probe lists, since probes list them."""
WORST = 20


@dataclass(frozen=True)
class Mistake:
    """A video that was called something else, with the score of what it was called and of what it is.

    One of several classes is called by its highest score, and ``true_score`` is the highest of its own, if it has any.
    """

    path: str
    label: str
    predicted: str
    score: float
    true_score: float | None

    @property
    def loss(self) -> float:
        """Minus the natural logarithm of the true score; infinite where that is 0 or there is none."""
        return -math.log(self.true_score) if self.true_score else math.inf


class Metric(NamedTuple):
    """What a run is judged by: its key in the files, and its name within and at the head of a sentence."""

    key: str
    name: str
    title: str


def metric(figures: Mapping[str, Any]) -> Metric:
    """By what an evaluation, or an order of the probe, is summed up."""
    return Metric("map", "mAP", "mAP") if "map" in figures else Metric("top1", "top-1", "Top-1")


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """The files of one run; None or empty for those it does not have, ``notes`` for what could not be read."""

    folder: Path
    origin: dict[str, Any] | None = None
    """When it began, with what, and on which data."""
    result: dict[str, Any] | None = None
    probe: dict[str, Any] | None = None
    other_probes: tuple[Path, ...] = ()
    """Folders in it with a probe of other videos, or of other views."""
    model: dict[str, Any] | None = None
    recipe: str | None = None
    settings: dict[str, Any] = field(default_factory=dict)
    epochs: tuple[dict[str, Any], ...] = ()
    trust: dict[str, Any] | None = None
    """How far its scores and the labels can be trusted."""
    mistakes: tuple[Mistake, ...] | None = None
    unreadable: tuple[tuple[str, str, str], ...] = ()
    """Path, reason, and when it was found."""
    notes: tuple[str, ...] = ()

    @property
    def worst(self) -> list[Mistake]:
        """The worst of the mistakes: of the highest loss, or, where videos are of several classes, highest score."""
        several = "map" in (self.result or {})
        worst = sorted(self.mistakes or (), key=lambda each: (0 if several else -each.loss, -each.score))
        return worst[:WORST]

    @property
    def seed(self) -> int | None:
        """The seed of its recipe."""
        return self.settings.get("train", {}).get("seed")

    @property
    def model_name(self) -> str | None:
        """The preset of its recipe."""
        name = self.settings.get("model", {}).get("name")
        return name if isinstance(name, str) else None

    def measured(self, key: str) -> list[float]:
        """The finite numbers that the epochs give for a key."""
        values = (number(epoch.get(key)) for epoch in self.epochs)
        return [value for value in values if value is not None and math.isfinite(value)]


FILES = (
    "result.json",
    "probe.json",
    "calibration.json",
    "model.json",
    "metrics.jsonl",
    "scores.csv",
    "unreadable.csv",
    "run.json",
)


def is_run(folder: Path) -> bool:
    """Whether a folder holds files of a run; a study of runs has a recipe too, but none of these."""
    return any((folder / name).is_file() for name in FILES)


def outline(folder: Path) -> RunRecord:
    """What a run is and how far it came, from its small files; the others are left out. Raises as ``read``."""
    folder = Path(folder)
    if not folder.is_dir():
        what = "is a file" if folder.exists() else "does not exist"
        raise ValueError(f"{folder} {what}: name the folder of a run, as `mvit train` wrote it")
    if not is_run(folder):
        within = sorted(path.parent for path in folder.glob("*/result.json"))
        said = f"{within[0]} is one" if within else f"it holds none of {', '.join(FILES)}"
        raise ValueError(f"{folder} is no folder of a run: {said}")
    result = _json(folder / "result.json", {})
    if result is not None:
        _check_result(folder / "result.json", result)
    notes: list[str] = []
    recipe, settings = _recipe(home_of(folder) / "recipe.toml")
    return RunRecord(
        folder=folder,
        origin=_json(folder / "run.json", ORIGIN_FIELDS),
        result=result,
        model=_json(folder / "model.json", {}),
        recipe=recipe,
        settings=settings,
        epochs=tuple(_epochs(folder / "metrics.jsonl", notes)),
        notes=tuple(notes),
    )


def read(folder: Path) -> RunRecord:
    """Read the files of a run; raises ValueError for a folder that is none of a run's, or a file that is foreign."""
    known = outline(folder)
    folder = known.folder
    return replace(
        known,
        probe=read_probe(folder),
        other_probes=tuple(sorted(path.parent for path in folder.glob("*/probe.json"))),
        trust=_json(folder / "calibration.json", TRUST_FIELDS),
        mistakes=_mistakes(folder / "scores.csv"),
        unreadable=tuple(_unreadable(folder / "unreadable.csv", known.result)),
    )


def home_of(folder: Path) -> Path:
    """The run that a folder is, or that what it holds of other videos or views was found of; itself where neither."""
    return next((home for home in (folder, *folder.parents[:2]) if (home / "model.json").is_file()), folder)


def number(value: Any) -> float | None:
    """A number as a float, and None for anything else."""
    return float(value) if isinstance(value, NUMBER) and not isinstance(value, bool) else None


def _json(path: Path, fields: Mapping[str, Any]) -> dict[str, Any] | None:
    if not path.is_file():
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is no JSON ({error}): write it again with the command that made it") from None
    _require(path, content, fields)
    return content


def _require(path: Path, content: Any, fields: Mapping[str, Any], where: str = "") -> None:
    if (strange := _misfit(content, dict(fields), where)) is not None:
        raise ValueError(f"{path} was not written by this version of mvit: {strange}; write it again")


def _misfit(value: Any, shape: Any, where: str) -> str | None:
    """What in a value is not of a shape: a type, types, a list of one shape, or a dict of shapes."""
    here = where or "it"
    if isinstance(shape, dict):
        if not isinstance(value, dict):
            return f"{here} is no object"
        missing = next((key for key in shape if key not in value), None)
        if missing is not None:
            return f"{here} has no {missing!r}"
        inner = ((value[key], shape[key], f"{where}.{key}".lstrip(".")) for key in shape)
    elif isinstance(shape, list):
        if not isinstance(value, list):
            return f"{here} is no list"
        if shape is PAIR and len(value) != 2:
            return f"{here} is no pair"
        inner = ((item, shape[0], f"an item of {here}") for item in value)
    elif isinstance(value, shape) and not isinstance(value, bool):
        return None
    else:
        return f"{here} is a {type(value).__name__}"
    return next((strange for item in inner if (strange := _misfit(*item)) is not None), None)


def _check_result(path: Path, result: dict[str, Any]) -> None:
    key = metric(result).key
    _require(path, result, RESULT_FIELDS | METRIC_FIELDS[key])
    size, matrix = len(result["classes"]), result.get("confusion")
    for name, figures in result["per_class"].items():
        _require(path, figures, PER_CLASS_FIELDS[key], f"per_class.{name}")
    square = matrix is None or (len(matrix) == size and all(len(row) == size for row in matrix))
    if not size or not square or set(result["per_class"]) != set(result["classes"]):
        raise ValueError(f"{path} was not written by this version of mvit: its tables do not fit its {size} classes")


def read_probe(folder: Path) -> dict[str, Any] | None:
    """The probe of time in a folder, None without one; raises ValueError for a file that is foreign."""
    path = folder / "probe.json"
    probe = _json(path, PROBE_FIELDS)
    if probe is not None:
        key = metric(probe["ordered"]).key
        figure: dict[str, Any] = {key: NUMBER, f"{key}_interval": PAIR}
        for order in ORDERS:
            _require(path, probe[order], figure, order)
        _require(path, probe, TOP1_PROBE_FIELDS if key == "top1" else {})
        if "disorders" in probe:
            _check_disorders(path, probe, figure)
    return probe


def _check_disorders(path: Path, probe: dict[str, Any], figure: dict[str, Any]) -> None:
    """Of a probe that asked for more than the four orders of the first ones."""
    fields = {
        "disorders": [str],
        "drop_intervals": dict,
        "kendall": [{"distance": NUMBER, **figure}],
        "per_class": dict,
    }
    _require(path, probe, fields | {"sampled": {"unit": str, "count": int}, "not_asked": dict})
    lost = [name for name in probe["disorders"] if name != "ordered"]
    _require(path, probe, dict.fromkeys(probe["disorders"], DISORDER_FIELDS | figure))
    _require(path, probe, {"drops": dict.fromkeys(lost, NUMBER), "drop_intervals": dict.fromkeys(lost, PAIR)})
    for name, figures in probe["per_class"].items():
        _require(path, figures, {"support": int} | dict.fromkeys(probe["disorders"], SHARE), f"per_class.{name}")
    if "top1" in figure:
        pair = {"classes": [str], "videos": int, "ordered": NUMBER, "shuffled": NUMBER, "shuffled_each": [SHARE]}
        _require(path, probe, {"collapses": [pair]})


def _recipe(path: Path) -> tuple[str | None, dict[str, Any]]:
    if not path.is_file():
        return None, {}
    text = path.read_text(encoding="utf-8", errors="surrogateescape")
    try:
        settings = tomllib.loads(text)
    except ValueError as error:
        raise ValueError(f"{path} is no TOML: {error}") from None
    return text, {key: value for key, value in settings.items() if isinstance(value, dict)}


def _epochs(path: Path, notes: list[str]) -> Iterator[dict[str, Any]]:
    """The lines of metrics.jsonl; one that a killed run left unfinished is left out and said."""
    if not path.is_file():
        return
    for place, line in enumerate(path.read_text(encoding="utf-8", errors="replace").split("\n"), start=1):
        if not line.strip():
            continue
        try:
            epoch = json.loads(line)
        except (ValueError, RecursionError):
            epoch = None
        if isinstance(epoch, dict) and number(epoch.get("epoch")) is not None:
            yield epoch
        else:
            notes.append(f"Line {place} of {path.name} is no record of an epoch and is left out.")


def _mistakes(path: Path) -> tuple[Mistake, ...] | None:
    """The videos that were called something else."""
    if not path.is_file():
        return None
    with path.open(encoding="utf-8", errors="surrogateescape", newline="") as file:
        try:
            rows = csv.reader(file)
            header = next(rows, [])
            if [*header[:1], *header[2:4]] != ["path", "predicted", "correct"] or header[1] not in ("label", "labels"):
                raise ValueError("its header is not path,label,predicted,correct and the classes")
            place = {name: index for index, name in enumerate(header) if index >= 4}
            return tuple(_mistake(row, place, several=header[1] == "labels") for row in rows if row[3] != "1")
        except (ValueError, LookupError, csv.Error) as error:
            raise ValueError(f"{path} was not written by this version of mvit: {error}; evaluate again") from None


def _mistake(row: list[str], place: Mapping[str, int], *, several: bool) -> Mistake:
    labels = json.loads(row[1]) if several else [row[1]]
    own = [_score(row[place[label]]) for label in labels]
    return Mistake(row[0], ", ".join(labels), row[2], _score(row[place[row[2]]]), max(own, default=None))


def _score(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text} is no score")
    return value


def _unreadable(path: Path, result: dict[str, Any] | None) -> Iterator[tuple[str, str, str]]:
    judged = {} if result is None else result["unreadable"]
    yield from ((name, str(reason), "evaluation") for name, reason in judged.items())
    if not path.is_file():
        return
    with path.open(encoding="utf-8", errors="surrogateescape", newline="") as file:
        for row in csv.DictReader(file):
            if (name := row.get("path")) is not None and name not in judged:
                yield name, row.get("reason") or "", row.get("found_in") or "scan"
