"""What is alive while a model runs, and models of every kind to run."""

import weakref

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from mvit.model.config import MViTConfig


class Alive(TorchDispatchMode):
    """The most bytes of storages that are alive at once; those made before it began are not seen."""

    def __init__(self):
        super().__init__()
        self.now = self.most = 0
        self.seen = weakref.WeakSet()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        given = func(*args, **(kwargs or {}))
        for tensor in torch.utils._pytree.tree_leaves(given):
            if isinstance(tensor, torch.Tensor) and tensor.untyped_storage() not in self.seen:
                self.seen.add(tensor.untyped_storage())
                self.now += tensor.untyped_storage().nbytes()
                weakref.finalize(tensor.untyped_storage(), self._freed, tensor.untyped_storage().nbytes())
        self.most = max(self.most, self.now)
        return given

    def _freed(self, size):
        self.now -= size


V2 = {
    "positions": "none",
    "relative_positions": "grid",
    "residual_pooling": True,
    "widen_in": "attention",
    "pool_every_query": True,
}
REVERSIBLE = {"class_token": False, "widen_in": "attention"}
MODELS = {
    "v1": {},
    "v1 without class token": {"class_token": False},
    "v1 by max": {"pooling": "max"},
    "v1 by average": {"pooling": "average"},
    "v2": V2,
    "v2 without class token": V2 | {"class_token": False},
    "v1, raw skip": {"width_skip": "raw"},
    "v1, no skip": {"width_skip": "none"},
    "v2, raw skip, without class token": V2 | {"width_skip": "raw", "class_token": False},
    "v2, no skip, without class token": V2 | {"width_skip": "none", "class_token": False},
    "reversible by average": REVERSIBLE | {"reversible": "average"},
    "reversible by an MLP": REVERSIBLE | {"reversible": "mlp"},
}
_ONES = ((1, 1, 1), (1, 1, 1))
MERGED = {"widen_in": "merging", "kernel_q": _ONES, "stride_kv": _ONES, "kernel_kv": _ONES}
"""Two stages of attention without pooling, with a patch merging between them."""
MERGING = {
    "merging": MERGED,
    "merging, with pooled keys and values": {"widen_in": "merging"},
    "merging, v2 without class token": V2 | {"widen_in": "merging", "class_token": False},
}
"""Models of patches merged between two stages."""


def two_stages(clip: tuple[int, int, int], depths: tuple[int, int], widths: tuple[int, int]) -> MViTConfig:
    """The smallest model that pools queries, keys and values and widens, without anything random."""
    return MViTConfig(
        num_classes=3,
        clip=clip,
        depths=depths,
        widths=widths,
        heads=(1, 2),
        stride_q=((1, 1, 1), (1, 2, 2)),
        kernel_q=((1, 1, 1), (3, 3, 3)),
        stride_kv=((1, 4, 4), (1, 2, 2)),
        kernel_kv=((3, 3, 3),) * 2,
        head_dropout=0.0,
        drop_path=0.0,
    )
