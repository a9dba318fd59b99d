"""What each dialect cannot express, so that a model is never written as one that it is not."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise

from mvit.model.config import MViTConfig, divided
from mvit.weights.slowfast import kernel_of_all


def refusals(config: MViTConfig, dialect: str) -> list[str]:
    """Why a model cannot be written in a dialect, each the rest of a sentence about it; empty where it can."""
    if dialect == "mvit":
        return []
    unknown = [] if dialect == "official" else _unknown_to_others(config)
    return [*_everywhere(config), *unknown, *_LIMITS[dialect](config)]


def _everywhere(config: MViTConfig) -> Iterator[str]:
    relative = config.relative_positions != "none"
    pools = [pool for block in config.blocks() for pool in (block.pool_q, block.pool_kv)]
    if any(pad != kernel // 2 for pool in pools for pad, kernel in zip(pool.padding, pool.kernel, strict=True)):
        yield "its pools are padded by something else than half their kernel"
    if config.positions == "space":
        yield "it has positions in space alone"
    if (relative or config.positions != "none") and config.clip[1] != config.clip[2]:
        yield f"its positions are made for frames of {config.clip[1]}x{config.clip[2]}, which are not square"
    floored = replace(config, relative_positions="floor").blocks()
    tables = zip(config.blocks(), floored, strict=True)
    if relative and any(ours.relative_grids != theirs.relative_grids for ours, theirs in tables):
        yield "its tables of relative positions are made for odd grids, which others round down"
    if config.positions != "none" and config.grid != divided(config.clip, config.stem_stride):
        yield "its positions are made for a grid that others round down"
    if relative and any(pool.stride[0] > 1 for pool in pools):
        yield "it has relative positions and pools over time"
    if config.widen_in == "merging":
        yield "its grid coarsens by patch merging"
    if config.width_skip != "normalised":
        yield f"its width_skip is {config.width_skip}, where only skips of the norm's output exist"


def _unknown_to_others(config: MViTConfig) -> Iterator[str]:
    """What the official code alone has."""
    if config.reversible != "none":
        yield "it is reversible"
    if not config.qkv_bias:
        yield "its queries, keys and values have no bias"


def _official(config: MViTConfig) -> Iterator[str]:
    image = config.clip[0] == 1 and config.stem_kernel[0] == 1
    if config.residual_pooling and config.class_token and config.residual_class_token and not image:
        yield "the queries are added to what a clip's class token gets"
    if config.reversible != "none" and config.class_token:
        yield "it is reversible and has a class token"
    if config.reversible != "none" and min(config.depths[1:], default=2) < 2:
        yield "it is reversible and a further stage has a single block, after which there would be one stream"
    yield from _one_kernel(config)


def _torchvision(config: MViTConfig) -> Iterator[str]:
    if config.pooling != "conv":
        yield f"its pooling is {config.pooling}, not learned"
    if not config.class_token:
        yield "it has no class token"
    if config.positions != ("none" if config.relative_positions != "none" else "separate"):
        yield f"its positions are {config.positions}, where only separate or relative ones exist"
    if config.relative_positions != "none" and config.grid[0] == 1:
        yield "it has relative positions and is made for images"


def _pytorchvideo(config: MViTConfig) -> Iterator[str]:
    if config.relative_positions != "none" or config.residual_pooling or config.widen_in == "attention":
        yield "it is an MViTv2"
    elif config.positions == "none":
        yield "it has no positions"
    yield from _one_kernel(config)


def _timm(config: MViTConfig) -> Iterator[str]:
    if config.clip[0] != 1 or config.stem_kernel[0] != 1:
        yield "it is made for clips, not images"
    if config.positions == "separate":
        yield "its positions are separate, where only joint or relative ones exist"
    if config.residual_pooling and config.class_token and not config.residual_class_token:
        yield "the queries are not added to what its class token gets"
    yield from _one_kernel_in_every_block(config)


def _mmaction2(config: MViTConfig) -> Iterator[str]:
    if config.pooling != "conv":
        yield f"its pooling is {config.pooling}, not learned"
    if config.positions == "separate":
        yield "its positions are separate, where only joint or relative ones exist"
    if config.relative_positions != "none" and config.grid[0] == 1:
        yield "it has relative positions and is made for images"
    if config.residual_pooling and config.class_token and config.residual_class_token:
        yield "the queries are added to what its class token gets"
    doubled = all(new == 2 * old for values in (config.widths, config.heads) for old, new in pairwise(values))
    strides = ((1, 1, 1), *((1, 2, 2),) * 3)
    if config.stages != 4 or not doubled or config.stride_q != strides:
        yield "it has not four stages, each with half the grid and twice the width and heads of the one before"
    adaptive = [tuple(max(n // 2**stage, 1) for n in config.stride_kv[0][1:]) for stage in range(config.stages)]
    if [stride[1:] for stride in config.stride_kv] != adaptive:
        yield "the strides of its keys and values do not halve from stage to stage"
    yield from _one_kernel_in_every_block(config)


def _one_kernel(config: MViTConfig) -> Iterator[str]:
    blocks = list(config.blocks())
    try:
        kernel_of_all([p for block in blocks for p in (block.pool_q, block.pool_kv) if not p.is_identity])
    except ValueError as why:
        yield str(why)


def _one_kernel_in_every_block(config: MViTConfig) -> Iterator[str]:
    kernels = {pool.kernel for block in config.blocks() for pool in (block.pool_q, block.pool_kv)}
    if len(kernels) > 1:
        yield "not all its pools, the queries' of every block among them, have one kernel"


_LIMITS = {
    "official": _official,
    "torchvision": _torchvision,
    "pytorchvideo": _pytorchvideo,
    "pytorchvideo-head": _pytorchvideo,
    "timm": _timm,
    "mmaction2": _mmaction2,
}
