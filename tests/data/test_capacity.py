"""Memory by arithmetic: what fits is started, what does not is refused with what would."""

import pytest

from mvit.data.capacity import DECODER_BYTES, MEBIBYTE, OWN_BYTES, SERVER_BYTES, USED_SHARE, Need, fit
from mvit.data.resources import SHARED_MEMORY

PLACE = str(SHARED_MEMORY)
NEED = Need(batch=100 * MEBIBYTE, frames=20 * MEBIBYTE, index=MEBIBYTE)


def room(bytes_: int) -> int:
    return int(bytes_ / USED_SHARE) + 1


def test_what_is_needed_is_a_sum():
    assert NEED.shared(2, 4) == (2 * 5 * 100 + 1) * MEBIBYTE
    assert NEED.all(2, 4) == SERVER_BYTES + NEED.shared(2, 4) + 2 * (OWN_BYTES + DECODER_BYTES + 220 * MEBIBYTE)


@pytest.mark.parametrize(
    ("workers", "memory", "shared", "found"),
    [
        (0, 0, 0, (0, 0)),
        (2, None, None, (2, 4)),
        (2, room(NEED.all(2, 4)), None, (2, 4)),
        (2, room(NEED.all(2, 4)) - 2, None, (2, 3)),
        (2, room(NEED.all(2, 1)), None, (2, 1)),
        (2, None, room(NEED.shared(2, 2)), (2, 2)),
        (2, room(NEED.all(2, 3)), room(NEED.shared(2, 2)), (2, 2)),
        (2, room(NEED.all(2, 2)), room(NEED.shared(2, 3)), (2, 2)),
    ],
)
def test_as_many_batches_ahead_as_fit(workers, memory, shared, found):
    capacity = fit(workers, NEED, memory=memory, shared=shared, place=PLACE)
    assert (capacity.workers, capacity.ahead) == found
    assert bool(capacity.note) == (found == (workers, capacity.ahead) and 0 < capacity.ahead < 4)


def test_fewer_workers_only_where_that_will_do():
    memory = room(NEED.all(3, 2))
    capacity = fit(8, NEED, memory=memory, shared=None, place=PLACE, fewer=True)
    assert capacity.workers in (3, 4)
    assert NEED.all(capacity.workers, capacity.ahead) <= USED_SHARE * memory
    assert capacity.note.startswith(f"{capacity.workers} decoding processes instead of 8, ")
    assert capacity.note.endswith(f"as only {memory / MEBIBYTE:,.0f} MiB are left in memory")
    with pytest.raises(ValueError, match=f"set train.workers to {capacity.workers} or a smaller train.batch"):
        fit(8, NEED, memory=memory, shared=None, place=PLACE)


def test_what_does_not_fit_is_one_sentence():
    with pytest.raises(ValueError, match=r"^2 workers .* MiB in /dev/shm, which has only 64 MiB left: .*--shm-size\)$"):
        fit(2, NEED, memory=None, shared=64 * MEBIBYTE, place=PLACE)
    with pytest.raises(ValueError, match=r"^1 worker hand.* about .* MiB, but this job may take only 300 MiB more: "):
        fit(1, NEED, memory=300 * MEBIBYTE, shared=None, place=PLACE)
    with pytest.raises(ValueError, match=r"set train\.workers to 0 or"):
        fit(2, NEED, memory=300 * MEBIBYTE, shared=None, place=PLACE, fewer=True)
