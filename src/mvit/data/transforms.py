"""Training-time augmentation of a clip: one draw for all its frames, uint8 in, uint8 out, on any device.

What is drawn is apart from what is computed, so that a process may draw and another, or a GPU, compute.
T frames, H rows, W columns, S the side of the crop.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
import torchvision.transforms.v2.functional as F
from torch import Tensor
from torchvision.transforms import InterpolationMode

from mvit.data import operations, randaugment
from mvit.data.augmentation import Augmentation
from mvit.data.operations import Window
from mvit.data.randaugment import Operation

ERASED_AREA = (0.02, 1 / 3)  # of the crop; with the shape, as SlowFast and timm erase
ERASED_SHAPE = (0.3, 1 / 0.3)  # width over height


@dataclass(frozen=True, kw_only=True)
class Drawing:
    """All that was drawn for one clip: the same frames with the same drawing give the same clip anywhere."""

    crop: int
    window: Window  # the part of the frame that becomes the crop
    flipped: bool
    light: tuple[float, float, float] | None  # brightness, contrast and degrees
    saturation: float
    operations: tuple[Operation, ...]
    erased: Window | None  # of the crop
    noise: int | None  # the seed of what the box is erased to; None: the mean
    order: int | None = None  # the seed of the order of frames; None: as they are


def draw(size: tuple[int, int], crop: int, augmentation: Augmentation, flip: bool, rng: np.random.Generator) -> Drawing:
    """Draw everything for frames of a size (height, width); they are flipped in half of the cases if `flip` allows.

    What is off draws nothing, so that what is on stays as it was.
    """
    if augmentation.jitter is None:
        window = random_crop(*size, augmentation, rng)
    else:
        window = jittered_crop(*size, crop, augmentation.jitter, rng)
    flipped = bool(flip and rng.random() < 0.5)
    light, saturation, erased, noise = None, 1.0, None, None
    if augmentation.brightness or augmentation.contrast or augmentation.rotation_degrees:
        light = (
            rng.uniform(1 - augmentation.brightness, 1 + augmentation.brightness),
            rng.uniform(1 - augmentation.contrast, 1 + augmentation.contrast),
            rng.uniform(-augmentation.rotation_degrees, augmentation.rotation_degrees),
        )
    if augmentation.saturation:
        saturation = rng.uniform(1 - augmentation.saturation, 1 + augmentation.saturation)
    drawn = randaugment.draw(randaugment.parse(augmentation.randaugment), rng) if augmentation.randaugment else ()
    if augmentation.erasing and rng.random() < augmentation.erasing:
        erased = _box(crop, crop, ERASED_AREA, ERASED_SHAPE, rng)
        noise = int(rng.integers(2**63)) if augmentation.erasing_mode == "pixel" else None
    # Last, so that a shuffled clip is in all else the clip that it is when its order is kept.
    order = int(rng.integers(2**63)) if augmentation.order == "shuffled" else None
    return Drawing(
        crop=crop,
        window=window,
        flipped=flipped,
        light=light,
        saturation=saturation,
        operations=tuple(drawn),
        erased=erased,
        noise=noise,
        order=order,
    )


def apply(frames: Tensor, drawing: Drawing, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """The clip that was drawn, from uint8 (T, H, W, 3) on any device: uint8 (3, T, S, S).

    Frames are put in the order drawn; then as SlowFast has it: RandAugment on the whole frames, crop, flip, erasing.
    `mean` and `std` (0 to 1) are those of the noise that is erased to.
    """
    if drawing.order is not None:
        frames = frames[torch.from_numpy(np.random.default_rng(drawing.order).permutation(len(frames)))]
    clip = frames.permute(0, 3, 1, 2)  # (T, H, W, 3) -> (T, 3, H, W), a view: channels last is faster
    clip = operations.apply(clip, drawing.operations, drawing.window)
    clip = F.resize(clip, [drawing.crop, drawing.crop], antialias=True)
    if drawing.flipped:
        clip = F.horizontal_flip(clip)
    if drawing.light is not None:
        clip = _light_and_rotation(clip, *drawing.light)
    if drawing.saturation != 1:
        clip = operations.color(clip, drawing.saturation)
    result = clip.transpose(0, 1).contiguous()
    if drawing.erased is not None:
        box = operations.cut(result, drawing.erased)
        box.copy_(_erased(tuple(box.shape), drawing.noise, tuple(mean), tuple(std)))
    return result


def random_crop(height: int, width: int, augmentation: Augmentation, rng: np.random.Generator) -> Window:
    """Draw the crop of the Inception papers as (top, left, rows, columns): area uniform, aspect ratio log-uniform.

    After ten draws that do not fit, it is the largest central crop whose ratio is allowed.
    """
    low, high = augmentation.ratio
    box = _box(height, width, augmentation.scale, (low, high), rng)
    if box is not None:
        return box
    columns, rows = min(width, max(1, round(height * high))), min(height, max(1, round(width / low)))
    return (height - rows) // 2, (width - columns) // 2, rows, columns


def jittered_crop(height: int, width: int, crop: int, sides: tuple[int, int], rng: np.random.Generator) -> Window:
    """Draw SlowFast's crop: the frame is scaled to a short side drawn from `sides`, and any square of S taken from it.

    It is cut before it is scaled, which is quicker, and so begins and ends at whole pixels of the frame.
    """
    side = max(1, round(crop * min(height, width) / int(rng.integers(sides[0], sides[1] + 1))))
    side = min(side, height, width)
    return int(rng.integers(height - side + 1)), int(rng.integers(width - side + 1)), side, side


def _box(
    height: int, width: int, share: tuple[float, float], ratio: tuple[float, float], rng: np.random.Generator
) -> Window | None:
    for _ in range(10):
        area = height * width * rng.uniform(*share)
        shape = math.exp(rng.uniform(math.log(ratio[0]), math.log(ratio[1])))
        columns, rows = round(math.sqrt(area * shape)), round(math.sqrt(area / shape))
        if 0 < columns <= width and 0 < rows <= height:
            return int(rng.integers(height - rows + 1)), int(rng.integers(width - columns + 1)), rows, columns
    return None


def _light_and_rotation(frames: Tensor, brightness: float, contrast: float, degrees: float) -> Tensor:
    values = frames.float()
    mean = float(values.mean())
    values.mul_(brightness * contrast).add_(mean * brightness * (1 - contrast))
    if degrees:
        values = F.rotate(values, degrees, interpolation=InterpolationMode.BILINEAR)
    return values.round_().clamp_(0, 255).to(torch.uint8)


@cache
def _normal_levels(mean: tuple[float, ...], std: tuple[float, ...]) -> np.ndarray:
    """For each channel the levels of 65,536 equally likely values of a normal distribution: uint8 (3, 65536)."""
    shares = (torch.arange(65536, dtype=torch.float64) + 0.5) / 65536
    levels = torch.tensor(mean)[:, None] + torch.tensor(std)[:, None] * torch.special.ndtri(shares)
    return levels.mul_(255).round_().clamp_(0, 255).to(torch.uint8).numpy()


def _erased(shape: tuple[int, ...], noise: int | None, mean: tuple[float, ...], std: tuple[float, ...]) -> Tensor:
    """What a box (3, T, rows, columns) is erased to: what is normal noise, or zero, after clips are normalised."""
    if noise is None:
        return torch.tensor(mean).mul_(255).round_().clamp_(0, 255).to(torch.uint8).view(3, 1, 1, 1)
    drawn = np.random.default_rng(noise).integers(65536, size=shape, dtype=np.uint16)
    return torch.from_numpy(
        np.stack([levels[plane] for levels, plane in zip(_normal_levels(mean, std), drawn, strict=True)])
    )
