"""Pooling undone, against average pooling and on grids small enough to write down."""

import pytest
import torch
from torch.nn import functional as F

from alive import two_stages
from lively import mean_of_windows
from mvit.explanation.pooling import averaged, grids, on_pixels, shared
from mvit.model.config import PoolConfig

POOLS = {
    "overlapping": PoolConfig(kernel=(3, 3, 3), stride=(1, 2, 2), padding=(1, 1, 1)),
    "side by side": PoolConfig(kernel=(2, 2, 2), stride=(2, 2, 2), padding=(0, 0, 0)),
    "with gaps": PoolConfig(kernel=(1, 3, 3), stride=(1, 4, 5), padding=(0, 1, 1)),
    "even and padded": PoolConfig(kernel=(2, 4, 2), stride=(1, 2, 2), padding=(1, 2, 1)),
    "none": PoolConfig(kernel=(1, 1, 1), stride=(1, 1, 1), padding=(0, 0, 0)),
}
GRIDS = [(2, 6, 4), (3, 7, 9), (4, 4, 11)]


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("pool", POOLS.values(), ids=POOLS)
def test_sharing_is_the_transpose_of_average_pooling(pool, grid):
    cells = torch.randn(1, 1, *grid, dtype=torch.float64, requires_grad=True)
    pooled = mean_of_windows(cells, pool)
    values = torch.rand(2, pooled.numel(), dtype=torch.float64)
    undone = shared(values, pool, grid)
    assert undone.shape == (2, cells.numel())
    for value, found in zip(values, undone, strict=True):
        (expected,) = torch.autograd.grad(pooled, cells, value.view_as(pooled), retain_graph=True)
        torch.testing.assert_close(found, expected.flatten())
    torch.testing.assert_close(undone.sum(-1), values.sum(-1))


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("pool", POOLS.values(), ids=POOLS)
def test_averages_keep_a_level_wherever_a_window_reads(pool, grid):
    t, h, w = pool.grid_of(grid)
    undone = averaged(torch.full((t * h * w,), 0.7, dtype=torch.float64), pool, grid).view(grid)
    cells = torch.ones(1, 1, *grid, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(mean_of_windows(cells, pool).sum(), cells)
    torch.testing.assert_close(undone, 0.7 * (slope[0, 0] > 0).double())


@pytest.mark.parametrize("pool", [POOLS["side by side"], POOLS["none"]], ids=["side by side", "none"])
def test_windows_side_by_side_give_back_what_was_pooled(pool):
    grid = (4, 6, 8)
    values = torch.rand(torch.Size(pool.grid_of(grid)).numel(), dtype=torch.float64)
    for undo, factor in ((averaged, 1), (shared, torch.Size(pool.kernel).numel())):
        cells = undo(values, pool, grid).view(1, 1, *grid)
        torch.testing.assert_close(F.avg_pool3d(cells, pool.kernel, pool.stride).flatten() * factor, values)


def test_a_row_by_hand():
    pool = PoolConfig(kernel=(1, 1, 3), stride=(1, 1, 2), padding=(0, 0, 1))  # windows {0, 1}, {1, 2, 3}, {3, 4}
    values = torch.tensor([6.0, 3.0, 4.0])
    assert shared(values, pool, (1, 1, 5)).tolist() == [3, 4, 1, 3, 2]
    assert averaged(values, pool, (1, 1, 5)).tolist() == [6, 4.5, 3, 3.5, 4]


@pytest.mark.parametrize("clip", [(4, 32, 32), (5, 37, 50), (1, 16, 16)])
def test_maps_come_to_the_pixels_of_the_clip_where_their_tokens_lie(clip):
    config = two_stages((4, 32, 32), (1, 1), (16, 32))
    for index, (t, h, w) in enumerate(grids(config, clip)):
        level = on_pixels(torch.ones(2, t * h * w), config, clip, index)
        torch.testing.assert_close(level, torch.ones(2, *clip))
        spike = torch.zeros(t, h, w)
        spike[t - 1, 0, w - 1] = 1
        pixels = on_pixels(spike.flatten(), config, clip, index)
        assert pixels[-1, 0, -1] == pixels.max() > 0
        if w > 2:
            assert pixels[:, :, 0].max() == 0
