"""The depthwise convolution of pooling attention, with gradients that are quick on a CPU.

There, torch's own gradients of a 3D depthwise convolution cost ten to forty times its forward pass, more than a third
of a training step. The same sums by quicker operators: the input's gradient is a forward convolution with the mirrored
kernel, and the weight's is that of a 2D convolution for each temporal tap.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from mvit.model.config import Triple


def depthwise_conv3d(x: Tensor, weight: Tensor, stride: Triple, padding: Triple) -> Tensor:
    """``conv3d`` with a kernel for each channel: (B, C, T, H, W) by (C, 1, kt, kh, kw) -> (B, C, T', H', W').

    In the type of the weight; where autograd keeps x, it is x as it came.
    """
    trains = torch.is_grad_enabled() and (x.requires_grad or weight.requires_grad)
    padded_within_kernel = all(pad < kernel for pad, kernel in zip(padding, weight.shape[2:], strict=True))
    if trains and x.device.type == "cpu" and padded_within_kernel:
        output: Tensor = _DepthwiseConv3d.apply(x, weight, stride, padding)  # type: ignore[no-untyped-call]
        return output
    return F.conv3d(x.to(weight.dtype), weight, stride=stride, padding=padding, groups=x.shape[1])


class _DepthwiseConv3d(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, stride: Triple, padding: Triple) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.stride, ctx.padding = stride, padding
        return F.conv3d(x.to(weight.dtype), weight, stride=stride, padding=padding, groups=x.shape[1])

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Any) -> tuple[Tensor | None, Tensor | None, None, None]:
        (grad,) = grad_outputs
        saved, weight = ctx.saved_tensors
        x, for_x = saved.to(weight.dtype), None
        if ctx.needs_input_grad[0]:
            for_x = _input_gradient(x, weight, grad, ctx.stride, ctx.padding).to(saved.dtype)
        for_weight = _weight_gradient(x, weight, grad, ctx.stride, ctx.padding) if ctx.needs_input_grad[1] else None
        return for_x, for_weight, None, None


def _input_gradient(x: Tensor, weight: Tensor, grad: Tensor, stride: Triple, padding: Triple) -> Tensor:
    """Each output spreads its gradient over its window: zeros between the outputs, then the mirrored kernel."""
    kernel = weight.shape[2:]
    before = [k - 1 - pad for k, pad in zip(kernel, padding, strict=True)]
    spread = grad
    if stride != (1, 1, 1):  # where the outputs' windows begin on the padded input, and the reach of the last of them
        size = [n + k - 1 for n, k in zip(x.shape[2:], kernel, strict=True)]
        spread = grad.new_zeros(grad.shape[0], *size, grad.shape[1]).permute(0, 4, 1, 2, 3)
        at = [slice(b, b + (n - 1) * s + 1, s) for b, n, s in zip(before, grad.shape[2:], stride, strict=True)]
        spread[:, :, at[0], at[1], at[2]] = grad
        before = [0, 0, 0]
    return F.conv3d(spread, weight.flip(2, 3, 4), padding=before, groups=x.shape[1])


def _weight_gradient(x: Tensor, weight: Tensor, grad: Tensor, stride: Triple, padding: Triple) -> Tensor:
    channels, _, taps, height, width = weight.shape
    frames, step, pad = x.shape[2], stride[0], padding[0]
    if height == 3 and stride[1] <= 2 and x.shape[3] <= 3 and grad.shape[3] <= 2:
        # oneDNN has no kernel of its own for maps so low unless they are padded first, and takes 3 to 12 times as long;
        # higher ones are slower so, by half and more (measured with 128 channels and 64 maps on one thread).
        x, padding = F.pad(x, (padding[2], padding[2], padding[1], padding[1])), (pad, 0, 0)
    gradients = []
    for tap in range(taps):  # output t reads frame t * step + tap - pad, if there is such a frame
        first = max(0, -((tap - pad) // step))
        last = min(grad.shape[2] - 1, (frames - 1 + pad - tap) // step)
        if last < first:
            gradients.append(torch.zeros_like(weight[:, :, 0]))
            continue
        read = slice(first * step + tap - pad, last * step + tap - pad + 1, step)
        gradients.append(
            torch.nn.grad.conv2d_weight(  # type: ignore[no-untyped-call]
                x[:, :, read].transpose(1, 2).flatten(0, 1),
                (channels, 1, height, width),
                grad[:, :, first : last + 1].transpose(1, 2).flatten(0, 1),
                stride=stride[1:],
                padding=padding[1:],
                groups=channels,
            )
        )
    return torch.stack(gradients, dim=2)
