"""Which videos a model is judged on: those that its run held out, where it split the data itself; needs no torch."""

import csv
import hashlib
import json
import os
import sys
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path

from mvit.data.dataset import Sample, find_all, split_file
from mvit.data.manifests import read_manifest
from mvit.data.samples import medium_of


def name_of(data: Path) -> str:
    """What a run on this folder or CSV is called after."""
    whole = data.resolve()
    return whole.name if whole.is_dir() else whole.stem


def is_model(path: Path) -> bool:
    """Whether a path is that of a model, a run folder or a file of weights, and not of data."""
    return path.suffix in (".onnx", ".xml", ".pt2", ".safetensors") or (path / "model.json").is_file()


def folder_of(model: Path) -> Path:
    """Where what is found of a model goes: its run folder; for an exported file a folder of its own beside it."""
    if model.is_dir():
        return model
    return model.parent / f"{model.stem}-{model.suffix[1:]}" if model.suffix in (".onnx", ".xml") else model.parent


def split_of(run: Path) -> Mapping[str, Sequence[Sample]] | None:
    """The videos of a run by part, as it split them; None where it does not say so."""
    table = _split_table(run)
    # Read as it stands: the videos of the run may be gone by now, and need not be there to judge it on others.
    return read_manifest(table, anywhere=True).parts if table.is_file() else None


def _split_table(run: Path) -> Path:
    return split_file(run if run.is_dir() else run.parent)


def to_judge(run: Path, data: Path, classes: Sequence[str], several: bool) -> tuple[tuple[Sample, ...], Path]:
    """The videos of ``data`` to judge a run on, and the folder for what comes out.

    ``several``: the run's videos are of several classes at once, and so must these be.
    Where the run itself split this data, these are the videos that it held out; where it learned from some, or from
    such as are called alike, it is said. The folder is none that holds what was found of other videos.
    """
    samples = find_all(data, classes, say=lambda note: print(f"note: {note}", file=sys.stderr), several=several)
    home = folder_of(run)
    split = split_of(run)
    if split is None:
        given = (home / "pulled.json").is_file() or _is_of_others(home, samples)
        return samples, _place(home, data, samples) if given else home
    parts = {sample.id.resolve(): name for name, part in split.items() for sample in part}
    named = {sample.id.resolve() for sample in samples}
    held_out = {path for path, part in parts.items() if part == "val"}
    if named == held_out:
        before = {sample.id.resolve(): set(sample.labels) for sample in split["val"]}
        if changed := sum(before[sample.id.resolve()] != set(sample.labels) for sample in samples):
            print(
                f"Beware: {changed} of these {len(samples)} {medium_of(samples)} have other labels than in "
                f"{_split_table(run)}.",
                file=sys.stderr,
            )
        return samples, home
    if held_out and named == parts.keys():
        print(
            f"The run split {data} itself: it is judged on the {len(held_out)} {medium_of(samples)} that it held out."
        )
        return tuple(sample for sample in samples if sample.id.resolve() in held_out), home
    if learned := named & (parts.keys() - held_out):
        print(
            f"Beware: the model was trained on {len(learned)} of these {len(named)} {medium_of(samples)}.",
            file=sys.stderr,
        )
    elif not named & parts.keys() and (alike := _called_alike(split, samples)):
        print(
            f"Beware: {alike} of these {len(named)} {medium_of(samples)} are called as some that the model was trained "
            "on, which lie elsewhere: if they are the same, moved or prepared, judge it on others.",
            file=sys.stderr,
        )
    return samples, _place(home, data, samples)


def _called_alike(split: Mapping[str, Sequence[Sample]], samples: Sequence[Sample]) -> int:
    """How many samples have place and labels of one that was learned from; 0 unless most of all samples of both do.

    Names alone prove nothing, as many data sets count their videos; that of two sets most have the same does say much.
    """
    whole = [sample for part in split.values() for sample in part]
    if 2 * min(len(whole), len(samples)) <= max(len(whole), len(samples)):
        return 0
    own, there = _places(whole), set(_places(samples))
    if 2 * len(there.intersection(own)) <= max(len(own), len(there)):
        return 0
    held_out = {sample.id for sample in split.get("val", ())}
    return len(there & {place for place, sample in zip(own, whole, strict=True) if sample.id not in held_out})


def _places(samples: Sequence[Sample]) -> list[object]:
    """Where each lies in the folder that all lie in, without its extension, which `mvit prepare` changes."""
    paths = [Path(os.path.abspath(sample.path)) for sample in samples]
    root = os.path.commonpath([path.parent for path in paths])
    places = [path.relative_to(root).with_suffix("") for path in paths]
    return [(place, sample.part, sample.labels) for place, sample in zip(places, samples, strict=True)]


def _place(home: Path, data: Path, samples: Sequence[Sample]) -> Path:
    """A folder in a run's for what is found on other videos: called after them, also where others are called so."""
    folder = home / f"on-{name_of(data)}"
    if _is_of_others(folder, samples):
        return folder.with_name(f"{folder.name}-{hashlib.sha256(os.fsencode(data.resolve())).hexdigest()[:8]}")
    return folder


def _is_of_others(folder: Path, samples: Sequence[Sample]) -> bool:
    """Whether what was found stands in a folder, and is of other videos, as their names or else their number say."""
    for place in (folder, *folder.glob("views-*")):
        try:
            with (place / "scores.csv").open(encoding="utf-8", errors="surrogateescape", newline="") as file:
                seen = [row[0] for row in islice(csv.reader(file), 1, 1001) if row]
            ids = {str(sample.id.resolve()) for sample in samples}
            return 2 * sum(str(Path(path).resolve()) in ids for path in seen) <= len(seen)
        except (FileNotFoundError, NotADirectoryError):
            pass
        except csv.Error:
            return True
        for name in ("result.json", "probe.json"):
            if (place / name).is_file() and _listed(place / name) != len(samples):
                return True
    return False


def _listed(file: Path) -> object:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except ValueError:
        return None
    return content.get("listed") if isinstance(content, dict) else None


def to_judge_alike(
    runs: Sequence[Path], data: Path, classes: Sequence[str], several: bool
) -> tuple[tuple[Sample, ...], list[Path]]:
    """The videos of ``data`` to judge each of these runs on, and the folder of each for what comes out of it.

    Raises ``ValueError`` where they held out others.
    """
    judged = [to_judge(run, data, classes, several) for run in runs]
    samples, folders = [each for each, _ in judged], [folder for _, folder in judged]
    for run, own in zip(runs, samples, strict=True):
        if {sample.id for sample in own} != {sample.id for sample in samples[0]}:
            raise ValueError(
                f"{runs[0]} and {run} did not hold out the same videos of {data}: name videos that neither learned "
                "from, as a folder or CSV of their own"
            )
    return samples[0], folders
