"""Operators that are fused for GPUs in Triton; the plain path beside each of them says what it computes.

One switch: ``MVIT_KERNELS=0`` in the environment, or ``mvit.model.kernels.enabled = False`` in a program, takes the
plain path everywhere. Without Triton, for tensors that are not on a GPU, and in a model that is being exported, that
path is taken anyway.

What torch fuses by itself is not written again here: LayerNorm, exact GELU and softmax attention are single kernels,
and ``torch.compile`` fuses the first two with the sum or bias beside them.
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
    return enabled and installed and x.is_cuda and x.dtype in DTYPES and not torch.compiler.is_exporting()
