"""The studies that ``mvit ablate`` runs, as data: what each asks, its variants, and what the paper printed for them.

Printed figures are of Kinetics-400 by MViT-B 16x4 with max pooling, unless a note says otherwise, from Multiscale
Vision Transformers (arXiv 2104.11227), tables of ablations; where none stands, the paper has none that is known here.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial

from mvit.baselines.sizes import BaselineConfig
from mvit.model.config import MViTConfig
from mvit.studies import variants

PAPER = "arXiv 2104.11227, Kinetics-400"


@dataclass(frozen=True, kw_only=True)
class Printed:
    """What the paper has for a variant."""

    top1: float
    """In per cent."""
    gmac: float | None = None
    """Thousand million multiply-adds of a view."""
    note: str = ""
    """What of it is not as in the variant here."""


def as_it_is(base: MViTConfig) -> MViTConfig:
    """The base itself."""
    return base


@dataclass(frozen=True, kw_only=True)
class Variant:
    """One row of a study: what is other than in the base, of the model or of what it learns from."""

    change: Callable[[MViTConfig], MViTConfig | BaselineConfig] = as_it_is
    """From the base's configuration to the variant's."""
    size: Callable[[MViTConfig, float], MViTConfig | BaselineConfig] | None = None
    """In its place where a size is found: from the base's and a share of its cost to the one that costs so much."""
    train_share: float = 1.0
    """Of the training videos; there are so many more epochs that all variants take about the same steps."""
    object_size: float = 1.0
    """Of what moves in the demo set, as a share of its usual size."""
    printed: Printed | None = None

    def of(self, base: MViTConfig, share: float = 1.0) -> MViTConfig | BaselineConfig:
        """The variant's configuration; of one whose size is found, at that share of the base's cost."""
        return self.size(base, share) if self.size else self.change(base)


@dataclass(frozen=True, kw_only=True)
class Study:
    """A question, and the variants that answer it, the reference among them."""

    question: str
    reference: str
    """The variant that the others are compared with."""
    variants: Mapping[str, Variant]
    matched: bool = False
    """Whether every variant costs what the base does, within ``variants.ALIKE``."""
    kinds: tuple[str, ...] = field(default=("clips", "images"))
    """What it can be asked of: models of clips, of images."""


def _fields(**fields: object) -> Callable[[MViTConfig], MViTConfig]:
    return lambda base: replace(base, **fields)  # type: ignore[arg-type]


def _cell(scale: str, frames: int, positions: str) -> Callable[[MViTConfig], MViTConfig]:
    """A cell of the factorial."""

    def change(base: MViTConfig) -> MViTConfig:
        whole = variants.columnar(base) if scale == "columnar" else base
        return replace(variants.stemmed(whole, frames), positions=positions)  # type: ignore[arg-type]

    return change


_MAX_S_1 = Printed(top1=77.2, gmac=70.5)
_OTHER_KV = "the arithmetic of all keys and values of MViT-B 16x4 is 280 GMAC"
_8x8 = "printed for clips of 8x8, with a stride of 1 over time"
_VIT_B = "ViT-B, 8x8, patches of 1x16x16, joint positions, 2.5 times the cost"
_FACTORIAL = {
    f"{scale}-{frames}-frame-{'time' if positions == 'separate' else 'no-time'}": Variant(
        change=_cell(scale, frames, positions)
    )
    for scale in ("multiscale", "columnar")
    for frames in (3, 1)
    for positions in ("separate", "space")
}

STUDIES: Mapping[str, Study] = {
    "pooling": Study(
        question="Which function pools, and over which kernel, for strides of s?",
        reference="max-overlapping",
        variants={
            "max-overlapping": Variant(
                change=partial(variants.pooled, pooling="max", kernel="overlapping"), printed=_MAX_S_1
            ),
            "max-stride": Variant(
                change=partial(variants.pooled, pooling="max", kernel="stride"), printed=Printed(top1=76.1)
            ),
            "max-wide": Variant(
                change=partial(variants.pooled, pooling="max", kernel="wide"), printed=Printed(top1=75.5)
            ),
            "average-overlapping": Variant(
                change=partial(variants.pooled, pooling="average", kernel="overlapping"), printed=Printed(top1=75.4)
            ),
            "conv-3": Variant(change=variants.convolved, printed=Printed(top1=78.4, gmac=70.5)),
        },
    ),
    "kv-stride": Study(
        question="How much may keys and values be pooled?",
        reference="adaptive",
        variants={
            "adaptive": Variant(printed=_MAX_S_1),
            "none": Variant(change=variants.without_kv_pooling, printed=Printed(top1=77.6, gmac=130.8, note=_OTHER_KV)),
            "fixed": Variant(change=variants.fixed_kv_stride, printed=Printed(top1=74.8)),
        },
        kinds=("clips",),
    ),
    "positions": Study(
        question="Which absolute positions do tokens need?",
        reference="separate",
        variants={
            "separate": Variant(change=_fields(positions="separate"), printed=Printed(top1=77.2)),
            "none": Variant(change=_fields(positions="none"), printed=Printed(top1=75.8)),
            "space": Variant(change=_fields(positions="space"), printed=Printed(top1=76.7)),
            "joint": Variant(change=_fields(positions="joint"), printed=Printed(top1=76.5)),
        },
        matched=True,
        kinds=("clips",),
    ),
    "depths": Study(
        question="In which stages should the blocks be?",
        reference="base",
        variants={
            "base": Variant(),
            "even": Variant(change=lambda base: variants.distributed(base, [1] * base.stages)),
            "early": Variant(change=lambda base: variants.distributed(base, [2.0**-s for s in range(base.stages)])),
            "late": Variant(change=lambda base: variants.distributed(base, [2.0**s for s in range(base.stages)])),
        },
    ),
    "stem": Study(
        question="Should the stem's cubes overlap, and span several frames?",
        reference="overlapping-3-frames",
        variants={
            "overlapping-3-frames": Variant(
                change=partial(variants.stemmed, frames=3), printed=Printed(top1=77.2, gmac=70.5)
            ),
            "overlapping-1-frame": Variant(
                change=partial(variants.stemmed, frames=1), printed=Printed(top1=75.6, note=_8x8)
            ),
            "apart-1-frame": Variant(
                change=partial(variants.stemmed, frames=1, overlapping=False), printed=Printed(top1=74.5, note=_8x8)
            ),
            "apart-2-frames": Variant(change=partial(variants.stemmed, frames=2, overlapping=False)),
        },
        matched=True,
        kinds=("clips",),
    ),
    "multiscale": Study(
        question="Is it the pyramid, the pooling of keys and values, or neither?",
        reference="multiscale",
        variants={
            "multiscale": Variant(printed=_MAX_S_1),
            "columnar": Variant(size=variants.columnar, printed=Printed(top1=68.5, gmac=179.6, note=_VIT_B)),
            "columnar-kv-pooled": Variant(size=partial(variants.columnar, stride_kv=(1, 2, 2))),
            "merged": Variant(size=variants.merged),
        },
        matched=True,
    ),
    "factorial": Study(
        question="Of what the paper's ViT and MViT differ in, which is it: scales, the stem's frames, or positions?",
        reference="multiscale-3-frame-time",
        variants=_FACTORIAL,
        matched=True,
        kinds=("clips",),
    ),
    "controls": Study(
        question="How do other architectures do, from the same data, clip, views and recipe?",
        reference="mvit",
        variants={
            "mvit": Variant(),
            "columnar": Variant(size=variants.columnar),
            "video-swin": Variant(size=partial(variants.of_another, name="video_swin")),
            "timesformer": Variant(size=partial(variants.of_another, name="timesformer")),
            "vivit": Variant(size=partial(variants.of_another, name="vivit")),
        },
        matched=True,
        kinds=("clips",),
    ),
    "image-controls": Study(
        question="How do other architectures of images do, from the same data, views and recipe?",
        reference="mvit",
        variants={
            "mvit": Variant(),
            "columnar": Variant(size=variants.columnar),
            "deit": Variant(size=partial(variants.of_another, name="deit")),
            "resnet": Variant(size=partial(variants.of_another, name="resnet")),
            "swin": Variant(size=partial(variants.of_another, name="swin")),
            "pvt-v2": Variant(size=partial(variants.of_another, name="pvt_v2")),
        },
        matched=True,
        kinds=("images",),
    ),
    "width": Study(
        question="By how much should channels grow from stage to stage?",
        reference="2",
        variants={
            "2": Variant(),
            "1.5": Variant(size=partial(variants.widening, multiplier=1.5)),
            "1": Variant(size=partial(variants.widening, multiplier=1.0)),
        },
        matched=True,
    ),
    "skip": Study(
        question="Which skip connection should there be where the width changes?",
        reference="normalised",
        variants={
            "normalised": Variant(change=_fields(width_skip="normalised"), printed=Printed(top1=77.2)),
            "raw": Variant(change=_fields(width_skip="raw"), printed=Printed(top1=74.6)),
            "none": Variant(change=_fields(width_skip="none"), printed=Printed(top1=74.7)),
        },
        matched=True,
    ),
    "data": Study(
        question="What is each part of the training videos worth, in about the same number of steps?",
        reference="100-percent",
        variants={f"{percent}-percent": Variant(train_share=percent / 100) for percent in (100, 50, 25, 10)},
        matched=True,
    ),
    "object-size": Study(
        question="How small may what moves be? (The data are a demo set, and others that are made like it.)",
        reference="1",
        variants={f"{size:g}": Variant(object_size=size) for size in (1.0, 0.7, 0.5, 0.35)},
        matched=True,
    ),
}
