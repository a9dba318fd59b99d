"""Attention in blocks of queries on a CPU in bfloat16, where it is faster than torch's fused kernel.

That kernel multiplies small tiles, at which bfloat16 products are slow; here all keys of a head meet as many queries as
leave the weights in the cache. As in that kernel, the weights are never held whole, and are computed again for the
gradients. Logits are rounded to bfloat16, as they are wherever attention is written out.

Q queries, K keys and values, h heads, d channels a head.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

WEIGHTS_IN_A_BLOCK = 2**20
"""Of one head: 2 MiB that stay in the cache between the two products."""
LEAST_WEIGHTS = 2**17
"""Of one head: below this the calls cost more than the kernel loses."""


def serves(q: Tensor, k: Tensor) -> bool:
    """Whether attention in blocks is the faster way for these."""
    return (
        not torch.compiler.is_compiling()  # first: what follows cannot be traced
        and q.device.type == "cpu"
        and q.dtype == k.dtype == torch.bfloat16
        and q.shape[-2] * k.shape[-2] >= LEAST_WEIGHTS
        and torch.cpu._is_avx512_bf16_supported()
    )


def attention(q: Tensor, k: Tensor, v: Tensor, scale: float) -> Tensor:
    """``softmax(scale q k^T) v`` a head: (B, h, Q, d), (B, h, K, d), (B, h, K, d) -> (B, h, Q, d), with gradients."""
    output: Tensor = _BlockwiseAttention.apply(q, k, v, scale)  # type: ignore[no-untyped-call]
    return output


class _BlockwiseAttention(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, scale: float) -> Tensor:
        output = _like_tokens(q, v.shape[-1])
        for head, keys, values in _heads(q, k, v):
            keys = (keys * scale).t()
            for rows in _blocks(q, k):
                output[head][rows] = (q[head][rows] @ keys).softmax(dim=-1) @ values
        ctx.save_for_backward(q, k, v)
        ctx.scale = scale
        return output

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grad_outputs: Any) -> tuple[Tensor, Tensor, Tensor, None]:  # type: ignore[override]
        (grad,) = grad_outputs
        q, k, v = ctx.saved_tensors
        for_q, for_k, for_v = (_like_tokens(x, x.shape[-1]) for x in (q, k, v))
        for head, keys, values in _heads(q, k, v):
            keys = keys * ctx.scale
            of_keys = torch.zeros_like(keys.t(), dtype=torch.float32)
            of_values = torch.zeros_like(values.t(), dtype=torch.float32)
            for rows in _blocks(q, k):
                queries, of_output = q[head][rows], grad[head][rows]
                weights = (queries @ keys.t()).softmax(dim=-1)
                of_values += of_output.t() @ weights
                of_weights = of_output @ values.t()
                of_logits = torch._softmax_backward_data(of_weights, weights, -1, weights.dtype)
                for_q[head][rows] = of_logits @ keys
                of_keys += queries.t() @ of_logits
            for_k[head], for_v[head] = of_keys.t() * ctx.scale, of_values.t()
        return for_q, for_k, for_v, None


def _heads(q: Tensor, k: Tensor, v: Tensor) -> Iterator[tuple[tuple[int, int], Tensor, Tensor]]:
    for sample in range(q.shape[0]):
        for head in range(q.shape[1]):
            yield (sample, head), k[sample, head], v[sample, head]


def _blocks(q: Tensor, k: Tensor) -> list[slice]:
    rows = max(1, WEIGHTS_IN_A_BLOCK // k.shape[2])
    return [slice(first, first + rows) for first in range(0, q.shape[2], rows)]


def _like_tokens(x: Tensor, width: int) -> Tensor:
    """An empty (B, h, N, width) whose heads lie side by side, so that they are tokens without a copy."""
    return x.new_empty(x.shape[0], x.shape[2], x.shape[1], width).transpose(1, 2)
