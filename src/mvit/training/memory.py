"""What a step takes: the recipe's ``train.memory``, and what to say where it was more than there is."""

import ctypes
import math
import sys
from collections.abc import Iterator
from dataclasses import replace

import torch

from mvit.analysis import budget
from mvit.analysis.complexity import complexity
from mvit.data.samples import counted
from mvit.model.config import MViTConfig
from mvit.model.mvit import MViT
from mvit.recipes.recipe import Recipe
from mvit.training.hardware import Hardware
from mvit.weights.build import Config

MMAP_THRESHOLD_OPTION = -3  # M_MMAP_THRESHOLD of malloc.h
LARGE_BYTES = 2**20
"""Allocations that the system makes one by one: larger than most that are not tensors."""
CROP_MULTIPLE = 32
"""Of the crops that presets have: grids that stay whole at every stage."""


def fitted(model: MViT, recipe: Recipe, hardware: Hardware) -> budget.Plan:
    """Have the model compute again what it must for ``train.memory``, and say what that is.

    Raises ``ValueError`` where it does not fit whatever is computed again.
    """
    assert recipe.train.memory is not None
    try:
        plan = budget.choose(step_of(model.config, recipe, hardware), budget.in_bytes(recipe.train.memory))
    except ValueError as why:
        raise ValueError(f"train.memory is {recipe.train.memory!r}, but {why}") from why
    model.checkpoint(plan.blocks, elementwise=plan.elementwise)
    if hardware.device.type == "cpu" and sys.platform == "linux":
        _return_what_is_freed()
    return plan


def on_each(recipe: Recipe, ranks: int) -> Recipe:
    """The recipe with the share of its batch that one of so many processes computes, in pieces of a clip or more."""
    batch = recipe.train.clips_per_step // ranks
    return replace(recipe, train=replace(recipe.train, batch=batch, accumulate=min(recipe.train.accumulate, batch)))


def step_of(config: MViTConfig, recipe: Recipe, hardware: Hardware) -> budget.Step:
    """What is in memory at once: one of the pieces in which a step computes its batch."""
    return budget.Step(
        config=config,
        clip=config.clip,
        batch=math.ceil(recipe.train.clips_per_step / recipe.train.accumulate),
        bf16=hardware.reduced,
        averaged=recipe.optim.ema_decay is not None,
    )


def is_lack_of_memory(error: BaseException) -> bool:
    """Whether torch failed for want of memory; but on a GPU it says so in words alone."""
    said = str(error)
    return isinstance(error, torch.OutOfMemoryError) or (
        isinstance(error, RuntimeError) and ("can't allocate memory" in said or "not enough memory" in said)
    )


def too_little(config: Config, recipe: Recipe, hardware: Hardware) -> str:
    """A sentence for a step that found too little memory: what it takes, and what would take how much less."""
    clips = counted(recipe.train.clips_per_step, "clip")
    if not isinstance(config, MViTConfig):
        return (
            f"memory does not suffice for a step of {config.baseline} with {clips} of "
            f"{'x'.join(map(str, config.clip))}: set train.accumulate, or take a smaller model or clip"
        )
    step = step_of(config, recipe, hardware)
    taken = _peak(step, recipe)
    changes = [f"{change} ({saved / 1e9:.3g} GB less)" for change, saved in _savings(step, recipe, taken) if saved > 0]
    advice = ", ".join([*changes, "or a smaller model"] if changes else ["a smaller model"])
    pieces = f", {step.batch} at once," if recipe.train.accumulate > 1 else ""
    return (
        f"memory does not suffice for a step with {clips} of "
        f"{'x'.join(map(str, step.clip))}{pieces} in {hardware.precision}, which by arithmetic takes {taken / 1e9:.3g} "
        f"GB of {hardware.device.type} at its peak: try {advice}; docs/memory.md has the figures"
    )


def _savings(step: budget.Step, recipe: Recipe, taken: int) -> Iterator[tuple[str, int]]:
    """Changes to a recipe, and by how many bytes each lowers the peak."""
    frames, crop, _ = step.clip
    smaller = max(CROP_MULTIPLE, round(crop * 3 / 4 / CROP_MULTIPLE) * CROP_MULTIPLE)
    least = budget.planned(step, complexity(step.config, step.clip), True, budget.every_block(step.config))
    others = {
        f"train.accumulate={2 * recipe.train.accumulate}": replace(step, batch=math.ceil(step.batch / 2)),
        "train.precision=bf16": replace(step, bf16=True),
        f"data.frames={frames // 2}": replace(step, clip=(max(frames // 2, 1), crop, crop)),
        f"data.crop={smaller}": replace(step, clip=(frames, smaller, smaller)),
    }
    if not recipe.train.compile:
        yield f"--memory {math.ceil(least.peak_bytes / 1e8) / 10:g}GB, the least", taken - least.peak_bytes
    for change, other in others.items():
        yield change, taken - _peak(other, recipe)


def _peak(step: budget.Step, recipe: Recipe) -> int:
    """The peak of a step that computes again what ``train.memory`` asks for, or all, where that does not fit."""
    counted = complexity(step.config, step.clip)
    if recipe.train.memory is None:
        return budget.planned(step, counted, False, frozenset()).peak_bytes
    try:
        return budget.choose(step, budget.in_bytes(recipe.train.memory)).peak_bytes
    except ValueError:
        return budget.planned(step, counted, True, budget.every_block(step.config)).peak_bytes


def _return_what_is_freed() -> None:
    """Have glibc give tensors back to the system when they are freed: it keeps those below 32 MiB, in growing gaps."""
    set_option = getattr(ctypes.CDLL(None), "mallopt", None)
    if set_option is not None:  # other C libraries have no such option, and no such threshold
        set_option(MMAP_THRESHOLD_OPTION, LARGE_BYTES)
