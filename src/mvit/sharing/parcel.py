"""What of a run goes to others, byte for byte, and what stays at home: every name of a file, and so of people."""

import csv
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mvit.data.dataset import split_file
from mvit.data.manifests import read_manifest
from mvit.data.samples import medium_of
from mvit.deploy import transformers_folder
from mvit.evaluation.evaluate import RESULT_FILE, SCORES_FILE, as_json
from mvit.evaluation.probes import PROBE_FILE
from mvit.weights.read import DESCRIPTION_FILE, MODEL_FILE, CheckpointError, describe, read

CARD_FILE = "README.md"
WITH_NAMES = (SCORES_FILE, "split.csv", "split.jsonl")
"""What holds names of files, and goes along only where that is asked for."""


@dataclass(frozen=True, kw_only=True)
class Told:
    """What the files of a run say, for its card; without names of files."""

    description: Mapping[str, Any]
    parameters: int
    result: Mapping[str, Any] | None
    probe: Mapping[str, Any] | None
    recipe: Mapping[str, Any]
    """recipe.toml; nothing of a folder without one."""
    run: Mapping[str, Any]
    """run.json; nothing of a folder without one."""
    parts: Mapping[str, tuple[int, int]]
    """By part, train or val, how many videos, and of how many groups; no group is known: 0."""
    medium: str


def told(run: Path) -> Told:
    """Read a run folder or its file, weights included.

    Raises ``CheckpointError`` (a ``ValueError``) for a model that is not whole, ``ValueError`` for another library's
    and for damaged files.
    """
    folder = run if run.is_dir() else run.parent
    description = describe(run)
    transformers_folder.texts(description)  # before its weights are read: another library's model is refused
    _, state, report = read(run)
    if report.dialect != "mvit" or report.not_finite:
        strange = "holds numbers that are not finite" if report.not_finite else f"is in the names of {report.dialect}"
        raise CheckpointError(f"{run} {strange}: that is no model to give to others")
    parts, medium = _parts(folder, "images" if description["config"]["clip"][0] == 1 else "videos")
    return Told(
        description=description,
        parameters=sum(tensor.numel() for tensor in state.values()),
        result=_nameless(folder / RESULT_FILE),
        probe=_nameless(folder / PROBE_FILE),
        recipe=_recipe(folder / "recipe.toml"),
        run=_json(folder / "run.json") or {},
        parts=parts,
        medium=medium,
    )


def packed(run: Path, known: Told, card: str, *, with_names: bool) -> dict[str, bytes | Path]:
    """The files to send by name, in the order of these."""
    folder = run if run.is_dir() else run.parent
    texts = {CARD_FILE: card, **transformers_folder.texts(known.description)}
    for name, content in ((RESULT_FILE, known.result), (PROBE_FILE, known.probe)):
        if content is not None:
            texts[name] = as_json(dict(content))
    named = {name: folder / name for name in WITH_NAMES if with_names and (folder / name).is_file()}
    return {
        MODEL_FILE: folder / MODEL_FILE if run.is_dir() else run,
        DESCRIPTION_FILE: folder / DESCRIPTION_FILE,
        **{name: text.encode("utf-8") for name, text in texts.items()},
        **named,
    }


def _nameless(file: Path) -> dict[str, Any] | None:
    """A result or probe, with the videos that could not be read counted instead of named."""
    content = _json(file)
    if content is not None:
        content["unreadable"] = {f"video {n}": "" for n, _ in enumerate(content.get("unreadable", {}), start=1)}
    return content


def _json(file: Path) -> dict[str, Any] | None:
    if not file.is_file():
        return None
    try:
        return dict(json.loads(file.read_text(encoding="utf-8")))
    except (ValueError, TypeError, RecursionError) as why:
        raise ValueError(f"{file} is damaged ({why}): make it again, or take it away") from why


def _recipe(file: Path) -> dict[str, Any]:
    import tomllib

    try:
        return tomllib.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    except ValueError as why:
        raise ValueError(f"{file} is damaged ({why}): put it back as it was, or take it away") from why


def _parts(folder: Path, medium: str) -> tuple[dict[str, tuple[int, int]], str]:
    """How many each part has, of how many groups, and what they are called: ``medium`` where none is listed.

    Of train, what could not be read when the run began is not counted: nothing was learned from it.
    """
    table = split_file(folder)
    if not table.is_file():
        return {}, medium
    parts, unread = read_manifest(table, anywhere=True).parts, _unread(folder / "unreadable.csv")
    if "train" in parts and unread:
        parts["train"] = [sample for sample in parts["train"] if os.path.realpath(sample.id) not in unread]
    counts = {
        name: (len(samples), len({sample.group for sample in samples} - {None})) for name, samples in parts.items()
    }
    return counts, medium_of(sample for samples in parts.values() for sample in samples)


def _unread(file: Path) -> set[str]:
    """The videos that a run left out from its start, by whatever path it went on."""
    if not file.is_file():
        return set()
    with file.open(encoding="utf-8", errors="surrogateescape", newline="") as table:
        return {os.path.realpath(row["path"]) for row in csv.DictReader(table) if row["found_in"] == "scan"}
