"""From one dialect to another, tensor by tensor and bit by bit."""

from pathlib import Path

from mvit.model.config import MViTConfig
from mvit.model.presets import nearest
from mvit.weights.dialects import DIALECTS
from mvit.weights.read import DESCRIPTION_FILE, LoadingReport, check, describe, read
from mvit.weights.write import write, write_dialect


def convert(source: str | Path, out: str | Path, to: str, config: MViTConfig | None = None) -> LoadingReport:
    """Write a checkpoint in another dialect; "mvit" makes a folder of ``model.safetensors`` and ``model.json``.

    ``config`` is what the checkpoint is a model of, where its shapes do not show it. Raises ``ValueError`` for a
    dialect that does not exist or cannot express the model, and for an ``out`` that exists; ``CheckpointError`` for
    tensors that are not exactly the model's. Nothing is written then.
    """
    source, out = Path(source), Path(out)
    if to not in DIALECTS:
        raise ValueError(f"there are no names of {to!r}: {nearest(to, DIALECTS)}")
    if out.exists():
        raise ValueError(f"{out} exists already: name another")
    if to != "mvit" and not out.parent.is_dir():
        raise ValueError(f"{out.parent} is no folder to write {out.name} in")
    config, state, report = read(source, config)
    check(source, state, config)
    if to != "mvit":
        write_dialect(out, state, config, to)
    elif report.dialect == "mvit" and (report.source.parent / DESCRIPTION_FILE).is_file():
        write(out, state, {**describe(source), "config": config.to_dict()})
    else:
        write(out, state, {"config": config.to_dict()})
    return report
