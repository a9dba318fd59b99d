"""The published models, and small ones for CPUs, by name.

Facts and sources stand in docs/models.md; every number here is from the paper's tables and the official code's
configurations (arXiv 2104.11227; facebookresearch/SlowFast 287ec00).
"""

import difflib
from collections.abc import Sequence
from dataclasses import replace

from mvit.model.config import MViTConfig, Triple


def _strides_kv(first: Triple, strides_q: tuple[Triple, ...]) -> tuple[Triple, ...]:
    """The adaptive rule: keys and values pool by ``first``, less by what the queries have pooled so far (SlowFast)."""
    strides = []
    for stride_q in strides_q:
        first = tuple(max(kv // q, 1) for kv, q in zip(first, stride_q, strict=True))  # type: ignore[assignment]
        strides.append(first)
    return tuple(strides)


_MVIT_B_16x4 = MViTConfig()

_DEPTH_24 = {"depths": (2, 3, 16, 3), "drop_path": 0.3}

_IMAGE_POOLS = {
    "kernel_q": ((1, 1, 1), (1, 3, 3), (1, 3, 3), (1, 3, 3)),
    "kernel_kv": ((1, 3, 3),) * 4,
    "stride_kv": _strides_kv((1, 4, 4), _MVIT_B_16x4.stride_q),
}

_MVIT_B_16_IMAGE = replace(
    _MVIT_B_16x4,
    num_classes=1000,
    clip=(1, 224, 224),
    stem_kernel=(1, 7, 7),
    stem_stride=(1, 4, 4),
    stem_padding=(0, 3, 3),
    positions="joint",
    drop_path=0.1,
    head_dropout=0.0,
    **_IMAGE_POOLS,
)

_MVITV2_S_16x4 = replace(
    _MVIT_B_16x4,
    kernel_q=((3, 3, 3),) * 4,
    pool_every_query=True,
    widen_in="attention",
    positions="none",
    relative_positions="grid",
    residual_pooling=True,
)

_MVITV2_S_IMAGE = replace(
    _MVITV2_S_16x4,
    num_classes=1000,
    clip=(1, 224, 224),
    stem_kernel=_MVIT_B_16_IMAGE.stem_kernel,
    stem_stride=_MVIT_B_16_IMAGE.stem_stride,
    stem_padding=_MVIT_B_16_IMAGE.stem_padding,
    class_token=False,
    drop_path=0.1,
    head_dropout=0.0,
    kernel_q=((1, 3, 3),) * 4,
    kernel_kv=_IMAGE_POOLS["kernel_kv"],
    stride_kv=_IMAGE_POOLS["stride_kv"],
)

_V2_L = {"depths": (2, 6, 36, 4), "widths": (144, 288, 576, 1152), "heads": (2, 4, 8, 16)}

_NO_POOL = ((1, 1, 1),)

# Small models for two cores: the same four stages on a grid that a small clip fills, head width 32.
_SMALL = replace(
    _MVIT_B_16x4,
    clip=(16, 64, 64),
    depths=(1, 2, 4, 1),
    widths=(32, 64, 128, 256),
    stride_kv=_strides_kv((1, 4, 4), _MVIT_B_16x4.stride_q),
    drop_path=0.1,
    head_dropout=0.1,
    init="torch",
)

PRESETS: dict[str, MViTConfig] = {
    # Our reading of table 3c: no configuration was ever released, heads and key/value strides are unpublished.
    "mvit_s_16x4": replace(
        _MVIT_B_16x4,
        stem_kernel=(3, 8, 8),
        stem_stride=(2, 8, 8),
        stem_padding=(1, 3, 3),
        depths=(3, 7, 6),
        widths=(128, 256, 512),
        heads=(1, 2, 4),
        stride_q=_MVIT_B_16x4.stride_q[:3],
        kernel_q=_MVIT_B_16x4.kernel_q[:3],
        stride_kv=_strides_kv((1, 4, 4), _MVIT_B_16x4.stride_q[:3]),
        kernel_kv=_MVIT_B_16x4.kernel_kv[:3],
    ),
    "mvit_b_16x4": _MVIT_B_16x4,
    "mvit_b_32x3": replace(_MVIT_B_16x4, clip=(32, 224, 224)),
    "mvit_b_64x3": replace(_MVIT_B_16x4, clip=(64, 224, 224)),
    "mvit_b_24_32x3": replace(_MVIT_B_16x4, clip=(32, 224, 224), **_DEPTH_24),
    "mvit_b_16_image": _MVIT_B_16_IMAGE,
    "mvit_b_24_wide_320_image": replace(_MVIT_B_16_IMAGE, clip=(1, 320, 320), widths=(112, 224, 448, 896), **_DEPTH_24),
    "mvitv2_t_image": replace(_MVITV2_S_IMAGE, depths=(1, 2, 5, 2)),
    "mvitv2_s_image": _MVITV2_S_IMAGE,
    "mvitv2_b_image": replace(_MVITV2_S_IMAGE, **_DEPTH_24),
    # The released ImageNet-1K weights of L widen in the MLP (facebookresearch/mvit, configs/test/MVITv2_L_test.yaml).
    "mvitv2_l_image": replace(_MVITV2_S_IMAGE, **_V2_L, widen_in="mlp", drop_path=0.5),
    "mvitv2_h_image": replace(
        _MVITV2_S_IMAGE,
        num_classes=19168,
        class_token=True,
        residual_class_token=True,
        depths=(4, 8, 60, 8),
        widths=(192, 384, 768, 1536),
        heads=(3, 6, 12, 24),
        drop_path=0.8,
    ),
    "mvitv2_s_16x4": _MVITV2_S_16x4,
    "mvitv2_b_32x3": replace(_MVITV2_S_16x4, clip=(32, 224, 224), **_DEPTH_24),
    "mvitv2_l_40x3": replace(_MVITV2_S_16x4, clip=(40, 312, 312), **_V2_L, relative_positions="floor", drop_path=0.75),
    "rev_mvit_b_16x4": replace(
        _MVIT_B_16x4,
        class_token=False,
        widen_in="attention",
        qkv_bias=False,
        reversible="average",
        drop_path=0.05,
    ),
    "rev_mvit_b_16_image": replace(_MVIT_B_16_IMAGE, class_token=False, widen_in="attention", reversible="mlp"),
    # The paper's columnar baseline: one stage of 12 blocks, nothing pooled.
    "vit_b_8x8": replace(
        _MVIT_B_16x4,
        clip=(8, 224, 224),
        stem_kernel=(1, 16, 16),
        stem_stride=(1, 16, 16),
        stem_padding=(0, 0, 0),
        depths=(12,),
        widths=(768,),
        heads=(12,),
        stride_q=_NO_POOL,
        kernel_q=_NO_POOL,
        stride_kv=_NO_POOL,
        kernel_kv=_NO_POOL,
        positions="joint",
    ),
    "mvit_tiny_16x64": _SMALL,
    "mvit_small_16x64": replace(_SMALL, depths=(1, 2, 7, 2), widths=(48, 96, 192, 384), heads=(1, 2, 4, 8)),
    # Two stages that run in milliseconds: for tests, and for trying a pipeline out.
    "mvit_test_4x32": replace(
        _SMALL,
        clip=(4, 32, 32),
        depths=(1, 1),
        widths=(16, 32),
        heads=(1, 2),
        stride_q=_SMALL.stride_q[:2],
        kernel_q=_SMALL.kernel_q[:2],
        stride_kv=_SMALL.stride_kv[:2],
        kernel_kv=_SMALL.kernel_kv[:2],
        drop_path=0.0,
        head_dropout=0.0,
    ),
}


def list_models() -> list[str]:
    """Names that ``create_model`` takes."""
    return list(PRESETS)


def get_config(name: str) -> MViTConfig:
    """The configuration of a preset; raises ``ValueError`` with the nearest name for one that does not exist."""
    if name not in PRESETS:
        raise ValueError(f"no model is called {name!r}: {nearest(name, list_models())}")
    return PRESETS[name]


MOST_NAMES = 30
"""In a sentence: all commands and presets, and not the 400 classes of a data set."""


def nearest(name: str, known: Sequence[str]) -> str:
    """The end of a sentence about an unknown name: the one that was probably meant, or else those there are."""
    if near := difflib.get_close_matches(name, known, n=1):
        return f"did you mean {near[0]!r}?"
    rest = f" and {len(known) - MOST_NAMES:,} more" if len(known) > MOST_NAMES else ""
    return f"there are {', '.join(known[:MOST_NAMES])}{rest}"
