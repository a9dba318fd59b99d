"""What there is to do for studies: every variant with every seed, each in a run folder of its own.

Its runs may start from those of another sweep, on other videos, and each variant may first try some learning rates on
videos held out of train: those are sweeps too, carried out before. Nothing is kept but run folders, the recipe and the
settings that it was begun with: what stands is what is done.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Self

from mvit.analysis.complexity import Counts
from mvit.data import demo
from mvit.data.dataset import Listing, find
from mvit.data.samples import medium_of, named
from mvit.data.splits import split, thinned
from mvit.evaluation.evaluate import RESULT_FILE
from mvit.model.config import MViTConfig
from mvit.model.presets import nearest
from mvit.recipes import recipe as recipes
from mvit.recipes.recipe import Recipe
from mvit.recipes.sections import ModelRecipe
from mvit.studies.ablations import STUDIES, Study, Variant
from mvit.studies.variants import ALIKE, cost, counts
from mvit.training.run import MACHINE_KEYS, Run
from mvit.weights.build import Config

RECIPE, SETTINGS = "recipe.toml", "sweep.json"
PRETRAINING, TUNING = "pretraining", "tuning"
"""Folders of the runs that others start from, and of those by which learning rates are chosen."""
BASE = "base"
"""What the runs of variants are called that are the base itself, which studies share."""
LEAST_SEEDS = LEAST_RATES = 2
FOLLOWING = ("clip", "num_classes")
"""Of a model's numbers: what follows from the data."""

Echo = Callable[[str], None]


@dataclass(frozen=True)
class Task:
    """A variant of a study at the base's size: what its runs are called, and what they follow from, but for seeds."""

    study: str
    variant: str
    name: str
    recipe: Recipe
    declared: Variant
    cost: Counts


@dataclass(frozen=True)
class Sweep:
    """All runs of some studies; made by ``planned``."""

    folder: Path
    base: Recipe
    data: Path
    listing: Listing
    tasks: tuple[Task, ...]
    seeds: tuple[int, ...]
    pretraining: "Sweep | None" = None
    """The same variants with the same seeds on other videos, if each run starts from its own there."""
    rates: tuple[float, ...] = ()
    """Learning rates that each variant tries, to learn at its best one; none: all learn at the recipe's."""
    tunes: "Sweep | None" = None
    """The sweep for which this one tries a learning rate."""

    @cached_property
    def tuning(self) -> "dict[float, Sweep]":
        """By learning rate what tries it: each variant with the first seed, judged on videos held out of train."""
        if not self.rates:
            return {}
        listing = _held_out(self.listing, self.base)
        return {
            rate: replace(
                self,
                folder=self.folder / TUNING / f"{rate:g}",
                base=_at_rate(self.base, rate),
                listing=listing,
                tasks=tuple(replace(task, recipe=_at_rate(task.recipe, rate)) for task in self.tasks),
                seeds=self.seeds[:1],
                rates=(),
                tunes=self,
            )
            for rate in self.rates
        }

    @property
    def stages(self) -> "list[Sweep]":
        """All that is carried out, in order, this sweep last."""
        return [*(self.pretraining.stages if self.pretraining else []), *self.tuning.values(), self]

    @property
    def metric(self) -> str:
        """What of a result tells how good a run is."""
        return "map" if self.listing.multi_label else "top1"

    def runs(self) -> list[tuple[Task, int]]:
        """Every run once, in order: all variants with the first seed, then with the second."""
        once = {task.name: task for task in self.tasks}
        return [(task, seed) for seed in self.seeds for task in once.values()]

    def run(self, task: Task, seed: int) -> Run:
        """The run of a variant with a seed."""
        return Run(self.folder / f"{task.name}-{seed}")

    def is_done(self, task: Task, seed: int) -> bool:
        """Whether a run has come to its result, which it writes last."""
        return (self.run(task, seed).folder / RESULT_FILE).is_file()

    def result(self, task: Task, seed: int) -> dict[str, Any]:
        """The result of a run that is done."""
        return dict(json.loads((self.run(task, seed).folder / RESULT_FILE).read_text(encoding="utf-8")))

    def start(self, task: Task) -> Task | None:
        """The variant in ``pretraining`` whose run of the same seed a run starts from; None: from scratch."""
        if self.pretraining is None:
            return None
        return next(
            start for start, each in zip(self.pretraining.tasks, self.tasks, strict=True) if each.name == task.name
        )

    def tried(self, task: Task) -> dict[float, float]:
        """What a variant came to with each learning rate that is done, as a fraction of the held-out part of train."""
        return {
            rate: each.result(task, seed)[each.metric]
            for rate, each in self.tuning.items()
            for seed in each.seeds
            if each.is_done(task, seed)
        }

    def chosen(self, task: Task) -> float | None:
        """The best of the learning rates that a variant has tried, the lowest of equal ones; None if none is done."""
        tried = self.tried(task)
        return min(tried, key=lambda rate: (-tried[rate], rate), default=None)

    def lacking(self, task: Task, seed: int) -> str:
        """Why a run cannot begin when what comes before it has been carried out; empty where it can."""
        before, start = self.pretraining, self.start(task)
        if before and start and not before.is_done(start, seed):
            return f"there is no {before.run(start, seed).folder} to start from"
        return "it learned at none of the learning rates" if self.rates and self.chosen(task) is None else ""

    def recipe(self, task: Task, seed: int) -> Recipe:
        """The recipe of a run that nothing is lacking for."""
        recipe = replace(task.recipe, train=replace(task.recipe.train, seed=seed))
        if (rate := self.chosen(task)) is not None:
            recipe = _at_rate(recipe, rate)
        before, start = self.pretraining, self.start(task)
        if before and start:
            weights = str(before.run(start, seed).folder)
            recipe = replace(recipe, model=replace(recipe.model, weights=weights))
        return recipe

    def videos(self, task: Task, seed: int, echo: Echo = print) -> Listing:
        """What a run learns from and is judged on; makes the demo set that a variant asks for, if it is not there."""
        size, share = task.declared.object_size, task.declared.train_share
        if size != 1:
            folder = (self.tunes or self).folder / f"demo-{size:g}"
            if not folder.exists():
                echo(f"making the demo set with objects of {size:g} times the size in {folder}")
            made = find(demo.make(folder, **demo.settings_of(self.data) | {"object_size": size}))
            return _held_out(made, self.base) if self.tunes else made
        if share == 1:
            return self.listing
        kept = thinned(self.listing.train, share, seed)
        how = f"{len(kept):,} of {len(self.listing.train):,} videos of train, drawn from each class by seed {seed}"
        return replace(self.listing, train=kept, how=f"{self.listing.how}; {how}")

    def after(self, data: Path, listing: Listing) -> Self:
        """This sweep with every run starting from the same variant's, trained on other videos by the same recipe.

        Variants that differ in what they learn from here start from one run. Raises ``ValueError`` for videos by which
        runs are judged here, for another medium, and where nothing is held out there.
        """
        ours, theirs = medium_of(self.listing.train), medium_of(listing.train)
        if ours != theirs:
            raise ValueError(f"{self.data} holds {ours} and {data} {theirs}: pre-train on {ours} with --pretrain")
        if both := {sample.id for sample in listing.train} & {sample.id for sample in self.listing.val}:
            raise ValueError(
                f"{len(both):,} {ours} of {data} are held out in {self.data} ({named(sorted(both))}): what has learned "
                "from them cannot be judged by them, so pre-train on others"
            )
        if not listing.val:
            raise ValueError(f"no video of {data} is held out, so nothing could be said of what is learned there")
        tasks = tuple(
            replace(
                task,
                name=BASE if task.recipe.model == self.base.model else task.name,
                recipe=replace(self.base, model=task.recipe.model),
                declared=Variant(),
            )
            for task in self.tasks
        )
        before = replace(self, folder=self.folder / PRETRAINING, data=data, listing=listing, tasks=tasks)
        return replace(self, pretraining=before)

    @property
    def settings(self) -> dict[str, Any]:
        """What all runs have in common beside the recipe, as ``SETTINGS`` holds it."""
        data = str(self.pretraining.data.resolve()) if self.pretraining else None
        return {"pretrain": data, "rates": list(self.rates)}


def planned(
    names: Sequence[str],
    base: Recipe,
    data: Path,
    listing: Listing,
    folder: Path,
    seeds: int,
    *,
    rates: Sequence[float] = (),
    pretrain: tuple[Path, Listing] | None = None,
) -> Sweep:
    """What there is to do for studies by name; writes nothing.

    Seeds count from the base's ``train.seed``; all share the split of ``listing``. Each variant learns at the one of
    ``rates`` that does best by it, and starts from its own run on the videos of ``pretrain``, where there are such.
    Raises ``ValueError`` for what cannot be: an unknown study, one that asks nothing of such data, fewer than two
    seeds, weights to start from, no videos held out, and a folder in which something else stands.
    """
    for name in names:
        if name not in STUDIES:
            raise ValueError(f"no study is called {name!r}: {nearest(name, list(STUDIES))}")
    if not names or len(set(names)) < len(names):
        raise ValueError(f"name at least one study with --study, each once: there are {', '.join(STUDIES)}")
    if seeds < LEAST_SEEDS:
        raise ValueError(f"{seeds} seeds show no spread: take at least {LEAST_SEEDS}, and 5 for differences to be told")
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
    tasks = []
    for name in names:
        study = STUDIES[name]
        _require_kind(name, study, config)
        tasks += [_task(name, variant, base, config) for variant in study.variants]
        if any(variant.object_size != 1 for variant in study.variants.values()):
            demo.settings_of(data)
        if study.matched:
            _require_alike(name, [task for task in tasks if task.study == name], cost(config))
    first = base.train.seed
    sweep = Sweep(
        folder, base, data, listing, tuple(tasks), tuple(range(first, first + seeds)), rates=tuple(sorted(rates))
    )
    if pretrain:
        sweep = sweep.after(*pretrain)
    assert all(stage.listing.val for stage in sweep.stages)  # made here: what cannot be is told before any training
    _require_same_settings(sweep)
    return sweep


def _require_same(folder: Path, base: Recipe) -> None:
    """Raise ``ValueError`` where a sweep of another recipe, or something else, stands in a folder."""
    file = folder / RECIPE
    if not file.is_file():
        if folder.exists() and any(path.name != SETTINGS for path in folder.iterdir()):
            raise ValueError(f"{folder} holds something else than a sweep: choose another folder with --out")
        return
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
    file, now = sweep.folder / SETTINGS, sweep.settings
    before = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else dict.fromkeys(now)
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
    return " ".join(f"{each:g}" for each in value) if isinstance(value, list) else str(value)


def _held_out(listing: Listing, base: Recipe) -> Listing:
    """Videos of train alone, of which as large a part as val would be is to judge by; what was val is not touched."""
    kept, held_out = split(listing.train, base.data.val_fraction, base.train.seed)
    if not held_out:
        raise ValueError(
            f"no learning rate can be chosen, as none of {len(listing.train):,} videos of train can be held out "
            "without emptying a class: leave out --rates"
        )
    how = (
        f"{len(held_out):,} of {len(listing.train):,} videos of train held out by seed {base.train.seed}, groups "
        "whole, to choose a learning rate by"
    )
    return replace(listing, train=kept, val=held_out, how=how, notes=(), missing=frozenset())


def _at_rate(recipe: Recipe, rate: float) -> Recipe:
    return replace(recipe, optim=replace(recipe.optim, lr=rate))


def _task(study: str, variant: str, base: Recipe, config: MViTConfig) -> Task:
    declared = STUDIES[study].variants[variant]
    changed = declared.change(config)
    recipe = base if changed == config else _with_model(base, config, changed)
    if declared.train_share < 1:
        recipe = _longer(recipe, 1 / declared.train_share)
    same = recipe == base and declared.train_share == declared.object_size == 1
    return Task(study, variant, BASE if same else f"{study}-{variant}", recipe, declared, counts(changed))


def _with_model(base: Recipe, config: MViTConfig, changed: Config) -> Recipe:
    """The base's recipe with the fields of the model that are other, or with another library's model."""
    if not isinstance(changed, MViTConfig):
        sizes = {key: value for key, value in changed.to_dict().items() if key not in ("baseline", *FOLLOWING)}
        return replace(base, model=ModelRecipe(name=changed.baseline, fields=sizes))
    before, after = config.to_dict(), changed.to_dict()
    fields = {name: value for name, value in after.items() if value != before[name]}
    return replace(base, model=replace(base.model, fields=dict(base.model.fields) | fields))


def _longer(recipe: Recipe, times: float) -> Recipe:
    """So many times the epochs, warmed up, looked at and saved as often in the whole run."""
    train, optim = recipe.train, recipe.optim
    if optim.warmup_epochs is not None:
        optim = replace(optim, warmup_epochs=times * optim.warmup_epochs)
    epochs, evaluate, save = (
        round(times * number) for number in (train.epochs, train.evaluate_every, train.checkpoint_every)
    )
    train = replace(train, epochs=epochs, evaluate_every=evaluate, checkpoint_every=save)
    return replace(recipe, train=train, optim=optim)


def _require_kind(name: str, study: Study, config: MViTConfig) -> None:
    kind = "images" if config.clip[0] == 1 else "clips"
    if kind not in study.kinds:
        raise ValueError(f"the study {name} asks about time, and images have none: take videos, or another study")


def _require_alike(name: str, tasks: Sequence[Task], wanted: int) -> None:
    apart = {task.variant: task.cost.macs / wanted - 1 for task in tasks}
    worst = max(apart, key=lambda variant: abs(apart[variant]))
    if abs(apart[worst]) > ALIKE:
        raise ValueError(
            f"the study {name} compares variants of the same cost, but at this size {worst} costs {apart[worst]:+.0%}: "
            "take a larger model (--model) or clip (data.crop, data.frames)"
        )
