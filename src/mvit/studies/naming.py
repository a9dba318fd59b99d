"""What runs of variants are called: variants that learn the same from the same have one name, and one run a seed."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from mvit.recipes import recipe as recipes
from mvit.recipes.recipe import Recipe
from mvit.studies.ablations import STUDIES, Variant
from mvit.studies.sweep import BASE, RECIPE, Task
from mvit.training.run import MACHINE_KEYS

OF_A_RUN = ("train.seed", "optim.lr", "model.weights")
"""What a run of a variant may have of its own: a seed, the best of some rates, and a run to start from."""


def own(study: str, variant: str) -> str:
    """STUDY-VARIANT; of one whose size is found, that of the first variant which is found alike."""
    size = STUDIES[study].variants[variant].size
    if size is None:
        return f"{study}-{variant}"
    return next(name for name, declared in _declared().items() if declared.size is size)


def shared(tasks: Sequence[Task], folder: Path, *, searched: bool = False) -> list[Task]:
    """The variants, by one name where they learn alike: one that has runs in the folder, or the first in the table.

    While sizes are ``searched``, those that have one to find keep ``own`` names.
    """
    places = {name: place for place, name in enumerate((BASE, *_declared()))}
    standing = _standing(folder)

    def named(task: Task) -> Task:
        names = {other.name for other in tasks if _learn_alike(task, other)}
        names |= {name for name, found in standing.items() if _is_of(task, *found)}
        return replace(task, name=min(names, key=lambda name: (name != BASE, name not in standing, places[name])))

    return [task if searched and task.declared.size else named(task) for task in tasks]


def _standing(folder: Path) -> Mapping[str, tuple[Variant, Recipe]]:
    """By the names of variants that have a run in a folder: what they are, and the recipe of one of their runs."""
    begun = {
        match[1]: path
        for path in sorted(folder.glob(f"*/{RECIPE}"))
        if (match := re.fullmatch(r"(.+)-\d+", path.parent.name))
    }
    return {name: (declared, recipes.load(begun[name])) for name, declared in _declared().items() if name in begun}


def _declared() -> dict[str, Variant]:
    """Every variant by STUDY-VARIANT, in the order of the table."""
    return {
        f"{study}-{variant}": declared
        for study, known in STUDIES.items()
        for variant, declared in known.variants.items()
    }


def _is_of(task: Task, declared: Variant, recipe: Recipe) -> bool:
    if not _same_videos(task.declared, declared):
        return False
    other = recipes.differences(recipe, task.recipe)
    return all(line.startswith((*OF_A_RUN, *MACHINE_KEYS)) for line in other)


def _learn_alike(one: Task, other: Task) -> bool:
    return one.recipe == other.recipe and _same_videos(one.declared, other.declared)


def _same_videos(one: Variant, other: Variant) -> bool:
    return (one.train_share, one.object_size) == (other.train_share, other.object_size)
