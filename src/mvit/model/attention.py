"""Pooling attention: queries, keys and values are pooled over space and time before they attend (paper section 3.1).

B batch, N tokens in (one class token, then time x height x width), Q tokens of queries, K tokens of keys and values,
C channels, h heads, d = C / h channels a head. A grid is (time, height, width) of the tokens without the class token.
"""

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mvit.model.config import BlockConfig, PoolConfig, Pooling, Triple
from mvit.model.depthwise import depthwise_conv3d

NORM_EPS = 1e-6


class TokenPool(nn.Module):
    """Pools the grid of a token sequence and leaves its class token; learned, maximal or average.

    A learned pool is a depthwise convolution over d channels that all heads share, then a LayerNorm over d, through
    which the class token goes as well; the others have no weights and no norm.
    """

    def __init__(self, config: PoolConfig, heads: int, head_width: int, pooling: Pooling) -> None:
        super().__init__()
        self.config = config
        self.heads = heads
        self.pooling = pooling
        if pooling == "conv":
            self.weight = nn.Parameter(torch.empty(head_width, 1, *config.kernel))
            self.norm = nn.LayerNorm(head_width, eps=NORM_EPS)
            nn.init.kaiming_uniform_(self.weight, a=5**0.5)  # what torch's own convolutions start from

    def forward(self, x: Tensor, grid: Triple) -> tuple[Tensor, Triple]:  # (B, N, C) -> (B, Q, C)
        if self.pooling != "conv":
            return pool_tokens(x, grid, self.config, self.pooling)
        kind = x.dtype
        # In float32 also under autocast: torch's depthwise bfloat16 convolution runs its backward on a CPU five times
        # slower than float32's, and norms want the precision.
        with _without_autocast(x.device.type):
            weight = self.weight.to(torch.promote_types(self.weight.dtype, torch.float32))
            class_token, body = split_class_token(x.to(weight.dtype))
            clip = volume(body, grid)
            weight = weight.repeat(self.heads, 1, 1, 1, 1)  # one kernel for all heads: no copy of the tokens is needed
            clip = depthwise_conv3d(clip, weight, self.config.stride, self.config.padding)
            grid = (clip.shape[2], clip.shape[3], clip.shape[4])
            x = torch.cat([class_token, tokens(clip)], dim=1)
            x = self.norm(x.unflatten(-1, (self.heads, -1))).flatten(-2)
        return x.to(kind), grid


def _without_autocast(device: str) -> AbstractContextManager[object]:
    return torch.autocast(device, enabled=False) if torch.amp.is_autocast_available(device) else nullcontext()


def split_class_token(x: Tensor) -> tuple[Tensor, Tensor]:
    """The class token and the grid's tokens, by one split: its gradient is one copy, where two slices make four."""
    class_token, body = x.split([1, x.shape[1] - 1], dim=1)
    return class_token, body


def volume(x: Tensor, grid: Triple) -> Tensor:
    """Tokens of a grid as a channels-last volume, without a copy: (B, T*H*W, C) -> (B, C, T, H, W)."""
    return x.unflatten(1, grid).permute(0, 4, 1, 2, 3)


def tokens(clip: Tensor) -> Tensor:
    """The reverse of ``volume``: (B, C, T, H, W) -> (B, T*H*W, C)."""
    return clip.flatten(2).transpose(1, 2)


def pool_tokens(x: Tensor, grid: Triple, config: PoolConfig, pooling: Pooling) -> tuple[Tensor, Triple]:
    """Max or average pooling of a token grid beside its class token: (B, N, C) -> (B, Q, C) and the new grid."""
    class_token, body = split_class_token(x)
    clip = volume(body, grid)
    if pooling == "max":
        clip = F.max_pool3d(clip, config.kernel, config.stride, config.padding)
    else:
        t, h, w = config.padding  # padded beforehand: avg_pool3d refuses a grid smaller than its kernel
        clip = F.avg_pool3d(F.pad(clip, (w, w, h, h, t, t)), config.kernel, config.stride)
    return torch.cat([class_token, tokens(clip)], dim=1), (clip.shape[2], clip.shape[3], clip.shape[4])


class MultiscaleAttention(nn.Module):
    """Multi-head pooling attention, equations (1) to (3) of the paper, by fused kernels.

    q, k and v are three projections: each is a channels-last grid that pools without a copy.
    """

    def __init__(self, config: BlockConfig, pooling: Pooling) -> None:
        super().__init__()
        width = config.width
        self.heads = config.heads
        self.q = nn.Linear(width, width)
        self.k = nn.Linear(width, width)
        self.v = nn.Linear(width, width)
        self.proj = nn.Linear(width, width)

        def pool(pool_config: PoolConfig) -> TokenPool | None:
            if pool_config.is_identity:
                return None
            return TokenPool(pool_config, config.heads, width // config.heads, pooling)

        self.pool_q = pool(config.pool_q)
        self.pool_k = pool(config.pool_kv)
        self.pool_v = pool(config.pool_kv)

    def forward(self, x: Tensor, grid: Triple) -> tuple[Tensor, Triple]:  # (B, N, C) -> (B, Q, C)
        q, k, v, grid = self._pooled_heads(x, grid)
        x = F.scaled_dot_product_attention(q, k, v)  # (B, h, Q, d)
        return self.proj(x.transpose(1, 2).flatten(2)), grid

    def weights(self, x: Tensor, grid: Triple) -> Tensor:
        """The attention itself, which ``forward`` never materialises: (B, N, C) -> (B, h, Q, K), rows summing to 1."""
        q, k, _, _ = self._pooled_heads(x, grid)
        return (q * q.shape[-1] ** -0.5 @ k.transpose(-2, -1)).softmax(dim=-1)

    def _pooled_heads(self, x: Tensor, grid: Triple) -> tuple[Tensor, Tensor, Tensor, Triple]:
        q, grid_q = self.pool_q(self.q(x), grid) if self.pool_q else (self.q(x), grid)
        k = self.pool_k(self.k(x), grid)[0] if self.pool_k else self.k(x)
        v = self.pool_v(self.v(x), grid)[0] if self.pool_v else self.v(x)
        q, k, v = (part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in (q, k, v))  # (B, h, ., d)
        return q, k, v, grid_q
