"""One model on several processes: copies whose gradients are averaged (DDP), or one copy in shards (FSDP2).

Sources: torch.nn.parallel.DistributedDataParallel; torch.distributed.fsdp.fully_shard.
"""

import warnings
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard, register_fsdp_forward_method
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.nn.parallel import DistributedDataParallel

from mvit.model.mvit import MViT
from mvit.model.reversible import ReversibleBlock


def replicated(model: MViT, computed: nn.Module) -> DistributedDataParallel:
    """What to call in place of a model so that all ranks get the average of their gradients.

    ``computed`` is the model, or what was compiled of it.

    DDP sums gradients in buckets, which it sorts anew after its first backward pass; from three ranks on another place
    in a bucket is another order of summation, so that a run that goes on would differ in its last bits from one that
    was never stopped. One pass over nothing, which is not compiled, settles them before the first step of either.
    """
    copies = DistributedDataParallel(computed, gradient_as_bucket_view=True)
    eagerly = nullcontext() if computed is model else torch.compiler.set_stance("force_eager")
    with warnings.catch_warnings(), eagerly:
        warnings.filterwarnings("ignore", "Grad strides do not match bucket view strides")
        copies(_nothing(model)).sum().backward()
    model.zero_grad()
    return copies


def averaging(forward: object, *, last: bool) -> AbstractContextManager[object]:
    """Average gradients over ranks after the last piece of a batch alone, where copies do that."""
    return forward.no_sync() if isinstance(forward, DistributedDataParallel) and not last else nullcontext()


def shard(model: MViT, device: torch.device, ranks: int) -> None:
    """Leave each rank an equal part of every parameter; blocks are put together when they are computed.

    Reversible blocks, which are computed again outside of their own forward pass, are put together with the model.
    """
    mesh = init_device_mesh(device.type, (ranks,))
    for block in model.blocks:
        if not isinstance(block, ReversibleBlock):
            fully_shard(block, mesh=mesh)
            if hasattr(block, "of_class_token"):
                register_fsdp_forward_method(block, "of_class_token")
    fully_shard(model, mesh=mesh)


def whole(tensors: Mapping[str, Tensor], *, kept: bool = True) -> dict[str, Tensor]:
    """The tensors put together from their shards, in processors' memory; to be asked of all ranks, ``kept`` or not."""
    together: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        full = put_together(tensor)
        if kept:
            together[name] = full.detach().cpu()
    return together


def put_together(tensor: Tensor) -> Tensor:
    """A tensor put together from its shards, if it is in shards; to be asked of all ranks."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def like(tensors: Mapping[str, Tensor], there: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors in shards wherever those of the same name are; to be asked of all ranks."""
    return {name: placed(tensor, there[name]) for name, tensor in tensors.items()}


def placed(tensor: Tensor, there: Any) -> Tensor:
    """A tensor in shards as another one is, unless it is a single number."""
    if not isinstance(there, DTensor) or not tensor.ndim:
        return tensor
    return distribute_tensor(tensor.to(there.device), there.device_mesh, there.placements)


def assembled(model: MViT) -> MViT:
    """A plain copy of a model that is in shards, in its mode of evaluation; to be asked of all ranks."""
    device = next(model.parameters()).device
    with torch.device("meta"):
        copy = MViT(model.config)
    copy.load_state_dict(whole(model.state_dict()), assign=True)
    return copy.to(device).eval()


def _nothing(model: nn.Module) -> Tensor:
    assert isinstance(model, MViT)
    return torch.zeros(1, 3, *model.config.clip, device=next(model.parameters()).device)
