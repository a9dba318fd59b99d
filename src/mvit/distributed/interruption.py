"""Stopping between two steps, where everything can be saved, when a signal asks for it."""

import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any, Self

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupted(KeyboardInterrupt):
    """Raised between two steps after a signal; nothing is half done."""


class TerminatedError(Interrupted):
    """The same for SIGTERM, by which a machine is wanted for something else: all that was asked for is done."""


class UnbegunError(TerminatedError):
    """The same at once, where no step is under way and nothing is to be saved."""


@contextmanager
def terminable(say: Callable[[], None]) -> Iterator[None]:
    """While it is entered, SIGTERM raises ``UnbegunError`` wherever it comes, as Ctrl-C raises ``KeyboardInterrupt``.

    ``say`` is called once all that was entered within is left. An ``Interruption`` entered within has the signal to
    itself. Elsewhere than in the main thread it changes nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def end(number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # it comes again, perhaps, and cleaning up is not to be disturbed
        raise UnbegunError

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    except UnbegunError:
        say()
        raise
    finally:
        signal.signal(signal.SIGTERM, before)


class Interruption:
    """While it is entered, the first SIGINT or SIGTERM is noted for ``check``; a second SIGINT acts at once.

    ``largest`` gives the largest of a number over all that train together, so that they stop together. SIGTERM may come
    any number of times: to each process from its cluster, and again from what started it. Of several processes that
    holds for SIGINT too, which torchrun passes on. Signals reach the main thread alone, so elsewhere it leaves them as
    they are.
    """

    def __init__(self, largest: Callable[[Sequence[float]], list[float]] = list, *, several: bool = False) -> None:
        self.number = 0
        self._largest, self._several = largest, several
        self._before: dict[signal.Signals, Any] = {}

    def check(self) -> None:
        """Raise ``Interrupted`` if a signal has come."""
        (number,) = self._largest([self.number])
        if number:
            raise TerminatedError if number == signal.SIGTERM else Interrupted

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.number = max(self.number, number)
        if not self._several:
            self._restore(signal.SIGINT)

    def _restore(self, *which: signal.Signals) -> None:
        for one in which:
            if one in self._before:
                signal.signal(one, self._before.pop(one))

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self._before = {which: signal.signal(which, self._note) for which in SIGNALS}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, why: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._restore(*SIGNALS)
