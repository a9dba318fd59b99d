"""What a model has learned beside its linear layers: positions, and the kernels that pool."""

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional as F

from mvit.model.attention import MultiscaleAttention
from mvit.model.mvit import MViT


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
        for index, attn in enumerate(_attentions(model)):
            tables = attn.relative.named_parameters() if attn.relative else ()
            alike |= {f"block {index}, {axis}": _cosines(table) for axis, table in tables}
    return alike


def kernels(model: MViT) -> Iterator[tuple[int, dict[str, Tensor]]]:
    """How much each place of its window weighs in a pooling: the share of the kernels' absolute weights there.

    Yields for each block its index and, for those of "queries", "keys" and "values" that a convolution pools, the mean
    over channels: (T, H, W) of the kernel, summing to 1.
    """
    for index, attn in enumerate(_attentions(model)):
        pools = {"queries": attn.pool_q, "keys": attn.pool_k, "values": attn.pool_v}
        yield index, {name: _shares(pool.weight) for name, pool in pools.items() if pool and pool.pooling == "conv"}


def _attentions(model: MViT) -> list[MultiscaleAttention]:
    return [module for module in model.modules() if isinstance(module, MultiscaleAttention)]


@torch.no_grad()
def _shares(weight: Tensor) -> Tensor:  # (d, 1, T, H, W) -> (T, H, W)
    size = weight[:, 0].abs()
    return (size / size.sum(dim=(1, 2, 3), keepdim=True)).mean(dim=0)


def _cosines(table: Tensor) -> Tensor:  # (rows, D) -> (rows, rows)
    unit = F.normalize(table, dim=-1)
    return unit @ unit.T
