"""The configuration text that official checkpoints carry (``cfg``, SlowFast 287ec00): the few keys about the model.

The text is YAML as yacs dumps it. Only its sections, its scalars and its lists of numbers are understood, which is all
that these keys hold, so that no parser of the whole language is needed; values are never more than numbers and strings.
"""

import json
import re
from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any

from mvit.model.config import MViTConfig, PoolConfig, Triple
from mvit.weights.dialects import splits_projections

Keys = Mapping[str, Any]
"""Values by section and key: {"MVIT.DEPTH": 16}."""

SECTIONS = ("DATA", "MODEL", "MVIT")
FUSIONS = {"average": "avg", "mlp": "concat_linear_2"}
"""What fuses the streams of a reversible model, in our words and in theirs."""


def parse(text: str) -> Keys:
    """What the sections about the model say; keys without a value that can be understood are left out."""
    keys: dict[str, Any] = {}
    for section in SECTIONS:
        body = re.search(rf"^{section}:[ \t]*\n((?:[ \t]+.*\n|[ \t]*#.*\n|[ \t]*\n)*)", text + "\n", re.MULTILINE)
        lines = [line for line in re.sub(r"(^|\s)#.*", "", body[1]).splitlines() if line.strip()] if body else []
        keys |= _section(section, lines) if lines else {}
    return keys


def _section(section: str, lines: list[str]) -> dict[str, Any]:
    """Values by the dotted names of a section and of those within it."""
    keys: dict[str, Any] = {}
    indent = len(lines[0]) - len(lines[0].lstrip())
    starts = [n for n, line in enumerate(lines) if re.match(rf"[ ]{{{indent}}}\w+[ ]*:", line)]
    for start, end in pairwise([*starts, len(lines)]):
        name, value = (part.strip() for part in lines[start].split(":", 1))
        rest = lines[start + 1 : end]
        if re.match(rf"[ ]{{{indent}}}[ ]+\w+[ ]*:", rest[0] if rest else ""):
            keys |= _section(f"{section}.{name}", rest)
        else:
            keys[f"{section}.{name}"] = _value(value, rest)
    return keys


def _value(text: str, rest: list[str]) -> Any:
    if text or not rest:
        return _scalar(" ".join([text, *(line.strip() for line in rest)]).strip())
    outer: list[Any] = []
    indent = len(rest[0]) - len(rest[0].lstrip())
    for line in rest:
        item = line.strip()
        if len(line) - len(line.lstrip()) > indent and outer and isinstance(outer[-1], list):
            outer[-1].append(_scalar(item.removeprefix("-").strip()))
        elif item.startswith("- - "):
            outer.append([_scalar(item[4:])])
        else:
            outer.append(_scalar(item.removeprefix("-").strip()))
    return outer


def _scalar(text: str) -> Any:
    """A number, truth value, null or list in brackets or, as a tuple is written, parentheses; else it is a string."""
    if re.fullmatch(r"\(.*\)", text):
        text = f"[{text[1:-1].rstrip(', ')}]"
    known = {"": None, "~": None, "True": True, "False": False, "None": None}
    try:
        return known[text] if text in known else json.loads(text)
    except json.JSONDecodeError:
        return text.strip("'\"")


def triples_of_blocks(entries: Any, key: str) -> dict[int, Triple]:
    """Entries of (block, time, height, width) by block, time left out for images; ``ValueError`` for anything else."""
    triples: dict[int, Triple] = {}
    for entry in entries or ():
        if not isinstance(entry, list) or len(entry) not in (3, 4) or not all(isinstance(n, int) for n in entry):
            raise ValueError(f"the file's cfg has {entry!r} in {key}: expected block, time, height, width")
        triples[entry[0]] = (1 if len(entry) == 3 else entry[1], entry[-2], entry[-1])
    return triples


def triple(value: Any, key: str, *, of_image: int = 1) -> Triple | None:
    """Three numbers, or two of an image with ``of_image`` for time; None for none. Raises ``ValueError`` for others."""
    if value is None:
        return None
    numbers = [of_image, *value] if isinstance(value, list) and len(value) == 2 else value
    if not isinstance(numbers, list) or len(numbers) != 3 or not all(isinstance(number, int) for number in numbers):
        raise ValueError(f"the file's cfg has {value!r} as {key}: expected time, height and width")
    return (numbers[0], numbers[1], numbers[2])


def products(entries: Any, first: int, depth: int, key: str) -> list[int]:
    """A number in every block, from its first value and the factors of (block, factor) entries."""
    if not isinstance(first, int):
        raise ValueError(f"the file's cfg starts {key} with {first!r}: expected a whole number")
    for entry in entries or ():
        if not isinstance(entry, list) or len(entry) != 2 or not all(isinstance(n, int | float) for n in entry):
            raise ValueError(f"the file's cfg has {entry!r} in {key}: expected block and factor")
    factors = {int(block): factor for block, factor in entries or ()}
    values: list[int] = []
    value: float = first
    for block in range(depth):
        value *= factors.get(block, 1)
        values.append(round(value))
    return values


def dump(config: MViTConfig) -> str:
    """The text for a configuration that the official code can express, each list on a line of its own."""
    blocks = list(config.blocks())
    q = [(i, block.pool_q) for i, block in enumerate(blocks) if not block.pool_q.is_identity]
    kv = [(i, block.pool_kv) for i, block in enumerate(blocks) if not block.pool_kv.is_identity]
    image = config.clip[0] == 1 and config.stem_kernel[0] == 1
    stem = {key: list(getattr(config, f"stem_{key}")[int(image) :]) for key in ("kernel", "stride", "padding")}
    kernel = kernel_of_all([pool for _, pool in q + kv])
    relative = config.relative_positions != "none"
    # facebookresearch/mvit, for images only, has no such key; there the class token gets its queries too.
    patch_2d = {} if config.residual_class_token else {"PATCH_2D": image}
    sections = {
        "DATA": {
            "NUM_FRAMES": config.clip[0],
            "TRAIN_CROP_SIZE": config.clip[1],
            "TEST_CROP_SIZE": config.clip[1],
        },
        "MODEL": {
            "ARCH": "mvit",
            "DROPOUT_RATE": config.head_dropout,
            "MODEL_NAME": "MViT",
            "NUM_CLASSES": config.num_classes,
        },
        "MVIT": {
            "CLS_EMBED_ON": config.class_token,
            "DEPTH": len(blocks),
            "DIM_MUL": list(_factors([block.width_attention for block in blocks])),
            "DIM_MUL_IN_ATT": config.widen_in == "attention",
            "DROPPATH_RATE": config.drop_path,
            "EMBED_DIM": config.widths[0],
            "HEAD_MUL": list(_factors([block.heads for block in blocks])),
            "MLP_RATIO": 4.0,
            "MODE": {"average": "avg"}.get(config.pooling, config.pooling),
            "NUM_HEADS": config.heads[0],
            **patch_2d,
            **{f"PATCH_{key.upper()}": value for key, value in stem.items()},
            "POOL_KVQ_KERNEL": None if kernel is None else list(kernel),
            "POOL_KV_STRIDE": [[i, *pool.stride] for i, pool in kv],
            "POOL_KV_STRIDE_ADAPTIVE": None,
            "POOL_Q_STRIDE": [[i, *pool.stride] for i, pool in q],
            "QKV_BIAS": config.qkv_bias,
            "REL_POS_SPATIAL": relative,
            "REL_POS_TEMPORAL": relative and config.grid[0] > 1,
            "RESIDUAL_POOLING": config.residual_pooling,
            **_reversible(config),
            "SEPARATE_QKV": splits_projections(config),
            "SEP_POS_EMBED": config.positions == "separate",
            "USE_ABS_POS": config.positions != "none",
        },
    }
    return "".join(_dumped(sections, ""))


def _reversible(config: MViTConfig) -> dict[str, Any]:
    if config.reversible == "none":
        return {}
    starts = [i for i, block in enumerate(config.blocks()) if i and block.is_first_of_stage]
    return {
        "REV": {
            "BUFFER_LAYERS": starts,
            "ENABLE": True,
            "PRE_Q_FUSION": FUSIONS[config.reversible],
            "RESPATH_FUSE": "concat",
            "RES_PATH": "conv",
        }
    }


def _dumped(keys: Mapping[str, Any], indent: str) -> Iterator[str]:
    for key, value in keys.items():
        if isinstance(value, dict):
            yield f"{indent}{key}:\n"
            yield from _dumped(value, indent + "  ")
        else:
            yield f"{indent}{key}: {json.dumps(value)}\n"


def kernel_of_all(pools: list[PoolConfig]) -> Triple | None:
    """The one kernel that pools have; None where each has its stride + 1. Raises ``ValueError`` where neither holds."""
    kernels = {pool.kernel for pool in pools}
    if all(pool.kernel == one_more(pool.stride) for pool in pools):
        return None
    if len(kernels) == 1:
        return kernels.pop()
    raise ValueError("its pools have different kernels, which are not their strides + 1 either")


def one_more(stride: Triple) -> Triple:
    """The kernel of a pool whose kernel is not named: its stride + 1 along every axis that has a stride."""
    t, h, w = (n + 1 if n > 1 else n for n in stride)
    return (t, h, w)


def _factors(values: list[int]) -> Iterator[list[float]]:
    for block, (old, new) in enumerate(pairwise(values), start=1):
        if new != old:
            yield [block, new / old]
