"""``train.batch = "auto"``: the largest batch, by powers of two, of which a step fits into memory."""

import gc
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import takewhile
from pathlib import Path

import torch

from mvit.analysis import budget
from mvit.analysis.complexity import complexity
from mvit.data import resources
from mvit.data.capacity import USED_SHARE
from mvit.data.clips import Batch
from mvit.data.samples import counted
from mvit.model.config import MViTConfig
from mvit.model.mvit import MViT
from mvit.recipes import recipe as recipes
from mvit.recipes.recipe import Recipe
from mvit.training.hardware import Hardware
from mvit.training.learner import learner
from mvit.training.memory import is_lack_of_memory, step_of

MOST_CLIPS = 512
"""The paper's batch: what is known of learning rates ends here."""
LEAST_STEPS = 8
"""Of an epoch: few videos in a large batch are few steps, and nothing learned."""
PROBED_STEPS = 2
"""The first has no optimiser state beside its activations yet."""


def as_begun(recipe: Recipe, begun_with: Path) -> Recipe:
    """The batch that a run was begun with, where the recipe leaves it open."""
    if recipe.train.batch != "auto" or not begun_with.is_file():
        return recipe
    return replace(recipe, train=replace(recipe.train, batch=recipes.load(begun_with).train.batch))


def resolved(
    recipe: Recipe, config: MViTConfig, videos: int, hardware: Hardware, echo: Callable[[str], None], ranks: int = 1
) -> Recipe:
    """The recipe with its batch as a number, and that number and its reason said; as it is where it has one.

    Each of so many ``ranks`` takes as much as fits, and the batch is that of all. On a GPU, steps are tried; elsewhere,
    and within ``train.memory``, they are reckoned. Raises ``ValueError`` where the smallest batch does not fit.
    """
    if recipe.train.batch != "auto":
        return recipe
    smallest = recipe.augment.copies * recipe.train.accumulate
    most = max(smallest, min(MOST_CLIPS, videos * recipe.augment.copies // LEAST_STEPS) // ranks)
    sizes = takewhile(lambda size: size <= most, (smallest * 2**power for power in range(MOST_CLIPS.bit_length())))
    candidates = [replace(recipe, train=replace(recipe.train, batch=size)) for size in sizes]
    if recipe.train.memory is None and hardware.device.type == "cuda":
        fits, where = _tried, torch.cuda.get_device_name(hardware.device)
    else:
        limit = _limit(recipe)
        fits, where = partial(_reckoned, limit=limit), f"{limit / 1e9:.3g} GB"
    fitting = list(takewhile(lambda candidate: fits(candidate, config, hardware), candidates))
    if not fitting:
        raise ValueError(
            f"not even a step with {counted(smallest, 'clip')} of {'x'.join(map(str, config.clip))} fits into {where}: "
            "take fewer frames (data.frames), a smaller crop (data.crop) or a smaller model (--model)"
        )
    chosen = fitting[-1]
    if len(fitting) < len(candidates):
        reason = f"the largest by powers of two of which a step fits into {where}"
    elif most < MOST_CLIPS // ranks:
        reason = f"more would fit into {where}, but an epoch of {videos} videos is to have {LEAST_STEPS} steps or more"
    else:
        reason = f"more would fit into {where}, but no more than {MOST_CLIPS} are taken unasked"
    whole = chosen.train.clips_per_step * ranks
    each = f", {chosen.train.batch} on each of {ranks} processes" if ranks > 1 else ""
    echo(f"train.batch is {whole}{each}: {reason}")
    return replace(chosen, train=replace(chosen.train, batch=whole))


def _limit(recipe: Recipe) -> int:
    """Bytes that a step may take."""
    if recipe.train.memory is not None:
        return budget.in_bytes(recipe.train.memory)
    free = resources.available_memory()
    if free is None:
        raise ValueError(
            'train.batch is "auto", but this system does not say how much memory is free: give --memory, or a number'
        )
    return int(USED_SHARE * free)


def _reckoned(recipe: Recipe, config: MViTConfig, hardware: Hardware, *, limit: int) -> bool:
    """Whether a step fits by arithmetic, with as much computed again as ``train.memory`` may ask for."""
    step = step_of(config, recipe, hardware)
    if recipe.train.memory is None:
        return budget.planned(step, complexity(config, config.clip), False, frozenset()).peak_bytes <= limit
    try:
        budget.choose(step, limit)
    except ValueError:
        return False
    return True


def _tried(recipe: Recipe, config: MViTConfig, hardware: Hardware) -> bool:
    """Whether steps of a model that is thrown away afterwards find memory, and leave a part of it free."""
    size, device = recipe.train.clips_per_step, hardware.device
    try:
        free = torch.cuda.mem_get_info(device)[0]
        torch.cuda.reset_peak_memory_stats(device)
        pupil = learner(
            *(MViT(config), recipe.optim, hardware, recipe.data.preprocessing()), accumulate=recipe.train.accumulate
        )
        batch = Batch(torch.zeros(size, 3, *config.clip, dtype=torch.uint8), torch.zeros(size, dtype=torch.int64), [])
        for _ in range(PROBED_STEPS):
            pupil.step(batch, 0.0)
        return torch.cuda.max_memory_reserved(device) <= USED_SHARE * free
    except RuntimeError as why:
        if not is_lack_of_memory(why):
            raise
        return False
    finally:
        pupil = batch = None
        gc.collect()
        torch.cuda.empty_cache()
