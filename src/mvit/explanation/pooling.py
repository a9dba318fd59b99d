"""Pooling undone: from a pooled grid back to the cells that its windows were made of.

What is divided (shares of attention) and what is not (how strong a thing is somewhere) go back differently: the one is
shared out and keeps its sum, the other is averaged and keeps its level.

Leading dimensions are anything; K pooled cells, T, H, W the grid that was pooled.
"""

import torch
from torch import Tensor

from mvit.model.config import MViTConfig, PoolConfig, Triple


def shared(values: Tensor, pool: PoolConfig, grid: Triple) -> Tensor:
    """Each pooled cell's value shared out alike to the cells of its window: (..., K) -> (..., T * H * W), sums kept.

    Padding gets nothing, and a cell that no window reads has 0. It is the transpose of average pooling.
    """
    return _undone(values, pool, grid, over="cells")


def averaged(values: Tensor, pool: PoolConfig, grid: Triple) -> Tensor:
    """Each cell given the mean of the pooled cells whose windows hold it: (..., K) -> (..., T * H * W), levels kept.

    A cell that no window reads has 0.
    """
    return _undone(values, pool, grid, over="windows")


def stem(config: MViTConfig) -> PoolConfig:
    """The stem's windows over frames and pixels, as a pooling."""
    return PoolConfig(kernel=config.stem_kernel, stride=config.stem_stride, padding=config.stem_padding)


def grids(config: MViTConfig, clip: Triple) -> list[Triple]:
    """The grid that enters each block for a clip of (frames, height, width), and last the one that leaves them all."""
    entered = [config.grid_of(clip)]
    for block in config.blocks():
        entered.append(block.pool_q.grid_of(entered[-1]))
    return entered


def on_pixels(values: Tensor, config: MViTConfig, clip: Triple, index: int) -> Tensor:
    """A map on the grid that enters a block brought to frames and pixels, levels kept: (..., K) -> (..., T, H, W).

    ``index`` is the block's, or the number of blocks for the grid that leaves the last one.
    """
    pools = [stem(config), *(block.pool_q.skip for block in config.blocks())]
    for pool, grid in reversed(list(zip(pools, [clip, *grids(config, clip)], strict=False))[: index + 1]):
        values = averaged(values, pool, grid)
    return values.unflatten(-1, clip)


def _undone(values: Tensor, pool: PoolConfig, grid: Triple, *, over: str) -> Tensor:
    """By a matrix for each axis, as a window is the product of its sides; its rows or its columns sum to 1."""
    pooled = pool.grid_of(grid)
    sides = []
    for axis in range(3):
        first = torch.arange(pooled[axis]).unsqueeze(1) * pool.stride[axis] - pool.padding[axis]
        cell = torch.arange(grid[axis])
        window = ((cell >= first) & (cell < first + pool.kernel[axis])).to(values)  # (pooled cells, cells)
        sides.append(window / window.sum(1 if over == "cells" else 0, keepdim=True).clamp(min=1))
    return torch.einsum("...abc,ax,by,cz->...xyz", values.unflatten(-1, pooled), *sides).flatten(-3)
