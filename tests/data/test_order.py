"""Who sees which sample: the same batches for any number of ranks, and every sample evaluated exactly once."""

from itertools import chain

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mvit.data.order import Order, evaluated


def steps(order: Order, number: int) -> list[list[int]]:
    epoch = order.epoch(number)
    return [order.share(epoch, step) for step in range(len(order))]


def joined(parts) -> list[int]:
    return list(chain.from_iterable(parts))


@given(
    samples=st.integers(1, 200),
    piece=st.integers(1, 5),
    ranks=st.integers(1, 4),
    epoch=st.integers(0, 3),
    data=st.data(),
)
def test_ranks_put_together_see_what_one_process_sees(samples, piece, ranks, epoch, data):
    batch = piece * ranks
    samples = max(samples, batch)
    settings = {"samples": samples, "batch": batch, "seed": data.draw(st.integers(0, 2**32)), "whole": True}
    alone = steps(Order(**settings), epoch)
    pieces = [steps(Order(**settings, rank=rank, ranks=ranks), epoch) for rank in range(ranks)]
    assert [joined(parts) for parts in zip(*pieces, strict=True)] == alone
    assert all(len(part) == piece for parts in pieces for part in parts)
    seen = sorted(joined(alone))
    assert len(seen) == len(set(seen)) == samples - Order(**settings).left_out
    assert Order(**settings).left_out == samples % batch
    assert steps(Order(**settings | {"whole": False}), epoch)[: len(alone)] == alone


def test_one_process_leaves_nothing_out():
    order = Order(samples=11, batch=4, seed=3)
    assert ([len(step) for step in steps(order, 0)], order.left_out) == ([4, 4, 3], 0)
    assert sorted(joined(steps(order, 0))) == list(range(11))
    assert steps(order, 0) == steps(order, 0) != steps(order, 1)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"ranks": 3}, "set train.batch to a multiple of 3, such as 6"),
        ({"rank": 2, "ranks": 2}, "rank is 2 of 2"),
        ({"batch": 0}, "batch is 0"),
        ({"ranks": 2, "whole": False}, "2 ranks must leave out"),
        ({"batch": 12}, "11 samples do not fill one batch of 12"),
    ],
)
def test_what_cannot_be_divided_is_refused(settings, said):
    with pytest.raises(ValueError, match=said):
        Order(**{"samples": 11, "batch": 4, "seed": 0, "whole": True} | settings)


@given(samples=st.integers(0, 100), ranks=st.integers(1, 9))
def test_every_sample_is_evaluated_exactly_once(samples, ranks):
    shares = [evaluated(samples, rank, ranks) for rank in range(ranks)]
    assert sorted(index for share in shares for index in share) == list(range(samples))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_a_rank_that_does_not_exist_evaluates_nothing():
    with pytest.raises(ValueError, match="rank is 2 of 2"):
        evaluated(5, 2, 2)
