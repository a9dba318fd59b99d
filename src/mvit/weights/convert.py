"""From one dialect to another, tensor by tensor and bit by bit."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path

from torch import Tensor

from mvit.model.config import MViTConfig
from mvit.model.presets import get_config, list_models, nearest
from mvit.weights import slowfast
from mvit.weights.dialects import DIALECTS
from mvit.weights.infer import infer_config
from mvit.weights.read import DESCRIPTION_FILE, CheckpointError, LoadingReport, check, describe, read
from mvit.weights.write import write, write_dialect

TRAINING_ONLY = {"drop_path", "head_dropout"}


@dataclass(frozen=True)
class Conversion:
    """What was read, and what of the model the file that was written does not say by itself."""

    report: LoadingReport
    out: Path
    unsaid: tuple[str, ...]
    """Fields of the configuration; empty where the file says all of them."""
    model: str
    """The preset of this configuration, else the source: what the file is to be read back as."""

    def __str__(self) -> str:
        said = f"{self.report}\nWrote {self.out}"
        if not self.unsaid:
            return said
        names = " and ".join(filter(None, (", ".join(self.unsaid[:-1]), *self.unsaid[-1:])))
        if not set(self.unsaid) - TRAINING_ONLY:
            return f"{said}\n{self.out} does not say {names}, which matters in training only"
        return (
            f"{said}\n{self.out} does not say {names}, and by itself is taken for a published model: "
            f"read it back with --model {self.model} (in Python, config=)"
        )


def convert(source: str | Path, out: str | Path, to: str, config: MViTConfig | None = None) -> Conversion:
    """Write a checkpoint in another dialect; "mvit" makes a folder of ``model.safetensors`` and ``model.json``.

    ``config`` is what the checkpoint is a model of, its classes aside, where its shapes do not show it. Raises
    ``ValueError`` for a dialect that does not exist or cannot express the model, for an ``out`` that exists and for one
    in no folder; ``CheckpointError`` for tensors that are not exactly the model's and for a file that describes itself
    as another model. Nothing is written then.
    """
    source, out = Path(source), Path(out)
    if to not in DIALECTS:
        raise ValueError(f"there are no names of {to!r}: {nearest(to, DIALECTS)}")
    if os.path.lexists(out):
        raise ValueError(f"{out} exists already: name another")
    if not out.parent.is_dir():
        raise ValueError(f"{out.parent} is no folder to write {out.name} in")
    given = config
    config, state, report = read(source, given)
    if report.differing:
        raise CheckpointError(
            f"{source} describes itself, and as another model ({'; '.join(report.differing)}): leave out --model (in "
            "Python, config=)"
        )
    head = state.get("head.weight")
    if given and head is not None and head.ndim == 2:
        config = replace(given, num_classes=head.shape[0])
    check(source, state, config)
    unsaid: tuple[str, ...] = ()
    if to != "mvit":
        write_dialect(out, state, config, to)
        unsaid = _unsaid(state, config, to)
    elif report.dialect == "mvit" and (report.source.parent / DESCRIPTION_FILE).is_file():
        write(out, state, {**describe(source), "config": config.to_dict()})
    else:
        write(out, state, {"config": config.to_dict()})
    return Conversion(report, out, unsaid, _preset(config) or str(source))


def _unsaid(state: Mapping[str, Tensor], config: MViTConfig, dialect: str) -> tuple[str, ...]:
    """What of a configuration is read from a file in a dialect as something else."""
    keys = slowfast.parse(slowfast.dump(config)) if dialect == "official" else {}
    try:
        inferred, _ = infer_config(state, keys)
    except ValueError:
        return ("which model it is of",)
    inferred = replace(inferred, init=config.init)  # which is over once there are weights
    return tuple(f.name for f in fields(config) if getattr(config, f.name) != getattr(inferred, f.name))


def _preset(config: MViTConfig) -> str:
    """The preset that a configuration is of, its classes aside; empty where it is none."""
    known = (name for name in list_models() if replace(get_config(name), num_classes=config.num_classes) == config)
    return next(known, "")
