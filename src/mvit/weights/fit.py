"""Fitting tensors to a model: positions of another size, other classes, and images' weights in a model for clips."""

from collections.abc import Mapping
from typing import Literal, get_args

import torch
from torch import Tensor

from mvit.model.config import Triple
from mvit.model.mvit import MViT
from mvit.model.positions import resized
from mvit.model.relative import resized_rows
from mvit.weights.read import CheckpointError, LoadingReport, difference

Inflation = Literal["centre", "repeat", "mean"]
"""What a kernel over space becomes over time: its weight in the centre frame and zero in the others (MViTv2, section
5.2), in every frame (facebookresearch/SlowFast, CHECKPOINT_IN_INIT), or in every frame divided by their number
(CHECKPOINT_INFLATE)."""


def check_inflation(inflate: str | None) -> None:
    """Raise ``ValueError`` for a word that says nothing about what becomes of kernels over time."""
    if inflate is not None and inflate not in get_args(Inflation):
        raise ValueError(f"inflate is {inflate!r}: choose one of {', '.join(get_args(Inflation))}")


def fit(
    model: MViT, state: Mapping[str, Tensor], report: LoadingReport, inflate: Inflation | None = None
) -> LoadingReport:
    """Load tensors into a model; positions of another size are interpolated, a head of other classes is left new.

    ``inflate`` says what becomes of an image model's kernels in a model for clips; what images have no weights for
    (time, often the class token) is left new as well. Everything else must match to the name and shape: raises
    ``CheckpointError`` naming what does not.
    """
    check_inflation(inflate)
    wanted = model.state_dict()
    state = dict(state)
    if inflate is not None:
        _separate(state, wanted, report)
    missing = sorted(set(wanted) - set(state))
    new = [name for name in missing if inflate is not None and _only_in_clips(name)]
    report.reinitialised.extend(f"{name} (images have none)" for name in new)
    missing = [name for name in missing if name not in new]
    extra = sorted(set(state) - set(wanted))
    if missing or extra:
        raise CheckpointError(f"{report.source} does not fit the model: {difference(missing, extra)}")
    fitted: dict[str, Tensor] = {}
    for name, tensor in state.items():
        target = wanted[name]
        if tensor.shape == target.shape:
            fitted[name] = tensor
        elif name.startswith("head.") and tensor.shape[1:] == target.shape[1:]:
            report.reinitialised.append(f"{name} ({tensor.shape[0]} to {target.shape[0]} classes)")
        elif name.startswith("positions.") and _alike(tensor, target, axis=1):
            fitted[name] = _resized_table(name, tensor, model, report)
            report.resized.append(f"{name} ({tensor.shape[1]} to {target.shape[1]} positions)")
        elif ".attn.relative." in name and _alike(tensor, target, axis=0):
            fitted[name] = resized_rows(tensor, target.shape[0])
            report.resized.append(f"{name} ({tensor.shape[0]} to {target.shape[0]} rows)")
        elif tensor.ndim == 5 and tensor.shape[2] == 1 and _alike(tensor, target, axis=2):
            fitted[name] = _inflated(name, tensor, target.shape[2], report, inflate)
        else:
            raise CheckpointError(
                f"{report.source} does not fit the model: {name} is {tuple(tensor.shape)}, "
                f"the model's is {tuple(target.shape)}"
            )
    model.load_state_dict(fitted, strict=False)
    report.loaded = sorted(fitted)
    return report


def _alike(tensor: Tensor, target: Tensor, *, axis: int) -> bool:
    """Whether shapes differ along one axis only, and neither is empty there."""
    if tensor.ndim != target.ndim or tensor.shape[axis] == 0:
        return False
    return all(axis == i or n == m for i, (n, m) in enumerate(zip(tensor.shape, target.shape, strict=True)))


def _only_in_clips(name: str) -> bool:
    return name in ("class_token", "positions.class_position", "positions.temporal") or name.endswith(".relative.time")


def _separate(state: dict[str, Tensor], wanted: Mapping[str, Tensor], report: LoadingReport) -> None:
    """Take an image's joint table apart into space and the class token's place, if that is what the model has."""
    if "positions.joint" not in state or "positions.spatial" not in wanted:
        return
    joint = state.pop("positions.joint")
    own = int("class_token" in state)
    state["positions.spatial"] = joint[:, own:]
    if own:
        state["positions.class_position"] = joint[:, :own]
    if "positions.temporal" in wanted:  # every frame starts from the image's positions
        state["positions.temporal"] = torch.zeros_like(wanted["positions.temporal"])
    report.resized.append("positions.joint (taken apart; those in time start at zero)")


def _inflated(name: str, kernel: Tensor, frames: int, report: LoadingReport, inflate: Inflation | None) -> Tensor:
    if inflate is None:
        raise CheckpointError(
            f"{report.source} is made for images: {name} spans 1 frame, the model's {frames}; "
            f"say what becomes of it over time with inflate={' or '.join(map(repr, get_args(Inflation)))}"
        )
    report.resized.append(f"{name} (1 to {frames} frames, {inflate})")
    repeated = kernel.repeat(1, 1, frames, 1, 1)
    if inflate == "mean":
        return repeated / frames
    if inflate == "centre":
        others = torch.arange(frames) != frames // 2
        repeated[:, :, others] = 0
    return repeated


def _resized_table(name: str, table: Tensor, model: MViT, report: LoadingReport) -> Tensor:
    """A table of absolute positions for the model's own grid; where the file's is unknown, frames are square."""
    t, h, w = model.positions.grid
    count = table.shape[1]
    if name == "positions.temporal":
        return resized(table, (count, 1, 1), (t, 1, 1))
    own = model.positions.class_tokens if name == "positions.joint" else 0
    old = _grid_of(name, count - own, report)
    if name == "positions.spatial":
        return resized(table, (1, *old[1:]), (1, h, w))
    return torch.cat([table[:, :own], resized(table[:, own:], old, (t, h, w))], dim=1)


def _grid_of(name: str, places: int, report: LoadingReport) -> Triple:
    """The grid that a table of so many places is of: the file's if that is known, else a square of one frame."""
    if report.grid is not None:
        t, h, w = report.grid
        if (h * w if name == "positions.spatial" else t * h * w) == places:
            return report.grid
    side = round(places**0.5)
    if side * side != places:
        raise CheckpointError(
            f"{report.source} has {places} positions in {name}, which are not a square of one frame: "
            "make the model with the clip they were trained at"
        )
    return (1, side, side)
