"""Mixup and cutmix: each clip of a batch shares its pixels and its label with the clip opposite, first with last.

B batch, T frames, H rows, W columns, K classes. Source: timm, data/mixup.py (mode "batch"); mixup, arXiv 1710.09412;
cutmix, arXiv 1905.04899.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from mvit.recipes.sections import OptimRecipe

Box = tuple[int, int, int, int]  # top, bottom, left, right

_KEY = 0x6D6978  # sets these draws apart from those of a sample's clips, which have the same first numbers


@dataclass(frozen=True)
class Mix:
    """How a batch is mixed: the share that a clip keeps of its label, and the box that is not its own, or all of it."""

    share: float = 1.0
    box: Box | None = None


UNMIXED = Mix()


def draw(recipe: OptimRecipe, height: int, width: int, key: tuple[int, int, int]) -> Mix:
    """The mix of one batch, from (seed, epoch, batch) alone: mixup or cutmix by the odds of ``cutmix_odds``."""
    if not recipe.mixup and not recipe.cutmix:
        return UNMIXED
    rng = np.random.default_rng((*key, _KEY))
    odds = recipe.cutmix_odds if recipe.mixup and recipe.cutmix else float(not recipe.mixup)
    if rng.random() >= odds:
        return Mix(float(rng.beta(recipe.mixup, recipe.mixup)))
    share = float(rng.beta(recipe.cutmix, recipe.cutmix))
    top, bottom, left, right = box = cut(height, width, share, int(rng.integers(height)), int(rng.integers(width)))
    return Mix(1.0 - (bottom - top) * (right - left) / float(height * width), box)


def cut(height: int, width: int, share: float, y: int, x: int) -> Box:
    """The box about (y, x) that leaves ``share`` of a frame in its shape, less what lies outside the frame."""
    rows, columns = (int(side * np.sqrt(1 - share)) for side in (height, width))
    top, left = max(y - rows // 2, 0), max(x - columns // 2, 0)
    return top, min(y + (rows + 1) // 2, height), left, min(x + (columns + 1) // 2, width)


def mixed(clips: Tensor, opposite: Tensor, mix: Mix) -> Tensor:
    """Clips (B, 3, T, H, W) with their opposites: blended, or with the same box of all frames cut from them."""
    if mix.share == 1.0:
        return clips
    if mix.box is None:
        return torch.lerp(opposite, clips, mix.share)
    top, bottom, left, right = mix.box
    result = clips.clone()
    result[..., top:bottom, left:right] = opposite[..., top:bottom, left:right]
    return result


def targets(labels: Tensor, opposite: Tensor, classes: int, mix: Mix, smoothing: float) -> Tensor:
    """What the labels (B,) of clips and of their opposites become: (B, K), ``smoothing`` spread over all classes.

    Of labels (B, K), for clips of several classes, it is spread over being of a class and not being of it: 0 and 1 move
    towards a half. Source: timm, loss/binary_cross_entropy.py (``smooth_dense``).
    """
    own, other = (_smoothed(each, classes, smoothing) for each in (labels, opposite))
    return own * mix.share + other * (1.0 - mix.share)


def loss(logits: Tensor, labels: Tensor, opposite: Tensor, mix: Mix, smoothing: float) -> Tensor:
    """Mean cross-entropy of logits (B, K) with ``targets``; of labels (B, K) the binary one, over all classes."""
    if labels.ndim == 2:
        return F.binary_cross_entropy_with_logits(logits, targets(labels, opposite, logits.shape[1], mix, smoothing))
    if mix.share == 1.0:
        return F.cross_entropy(logits, labels, label_smoothing=smoothing)
    return F.cross_entropy(logits, targets(labels, opposite, logits.shape[1], mix, smoothing))


def right(logits: Tensor, labels: Tensor) -> Tensor:
    """How many clips have their highest logit in their class (B,), or in one of their classes (B, K)."""
    best = logits.argmax(dim=1)
    return (best == labels).sum() if labels.ndim == 1 else labels.gather(1, best[:, None]).sum()


def _smoothed(labels: Tensor, classes: int, smoothing: float) -> Tensor:
    if labels.ndim == 1:
        return F.one_hot(labels, classes) * (1.0 - smoothing) + smoothing / classes
    return labels * (1.0 - smoothing) + smoothing / 2
