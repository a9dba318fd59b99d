"""One augmented training clip for each draw, and batches of them, as uint8.

B clips in a batch, T frames, S pixels a side.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from mvit.data.dataset import Sample
from mvit.data.directions import mirror_in_space
from mvit.data.mapped import MappedList
from mvit.data.sampling import Part, random_indices
from mvit.data.transforms import Augmentation, augment
from mvit.data.video import UnreadableVideo, Video
from mvit.data.views import Preprocessing, frames_of

Draw = tuple[int, int]  # an epoch and the index of a sample: with the seed, all that a clip's randomness depends on


@dataclass
class Batch:
    """uint8 clips (B, 3, T, S, S), int64 labels (B,), and the videos left out of it, each with its reason."""

    clips: Tensor
    labels: Tensor
    unreadable: list[tuple[str, str]]


@dataclass(frozen=True)
class Flip:
    """Whether clips may be mirrored, which class each then becomes, and why, in a sentence."""

    allowed: bool
    mirrored: tuple[int, ...]
    note: str


def decide_flip(classes: Sequence[str], wish: str) -> Flip:
    """Tell what "auto", "on" and "off" mean for these class names.

    "auto" flips unless a name holds a direction whose mirror image is no class; where it is one, labels change with it.
    """
    same = tuple(range(len(classes)))
    if wish == "off":
        return Flip(False, same, "no clip is mirrored, as the recipe says")
    mirrors = mirror_in_space(classes)
    if mirrors is None:
        if wish == "on":
            return Flip(True, same, "clips are mirrored with their labels kept, as the recipe says")
        return Flip(False, same, "no clip is mirrored: a class name holds a direction whose mirror image is no class")
    mirrored = tuple(list(classes).index(mirrors[name]) for name in classes)
    swaps = [f"{name} becomes {mirrors[name]}" for name in classes if name < mirrors[name]]
    and_back = f", and {', '.join(swaps)} and back" if swaps else ""
    return Flip(True, mirrored, f"half of the clips are mirrored{and_back}")


def _entry(sample: Sample, label: int) -> list[Any]:
    return [str(sample.path), label, *((sample.part.start, sample.part.end) if sample.part else ())]


Drawn = tuple[Tensor | None, int, str, str]  # clip, label, path, and the reason where there is no clip


class Clips(Dataset[Drawn]):
    """One augmented clip for each draw."""

    def __init__(
        self,
        samples: Sequence[Sample],
        classes: Sequence[str],
        preprocessing: Preprocessing,
        augmentation: Augmentation,
        flip: Flip,
        seed: int,
    ) -> None:
        index = {name: position for position, name in enumerate(classes)}
        self.entries = MappedList(_entry(sample, index[sample.label]) for sample in samples)
        self.preprocessing, self.augmentation, self.flip, self.seed = preprocessing, augmentation, flip, seed
        self.shape = (3, preprocessing.sampling.frames, preprocessing.crop, preprocessing.crop)

    @property
    def clip_bytes(self) -> int:
        return int(np.prod(self.shape))

    def __getitem__(self, index: Draw) -> Drawn:
        epoch, sample = index
        path, label, part = self.entry(sample)
        name = path if part is None else str(Sample(Path(path), (), part=part).id)
        rng = np.random.default_rng((self.seed, epoch, sample))
        try:
            frames = self.read(path, part, rng)
        except UnreadableVideo as error:
            return None, label, name, error.reason
        except OSError as error:
            return None, label, name, (error.strerror or str(error)).lower()
        except Exception as error:
            raise RuntimeError(f"{name} could not be made a clip: {error!r}") from error
        clip, flipped = augment(frames, self.preprocessing.crop, self.augmentation, self.flip.allowed, rng)
        return clip, self.flip.mirrored[label] if flipped else label, name, ""

    def entry(self, sample: int) -> tuple[str, int, Part | None]:
        """Path and label of a sample, and the part of the video that it is."""
        path, label, *times = self.entries[sample]
        return path, label, Part(*times) if times else None

    def read(self, path: str, part: Part | None, rng: np.random.Generator) -> np.ndarray:
        """The frames of a clip drawn from a video, before augmentation: uint8 (T, H, W, 3)."""
        with Video(path) as video:
            sampling, duration = self.preprocessing.sampling, self.augmentation.duration
            frames = frames_of(video, part)
            indices = frames.start + random_indices(len(frames), video.fps, sampling, rng, duration)
            # Large frames come reduced to the size of test views, as sets prepared for training are; small ones as they
            # are, since the crop is resized in any case.
            reduced = self.preprocessing.short_side if video.short_side > self.preprocessing.short_side else None
            return video.read(indices, short_side=reduced)

    def collate(self, drawn: list[Drawn]) -> Batch:
        clips = [clip for clip, *_ in drawn if clip is not None]
        labels = [label for clip, label, *_ in drawn if clip is not None]
        return Batch(
            torch.stack(clips) if clips else torch.empty((0, *self.shape), dtype=torch.uint8),
            torch.tensor(labels, dtype=torch.int64),
            [(path, reason) for clip, _, path, reason in drawn if clip is None],
        )


def normalise(clips: Tensor, mean: Sequence[float], std: Sequence[float], dtype: torch.dtype) -> Tensor:
    """(x / 255 - mean) / std for each channel, as test views are made: uint8 (B, 3, T, S, S) to floats."""
    shape = (1, 3, 1, 1, 1)
    scale = torch.tensor([1 / (255 * s) for s in std], dtype=torch.float32, device=clips.device).view(shape)
    shift = torch.tensor([-m / s for m, s in zip(mean, std, strict=True)], device=clips.device).view(shape)
    return torch.addcmul(shift, clips.to(torch.float32), scale).to(dtype)
