"""Batches of augmented training clips, decoded by worker processes; the same whatever their number.

B clips in a batch, T frames, S pixels a side.
"""

import gc
import multiprocessing
import re
import signal
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from multiprocessing import forkserver
from typing import Any

import torch
from torch.utils.data import DataLoader

from mvit.data import capacity, processes, resources
from mvit.data.backend import Backend
from mvit.data.clips import Batch, Clips, Draw, decide_flip
from mvit.data.dataset import Sample
from mvit.data.order import Order
from mvit.data.transforms import Augmentation
from mvit.data.views import Preprocessing

LOOK_SECONDS = 5.0
"""Between two looks at whether the workers are alive, which workers forked by another process do not tell."""


class TrainLoader:
    """Every sample once an epoch, in an order drawn from (seed, epoch), augmented by draws from (seed, epoch, sample).

    `batch` is that of all ranks together, of which this one gives its piece: the pieces of a step put together are the
    batch that one process would give. `whole` leaves out the last batch of an epoch where it is incomplete; None: where
    there is more than one rank. `workers` processes decode and augment, and stay from epoch to epoch; 0 does it in this
    one; with `fewer`, less of them are started where memory is short. A video that cannot be read is left out of its
    batch and named there, never replaced. `backend` decodes, PyAV unless given. `multi_label`: samples may be of
    several classes at once. After `timeout_seconds` without a batch from the workers, the wait is given up (None:
    never). Raises ValueError where it would not fit into memory, or a batch not among the ranks.
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
        fewer: bool = False,
        rank: int = 0,
        ranks: int = 1,
        whole: bool | None = None,
        backend: Backend | None = None,
        multi_label: bool = False,
        timeout_seconds: float | None = None,
    ) -> None:
        if workers < 0:
            raise ValueError(f"workers is {workers}, but must be at least 0")
        copies = augmentation.copies
        if copies > 1 and batch % (copies * ranks):
            times = f" times the ranks, {ranks}" if ranks > 1 else ""
            raise ValueError(f"batch is {batch} clips, but must be a multiple of augment.copies, {copies}{times}")
        whole = ranks > 1 if whole is None else whole
        order = Order(samples=len(samples), batch=batch // copies, seed=seed, rank=rank, ranks=ranks, whole=whole)
        self.order = order
        self.flip = decide_flip(classes, augmentation.flip, augmentation.mirrored)
        self.clips = Clips(samples, classes, preprocessing, augmentation, self.flip, seed, backend, multi_label)
        need = capacity.Need(
            batch=batch // ranks * self.clips.clip_bytes,
            frames=2 * 3 * preprocessing.sampling.frames * 2 * self.clips.short_side**2,  # decoded and cropped, 2:1
            index=self.clips.entries.bytes,
        )
        self.capacity = capacity.fit(
            workers,
            need,
            memory=resources.available_memory(),
            shared=resources.shared_memory(),
            place=str(resources.SHARED_MEMORY),
            fewer=fewer,
        )
        workers = self.capacity.workers
        if workers:
            self.clips.entries.share()
            self.clips.note_underway(workers)
        self.timeout_seconds = timeout_seconds
        self._look_seconds = min(LOOK_SECONDS, timeout_seconds or LOOK_SECONDS) if workers else 0
        self._steps = _Steps(order)
        self._batches: Iterator[Batch] | None = None
        with _unwarned():
            self._loader: DataLoader[Any] = DataLoader(
                self.clips,
                batch_sampler=self._steps,
                collate_fn=self.clips.collate,
                num_workers=workers,
                persistent_workers=workers > 0,
                timeout=self._look_seconds,
                prefetch_factor=self.capacity.ahead if workers else None,
                multiprocessing_context=_processes() if workers else None,
                worker_init_fn=_begin,
            )

    @property
    def flip_note(self) -> str:
        """What was decided about mirroring, in a sentence."""
        return self.flip.note

    @property
    def notes(self) -> list[str]:
        """What a user should know of the batches, in sentences; nothing where all is as usual."""
        notes = [self.capacity.note] if self.capacity.note else []
        if self.workers > (cores := resources.available_cores()):
            notes.append(f"{self.workers} decoding processes share the {cores} processors that this job may use")
        if left_out := self.order.left_out:
            notes.append(
                f"{left_out} of {self.order.samples:,} videos, other ones in each epoch, are in no batch of it: the "
                f"last batch of {self.order.batch} would be incomplete"
            )
        return notes

    @property
    def workers(self) -> int:
        """Processes that decode."""
        return self.capacity.workers

    def __len__(self) -> int:
        """Batches in an epoch; the last one may be smaller."""
        return len(self.order)

    def videos(self, epoch: int, batch: int) -> list[str]:
        """The videos of a batch of an epoch, as `Sample.id`."""
        return [self.clips.name(index) for index in self.order.share(self.order.epoch(epoch), batch)]

    def epoch(self, number: int, start_batch: int = 0) -> Iterator[Batch]:
        """Give the batches of an epoch from `start_batch` on; raises ValueError where a worker dies or hangs."""
        awaited = start_batch
        try:
            self._leave(number, start_batch)
            self._steps.epoch, self._steps.start, self._steps.left = number, start_batch, False
            with _unwarned():
                self._batches = batches = iter(self._loader)
            for awaited in range(start_batch, len(self)):
                yield self._awaited(batches, number, awaited)
        except (RuntimeError, ConnectionError, EOFError) as error:
            # The last two come from a worker that died while it handed a batch over.
            death = re.match(r"DataLoader worker \(pid.*" if isinstance(error, RuntimeError) else ".*", str(error))
            if death is None:
                raise
            first, *_ = self.clips.entries[self.order.share(self.order.epoch(number), awaited)[0]]
            raise ValueError(
                f"a process that decodes videos died ({death.group()}) while batch {awaited} of epoch {number} was "
                f"awaited, which begins with {first}: memory may be too small, or a file crashes the decoder "
                "(train.workers=0 shows which)"
            ) from error

    def _leave(self, epoch: int, number: int) -> None:
        """Await what the workers still have of an epoch that was left early: torch would look for it only once."""
        self._steps.left = True
        while self._batches is not None:
            try:
                self._awaited(self._batches, epoch, number)
            except StopIteration:
                self._batches = None

    def _awaited(self, batches: Iterator[Batch], epoch: int, number: int) -> Batch:
        """The next batch; between looks, torch finds out whether a worker has died."""
        waited = 0.0
        while True:
            try:
                return next(batches)
            except RuntimeError as error:
                if not str(error).startswith("DataLoader timed out"):
                    raise
                waited += self._look_seconds
                if self.timeout_seconds is not None and waited >= self.timeout_seconds:
                    raise ValueError(self._hangs(epoch, number, waited)) from error

    def _hangs(self, epoch: int, number: int, waited: float) -> str:
        wanted = set(self.order.share(self.order.epoch(epoch), number))
        at_work = {process: sample for process, sample in self.clips.at_work().items() if sample in wanted}
        where = " and ".join(f"process {process} is at {self.clips.name(at)}" for process, at in at_work.items())
        return (
            f"the decoding of videos hangs: batch {number} of epoch {epoch} has not come for {waited:.0f} s "
            f"(train.timeout_seconds), and {where or 'no process is at one of its videos'}: look at that file and at "
            "the storage it is on, leave it out of the data, or allow more time"
        )


class _Steps:
    """What this rank draws in each step of the epoch that is set, from the step that is set until it is left."""

    def __init__(self, order: Order) -> None:
        self.order = order
        self.epoch = self.start = 0
        self.left = False

    def __len__(self) -> int:
        return len(self.order)

    def __iter__(self) -> Iterator[list[Draw]]:
        number, epoch = self.epoch, self.order.epoch(self.epoch)
        for step in range(self.start, len(self.order)):
            if self.left:
                return
            yield [(number, index) for index in self.order.share(epoch, step)]


@contextmanager
def _unwarned() -> Iterator[None]:
    """Without torch's warning of more workers than processors, which `TrainLoader.notes` says in our words."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "This DataLoader will create")
        yield


def _processes() -> multiprocessing.context.BaseContext:
    """Workers are forked from a clean process that has imported what they need once.

    Forking this one may hang, as it computes on threads; starting each from nothing takes seconds.
    """
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["mvit.data.loader"])
    with processes.deaf():
        forkserver.ensure_running()
    return context


def _begin(_worker: int) -> None:
    """Ctrl-C reaches every process of a terminal: the one that trains answers it, and ends these.

    Each computes on one thread: there is one of them for a processor. What they share with the process that they were
    forked from is no garbage: collecting would write to every page of it, and so copy 80 MB into each.
    """
    gc.freeze()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(1)
    processes.end_with_parent()
