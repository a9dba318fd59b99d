"""Attention as it was in a forward pass, computed again from the queries and keys of each block.

Fused kernels hold no weights, so a block runs as it is, and its attention once more beside it.

B batch, h heads, N tokens into a block, Q queries, K keys, each with the class token first where there is one.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from mvit.explanation.pooling import averaged, shared
from mvit.model.block import MultiscaleBlock
from mvit.model.config import BlockConfig, Triple
from mvit.model.mvit import MViT
from mvit.model.reversible import ReversibleBlock, TransitionBlock


@dataclass(frozen=True, kw_only=True)
class Attention:
    """The attention of one block."""

    index: int
    block: BlockConfig
    grid: Triple
    """Of the tokens that enter the block."""
    weights: Tensor
    """(B, h, Q, K), rows summing to 1."""

    @property
    def class_tokens(self) -> int:
        """1 where there is a class token, else 0."""
        return int(self.block.class_token)

    def read(self) -> Tensor:
        """What the class token's query reads, or the queries on average where there is none: (B, h, N), summing to 1.

        Pooling of keys is undone: each key's share goes back to the cells that it was pooled from.
        """
        return self._on_cells(self.weights[:, :, 0] if self.block.class_token else self.weights.mean(dim=2))

    def between_cells(self) -> Tensor:
        """What each token that enters the block asks of each, pooling of queries and keys undone: (B, h, N, N).

        A cell asks what the queries pooled from it ask on average. Rows sum to 1, but to 0 where no query reads a cell.
        Takes memory by the square of the grid.
        """
        rows = self._on_cells(self.weights)
        own, body = rows[:, :, : self.class_tokens], rows[:, :, self.class_tokens :]
        return torch.cat([own, averaged(body.mT, self.block.pool_q, self.grid).mT], dim=2)

    def averaged_over_heads(self) -> "Attention":
        """The same as one head."""
        return replace(self, weights=self.weights.mean(dim=1, keepdim=True))

    def indifferent(self) -> "Attention":
        """The same block as if it attended to every key alike."""
        return replace(self, weights=torch.full_like(self.weights, 1 / self.weights.shape[-1]))

    def _on_cells(self, rows: Tensor) -> Tensor:  # (..., K) -> (..., N)
        own, body = rows[..., : self.class_tokens], rows[..., self.class_tokens :]
        return torch.cat([own, shared(body, self.block.pool_kv, self.grid)], dim=-1)


def check(model: MViT) -> None:
    """Raise ``ValueError`` for a model that merges patches: such a merging is not undone here."""
    if model.config.widen_in == "merging":
        raise ValueError(
            "this model merges patches between its stages (widen_in is 'merging'), and explain can only undo pooling: "
            "take a model that widens in 'mlp' or 'attention'"
        )


@torch.no_grad()
def attentions(model: MViT, clips: Tensor) -> Iterator[Attention]:
    """The attention of each block in turn, for clips (B, 3, T, H, W), in the type of the model's weights.

    One at a time is held. Put the model into evaluation mode first, or paths that are dropped are missing. Raises
    ``ValueError`` for a model that merges patches.
    """
    check(model)
    with torch.autocast(clips.device.type, enabled=False):
        x, grid = model.embed(clips)
        for index, (block, config) in enumerate(zip(model.blocks, model.config.blocks(), strict=True)):
            assert isinstance(block, MultiscaleBlock | ReversibleBlock | TransitionBlock)
            entered: list[tuple[Any, ...]] = []
            hook = block.attn.register_forward_pre_hook(lambda _, given, entered=entered: entered.append(given))
            try:
                x, left = block(x, grid)
            finally:
                hook.remove()
            yield Attention(index=index, block=config, grid=grid, weights=block.attn.weights(*entered[0]))
            grid = left
