"""Rollout, which goes from the result down, against the product of whole matrices from the input up."""

import pytest
import torch

from lively import KINDS, lively, mean_of_windows
from mvit.explanation.attention import attentions
from mvit.explanation.rollout import rollout


def pooled(pool, grid, first):
    """How tokens come from those they are averaged of: (Q, N), by pooling each unit vector."""
    cells = torch.Size(grid).numel()
    unit = torch.eye(cells, dtype=torch.float64).view(cells, 1, *grid)
    body = mean_of_windows(unit, pool).flatten(1).T
    return torch.block_diag(torch.eye(first, dtype=torch.float64), body)


def branch(attention, clip):
    """Attention and the queries added to it as one matrix (Q, N)."""
    block, first = attention.block, attention.class_tokens
    keys = attention.weights[clip].mean(0) @ pooled(block.pool_kv, attention.grid, first)
    if not block.residual_pooling:
        return keys
    both = (keys + pooled(block.pool_q, attention.grid, first)) / 2
    return torch.cat([(both if block.residual_class_token else keys)[:first], both[first:]])


@pytest.mark.parametrize("kind", KINDS)
def test_rollout_is_the_product_of_the_blocks(kind):
    model, clips = lively(kind)
    blocks = list(attentions(model, clips))
    first = int(model.config.class_token)
    for clip in range(len(clips)):
        cells = torch.Size(blocks[0].grid).numel() + first
        one = two = torch.eye(cells, dtype=torch.float64)  # what each token of each stream is made of
        for each in blocks:
            block, mixed = each.block, branch(each, clip)
            if not block.skips_attention:
                one = two = mixed @ one
            elif block.reversible == "none":
                one = two = (pooled(block.pool_q.skip, each.grid, first) @ one + mixed @ one) / 2
            elif block.is_transition:
                together = (one + two) / 2
                one = two = (pooled(block.pool_q, each.grid, first) @ together + mixed @ together) / 2
            else:
                one = (one + mixed @ two) / 2
                two = (two + one) / 2
        made_of = (one + two) / 2
        expected = made_of[0] if first else made_of.mean(0)
        found = rollout(blocks)[clip]
        torch.testing.assert_close(found, expected)
        assert found.sum().item() == pytest.approx(1)
        assert not torch.allclose(found, rollout([each.indifferent() for each in blocks])[clip], atol=1e-6)


def test_rollout_stops_at_a_block_and_is_of_its_grid():
    model, clips = lively("v2")
    blocks = list(attentions(model, clips))
    shares = rollout(blocks, first=1)
    assert shares.shape == (2, 1 + torch.Size(blocks[1].grid).numel())
    torch.testing.assert_close(shares.sum(-1), torch.ones(2, dtype=torch.float64))
