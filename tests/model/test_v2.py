"""MViTv2: relative positions, residual pooling, widening in attention, with and without a class token."""

import pytest
import torch

from alive import V2
from mvit import create_model
from mvit.model.attention import MultiscaleAttention
from mvit.model.config import BlockConfig, PoolConfig
from mvit.model.relative import RelativePositions


def official_bias(q, keys, tables, grid_q, grid_k, class_tokens):
    """cal_rel_pos_spatial and _temporal of facebookresearch/SlowFast, as loops over queries and keys."""
    bias = torch.zeros(*q.shape[:3], keys, dtype=q.dtype)
    places_q = torch.cartesian_prod(*(torch.arange(n) for n in grid_q)).tolist()
    places_k = torch.cartesian_prod(*(torch.arange(n) for n in grid_k)).tolist()
    for i, at in enumerate(places_q):
        for j, other in enumerate(places_k):
            for axis, table in enumerate(tables):
                if table is None:
                    continue
                n_q, n_k = grid_q[axis], grid_k[axis]
                step_q, step_k = max(n_k / n_q, 1.0), max(n_q / n_k, 1.0)
                row = table[int(at[axis] * step_q - other[axis] * step_k + (n_k - 1) * step_k)]
                bias[:, :, class_tokens + i, class_tokens + j] += q[:, :, class_tokens + i] @ row
    return bias


@pytest.mark.parametrize("class_tokens", [0, 1])
@pytest.mark.parametrize(("grid_q", "grid_k"), [((2, 3, 4), (2, 3, 4)), ((2, 4, 4), (2, 2, 2)), ((3, 2, 2), (3, 4, 4))])
def test_the_bias_is_the_official_code_s(class_tokens, grid_q, grid_k):
    relative = RelativePositions(grid_q, grid_k, 5).double()
    for table in relative.parameters():
        torch.nn.init.normal_(table)
    queries, keys = (class_tokens + torch.Size(grid).numel() for grid in (grid_q, grid_k))
    q, k = torch.randn(2, 3, queries, 5).double(), torch.randn(2, 3, keys, 5).double()
    tables = (relative.time, relative.height, relative.width)
    expected = official_bias(q, keys, tables, grid_q, grid_k, class_tokens)
    torch.testing.assert_close(relative.bias(q, keys, grid_q, grid_k), expected)
    long_q, long_k = relative.extend(q, k, grid_q, grid_k, 0.3)
    torch.testing.assert_close(0.3 * long_q @ long_k.mT, 0.3 * q @ k.mT + expected)
    assert long_q.shape[-1] == long_k.shape[-1]
    assert long_q.shape[-1] % 8 == 0, "flash attention on a GPU wants that"


def test_tables_of_another_grid_are_interpolated():
    relative = RelativePositions((4, 8, 8), (4, 8, 8), 2)
    torch.nn.init.normal_(relative.height)
    same = RelativePositions((4, 5, 8), (4, 5, 8), 2)
    with torch.no_grad():
        resized = torch.nn.functional.interpolate(relative.height.T[None], 9, mode="linear")[0].T
        same.height.copy_(resized)
        q = torch.randn(1, 1, 4 * 5 * 8, 2)
        grid = (4, 5, 8)
        torch.testing.assert_close(relative.bias(q, q.shape[2], grid, grid), same.bias(q, q.shape[2], grid, grid))


def test_images_have_no_table_for_time_and_run_as_clips():
    model = create_model("mvit_test_4x32", num_classes=3, clip=(1, 32, 32), **V2).eval()
    assert not [name for name in model.state_dict() if name.endswith("relative.time")]
    with torch.no_grad():
        assert model(torch.randn(2, 3, 5, 32, 40)).shape == (2, 3)


@pytest.mark.parametrize("with_class_token", [False, True])
def test_residual_pooling_adds_the_queries_and_the_class_token_s_only_where_asked(with_class_token):
    halve = PoolConfig(kernel=(3, 3, 3), stride=(1, 2, 2), padding=(1, 1, 1))
    fields = {
        "stage": 0,
        "merge": None,
        "width": 8,
        "width_attention": 12,
        "width_out": 12,
        "widen_in": "attention",
        "width_skip": "normalised",
        "heads": 3,
        "pooling": "conv",
        "pool_q": halve,
        "pool_kv": halve,
        "class_token": True,
        "residual_class_token": with_class_token,
        "qkv_bias": True,
        "reversible": "none",
        "relative_grids": None,
        "drop_path": 0.0,
        "is_first_of_stage": False,
        "is_last_of_stage": False,
    }
    grid = (2, 4, 4)
    x = torch.randn(2, 33, 8, dtype=torch.float64)
    plain = MultiscaleAttention(BlockConfig(**fields, residual_pooling=False)).double()
    residual = MultiscaleAttention(BlockConfig(**fields, residual_pooling=True)).double()
    residual.load_state_dict(plain.state_dict())
    with torch.no_grad():
        torch.nn.init.eye_(plain.proj.weight)
        torch.nn.init.eye_(residual.proj.weight)
        gained = residual(x, grid)[0] - plain(x, grid)[0]
        queries = plain.pool_q(plain.q(x), grid)[0]
    torch.testing.assert_close(gained[:, 0], queries[:, 0] if with_class_token else torch.zeros_like(queries[:, 0]))
    torch.testing.assert_close(gained[:, 1:], queries[:, 1:])


def test_the_official_tables_of_odd_grids_are_floored():
    sizes = {}
    for how in ("grid", "floor"):
        config = create_model("mvit_test_4x32", clip=(4, 36, 36), **V2 | {"relative_positions": how}).config
        sizes[how] = [block.relative_grids for block in config.blocks()]
    assert sizes["grid"] == [((2, 9, 9), (2, 3, 3)), ((2, 5, 5), (2, 5, 5))]
    assert sizes["floor"] == [((2, 9, 9), (2, 2, 2)), ((2, 4, 4), (2, 4, 4))]
