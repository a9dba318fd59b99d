"""What there is to do for studies: every variant with every seed, each in a run folder of its own.

Its runs may start from those of another sweep, on other videos, and each variant may first try some learning rates on
videos held out of train: those are sweeps too, carried out before. Nothing is kept but run folders, the recipe and the
settings that it was begun with: what stands is what is done.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Self

from mvit.analysis.complexity import Counts
from mvit.data import demo
from mvit.data.dataset import Listing, find
from mvit.data.samples import medium_of, named
from mvit.data.splits import split, thinned
from mvit.evaluation.evaluate import RESULT_FILE
from mvit.recipes.recipe import Recipe
from mvit.studies.ablations import STUDIES, Variant
from mvit.training.run import Run

RECIPE, SETTINGS = "recipe.toml", "sweep.json"
PRETRAINING, TUNING = "pretraining", "tuning"
"""Folders of the runs that others start from, and of those by which learning rates are chosen."""
BASE = "base"
"""What the runs of variants are called that are the base itself, which studies share."""

Echo = Callable[[str], None]
Measure = Literal["time", "memory"]
"""Of a training step: what sizes are matched by, if not by multiply-adds."""


@dataclass(frozen=True)
class Matching:
    """By what variants are matched that have a size to find, and what came of the search."""

    by: Measure
    shares: Mapping[str, float] = field(default_factory=dict)
    """By the names of runs: how many times the base's multiply-adds a variant has to take as much as its reference."""
    tried: Mapping[str, Sequence[tuple[float, float]]] = field(default_factory=dict)
    """By the names of runs: each share that was tried, and what it took over the reference's."""


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
    """All runs of some studies; made by ``planning.planned``."""

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
    matching: Matching | None = None
    """None: all cost alike."""

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

    def reference(self, task: Task) -> Task:
        """The variant with which another of its study is compared."""
        study = STUDIES[task.study]
        return next(each for each in self.tasks if (each.study, each.variant) == (task.study, study.reference))

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
        matching = json.loads(json.dumps(asdict(self.matching))) if self.matching else None
        return {"pretrain": data, "rates": list(self.rates), "match": matching}


def settings_of(folder: Path) -> dict[str, Any]:
    """The settings that the sweep in a folder was begun with; empty where there are none."""
    file = folder / SETTINGS
    return dict(json.loads(file.read_text(encoding="utf-8"))) if file.is_file() else {}


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
