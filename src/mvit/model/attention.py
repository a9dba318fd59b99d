"""Pooling attention: queries, keys and values are pooled over space and time before they attend (paper section 3.1).

B batch, N tokens in (the class token, if there is one, then time x height x width), Q tokens of queries, K tokens of
keys and values, C channels in, A channels of the attention, h heads, d = A / h channels a head. A grid is (time,
height, width) of the tokens without the class token.
"""

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from mvit.model import blockwise
from mvit.model.config import BlockConfig, PoolConfig, Pooling, Triple
from mvit.model.depthwise import depthwise_conv3d
from mvit.model.kernels import serve
from mvit.model.kernels.pooling import pool_and_norm
from mvit.model.recompute import AUTOCASTS
from mvit.model.relative import RelativePositions

NORM_EPS = 1e-6


class TokenPool(nn.Module):
    """Pools the grid of a token sequence and leaves its class token alone; learned, maximal or average.

    A learned pool is a depthwise convolution over d channels that all heads share, then a LayerNorm over d, through
    which the class token goes as well; the others have no weights and no norm.
    """

    def __init__(self, config: PoolConfig, heads: int, head_width: int, pooling: Pooling, *, class_token: bool) -> None:
        super().__init__()
        self.config = config
        self.heads = heads
        self.pooling = pooling
        self.class_token = class_token
        if pooling == "conv":
            self.weight = nn.Parameter(torch.empty(head_width, 1, *config.kernel))
            self.norm = nn.LayerNorm(head_width, eps=NORM_EPS)
            nn.init.kaiming_uniform_(self.weight, a=5**0.5)  # what torch's own convolutions start from

    def forward(self, x: Tensor, grid: Triple, *, packed: bool = False) -> tuple[Tensor, Triple]:
        """(B, N, C) -> (B, Q, C) and its grid; ``packed``: of the places that windows read alone."""
        config = self.config.packed if packed else self.config
        if self.pooling != "conv":
            return pool_tokens(x, grid, config, self.pooling, class_token=self.class_token)
        if serve(x, "pooling"):
            scale, shift = self.norm.weight, self.norm.bias
            return pool_and_norm(x, self.weight, scale, shift, grid, config, class_token=self.class_token, eps=NORM_EPS)
        kind = x.dtype
        # In the type of the weights also under autocast: torch's depthwise bfloat16 convolution runs its backward on a
        # CPU five times slower than float32's, and norms want the precision.
        with without_autocast(x.device.type):
            class_token, body = split_class_token(x, self.class_token)
            clip = volume(body, grid)
            weight = self.weight.repeat(self.heads, 1, 1, 1, 1)  # one kernel for all heads: the tokens are not copied
            clip = depthwise_conv3d(clip, weight, config.stride, config.padding)
            grid = (clip.shape[2], clip.shape[3], clip.shape[4])
            x = join_class_token(class_token, tokens(clip))
            x = self._normed(x)
        return x.to(kind), grid

    def of_class_token(self, x: Tensor) -> Tensor:  # (B, 1, C) -> (B, 1, C)
        """What becomes of the class token, which no pool reads: its norm, if there is one."""
        if self.pooling != "conv":
            return x
        with without_autocast(x.device.type):
            return self._normed(x.to(self.weight.dtype)).to(x.dtype)

    def _normed(self, x: Tensor) -> Tensor:
        return self.norm(x.unflatten(-1, (self.heads, -1))).flatten(-2)


def without_autocast(device: str) -> AbstractContextManager[object]:
    """What stands inside computes in the type of its tensors."""
    return torch.autocast(device, enabled=False) if device in AUTOCASTS else nullcontext()


def split_class_token(x: Tensor, class_token: bool) -> tuple[Tensor | None, Tensor]:
    """The class token and the grid's tokens, by one split: its gradient is one copy, where two slices make four."""
    if not class_token:
        return None, x
    first, body = x.split([1, x.shape[1] - 1], dim=1)
    return first, body


def join_class_token(class_token: Tensor | None, body: Tensor) -> Tensor:
    """The reverse of ``split_class_token``."""
    return body if class_token is None else torch.cat([class_token, body], dim=1)


def volume(x: Tensor, grid: Triple) -> Tensor:
    """Tokens of a grid as a channels-last volume, without a copy: (B, T*H*W, C) -> (B, C, T, H, W)."""
    return x.unflatten(1, grid).permute(0, 4, 1, 2, 3)


def tokens(clip: Tensor) -> Tensor:
    """The reverse of ``volume``: (B, C, T, H, W) -> (B, T*H*W, C)."""
    return clip.flatten(2).transpose(1, 2)


def pool_tokens(
    x: Tensor, grid: Triple, config: PoolConfig, pooling: Pooling, *, class_token: bool
) -> tuple[Tensor, Triple]:
    """Max or average pooling of a token grid beside its class token: (B, N, C) -> (B, Q, C) and the new grid."""
    first, body = split_class_token(x, class_token)
    clip = volume(body, grid)
    if pooling == "max":
        clip = max_pool3d(clip, config)
    else:
        t, h, w = config.padding  # padded beforehand: avg_pool3d refuses a grid smaller than its kernel
        clip = F.avg_pool3d(F.pad(clip, (w, w, h, h, t, t)), config.kernel, config.stride)
    return join_class_token(first, tokens(clip)), (clip.shape[2], clip.shape[3], clip.shape[4])


def max_pool3d(clip: Tensor, pool: PoolConfig) -> Tensor:
    """torch's, in the type of the clip also under autocast, and without the eight bytes of index that torch keeps.

    Which of a window is the largest is found again for the gradient.
    """
    with without_autocast(clip.device.type):
        if not torch.is_grad_enabled() or torch.compiler.is_compiling():
            return _max_pool3d(clip, pool)
        output: Tensor = _MaxPool3d.apply(clip, pool)  # type: ignore[no-untyped-call]
        return output


def _max_pool3d(clip: Tensor, pool: PoolConfig) -> Tensor:
    return F.max_pool3d(clip, pool.kernel, pool.stride, pool.padding)


class _MaxPool3d(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, clip: Tensor, pool: PoolConfig) -> Tensor:
        ctx.save_for_backward(clip)
        ctx.pool = pool
        return _max_pool3d(clip, pool)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grad_outputs: Any) -> tuple[Tensor, None]:  # type: ignore[override]
        clip = ctx.saved_tensors[0].detach().requires_grad_()
        with torch.enable_grad():
            output = _max_pool3d(clip, ctx.pool)
        return torch.autograd.grad(output, clip, grad_outputs)[0], None


class MultiscaleAttention(nn.Module):
    """Multi-head pooling attention: equations (1) to (3) of the paper and, where configured, MViTv2's (1) to (5).

    q, k and v are three projections: each is a channels-last grid that pools without a copy. Keys and values are
    projected only where a window reads them: a seventh of the tokens where kernels of 3x3 go by strides of 8x8.
    ``fused`` False is the attention as the papers write it, which projects every token and materialises the (Q, K)
    weights: to count it, and to check the fused one.
    """

    def __init__(self, config: BlockConfig) -> None:
        super().__init__()
        self.config = config
        self.heads = config.heads
        self.head_width = config.width_attention // config.heads
        self.scale = self.head_width**-0.5
        self.fused = True
        self.q = nn.Linear(config.width, config.width_attention, bias=config.qkv_bias)
        self.k = nn.Linear(config.width, config.width_attention, bias=config.qkv_bias)
        self.v = nn.Linear(config.width, config.width_attention, bias=config.qkv_bias)
        self.proj = nn.Linear(config.width_attention, config.width_attention)
        self.pool_q = self._pool(config.pool_q)
        self.pool_k = self._pool(config.pool_kv)
        self.pool_v = self._pool(config.pool_kv)
        self.relative = RelativePositions(*config.relative_grids, self.head_width) if config.relative_grids else None

    def _pool(self, pool: PoolConfig) -> TokenPool | None:
        if pool.is_identity:
            return None
        config = self.config
        return TokenPool(pool, config.heads, self.head_width, config.pooling, class_token=config.class_token)

    def forward(self, x: Tensor, grid: Triple) -> tuple[Tensor, Triple]:  # (B, N, C) -> (B, Q, A)
        q, k, v, grid_q, grid_k = self._pooled_heads(x, grid)
        x = self._fused(q, k, v, grid_q, grid_k) if self.fused else self._weights(q, k, grid_q, grid_k) @ v
        if self.config.residual_pooling:
            spared = self.config.class_token and not self.config.residual_class_token
            x = x + (F.pad(q[:, :, 1:], (0, 0, 1, 0)) if spared else q)
        return self.proj(x.transpose(1, 2).flatten(2)), grid_q

    def of_class_token(self, x: Tensor, grid: Triple) -> Tensor:  # (B, N, C) -> (B, 1, A)
        """The class token's row of what ``forward`` gives, for its query alone: relative positions pass it by."""
        q = self.q(x[:, :1])
        q = self._heads(self.pool_q.of_class_token(q) if self.pool_q else q)
        k, v, _ = self._keys_and_values(x, grid)
        x = F.scaled_dot_product_attention(q, k, v)
        if self.config.residual_pooling and self.config.residual_class_token:
            x = x + q
        x = self.proj(x.transpose(1, 2).flatten(2))
        if torch.is_grad_enabled():  # a gradient of zero, not none: weight decay and distributed training count on it
            for unread in self._unread_by_class_token():
                x = x + 0 * unread.sum()
        return x

    def _unread_by_class_token(self) -> list[nn.Parameter]:
        pool = self.pool_q.weight if self.pool_q and self.pool_q.pooling == "conv" else None
        return ([] if pool is None else [pool]) + (list(self.relative.parameters()) if self.relative else [])

    def weights(self, x: Tensor, grid: Triple) -> Tensor:
        """The attention itself, which fused kernels never hold: (B, N, C) -> (B, h, Q, K), rows summing to 1."""
        q, k, _, grid_q, grid_k = self._pooled_heads(x, grid)
        return self._weights(q, k, grid_q, grid_k)

    def _fused(self, q: Tensor, k: Tensor, v: Tensor, grid_q: Triple, grid_k: Triple) -> Tensor:  # -> (B, h, Q, d)
        if self.relative is not None:
            q, k = self.relative.extend(q, k, grid_q, grid_k, self.scale)
        if blockwise.serves(q, k):
            return blockwise.attention(q, k, v, self.scale)
        if self.relative is None:
            return F.scaled_dot_product_attention(q, k, v)
        v = F.pad(v, (0, q.shape[-1] - self.head_width))  # fused kernels want values as wide as keys
        return F.scaled_dot_product_attention(q, k, v, scale=self.scale)[..., : self.head_width]

    def _weights(self, q: Tensor, k: Tensor, grid_q: Triple, grid_k: Triple) -> Tensor:  # -> (B, h, Q, K)
        logits = q * self.scale @ k.transpose(-2, -1)
        if self.relative is not None:
            logits = logits + self.relative.bias(q, k.shape[2], grid_q, grid_k)
        return logits.softmax(dim=-1)

    def _pooled_heads(self, x: Tensor, grid: Triple) -> tuple[Tensor, Tensor, Tensor, Triple, Triple]:
        q, grid_q = self.pool_q(self.q(x), grid) if self.pool_q else (self.q(x), grid)
        k, v, grid_k = self._keys_and_values(x, grid)
        return self._heads(q), k, v, grid_q, grid_k

    def _keys_and_values(self, x: Tensor, grid: Triple) -> tuple[Tensor, Tensor, Triple]:  # (B, N, C) -> (B, h, K, d)
        packed = self.fused and self.config.pool_kv.skips_places
        if packed:
            x, grid = self._read(x, grid)
        k, grid_k = self.pool_k(self.k(x), grid, packed=packed) if self.pool_k else (self.k(x), grid)
        v = self.pool_v(self.v(x), grid, packed=packed)[0] if self.pool_v else self.v(x)
        return self._heads(k), self._heads(v), grid_k

    def _read(self, x: Tensor, grid: Triple) -> tuple[Tensor, Triple]:
        """The class token and the tokens that windows of keys and values read, and the grid these make."""
        first = int(self.config.class_token)
        pool = self.config.pool_kv
        t, h, w = (places_on(pool, axis, size, x.device) for axis, size in enumerate(grid))
        places = (((t[:, None] * grid[1] + h)[..., None] * grid[2] + w) + first).flatten()
        if first:
            places = torch.cat([places.new_zeros(1), places])
        return x.index_select(1, places), (len(t), len(h), len(w))

    def _heads(self, x: Tensor) -> Tensor:  # (B, N, A) -> (B, h, N, d)
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)


def places_on(pool: PoolConfig, axis: int, size: int, device: torch.device) -> Tensor:
    """``PoolConfig.places_read`` along an axis, made on the device: a copy from the host would wait for the GPU."""
    window, stride, padding = pool.packed.stride[axis], pool.stride[axis], pool.padding[axis]
    count = len(pool.places_read((size,) * 3)[axis])
    place = torch.arange(padding, padding + count, device=device)  # on the padded axis without its gaps
    return place // window * stride + place % window - padding
