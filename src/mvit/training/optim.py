"""How the weights move: the learning rate of every step and layer, AdamW or SGD, and the average of the weights."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from mvit.data.samples import counted
from mvit.distributed import parallel
from mvit.model.mvit import MViT
from mvit.recipes.recipe import Recipe
from mvit.recipes.sections import OptimRecipe

FUSED_DEVICES = ("cpu", "cuda")
"""Where an optimiser updates all tensors in one kernel."""
FEW_STEPS = 300
"""Below this a model from scratch has hardly left its initial weights."""


def learning_rate(step: int, *, steps: int, warmup_steps: int, start: float, peak: float, floor: float) -> float:
    """The rate of a step, from 0 on: a line from ``start`` to ``peak``, then half a cosine, at ``floor`` at ``steps``.

    The schedule of the paper (appendix D.1: 1.6e-5 to 1.6e-3 in 30 of 200 epochs, and back).
    """
    if step < warmup_steps:
        return start + (peak - start) * step / warmup_steps
    progress = (step - warmup_steps) / (steps - warmup_steps)
    return floor + (peak - floor) * (1 + math.cos(math.pi * progress)) / 2


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """A recipe's numbers for a data set of known size."""

    epochs: int
    steps_per_epoch: int
    warmup_steps: int
    start: float
    """Where the warm-up starts."""
    peak: float
    floor: float
    """Where the cosine ends."""
    batch: int

    @property
    def steps(self) -> int:
        """Steps of the whole run."""
        return self.epochs * self.steps_per_epoch

    def rate(self, step: int) -> float:
        """The learning rate of a step, counted from 0 over the whole run."""
        rates = {"start": self.start, "peak": self.peak, "floor": self.floor}
        return learning_rate(step, steps=self.steps, warmup_steps=self.warmup_steps, **rates)

    def __str__(self) -> str:
        return (
            f"{counted(self.epochs, 'epoch')} of {counted(self.steps_per_epoch, 'step')} ({self.steps:,} in all), "
            f"{counted(self.batch, 'clip')} a step, learning rate {self.peak:.3g} after "
            f"{counted(self.warmup_steps, 'step')} of warm-up, down to {self.floor:.3g}"
        )

    def remarks(self) -> list[str]:
        """What is likely to disappoint, in sentences."""
        if self.steps >= FEW_STEPS:
            return []
        return [
            f"{counted(self.steps, 'step is', 'steps are')} few for a model that starts from "
            "scratch: raise train.epochs or lower train.batch, or start from model.weights"
        ]


def schedule(recipe: Recipe, steps_per_epoch: int) -> Schedule:
    """The recipe's learning rates scaled to its batch, and its warm-up in steps."""
    optim = recipe.optim
    peak = optim.lr * recipe.train.clips_per_step / optim.reference_batch
    floor = peak * optim.min_lr_ratio
    steps = recipe.train.epochs * steps_per_epoch
    warmup = optim.warmup_fraction * steps if optim.warmup_epochs is None else optim.warmup_epochs * steps_per_epoch
    return Schedule(
        epochs=recipe.train.epochs,
        steps_per_epoch=steps_per_epoch,
        warmup_steps=min(round(warmup), steps - 1),
        start=floor
        if optim.warmup_lr is None
        else optim.warmup_lr * recipe.train.clips_per_step / optim.reference_batch,
        peak=peak,
        floor=floor,
        batch=recipe.train.clips_per_step,
    )


def parameter_groups(model: nn.Module, weight_decay: float, layer_decay: float = 1.0) -> list[dict[str, Any]]:
    """Groups for the optimiser: biases and vectors are not decayed, all else is; each layer has its share of the rate.

    Position tables and the class token are decayed, as in the official code (ZERO_DECAY_POS_CLS is off). ``lr_share``
    is ``layer_decay`` to the power of the layers that follow: the stem with the positions is the first, then come the
    blocks, and last the final norm and the head together (SlowFast's LAYER_DECAY, from BEiT, arXiv 2106.08254). What is
    frozen is in no group.
    """
    groups: dict[tuple[int, bool], list[Tensor]] = {}
    after = len(model.blocks) + 1 if isinstance(model, MViT) else 0
    assert after or layer_decay == 1, "layers are counted in MViT alone"
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            layer = _layer(name, last=after) if layer_decay < 1 else after
            free = parameter.ndim <= 1 or name.endswith("bias")
            groups.setdefault((layer, free), []).append(parameter)
    return [
        {
            "params": parameters,
            "weight_decay": 0.0 if free else weight_decay,
            "lr_share": layer_decay ** (after - layer),
        }
        for (layer, free), parameters in sorted(groups.items(), key=lambda group: group[0])
    ]


def _layer(name: str, last: int) -> int:
    part, _, rest = name.partition(".")
    if part == "blocks":
        return int(rest.partition(".")[0]) + 1
    return last if part in ("norm", "head") else 0


def optimizer(model: nn.Module, recipe: OptimRecipe) -> torch.optim.Optimizer:
    """The recipe's AdamW, or SGD with Nesterov momentum; ``set_rate`` gives it its learning rate at each step."""
    groups = parameter_groups(model, recipe.weight_decay, recipe.layer_decay)
    fused = next(model.parameters()).device.type in FUSED_DEVICES
    if recipe.name == "sgd":
        return torch.optim.SGD(groups, lr=recipe.lr, momentum=recipe.momentum, nesterov=True, fused=fused)
    return torch.optim.AdamW(groups, lr=recipe.lr, betas=recipe.betas, fused=fused)


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Give every group its share of a learning rate."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group["lr_share"]


def average_decay(updates: int, decay: float) -> float:
    """The decay after so many updates: short at first, so that the initial weights are soon forgotten."""
    return min(decay, (1 + updates) / (10 + updates))


def weight_average(model: nn.Module, decay: float) -> AveragedModel:
    """An exponential moving average of a model's weights, ``.module`` of what is returned."""

    def update(averaged: Any, current: Any, updates: Tensor | int) -> None:
        get_ema_multi_avg_fn(average_decay(int(updates), decay))(averaged, current, updates)

    return AveragedModel(model, multi_avg_fn=update, use_buffers=True)


# ---- as tensors by name, for a checkpoint ---------------------------------------------------------------------------


def state_tensors(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The optimiser's state as ``<parameter>.<what>``: tensors only."""
    names: dict[Tensor, str] = {parameter: name for name, parameter in model.named_parameters()}
    return {
        f"{names[parameter]}.{what}": value
        for parameter, state in optimizer.state.items()
        for what, value in state.items()
    }


def load_state_tensors(model: nn.Module, optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Give an optimiser over the same parameters the state of ``state_tensors``."""
    parameters = dict(model.named_parameters())
    names: dict[Tensor, str] = {parameter: name for name, parameter in parameters.items()}
    order = [names[parameter] for group in optimizer.param_groups for parameter in group["params"]]
    places = {name: place for place, name in enumerate(order)}
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        parameter, _, what = name.rpartition(".")
        state.setdefault(places[parameter], {})[what] = parallel.placed(tensor, parameters[parameter])
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
