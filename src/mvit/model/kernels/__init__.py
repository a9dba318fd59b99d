"""Operators that are fused for GPUs in Triton; the plain path beside each of them says what it computes.

One switch: ``MVIT_KERNELS=0`` in the environment, or ``mvit.model.kernels.enabled = False`` in a program, takes the
plain path everywhere. Without Triton, and for tensors that are not on a GPU, that path is taken anyway.

What torch runs fused by itself (LayerNorm, exact GELU, softmax attention) is not written again here.
"""

import os
from importlib.util import find_spec

import torch
from torch import Tensor

DTYPES = (torch.float32, torch.bfloat16, torch.float16, torch.float64)

installed = find_spec("triton") is not None
enabled = os.environ.get("MVIT_KERNELS", "1") != "0"


def serve(x: Tensor) -> bool:
    """Whether a tensor goes through the kernels."""
    return enabled and installed and x.is_cuda and x.dtype in DTYPES
