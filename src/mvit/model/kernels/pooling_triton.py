"""The fused pool in Triton: a depthwise convolution over tokens and the norm of what it gives, a row at a time.

A row is the d channels of one head of one token. Tokens are (B, N, heads * d): a class token, where there is one, then
time x height x width. Names in capitals are known when a kernel is compiled; ``BLOCK`` is d rounded up to a power of 2.
Sums are in the dtype of the weight, which is float32 or more. None depends on the order in which programs run.
"""

import triton
import triton.language as tl

from mvit.model.kernels.norm_triton import norm_gradient, normed_rows


@triton.jit
def pool_forward(
    x_ptr, weight_ptr, scale_ptr, shift_ptr, y_ptr,
    rows, heads, step_batch, step_token, T, H, W, OT, OH, OW,
    KERNEL: tl.constexpr, STRIDE: tl.constexpr, PADDING: tl.constexpr, CLASS: tl.constexpr,
    D: tl.constexpr, BLOCK: tl.constexpr, ROWS: tl.constexpr, EPS: tl.constexpr,
):  # fmt: skip
    """Pooled and normalised rows: x (B, N, C) by weight (taps, d) -> y (B, Q, C), contiguous."""
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    channel = tl.arange(0, BLOCK)
    pooled = _pooled(
        x_ptr, weight_ptr, row, rows, heads, step_batch, step_token, T, H, W, OT, OH, OW,
        KERNEL, STRIDE, PADDING, CLASS, D, BLOCK, ROWS,
    )  # fmt: skip
    normed, _ = normed_rows(pooled, channel, EPS, D)
    scale = tl.load(scale_ptr + channel, mask=channel < D, other=0)
    shift = tl.load(shift_ptr + channel, mask=channel < D, other=0)
    at = row.to(tl.int64)[:, None] * D + channel[None, :]
    y = normed * scale[None, :] + shift[None, :]
    tl.store(y_ptr + at, y.to(y_ptr.dtype.element_ty), mask=(row < rows)[:, None] & (channel < D)[None, :])


@triton.jit
def norm_backward(
    x_ptr, weight_ptr, scale_ptr, grad_ptr, grad_pooled_ptr, grad_scale_ptr, grad_shift_ptr,
    rows, heads, step_batch, step_token, T, H, W, OT, OH, OW,
    KERNEL: tl.constexpr, STRIDE: tl.constexpr, PADDING: tl.constexpr, CLASS: tl.constexpr,
    D: tl.constexpr, BLOCK: tl.constexpr, ROWS: tl.constexpr, EPS: tl.constexpr,
):  # fmt: skip
    """The norm's gradients: of its input, (B, Q, C), and each program's share of those of its scale and shift.

    What the norm was given is pooled again, not kept between the passes.
    """
    channel = tl.arange(0, BLOCK)
    scale = tl.load(scale_ptr + channel, mask=channel < D, other=0)
    of_scale = tl.zeros((ROWS, BLOCK), grad_pooled_ptr.dtype.element_ty)
    of_shift = tl.zeros((ROWS, BLOCK), grad_pooled_ptr.dtype.element_ty)
    for first in range(tl.program_id(0) * ROWS, rows, tl.num_programs(0) * ROWS):
        row = first + tl.arange(0, ROWS)
        pooled = _pooled(
            x_ptr, weight_ptr, row, rows, heads, step_batch, step_token, T, H, W, OT, OH, OW,
            KERNEL, STRIDE, PADDING, CLASS, D, BLOCK, ROWS,
        )  # fmt: skip
        normed, deviation = normed_rows(pooled, channel, EPS, D)
        at = row.to(tl.int64)[:, None] * D + channel[None, :]
        there = (row < rows)[:, None] & (channel < D)[None, :]
        grad = tl.load(grad_ptr + at, mask=there, other=0).to(normed.dtype)
        of_scale += grad * normed
        of_shift += grad
        tl.store(grad_pooled_ptr + at, norm_gradient(grad * scale[None, :], normed, deviation, D), mask=there)
    share = tl.program_id(0) * D + channel
    tl.store(grad_scale_ptr + share, tl.sum(of_scale, axis=0), mask=channel < D)
    tl.store(grad_shift_ptr + share, tl.sum(of_shift, axis=0), mask=channel < D)


@triton.jit
def input_backward(
    grad_pooled_ptr, weight_ptr, grad_x_ptr,
    rows, heads, T, H, W, OT, OH, OW,
    KERNEL: tl.constexpr, STRIDE: tl.constexpr, PADDING: tl.constexpr, CLASS: tl.constexpr,
    D: tl.constexpr, BLOCK: tl.constexpr, ROWS: tl.constexpr,
):  # fmt: skip
    """The gradient of the tokens: each gathers it from the windows that it lies in. (B, Q, C) -> (B, N, C)."""
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    channel = tl.arange(0, BLOCK)
    inside = (channel < D)[None, :]
    head = row % heads
    token = row // heads % (CLASS + T * H * W)
    sample = (row // heads // (CLASS + T * H * W)).to(tl.int64)
    pooled_tokens = CLASS + OT * OH * OW
    in_grid = (row < rows) & (token >= CLASS)
    place = token - CLASS
    grad = tl.zeros((ROWS, BLOCK), grad_pooled_ptr.dtype.element_ty)
    if CLASS:
        at = (sample * pooled_tokens * heads + head)[:, None] * D + channel[None, :]
        mask = ((row < rows) & (token == 0))[:, None] & inside
        grad += tl.load(grad_pooled_ptr + at, mask=mask, other=0)
    COLUMNS: tl.constexpr = KERNEL[2]  # Triton 3.6 takes no entry of a tuple for a constant
    for plane in range(KERNEL[0] * KERNEL[1]):
        t = place // W // H + PADDING[0] - plane // KERNEL[1]  # where the window begins, if it is one
        h = place // W % H + PADDING[1] - plane % KERNEL[1]
        for column in tl.static_range(COLUMNS):
            w = place % W + PADDING[2] - column
            is_window = (t >= 0) & (h >= 0) & (w >= 0)
            is_window &= (t % STRIDE[0] == 0) & (h % STRIDE[1] == 0) & (w % STRIDE[2] == 0)
            is_window &= (t // STRIDE[0] < OT) & (h // STRIDE[1] < OH) & (w // STRIDE[2] < OW)
            window = CLASS + (t // STRIDE[0] * OH + h // STRIDE[1]) * OW + w // STRIDE[2]
            at = ((sample * pooled_tokens + window) * heads + head)[:, None] * D + channel[None, :]
            part = tl.load(grad_pooled_ptr + at, mask=(in_grid & is_window)[:, None] & inside, other=0)
            tap = tl.load(weight_ptr + (plane * KERNEL[2] + column) * D + channel, mask=channel < D, other=0)
            grad += part * tap[None, :]
    at = row.to(tl.int64)[:, None] * D + channel[None, :]
    tl.store(grad_x_ptr + at, grad.to(grad_x_ptr.dtype.element_ty), mask=(row < rows)[:, None] & inside)


@triton.jit
def weight_backward(
    x_ptr, grad_pooled_ptr, grad_weight_ptr,
    rows, heads, step_batch, step_token, T, H, W, OT, OH, OW,
    KERNEL: tl.constexpr, STRIDE: tl.constexpr, PADDING: tl.constexpr, CLASS: tl.constexpr,
    D: tl.constexpr, BLOCK: tl.constexpr, ROWS: tl.constexpr, TAPS: tl.constexpr,
):  # fmt: skip
    """Each program's share of the gradient of the weight, for ``TAPS`` taps: (B, Q, C) -> (programs, taps, d)."""
    channel = tl.arange(0, BLOCK)
    tap = tl.program_id(1) * TAPS + tl.arange(0, TAPS)
    is_tap = tap < KERNEL[0] * KERNEL[1] * KERNEL[2]
    windows = OT * OH * OW
    total = tl.zeros((TAPS, ROWS, BLOCK), grad_pooled_ptr.dtype.element_ty)  # its rows are summed once, at the end
    for first in range(tl.program_id(0) * ROWS, rows, tl.num_programs(0) * ROWS):
        row = first + tl.arange(0, ROWS)
        head = row % heads
        window = row // heads % windows
        sample = (row // heads // windows).to(tl.int64)
        at = ((sample * (CLASS + windows) + CLASS + window) * heads + head)[:, None] * D + channel[None, :]
        grad = tl.load(grad_pooled_ptr + at, mask=(row < rows)[:, None] & (channel < D)[None, :], other=0)
        t = (window // OW // OH * STRIDE[0] - PADDING[0])[None, :] + (tap // (KERNEL[1] * KERNEL[2]))[:, None]
        h = (window // OW % OH * STRIDE[1] - PADDING[1])[None, :] + (tap // KERNEL[2] % KERNEL[1])[:, None]
        w = (window % OW * STRIDE[2] - PADDING[2])[None, :] + (tap % KERNEL[2])[:, None]
        is_place = (t >= 0) & (t < T) & (h >= 0) & (h < H) & (w >= 0) & (w < W)
        is_place &= (row < rows)[None, :] & is_tap[:, None]
        place = (CLASS + (t * H + h) * W + w).to(tl.int64)
        at = (sample * step_batch + head * D)[None, :] + place * step_token
        at = at[:, :, None] + channel[None, None, :]
        x = tl.load(x_ptr + at, mask=is_place[:, :, None] & (channel < D)[None, None, :], other=0)
        total += x.to(grad.dtype) * grad[None, :, :]
    taps = tl.program_id(0) * (KERNEL[0] * KERNEL[1] * KERNEL[2]) + tap
    at = taps[:, None] * D + channel[None, :]
    tl.store(grad_weight_ptr + at, tl.sum(total, axis=1), mask=is_tap[:, None] & (channel < D)[None, :])


@triton.jit
def _pooled(
    x_ptr, weight_ptr, row, rows, heads, step_batch, step_token, T, H, W, OT, OH, OW,
    KERNEL: tl.constexpr, STRIDE: tl.constexpr, PADDING: tl.constexpr, CLASS: tl.constexpr,
    D: tl.constexpr, BLOCK: tl.constexpr, ROWS: tl.constexpr,
):  # fmt: skip
    """Rows of the output before its norm: sums over windows, and class tokens as they are. (ROWS, BLOCK)."""
    channel = tl.arange(0, BLOCK)
    inside = (channel < D)[None, :]
    head = row % heads
    token = row // heads % (CLASS + OT * OH * OW)
    sample = (row // heads // (CLASS + OT * OH * OW)).to(tl.int64)
    start = x_ptr + (sample * step_batch + head * D)[:, None] + channel[None, :]
    in_grid = (row < rows) & (token >= CLASS)
    window = token - CLASS
    pooled = tl.zeros((ROWS, BLOCK), weight_ptr.dtype.element_ty)
    if CLASS:
        pooled += tl.load(start, mask=((row < rows) & (token == 0))[:, None] & inside, other=0).to(pooled.dtype)
    COLUMNS: tl.constexpr = KERNEL[2]  # Triton 3.6 takes no entry of a tuple for a constant
    for plane in range(KERNEL[0] * KERNEL[1]):
        t = window // OW // OH * STRIDE[0] - PADDING[0] + plane // KERNEL[1]
        h = window // OW % OH * STRIDE[1] - PADDING[1] + plane % KERNEL[1]
        in_plane = in_grid & (t >= 0) & (t < T) & (h >= 0) & (h < H)
        for column in tl.static_range(COLUMNS):
            w = window % OW * STRIDE[2] - PADDING[2] + column
            place = (CLASS + (t * H + h) * W + w).to(tl.int64)
            mask = (in_plane & (w >= 0) & (w < W))[:, None] & inside
            x = tl.load(start + (place * step_token)[:, None], mask=mask, other=0)
            tap = tl.load(weight_ptr + (plane * KERNEL[2] + column) * D + channel, mask=channel < D, other=0)
            pooled += x.to(pooled.dtype) * tap[None, :]
    return pooled
