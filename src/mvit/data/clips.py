"""Augmented training clips, one or several of each video read, and batches of them, as uint8.

B clips in a batch, T frames, S pixels a side.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, get_worker_info

from mvit.data import transforms
from mvit.data.backend import Backend
from mvit.data.dataset import Sample
from mvit.data.directions import mirror_in_space
from mvit.data.mapped import MappedList
from mvit.data.opening import why
from mvit.data.sampling import Part, random_indices
from mvit.data.transforms import Augmentation, Drawing
from mvit.data.video import UnreadableVideo, Video
from mvit.data.views import Preprocessing, frames_of

Draw = tuple[int, int]  # an epoch and the index of a sample: with the seed, all that a clip's randomness depends on


@dataclass
class Undone:
    """The frames of a video, uint8 (T, H, W, 3), and what was drawn for each clip of them, still to be computed."""

    frames: Tensor
    drawings: list[Drawing]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    def clips_on(self, device: torch.device | str) -> list[Tensor]:
        """Compute them there: uint8 (3, T, S, S) each."""
        frames = self.frames.to(device, non_blocking=True)
        return [transforms.apply(frames, drawing, self.mean, self.std) for drawing in self.drawings]


@dataclass
class Batch:
    """uint8 clips (B, 3, T, S, S), int64 labels (B,), and the videos left out of it, each with its reason.

    Of clips that are of several of K classes at once, labels are float32 (B, K): 1 for each of a clip's own, else 0.
    Where augmentation is left to the model's device, clips are what it will make of `undone`, and empty before.
    """

    clips: Tensor
    labels: Tensor
    unreadable: list[tuple[str, str]]
    undone: Sequence[Undone] = ()

    def clips_on(self, device: torch.device | str) -> Tensor:
        """The clips on a device, augmented there if they are not yet."""
        if self.undone:
            return torch.stack([clip for undone in self.undone for clip in undone.clips_on(device)])
        return self.clips.to(device, non_blocking=True)

    def named(self, classes: Sequence[str]) -> list[Any]:
        """The name of each clip's class, or the list of those of its classes."""
        if self.labels.ndim == 1:
            return [classes[label] for label in self.labels.tolist()]
        return [[classes[label] for label in row.nonzero()[:, 0].tolist()] for row in self.labels]


@dataclass(frozen=True)
class Flip:
    """Whether clips may be mirrored, which class each then becomes, and why, in a sentence."""

    allowed: bool
    mirrored: tuple[int, ...]
    note: str


def decide_flip(classes: Sequence[str], wish: str, pairs: Sequence[tuple[str, str]] = ()) -> Flip:
    """Tell what "auto", "on" and "off" mean for these class names.

    "auto" flips unless a name holds a direction whose mirror image is no class; where it is one, labels change with it.
    `pairs` of classes that change places are given instead of their names' meaning. Raises ValueError for pairs that
    name what is no class, or a class twice.
    """
    same = tuple(range(len(classes)))
    if wish == "off":
        return Flip(False, same, "no clip is mirrored, as the recipe says")
    mirrors = _paired(classes, pairs) if pairs else mirror_in_space(classes)
    if mirrors is None:
        if wish == "on":
            return Flip(True, same, "clips are mirrored with their labels kept, as the recipe says")
        return Flip(False, same, "no clip is mirrored: a class name holds a direction whose mirror image is no class")
    mirrored = tuple(list(classes).index(mirrors[name]) for name in classes)
    swaps = [f"{name} becomes {mirrors[name]}" for name in classes if name < mirrors[name]]
    and_back = f", and {', '.join(swaps)} and back" if swaps else ""
    return Flip(True, mirrored, f"half of the clips are mirrored{and_back}")


def _entry(sample: Sample, labels: list[int]) -> list[Any]:
    return [str(sample.path), labels, *((sample.part.start, sample.part.end) if sample.part else ())]


def _paired(classes: Sequence[str], pairs: Sequence[tuple[str, str]]) -> dict[str, str]:
    named = [name for pair in pairs for name in pair]
    for name in named:
        if name not in classes:
            raise ValueError(f"augment.mirrored names {name!r}, which is no class: there are {', '.join(classes)}")
        if named.count(name) > 1:
            raise ValueError(f"augment.mirrored names {name!r} more than once, but a class has one mirror image")
    return {name: name for name in classes} | {a: b for pair in pairs for a, b in (pair, pair[::-1])}


@dataclass
class Drawn:
    """The clips of one video, or what they are still to be computed from, or why there are none."""

    path: str
    labels: list[list[int]]
    """The classes of each clip."""
    clips: list[Tensor]
    undone: Undone | None = None
    reason: str = ""


class Clips(Dataset[Drawn]):
    """The augmented clips of one video for each draw."""

    def __init__(
        self,
        samples: Sequence[Sample],
        classes: Sequence[str],
        preprocessing: Preprocessing,
        augmentation: Augmentation,
        flip: Flip,
        seed: int,
        backend: Backend | None = None,
        multi_label: bool = False,
    ) -> None:
        index = {name: position for position, name in enumerate(classes)}
        self.entries = MappedList(
            _entry(sample, [index[name] for name in (sample.labels if multi_label else (sample.label,))])
            for sample in samples
        )
        self.classes, self.multi_label = len(classes), multi_label
        self.preprocessing, self.augmentation, self.flip, self.seed = preprocessing, augmentation, flip, seed
        self.backend = backend
        self.underway: Tensor | None = None
        self.shape = (3, preprocessing.sampling.frames, preprocessing.crop, preprocessing.crop)
        # Frames come at most this large: reduced to the size of test views, as sets prepared for training are, or to
        # the largest that jitter scales to; smaller ones as they are, since the crop is resized in any case.
        self.short_side = max([preprocessing.short_side, *(augmentation.jitter or ())])

    @property
    def clip_bytes(self) -> int:
        """What a clip takes between processes; of frames that are wide, 16 to 9, where those are handed over."""
        if self.augmentation.on == "workers":
            return int(np.prod(self.shape))
        return 3 * self.shape[1] * self.short_side * (self.short_side * 16 // 9) // self.augmentation.copies

    def note_underway(self, workers: int) -> None:
        """Have each of so many workers write down, where all processes see it, its number and the sample it is at."""
        self.underway = torch.full((workers, 2), -1).share_memory_()

    def at_work(self) -> dict[int, int]:
        """The sample that each process is at, by the number of the process; idle ones are left out."""
        noted = [] if self.underway is None else self.underway.tolist()
        return {process: sample for process, sample in noted if sample >= 0}

    def __getitem__(self, index: Draw) -> Drawn:
        worker = get_worker_info()
        if self.underway is None or worker is None:
            return self._drawn(index)
        self.underway[worker.id] = torch.tensor([os.getpid(), index[1]])
        try:
            return self._drawn(index)
        finally:
            self.underway[worker.id, 1] = -1

    def _drawn(self, index: Draw) -> Drawn:
        name = self.name(index[1])
        try:
            undone, labels = self.decoded(index)
        except (UnreadableVideo, OSError) as error:
            return Drawn(name, [], [], reason=why(error))
        except Exception as error:
            raise RuntimeError(f"{name} could not be made a clip: {error!r}") from error
        if self.augmentation.on == "device":
            return Drawn(name, labels, [], undone)
        return Drawn(name, labels, undone.clips_on("cpu"))

    def decoded(self, index: Draw) -> tuple[Undone, list[list[int]]]:
        """The frames of a draw with all that was drawn for its clips, and the classes of each of these."""
        epoch, sample = index
        path, own, part = self._entry(sample)
        first = np.random.default_rng((self.seed, epoch, sample))
        frames = self._read(path, part, first)
        others = range(1, self.augmentation.copies)
        size = (frames.shape[1], frames.shape[2])
        drawings = [
            transforms.draw(size, self.preprocessing.crop, self.augmentation, self.flip.allowed, rng)
            for rng in (first, *(np.random.default_rng((self.seed, epoch, sample, copy)) for copy in others))
        ]
        mirrored = [self.flip.mirrored[label] for label in own]
        labels = [mirrored if drawing.flipped else own for drawing in drawings]
        return Undone(torch.from_numpy(frames), drawings, self.preprocessing.mean, self.preprocessing.std), labels

    def name(self, sample: int) -> str:
        """The `Sample.id` of a sample."""
        path, _, part = self._entry(sample)
        return str(Sample(Path(path), (), part=part).id)

    def _entry(self, sample: int) -> tuple[str, list[int], Part | None]:
        """Path and classes of a sample, and the part of the video that it is."""
        path, labels, *times = self.entries[sample]
        return path, labels, Part(*times) if times else None

    def _read(self, path: str, part: Part | None, rng: np.random.Generator) -> np.ndarray:
        """The frames of a clip drawn from a video, before augmentation: uint8 (T, H, W, 3)."""
        with Video(path) as video:
            sampling, duration = self.preprocessing.sampling, self.augmentation.duration
            frames = frames_of(video, part)
            indices = frames.start + random_indices(len(frames), video.fps, sampling, rng, duration)
            short_side = self.short_side if video.short_side > self.short_side else None
            if self.backend is None or self.backend.name == "pyav":
                return video.read(indices, short_side=short_side)
        return self.backend.read(path, indices, short_side=short_side)

    def collate(self, drawn: list[Drawn]) -> Batch:
        """One batch of what was drawn: the clips of a video side by side."""
        clips = [clip for one in drawn for clip in one.clips]
        return Batch(
            torch.stack(clips) if clips else torch.empty((0, *self.shape), dtype=torch.uint8),
            self.targets([labels for one in drawn for labels in one.labels]),
            [(one.path, one.reason) for one in drawn if one.reason],
            [one.undone for one in drawn if one.undone is not None],
        )

    def targets(self, labels: Sequence[Sequence[int]]) -> Tensor:
        """The classes of clips as `Batch.labels`."""
        if not self.multi_label:
            return torch.tensor([label for (label,) in labels], dtype=torch.int64)
        targets = torch.zeros(len(labels), self.classes)
        for row, own in zip(targets, labels, strict=True):
            row[list(own)] = 1.0
        return targets


def normalise(clips: Tensor, mean: Sequence[float], std: Sequence[float], dtype: torch.dtype) -> Tensor:
    """(x / 255 - mean) / std for each channel, as test views are made: uint8 (B, 3, T, S, S) to floats."""
    shape = (1, 3, 1, 1, 1)
    scale = torch.tensor([1 / (255 * s) for s in std], dtype=torch.float32, device=clips.device).view(shape)
    shift = torch.tensor([-m / s for m, s in zip(mean, std, strict=True)], device=clips.device).view(shape)
    return torch.addcmul(shift, clips.to(torch.float32), scale).to(dtype)
