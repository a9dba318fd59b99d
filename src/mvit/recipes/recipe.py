"""A run's whole configuration: five sections of a TOML file, typed, checked, and written back with nothing left out.

What is off is written ``false``; TOML has no null.
"""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, get_type_hints

from mvit.baselines.sizes import SIZES, BaselineConfig
from mvit.model.config import MViTConfig
from mvit.model.presets import PRESETS, get_config, nearest
from mvit.recipes import toml
from mvit.recipes.sections import (
    DEFAULT_MODEL,
    AugmentRecipe,
    DataRecipe,
    ModelRecipe,
    OptimRecipe,
    TrainRecipe,
)

SHORT_SIDE_PER_CROP = 256 / 224
HERE = Path(__file__).parent
BY_DATA = ("scratch", "finetune")
"""Recipes without a file, which follow from the data: ``resolve``."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Everything that a run follows from, besides the data itself."""

    model: ModelRecipe = field(default_factory=ModelRecipe)
    data: DataRecipe = field(default_factory=DataRecipe)
    augment: AugmentRecipe = field(default_factory=AugmentRecipe)
    optim: OptimRecipe = field(default_factory=OptimRecipe)
    train: TrainRecipe = field(default_factory=TrainRecipe)

    def __post_init__(self) -> None:
        if self.train.batch != "auto" and self.train.batch % self.augment.copies:
            raise ValueError(
                f"train.batch is {self.train.batch} and augment.copies {self.augment.copies}: a batch must hold all "
                "copies of its videos, so make it a multiple"
            )
        if self.train.batch != "auto" and self.train.accumulate > self.train.batch:
            raise ValueError(
                f"train.accumulate is {self.train.accumulate} and train.batch {self.train.batch}: a batch has no more "
                "pieces than clips"
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

        if self.optim.warmup_epochs is not None and self.optim.warmup_epochs >= self.train.epochs:
            raise ValueError(
                f"optim.warmup_epochs is {self.optim.warmup_epochs:g} and train.epochs {self.train.epochs}: the "
                "warm-up must end before the run does, so shorten it, or set it to false for optim.warmup_fraction"
            )

    def model_config(self, classes: int) -> MViTConfig | BaselineConfig:
        """The preset or baseline with the recipe's fields, for this many classes and this recipe's clips."""
        clip = (self.data.frames, self.data.crop, self.data.crop)
        config = config_of(self.model.name)
        fields = dict(self.model.fields) | {"clip": clip, "num_classes": classes}
        return type(config).from_dict(config.to_dict() | fields)


def config_of(name: str) -> MViTConfig | BaselineConfig:
    """The configuration of a preset, or of a baseline to train; raises ``ValueError`` for a name that is neither."""
    if name in SIZES:
        return SIZES[name]
    if name not in PRESETS:
        raise ValueError(f"no model is called {name!r}: {nearest(name, [*PRESETS, *SIZES])}")
    return get_config(name)


_SECTIONS: dict[str, type] = {
    "model": ModelRecipe,
    "data": DataRecipe,
    "augment": AugmentRecipe,
    "optim": OptimRecipe,
    "train": TrainRecipe,
}
_FOLLOWING = ("clip", "num_classes", "baseline")
_MODEL_FIELDS = {
    name: hint
    for name, hint in (get_type_hints(BaselineConfig) | get_type_hints(MViTConfig)).items()
    if name not in _FOLLOWING
}
_KEYS: dict[str, dict[str, Any]] = {section: get_type_hints(kind) for section, kind in _SECTIONS.items()}
_KEYS["model"] = {key: hint for key, hint in _KEYS["model"].items() if key != "fields"} | _MODEL_FIELDS


# ---- reading -------------------------------------------------------------------------------------------------------


def path_of(name: str | None) -> Path | None:
    """A recipe by path, or by name among those that come with the package (in a checkout, beside src/).

    None for no name, and for those that follow from the data. Raises ``ValueError`` for a name that is none of them,
    and ``FileNotFoundError`` for a path where there is no file.
    """
    if name is None or name in BY_DATA:
        return None
    if Path(name).is_file():
        return Path(name)
    inside, beside = (sorted(folder.glob("*.toml")) for folder in (HERE, HERE.parents[2] / "recipes"))
    known = {path.stem: path for path in inside or beside}
    if name in known:
        return known[name]
    if name.endswith(".toml"):
        raise FileNotFoundError(
            f"{name} does not exist: give a recipe in TOML, or the name of one of {', '.join(known)}"
        )
    raise ValueError(f"there is no recipe file {name!r} and none of that name: {nearest(name, [*BY_DATA, *known])}")


def load(path: str | Path | None = None, overrides: Sequence[str] = ()) -> Recipe:
    """The recipe of a TOML file (None: the defaults) with ``section.key=value`` replaced, made and checked.

    Raises ``ValueError`` naming the key, its value and what was expected, ``FileNotFoundError`` for a missing file.
    """
    return make(given(path, overrides))


def given(path: str | Path | None = None, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """What a TOML file and then ``section.key=value`` set, by ``section.key``, each of its key's type.

    Raises as ``load`` does.
    """
    values = _read(Path(path)) if path is not None else {}
    for override in overrides:
        section, key, value = _parse_override(override)
        values.setdefault(section, {})[key] = value
    return {
        f"{section}.{key}": toml.convert(value, _hint(section, key), f"{section}.{key}")
        for section, entries in values.items()
        for key, value in entries.items()
    }


def how_to_split(path: str | Path | None, overrides: Sequence[str]) -> dict[str, Any]:
    """What ``dataset.find`` must know of a recipe before the rest of it can follow from what is found."""
    keys = ("data.val_fraction", "train.seed")
    recipe = make({key: value for key, value in given(path, overrides).items() if key in keys})
    return {"val_fraction": recipe.data.val_fraction, "seed": recipe.train.seed}


def make(values: Mapping[str, Any]) -> Recipe:
    """The recipe of values by ``section.key``, as ``given`` gives them; all else is as the sections have it.

    Frames, crop and short side that are not among them follow from the model. Raises ``ValueError`` for values that do
    not go together.
    """
    sections: dict[str, dict[str, Any]] = {section: {} for section in _SECTIONS}
    for name, value in values.items():
        section, _, key = name.partition(".")
        sections[section][key] = value
    model = {key: value for key, value in sections["model"].items() if key not in _MODEL_FIELDS}
    model["fields"] = {key: value for key, value in sections["model"].items() if key in _MODEL_FIELDS}
    frames, crop, _ = config_of(model.get("name", DEFAULT_MODEL)).clip
    data: dict[str, Any] = {"frames": frames, "crop": crop} | sections["data"]
    data.setdefault("short_side", round(data["crop"] * SHORT_SIDE_PER_CROP))
    recipe = Recipe(
        model=ModelRecipe(**model),
        data=DataRecipe(**data),
        augment=AugmentRecipe(**sections["augment"]),
        optim=OptimRecipe(**sections["optim"]),
        train=TrainRecipe(**sections["train"]),
    )
    try:
        config = recipe.model_config(classes=1)
    except ValueError as why:
        raise ValueError(f"the section [model] makes no model: {why}") from why
    if isinstance(config, BaselineConfig):
        _require_plain(recipe)
    elif recipe.model.freeze != "all" and recipe.model.freeze > (blocks := sum(config.depths)):
        raise ValueError(f"model.freeze is {recipe.model.freeze}, but {recipe.model.name} has {blocks} blocks")
    return recipe


def _require_plain(recipe: Recipe) -> None:
    """Raise ``ValueError`` for what is arithmetic over MViT's blocks, and so for no other model."""
    asked = {
        "model.inflate": recipe.model.inflate is not None,
        "model.freeze": recipe.model.freeze != 0,
        "optim.layer_decay": recipe.optim.layer_decay < 1,
        "train.memory": recipe.train.memory is not None,
        "train.parallel": recipe.train.parallel == "fsdp",
    }
    asked["train.batch"] = recipe.train.batch == "auto"
    for key, there in asked.items():
        if there:
            section, _, name = key.partition(".")
            value = toml.written(as_dict(recipe)[section][name])
            raise ValueError(f"{key} is {value}, which is for MViT and not for {recipe.model.name}: leave it out")


def as_overrides(options: Mapping[str, Any]) -> list[str]:
    """Options of a command as ``section.key=value``; those that are None were not given."""
    return [f"{key}={toml.written(value)}" for key, value in options.items() if value is not None]


def _read(path: Path) -> dict[str, dict[str, Any]]:
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist: give a recipe in TOML, or leave it out for the defaults")
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8-sig"))
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


# ---- writing -------------------------------------------------------------------------------------------------------


def dumps(recipe: Recipe, reasons: Mapping[str, str] | None = None) -> str:
    """The recipe as TOML, every key written out; ``load`` reads the same recipe back.

    ``reasons`` are comments by ``section.key``.
    """
    reasons = reasons or {}
    sections = (
        f"[{section}]\n"
        + "".join(
            f"{key} = {toml.written(value)}" + (f"  # {why}" if (why := reasons.get(f"{section}.{key}")) else "") + "\n"
            for key, value in entries.items()
        )
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
