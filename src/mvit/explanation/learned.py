"""What a model has learned beside its linear layers: positions, and the kernels that pool."""

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional as F

from mvit.model.attention import TokenPool
from mvit.model.mvit import MViT
from mvit.model.relative import RelativePositions


def positions(model: MViT) -> dict[str, Tensor]:
    """How alike the learned positions are, as cosines, by name; empty where there are none.

    "space": (H, W, H, W); "time": (T, T), both of the absolute table (Dosovitskiy et al., ICLR 2021, figure 7), a joint
    one averaged over what is not compared. Relative tables give (rows, rows) an axis and block, "block 3, height".
    """
    tables = {}
    with torch.no_grad():
        kind, (t, h, w) = model.positions.kind, model.positions.grid
        if kind == "joint":
            joint = model.positions.joint[0, model.positions.class_tokens :].unflatten(0, (t, h * w))
            tables = {"time": joint.mean(dim=1), "space": joint.mean(dim=0)}
        elif kind != "none":
            tables = {"space": model.positions.spatial[0]}
            tables |= {"time": model.positions.temporal[0]} if kind == "separate" else {}
        alike = {name: _cosines(table) for name, table in tables.items() if len(table) > 1}
        if "space" in alike:
            alike["space"] = alike["space"].view(h, w, h, w)
        for index, relative in enumerate(block.attn.relative for block in model.blocks):
            if isinstance(relative, RelativePositions):
                named = relative.named_parameters()
                alike |= {f"block {index}, {axis}": _cosines(table) for axis, table in named}
    return alike


def kernels(model: MViT) -> Iterator[tuple[int, dict[str, Tensor]]]:
    """How much each place of its window weighs in a pooling: the share of the kernels' absolute weights there.

    Yields for each block its index and, for those of "queries", "keys" and "values" that a convolution pools, the mean
    over channels: (T, H, W) of the kernel, summing to 1.
    """
    for index, block in enumerate(model.blocks):
        pools = {"queries": block.attn.pool_q, "keys": block.attn.pool_k, "values": block.attn.pool_v}
        yield index, {name: _shares(p.weight) for name, p in pools.items() if isinstance(p, TokenPool) and _learns(p)}


def _learns(pool: TokenPool) -> bool:
    return pool.pooling == "conv"


@torch.no_grad()
def _shares(weight: Tensor) -> Tensor:  # (d, 1, T, H, W) -> (T, H, W)
    size = weight[:, 0].abs()
    return (size / size.sum(dim=(1, 2, 3), keepdim=True)).mean(dim=0)


def _cosines(table: Tensor) -> Tensor:  # (rows, D) -> (rows, rows)
    unit = F.normalize(table, dim=-1)
    return unit @ unit.T
