"""A trained model as a file for other programs, looked at before it is there: one that is off is never written."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from torch.export import ExportedProgram

from mvit import files
from mvit.data.dataset import Sample, find_all
from mvit.data.samples import medium_of
from mvit.data.views import Preprocessing
from mvit.deploy import graph, onnx_file, openvino_file, transformers_folder
from mvit.deploy.agreement import BATCHES, compare, require
from mvit.deploy.described import files_of, in_fixed_batches
from mvit.deploy.int8 import quantise
from mvit.deploy.predictor import Predictor, load
from mvit.evaluation.evaluate import decoded
from mvit.evaluation.scoring import Predict
from mvit.held_out import split_of
from mvit.weights.read import describe

SUFFIXES = {"onnx": ".onnx", "openvino": ".xml", "torch": ".pt2", "transformers": ""}
"""How the names of what is written end; transformers reads a folder."""
CLIPS = {False: 10, True: 100}
"""How many clips a file is looked at on, in float32 and in int8, where one is off by a class now and then."""
LEAST_CLIPS = 5
CALIBRATION = 32
SEED = 0
"""Of which videos are taken."""


@dataclass(frozen=True, kw_only=True)
class Clips:
    """A clip of each of some videos, the one in its middle: to look at a file by, and to take int8's ranges from."""

    judged: np.ndarray  # (N, 3, T, H, W)
    calibration: np.ndarray
    what: str


def export(
    run: Path,
    to: str,
    out: Path | None = None,
    *,
    int8: bool = False,
    data: Path | None = None,
    batch: int | None = None,
) -> str:
    """Write a run's model to ``out``, or into the run folder, and say in a few lines what it was found to be.

    ``to`` is one of ``SUFFIXES``. The file takes any number of clips at once, or ``batch`` and no other. The clips are
    of the videos that the run held out, or of ``data``. Raises ``ValueError`` for what cannot be, and for a file that
    is off: float32 by more than 1e-4 of the largest logit, int8 by more than 2 % of the first classes. Nothing is left
    behind then.
    """
    if batch is not None and batch < 1:
        raise ValueError(f"--batch is {batch}: it is 1 or more, or left out for any number of clips")
    if to not in SUFFIXES:
        raise ValueError(f"--to is {to!r}: expected one of {', '.join(SUFFIXES)}")
    if int8 and to != "onnx":
        raise ValueError(f"--int8 is written as ONNX, not as {to}: leave --to out, or --int8")
    if batch is not None and to == "transformers":
        raise ValueError("--batch is of a file for a runtime, and transformers takes any number: leave it out")
    predictor = load(run, device="cpu")
    home = run if run.is_dir() else run.parent
    path = out or home / (f"model{'-int8' if int8 else ''}{SUFFIXES[to]}" if SUFFIXES[to] else to)
    if path.suffix != SUFFIXES[to]:
        reads = f"what {to} reads ends in {SUFFIXES[to]}" if SUFFIXES[to] else f"{to} reads a folder, without an ending"
        raise ValueError(f"--out is {path}, but {reads}: name it so")
    for one in files_of(path):
        if one.exists():
            raise FileExistsError(f"{one} exists already: name another file with --out")
    clips = clips_for(run, predictor, int8=int8, data=data, least=batch or 0)
    files.require_writable(path)
    with (
        files.folder_of(path),
        files.blaming(path),
        TemporaryDirectory(prefix=".mvit-export-", dir=path.parent) as temporary,
    ):
        written = Path(temporary) / path.name
        if to == "transformers":
            expected, predict = transformers_folder.log_scores(predictor), transformers_folder.write(run, written)
        else:
            program = graph.traced(predictor.model, predictor.preprocessing, batch)
            description = json.dumps(describe(run), ensure_ascii=False)
            expected, predict = predictor.logits, _WRITERS[to](program, description, written, clips.calibration, batch)
        found = compare(expected, predict, clips.judged, (batch,) if batch else BATCHES)
        require(found, int8=int8)
        del predict  # before its file moves, which some systems forbid for one that is in use
        parts = list(written.iterdir()) if written.is_dir() else files_of(written)
        size = sum(one.stat().st_size for one in parts)
        if written.is_dir():
            written.replace(path)
        else:
            for one in parts:
                _deliver(one, path.parent / one.name)
    return f"{path} ({size / 1e6:.1f} MB). It gives what the model gives, {clips.what}:\n{found}"


def clips_for(run: Path, predictor: Predictor, *, int8: bool, data: Path | None, least: int = 0) -> Clips:
    """Clips of a run's held-out videos, with ranges for int8 from those it learned from, or both of ``data``.

    There are ``least`` or more where there are as many videos. Raises ``ValueError`` where too few can be read.
    """
    want, ranges = max(CLIPS[int8], least), CALIBRATION if int8 else 0
    if data is not None:
        samples = _mixed(find_all(data, predictor.classes, several=predictor.scoring.multi_label))
        share = min(ranges, len(samples) // 2)
        parts, where = {"val": samples[share:], "train": samples[:share]}, f"videos of {data}"
    else:
        split = split_of(run)
        if split is None or not split.get("val"):
            raise ValueError(f"{run} does not say which videos it held out: name some to look at the file by, --data")
        parts = {name: _mixed(split.get(name, ())) for name in ("val", "train")}
        where = f"{medium_of(parts['val'])} that the run held out"
    judged, reason = _read(parts["val"], predictor.preprocessing, want)
    if len(judged) < LEAST_CLIPS:
        raise ValueError(
            f"only {len(judged)} of {len(parts['val'])} {where} can be read{reason}, and a file is looked at on "
            f"{LEAST_CLIPS} clips or more: name others with --data"
        )
    calibration, reason = _read(parts["train"], predictor.preprocessing, ranges)
    if int8 and not len(calibration):
        raise ValueError(f"int8 takes its ranges from videos, and none can be read{reason}: name some with --data")
    return Clips(judged=judged, calibration=calibration, what=f"on {len(judged)} {where}")


def _mixed(samples: Sequence[Sample]) -> list[Sample]:
    """In an order drawn by ``SEED``: as listed, the first ones are all of a class."""
    return [samples[place] for place in np.random.default_rng(SEED).permutation(len(samples))]


def _read(samples: Sequence[Sample], preprocessing: Preprocessing, want: int) -> tuple[np.ndarray, str]:
    """The first clips that can be read, and why the first of the others cannot."""
    kept: list[np.ndarray] = []
    reasons = [""]
    for sample, views in decoded(samples if want else (), preprocessing, 1, 1):
        if isinstance(views, str):
            reasons.append(f" ({sample.id}: {views})")
        else:
            kept.append(views)
        if len(kept) == want:
            break
    return np.concatenate(kept) if kept else np.empty(0, np.float32), reasons[:2][-1]


def _onnx(
    program: ExportedProgram, description: str, path: Path, calibration: np.ndarray, batch: int | None
) -> Predict:
    graph.write_onnx(program, description, path)
    if len(calibration):
        quantise(path, path, calibration, batch or 1)
    return onnx_file.load(path, threads=torch.get_num_threads()).logits


def _openvino(
    program: ExportedProgram, description: str, path: Path, calibration: np.ndarray, batch: int | None
) -> Predict:
    openvino_file.library()  # before the long way there
    source = path.with_suffix(".onnx")
    graph.write_onnx(program, description, source)
    graph.write_openvino(source, description, path)
    source.unlink()
    return openvino_file.load(path, threads=torch.get_num_threads()).logits


def _torch(
    program: ExportedProgram, description: str, path: Path, calibration: np.ndarray, batch: int | None
) -> Predict:
    graph.write_program(program, description, path)
    module = graph.opened(path)

    @torch.inference_mode()
    def predict(clips: np.ndarray) -> np.ndarray:
        return in_fixed_batches(lambda piece: module(torch.from_numpy(piece)).numpy(), clips, batch)

    return predict


_WRITERS: dict[str, Callable[[ExportedProgram, str, Path, np.ndarray, int | None], Predict]] = {
    "onnx": _onnx,
    "openvino": _openvino,
    "torch": _torch,
}


def _deliver(written: Path, path: Path) -> None:
    """Move a file that is whole to where it is to be."""
    with files.replacing(path) as temporary:
        written.replace(temporary)
