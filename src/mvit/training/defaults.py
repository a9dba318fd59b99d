"""What a run is where nobody said: its model, the weights that it starts from, and the settings that follow."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mvit.data.dataset import Listing
from mvit.data.samples import IMAGE_EXTENSIONS
from mvit.model.presets import get_config
from mvit.recipes import recipe as recipes
from mvit.recipes import resolve
from mvit.recipes.recipe import Recipe
from mvit.recipes.resolve import Kind, Resolved
from mvit.training import batch, hardware
from mvit.weights import hub
from mvit.weights.hub import DownloadError
from mvit.weights.published import Published, published_for

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
    ``ValueError`` for "finetune" without weights, and as ``recipe.load`` does.
    """
    file = recipes.path_of(named)
    by_data, given = file is None, recipes.given(file, overrides)
    found: dict[str, Resolved] = {}
    if by_data:
        if "model.name" not in given:
            found |= from_run(given) or model_for(listing, given)
            echo(f"model: {found['model.name'].value}, from {found['model.name'].reason} (--model names another)")
        found |= for_images(listing)  # last, as a run on videos says otherwise
    model = (_values(found) | given).get("model.name", recipes.DEFAULT_MODEL)
    get_config(model)  # a model that does not exist has no weights to speak of
    if auto or (by_data and named != "scratch" and "model.weights" not in given):
        given.pop("model.weights", None)
        entry = released(model, given, echo)
        found |= {"model.weights": Resolved(entry.name, "what is published")} if entry else {}
    weights = (_values(found) | given).get("model.weights", "")
    if named == "finetune" and not weights:
        raise ValueError(
            "the recipe finetune starts from trained weights, and there are none: name some with --weights, or take "
            "--recipe scratch"
        )
    if by_data:
        kind: Kind = "finetune" if weights and named != "scratch" else "scratch"
        found |= from_published(hub.named(model, weights) if weights else None)
        known = _values(found) | given
        if known.get("train.batch") == "auto":  # rates and averages follow from the number
            open_ = recipes.make(known)
            config, machine = open_.model_config(len(listing.classes)), hardware.choose(open_.train)
            chosen = batch.resolved(open_, config, len(listing.train), machine, echo, ranks)
            given["train.batch"] = known["train.batch"] = chosen.train.batch
        width = known.get("model.widths", get_config(model).widths)[-1]
        found |= resolve.settings(kind, len(listing.train), width, known)
        named = kind
    recipe = recipes.make(_values(found) | given)
    reasons = {key: f"from {entry.reason}" for key, entry in found.items() if key not in given}
    echo(f"recipe {named}:\n\n{recipes.dumps(recipe, reasons)}")
    for remark in resolve.remarks(len(listing.train), weights):
        echo(f"warning: {remark}")
    return recipe


def as_begun(file: Path | None, overrides: Sequence[str], begun_with: Path, *, auto: bool = False) -> Recipe:
    """The recipe of a run that goes on; ``auto`` takes the weights that were found when it began."""
    if auto:
        overrides = [*overrides, *recipes.as_overrides({"model.weights": recipes.load(begun_with).model.weights})]
    return recipes.load(file, overrides)


def for_images(listing: Listing) -> dict[str, Resolved]:
    """Images are clips of one frame, and every clip of one is the same."""
    if not _are_images(listing):
        return {}
    return {"data.frames": Resolved(1, "images"), "data.views": Resolved((1, 1), "images")}


def from_run(given: Mapping[str, Any]) -> dict[str, Resolved]:
    """The model of a run whose weights are given, and what it sees; nothing where they are not a run's."""
    weights = Path(given.get("model.weights") or "-")
    file = (weights.parent if weights.is_file() else weights) / "recipe.toml"
    if not file.is_file():
        return {}
    started = ("model.weights", "model.inflate", "model.freeze")
    kept = [f"data.{key}" for key in SEEN if key != "short_side" or "data.crop" not in given]
    return {
        key: Resolved(value, f"the run {file.parent}")
        for key, value in recipes.given(file).items()
        if key in kept or (key.startswith("model.") and key not in started)
    }


def model_for(listing: Listing, given: Mapping[str, Any]) -> dict[str, Resolved]:
    """The model that this machine can train on these videos."""
    asked = recipes.make({key: value for key, value in given.items() if key.startswith("train.")}).train
    device = hardware.choose(asked).device.type
    images = _are_images(listing)
    of, on = ("images" if images else "videos"), ("a GPU" if device == "cuda" else f"the processor ({device})")
    fitting = (OF_IMAGES if images else OF_VIDEOS) if device == "cuda" else SMALL
    return {"model.name": Resolved(fitting, f"{of} on {on}")}


def released(model: str, given: Mapping[str, Any], echo: Callable[[str], None]) -> Published | None:
    """The weights that are published for a model, in the cache or downloaded; None, and told why, where there are none.

    They are the first of the model's, or others for the same data set that are in the cache. A file there is not looked
    at: where it is not the published one, the run refuses it.
    """
    other = [key for key in given if key.startswith("model.") and key.removeprefix("model.") not in SAME_TENSORS]
    first = next(iter(published_for(model).values()), None)
    alike = [entry for entry in published_for(model).values() if first and entry.short_name == first.short_name]
    entry = next((entry for entry in alike if hub.cached(entry).is_file()), first)
    if entry is None:
        echo(f"weights: none are published for {model}, so it starts from scratch (--weights RUN starts from a run's)")
    elif other:
        echo(f"weights: those published for {model} do not fit with another {other[0]}, so it starts from scratch")
        entry = None
    elif not hub.cached(entry).is_file():
        try:
            hub.fetch(entry)
        except DownloadError as why:
            echo(f"weights: {entry.name} cannot be had, so {model} starts from scratch. {why}")
            entry = None
    if entry is not None:
        echo(f"weights: {entry.name}, trained on {entry.data.title} (--weights none starts from scratch)")
    return entry


def from_published(entry: Published | None) -> dict[str, Resolved]:
    """How published weights want to be built and fed: fields of the model, and the norm of pixels."""
    if entry is None:
        return {}
    seen = entry.protocol.preprocessing
    values = {f"model.{field}": value for field, value in entry.config_fields.items()}
    values |= {"data.mean": seen.mean, "data.std": seen.std}
    return {key: Resolved(value, f"the weights {entry.name}") for key, value in values.items()}


def _are_images(listing: Listing) -> bool:
    return all(sample.path.suffix.lower() in IMAGE_EXTENSIONS for sample in listing.train)


def _values(found: Mapping[str, Resolved]) -> dict[str, Any]:
    return {key: entry.value for key, entry in found.items()}
