"""Batches of augmented training clips, decoded by worker processes; the same whatever their number.

B clips in a batch, T frames, S pixels a side.
"""

import multiprocessing
import re
import shutil
import signal
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from mvit.data.dataset import Sample
from mvit.data.directions import mirror_in_space
from mvit.data.sampling import random_indices
from mvit.data.transforms import Augmentation, augment
from mvit.data.video import UnreadableVideo, Video
from mvit.data.views import Preprocessing

MOST_BATCHES_AHEAD = 4  # for each worker
SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 (where Linux keeps what processes share; batches come through it)

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


class TrainLoader:
    """Every sample once an epoch, in an order drawn from (seed, epoch), augmented by draws from (seed, epoch, sample).

    `workers` processes decode and augment, and stay from epoch to epoch; 0 does it in this one. A video that cannot be
    read is left out of its batch and named there, never replaced. Raises ValueError where batches would not fit into
    the memory that processes share.
    """

    def __init__(
        self,
        samples: Sequence[Sample],
        classes: Sequence[str],
        preprocessing: Preprocessing,
        augmentation: Augmentation,
        *,
        batch: int,
        seed: int,
        workers: int,
    ) -> None:
        if batch < 1 or workers < 0:
            raise ValueError(f"batch is {batch} and workers {workers}, but must be at least 1 and 0")
        self.flip = decide_flip(classes, augmentation.flip)
        self._clips = _Clips(samples, classes, preprocessing, augmentation, self.flip, seed)
        self._order = _Order(len(samples), batch, seed)
        self._loader: DataLoader[Any] = DataLoader(
            self._clips,
            batch_sampler=self._order,
            collate_fn=self._clips.collate,
            num_workers=workers,
            persistent_workers=workers > 0,
            prefetch_factor=_batches_ahead(batch * self._clips.clip_bytes, workers) if workers else None,
            multiprocessing_context=_processes() if workers else None,
            worker_init_fn=_ignore_interrupts,
        )

    @property
    def flip_note(self) -> str:
        """What was decided about mirroring, in a sentence."""
        return self.flip.note

    def __len__(self) -> int:
        """Batches in an epoch; the last one may be smaller."""
        return len(self._order)

    def epoch(self, number: int, start_batch: int = 0) -> Iterator[Batch]:
        """Give the batches of an epoch from `start_batch` on; raises ValueError where a worker process dies."""
        self._order.epoch, self._order.start = number, start_batch
        awaited = start_batch
        try:
            for awaited, batch in enumerate(self._loader, start=start_batch + 1):  # noqa: B007 (used below)
                yield batch
        except (RuntimeError, ConnectionError, EOFError) as error:
            # The last two come from a worker that died while it handed a batch over.
            death = re.match(r"DataLoader worker \(pid.*" if isinstance(error, RuntimeError) else ".*", str(error))
            if death is None:
                raise
            first = self._clips.paths[self._order.of_batch(awaited)[0]]
            raise ValueError(
                f"a process that decodes videos died ({death.group()}) while batch {awaited} of epoch {number} was "
                f"awaited, which begins with {first}: memory may be too small, or a file crashes the decoder "
                "(train.workers=0 shows which)"
            ) from error


class _Order:
    """Which samples make each batch of the epoch that is set, from the batch that is set."""

    def __init__(self, samples: int, batch: int, seed: int) -> None:
        self.samples, self.batch, self.seed = samples, batch, seed
        self.epoch = self.start = 0

    def __len__(self) -> int:
        return (self.samples + self.batch - 1) // self.batch

    def of_batch(self, number: int) -> list[int]:
        order = np.random.default_rng((self.seed, self.epoch)).permutation(self.samples)
        return order[number * self.batch : (number + 1) * self.batch].tolist()

    def __iter__(self) -> Iterator[list[Draw]]:
        epoch, order = self.epoch, np.random.default_rng((self.seed, self.epoch)).permutation(self.samples).tolist()
        for first in range(self.start * self.batch, self.samples, self.batch):
            yield [(epoch, index) for index in order[first : first + self.batch]]


Drawn = tuple[Tensor | None, int, str, str]  # clip, label, path, and the reason where there is no clip


class _Clips(Dataset[Drawn]):
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
        self.paths = [str(sample.path) for sample in samples]
        self.labels = [index[sample.label] for sample in samples]
        self.preprocessing, self.augmentation, self.flip, self.seed = preprocessing, augmentation, flip, seed
        self.shape = (3, preprocessing.sampling.frames, preprocessing.crop, preprocessing.crop)

    @property
    def clip_bytes(self) -> int:
        return int(np.prod(self.shape))

    def __getitem__(self, index: Draw) -> Drawn:
        epoch, sample = index
        path, label = self.paths[sample], self.labels[sample]
        rng = np.random.default_rng((self.seed, epoch, sample))
        try:
            frames = self._read(path, rng)
        except UnreadableVideo as error:
            return None, label, path, error.reason
        except OSError as error:
            return None, label, path, (error.strerror or str(error)).lower()
        except Exception as error:
            raise RuntimeError(f"{path} could not be made a clip: {error!r}") from error
        clip, flipped = augment(frames, self.preprocessing.crop, self.augmentation, self.flip.allowed, rng)
        return clip, self.flip.mirrored[label] if flipped else label, path, ""

    def _read(self, path: str, rng: np.random.Generator) -> np.ndarray:
        with Video(path) as video:
            sampling, duration = self.preprocessing.sampling, self.augmentation.duration
            indices = random_indices(video.frames, video.fps, sampling, rng, duration)
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


def _processes() -> multiprocessing.context.BaseContext:
    """Workers are forked from a clean process that has imported what they need once.

    Forking this one may hang, as it computes on threads; starting each from nothing takes seconds.
    """
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["mvit.data.loader"])
    return context


def _ignore_interrupts(_worker: int) -> None:
    """Ctrl-C reaches every process of a terminal; the one that trains answers it, and ends these."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _batches_ahead(batch_bytes: int, workers: int) -> int:
    """How many batches each worker may have ready, so that all fit into the memory that processes share."""
    if not SHARED_MEMORY.is_dir():
        return MOST_BATCHES_AHEAD
    room = shutil.disk_usage(SHARED_MEMORY).free
    ahead = int(0.8 * room / (batch_bytes * workers)) - 1  # one more is handed over
    if ahead < 1:
        raise ValueError(
            f"{workers} workers hand over batches of {batch_bytes / 2**20:.0f} MiB in {SHARED_MEMORY}, which has only "
            f"{room / 2**20:.0f} MiB left: set fewer train.workers or a smaller train.batch (in Docker, also a larger "
            "--shm-size)"
        )
    return min(ahead, MOST_BATCHES_AHEAD)


def normalise(clips: Tensor, mean: Sequence[float], std: Sequence[float], dtype: torch.dtype) -> Tensor:
    """(x / 255 - mean) / std for each channel, as test views are made: uint8 (B, 3, T, S, S) to floats."""
    shape = (1, 3, 1, 1, 1)
    scale = torch.tensor([1 / (255 * s) for s in std], dtype=torch.float32, device=clips.device).view(shape)
    shift = torch.tensor([-m / s for m, s in zip(mean, std, strict=True)], device=clips.device).view(shape)
    return torch.addcmul(shift, clips.to(torch.float32), scale).to(dtype)
