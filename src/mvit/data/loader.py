"""Batches of augmented training clips, decoded by worker processes; the same whatever their number.

B clips in a batch, T frames, S pixels a side.
"""

import multiprocessing
import re
import shutil
import signal
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch.utils.data import DataLoader

from mvit.data.clips import Batch, Clips, Draw, decide_flip
from mvit.data.dataset import Sample
from mvit.data.transforms import Augmentation
from mvit.data.views import Preprocessing

MOST_BATCHES_AHEAD = 4  # for each worker
SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 (where Linux keeps what processes share; batches come through it)


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
        if batch % augmentation.copies:
            raise ValueError(f"batch is {batch} clips, but must be a multiple of augment.copies, {augmentation.copies}")
        self.flip = decide_flip(classes, augmentation.flip, augmentation.mirrored)
        self._clips = Clips(samples, classes, preprocessing, augmentation, self.flip, seed)
        self._order = _Order(len(samples), batch // augmentation.copies, seed)
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
