"""A sum and its norm in Triton, a row at a time: the C channels of one token.

Names in capitals are known when a kernel is compiled; ``BLOCK`` is C rounded up to a power of 2. What a
pointer that is None would be read or written for is not compiled. No sum depends on the order in which programs run.
"""

import triton
import triton.language as tl


@triton.jit
def norm_forward(
    skip_ptr, branch_ptr, factor_ptr, scale_ptr, shift_ptr, x_ptr, y_ptr, rows, tokens,
    C: tl.constexpr, BLOCK: tl.constexpr, ROWS: tl.constexpr, EPS: tl.constexpr, DOUBLE: tl.constexpr,
):  # fmt: skip
    """x = skip + factor * branch, and y, its norm: (B, N, C), contiguous; without a branch y is the norm of skip."""
    sums: tl.constexpr = tl.float64 if DOUBLE else tl.float32
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    channel = tl.arange(0, BLOCK)
    at = row.to(tl.int64)[:, None] * C + channel[None, :]
    there = (row < rows)[:, None] & (channel < C)[None, :]
    x = tl.load(skip_ptr + at, mask=there, other=0).to(sums)
    if branch_ptr is not None:
        branch = tl.load(branch_ptr + at, mask=there, other=0).to(sums)
        if factor_ptr is not None:
            branch *= tl.load(factor_ptr + row // tokens, mask=row < rows, other=0).to(sums)[:, None]
        kept = (x + branch).to(x_ptr.dtype.element_ty)
        tl.store(x_ptr + at, kept, mask=there)
        x = kept.to(sums)  # the norm is of the sum as it is kept, from which gradients start
    scale = tl.load(scale_ptr + channel, mask=channel < C, other=0).to(sums)
    shift = tl.load(shift_ptr + channel, mask=channel < C, other=0).to(sums)
    normed, _ = normed_rows(x, channel, EPS, C)
    y = normed * scale[None, :] + shift[None, :]
    tl.store(y_ptr + at, y.to(y_ptr.dtype.element_ty), mask=there)


@triton.jit
def norm_backward(
    grad_x_ptr, grad_y_ptr, x_ptr, factor_ptr, scale_ptr, grad_ptr, grad_branch_ptr, grad_scale_ptr, grad_shift_ptr,
    rows, tokens,
    C: tl.constexpr, BLOCK: tl.constexpr, ROWS: tl.constexpr, EPS: tl.constexpr, DOUBLE: tl.constexpr,
):  # fmt: skip
    """The gradient of x by both ways, that of the branch, and each program's share of those of scale and shift."""
    sums: tl.constexpr = tl.float64 if DOUBLE else tl.float32
    channel = tl.arange(0, BLOCK)
    scale = tl.load(scale_ptr + channel, mask=channel < C, other=0).to(sums)
    of_scale = tl.zeros((ROWS, BLOCK), sums)
    of_shift = tl.zeros((ROWS, BLOCK), sums)
    for first in range(tl.program_id(0) * ROWS, rows, tl.num_programs(0) * ROWS):
        row = first + tl.arange(0, ROWS)
        at = row.to(tl.int64)[:, None] * C + channel[None, :]
        there = (row < rows)[:, None] & (channel < C)[None, :]
        x = tl.load(x_ptr + at, mask=there, other=0).to(sums)
        normed, deviation = normed_rows(x, channel, EPS, C)
        grad_y = tl.load(grad_y_ptr + at, mask=there, other=0).to(sums)
        of_scale += grad_y * normed
        of_shift += grad_y
        grad = norm_gradient(grad_y * scale[None, :], normed, deviation, C)
        if grad_x_ptr is not None:
            grad += tl.load(grad_x_ptr + at, mask=there, other=0).to(sums)
        tl.store(grad_ptr + at, grad.to(grad_ptr.dtype.element_ty), mask=there)
        if grad_branch_ptr is not None:
            if factor_ptr is not None:
                grad *= tl.load(factor_ptr + row // tokens, mask=row < rows, other=0).to(sums)[:, None]
            tl.store(grad_branch_ptr + at, grad.to(grad_branch_ptr.dtype.element_ty), mask=there)
    share = tl.program_id(0) * C + channel
    tl.store(grad_scale_ptr + share, tl.sum(of_scale, axis=0), mask=channel < C)
    tl.store(grad_shift_ptr + share, tl.sum(of_shift, axis=0), mask=channel < C)


@triton.jit
def normed_rows(x, channel, EPS: tl.constexpr, C: tl.constexpr):
    """Rows with mean 0 and variance 1 over their channels, and the deviation that they were divided by."""
    mean = tl.sum(x, axis=1) / C
    centred = tl.where((channel < C)[None, :], x - mean[:, None], 0.0)
    deviation = tl.sqrt(tl.sum(centred * centred, axis=1) / C + EPS)
    return centred / deviation[:, None], deviation


@triton.jit
def norm_gradient(grad, normed, deviation, C: tl.constexpr):
    """The gradient of rows from that of the rows that ``normed_rows`` made of them."""
    mean = tl.sum(grad, axis=1) / C
    along = tl.sum(grad * normed, axis=1) / C
    return (grad - mean[:, None] - normed * along[:, None]) / deviation[:, None]
