"""How far attention reaches: its mean distance, head by head, in pixels and in frames.

The distance between a query and a key, weighted by the attention between them and averaged over queries (Dosovitskiy
et al., ICLR 2021, figure 7, for patches of an image); here in space and in time apart, between the centres of the
windows that queries and keys were pooled from. The class token has no place and is left out.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mvit.explanation.attention import Attention, attentions
from mvit.explanation.pooling import stem
from mvit.model.config import MViTConfig, PoolConfig, Triple
from mvit.model.mvit import MViT


@dataclass(frozen=True, kw_only=True)
class Distance:
    """The mean attention distance in a block, of each head."""

    index: int
    stage: int
    pixels: tuple[float, ...]
    """Of the clip that the model sees."""
    frames: tuple[float, ...]
    """Of that clip."""
    even_pixels: float
    """What attention that prefers no key would have."""
    even_frames: float


def distances(model: MViT, clips: Iterable[Tensor]) -> list[Distance]:
    """The mean attention distance in every block, over clips (1, 3, T, H, W) of one size.

    Put the model into evaluation mode first. Holds one attention of one clip at a time. Raises ``ValueError`` for no
    clips.
    """
    found = [[of_block(each, model.config) for each in attentions(model, clip)] for clip in clips]
    if not found:
        raise ValueError("a mean attention distance is over clips, and there are none")
    return [_mean(of_clips) for of_clips in zip(*found, strict=True)]


def of_block(attention: Attention, config: MViTConfig) -> Distance:
    """The mean attention distance of a block of a model, for the first of its clips."""
    block = attention.block
    before = [stem(config), *(earlier.pool_q for earlier in config.blocks())][: attention.index + 1]
    t, *across = _centres([*before, block.pool_q], block.pool_q.grid_of(attention.grid))
    t_k, *across_k = _centres([*before, block.pool_kv], block.pool_kv.grid_of(attention.grid))
    in_time = (t[:, None] - t_k).abs()
    in_space = torch.cdist(torch.cartesian_prod(*across), torch.cartesian_prod(*across_k))
    weights = attention.weights[0, :, attention.class_tokens :, attention.class_tokens :]
    weights = weights / weights.sum(dim=-1, keepdim=True)
    weights = weights.view(-1, len(in_time), len(in_space), *in_time.shape[1:], *in_space.shape[1:])
    queries = len(in_time) * len(in_space)
    return Distance(
        index=attention.index,
        stage=block.stage,
        pixels=tuple((torch.einsum("htskl,sl->h", weights, in_space.to(weights)) / queries).tolist()),
        frames=tuple((torch.einsum("htskl,tk->h", weights, in_time.to(weights)) / queries).tolist()),
        even_pixels=float(in_space.mean()),
        even_frames=float(in_time.mean()),
    )


def _centres(pools: Sequence[PoolConfig], grid: Triple) -> list[Tensor]:
    """Where the cells of a grid that so many poolings made lie, in frames and pixels from the first: one each axis."""
    centres = []
    for axis, cells in enumerate(grid):
        first, step = 0.0, 1
        for pool in pools:
            first += step * ((pool.kernel[axis] - 1) / 2 - pool.padding[axis])
            step *= pool.stride[axis]
        centres.append(first + step * torch.arange(cells, dtype=torch.float32))
    return centres


def _mean(of_clips: Sequence[Distance]) -> Distance:
    """Of one block's distances for several clips."""
    first = of_clips[0]
    pixels, frames = (
        tuple(sum(heads) / len(heads) for heads in zip(*each, strict=True))
        for each in ([d.pixels for d in of_clips], [d.frames for d in of_clips])
    )
    return Distance(
        index=first.index,
        stage=first.stage,
        pixels=pixels,
        frames=frames,
        even_pixels=first.even_pixels,
        even_frames=first.even_frames,
    )
