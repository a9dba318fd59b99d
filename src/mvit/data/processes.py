"""Processes beside this one: what the Ctrl-C of a terminal, which reaches them all, does to them, and when they end."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from functools import partial
from multiprocessing import resource_tracker
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def in_processes(
    work: Callable[[Item], Result], items: Sequence[Item], workers: int, *, most_at_once: int = 16
) -> Iterator[tuple[Item, Result | str]]:
    """Each item with what `work` makes of it, in order, or with a sentence where its process dies of it.

    A process is handed up to `most_at_once` items together; all of them leave when this one is killed.
    """
    heard = partial(_hearing, work)
    context = multiprocessing.get_context("spawn")  # a fork of a process that computes on threads can hang
    while items:
        done, chunk = 0, min(most_at_once, 1 + len(items) // (8 * workers))
        try:
            with ProcessPoolExecutor(workers, mp_context=context, initializer=end_with_parent) as pool:
                with deaf():  # all start here
                    outcomes = pool.map(heard, items, chunksize=chunk)
                for item, outcome in zip(items, outcomes, strict=True):
                    yield item, outcome
                    done += 1
            return
        except BrokenProcessPool:
            # The files under way when it died are among the next ones: each of them again, in a process of its own.
            near = done + (2 * workers + 1) * chunk
            suspects, items = items[done:near], items[near:]
        crashed = 0
        for item in suspects:
            try:
                with ProcessPoolExecutor(1, mp_context=context, initializer=end_with_parent) as pool:
                    with deaf():
                        alone = pool.submit(heard, item)
                    yield item, alone.result()
            except BrokenProcessPool:
                crashed += 1
                yield item, "the decoder crashed on it, or its process was killed"
        if crashed == len(suspects) > 1:
            raise RuntimeError(
                "processes that look at videos die at once: memory may be too small; in a program of your own, "
                'what starts the work must stand under if __name__ == "__main__":'
            )


@contextmanager
def deaf() -> Iterator[None]:
    """Have the processes that are started here hear no Ctrl-C: this one answers it, once they are started.

    One that heard it while it still imports would print where it was.
    """
    resource_tracker.ensure_running()  # Python starts it with the first process, and lets Ctrl-C through after that
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _hearing(work: Callable[[Item], Result], item: Item) -> Result:
    """Do a piece of work in a process that was started deaf: for so long, Ctrl-C raises ``KeyboardInterrupt`` in it."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])
    try:
        return work(item)
    finally:
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])


def end_with_parent() -> None:
    """Have this process end once the one that started it is gone: killed, it can tell no other, and memory stays taken.

    torch looks at the parent's number, which for a worker is that of the process that both were forked from.
    """
    parent = multiprocessing.parent_process()
    assert parent is not None

    def wait() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()
