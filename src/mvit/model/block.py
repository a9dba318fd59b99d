"""One block: pooling attention and an MLP, each beside a skip connection (paper section 3.2).

B batch, N tokens in, Q tokens out, C channels in, C' channels out; a class token, where there is one, comes first.
"""

from math import prod

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mvit.model.attention import NORM_EPS, MultiscaleAttention, join_class_token, pool_tokens, split_class_token
from mvit.model.config import MLP_RATIO, BlockConfig, Triple
from mvit.model.kernels import serve
from mvit.model.kernels.norm import add_and_norm, norm
from mvit.model.recompute import AUTOCASTS, recomputed
from mvit.model.windows import MergeConfig


class Norm(nn.LayerNorm):
    """A LayerNorm that gives what linear layers read: under autocast cast once, not by each of them and kept thrice."""

    def __init__(self, width: int) -> None:
        super().__init__(width, eps=NORM_EPS)

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 (LayerNorm names it so) -- (B, N, C) -> (B, N, C)
        kind = _autocast_to(input)
        if serve(input, "norm"):
            return norm(input, self.weight, self.bias, eps=self.eps, dtype=kind)
        x = super().forward(input)
        return x.to(kind) if kind and x.dtype == torch.float32 else x

    def of_sum(self, skip: Tensor, branch: Tensor, factor: Tensor | None) -> tuple[Tensor, Tensor]:
        """``skip + factor * branch`` and its norm, both (B, N, C), at once where there is a kernel; None is 1."""
        if serve(skip, "norm"):
            kind = _autocast_to(skip)
            return add_and_norm(skip, branch, factor, self.weight, self.bias, eps=self.eps, dtype=kind)
        x = skip + (branch if factor is None else branch * factor)
        return x, self(x)


def _autocast_to(x: Tensor) -> torch.dtype | None:
    """What autocast, where it is on, has linear layers read in place of a tensor; float64 it leaves alone."""
    device = x.device.type
    if x.dtype == torch.float64 or device not in AUTOCASTS:
        return None
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else None


class StochasticDepth(nn.Module):
    """Drops a whole residual branch for a sample with probability ``rate`` in training, and scales the rest."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:  # (B, N, C) -> (B, N, C)
        factor = self.factor(x, mask)
        return x if factor is None else x * factor

    def factor(self, x: Tensor, mask: Tensor | None = None) -> Tensor | None:
        """What each sample of a branch is multiplied by, (B, 1, 1); None: all by 1."""
        mask = self.mask(x) if mask is None else mask
        return None if mask is None else mask / (1 - self.rate)

    def mask(self, x: Tensor) -> Tensor | None:
        """1 for each sample that is kept and 0 for each that is dropped, (B, 1, 1); None: nothing is dropped."""
        if not self.training or self.rate == 0:
            return None
        return torch.empty(x.shape[0], 1, 1, dtype=x.dtype, device=x.device).bernoulli_(1 - self.rate)


class MLP(nn.Module):
    """Two linear layers and an exact GELU; the second may widen."""

    def __init__(self, width: int, width_out: int, ratio: int = MLP_RATIO) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, ratio * width)
        self.fc2 = nn.Linear(ratio * width, width_out)
        self.recompute = False

    def forward(self, x: Tensor) -> Tensor:  # (B, N, C) -> (B, N, C')
        with recomputed(F.gelu, self.fc1(x), enabled=self.recompute) as active:
            return self.fc2(active)


class PatchMerging(nn.Module):
    """Neighbours side by side, their norm, and a Linear to the next width (Liu et al., ICCV 2021, section 3.1).

    Where the grid ends inside a window, zeros stand beside its tokens. The class token, which has no neighbours, stands
    beside itself.
    """

    def __init__(self, config: MergeConfig, width_out: int, *, class_token: bool) -> None:
        super().__init__()
        self.config = config
        self.class_token = class_token
        self.norm = Norm(config.width_merged)
        self.reduction = nn.Linear(config.width_merged, width_out, bias=False)

    def forward(self, x: Tensor, grid: Triple) -> tuple[Tensor, Triple]:  # (B, N, C) -> (B, M, C')
        first, body = split_class_token(x, self.class_token)
        t, h, w = merged = self.config.grid_of(grid)
        step_t, step_h, step_w = self.config.stride
        beyond = (0, 0, 0, w * step_w - grid[2], 0, h * step_h - grid[1], 0, t * step_t - grid[0])
        x = F.pad(body.unflatten(1, grid), beyond)  # (B, T, H, W, C)
        x = x.unflatten(3, (w, step_w)).unflatten(2, (h, step_h)).unflatten(1, (t, step_t))
        x = (
            x.permute(0, 1, 3, 5, 2, 4, 6, 7).flatten(4).flatten(1, 3)
        )  # a window's tokens in order of time, row, column
        if first is not None:
            x = join_class_token(first.repeat(1, 1, prod(self.config.stride)), x)
        return self.reduction(self.norm(x)), merged


class MultiscaleBlock(nn.Module):
    """Attention that may coarsen the grid, then an MLP; one of the two may widen, or a merging before them.

    Where the width changes the skip is a Linear of the *normalised* input (paper appendix: 2.6 points better than of
    the raw one), unless configured; where attention changes the grid it is max-pooled, whatever pools the queries.
    """

    def __init__(self, config: BlockConfig) -> None:
        super().__init__()
        self.config = config
        merge, class_token = config.merge, config.class_token
        self.merge = PatchMerging(merge, config.width, class_token=class_token) if merge else None
        self.norm1 = Norm(config.width)
        self.attn = MultiscaleAttention(config)
        self.norm2 = Norm(config.width_attention)
        self.mlp = MLP(config.width_attention, config.width_out)
        widens = config.width_out != config.width and config.width_skip != "none"
        self.proj = nn.Linear(config.width, config.width_out) if widens else None
        self.drop_path = StochasticDepth(config.drop_path)
        self.recompute = False
        self.checkpointed = False

    def forward(self, x: Tensor, grid: Triple) -> tuple[Tensor, Triple]:  # (B, N, C) -> (B, Q, C')
        if self.merge:
            x, grid = self.merge(x, grid)
        with recomputed(self.norm1, x, enabled=self.recompute) as normed:
            attended, new_grid = self.attn(normed, grid)
            if self.proj and self.config.width_attention != self.config.width:
                x = self._widened(x, normed)
        if self.config.skips_attention:
            x, normed = self.norm2.of_sum(self._pooled_skip(x, grid), attended, self.drop_path.factor(attended))
        else:
            x, normed = attended, self.norm2(attended)
        with recomputed(self.norm2, x, normed, enabled=self.recompute):
            return self._past_mlp(x, normed), new_grid

    def of_class_token(self, x: Tensor, grid: Triple) -> Tensor:  # (B, N, C) -> (B, 1, C')
        """The class token's row of what ``forward`` gives: one query, and one row of the MLP."""
        if self.merge:
            x, grid = self.merge(x, grid)
        with recomputed(self.norm1, x, enabled=self.recompute) as normed:
            attended = self.attn.of_class_token(normed, grid)
        x, normed = x[:, :1], normed[:, :1]
        if self.proj and self.config.width_attention != self.config.width:
            x = self._widened(x, normed)
        if self.config.skips_attention:
            x, normed = self.norm2.of_sum(x, attended, self.drop_path.factor(attended))
        else:
            x, normed = attended, self.norm2(attended)
        return self._past_mlp(x, normed)

    def _past_mlp(self, x: Tensor, normed: Tensor) -> Tensor:
        if self.proj and self.config.width_attention == self.config.width:
            x = self._widened(x, normed)
        return x + self.drop_path(self.mlp(normed)) if self.config.skips_mlp else self.mlp(normed)

    def _widened(self, x: Tensor, normed: Tensor) -> Tensor:  # (B, N, C) -> (B, N, C')
        assert self.proj is not None
        return self.proj(x if self.config.width_skip == "raw" else normed)

    def _pooled_skip(self, x: Tensor, grid: Triple) -> Tensor:
        if self.config.pool_q.stride == (1, 1, 1):
            return x
        x, _ = pool_tokens(x, grid, self.config.pool_q.skip, "max", class_token=self.config.class_token)
        return x.to(torch.promote_types(x.dtype, self.norm2.weight.dtype))
