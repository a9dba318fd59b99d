"""One block: pooling attention and an MLP, each beside a skip connection (paper section 3.2).

B batch, N tokens in, Q tokens out, C channels in, C' channels out; a class token, where there is one, comes first.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mvit.model.attention import NORM_EPS, MultiscaleAttention, pool_tokens
from mvit.model.config import MLP_RATIO, BlockConfig, Triple
from mvit.model.recompute import recomputed


class Norm(nn.LayerNorm):
    """A LayerNorm that gives what linear layers read: under autocast cast once, not by each of them and kept thrice."""

    def __init__(self, width: int) -> None:
        super().__init__(width, eps=NORM_EPS)

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 (LayerNorm names it so) -- (B, N, C) -> (B, N, C)
        x, device = super().forward(input), input.device.type
        if x.dtype != torch.float32 or not torch.amp.is_autocast_available(device):
            return x
        return x.to(torch.get_autocast_dtype(device)) if torch.is_autocast_enabled(device) else x


class StochasticDepth(nn.Module):
    """Drops a whole residual branch for a sample with probability ``rate`` in training, and scales the rest."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:  # (B, N, C) -> (B, N, C)
        mask = self.mask(x) if mask is None else mask
        return x if mask is None else x * (mask / (1 - self.rate))

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


class MultiscaleBlock(nn.Module):
    """Attention that may coarsen the grid, then an MLP; one of the two may widen the channels.

    Where the width changes the skip is a Linear of the *normalised* input (paper appendix: 2.6 points better than of
    the raw one); where the grid changes it is max-pooled, whatever pools the queries.
    """

    def __init__(self, config: BlockConfig) -> None:
        super().__init__()
        self.config = config
        self.norm1 = Norm(config.width)
        self.attn = MultiscaleAttention(config)
        self.norm2 = Norm(config.width_attention)
        self.mlp = MLP(config.width_attention, config.width_out)
        self.proj = nn.Linear(config.width, config.width_out) if config.width_out != config.width else None
        self.drop_path = StochasticDepth(config.drop_path)
        self.recompute = False
        self.checkpointed = False

    def forward(self, x: Tensor, grid: Triple) -> tuple[Tensor, Triple]:  # (B, N, C) -> (B, Q, C')
        with recomputed(self.norm1, x, enabled=self.recompute) as normed:
            attended, new_grid = self.attn(normed, grid)
            if self.proj and self.config.width_attention != self.config.width:
                x = self.proj(normed)
        x = self._pooled_skip(x, grid) + self.drop_path(attended)
        with recomputed(self.norm2, x, enabled=self.recompute) as normed:
            if self.proj and self.config.width_attention == self.config.width:
                x = self.proj(normed)
            return x + self.drop_path(self.mlp(normed)), new_grid

    def of_class_token(self, x: Tensor, grid: Triple) -> Tensor:  # (B, N, C) -> (B, 1, C')
        """The class token's row of what ``forward`` gives: one query, and one row of the MLP."""
        with recomputed(self.norm1, x, enabled=self.recompute) as normed:
            attended = self.attn.of_class_token(normed, grid)
        x, normed = x[:, :1], normed[:, :1]
        if self.proj and self.config.width_attention != self.config.width:
            x = self.proj(normed)
        x = x + self.drop_path(attended)
        normed = self.norm2(x)
        if self.proj and self.config.width_attention == self.config.width:
            x = self.proj(normed)
        return x + self.drop_path(self.mlp(normed))

    def _pooled_skip(self, x: Tensor, grid: Triple) -> Tensor:
        if self.config.pool_q.stride == (1, 1, 1):
            return x
        x, _ = pool_tokens(x, grid, self.config.pool_q.skip, "max", class_token=self.config.class_token)
        return x.to(torch.promote_types(x.dtype, self.norm2.weight.dtype))
