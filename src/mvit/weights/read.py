"""Reading checkpoints without executing anything in them."""

import json
import pickle
import re
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from mvit.baselines.sizes import LIBRARIES, BaselineConfig
from mvit.model.config import MViTConfig, Triple
from mvit.weights import dialects, slowfast
from mvit.weights.build import Config, build
from mvit.weights.infer import InexpressibleError, infer_config

MODEL_FILE = "model.safetensors"
DESCRIPTION_FILE = "model.json"
FORMAT = 1
"""Version of model.json: it grows when an older reader would misunderstand a file."""
OF_BLOCKS = (
    *("depths", "widths", "heads", "stride_q", "pool_every_query", "pooling", "widen_in", "relative_positions"),
    *("width_skip", "residual_pooling", "qkv_bias", "reversible"),
)
"""Fields that a model for images and the one for clips that starts from it have alike."""
_FREE = ("num_classes", "clip", "drop_path", "head_dropout", "init", "relative_positions")
"""Fields that a model may have otherwise than the one whose weights it takes: they show in its tensors, or are of
training alone."""

_IN_BLOCKS_ALONE = ("padding_q", "padding_kv", "pool_every_query")
"""Fields that say the same in several ways: a padding may be written out, and one block a stage pools anyway."""


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
    not_finite: list[str] = field(default_factory=list)
    """Tensors that hold NaN or infinity, as a training that diverged leaves them."""
    assumed: list[str] = field(default_factory=list)
    """What of the configuration neither tensors nor the file say, and is taken from the published models."""
    differing: list[str] = field(default_factory=list)
    """What the file says of itself otherwise than the configuration that it is read with: it is of another model."""
    grid: Triple | None = None
    """Tokens in time, height and width that the file's positions are made for, where that is known."""

    def __str__(self) -> str:
        lines = [f"{self.source} ({self.dialect} names): {len(self.loaded)} tensors loaded"]
        for what in ("resized", "reinitialised", "ignored", "not_finite"):
            if names := getattr(self, what):
                alike = Counter(re.sub(r"^blocks\.\d+\.", "blocks.*.", name) for name in names)
                shown = ", ".join(f"{name} x {count}" if count > 1 else name for name, count in alike.items())
                lines.append(f"  {what.replace('_', ' ')}: {shown}")
        if self.assumed:
            lines.append(f"  assumed: {'; '.join(self.assumed)}")
        if self.differing:
            lines.append(f"  said otherwise by the file: {'; '.join(self.differing)}")
        return "\n".join(lines)


def read(path: str | Path, config: MViTConfig | None = None) -> tuple[MViTConfig, dict[str, Tensor], LoadingReport]:
    """Configuration, tensors in this project's names and a report, from a run folder, our file or anyone's.

    The dialect is recognised from the names. A foreign file holds no configuration that can be trusted, so it is
    inferred from the shapes and the file's ``cfg``, and what is assumed is in the report, unless ``config`` says it.
    What a file that describes itself says otherwise than ``config`` is in the report. Weights are dense floating-point
    tensors; those that are not finite are in the report.
    Raises ``CheckpointError`` for anything that is not such a checkpoint, ``FileNotFoundError``.
    """
    path = Path(path)
    if path.is_dir():
        path = path / MODEL_FILE
    if not path.is_file():
        if path.name == MODEL_FILE and (path.parent / "checkpoints").is_dir():
            raise FileNotFoundError(
                f"{path.parent} holds no model yet: its training has not ended; go on with it by mvit train DATA --out "
                f"{path.parent} --resume"
            )
        if path.parent.is_dir() and path.name == MODEL_FILE:
            raise FileNotFoundError(f"{path} does not exist: {path.parent} is no run folder, or not a whole one")
        raise FileNotFoundError(f"{path} does not exist: expected a run folder, a {MODEL_FILE} or a checkpoint")
    _refuse_without_weights(path)
    if (other := baseline_of(path)) is not None:
        raise CheckpointError(
            f"{path} is {other.baseline} by {LIBRARIES[other.baseline]}: it can be evaluated, probed and predicted "
            "with, and started from by the same model, but no MViT starts from it, nor is it converted"
        )
    state, cfg = _read_safetensors(path) if path.suffix == ".safetensors" else _read_torch(path)
    if not state:
        raise CheckpointError(f"{path} holds no tensors")
    state = dialects.unwrapped(state)
    dialect = dialects.recognised(state)
    if dialect is None:
        raise CheckpointError(
            f"{path} does not hold a model in names that are known ({', '.join(dialects.DIALECTS)}): "
            f"its tensors start with {some(sorted(state))}"
        )
    for name, tensor in state.items():
        if kind := _not_dense(tensor):
            raise CheckpointError(f"{path} cannot be used: {name} {kind}, and weights are dense floating-point tensors")
    try:
        ours, aliases = dialects.to_ours(state, dialect)
    except ValueError as why:
        raise CheckpointError(f"{path}: {why}") from why
    report = LoadingReport(path, dialect, loaded=sorted(ours), ignored=aliases)
    report.not_finite = _not_finite(ours)
    described = _described(path, required=config is None) if dialect == "mvit" else None
    describes_itself = described is not None
    if described is None:
        try:
            keys = slowfast.parse(cfg) if isinstance(cfg, str) else {}
            described, assumed = infer_config(ours, keys)
        except InexpressibleError as why:
            raise CheckpointError(f"{path}: {why}") from why
        except (ValueError, TypeError, ArithmeticError, RecursionError) as why:
            if config is None:
                said = why if isinstance(why, ValueError) else f"its tensors and its cfg make no model ({why})"
                raise CheckpointError(f"{path}: {said}") from why
        else:
            describes_itself = bool(keys) and not assumed
            if config is None:
                check(path, ours, described)
                unheard = [] if keys or not cfg else ["nothing from its cfg, in which no key of a model is understood"]
                report.assumed = unheard + assumed
    report.grid = described.grid if described else None
    if config and described and describes_itself:
        inflated = described.clip[0] == 1 < config.clip[0]
        names = OF_BLOCKS if inflated else [known.name for known in fields(config)]
        spared = {*_FREE, *(_IN_BLOCKS_ALONE if _has_same_blocks(described, config) else ())}
        report.differing = _differing(described, config, [name for name in names if name not in spared])
    chosen = config or described
    assert chosen is not None
    return chosen, ours, report


def stored(path: str | Path) -> tuple[Config, dict[str, Tensor]]:
    """Configuration and tensors of a run folder or our file, whose model may be another library's.

    Raises as ``read`` does, and where the tensors are not exactly those of the model.
    """
    path = Path(path)
    other = baseline_of(path)
    if other is None:
        config, state, _ = read(path)
        return config, state
    file = path / MODEL_FILE if path.is_dir() else path
    state, _ = _read_safetensors(file)
    check(file, state, other)
    return other, state


def read_same(path: str | Path, config: BaselineConfig) -> tuple[BaselineConfig, dict[str, Tensor], LoadingReport]:
    """What another library's model starts from: tensors of a run of the same one, the head's only for as many classes.

    Rates of what is dropped may be others. Raises ``CheckpointError`` for all but a run folder, or its file, of this
    model at this size, ``FileNotFoundError``.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist: {config.baseline} starts from a run of the same model")
    if baseline_of(path) is None:
        raise CheckpointError(
            f"{path} holds no {config.baseline} that was trained here: it starts from a run of the same model alone"
        )
    started, state = stored(path)
    free = ("num_classes", "drop_path", "head_dropout")
    if differing := _differing(started, config, [f.name for f in fields(config) if f.name not in free]):
        raise CheckpointError(
            f"{path} does not fit the model: {config.baseline} starts from a run of the same size, and it has "
            f"{'; '.join(differing)}"
        )
    report = LoadingReport(path, LIBRARIES[config.baseline])
    with torch.device("meta"):
        wanted = build(config).state_dict()
    for name in [name for name, tensor in state.items() if tensor.shape != wanted[name].shape]:
        del state[name]
        report.reinitialised.append(f"{name} ({started.num_classes} to {config.num_classes} classes)")
    report.loaded = sorted(state)
    report.not_finite = _not_finite(state)
    return config, state, report


def baseline_of(path: str | Path) -> BaselineConfig | None:
    """The configuration of a run folder or our file that holds another library's model; None for all else."""
    folder = Path(path) if Path(path).is_dir() else Path(path).parent
    file = folder / MODEL_FILE if folder == Path(path) else Path(path)
    if file.name != MODEL_FILE or not file.is_file() or not (folder / DESCRIPTION_FILE).is_file():
        return None
    values = describe(file)["config"]
    try:
        return BaselineConfig.from_dict(values) if "baseline" in values else None
    except (TypeError, ValueError) as why:
        raise CheckpointError(f"{folder / DESCRIPTION_FILE} does not describe a model: {why}") from why


def check(path: Path, state: Mapping[str, Tensor], config: Config) -> None:
    """Raise ``CheckpointError`` where tensors are not exactly those of a model, naming what differs.

    The model takes no memory for it, and no time for blocks without tensors, of which a stranger may name any number.
    """
    if (blocks := sum(config.depths)) > len(state):
        raise CheckpointError(f"{path} is not a whole model: it has {len(state):,} tensors for {blocks:,} blocks")
    try:
        with torch.device("meta"):
            wanted = {name: tensor.shape for name, tensor in build(config).state_dict().items()}
    except (TypeError, RuntimeError) as why:  # lengths beyond 64 bits, and products of lengths
        raise CheckpointError(
            f"{path} is not a whole model: no tensor can be as large as its description says"
        ) from why
    missing, extra = sorted(set(wanted) - set(state)), sorted(set(state) - set(wanted))
    if missing or extra:
        raise CheckpointError(f"{path} is not a whole model: {difference(missing, extra)}")
    for name, shape in wanted.items():
        if state[name].shape != shape:
            raise CheckpointError(
                f"{path} does not fit the model that it seems to be: {name} is {tuple(state[name].shape)}, "
                f"expected {tuple(shape)}"
            )


def describe(path: str | Path) -> dict[str, Any]:
    """What ``model.json`` beside a model says: config, classes, preprocessing, views and protocol."""
    path = Path(path)
    _refuse_without_weights(path)
    folder = path if path.is_dir() else path.parent
    file = folder / DESCRIPTION_FILE
    if not file.is_file():
        if not path.exists():
            raise FileNotFoundError(f"{path} does not exist: expected a run folder or its {MODEL_FILE}")
        raise FileNotFoundError(
            f"{file} does not exist: a trained model is {MODEL_FILE} and {DESCRIPTION_FILE} together"
        )
    try:
        description = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as why:
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
    config = describe(path)["config"]
    try:
        return MViTConfig.from_dict(config)
    except (TypeError, ValueError) as why:
        raise CheckpointError(f"{path.parent / DESCRIPTION_FILE} does not describe a model: {why}") from why


def _differing(theirs: Config, ours: Config, names: Sequence[str]) -> list[str]:
    """In which of these fields two models are not alike, in words."""
    pairs = [(name, getattr(theirs, name), getattr(ours, name)) for name in names]
    return [f"{name} {their}, not {our}" for name, their, our in pairs if their != our]


def _has_same_blocks(theirs: MViTConfig, ours: MViTConfig) -> bool:
    """Whether blocks are alike where models are of one size."""
    try:
        alike = replace(theirs, **{name: getattr(ours, name) for name in _FREE})
    except ValueError:  # not of that size
        return False
    return list(alike.blocks()) == list(ours.blocks())


def _not_finite(state: Mapping[str, Tensor]) -> list[str]:
    return sorted(name for name, tensor in state.items() if not tensor.isfinite().all())


def _not_dense(tensor: Tensor) -> str:
    """Why a tensor cannot be weights, as the end of a sentence about it; empty where it can."""
    if tensor.is_meta:
        return "has a shape but no data (meta)"
    if tensor.layout != torch.strided:
        return f"is sparse ({tensor.layout})"
    if tensor.dtype not in _WEIGHTS:
        return f"holds {str(tensor.dtype).removeprefix('torch.')}"
    held = tensor.untyped_storage().nbytes() // tensor.element_size()
    return f"has {tensor.numel():,} numbers of which the file holds {held:,}" if tensor.numel() > held else ""


_WEIGHTS = (torch.float64, torch.float32, torch.bfloat16, torch.float16)


def _read_safetensors(path: Path) -> tuple[dict[str, Tensor], Any]:
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            cfg = (file.metadata() or {}).get("cfg")
        return safetensors.torch.load_file(path), cfg
    except (safetensors.SafetensorError, ValueError) as why:
        _refuse_web_page(path)
        raise CheckpointError(
            f"{path} cannot be read as safetensors ({why}): it is cut short or damaged; copy or train it again"
        ) from why


def _read_torch(path: Path) -> tuple[dict[str, Tensor], Any]:
    """Tensors of a torch file and its ``cfg``, read by the loader that executes nothing."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what is refused below, in words of its own
            content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as why:
        _refuse_web_page(path)
        raise CheckpointError(
            f"{path} holds something else than tensors and plain values, or is damaged; it was not executed"
        ) from why
    except Exception as why:  # of any kind, as another file's bytes are taken for instructions and their arguments
        raise CheckpointError(
            f"{path} cannot be read as a torch checkpoint: it is none, or cut short or damaged"
        ) from why
    cfg = content.get("cfg") if isinstance(content, dict) else None
    for _ in _HOLDERS:  # no deeper, as a dict may hold itself
        inner = isinstance(content, dict) and next((w for w in _HOLDERS if isinstance(content.get(w), dict)), None)
        content = content[inner] if inner else content
    if (
        not isinstance(content, dict)
        or not all(isinstance(name, str) for name in content)
        or not all(isinstance(value, Tensor) for value in content.values())
    ):
        raise CheckpointError(f"{path} holds no state dict: expected tensors by name")
    return content, cfg


_WITHOUT_WEIGHTS = {
    **dict.fromkeys(
        (".onnx", ".xml", ".pt2"), "is an exported file, which gives scores and no more: name the run folder here"
    ),
    ".json": f"is JSON, and holds no weights: name a run folder, its {MODEL_FILE} or a checkpoint",
}
"""By how its name ends, what a file is that people give in place of weights, and what to do."""


def _refuse_without_weights(path: Path) -> None:
    if path.suffix in _WITHOUT_WEIGHTS and path.is_file():
        raise CheckpointError(f"{path} {_WITHOUT_WEIGHTS[path.suffix]}")


def _refuse_web_page(path: Path) -> None:
    with path.open("rb") as file:
        if file.read(64).lstrip().startswith(b"<"):
            raise CheckpointError(f"{path} is a web page, not a checkpoint: the download failed")


_HOLDERS = ("model_state", "state_dict", "model")
"""Where the files of training frameworks keep the tensors."""


def difference(missing: Sequence[str], extra: Sequence[str]) -> str:
    """Which tensors a file lacks and has beside a model's, of which there are some, as a sentence about it."""
    lacks = f"lacks {some(missing)}" if missing else ""
    has = f"has {some(extra)} beside" if extra else ""
    return f"it {' and '.join(filter(None, (lacks, has)))}"


def some(names: Sequence[str]) -> str:
    """The first few of many names, for a sentence."""
    shown = ", ".join(names[:3])
    return f"{shown} and {len(names) - 3} more" if len(names) > 3 else shown
