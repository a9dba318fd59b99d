"""What all kernels agree on: how work is cut into programs, in what dtype it is summed, and where it is launched."""

from contextlib import AbstractContextManager

import torch
from torch import Tensor

PROGRAMS = 1024
"""How many share a sum over all rows: a constant, so that a gradient is the same to the bit in every run."""
TILE = 1024
"""Numbers that a program holds of one tensor."""


def block_and_rows(width: int, tile: int) -> tuple[int, int]:
    """The width of a row rounded up to a power of 2, and how many such rows fill a tile."""
    block = 1 << (width - 1).bit_length()
    return block, max(1, tile // block)


def sums_of(kind: torch.dtype) -> torch.dtype:
    """What tensors of a dtype are summed in: float32, or float64 for float64."""
    return torch.promote_types(kind, torch.float32)


def ceil_of(number: int, divisor: int) -> int:
    """The quotient, rounded up."""
    return -(-number // divisor)


def device_of(x: Tensor) -> AbstractContextManager[object]:
    """Triton launches on the current device, which need not be the tensor's; inside it is."""
    return torch.cuda.device_of(x)
