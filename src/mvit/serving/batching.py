"""One thread that computes, clips of several requests together: as many as wait, and never waiting for more."""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any

import numpy as np

from mvit.deploy.answers import BATCH, Compute, together


@dataclass(eq=False)
class _Job:
    views: np.ndarray | None
    function: Callable[[], Any] | None
    future: Future = field(default_factory=Future)

    @property
    def clips(self) -> int:
        """Of a function as many as let nothing be computed with it."""
        return BATCH if self.views is None else len(self.views)


@dataclass(frozen=True)
class Computed:
    """What came of a job, and how long all that was computed together took."""

    value: Any
    seconds: float


class Batcher:
    """The thread, which ends with its process."""

    def __init__(self, compute: Compute) -> None:
        self._compute = compute
        self._jobs: SimpleQueue[_Job] = SimpleQueue()
        self.batches = self.clips = 0
        """That were computed so far."""
        self._thread = Thread(target=self._run, name="compute", daemon=True)
        self._thread.start()

    async def logits(self, views: np.ndarray) -> Computed:
        """The rows of views (N, 3, T, H, W), computed with those of others that wait; raises what computing does."""
        return await self._done(_Job(views, None))

    async def alone(self, function: Callable[[], Any]) -> Computed:
        """What a function gives that computes by itself."""
        return await self._done(_Job(None, function))

    async def _done(self, job: _Job) -> Computed:
        self._jobs.put(job)
        return await asyncio.wrap_future(job.future)

    def _run(self) -> None:
        first = self._jobs.get()
        while True:
            taken, clips = [first], first.clips
            try:
                while clips + (following := self._jobs.get_nowait()).clips <= BATCH:
                    taken.append(following)
                    clips += following.clips
                self._do(taken)
                first = following
            except Empty:
                self._do(taken)
                first = self._jobs.get()

    def _do(self, jobs: list[_Job]) -> None:
        jobs = [job for job in jobs if job.future.set_running_or_notify_cancel()]
        if not jobs:
            return
        began = time.monotonic()
        try:
            if (function := jobs[0].function) is not None:
                values = [function()]
            else:
                every = [(job, job.views) for job in jobs if job.views is not None]
                values = [rows for _, rows in together(self._compute, every, BATCH)]
                self.batches += 1
                self.clips += sum(len(views) for _, views in every)
        except Exception as error:
            for job in jobs:
                job.future.set_exception(error)
            return
        took = time.monotonic() - began
        for job, value in zip(jobs, values, strict=True):
            job.future.set_result(Computed(value, took))
