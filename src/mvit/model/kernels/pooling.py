"""The pool of pooling attention as one operator: depthwise convolution, class token passed by, norm over each head.

Unfused, a pool writes and reads its tokens four to six times; fused, it reads them and writes the fewer that are left.
q, k and v are pooled by a call each: they are three tensors, so one kernel for all three would read and write as much,
and would save two launches, which a CUDA graph saves as well.

B batch, N tokens in and Q tokens out, each with the class token if there is one; C channels, d channels a head.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from mvit.model.config import PoolConfig, Triple, convolved
from mvit.model.kernels.launch import PROGRAMS, TILE, block_and_rows, ceil_of, device_of, sums_of

TAPS = 8
"""Taps of the weight whose gradients a program sums."""


def pool_and_norm(
    x: Tensor,
    weight: Tensor,
    scale: Tensor,
    shift: Tensor,
    grid: Triple,
    pool: PoolConfig,
    *,
    class_token: bool,
    eps: float,
) -> tuple[Tensor, Triple]:
    """Tokens pooled by a kernel that all heads share, then normalised over each head: (B, N, C) -> (B, Q, C), and grid.

    ``weight`` is (d, 1, kt, kh, kw); ``scale`` and ``shift``, (d,), are the norm's. Sums are in float32, or in float64
    for float64, and the dtype of ``x`` comes out. All four have gradients, which have none. Raises ``ValueError`` for
    a grid that leaves no window, and for tokens that are not the grid's.
    """
    new_grid = pool.grid_of(grid)
    tokens = int(class_token) + grid[0] * grid[1] * grid[2]
    if x.shape[1] != tokens:
        raise ValueError(f"{x.shape[1]} tokens for a grid of {grid}: expected {tokens}")
    y = _pool(x, weight, scale, shift, list(grid), list(pool.stride), list(pool.padding), class_token, eps)
    return y, new_grid


@torch.library.custom_op("mvit::pool_and_norm", mutates_args=())
def _pool(
    x: Tensor,
    weight: Tensor,
    scale: Tensor,
    shift: Tensor,
    grid: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    class_token: bool,
    eps: float,
) -> Tensor:
    from mvit.model.kernels import pooling_triton as device

    geometry = _Geometry(x, weight, grid, stride, padding, class_token)
    x = _with_whole_rows(x)
    y = geometry.pooled(x)
    sums = sums_of(x.dtype)
    rows = y.numel() // geometry.width
    with device_of(x):
        device.pool_forward[(ceil_of(rows, geometry.rows),)](
            x, _by_tap(weight, sums), scale.to(sums).contiguous(), shift.to(sums).contiguous(), y,
            rows, geometry.heads, x.stride(0), x.stride(1), *geometry.grids,
            **geometry.constants, EPS=eps, ROWS=geometry.rows,
        )  # fmt: skip
    return y


@_pool.register_fake
def _(
    x: Tensor,
    weight: Tensor,
    scale: Tensor,
    shift: Tensor,
    grid: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    class_token: bool,
    eps: float,
) -> Tensor:
    return _Geometry(x, weight, grid, stride, padding, class_token).pooled(x)


@torch.library.custom_op("mvit::pool_and_norm_backward", mutates_args=())
def _pool_backward(
    grad: Tensor,
    x: Tensor,
    weight: Tensor,
    scale: Tensor,
    grid: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    class_token: bool,
    eps: float,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    from mvit.model.kernels import pooling_triton as device

    geometry = _Geometry(x, weight, grid, stride, padding, class_token)
    sums = sums_of(x.dtype)
    x, grad, by_tap = _with_whole_rows(x), grad.contiguous(), _by_tap(weight, sums)
    grad_pooled = torch.empty_like(grad, dtype=sums)
    grad_x = torch.empty_like(x, memory_format=torch.contiguous_format)
    with device_of(x):
        rows = grad.numel() // geometry.width
        programs = min(PROGRAMS, ceil_of(rows, geometry.rows))
        of_scale = x.new_empty(programs, geometry.width, dtype=sums)
        of_shift = torch.empty_like(of_scale)
        device.norm_backward[(programs,)](
            x, by_tap, scale.to(sums).contiguous(), grad, grad_pooled, of_scale, of_shift,
            rows, geometry.heads, x.stride(0), x.stride(1), *geometry.grids,
            **geometry.constants, EPS=eps, ROWS=geometry.rows,
        )  # fmt: skip

        rows = x.numel() // geometry.width
        device.input_backward[(ceil_of(rows, geometry.rows),)](
            grad_pooled, by_tap, grad_x,
            rows, geometry.heads, *geometry.grids,
            **geometry.constants, ROWS=geometry.rows,
        )  # fmt: skip

        rows = grad.shape[0] * (grad.shape[1] - class_token) * geometry.heads
        rows_at_once = max(1, geometry.rows // TAPS)
        tap_groups = ceil_of(by_tap.shape[0], TAPS)
        programs = min(ceil_of(PROGRAMS, tap_groups), ceil_of(rows, rows_at_once))
        of_weight = x.new_empty(programs, *by_tap.shape, dtype=sums)
        device.weight_backward[(programs, tap_groups)](
            x, grad_pooled, of_weight,
            rows, geometry.heads, x.stride(0), x.stride(1), *geometry.grids,
            **geometry.constants, ROWS=rows_at_once, TAPS=TAPS,
        )  # fmt: skip
    grad_weight = of_weight.sum(dim=0).T.reshape(weight.shape).to(weight.dtype).contiguous()
    return grad_x, grad_weight, of_scale.sum(dim=0).to(scale.dtype), of_shift.sum(dim=0).to(scale.dtype)


@_pool_backward.register_fake
def _(
    grad: Tensor,
    x: Tensor,
    weight: Tensor,
    scale: Tensor,
    grid: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    class_token: bool,
    eps: float,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    grads = (torch.empty_like(of, memory_format=torch.contiguous_format) for of in (x, weight, scale, scale))
    return tuple(grads)  # type: ignore[return-value]


def _keep(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    x, weight, scale, _, *ctx.settings = inputs
    ctx.save_for_backward(x, weight, scale)


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    return *_pool_backward(grad, *ctx.saved_tensors, *ctx.settings), *(None for _ in ctx.settings)


_pool.register_autograd(_backward, setup_context=_keep)


class _Geometry:
    """What the kernels are told of sizes, and how much of it one program takes."""

    def __init__(
        self,
        x: Tensor,
        weight: Tensor,
        grid: Sequence[int],
        stride: Sequence[int],
        padding: Sequence[int],
        class_token: bool,
    ) -> None:
        kernel = _triple(weight.shape[2:])
        self.width = weight.shape[0]
        self.heads = x.shape[2] // self.width
        self.new_grid = convolved(_triple(grid), kernel, _triple(stride), _triple(padding))
        self.grids = (*grid, *self.new_grid)
        self.class_token = int(class_token)
        block, self.rows = block_and_rows(self.width, TILE)
        self.constants = {
            "KERNEL": kernel,
            "STRIDE": _triple(stride),
            "PADDING": _triple(padding),
            "CLASS": self.class_token,
            "D": self.width,
            "BLOCK": block,
            "enable_fp_fusion": True,  # Triton's default is about to change, and warns
        }

    def pooled(self, x: Tensor) -> Tensor:
        t, h, w = self.new_grid
        return x.new_empty(x.shape[0], self.class_token + t * h * w, x.shape[2])


def _triple(values: Sequence[int]) -> Triple:
    t, h, w = values
    return (t, h, w)


def _with_whole_rows(x: Tensor) -> Tensor:
    return x if x.stride(2) == 1 else x.contiguous()


def _by_tap(weight: Tensor, kind: torch.dtype) -> Tensor:
    """(d, 1, kt, kh, kw) -> (taps, d), so that the channels of a tap lie side by side."""
    return weight.flatten(1).T.to(kind).contiguous()
