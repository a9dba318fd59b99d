"""Parameters, multiply-adds and activations of any module, counted while it runs on tensors without memory.

Multiply-adds are torch's own counter's, halved: linear layers, convolutions and products of matrices, attention
included, which is run as the papers write it. LayerNorms are counted beside it; batch norms, which inference folds into
the convolutions before them, are not.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode, flop_registry

from mvit.analysis.complexity import Counted
from mvit.model.attention import MultiscaleAttention
from mvit.model.config import Triple


class _Outputs(TorchDispatchMode):
    """Adds up what LayerNorms give, and what the operators give that torch's counter knows."""

    def __init__(self) -> None:
        super().__init__()
        self.norm_elements = 0
        self.activations = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = func(*args, **(kwargs or {}))
        if func.overloadpacket is torch.ops.aten.native_layer_norm:
            self.norm_elements += given[0].numel()
        elif func.overloadpacket in flop_registry:
            self.activations += given.numel()
        return given


def count(build: Callable[[], nn.Module], clip: Triple, views: tuple[int, int] = (1, 1)) -> Counted:
    """Count the module that ``build`` makes, on one clip of (frames, height, width) as (1, 3, T, H, W)."""
    with torch.device("meta"):
        model = build().eval()
    for module in model.modules():
        if isinstance(module, MultiscaleAttention):
            module.fused = False  # fused relative positions are a longer product than the one that is written
    with (
        torch.no_grad(),
        sdpa_kernel(SDPBackend.MATH),
        _Outputs() as outputs,
        FlopCounterMode(display=False) as counter,
    ):
        model(torch.empty(1, 3, *clip, device="meta"))
    return Counted(
        clip=clip,
        views=views,
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        macs=counter.get_total_flops() // 2,
        norm_elements=outputs.norm_elements,
        activations=outputs.activations,
        macs_by_module={name: sum(counts.values()) // 2 for name, counts in counter.get_flop_counts().items()},
    )
