"""What a run is where nobody said: its model, the weights that it starts from, and the settings that follow."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mvit.baselines.sizes import SIZES
from mvit.data.dataset import Listing
from mvit.data.samples import Medium, medium_of
from mvit.model.config import MViTConfig
from mvit.model.presets import PRESETS, get_config
from mvit.recipes import recipe as recipes
from mvit.recipes import resolve, toml
from mvit.recipes.recipe import Recipe
from mvit.recipes.resolve import Kind, Resolved
from mvit.training import batch, hardware
from mvit.weights import hub
from mvit.weights.hub import DownloadError
from mvit.weights.published import Published, published_for
from mvit.weights.read import OF_BLOCKS

SMALL, OF_VIDEOS, OF_IMAGES = "mvit_tiny_16x64", "mvitv2_s_16x4", "mvitv2_t_image"
"""The models for a processor that is no CUDA GPU, and for videos and for images on one."""
SAME_TENSORS = ("name", "weights", "inflate", "freeze", "drop_path", "head_dropout", "init")
"""Keys of the section [model] that leave a preset with the tensors that were published for it."""
SEEN = ("frames", "sampling", "spacing", "target_fps", "short_side", "crop", "mean", "std")
"""Keys of the section [data] that say what a model sees, and was trained on."""


def settle(
    named: str | None,
    overrides: Sequence[str],
    listing: Listing,
    *,
    auto: bool = False,
    ranks: int = 1,
    echo: Callable[[str], None] = print,
) -> Recipe:
    """The recipe of a run on these videos, which is told in full, with what was resolved from what.

    ``named`` is the file or name of a recipe, or one that follows from the data: "scratch", "finetune", or None, which
    is "finetune" where there are weights to start from. ``overrides`` hold in any case. ``auto`` starts from weights
    that are published for the model, as None and "finetune" do where no weights are named; where they cannot be had, it
    is told why, and the model starts from scratch. ``ranks`` are the processes that train together. Raises
    ``ValueError`` for what makes no sense without weights, ``FileNotFoundError`` for a path that leads to none, and as
    ``recipe.load`` does.
    """
    file = recipes.path_of(named)
    by_data, given = file is None, recipes.given(file, overrides)
    medium, found = medium_of(listing.train), dict[str, Resolved]()
    if by_data:
        found |= from_run(given, medium)
        if "model.name" not in given:
            found = model_for(medium, given) | found
            echo(f"model: {found['model.name'].value}, from {found['model.name'].reason} (--model names another)")
        found |= for_images(medium)  # last, as a run on videos says otherwise
    model = (_values(found) | given).get("model.name", recipes.DEFAULT_MODEL)
    recipes.config_of(model)  # a model that does not exist has no weights to speak of
    if model in SIZES and (run := given.get("model.weights")) and not Path(run).exists():
        raise ValueError(
            f"model.weights is {run!r}, which is no run here, and {model} starts from scratch or from a run of its "
            "own: name one, or leave it out"
        )
    lacking = Lacking("none are named")
    if auto or (by_data and named != "scratch" and "model.weights" not in given):
        given.pop("model.weights", None)
        entry = released(model, given)
        if isinstance(entry, Published):
            echo(f"weights: {entry.name}, trained on {entry.data.title} (--weights none starts from scratch)")
            found["model.weights"] = Resolved(entry.name, "what is published")
        else:
            lacking = entry
    weights = (_values(found) | given).get("model.weights", "")
    if not weights:
        refuse_without_weights(named, given, lacking)
        if lacking.advice:
            echo(f"weights: {lacking.why}, so the model starts from scratch ({lacking.advice})")
    if by_data or auto or _is_commanded("model.weights", overrides):
        wanted = from_published(model, hub.named(model, weights) if weights else None)
        if weights and not wanted and not Path(weights).exists():
            raise FileNotFoundError(f"{weights} does not exist: --weights takes a run, a checkpoint, or a name")
        for key, entry in wanted.items():
            if given.get(key, entry.value) != entry.value:
                ours, theirs = toml.written(given[key]), toml.written(entry.value)
                echo(f"note: {key} is {ours}, as it was given; {entry.reason} were trained with {theirs}")
        found |= wanted
    if by_data:
        if weights and model not in SIZES:
            found |= inflation(model, weights, _values(found) | given)
        kind: Kind = "finetune" if weights and named != "scratch" else "scratch"
        known = _values(found) | given
        if known.get("train.batch") == "auto":  # rates and averages follow from the number
            rounds = resolve.epochs(resolve.WAYS[kind], len(listing.train))  # a warm-up in epochs is to fit into them
            open_ = recipes.make({"train.epochs": rounds} | known)
            config, machine = open_.model_config(len(listing.classes)), hardware.choose(open_.train)
            assert isinstance(config, MViTConfig), "no other model has a batch to be settled"
            chosen = batch.resolved(open_, config, len(listing.train), machine, echo, ranks)
            given["train.batch"] = known["train.batch"] = chosen.train.batch
        width = known.get("model.widths", recipes.config_of(model).widths)[-1]
        found |= resolve.settings(kind, len(listing.train), width, known, ranks=ranks, medium=medium)
        named = kind
    recipe = recipes.make(_values(found) | given)
    reasons = {key: f"from {entry.reason}" for key, entry in found.items() if key not in given}
    echo(f"recipe {named}:\n\n{recipes.dumps(recipe, reasons)}")
    for remark in resolve.remarks(len(listing.train), weights, medium) + resolve.repeated(medium, recipe.data.frames):
        echo(f"warning: {remark}")
    return recipe


def as_begun(file: Path | None, overrides: Sequence[str], begun_with: Path, *, auto: bool = False) -> Recipe:
    """The recipe of a run that goes on; ``auto`` takes the weights that were found when it began."""
    given = recipes.given(file, overrides)
    if auto:
        given["model.weights"] = recipes.load(begun_with).model.weights
    wanted: dict[str, Resolved] = {}
    if (auto or _is_commanded("model.weights", overrides)) and given["model.weights"]:
        model = given.get("model.name", recipes.DEFAULT_MODEL)
        wanted = from_published(model, hub.named(model, given["model.weights"]))
    return recipes.make(_values(wanted) | given)


def for_images(medium: Medium) -> dict[str, Resolved]:
    """Images are clips of one frame, and every clip of one is the same."""
    if medium == "videos":
        return {}
    return {"data.frames": Resolved(1, "images"), "data.views": Resolved((1, 1), "images")}


def from_run(given: Mapping[str, Any], medium: Medium) -> dict[str, Resolved]:
    """The model of a run whose weights are given, and what it sees; nothing where they are not a run's.

    For another model that is named, the norm of pixels alone. Videos have the preset's frames after a run on images;
    raises ``ValueError`` where those of a model for images do, and where one of two models is another library's.
    """
    file = _recipe_of(given.get("model.weights") or "-")
    if not file.is_file():
        return {}
    values = recipes.given(file)
    name = values.get("model.name", recipes.DEFAULT_MODEL)
    wanted = given.get("model.name", name)
    if wanted != name and {wanted, name} & set(SIZES):
        raise ValueError(f"{file.parent} is a run of {name}: {wanted} does not start from it, only {name} does")
    if wanted != name:
        kept = {"data.mean", "data.std"}
    else:
        started = ("model.weights", "model.inflate", "model.freeze")
        kept = {key for key in values if key.startswith("model.") and key not in started}
        kept |= {f"data.{key}" for key in SEEN if key != "short_side" or "data.crop" not in given}
        if medium == "videos" and values.get("data.frames") == 1 and name not in SIZES:
            kept.remove("data.frames")
            if get_config(name).clip[0] == 1 and "data.frames" not in given:
                config = recipes.load(file).model_config(1)
                assert isinstance(config, MViTConfig), "as its name says"
                raise ValueError(
                    f"{file.parent} is a run on images, and {name} sees one frame of a video: start a model for clips "
                    f"from it, such as --model {' '.join(for_clips(config))}"
                )
    return {key: Resolved(value, f"the run {file.parent}") for key, value in values.items() if key in kept}


def for_clips(config: MViTConfig) -> list[str]:
    """The preset for clips that is most like a model for images, and the fields in which its blocks are others."""
    differing = {
        name: [field for field in OF_BLOCKS if getattr(preset, field) != getattr(config, field)]
        for name, preset in PRESETS.items()
        if preset.clip[0] > 1
    }
    name = min(differing, key=lambda name: len(differing[name]))
    return [name, *(f"'model.{field}={toml.written(getattr(config, field))}'" for field in differing[name])]


def inflation(model: str, weights: str, known: Mapping[str, Any]) -> dict[str, Resolved]:
    """What becomes over time of the kernels of an image model, if the model for clips has others (``weights.fit``)."""
    entry, file = hub.named(model, weights), _recipe_of(weights)
    if entry is not None:
        started, source = get_config(entry.preset), f"the weights {entry.name}"
    elif file.is_file():
        started, source = recipes.load(file).model_config(1), f"the run {file.parent}"
    else:
        return {}
    spanned = known.get("model.stem_kernel", get_config(model).stem_kernel)[0]
    assert isinstance(started, MViTConfig), "no run starts from another library's"
    if started.stem_kernel[0] > 1 or spanned == 1:
        return {}
    return {"model.inflate": Resolved("centre", f"{source}, of images")}


def model_for(medium: Medium, given: Mapping[str, Any]) -> dict[str, Resolved]:
    """The model that this machine can train on these videos."""
    asked = recipes.make({key: value for key, value in given.items() if key.startswith("train.")}).train
    device = hardware.choose(asked).device.type
    on = "a GPU" if device == "cuda" else f"the processor ({device})"
    fitting = (OF_IMAGES if medium == "images" else OF_VIDEOS) if device == "cuda" else SMALL
    return {"model.name": Resolved(fitting, f"{medium} on {on}")}


@dataclass(frozen=True)
class Lacking:
    """Why there are no weights, and what can be done about it, as parts of a sentence."""

    why: str
    advice: str = ""


def released(model: str, given: Mapping[str, Any]) -> Published | Lacking:
    """The weights that are published for a model, in the cache or downloaded, or why there are none.

    They are the first of the model's, or others for the same data set that are in the cache. A file there is not looked
    at: where it is not the published one, the run refuses it.
    """
    first = next(iter(published_for(model).values()), None)
    if first is None:
        return Lacking(f"none are published for {model}", "--weights RUN starts from a run's")
    alike = [entry for entry in published_for(model).values() if entry.short_name == first.short_name]
    entry = next((entry for entry in alike if hub.cached(entry).is_file()), first)
    config = entry.config(get_config(model))
    fields = {key: key.removeprefix("model.") for key in given if key.startswith("model.")}
    other = [k for k, field in fields.items() if field not in SAME_TENSORS and getattr(config, field) != given[k]]
    if other:
        return Lacking(f"those published for {model} do not fit with another {other[0]}", "--weights names others")
    if not hub.cached(entry).is_file():
        try:
            hub.fetch(entry)
        except DownloadError as why:
            return Lacking(f"{entry.name} cannot be had", f"{why}")
    return entry


def refuse_without_weights(named: str | None, given: Mapping[str, Any], lacking: Lacking) -> None:
    """Raise ``ValueError`` where a recipe makes no sense without the weights that are lacking."""
    why = lacking.why + (f"; {lacking.advice}" if lacking.advice else "")
    if named == "finetune":
        raise ValueError(
            f"the recipe finetune starts from trained weights, which are lacking ({why}): name some with --weights, or "
            "take --recipe scratch"
        )
    if freeze := given.get("model.freeze"):
        raise ValueError(
            f"model.freeze is {freeze!r}, but trained weights are lacking ({why}): what is frozen would stay as chance "
            "made it, so name some with --weights, or freeze nothing"
        )


def from_published(model: str, entry: Published | None) -> dict[str, Resolved]:
    """How published weights want a model to be built and fed: its fields, and the norm of pixels."""
    if entry is None:
        return {}
    seen = entry.protocol.preprocessing
    values = {f"model.{field}": value for field, value in entry.fields_of(get_config(model)).items()}
    values |= {"data.mean": seen.mean, "data.std": seen.std}
    return {key: Resolved(value, f"the weights {entry.name}") for key, value in values.items()}


def _recipe_of(weights: str) -> Path:
    """Where the recipe lies if these are a run's weights: its folder, or a file in it."""
    path = Path(weights)
    return (path.parent if path.is_file() else path) / "recipe.toml"


def _is_commanded(key: str, overrides: Sequence[str]) -> bool:
    """Whether a key is said beside the recipe's file, and not in it."""
    return key in recipes.given(None, overrides)


def _values(found: Mapping[str, Resolved]) -> dict[str, Any]:
    return {key: entry.value for key, entry in found.items()}
