"""Models of every kind whose attention prefers something, which fresh ones hardly do."""

import torch
from torch import Tensor
from torch.nn import functional as F

from alive import MODELS
from mvit import create_model
from mvit.model.config import PoolConfig
from mvit.model.mvit import MViT

_NOT_POOLED = dict.fromkeys(("stride_q", "kernel_q", "stride_kv", "kernel_kv"), ((1, 1, 1),))
KINDS = MODELS | {
    "gaps between windows": {"stride_kv": ((1, 4, 4), (1, 4, 4))},
    "columnar": {"depths": (2,), "widths": (16,), "heads": (2,), **_NOT_POOLED},
    "for images": {"clip": (1, 32, 32), "stem_kernel": (1, 7, 7), "stem_stride": (1, 4, 4), "stem_padding": (0, 3, 3)},
}


def lively(kind: str) -> tuple[MViT, Tensor]:
    """A model in float64 and two clips of another size than it was made for, (2, 3, T, 36, 28)."""
    model = create_model("mvit_test_4x32", num_classes=3, **KINDS[kind]).double().eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.4)
    return model, torch.randn(2, 3, model.config.clip[0], 36, 28, dtype=torch.float64)


def mean_of_windows(clip: Tensor, pool: PoolConfig) -> Tensor:
    """Average pooling that counts no padding, also of grids that are smaller than a kernel: (N, 1, T, H, W)."""
    t, h, w = pool.padding

    def total(x: Tensor) -> Tensor:
        return F.avg_pool3d(F.pad(x, (w, w, h, h, t, t)), pool.kernel, pool.stride)

    return total(clip) / total(torch.ones_like(clip))
