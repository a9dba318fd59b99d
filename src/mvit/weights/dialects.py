"""Names of foreign checkpoints. You can safely ignore this file unless you read or write other people's weights.

A dialect is a table from this project's names to its own; what a table cannot say (fused projections, missing axes,
blocks counted by stage, names given twice) is the same few functions for all. Sources: facebookresearch/SlowFast
287ec00 and facebookresearch/mvit dfbdfdf ("official"), facebookresearch/pytorchvideo 0.1.5 and f3142bb ("-head"),
torchvision 0.29.1, timm 1.0.31, mmaction2 1.2.0.
"""

import re
from collections.abc import Mapping

import torch
from torch import Tensor

from mvit.model.config import MViTConfig

WRAPPERS = ("module.", "model.", "backbone.", "_orig_mod.")
"""Prefixes that training frameworks put before every name."""

Table = Mapping[str, str]
"""Starts of names, ours to theirs; the first that fits counts. # is a number of a block, ? is one of q, k, v."""

_POOL_NORMS = {"blocks.#.attn.pool_?.norm": "blocks.#.attn.norm_?"}
_RELATIVE = {
    "blocks.#.attn.relative.time": "blocks.#.attn.rel_pos_t",
    "blocks.#.attn.relative.height": "blocks.#.attn.rel_pos_h",
    "blocks.#.attn.relative.width": "blocks.#.attn.rel_pos_w",
}
_OFFICIAL = {
    "stem": "patch_embed.proj",
    "class_token": "cls_token",
    "positions.joint": "pos_embed",
    "positions.spatial": "pos_embed_spatial",
    "positions.temporal": "pos_embed_temporal",
    "positions.class_position": "pos_embed_class",
    **_POOL_NORMS,
    **_RELATIVE,
    "head": "head.projection",
}
_REVERSIBLE = {
    "blocks.#.fuse": "rev_backbone.layers.#.pre_q_fuse.fuse_fn",
    "blocks.#.norm1": "rev_backbone.layers.#.F.norm",
    **{
        ours: theirs.replace("blocks.#", "rev_backbone.layers.#.F")
        for ours, theirs in (_POOL_NORMS | _RELATIVE | {"blocks.#.attn": "blocks.#.attn"}).items()
    },
    "blocks.#.norm2": "rev_backbone.layers.#.G.norm",
    "blocks.#.mlp": "rev_backbone.layers.#.G.mlp",
    "blocks.#.proj": "rev_backbone.layers.#.res_proj",
}
"""The blocks of a reversible model, which only the official code has."""

_PYTORCHVIDEO = {
    "stem": "patch_embed.patch_model",
    "class_token": "cls_positional_encoding.cls_token",
    "positions.joint": "cls_positional_encoding.pos_embed",
    "positions.spatial": "cls_positional_encoding.pos_embed_spatial",
    "positions.temporal": "cls_positional_encoding.pos_embed_temporal",
    "positions.class_position": "cls_positional_encoding.pos_embed_class",
    **_POOL_NORMS,
    "norm": "norm_embed",
    "head": "head.proj",
}
_TABLES: dict[str, Table] = {
    "official": _OFFICIAL,
    "torchvision": {
        "stem": "conv_proj",
        "class_token": "pos_encoding.class_token",
        "positions.spatial": "pos_encoding.spatial_pos",
        "positions.temporal": "pos_encoding.temporal_pos",
        "positions.class_position": "pos_encoding.class_pos",
        "blocks.#.attn.pool_?.norm": "blocks.#.attn.pool_?.norm_act.0",
        "blocks.#.attn.pool_?": "blocks.#.attn.pool_?.pool",
        "blocks.#.attn.proj": "blocks.#.attn.project.0",
        **_RELATIVE,
        "blocks.#.mlp.fc1": "blocks.#.mlp.0",
        "blocks.#.mlp.fc2": "blocks.#.mlp.3",
        "blocks.#.proj": "blocks.#.project",
        "head": "head.1",
    },
    "pytorchvideo": _PYTORCHVIDEO,
    "pytorchvideo-head": _PYTORCHVIDEO,
    "timm": {
        "stem": "patch_embed.proj",
        "class_token": "cls_token",
        "positions.joint": "pos_embed",
        **_POOL_NORMS,
        **_RELATIVE,
        "blocks.#.proj": "blocks.#.shortcut_proj_attn",
        "head": "head.fc",
    },
    "mmaction2": {
        "stem": "backbone.patch_embed.projection",
        "class_token": "backbone.cls_token",
        "positions.joint": "backbone.pos_embed",
        **{ours: f"backbone.{theirs}" for ours, theirs in (_POOL_NORMS | _RELATIVE).items()},
        "blocks": "backbone.blocks",
        "norm": "backbone.norm3",
        "head": "cls_head.fc_cls",
    },
    "mvit": {},
}
DIALECTS = tuple(_TABLES)

_MARKS = {
    "torchvision": ("conv_proj.", "pos_encoding.", "head.1."),
    "pytorchvideo": ("patch_embed.patch_model.", "cls_positional_encoding.", "norm_embed."),
    "mmaction2": ("backbone.patch_embed.projection.", "cls_head."),
    "timm": ("stages.",),
    "official": ("patch_embed.proj.", "head.projection."),
    "mvit": ("stem.",),
}
"""Names that only one dialect has; of timm's and the official ones, timm's are the narrower."""

_SPLIT = ("pytorchvideo", "pytorchvideo-head", "mvit")
"""Dialects whose queries, keys and values are three projections."""

_POOLS = ("pool_q.weight", "pool_k.weight", "pool_v.weight")
_ALIAS = re.compile(r"(blocks\.\d+\.attn)\._attention_pool_([qkv])\.(pool\.weight|norm\.weight|norm\.bias)")
_FUSED = re.compile(r"(blocks\.\d+\.attn)\.qkv\.(weight|bias)")


def unwrapped(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same tensors without the prefixes that wrap every name of a file."""
    state = dict(state)
    while prefix := next((p for p in WRAPPERS if state and all(name.startswith(p) for name in state)), None):
        state = {name.removeprefix(prefix): tensor for name, tensor in state.items()}
    return state


def recognised(state: Mapping[str, Tensor]) -> str | None:
    """The dialect that the names are in, or None."""
    if any(_ALIAS.fullmatch(name) for name in state):
        return "pytorchvideo-head"
    return next((dialect for dialect, marks in _MARKS.items() if any(name.startswith(marks) for name in state)), None)


def to_ours(state: Mapping[str, Tensor], dialect: str) -> tuple[dict[str, Tensor], list[str]]:
    """Tensors in this project's names, and the names that stood for a tensor a second time and were left out.

    Raises ``ValueError`` naming a tensor that the dialect does not have, or that cannot be what its name says.
    """
    aliases = [name for name in state if _ALIAS.fullmatch(name)] if dialect == "pytorchvideo-head" else []
    for name in aliases:
        if _name_of_alias(name) not in state or not torch.equal(state[name], state[_name_of_alias(name)]):
            raise ValueError(f"{name} is not the same as {_name_of_alias(name)}, of which it is a second name")
    depths = _depths(state)
    reversible = any(name.startswith("rev_backbone.") for name in state)
    table = _table(dialect, mlp=any(".shortcut_proj_mlp." in name for name in state), reversible=reversible)
    back = {theirs: ours for ours, theirs in table.items()}
    ours: dict[str, Tensor] = {}
    for name, tensor in state.items():
        if name in aliases:
            continue
        flat = _flat(name, depths)
        new = _renamed(flat, back)
        if _renamed(new, table) != flat:
            raise ValueError(f"{name} is no name of a tensor of {dialect}")
        if new.startswith(("class_token", "positions.")) and dialect == "torchvision" and tensor.ndim < 3:
            tensor = tensor.reshape((1,) * (3 - tensor.ndim) + tensor.shape)
        elif (new == "stem.weight" or new.endswith(_POOLS)) and tensor.ndim == 4:
            tensor = tensor.unsqueeze(2)
        if fused := _FUSED.fullmatch(new):
            if tensor.ndim < 1 or tensor.shape[0] % 3:
                raise ValueError(f"{name} is {tuple(tensor.shape)}, which is not queries, keys and values")
            for part, piece in zip("qkv", tensor.chunk(3), strict=True):
                ours[f"{fused[1]}.{part}.{fused[2]}"] = piece.clone()
        else:
            ours[new] = tensor
    if reversible and not _has_two_streams(ours):
        raise ValueError(
            "its norm is not as wide as two streams side by side, the only end known of a reversible model"
        )
    return ours, aliases


def _has_two_streams(ours: Mapping[str, Tensor]) -> bool:
    """Whether a model, of which this is all that shows it, ends with its streams side by side."""
    widths = [tensor.numel() for name, tensor in ours.items() if re.fullmatch(r"blocks\.\d+\.norm2\.bias", name)]
    return "norm.bias" in ours and ours["norm.bias"].numel() == 2 * max(widths, default=0)


def to_dialect(state: Mapping[str, Tensor], config: MViTConfig, dialect: str) -> dict[str, Tensor]:
    """Tensors in a dialect's names and shapes: what ``to_ours`` reads back bit for bit."""
    table = _table(dialect, mlp=config.widen_in == "mlp", reversible=config.reversible != "none")
    flat_stem = config.clip[0] == 1 and config.stem_kernel[0] == 1 and dialect in ("official", "timm", *_SPLIT)
    split = dialect in _SPLIT or (dialect == "official" and splits_projections(config))
    theirs: dict[str, Tensor] = {}
    for name, tensor in state.items():
        if name.startswith(("class_token", "positions.")) and dialect == "torchvision":
            tensor = tensor.reshape(-1) if "class" in name else tensor.squeeze(0)
        elif (name == "stem.weight" and flat_stem) or (name.endswith(_POOLS) and dialect == "timm"):
            tensor = tensor.squeeze(2)
        part = re.fullmatch(r"(blocks\.\d+\.attn)\.([qkv])\.(weight|bias)", name)
        if part and not split:
            if part[2] != "q":
                continue
            tensor = torch.cat([state[f"{part[1]}.{each}.{part[3]}"] for each in "qkv"])
            name = f"{part[1]}.qkv.{part[3]}"
        new = _renamed(name, table)
        theirs[_staged(new, config.depths) if dialect == "timm" else new] = tensor
    if dialect == "pytorchvideo-head":
        theirs |= {alias: theirs[name] for name in theirs if (alias := _alias_of(name))}
    return theirs


def splits_projections(config: MViTConfig) -> bool:
    """Whether the official code, which can do either, splits queries, keys and values: as in what it released."""
    return config.reversible != "none" and config.clip[0] == 1


def _table(dialect: str, *, mlp: bool, reversible: bool) -> Table:
    table = _TABLES[dialect]
    if dialect == "official" and reversible:
        return {**_REVERSIBLE, **table, **_REVERSIBLE}  # first in order, and last in what counts
    if dialect == "timm" and mlp:
        return {**table, "blocks.#.proj": "blocks.#.shortcut_proj_mlp"}
    return table


def _renamed(name: str, table: Table) -> str:
    for old, new in table.items():
        pattern = re.escape(old).replace(r"\#", r"(\d+)").replace(r"\?", "([qkv])")
        if match := re.match(rf"{pattern}(?=\.|$)", name):
            return new.replace("#", "{}").replace("?", "{}").format(*match.groups()) + name[match.end() :]
    return name


def _name_of_alias(alias: str) -> str:
    """The name whose second one this is, of those that pytorchvideo gives to pools since its last release."""
    match = _ALIAS.fullmatch(alias)
    assert match is not None
    block, part, what = match.groups()
    return f"{block}.pool_{part}.weight" if what == "pool.weight" else f"{block}.norm_{part}.{what[5:]}"


def _alias_of(name: str) -> str | None:
    match = re.fullmatch(r"(blocks\.\d+\.attn)\.(pool|norm)_([qkv])\.(weight|bias)", name)
    return match and f"{match[1]}._attention_pool_{match[3]}.{match[2]}.{match[4]}"


def _depths(state: Mapping[str, Tensor]) -> tuple[int, ...]:
    """Blocks of each stage, where names count them by stage; ``ValueError`` for a stage without any."""
    found = [re.match(r"stages\.(\d+)\.blocks\.(\d+)\.", name) for name in state]
    depths: dict[int, int] = {}
    for stage, block in ((int(match[1]), int(match[2])) for match in found if match):
        depths[stage] = max(depths.get(stage, 0), block + 1)
    if (stages := 1 + max(depths, default=-1)) > len(depths):  # a stranger may name any number
        raise ValueError(f"its names count {stages:,} stages, and {len(depths):,} of them have blocks")
    return tuple(depths[stage] for stage in range(stages))


def _flat(name: str, depths: tuple[int, ...]) -> str:
    match = re.match(r"stages\.(\d+)\.blocks\.(\d+)", name)
    return f"blocks.{sum(depths[: int(match[1])]) + int(match[2])}{name[match.end() :]}" if match else name


def _staged(name: str, depths: tuple[int, ...]) -> str:
    match = re.match(r"blocks\.(\d+)", name)
    if not match:
        return name
    stage, place = 0, int(match[1])
    while place >= depths[stage]:
        place -= depths[stage]
        stage += 1
    return f"stages.{stage}.blocks.{place}{name[match.end() :]}"
