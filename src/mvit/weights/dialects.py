"""Names of foreign checkpoints. You can safely ignore this file unless you read or write other people's weights.

A dialect turns a state dict into this project's names. Here: "official", facebookresearch/SlowFast 287ec00 (v1), whose
released files hold ``{epoch, model_state, optimizer_state, cfg}``.
"""

import re
from collections.abc import Mapping

import torch
from torch import Tensor

from mvit.model.config import MViTConfig, Positions, Triple

WRAPPERS = ("module.", "model.")
"""Prefixes that training frameworks put before every name."""

_OFFICIAL = {
    "cls_token": "class_token",
    "pos_embed": "positions.joint",
    "pos_embed_spatial": "positions.spatial",
    "pos_embed_temporal": "positions.temporal",
    "pos_embed_class": "positions.class_position",
}
_OFFICIAL_PATTERNS = (
    (r"^patch_embed\.proj\.", "stem."),
    (r"^head\.projection\.", "head."),
    (r"(blocks\.\d+\.attn)\.norm_([qkv])\.", r"\1.pool_\2.norm."),
)


def unwrapped(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same tensors without the prefixes that wrap every name of a file."""
    state = dict(state)
    for prefix in WRAPPERS:
        if state and all(name.startswith(prefix) for name in state):
            state = {name.removeprefix(prefix): tensor for name, tensor in state.items()}
    return state


def is_official(state: Mapping[str, Tensor]) -> bool:
    """Whether names are the official code's."""
    return "patch_embed.proj.weight" in state and "blocks.0.attn.qkv.weight" in state


def from_official(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """This project's names: the fused projection split into q, k, v, and a 2-D stem given its one frame."""
    ours: dict[str, Tensor] = {}
    for name, tensor in state.items():
        fused = re.fullmatch(r"(blocks\.\d+\.attn)\.qkv\.(weight|bias)", name)
        if fused:
            for part, piece in zip("qkv", tensor.chunk(3, dim=0), strict=True):
                ours[f"{fused[1]}.{part}.{fused[2]}"] = piece.clone()
            continue
        new = _OFFICIAL.get(name, name)
        for pattern, replacement in _OFFICIAL_PATTERNS:
            new = re.sub(pattern, replacement, new)
        if new == "stem.weight" and tensor.ndim == 4:
            tensor = tensor.unsqueeze(2)
        ours[new] = tensor
    return ours


def to_official(state: Mapping[str, Tensor], config: MViTConfig) -> dict[str, Tensor]:
    """The official names: what ``from_official`` reads back bit for bit; an image model's stem becomes 2-D."""
    names = {ours: theirs for theirs, ours in _OFFICIAL.items()}
    official: dict[str, Tensor] = {}
    for name, tensor in state.items():
        part = re.fullmatch(r"(blocks\.\d+\.attn)\.([qkv])\.(weight|bias)", name)
        if part:
            if part[2] == "q":
                pieces = [state[f"{part[1]}.{each}.{part[3]}"] for each in "qkv"]
                official[f"{part[1]}.qkv.{part[3]}"] = torch.cat(pieces)
            continue
        if name == "stem.weight" and config.clip[0] == 1 and tensor.shape[2] == 1:
            tensor = tensor.squeeze(2)
        new = names.get(name, name)
        new = re.sub(r"^stem\.", "patch_embed.proj.", new)
        new = re.sub(r"^head\.", "head.projection.", new)
        new = re.sub(r"\.pool_([qkv])\.norm\.", r".norm_\1.", new)
        official[new] = tensor
    return official


def infer_config(state: Mapping[str, Tensor]) -> MViTConfig:
    """The configuration that tensors in this project's names show; strides are those of the released models.

    No tensor shows a stride, so it is what every released configuration has: stem 2x4x4 (images 1x4x4), queries 1x2x2
    at every new stage, keys and values 1x8x8 at first (images 1x4x4), or one less than the kernel where that is
    larger than 3. Raises ``ValueError`` where heads cannot be told: models without learned pooling.
    """
    depth = 1 + max(int(name.split(".")[1]) for name in state if name.startswith("blocks."))
    block_widths = [state[f"blocks.{index}.norm1.weight"].shape[0] for index in range(depth)]
    starts = [index for index in range(depth) if index == 0 or block_widths[index] != block_widths[index - 1]]
    ends = [*starts[1:], depth]
    widths = tuple(block_widths[start] for start in starts)
    kernels_q, kernels_kv, heads = [], [], []
    for start, width in zip(starts, widths, strict=True):
        pools = [state.get(f"blocks.{start}.attn.pool_{part}.weight") for part in "qk"]
        known = next((pool for pool in pools if pool is not None), None)
        if known is None:
            raise ValueError(
                f"block {start} of the checkpoint has no learned pooling, from which its heads could be told: "
                "name the model that it belongs to"
            )
        heads.append(width // known.shape[0])
        kernels_q.append(_kernel(pools[0]))
        kernels_kv.append(_kernel(pools[1]))
    stem = state["stem.weight"]
    video = stem.shape[2] > 1
    strides_q: list[Triple] = [(1, 1, 1)] + [(1, 2, 2)] * (len(starts) - 1)
    stem_kernel = (stem.shape[2], stem.shape[3], stem.shape[4])
    stem_stride = (2 if video else 1, 4, 4)
    return MViTConfig(
        num_classes=state["head.weight"].shape[0],
        clip=_clip(state, stem_stride),
        stem_kernel=stem_kernel,
        stem_stride=stem_stride,
        stem_padding=(stem_kernel[0] // 2, stem_kernel[1] // 2, stem_kernel[2] // 2),
        depths=tuple(end - start for start, end in zip(starts, ends, strict=True)),
        widths=widths,
        heads=tuple(heads),
        stride_q=tuple(strides_q),
        kernel_q=tuple(kernels_q),
        stride_kv=_strides_kv(kernels_kv, strides_q, (1, 8, 8) if video else (1, 4, 4)),
        kernel_kv=tuple(kernels_kv),
        positions=_positions(state),
        head_dropout=0.5 if video else 0.0,
    )


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


def _clip(state: Mapping[str, Tensor], stride: Triple) -> Triple:
    """The clip that the position tables were made for; square frames."""
    if "positions.joint" in state:
        if stride[0] > 1:
            raise ValueError("joint positions do not show how many frames they hold: name the model")
        frames, places = 1, state["positions.joint"].shape[1] - 1
    elif "positions.spatial" in state:
        places = state["positions.spatial"].shape[1]
        frames = state["positions.temporal"].shape[1] if "positions.temporal" in state else 1
    else:
        raise ValueError("a checkpoint without positions does not show its size: name the model")
    side = round(places**0.5)
    if side * side != places:
        raise ValueError(f"the checkpoint's {places} positions in space are not square: name the model")
    return (frames * stride[0], side * stride[1], side * stride[2])
