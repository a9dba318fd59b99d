"""Reading checkpoints without executing anything in them."""

import json
import pickle
import re
import zipfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from mvit.model.config import MViTConfig, Triple
from mvit.model.mvit import MViT
from mvit.weights import dialects, slowfast
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
    assumed: list[str] = field(default_factory=list)
    """What of the configuration neither tensors nor the file say, and is taken from the published models."""
    grid: Triple | None = None
    """Tokens in time, height and width that the file's positions are made for, where that is known."""

    def __str__(self) -> str:
        lines = [f"{self.source} ({self.dialect} names): {len(self.loaded)} tensors loaded"]
        for what in ("resized", "reinitialised", "ignored"):
            if names := getattr(self, what):
                alike = Counter(re.sub(r"^blocks\.\d+\.", "blocks.*.", name) for name in names)
                shown = ", ".join(f"{name} x {count}" if count > 1 else name for name, count in alike.items())
                lines.append(f"  {what}: {shown}")
        if self.assumed:
            lines.append(f"  assumed: {'; '.join(self.assumed)}")
        return "\n".join(lines)


def read(path: str | Path, config: MViTConfig | None = None) -> tuple[MViTConfig, dict[str, Tensor], LoadingReport]:
    """Configuration, tensors in this project's names and a report, from a run folder, our file or anyone's.

    The dialect is recognised from the names. A foreign file holds no configuration that can be trusted, so it is
    inferred from the shapes and the file's ``cfg``, and what is assumed is in the report, unless ``config`` says it.
    Raises ``CheckpointError`` for anything that is not such a checkpoint, ``FileNotFoundError``.
    """
    path = Path(path)
    if path.is_dir():
        path = path / MODEL_FILE
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist: expected a run folder, a {MODEL_FILE} or a checkpoint")
    state, cfg = _read_safetensors(path) if path.suffix == ".safetensors" else _read_torch(path)
    state = dialects.unwrapped(state)
    dialect = dialects.recognised(state)
    if dialect is None:
        raise CheckpointError(
            f"{path} does not hold a model in names that are known ({', '.join(dialects.DIALECTS)}): "
            f"its tensors start with {some(sorted(state))}"
        )
    try:
        ours, aliases = dialects.to_ours(state, dialect)
    except ValueError as why:
        raise CheckpointError(f"{path}: {why}") from why
    report = LoadingReport(path, dialect, loaded=sorted(ours), ignored=aliases)
    described = _described(path, required=config is None) if dialect == "mvit" else None
    if described is None:
        try:
            described, assumed = infer_config(ours, slowfast.parse(cfg))
        except ValueError as why:
            if config is None:
                raise CheckpointError(f"{path}: {why}") from why
        else:
            if config is None:
                check(path, ours, described)
                report.assumed = assumed
    report.grid = described.grid if described else None
    chosen = config or described
    assert chosen is not None
    return chosen, ours, report


def check(path: Path, state: Mapping[str, Tensor], config: MViTConfig) -> None:
    """Raise ``CheckpointError`` where tensors are not exactly those of a model, naming what differs."""
    with torch.device("meta"):
        wanted = {name: tensor.shape for name, tensor in MViT(config).state_dict().items()}
    missing, extra = sorted(set(wanted) - set(state)), sorted(set(state) - set(wanted))
    if missing or extra:
        raise CheckpointError(f"{path} is not a whole model: it lacks {some(missing)} and has {some(extra)} beside")
    for name, shape in wanted.items():
        if state[name].shape != shape:
            raise CheckpointError(
                f"{path} does not fit the model that it seems to be: {name} is {tuple(state[name].shape)}, "
                f"expected {tuple(shape)}"
            )


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


def _described(path: Path, *, required: bool) -> MViTConfig | None:
    """The configuration beside one of our files; None where there is none and it is not required."""
    if not required and not (path.parent / DESCRIPTION_FILE).is_file():
        return None
    try:
        return MViTConfig.from_dict(describe(path)["config"])
    except TypeError as why:
        raise CheckpointError(f"{path.parent / DESCRIPTION_FILE} does not describe a model: {why}") from why


def _read_safetensors(path: Path) -> tuple[dict[str, Tensor], str]:
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            cfg = (file.metadata() or {}).get("cfg", "")
        return safetensors.torch.load_file(path), cfg
    except (safetensors.SafetensorError, ValueError) as why:
        raise CheckpointError(
            f"{path} cannot be read as safetensors ({why}): it is cut short or damaged; copy or train it again"
        ) from why


def _read_torch(path: Path) -> tuple[dict[str, Tensor], str]:
    """Tensors of a torch file and its ``cfg``, read by the loader that executes nothing."""
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
    cfg = content.get("cfg") if isinstance(content, dict) else None
    while inner := isinstance(content, dict) and next((w for w in _HOLDERS if isinstance(content.get(w), dict)), None):
        content = content[inner]
    if (
        not isinstance(content, dict)
        or not all(isinstance(name, str) for name in content)
        or not all(isinstance(value, Tensor) for value in content.values())
    ):
        raise CheckpointError(f"{path} holds no state dict: expected tensors by name")
    return content, cfg if isinstance(cfg, str) else ""


_HOLDERS = ("model_state", "state_dict", "model")
"""Where the files of training frameworks keep the tensors."""


def some(names: Sequence[str]) -> str:
    """The first few of many names, for a sentence."""
    shown = ", ".join(names[:3]) or "nothing"
    return f"{shown} and {len(names) - 3} more" if len(names) > 3 else shown
