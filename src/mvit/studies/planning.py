"""The making of a sweep from the names of studies: what is refused, and the recipe of each variant."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from mvit.data import demo
from mvit.data.dataset import Listing
from mvit.data.order import Order
from mvit.data.samples import Sample, counted
from mvit.data.splits import thinned
from mvit.model.config import MViTConfig
from mvit.model.presets import nearest
from mvit.recipes import recipe as recipes
from mvit.recipes.recipe import Recipe
from mvit.recipes.sections import ModelRecipe
from mvit.studies import naming
from mvit.studies.ablations import STUDIES, Study
from mvit.studies.sweep import BASE, RECIPE, SETTINGS, Matching, Sweep, Task, settings_of
from mvit.studies.variants import ALIKE, cost, counts
from mvit.training.run import MACHINE_KEYS, Run
from mvit.weights.build import Config

LEAST_SEEDS = LEAST_RATES = 2
FOLLOWING = ("clip", "num_classes")
"""Of a model's numbers: what follows from the data."""


def planned(
    names: Sequence[str],
    base: Recipe,
    data: Path,
    listing: Listing,
    folder: Path,
    seeds: int,
    *,
    only: Sequence[str] = (),
    rates: Sequence[float] = (),
    pretrain: tuple[Path, Listing] | None = None,
    matching: Matching | None = None,
) -> Sweep:
    """What there is to do for studies by name; writes nothing.

    Of the variants, those that ``only`` names are asked beside the reference, or all. Seeds count from the base's
    ``train.seed``; all share the split of ``listing``. Each variant learns at the one of
    ``rates`` that does best by it, and starts from its own run on the videos of ``pretrain``, where there are such.
    Sizes that are found cost what the base does, or the shares of it in ``matching`` (``studies.matching``). Raises
    ``ValueError`` for what cannot be: an unknown study, one that asks nothing of such data, fewer than two seeds,
    weights to start from, no videos held out, and a folder in which something else stands.
    """
    for name in (*names, *only):
        if "=" in name:
            raise ValueError(f"{name} stands behind --study or --only and is taken for a name: put it behind DATA")
    for name in names:
        if name not in STUDIES:
            raise ValueError(f"no study is called {name!r}: {nearest(name, list(STUDIES))}")
    if not names or len(set(names)) < len(names):
        raise ValueError(f"name at least one study with --study, each once: there are {', '.join(STUDIES)}")
    _require_known(only, names)
    if seeds < LEAST_SEEDS:
        few = counted(seeds, "seed shows", "seeds show")
        raise ValueError(f"{few} no spread: take at least {LEAST_SEEDS}, and 5 for differences to be told")
    if base.model.weights:
        raise ValueError(
            f"model.weights is {base.model.weights!r}, but variants have other tensors: ablations start from scratch"
        )
    if base.train.batch == "auto":
        raise ValueError('train.batch is "auto", which may differ between variants: give a number')
    if not listing.val:
        raise ValueError(f"no video of {data} is held out, so variants could not be told apart: give --val")
    if rates and (len(set(rates)) < len(rates) or len(rates) < LEAST_RATES):
        shown = " ".join(f"{rate:g}" for rate in rates)
        raise ValueError(f"of the learning rates {shown} none can be chosen: name two or more with --rates, each once")
    _require_same(folder, base)
    config = base.model_config(len(listing.classes))
    if not isinstance(config, MViTConfig):
        raise ValueError(f"model.name is {base.model.name!r}, but variants follow from an MViT: name a preset of ours")
    tasks: list[Task] = []
    for name in names:
        study = STUDIES[name]
        _require_kind(name, study, config)
        shares = matching.shares if matching else {}
        asked = [variant for variant in study.variants if not only or variant in (*only, study.reference)]
        if listing.multi_label and any(study.variants[variant].train_share < 1 for variant in asked):
            raise ValueError(
                f"the study {name} draws videos from each class, and those of {data} are of several at once"
            )
        tasks += [_task(name, variant, base, config, shares, listing) for variant in asked]
        if any(study.variants[variant].object_size != 1 for variant in asked):
            demo.settings_of(data)
        if study.matched and not matching:
            _require_alike(name, [task for task in tasks if task.study == name], cost(config))
    tasks = naming.shared(tasks, folder, searched=matching is not None)
    for name in names:
        if len({task.name for task in tasks if task.study == name}) == 1:
            raise ValueError(f"at this model's size all variants of the study {name} are the same: take a larger model")
    first = base.train.seed
    sweep = Sweep(
        folder,
        base,
        data,
        listing,
        tuple(tasks),
        tuple(range(first, first + seeds)),
        rates=tuple(sorted(rates)),
        matching=matching,
    )
    if pretrain:
        sweep = sweep.after(*pretrain)
    assert all(stage.listing.val for stage in sweep.stages)  # made here: what cannot be is told before any training
    _require_same_settings(sweep)
    return sweep


def _require_known(only: Sequence[str], names: Sequence[str]) -> None:
    """Raise ``ValueError`` for a variant that no study has, and for a study of which none is named."""
    for name in names if only else ():
        study = STUDIES[name]
        if not set(only) & (study.variants.keys() - {study.reference}):
            others = ", ".join(variant for variant in study.variants if variant != study.reference)
            raise ValueError(
                f"--only names no variant of the study {name}: beside {study.reference} there are {others}"
            )
    every = {variant for name in names for variant in STUDIES[name].variants}
    for variant in only:
        if variant not in every:
            raise ValueError(f"--only: no variant is called {variant!r}: {nearest(variant, sorted(every))}")


def _require_same(folder: Path, base: Recipe) -> None:
    """Raise ``ValueError`` where a sweep of another recipe, or something else, stands in a folder."""
    file = folder / RECIPE
    if not file.is_file():
        if folder.exists() and any(path.name != SETTINGS for path in folder.iterdir()):
            raise ValueError(f"{folder} holds something else than a sweep: choose another folder with --out")
        return
    if Run(folder).origin.is_file():
        raise ValueError(f"{folder} is a run, and a sweep is a folder of runs: choose another folder with --out")
    changes = [line for line in recipes.differences(recipes.load(file), base) if not line.startswith(MACHINE_KEYS)]
    if changes:
        raise ValueError(
            f"{folder} was begun with another recipe ({'; '.join(changes)}): go on with the same one, or choose "
            "another folder with --out"
        )


def _require_same_settings(sweep: Sweep) -> None:
    """Raise ``ValueError`` where the sweep that stands in the folder was begun with others; before, there were none."""
    if not (sweep.folder / RECIPE).is_file():
        return
    before, now = settings_of(sweep.folder), sweep.settings
    for name, value in now.items():
        was, now_it_is = (
            f"with --{name} {_shown(each)}" if each else f"without --{name}" for each in (before.get(name), value)
        )
        if was != now_it_is:
            raise ValueError(
                f"{sweep.folder} was begun {was}, and this is {now_it_is}: go on with the same, or choose another "
                "folder with --out"
            )


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return str(value["by"])
    return " ".join(f"{each:g}" for each in value) if isinstance(value, list) else str(value)


def _task(
    study: str, variant: str, base: Recipe, config: MViTConfig, shares: Mapping[str, float], listing: Listing
) -> Task:
    declared = STUDIES[study].variants[variant]
    name = naming.own(study, variant)
    changed = declared.of(config, shares.get(name, 1.0))
    recipe = base if changed == config else _with_model(base, config, changed)
    if declared.train_share < 1:
        recipe = _longer(recipe, listing.train, thinned(listing.train, declared.train_share, base.train.seed))
    same = recipe == base and declared.train_share == declared.object_size == 1
    return Task(study, variant, BASE if same else name, recipe, declared, counts(changed))


def _with_model(base: Recipe, config: MViTConfig, changed: Config) -> Recipe:
    """The base's recipe with the fields of the model that are other, or with another library's model."""
    if not isinstance(changed, MViTConfig):
        sizes = {key: value for key, value in changed.to_dict().items() if key not in ("baseline", *FOLLOWING)}
        return replace(base, model=ModelRecipe(name=changed.baseline, fields=sizes))
    before, after = config.to_dict(), changed.to_dict()
    fields = {name: value for name, value in after.items() if value != before[name]}
    return replace(base, model=replace(base.model, fields=dict(base.model.fields) | fields))


def _longer(recipe: Recipe, videos: Sequence[Sample], kept: Sequence[Sample]) -> Recipe:
    """With so many more epochs that the steps are as many; warmed up, looked at and saved as often in the whole run."""
    train, optim, batch = recipe.train, recipe.optim, recipe.train.clips_per_step // recipe.augment.copies
    whole, part = (len(Order(samples=len(each), batch=batch, seed=0)) for each in (videos, kept))
    times = whole / part
    if optim.warmup_epochs is not None:
        optim = replace(optim, warmup_epochs=times * optim.warmup_epochs)
    epochs, evaluate, save = (
        max(1, round(times * number)) for number in (train.epochs, train.evaluate_every, train.checkpoint_every)
    )
    train = replace(train, epochs=epochs, evaluate_every=evaluate, checkpoint_every=save)
    return replace(recipe, train=train, optim=optim)


def _require_kind(name: str, study: Study, config: MViTConfig) -> None:
    if config.clip[0] == 1 and "images" not in study.kinds:
        raise ValueError(f"the study {name} asks about time, and images have none: take videos, or another study")
    if config.clip[0] > 1 and "clips" not in study.kinds:
        raise ValueError(
            f"the study {name} compares models of images, and clips here have {config.clip[0]} frames: for images take "
            "--recipe images or data.frames=1, for videos the study controls"
        )


def _require_alike(name: str, tasks: Sequence[Task], wanted: int) -> None:
    apart = {task.variant: task.cost.macs / wanted - 1 for task in tasks}
    worst = max(apart, key=lambda variant: abs(apart[variant]))
    if abs(apart[worst]) > ALIKE:
        raise ValueError(
            f"the study {name} compares variants of the same cost, but at this size {worst} costs {apart[worst]:+.0%}: "
            "take a larger model (--model) or clip (data.crop, data.frames)"
        )
