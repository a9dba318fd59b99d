"""A watch on the process that trains: where it stands still for too long, it is ended, and what it did is said."""

import faulthandler
import os
import sys
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self

TIMES_THE_LIMIT = 2
"""A hung decoding process is named after the limit itself: of many ranks, those that wait for that one speak later."""
TICK_SECONDS = 1.0


class Watchdog:
    """While it is entered, ends the process where twice ``limit_seconds`` pass between two notes (None: never).

    Time is counted by a thread's own ticks, so a process that was suspended is not older for it. A process that hangs
    in a driver answers no exception; it exits with code 1, and the stacks of its threads on standard error.
    """

    def __init__(self, limit_seconds: float | None, end: Callable[[str], None] | None = None) -> None:
        self.limit_seconds = None if limit_seconds is None else TIMES_THE_LIMIT * limit_seconds
        self._end = end or _end
        self._doing: Callable[[], str] = lambda: "starting"
        self._seconds = 0.0
        self._left = threading.Event()

    def note(self, doing: Callable[[], str]) -> None:
        """Begin something else; ``doing`` gives it in words, if it comes to that."""
        self._doing, self._seconds = doing, 0.0

    def _watch(self, limit: float) -> None:
        tick = min(TICK_SECONDS, limit / 4)
        while not self._left.wait(tick):
            self._seconds += tick
            if self._seconds >= limit:
                self._end(f"mvit: {_rank()}{limit:g} s have passed {self._doing()}: this process is ended")
                return

    def __enter__(self) -> Self:
        if self.limit_seconds is not None:
            threading.Thread(target=self._watch, args=(self.limit_seconds,), daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, why: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._left.set()


def _rank() -> str:
    return f"rank {os.environ['RANK']}: " if "RANK" in os.environ else ""


def _end(sentence: str) -> None:
    print(sentence, file=sys.stderr, flush=True)
    faulthandler.dump_traceback(all_threads=True)
    os._exit(1)
