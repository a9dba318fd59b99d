"""The configuration of a model, from the names and shapes of its tensors.

No tensor shows a stride, nor whether pooled queries are added to the attention: these are what every released
configuration has (facebookresearch/SlowFast 287ec00, facebookresearch/mvit dfbdfdf).
"""

from collections.abc import Mapping
from dataclasses import replace

from torch import Tensor

from mvit.model.config import MViTConfig, Positions, Triple


def infer_config(state: Mapping[str, Tensor]) -> MViTConfig:
    """The configuration that tensors in this project's names show; strides are those of the released models.

    Stem 2x4x4 (images 1x4x4), queries 1x2x2 at every new stage, keys and values 1x8x8 at first (images 1x4x4), or one
    less than the kernel where that is larger than 3. Raises ``ValueError`` where heads cannot be told: models without
    learned pooling.
    """
    depth = 1 + max(int(name.split(".")[1]) for name in state if name.startswith("blocks."))
    widths_in = [state[f"blocks.{index}.attn.q.weight"].shape[1] for index in range(depth)]
    widths_attention = [state[f"blocks.{index}.attn.q.weight"].shape[0] for index in range(depth)]
    starts = [index for index in range(depth) if index == 0 or widths_attention[index] != widths_attention[index - 1]]
    ends = [*starts[1:], depth]
    kernels_q, kernels_kv, heads = [], [], []
    for start in starts:
        pools = [state.get(f"blocks.{start}.attn.pool_{part}.weight") for part in "qk"]
        known = next((pool for pool in pools if pool is not None), None)
        if known is None:
            raise ValueError(
                f"block {start} of the checkpoint has no learned pooling, from which its heads could be told: "
                "name the model that it belongs to"
            )
        heads.append(widths_attention[start] // known.shape[0])
        kernels_q.append(_kernel(pools[0]))
        kernels_kv.append(_kernel(pools[1]))
    stem = state["stem.weight"]
    video = stem.shape[2] > 1
    relative = "blocks.0.attn.relative.height" in state
    strides_q: list[Triple] = [(1, 1, 1)] + [(1, 2, 2)] * (len(starts) - 1)
    stem_kernel = (stem.shape[2], stem.shape[3], stem.shape[4])
    stem_stride = (2 if video else 1, 4, 4)
    config = MViTConfig(
        num_classes=state["head.weight"].shape[0],
        clip=_clip(state, stem_stride),
        stem_kernel=stem_kernel,
        stem_stride=stem_stride,
        stem_padding=(stem_kernel[0] // 2, stem_kernel[1] // 2, stem_kernel[2] // 2),
        depths=tuple(end - start for start, end in zip(starts, ends, strict=True)),
        widths=tuple(widths_attention[start] for start in starts),
        widen_in="mlp" if widths_in == widths_attention else "attention",
        heads=tuple(heads),
        stride_q=tuple(strides_q),
        kernel_q=tuple(kernels_q),
        pool_every_query=any(f"blocks.{i}.attn.pool_q.weight" in state for i in range(depth) if i not in starts),
        stride_kv=_strides_kv(kernels_kv, strides_q, (1, 8, 8) if video else (1, 4, 4)),
        kernel_kv=tuple(kernels_kv),
        class_token="class_token" in state,
        positions=_positions(state),
        relative_positions="grid" if relative else "none",
        residual_pooling=relative,
        head_dropout=0.5 if video else 0.0,
    )
    return replace(config, relative_positions="floor") if relative and _floored(state, config) else config


def _kernel(pool: Tensor | None) -> Triple:
    return (1, 1, 1) if pool is None else (pool.shape[2], pool.shape[3], pool.shape[4])


def _strides_kv(kernels: list[Triple], strides_q: list[Triple], first: Triple) -> tuple[Triple, ...]:
    strides: list[Triple] = []
    for kernel, stride_q in zip(kernels, strides_q, strict=True):
        if max(kernel) > 3:
            first = (max(kernel[0] - 1, 1), max(kernel[1] - 1, 1), max(kernel[2] - 1, 1))
        else:
            t, h, w = (max(kv // q, 1) for kv, q in zip(first, stride_q, strict=True))
            first = (t, h, w)
        strides.append(first)
    return tuple(strides)


def _positions(state: Mapping[str, Tensor]) -> Positions:
    if "positions.joint" in state:
        return "joint"
    if "positions.temporal" in state:
        return "separate"
    return "space" if "positions.spatial" in state else "none"


def _floored(state: Mapping[str, Tensor], config: MViTConfig) -> bool:
    """Whether some table is smaller than its grid: the official code halves odd grids downwards."""
    for index, block in enumerate(config.blocks()):
        grid_q, grid_k = block.relative_grids or (config.grid, config.grid)
        if state[f"blocks.{index}.attn.relative.height"].shape[0] < 2 * max(grid_q[1], grid_k[1]) - 1:
            return True
    return False


def _clip(state: Mapping[str, Tensor], stride: Triple) -> Triple:
    """The clip that the position tables were made for."""
    if "blocks.0.attn.relative.height" in state and "positions.spatial" not in state:
        lengths = [state.get(f"blocks.0.attn.relative.{axis}") for axis in ("time", "height", "width")]
        t, h, w = (1 if table is None else (table.shape[0] + 1) // 2 for table in lengths)
        return (t * stride[0], h * stride[1], w * stride[2])
    class_tokens = int("class_token" in state)
    if "positions.joint" in state:
        if stride[0] > 1:
            raise ValueError("joint positions do not show how many frames they hold: name the model")
        frames, places = 1, state["positions.joint"].shape[1] - class_tokens
    elif "positions.spatial" in state:
        places = state["positions.spatial"].shape[1]
        frames = state["positions.temporal"].shape[1] if "positions.temporal" in state else 1
    else:
        raise ValueError("a checkpoint without positions does not show its size: name the model")
    side = round(places**0.5)
    if side * side != places:
        raise ValueError(f"the checkpoint's {places} positions in space are not square: name the model")
    return (frames * stride[0], side * stride[1], side * stride[2])
