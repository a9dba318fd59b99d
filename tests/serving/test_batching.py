"""What waits is computed together, each gets its own rows, and a fault is theirs alone who were in the batch."""

import asyncio
import threading

import numpy as np
import pytest

from mvit.serving.batching import Batcher


def clips(*levels: float) -> np.ndarray:
    return np.stack([np.full((3, 2, 2, 2), level, np.float32) for level in levels])


class Slow:
    """Waits until it is let go; keeps how many clips came at once."""

    def __init__(self) -> None:
        self.begun, self.go = threading.Event(), threading.Event()
        self.sizes: list[int] = []

    def __call__(self, views: np.ndarray) -> np.ndarray:
        self.begun.set()
        self.go.wait()
        self.sizes.append(len(views))
        if (views < 0).any():
            raise RuntimeError("no such clip")
        return views.mean(axis=(1, 2, 3, 4))[:, None]


async def gathered(compute: Slow, batcher: Batcher, *jobs) -> list:
    first, *others = jobs
    asked = [asyncio.ensure_future(batcher.logits(first))]
    await asyncio.to_thread(compute.begun.wait)
    asked += [asyncio.ensure_future(batcher.logits(job)) for job in others]
    await asyncio.sleep(0)  # they are handed over
    compute.go.set()
    return await asyncio.gather(*asked, return_exceptions=True)


def test_what_waits_is_computed_together():
    compute = Slow()
    batcher = Batcher(compute)
    found = asyncio.run(gathered(compute, batcher, clips(1), clips(2, 3), clips(4), clips(*range(5, 10)), clips(11)))
    assert [list(one.value.ravel()) for one in found] == [[1], [2, 3], [4], [5, 6, 7, 8, 9], [11]]
    assert compute.sizes == [1, 8, 1]  # the first was taken while nothing else waited
    assert (batcher.batches, batcher.clips) == (3, 10)
    assert all(one.seconds >= 0 for one in found)


def test_a_fault_is_that_of_its_batch_alone():
    compute = Slow()
    found = asyncio.run(gathered(compute, Batcher(compute), clips(1), clips(-1), clips(2, 2, 2, 2, 2, 2, 2, 2)))
    assert found[0].value.tolist() == [[1]]
    assert isinstance(found[1], RuntimeError)
    assert found[2].value.tolist() == [[2]] * 8


def test_who_no_longer_waits_is_not_computed_for():
    compute = Slow()
    batcher = Batcher(compute)

    async def ask() -> None:
        first = asyncio.ensure_future(batcher.logits(clips(1)))
        await asyncio.to_thread(compute.begun.wait)
        second = asyncio.ensure_future(batcher.logits(clips(2)))
        await asyncio.sleep(0)
        second.cancel()
        with pytest.raises(asyncio.CancelledError):
            await second
        compute.go.set()
        assert (await first).value.tolist() == [[1]]
        assert (await batcher.alone(lambda: "by itself")).value == "by itself"

    asyncio.run(ask())
    assert compute.sizes == [1]
