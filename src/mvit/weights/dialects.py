"""Names of foreign checkpoints. You can safely ignore this file unless you read or write other people's weights.

A dialect turns a state dict into this project's names. Here: "official", facebookresearch/SlowFast 287ec00 and
facebookresearch/mvit dfbdfdf, whose released files hold ``{epoch, model_state, optimizer_state, cfg}``.
"""

import re
from collections.abc import Mapping

import torch
from torch import Tensor

from mvit.model.config import MViTConfig

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
    (r"(blocks\.\d+\.attn)\.rel_pos_t$", r"\1.relative.time"),
    (r"(blocks\.\d+\.attn)\.rel_pos_h$", r"\1.relative.height"),
    (r"(blocks\.\d+\.attn)\.rel_pos_w$", r"\1.relative.width"),
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
        new = re.sub(r"\.relative\.([thw])\w+$", r".rel_pos_\1", new)
        official[new] = tensor
    return official
