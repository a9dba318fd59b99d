"""Reversible blocks, which train in memory that does not grow with depth (Mangalam et al., CVPR 2022).

Two streams pass a block, Y1 = X1 + F(X2) and Y2 = X2 + G(Y1): its input follows from its output, and is computed again
when gradients need it. F is attention and G the MLP, each with its norm before it.

B batch, N tokens in, Q tokens out, C channels of one stream; the two streams lie side by side in 2C.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from mvit.model.attention import MultiscaleAttention
from mvit.model.block import MLP, Norm, StochasticDepth
from mvit.model.config import FUSION_RATIO, BlockConfig, Triple
from mvit.model.recompute import autocast_of, recomputed


class ReversibleBlock(nn.Module):
    """Attention and an MLP on two streams, which keep their grid and width."""

    def __init__(self, config: BlockConfig) -> None:
        super().__init__()
        self.norm1 = Norm(config.width)
        self.attn = MultiscaleAttention(config)
        self.norm2 = Norm(config.width)
        self.mlp = MLP(config.width, config.width)
        self.drop_path = StochasticDepth(config.drop_path)

    def forward(self, x: Tensor, grid: Triple) -> tuple[Tensor, Triple]:  # (B, N, 2C) -> (B, N, 2C)
        return self.step(x, grid, self.drop_path.mask(x), self.drop_path.mask(x)), grid

    def step(self, x: Tensor, grid: Triple, mask_f: Tensor | None, mask_g: Tensor | None) -> Tensor:
        """``forward`` with what stochastic depth drops from F and from G: kept, it needs no random state replayed."""
        first, second = x.chunk(2, dim=-1)
        first = first + self.f(second, grid, mask_f)
        second = second + self.g(first, mask_g)
        return torch.cat([first, second], dim=-1)

    def f(self, x: Tensor, grid: Triple, mask: Tensor | None) -> Tensor:  # (B, N, C) -> (B, N, C)
        return self.drop_path(self.attn(self.norm1(x), grid)[0], mask)

    def g(self, x: Tensor, mask: Tensor | None) -> Tensor:  # (B, N, C) -> (B, N, C)
        return self.drop_path(self.mlp(self.norm2(x)), mask)

    def f_parameters(self) -> list[nn.Parameter]:
        return [*self.norm1.parameters(), *self.attn.parameters()]

    def g_parameters(self) -> list[nn.Parameter]:
        return [*self.norm2.parameters(), *self.mlp.parameters()]


class TransitionBlock(nn.Module):
    """The first block of a further stage: it fuses the streams, coarsens the grid, widens, and makes two streams again.

    "average" takes the mean of the streams; "mlp" adds an MLP of the two side by side to them, so that attention starts
    from 2C. The skip is pooled by what pools the queries, its norm included. No such block can be reversed.
    """

    def __init__(self, config: BlockConfig) -> None:
        super().__init__()
        self.fuse = MLP(config.width, config.width, FUSION_RATIO) if config.reversible == "mlp" else None
        self.norm1 = Norm(config.width)
        self.attn = MultiscaleAttention(config)
        self.norm2 = Norm(config.width_attention)
        self.mlp = MLP(config.width_attention, config.width_out)
        self.proj = nn.Linear(config.width, config.width_out) if config.width_out != config.width else None
        self.drop_path = StochasticDepth(config.drop_path)
        self.recompute = False
        self.checkpointed = False

    def forward(self, x: Tensor, grid: Triple) -> tuple[Tensor, Triple]:  # (B, N, 2C) -> (B, Q, 2C')
        x = x + self.fuse(x) if self.fuse else torch.stack(x.chunk(2, dim=-1)).mean(dim=0)
        with recomputed(self.norm1, x, enabled=self.recompute) as normed:
            attended, new_grid = self.attn(normed, grid)
        x = self.proj(x) if self.proj else x
        if self.attn.pool_q:
            x, _ = self.attn.pool_q(x, grid)
        x = x + self.drop_path(attended)
        with recomputed(self.norm2, x, enabled=self.recompute) as normed:
            x = x + self.drop_path(self.mlp(normed))
        return torch.cat([x, x], dim=-1), new_grid


def run_reversibly(x: Tensor, grid: Triple, blocks: Sequence[ReversibleBlock]) -> Tensor:
    """Blocks one after the other, of which autograd keeps the last output only: (B, N, 2C) -> (B, N, 2C).

    Compiled, it keeps each block's input: torch traces no gradient that is taken inside a backward pass.
    """
    masks = [(block.drop_path.mask(x), block.drop_path.mask(x)) for block in blocks]
    if torch.compiler.is_compiling():
        for block, (mask_f, mask_g) in zip(blocks, masks, strict=True):
            x = checkpoint(block.step, x, grid, mask_f, mask_g, use_reentrant=False)
        return x
    parameters = [parameter for block in blocks for parameter in (*block.f_parameters(), *block.g_parameters())]
    output: Tensor = _Reversible.apply(x, grid, blocks, masks, *parameters)  # type: ignore[no-untyped-call]
    return output


class _Reversible(torch.autograd.Function):
    """Takes the parameters as inputs, so that their gradients leave by autograd's own way, hooks and all."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, grid: Triple, blocks: Any, masks: Any, *_parameters: Tensor) -> Tensor:
        ctx.grid, ctx.blocks, ctx.masks = grid, blocks, masks
        ctx.autocast = autocast_of(x.device.type)
        for block, (mask_f, mask_g) in zip(blocks, masks, strict=True):
            x = block.step(x, grid, mask_f, mask_g)
        ctx.save_for_backward(x)
        return x

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Any) -> tuple[Any, ...]:
        first, second = ctx.saved_tensors[0].chunk(2, dim=-1)
        grad_first, grad_second = grad_outputs[0].chunk(2, dim=-1)
        of_parameters: list[Tensor | None] = []
        with ctx.autocast:
            for block, (mask_f, mask_g) in zip(reversed(ctx.blocks), reversed(ctx.masks), strict=True):
                again_g = partial(block.g, mask=mask_g)
                g, grad, of_g = _again(again_g, first, grad_second, block.g_parameters())
                second, grad_first = second - g, grad_first + grad
                again_f = partial(block.f, grid=ctx.grid, mask=mask_f)
                f, grad, of_f = _again(again_f, second, grad_first, block.f_parameters())
                first, grad_second = first - f, grad_second + grad
                of_parameters = [*of_f, *of_g, *of_parameters]
        return torch.cat([grad_first, grad_second], dim=-1), None, None, None, *of_parameters


def _again(
    function: Callable[[Tensor], Tensor], x: Tensor, grad: Tensor, parameters: Sequence[nn.Parameter]
) -> tuple[Tensor, Tensor, list[Tensor | None]]:
    """The value of a function, and the gradients of its input and of its parameters for that of its output."""
    x = x.detach().requires_grad_()
    with torch.enable_grad():
        y = function(x)
    wanted = [x, *(parameter for parameter in parameters if parameter.requires_grad)]
    grads = iter(torch.autograd.grad(y, wanted, grad.to(y.dtype)))
    of_x = next(grads)
    return y.detach(), of_x, [next(grads) if parameter.requires_grad else None for parameter in parameters]
