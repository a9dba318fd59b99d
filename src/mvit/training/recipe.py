"""A run's whole configuration: five sections of a TOML file, typed, checked, and written back with nothing left out.

What is off is written ``false``; TOML has no null.
"""

import math
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, get_type_hints

from mvit.analysis import budget
from mvit.data.augmentation import Augmentation
from mvit.data.sampling import ClipSampling
from mvit.data.views import Preprocessing
from mvit.model.config import MViTConfig
from mvit.model.presets import get_config, nearest
from mvit.training import toml

DEFAULT_MODEL = "mvit_tiny_16x64"
SHORT_SIDE_PER_CROP = 256 / 224


@dataclass(frozen=True, kw_only=True)
class ModelRecipe:
    """Which model; besides these keys the section takes any field of ``MViTConfig``, such as ``drop_path = 0.2``."""

    name: str = DEFAULT_MODEL
    """A preset; ``mvit.list_models()`` names them."""
    weights: str = ""
    """Trained weights to start from: a run folder, a checkpoint, or the name of published ones, such as "k400", which
    `mvit info NAME` lists. Empty: from scratch."""
    fields: Mapping[str, Any] = field(default_factory=dict)
    """Fields of ``MViTConfig`` that replace the preset's."""


@dataclass(frozen=True, kw_only=True)
class DataRecipe:
    """What the model sees of a video."""

    frames: int = 16
    """Frames in a clip. Left out: those of the model's preset."""
    sampling: Literal["dense", "segments"] = "segments"
    """segments: frames spread over the whole video (short, trimmed videos). dense: a part of it (long videos)."""
    spacing: float = 4.0
    """dense: frames from one frame of the clip to the next."""
    target_fps: float | None = None
    """dense: count the spacing in frames of this rate, whatever a video's own; false: in the video's own frames."""
    short_side: int = 73
    """Pixels of a frame's shorter side before the test crop. Left out: 8/7 of the crop."""
    crop: int = 64
    """Pixels of the square that the model sees. Left out: that of the model's preset."""
    mean: tuple[float, float, float] = (0.45, 0.45, 0.45)
    """Subtracted from red, green and blue (0 to 1)."""
    std: tuple[float, float, float] = (0.225, 0.225, 0.225)
    """What red, green and blue are divided by afterwards."""
    backend: Literal["pyav", "torchcodec"] = "pyav"
    """What decodes training clips; evaluation and prediction always take pyav."""
    val_fraction: float = 0.2
    """Share of the videos held out where the data has no val of its own."""
    views: tuple[int, int] = (5, 1)
    """Clips and crops of a video whose scores are averaged in the final evaluation and in prediction."""

    def __post_init__(self) -> None:
        _positive("data", self, "frames", "spacing", "short_side", "crop", "std", "views")
        _positive("data", self, *(["target_fps"] if self.target_fps is not None else []))
        _within("data", self, "val_fraction", over=0, below=1)
        if self.crop > self.short_side:
            raise ValueError(
                f"data.crop is {self.crop} and data.short_side {self.short_side}: the crop must fit into the frame"
            )

    def preprocessing(self) -> Preprocessing:
        """The test-time definition that training, evaluation and prediction share."""
        sampling = ClipSampling(
            frames=self.frames, spacing=self.spacing, target_fps=self.target_fps, mode=self.sampling
        )
        return Preprocessing(
            sampling=sampling, short_side=self.short_side, crop=self.crop, mean=self.mean, std=self.std
        )


@dataclass(frozen=True, kw_only=True)
class AugmentRecipe(Augmentation):
    """How a training clip is varied; its other keys are those of ``mvit.data.augmentation``."""

    scale: tuple[float, float] = (0.3, 1.0)
    """Least and largest share of the frame's area that the crop covers; the paper's, for large data, is 0.08 to 1."""


@dataclass(frozen=True, kw_only=True)
class OptimRecipe:
    """AdamW, with a linear warm-up and half a cosine."""

    lr: float = 1e-3
    """Highest learning rate, for a batch of ``reference_batch``; it is scaled in proportion to the batch."""
    reference_batch: int = 32
    """The batch that ``lr`` is for."""
    min_lr_ratio: float = 0.01
    """Where the warm-up starts and the cosine ends, as a share of the highest learning rate."""
    warmup_fraction: float = 0.1
    """Share of the run in which the learning rate rises."""
    weight_decay: float = 0.05
    """On matrices, kernels and position tables; never on biases and norms."""
    betas: tuple[float, float] = (0.9, 0.999)
    """AdamW's averaging of gradients and of their squares."""
    clip_norm: float | None = 1.0
    """Gradients longer than this are shortened to it; false: never."""
    label_smoothing: float = 0.1
    """Share of the target that is spread over all classes."""
    mixup: float = 0.0
    """Mix pairs of clips, in shares drawn from Beta(mixup, mixup); 0: never. The paper's is 0.8."""
    cutmix: float = 0.0
    """Cut a box out of clips and put another clip's there, its share from Beta(cutmix, cutmix); 0: never. The paper's
    is 1."""
    cutmix_odds: float = 0.5
    """Share of the batches that are cut and not mixed, where both are on."""
    ema_decay: float | None = None
    """Average the weights over steps with this decay, and evaluate and save the average; false: the last weights."""

    def __post_init__(self) -> None:
        _positive("optim", self, "lr", "reference_batch")
        _positive("optim", self, *(["clip_norm"] if self.clip_norm is not None else []))
        _within("optim", self, "min_lr_ratio", "label_smoothing", least=0, below=1)
        _within("optim", self, "weight_decay", "mixup", "cutmix", least=0)
        if not 0 <= self.cutmix_odds <= 1:
            raise ValueError(f"optim.cutmix_odds is {self.cutmix_odds}: expected at least 0 and at most 1")
        _within("optim", self, "betas", least=0, below=1)
        _within("optim", self, *(["ema_decay"] if self.ema_decay is not None else []), over=0, below=1)
        if not 0 <= self.warmup_fraction < 1:
            raise ValueError(
                f"optim.warmup_fraction is {self.warmup_fraction}: the warm-up must end before the run does, "
                "so give a share of it that is at least 0 and below 1, such as 0.1"
            )


@dataclass(frozen=True, kw_only=True)
class TrainRecipe:
    """How long, how much at once, and on what."""

    epochs: int = 30
    """Times that every training video is seen."""
    batch: int = 32
    """Clips in one step."""
    seed: int = 0
    """Everything random follows from it: initial weights, order, augmentation, what is held out."""
    workers: int | Literal["auto"] = "auto"
    """Processes that decode. auto: by the processors this process may use."""
    device: Literal["auto", "cuda", "mps", "cpu"] = "auto"
    """auto: the first of cuda and mps that is there, else cpu."""
    precision: Literal["auto", "bf16", "float32"] = "auto"
    """auto: bf16 where the processor multiplies it faster. Weights and final evaluation are float32 always."""
    memory: str | None = None
    """What a step may take, such as "16GB": norms, GELU and blocks are computed again to fit it; false: no limit."""
    max_bad: float = 0.01
    """Share of the training videos that may be unreadable; with more, found before or in training, the run stops."""
    holdout: float = 0.0
    """Share of train (whole groups where known) held out to choose the best epoch; 0: the last epoch stands."""
    evaluate_every: int = 1
    """Epochs between evaluations with a single view; the last epoch is always evaluated with all views."""
    checkpoint_every: int = 1
    """Epochs between checkpoints; the last epoch and an interruption write one too."""

    def __post_init__(self) -> None:
        _positive("train", self, "epochs", "batch", "evaluate_every", "checkpoint_every")
        _within("train", self, "seed", least=0)
        _within("train", self, "holdout", least=0, below=1)
        if not 0 <= self.max_bad <= 1:
            raise ValueError(f"train.max_bad is {self.max_bad}: expected a share from 0 to 1, such as 0.01")
        if self.workers != "auto":
            _within("train", self, "workers", least=0)
        if self.memory is not None:
            try:
                budget.in_bytes(self.memory)
            except ValueError as why:
                raise ValueError(f"train.memory: {why}") from why


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Everything that a run follows from, besides the data itself."""

    model: ModelRecipe = field(default_factory=ModelRecipe)
    data: DataRecipe = field(default_factory=DataRecipe)
    augment: AugmentRecipe = field(default_factory=AugmentRecipe)
    optim: OptimRecipe = field(default_factory=OptimRecipe)
    train: TrainRecipe = field(default_factory=TrainRecipe)

    def __post_init__(self) -> None:
        if self.train.batch % self.augment.copies:
            raise ValueError(
                f"train.batch is {self.train.batch} and augment.copies {self.augment.copies}: a batch must hold all "
                "copies of its videos, so make it a multiple"
            )
        if self.augment.jitter is not None and self.augment.jitter[0] < self.data.crop:
            raise ValueError(
                f"augment.jitter is {self.augment.jitter} and data.crop {self.data.crop}: frames scaled to less than "
                "the crop have no room for it"
            )
        if self.data.sampling == "dense" and self.augment.duration != (1.0, 1.0):
            raise ValueError(
                f"augment.duration is {self.augment.duration}, but data.sampling is 'dense', which takes a part of the "
                "video already: set it to [1.0, 1.0], or data.sampling to 'segments'"
            )

    def model_config(self, classes: int) -> MViTConfig:
        """The preset with the recipe's fields, for this many classes and this recipe's clips."""
        clip = (self.data.frames, self.data.crop, self.data.crop)
        config = get_config(self.model.name).to_dict()
        return MViTConfig.from_dict(config | dict(self.model.fields) | {"clip": clip, "num_classes": classes})


_SECTIONS: dict[str, type] = {
    "model": ModelRecipe,
    "data": DataRecipe,
    "augment": AugmentRecipe,
    "optim": OptimRecipe,
    "train": TrainRecipe,
}
_MODEL_FIELDS = {name: hint for name, hint in get_type_hints(MViTConfig).items() if name not in ("clip", "num_classes")}
_KEYS: dict[str, dict[str, Any]] = {section: get_type_hints(kind) for section, kind in _SECTIONS.items()}
_KEYS["model"] = {"name": str, "weights": str} | _MODEL_FIELDS


# ---- reading -------------------------------------------------------------------------------------------------------


def path_of(name: str) -> Path:
    """A recipe by path, or by name among those that come with the package (beside src/ in a checkout).

    Raises ``ValueError`` for a name that is none of them, and ``FileNotFoundError`` for a path where there is no file.
    """
    if Path(name).is_file():
        return Path(name)
    inside, beside = Path(__file__).parents[1] / "recipes", Path(__file__).parents[3] / "recipes"
    known = {path.stem: path for path in sorted((inside if inside.is_dir() else beside).glob("*.toml"))}
    if name in known:
        return known[name]
    if name.endswith(".toml"):
        raise FileNotFoundError(
            f"{name} does not exist: give a recipe in TOML, or the name of one of {', '.join(known)}"
        )
    raise ValueError(f"there is no recipe file {name!r} and none of that name: {nearest(name, list(known))}")


def load(path: str | Path | None = None, overrides: Sequence[str] = ()) -> Recipe:
    """The recipe of a TOML file (None: the defaults) with ``section.key=value`` replaced, resolved and checked.

    Frames, crop and short side that nobody gave follow from the model. Raises ``ValueError`` naming the key, its value
    and what was expected, ``FileNotFoundError`` for a missing file.
    """
    values = _read(Path(path)) if path is not None else {}
    for override in overrides:
        section, key, value = _parse_override(override)
        values.setdefault(section, {})[key] = value
    return _resolve(values)


def _read(path: Path) -> dict[str, dict[str, Any]]:
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist: give a recipe in TOML, or leave it out for the defaults")
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as why:
        raise ValueError(f"{path} is not TOML: {why}") from why
    for section, entries in values.items():
        if not isinstance(entries, dict):
            raise ValueError(f"{path}: {_no_section(section)}")
    return values


def _parse_override(override: str) -> tuple[str, str, Any]:
    name, equals, text = override.partition("=")
    section, dot, key = name.strip().partition(".")
    if not equals:
        raise ValueError(f"{override!r} sets nothing: write section.key=value, such as train.epochs=30")
    if not dot:
        raise ValueError(_no_section(section))
    hint = _hint(section, key)
    try:
        parsed = tomllib.loads(f"value = {text}")
    except tomllib.TOMLDecodeError:
        return section, key, text.strip()  # a bare word: taken where a string may stand, refused by type elsewhere
    if set(parsed) != {"value"}:
        raise ValueError(f"{override!r} holds more than one value: expected {toml.expected(hint)}")
    return section, key, parsed["value"]


def _resolve(values: Mapping[str, Mapping[str, Any]]) -> Recipe:
    checked = {
        section: {key: toml.convert(value, _hint(section, key), f"{section}.{key}") for key, value in entries.items()}
        for section, entries in values.items()
    }
    given = {section: checked.get(section, {}) for section in _SECTIONS}
    model = {key: value for key, value in given["model"].items() if key not in _MODEL_FIELDS}
    model["fields"] = {key: value for key, value in given["model"].items() if key in _MODEL_FIELDS}
    frames, crop, _ = get_config(model.get("name", DEFAULT_MODEL)).clip
    data: dict[str, Any] = {"frames": frames, "crop": crop} | given["data"]
    data.setdefault("short_side", round(data["crop"] * SHORT_SIDE_PER_CROP))
    recipe = Recipe(
        model=ModelRecipe(**model),
        data=DataRecipe(**data),
        augment=AugmentRecipe(**given["augment"]),
        optim=OptimRecipe(**given["optim"]),
        train=TrainRecipe(**given["train"]),
    )
    try:
        recipe.model_config(classes=1)
    except ValueError as why:
        raise ValueError(f"the section [model] makes no model: {why}") from why
    return recipe


def _hint(section: str, key: str) -> Any:
    if section not in _KEYS:
        raise ValueError(_no_section(section))
    if section == "model" and key in ("clip", "num_classes"):
        follows = "the classes of the data" if key == "num_classes" else "data.frames and data.crop: set those"
        raise ValueError(f"model.{key} is not set by hand: it follows from {follows}")
    if key not in _KEYS[section]:
        elsewhere = [other for other in _KEYS if key in _KEYS[other]]
        hint = f"did you mean {elsewhere[0]}.{key}?" if elsewhere else nearest(key, list(_KEYS[section]))
        raise ValueError(f"[{section}] has no key {key!r}: {hint}")
    return _KEYS[section][key]


def _no_section(name: str) -> str:
    homes = [f"{section}.{name}" for section in _KEYS if name in _KEYS[section]]
    if homes:
        return f"{name!r} stands in no section: write {homes[0]}"
    if name in _KEYS:
        return f"{name!r} is a section: name a key of it, such as {name}.{next(iter(_KEYS[name]))}"
    return f"there is no section {name!r}: {nearest(name, list(_KEYS))}"


def _positive(section: str, recipe: Any, *names: str) -> None:
    _within(section, recipe, *names, over=0)


def _within(
    section: str,
    recipe: Any,
    *names: str,
    least: float = -math.inf,
    over: float = -math.inf,
    below: float = math.inf,
) -> None:
    for name in names:
        value = getattr(recipe, name)
        numbers = value if isinstance(value, tuple) else (value,)
        if not all(least <= number and over < number < below for number in numbers):
            low = f"at least {least:g}" if least > -math.inf else f"more than {over:g}"
            high = f" and below {below:g}" if below < math.inf else ""
            raise ValueError(f"{section}.{name} is {toml.written(value)}: expected {low}{high}")


# ---- writing -------------------------------------------------------------------------------------------------------


def dumps(recipe: Recipe) -> str:
    """The recipe as TOML, every key written out; ``load`` reads the same recipe back."""
    sections = (
        f"[{section}]\n" + "".join(f"{key} = {toml.written(value)}\n" for key, value in entries.items())
        for section, entries in as_dict(recipe).items()
    )
    return "\n".join(sections)


def as_dict(recipe: Recipe) -> dict[str, dict[str, Any]]:
    """Sections and keys as in the TOML file."""
    sections = asdict(recipe)
    sections["model"] |= sections["model"].pop("fields")
    return sections


def differences(before: Recipe, after: Recipe) -> list[str]:
    """One line for each key that differs: ``optim.lr: 0.001 -> 0.002``."""
    old, new = as_dict(before), as_dict(after)
    lines = []
    for section in old:
        for key in dict.fromkeys([*old[section], *new[section]]):
            was, now = (
                toml.written(side[section][key]) if key in side[section] else "the preset's" for side in (old, new)
            )
            if was != now:
                lines.append(f"{section}.{key}: {was} -> {now}")
    return lines
