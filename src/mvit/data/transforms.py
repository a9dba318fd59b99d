"""Training-time augmentation of a clip: one draw for all its frames, uint8 in, uint8 out.

Shapes: T frames, H rows, W columns, S the side of the crop.
"""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
import torchvision.transforms.v2.functional as F
from torch import Tensor
from torchvision.transforms import InterpolationMode


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """What is drawn anew for each clip: its part of the video, the crop, a flip, and (0 = off) light and rotation."""

    duration: tuple[float, float] = (1.0, 1.0)  # segments: the part they are cut from, as a share of the video
    scale: tuple[float, float] = (0.08, 1.0)  # area of the crop, as a share of the frame's
    ratio: tuple[float, float] = (3 / 4, 4 / 3)  # width over height
    flip: Literal["auto", "on", "off"] = "auto"  # left to right; "auto" leaves it to the names of the classes
    brightness: float = 0.0  # factor drawn from [1 - brightness, 1 + brightness]
    contrast: float = 0.0  # the same, about the mean of the clip
    rotation_degrees: float = 0.0  # angle drawn from [-rotation_degrees, rotation_degrees]; corners become black

    def __post_init__(self) -> None:
        for name in ("duration", "scale", "ratio"):
            low, high = getattr(self, name)
            share = name != "ratio"
            if not 0 < low <= high or (share and high > 1):
                allowed = "in (0, 1]" if share else "above 0"
                raise ValueError(f"augment.{name} is {(low, high)}, but must be two rising numbers {allowed}")
        if self.flip not in ("auto", "on", "off"):
            raise ValueError(f"augment.flip is {self.flip!r}, but must be 'auto', 'on' or 'off'")
        for name in ("brightness", "contrast"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"augment.{name} is {getattr(self, name)}, but must lie between 0 and 1")
        if not 0 <= self.rotation_degrees <= 180:
            raise ValueError(f"augment.rotation_degrees is {self.rotation_degrees}, but must lie between 0 and 180")


def augment(
    clip: np.ndarray, crop: int, augmentation: Augmentation, flip: bool, rng: np.random.Generator
) -> tuple[Tensor, bool]:
    """Cut a random part out of a clip, bring it to `crop` x `crop`, and flip it in half of the cases if `flip` allows.

    Takes uint8 (T, H, W, 3), gives uint8 (3, T, S, S) and whether it was flipped.
    """
    _, height, width, _ = clip.shape
    top, left, rows, columns = random_crop(height, width, augmentation, rng)
    flipped = bool(flip and rng.random() < 0.5)
    frames = torch.from_numpy(clip).permute(0, 3, 1, 2)  # (T, H, W, 3) -> (T, 3, H, W), a view: channels last is faster
    frames = F.resized_crop(frames, top, left, rows, columns, [crop, crop], antialias=True)
    if flipped:
        frames = F.horizontal_flip(frames)
    if augmentation.brightness or augmentation.contrast or augmentation.rotation_degrees:
        frames = _light_and_rotation(frames, augmentation, rng)
    return frames.transpose(0, 1).contiguous(), flipped


def random_crop(
    height: int, width: int, augmentation: Augmentation, rng: np.random.Generator
) -> tuple[int, int, int, int]:
    """Draw the crop of the Inception papers as (top, left, rows, columns): area uniform, aspect ratio log-uniform.

    After ten draws that do not fit, it is the largest central crop whose ratio is allowed.
    """
    low, high = augmentation.ratio
    for _ in range(10):
        area = height * width * rng.uniform(*augmentation.scale)
        ratio = math.exp(rng.uniform(math.log(low), math.log(high)))
        columns, rows = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < columns <= width and 0 < rows <= height:
            return int(rng.integers(height - rows + 1)), int(rng.integers(width - columns + 1)), rows, columns
    columns, rows = min(width, max(1, round(height * high))), min(height, max(1, round(width / low)))
    return (height - rows) // 2, (width - columns) // 2, rows, columns


def _light_and_rotation(frames: Tensor, augmentation: Augmentation, rng: np.random.Generator) -> Tensor:
    brightness = rng.uniform(1 - augmentation.brightness, 1 + augmentation.brightness)
    contrast = rng.uniform(1 - augmentation.contrast, 1 + augmentation.contrast)
    degrees = rng.uniform(-augmentation.rotation_degrees, augmentation.rotation_degrees)
    values = frames.float()
    mean = float(values.mean())
    values.mul_(brightness * contrast).add_(mean * brightness * (1 - contrast))
    if degrees:
        values = F.rotate(values, degrees, interpolation=InterpolationMode.BILINEAR)
    return values.round_().clamp_(0, 255).to(torch.uint8)
