"""Operators that are fused for GPUs in Triton; the plain path beside each of them says what it computes.

One switch: ``MVIT_KERNELS=0`` in the environment, or ``mvit.model.kernels.enabled.clear()`` in a program, takes the
plain path everywhere, and ``MVIT_KERNELS=pooling`` everywhere but in pooling. Without Triton, for tensors that are not
on a GPU, and in a model that is being exported, that path is taken anyway.

What torch fuses by itself is not written again here: exact GELU and softmax attention are single kernels, and
``torch.compile`` fuses GELU with the bias beside it, and sums with the norm that follows.
"""

import os
from importlib.util import find_spec

import torch
from torch import Tensor

DTYPES = (torch.float32, torch.bfloat16, torch.float16, torch.float64)
KERNELS = ("pooling", "norm")


def chosen(words: str) -> set[str]:
    """What ``MVIT_KERNELS`` says: all for "1" or nothing, none for "0", some by name and comma; ``ValueError`` else."""
    names = {"1": set(KERNELS), "": set(KERNELS), "0": set()}.get(words, set(words.split(",")))
    if unknown := sorted(names - set(KERNELS)):
        known = " and ".join(KERNELS)
        raise ValueError(f"MVIT_KERNELS names {unknown[0]!r}: expected 1 (all), 0 (none), or some of {known}")
    return names


installed = find_spec("triton") is not None
enabled = chosen(os.environ.get("MVIT_KERNELS", "1"))


def serve(x: Tensor, kernel: str) -> bool:
    """Whether a tensor goes through one of the kernels."""
    if not (x.is_cuda and installed and kernel in enabled and x.dtype in DTYPES):
        return False
    # Inductor fuses sums with norms itself, and with more around them than an operator that it cannot look into.
    return not (torch.compiler.is_compiling() if kernel == "norm" else torch.compiler.is_exporting())
