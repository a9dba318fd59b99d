"""Which videos a model is judged on: those that its run held out, where it split the data itself; needs no torch."""

import sys
from collections.abc import Mapping, Sequence
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
    table = split_file(run if run.is_dir() else run.parent)
    # Read as it stands: the videos of the run may be gone by now, and need not be there to judge it on others.
    return read_manifest(table, anywhere=True).parts if table.is_file() else None


def to_judge(run: Path, data: Path, classes: Sequence[str], several: bool) -> tuple[tuple[Sample, ...], Path]:
    """The videos of ``data`` to judge a run on, and the folder for what comes out.

    ``several``: the run's videos are of several classes at once, and so must these be.
    Where the run itself split this data, these are the videos that it held out; where it learned from some, it is said.
    """
    samples = find_all(data, classes, say=lambda note: print(f"note: {note}", file=sys.stderr), several=several)
    home = folder_of(run)
    split = split_of(run)
    if split is None:
        return samples, home
    parts = {sample.id.resolve(): name for name, part in split.items() for sample in part}
    named = {sample.id.resolve() for sample in samples}
    held_out = {path for path, part in parts.items() if part == "val"}
    if named == held_out:
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
    return samples, home / f"on-{name_of(data)}"


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
