"""Attention rolled out: how much of a result comes from each token, through all blocks (Abnar & Zuidema, ACL 2020).

Every sum counts its terms alike: a skip connection as much as the branch beside it, and where pooled queries are added
to what the attention gives, these as much as that. Heads are averaged. A pooled token comes from the cells of its
window alike; MLPs and norms stay with their token. It says by which ways something can have come, not what it did.

B batch, S streams (2 of a reversible model), N tokens into a block, Q out of it, the class token first.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from mvit.explanation.attention import Attention
from mvit.explanation.pooling import shared
from mvit.model.config import PoolConfig


def rollout(blocks: Sequence[Attention], first: int = 0) -> Tensor:
    """Shares of the tokens that enter block ``first`` in what the head reads: (B, N), summing to 1.

    ``blocks`` are all of a model. Goes from the result to the input by a vector, so no square of a grid is held.
    """
    last = blocks[-1]
    batch, _, queries, _ = last.weights.shape
    streams = 1 if last.block.reversible == "none" else 2
    parts = last.weights.new_zeros(batch, streams, queries)
    if last.block.class_token:
        parts[..., 0] = 1 / streams
    else:
        parts[:] = 1 / (streams * queries)
    for block in reversed(blocks[first:]):
        parts = _back(block, parts)
    return parts.sum(dim=1)


def _back(attention: Attention, parts: Tensor) -> Tensor:
    """Shares of what leaves a block to shares of what enters it: (B, S, Q) -> (B, S, N)."""
    block = attention.block
    if block.reversible == "none":
        x = parts[:, 0]
        if not block.skips_attention:
            return _branch(attention, x).unsqueeze(1)
        return (0.5 * (_unpooled(attention, x, block.pool_q.skip) + _branch(attention, x))).unsqueeze(1)
    if block.is_transition:  # both streams leave as one, and enter by halves
        x = parts.sum(dim=1)
        x = 0.5 * (_unpooled(attention, x, block.pool_q) + _branch(attention, x))
        return torch.stack([x / 2, x / 2], dim=1)
    first, second = parts.unbind(dim=1)  # Y1 = X1 + F(X2), Y2 = X2 + G(Y1)
    first = first + second / 2
    return torch.stack([first / 2, second / 2 + _branch(attention, first) / 2], dim=1)


def _branch(attention: Attention, x: Tensor) -> Tensor:
    """Through attention, to whose result pooled queries may be added: (B, Q) -> (B, N)."""
    block = attention.block
    own = torch.zeros_like(x)
    if block.residual_pooling:
        own = x / 2
        if block.class_token and not block.residual_class_token:
            own[:, 0] = 0
    keys = torch.einsum("bq,bqk->bk", x - own, attention.weights.mean(dim=1))
    return _unpooled(attention, keys, block.pool_kv) + _unpooled(attention, own, block.pool_q)


def _unpooled(attention: Attention, x: Tensor, pool: PoolConfig) -> Tensor:
    """Pooled tokens to those they came from, the class token to itself: (B, Q) -> (B, N)."""
    own = x[:, : attention.class_tokens]
    return torch.cat([own, shared(x[:, attention.class_tokens :], pool, attention.grid)], dim=1)
