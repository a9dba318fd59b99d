"""A residual step as one operator: a branch is added to its skip connection, and the sum is normalised.

Unfused, dropping paths, adding, normalising and autocast's casts pass the tokens by each of them; fused, the two that
are added are read once, and the sum and its norm written once. The sum alone is kept for gradients: its mean and
deviation are quicker computed again, while the row is at hand, than read.

The sum that ends a block is not fused with the norm that begins the next: a block's output is one tensor, which
activation checkpointing keeps and the pyramid of features reads.

B batch, N tokens, C channels.
"""

from typing import Any

import torch
from torch import Tensor

from mvit.model.kernels.launch import PROGRAMS, TILE, block_and_rows, ceil_of, device_of, sums_of


def add_and_norm(
    skip: Tensor,
    branch: Tensor,
    factor: Tensor | None,
    scale: Tensor,
    shift: Tensor,
    *,
    eps: float,
    dtype: torch.dtype | None = None,
) -> tuple[Tensor, Tensor]:
    """``skip + factor * branch`` and its norm: (B, N, C) and (B, N, C), the norm in ``dtype``, or in that of the sum.

    ``factor`` is (B, 1, 1), without gradient, and None for 1; ``scale`` and ``shift``, (C,), are the norm's. Rows are
    summed in float32, or in float64 for float64. The gradients of all others have none themselves.
    """
    kind = torch.promote_types(skip.dtype, branch.dtype)
    x, y = _add_and_norm(skip, branch, factor, scale, shift, eps, dtype or kind)
    return x, y


def norm(x: Tensor, scale: Tensor, shift: Tensor, *, eps: float, dtype: torch.dtype | None = None) -> Tensor:
    """The norm of tokens alone, (B, N, C) -> (B, N, C): to the bit that of ``add_and_norm`` where x is its sum."""
    _, y = _add_and_norm(x, None, None, scale, shift, eps, dtype or x.dtype)
    return y


@torch.library.custom_op("mvit::add_and_norm", mutates_args=())
def _add_and_norm(
    skip: Tensor,
    branch: Tensor | None,
    factor: Tensor | None,
    scale: Tensor,
    shift: Tensor,
    eps: float,
    dtype: torch.dtype,
) -> tuple[Tensor, Tensor]:
    """The sum, nothing where there is no branch, and the norm."""
    from mvit.model.kernels import norm_triton as device

    x, y = _sum_and_norm(skip, branch, dtype)
    rows, tokens, constants = _geometry(skip if branch is None else x, eps)
    with device_of(skip):
        device.norm_forward[(ceil_of(rows, constants["ROWS"]),)](
            skip.contiguous(), _contiguous(branch), _contiguous(factor), scale.contiguous(), shift.contiguous(),
            None if branch is None else x, y, rows, tokens, **constants,
        )  # fmt: skip
    return x, y


@_add_and_norm.register_fake
def _(
    skip: Tensor,
    branch: Tensor | None,
    factor: Tensor | None,
    scale: Tensor,
    shift: Tensor,
    eps: float,
    dtype: torch.dtype,
) -> tuple[Tensor, Tensor]:
    return _sum_and_norm(skip, branch, dtype)


@torch.library.custom_op("mvit::add_and_norm_backward", mutates_args=())
def _add_and_norm_backward(
    grad_x: Tensor | None,
    grad_y: Tensor,
    x: Tensor,
    factor: Tensor | None,
    scale: Tensor,
    eps: float,
    branch: torch.dtype | None,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The gradients of the sum, of the branch in its dtype or, for None, nothing, of the scale and of the shift."""
    from mvit.model.kernels import norm_triton as device

    grad, of_branch = _gradients(x, branch)
    rows, tokens, constants = _geometry(x, eps)
    programs = min(PROGRAMS, ceil_of(rows, constants["ROWS"]))
    shares = x.new_empty(2, programs, x.shape[-1], dtype=sums_of(x.dtype))
    with device_of(x):
        device.norm_backward[(programs,)](
            _contiguous(grad_x), grad_y.contiguous(), x.contiguous(), _contiguous(factor),
            scale.contiguous(), grad, None if branch is None else of_branch, *shares, rows, tokens, **constants,
        )  # fmt: skip
    of_scale, of_shift = (share.sum(dim=0).to(scale.dtype) for share in shares)
    return grad, of_branch, of_scale, of_shift


@_add_and_norm_backward.register_fake
def _(
    grad_x: Tensor | None,
    grad_y: Tensor,
    x: Tensor,
    factor: Tensor | None,
    scale: Tensor,
    eps: float,
    branch: torch.dtype | None,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    return *_gradients(x, branch), scale.new_empty(scale.shape), scale.new_empty(scale.shape)


def _keep(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    skip, branch, factor, scale, _, ctx.eps, _ = inputs
    ctx.skip, ctx.branch = skip.dtype, None if branch is None else branch.dtype
    ctx.save_for_backward(skip if branch is None else output[0], factor, scale)


def _backward(ctx: Any, grad_x: Tensor, grad_y: Tensor) -> tuple[Tensor | None, ...]:
    x, factor, scale = ctx.saved_tensors
    apart = ctx.branch is not None and (factor is not None or ctx.branch != x.dtype)  # else one gradient is both
    grad, of_branch, of_scale, of_shift = _add_and_norm_backward(
        None if ctx.branch is None else grad_x, grad_y, x, factor, scale, ctx.eps, ctx.branch if apart else None
    )
    of_branch = of_branch if apart else None if ctx.branch is None else grad
    return grad.to(ctx.skip), of_branch, None, of_scale, of_shift, None, None


_add_and_norm.register_autograd(_backward, setup_context=_keep)


def _sum_and_norm(skip: Tensor, branch: Tensor | None, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    y = skip.new_empty(skip.shape, dtype=dtype)
    if branch is None:
        return skip.new_empty(0), y
    return skip.new_empty(skip.shape, dtype=torch.promote_types(skip.dtype, branch.dtype)), y


def _gradients(x: Tensor, branch: torch.dtype | None) -> tuple[Tensor, Tensor]:
    return x.new_empty(x.shape), x.new_empty(0 if branch is None else x.shape, dtype=branch)


def _geometry(x: Tensor, eps: float) -> tuple[int, int, dict[str, Any]]:
    """Rows, how many of them make a sample, and what the kernels know when they are compiled."""
    batch, tokens, width = x.shape
    block, rows = block_and_rows(width, TILE)
    constants = {"C": width, "BLOCK": block, "ROWS": rows, "EPS": eps, "DOUBLE": x.dtype == torch.float64}
    return batch * tokens, tokens, constants | {"enable_fp_fusion": True}  # Triton's default, which is about to change


def _contiguous(x: Tensor | None) -> Tensor | None:
    return None if x is None else x.contiguous()
