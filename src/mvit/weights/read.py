"""Reading checkpoints without executing anything in them, and fitting their tensors to a model."""

import json
import pickle
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from mvit.model.config import MViTConfig
from mvit.model.mvit import MViT
from mvit.model.positions import resized
from mvit.weights import dialects
from mvit.weights.infer import infer_config

MODEL_FILE = "model.safetensors"
DESCRIPTION_FILE = "model.json"
FORMAT = 1
"""Version of model.json: it grows when an older reader would misunderstand a file."""


class CheckpointError(ValueError):
    """A file is not a checkpoint that can be used; the sentence says why."""


@dataclass
class LoadingReport:
    """What became of a checkpoint's tensors: nothing is left out without being named here."""

    source: Path
    dialect: str
    loaded: list[str] = field(default_factory=list)
    resized: list[str] = field(default_factory=list)
    reinitialised: list[str] = field(default_factory=list)
    ignored: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        lines = [f"{self.source} ({self.dialect} names): {len(self.loaded)} tensors loaded"]
        for what in ("resized", "reinitialised", "ignored"):
            names = getattr(self, what)
            if names:
                lines.append(f"  {what}: {', '.join(names)}")
        return "\n".join(lines)


def read(path: str | Path, config: MViTConfig | None = None) -> tuple[MViTConfig, dict[str, Tensor], LoadingReport]:
    """Configuration, tensors in this project's names and a report, from a run folder, our file or an official one.

    An official file (``.pyth``) holds no configuration that can be trusted, so it is inferred from the shapes, unless
    ``config`` says it. Raises ``CheckpointError`` for anything that is not such a checkpoint, ``FileNotFoundError``.
    """
    path = Path(path)
    if path.is_dir():
        path = path / MODEL_FILE
    if not path.is_file():
        raise FileNotFoundError(
            f"{path} does not exist: expected a run folder, a {MODEL_FILE} or an official .pyth file"
        )
    if path.suffix == ".safetensors":
        return _read_ours(path, config)
    state = dialects.unwrapped(_read_torch(path))
    if not dialects.is_official(state):
        raise CheckpointError(
            f"{path} does not hold a model in the official names: "
            f"its tensors start with {', '.join(sorted(state)[:3]) or 'nothing'}"
        )
    ours = dialects.from_official(state)
    try:
        config = config or infer_config(ours)
    except KeyError as missing:
        raise CheckpointError(f"{path} is not a whole model: it has no tensor {missing}") from missing
    except ValueError as why:
        raise CheckpointError(f"{path}: {why}") from why
    return config, ours, LoadingReport(path, "official", loaded=sorted(ours))


def describe(path: str | Path) -> dict[str, Any]:
    """What ``model.json`` beside a model says: config, classes, preprocessing, views and protocol."""
    path = Path(path)
    folder = path if path.is_dir() else path.parent
    file = folder / DESCRIPTION_FILE
    if not file.is_file():
        if not folder.is_dir():
            raise FileNotFoundError(f"{path} does not exist: expected a run folder or a {MODEL_FILE}")
        raise FileNotFoundError(
            f"{file} does not exist: a trained model is {MODEL_FILE} and {DESCRIPTION_FILE} together"
        )
    try:
        description = json.loads(file.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError) as why:
        raise CheckpointError(f"{file} is not JSON ({why}): it was cut short or written by something else") from why
    if not isinstance(description, dict) or not isinstance(description.get("config"), dict):
        raise CheckpointError(f"{file} does not describe a model: it has no 'config'")
    if description.get("format") != FORMAT:
        raise CheckpointError(
            f"{file} has format {description.get('format')!r} and this version reads {FORMAT}: "
            "use the mvit that wrote it"
        )
    return description


def fit(model: MViT, state: Mapping[str, Tensor], report: LoadingReport) -> LoadingReport:
    """Load tensors into a model; position tables of another size are interpolated, a head of other classes is left new.

    Everything else must match to the name and shape: raises ``CheckpointError`` naming what does not.
    """
    wanted = model.state_dict()
    missing = sorted(set(wanted) - set(state))
    extra = sorted(set(state) - set(wanted))
    if missing or extra:
        raise CheckpointError(
            f"{report.source} does not fit the model: it lacks {_some(missing)} and has {_some(extra)} beside"
        )
    fitted: dict[str, Tensor] = {}
    for name, tensor in state.items():
        target = wanted[name]
        if tensor.shape == target.shape:
            fitted[name] = tensor
        elif name.startswith("head."):
            report.reinitialised.append(f"{name} ({tensor.shape[0]} to {target.shape[0]} classes)")
        elif name.startswith("positions."):
            fitted[name] = _resized_table(name, tensor, model, report)
            report.resized.append(f"{name} ({tensor.shape[1]} to {target.shape[1]} positions)")
        else:
            raise CheckpointError(
                f"{report.source} does not fit the model: {name} is {tuple(tensor.shape)}, "
                f"the model's is {tuple(target.shape)}"
            )
    model.load_state_dict(fitted, strict=False)
    report.loaded = sorted(fitted)
    return report


def _resized_table(name: str, table: Tensor, model: MViT, report: LoadingReport) -> Tensor:
    """A position table for the model's own grid; the tables of a file are of square frames."""
    t, h, w = model.positions.grid
    count = table.shape[1]
    if name == "positions.temporal":
        return resized(table, (count, 1, 1), (t, 1, 1))
    joint = name == "positions.joint"
    places = count - 1 if joint else count
    side = round(places**0.5)
    if side * side != places:
        raise CheckpointError(
            f"{report.source} has {places} positions in {name}, which are not a square of one frame: "
            "make the model with the clip they were trained at"
        )
    if joint:
        return torch.cat([table[:, :1], resized(table[:, 1:], (1, side, side), (t, h, w))], dim=1)
    return resized(table, (1, side, side), (1, h, w))


def _read_ours(path: Path, config: MViTConfig | None) -> tuple[MViTConfig, dict[str, Tensor], LoadingReport]:
    if config is None:
        try:
            config = MViTConfig.from_dict(describe(path)["config"])
        except TypeError as why:
            raise CheckpointError(f"{path.parent / DESCRIPTION_FILE} does not describe a model: {why}") from why
    try:
        state = safetensors.torch.load_file(path)
    except (safetensors.SafetensorError, ValueError) as why:
        raise CheckpointError(
            f"{path} cannot be read as safetensors ({why}): it is cut short or damaged; copy or train it again"
        ) from why
    return config, state, LoadingReport(path, "mvit", loaded=sorted(state))


def _read_torch(path: Path) -> dict[str, Tensor]:
    """Tensors of a torch file, read by the loader that executes nothing."""
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as why:
        with path.open("rb") as file:
            start = file.read(64).lstrip()
        if start.startswith(b"<"):
            raise CheckpointError(f"{path} is a web page, not a checkpoint: the download failed") from why
        raise CheckpointError(
            f"{path} holds something else than tensors and plain values, or is damaged; it was not executed"
        ) from why
    except (RuntimeError, EOFError, OSError, ValueError, KeyError, zipfile.BadZipFile) as why:
        raise CheckpointError(f"{path} cannot be read as a torch checkpoint: it is cut short or damaged") from why
    for wrapper in ("model_state", "state_dict", "model"):
        if isinstance(content, dict) and isinstance(content.get(wrapper), dict):
            content = content[wrapper]
            break
    if not isinstance(content, dict) or not all(isinstance(value, Tensor) for value in content.values()):
        raise CheckpointError(f"{path} holds no state dict: expected tensors by name")
    return content


def _some(names: list[str]) -> str:
    shown = ", ".join(names[:3]) or "nothing"
    return f"{shown} and {len(names) - 3} more" if len(names) > 3 else shown
