"""Linear layers for inference on a CPU: weights laid out once for oneDNN, and what follows a product done in its cache.

torch's own Linear copies the bias over its output before each product, and GELU reads and writes that output once more.
"""

import copy
from typing import TypeVar

import torch
from torch import Tensor, nn

from mvit.model.block import MLP

Model = TypeVar("Model", bound=nn.Module)


class PackedLinear(nn.Module):
    """A Linear whose weight is in oneDNN's layout; ``activation`` "gelu" is the exact one, of the output."""

    def __init__(self, linear: nn.Linear, activation: str = "none") -> None:
        super().__init__()
        self.activation = activation
        self.weight = torch.ops.mkldnn._reorder_linear_weight(linear.weight.detach())
        self.bias = None if linear.bias is None else linear.bias.detach()

    def forward(self, x: Tensor) -> Tensor:  # (B, N, C) -> (B, N, C')
        x = x.to(self.weight.dtype)  # what autocast does for a Linear
        output: Tensor = torch.ops.mkldnn._linear_pointwise(x, self.weight, self.bias, self.activation, [], "none")
        return output


class PackedMLP(nn.Module):
    """The MLP of a block with its GELU inside the first product."""

    def __init__(self, mlp: MLP) -> None:
        super().__init__()
        self.fc1 = PackedLinear(mlp.fc1, "gelu")
        self.fc2 = PackedLinear(mlp.fc2)

    def forward(self, x: Tensor) -> Tensor:  # (B, N, C) -> (B, N, C')
        return self.fc2(self.fc1(x))


def packed(model: Model) -> Model:
    """A copy of a model whose linear layers on the CPU are packed, where oneDNN computes in their type.

    Raises ``ValueError`` for such a copy: what oneDNN has laid out cannot be copied.
    """
    if any(isinstance(module, PackedLinear) for module in model.modules()):
        raise ValueError("this model is optimised for inference already: use it as it is, or pack the one it came from")
    twins: dict[int, nn.Module] = {}  # by the identity of what they replace, which is how deepcopy asks for them
    mlps = [module for module in model.modules() if isinstance(module, MLP) and _packs(module.fc1)]
    within = {linear for mlp in mlps for linear in (mlp.fc1, mlp.fc2)}
    for module in model.modules():
        if isinstance(module, nn.Linear) and module not in within and _packs(module):
            twins[id(module)] = PackedLinear(module)
    return copy.deepcopy(model, memo=twins | {id(mlp): PackedMLP(mlp) for mlp in mlps})


def _packs(linear: nn.Linear) -> bool:
    if linear.weight.device.type != "cpu" or not torch.backends.mkldnn.is_available():
        return False
    return {
        torch.float32: lambda: True,
        torch.bfloat16: torch.ops.mkldnn._is_mkldnn_bf16_supported,
        torch.float16: torch.ops.mkldnn._is_mkldnn_fp16_supported,
    }.get(linear.weight.dtype, lambda: False)()
