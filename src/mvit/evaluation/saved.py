"""An evaluation read back from its files, and what these say about how far its scores can be trusted."""

import csv
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mvit import files
from mvit.data.dataset import split_file
from mvit.data.manifests import read_manifest
from mvit.data.samples import Sample, counted
from mvit.evaluation.calibration import calibration, coverage_curve, log_loss, thresholds
from mvit.evaluation.evaluate import RESULT_FILE, SCORES_FILE, as_json
from mvit.evaluation.label_errors import suspects
from mvit.evaluation.statistics import units

CALIBRATION_FILE = "calibration.json"
AGAIN = "evaluate again"

Known = tuple[str | None, Sample | None]
"""Of a video: the part of a run's split that it is in, and how it stands there."""


@dataclass(frozen=True, kw_only=True)
class Saved:
    """The scores of every readable video of an evaluation of one class a video, in the order listed."""

    result: dict[str, Any]
    """What result.json holds."""
    classes: tuple[str, ...]
    paths: tuple[str, ...]
    labels: np.ndarray  # (N,) int64
    predicted: np.ndarray
    """The class that each video was called by, (N,) int64: the file rounds scores, so that two may be the highest."""
    scores: np.ndarray  # (N, K) float64

    @property
    def right(self) -> np.ndarray:
        """Whether each video was called by its class, (N,) bool."""
        return self.predicted == self.labels


def read(folder: Path) -> Saved:
    """Read result.json and scores.csv of a folder.

    Raises ``FileNotFoundError`` where one is missing, and ValueError for files that evaluation did not write, or of
    videos of several classes.
    """
    result_file, scores_file = folder / RESULT_FILE, folder / SCORES_FILE
    if missing := next((file for file in (result_file, scores_file) if not file.is_file()), None):
        raise FileNotFoundError(f"{missing} does not exist: run mvit evaluate")
    try:
        result = json.loads(result_file.read_text(encoding="utf-8"))
        classes = tuple(result["classes"])
    except (ValueError, LookupError, TypeError) as error:
        raise ValueError(f"{result_file} was not written by evaluation ({error}): {AGAIN}") from None
    if _columns(scores_file)[1:2] == ["labels"]:
        raise ValueError(f"the videos of {scores_file} are of several classes at once, and here each must be of one")
    index = {name: place for place, name in enumerate(classes)}
    paths, labels, predicted, scores = [], [], [], []
    with scores_file.open(encoding="utf-8", errors="surrogateescape", newline="") as file:
        try:
            rows = csv.reader(file)
            header = next(rows, [])
            if header != ["path", "label", "predicted", "correct", *classes]:
                raise ValueError(f"its columns are not those of the classes of {result_file.name}")
            for row in rows:
                where = f"its line {rows.line_num}"
                if len(row) != len(header):
                    raise ValueError(f"{where} has {len(row)} of {len(header)} columns")
                try:
                    labels.append(index[row[1]])
                    predicted.append(index[row[2]])
                    scores.append([float(text) for text in row[4:]])
                except (ValueError, LookupError) as error:
                    raise ValueError(f"{where} lacks a class or a number ({error})") from None
                paths.append(row[0])
            if not paths or len(set(paths)) < len(paths):
                raise ValueError("a video is in it twice" if paths else "it holds no video")
            table = np.array(scores, dtype=np.float64)
            if not ((table >= 0) & np.isfinite(table)).all():
                raise ValueError("it holds scores that no model gives, below 0 or not finite")
            if (table.max(axis=1) > table[np.arange(len(paths)), predicted]).any():
                raise ValueError("a video is called by another class than that of its highest score")
            if len(paths) != result.get("videos"):
                raise ValueError(f"it has {counted(len(paths), 'video')}, {result_file.name} {result.get('videos')}")
        except (ValueError, LookupError, csv.Error) as error:
            raise ValueError(f"{scores_file} cannot be read: {error}; {AGAIN}") from None
    return Saved(
        result=result,
        classes=classes,
        paths=tuple(paths),
        labels=np.array(labels, dtype=np.int64),
        predicted=np.array(predicted, dtype=np.int64),
        scores=table,
    )


def trust(saved: Saved, groups: Sequence[str | None], learned: int = 0) -> dict[str, Any]:
    """What goes into calibration.json: ``calibration``, ``thresholds``, ``coverage`` and ``label_errors``.

    ``groups`` (N,) are those of the videos, where they are known: intervals are then over groups, and thresholds chosen
    and checked on different ones. ``label_errors`` are all ``label_errors.suspects``, of these videos only; those that
    the model has ``learned`` from, so many, it cannot judge.
    """
    rows, unit = np.arange(len(saved.labels)), units(groups)
    confidence, right = saved.scores[rows, saved.predicted].clip(max=1), saved.right
    own = saved.scores[rows, saved.labels]
    return {
        "videos": len(saved.paths),
        "listed": saved.result["listed"],
        "learned": learned,
        "protocol": saved.result["protocol"],
        "groups": len({group for group in groups if group is not None}),
        "units": int(unit.max()) + 1,
        "log_loss": log_loss(saved.scores, saved.labels),
        "calibration": calibration(confidence, right, unit),
        "thresholds": thresholds(confidence, right, unit),
        "coverage": coverage_curve(confidence, right),
        "label_errors": [
            {
                "path": saved.paths[suspect.place],
                "label": saved.classes[saved.labels[suspect.place]],
                "suggested": saved.classes[suspect.suggested],
                "score": float(saved.scores[suspect.place, suspect.suggested]),
                "own_score": float(own[suspect.place]),
                "margin": suspect.margin,
            }
            for suspect in suspects(saved.scores, saved.labels)
        ],
    }


def calibrated(folder: Path) -> dict[str, Any] | None:
    """``trust`` of a run folder, as calibration.json has it; None where its files hold no evaluation of one class.

    Raises as ``read`` does.
    """
    if not _has_one_label(folder):
        return None
    saved = read(folder)
    known = _known(folder, saved.paths)
    learned = sum(part not in (None, "val", "test") for part, _ in known)  # from, or chosen by
    return dict(json.loads(as_json(trust(saved, _groups(known), learned))))


def calibrate(folder: Path) -> None:
    """Write what is ``calibrated`` into the folder, where there is any."""
    if content := calibrated(folder):
        write(content, folder)


def write(content: dict[str, Any], folder: Path) -> None:
    """Write calibration.json into a folder."""
    files.write_text(folder / CALIBRATION_FILE, as_json(content))


def groups_of(folder: Path, paths: Sequence[str]) -> list[str | None]:
    """The group of each of these videos, where a run was made from it; None for all where no run lists any.

    The run is the folder, or the one that it lies in, as those of other views and videos do. Videos are known again
    also by another path, such as a symbolic link.
    """
    return _groups(_known(folder, paths))


def _groups(known: Sequence[Known]) -> list[str | None]:
    return [sample.drawn_with if sample else None for _, sample in known]


def _known(folder: Path, paths: Sequence[str]) -> list[Known]:
    """Each of these videos as it stands in the split of the run, and the part that it is in; None where it does not."""
    above = (home for home in folder.absolute().parents[:3] if (home / "model.json").is_file())
    homes = (folder, *above)  # RUN/model-onnx/on-NAME/views-5x1 is the deepest
    table = next((split_file(home) for home in homes if split_file(home).is_file()), None)
    if table is None:
        return [(None, None)] * len(paths)
    parts = read_manifest(table, anywhere=True).parts
    known = {str(sample.id): (name, sample) for name, part in parts.items() for sample in part}
    if not known.keys() >= set(paths):
        known = {os.path.realpath(path): found for path, found in known.items()}
        paths = [os.path.realpath(path) for path in paths]
    return [known.get(path, (None, None)) for path in paths]


def _has_one_label(folder: Path) -> bool:
    """Whether a folder has an evaluation, and its videos are of one class each."""
    try:
        return (folder / RESULT_FILE).is_file() and _columns(folder / SCORES_FILE)[1:2] == ["label"]
    except (FileNotFoundError, NotADirectoryError):
        return False


def _columns(scores_file: Path) -> list[str]:
    """The first line; nothing of what is no CSV."""
    with scores_file.open(encoding="utf-8", errors="surrogateescape", newline="") as file:
        try:
            return next(csv.reader(file), [])
        except csv.Error:
            return []
