"""The recipe's ``train.memory``: what the model computes again so that a step fits."""

import ctypes
import sys

from mvit.analysis import budget
from mvit.model.mvit import MViT
from mvit.training.hardware import Hardware
from mvit.training.recipe import Recipe

MMAP_THRESHOLD_OPTION = -3  # M_MMAP_THRESHOLD of malloc.h
LARGE_BYTES = 2**20
"""Allocations that the system makes one by one: larger than most that are not tensors."""


def fitted(model: MViT, recipe: Recipe, hardware: Hardware) -> budget.Plan:
    """Have the model compute again what it must for ``train.memory``, and say what that is.

    Raises ``ValueError`` where it does not fit whatever is computed again.
    """
    assert recipe.train.memory is not None
    step = budget.Step(
        config=model.config,
        clip=model.config.clip,
        batch=recipe.train.batch,
        bf16=hardware.reduced,
        averaged=recipe.optim.ema_decay is not None,
    )
    try:
        plan = budget.choose(step, budget.in_bytes(recipe.train.memory))
    except ValueError as why:
        raise ValueError(f"train.memory is {recipe.train.memory!r}, but {why}") from why
    model.checkpoint(plan.blocks, elementwise=plan.elementwise)
    if hardware.device.type == "cpu" and sys.platform == "linux":
        _return_what_is_freed()
    return plan


def _return_what_is_freed() -> None:
    """Have glibc give tensors back to the system when they are freed: it keeps those below 32 MiB, in growing gaps."""
    set_option = getattr(ctypes.CDLL(None), "mallopt", None)
    if set_option is not None:  # other C libraries have no such option, and no such threshold
        set_option(MMAP_THRESHOLD_OPTION, LARGE_BYTES)
