"""Figures as they were printed: parameters, FLOPs and accuracy of MViT and of what it is compared with.

Sources: [P] Multiscale Vision Transformers (arXiv 2104.11227); [P2] MViTv2 (arXiv 2112.01526); [REV] Reversible
Vision Transformers (arXiv 2302.04869); [PTV] pytorchvideo's model zoo; [TV] torchvision's; [TSF] TimeSformer (arXiv
2102.05095); [SF] SlowFast's model zoo; [VSW] Video Swin Transformer (arXiv 2106.13230); [VM] VideoMAE (arXiv
2203.12602); [HI] Hiera (arXiv 2306.00989).
"""

from dataclasses import dataclass, replace
from typing import Literal

from mvit.model.config import MViTConfig, Triple
from mvit.model.presets import get_config

Data = Literal["ImageNet-1K", "Kinetics-400", "Kinetics-600", "Something-Something v2"]


@dataclass(frozen=True, kw_only=True)
class Published:
    """One row of a paper's table; ``config`` or ``baseline`` is the same model here, neither means not built here."""

    system: str
    source: str
    data: Data
    parameters: float
    """In millions."""
    gmac: float
    """Thousand million multiply-adds of one view, which the papers call GFLOPs."""
    top1: float | None = None
    views: tuple[int, int] = (1, 1)
    """Clips of a video, crops of a clip."""
    config: MViTConfig | None = None
    baseline: str = ""
    pretraining: str = ""
    """What it was trained on before, where that is other data or the same without labels: "ImageNet-21K"."""
    note: str = ""
    """Why a figure cannot be met, or what it is of."""


def max_pooled(config: MViTConfig) -> MViTConfig:
    """The paper's variant without learned pooling: kernels of stride + 1, and of 1 where nothing is strided."""

    def overlapping(strides: tuple[Triple, ...]) -> tuple[Triple, ...]:
        return tuple((_kernel(t), _kernel(h), _kernel(w)) for t, h, w in strides)

    return replace(
        config, pooling="max", kernel_q=overlapping(config.stride_q), kernel_kv=overlapping(config.stride_kv)
    )


def _kernel(stride: int) -> int:
    return stride + 1 if stride > 1 else 1


_S, _B, _B_32, _B_64 = (get_config(f"mvit_{name}") for name in ("s_16x4", "b_16x4", "b_32x3", "b_64x3"))
_B_24, _IMAGE, _WIDE = (get_config(f"mvit_{name}") for name in ("b_24_32x3", "b_16_image", "b_24_wide_320_image"))
_DEPTH_24 = {"depths": _B_24.depths, "drop_path": _B_24.drop_path}
_4, _5, _3x3, _1x3, _4x3, _5x3, _7x3, _10x3 = (4, 1), (5, 1), (3, 3), (1, 3), (4, 3), (5, 3), (7, 3), (10, 3)
_UNPUBLISHED = "no configuration was released: our reading of table 3"

K400: Data = "Kinetics-400"
K600: Data = "Kinetics-600"
SSV2: Data = "Something-Something v2"
IN1K: Data = "ImageNet-1K"

_IN21K, _IN1K, _MASKED = "ImageNet-21K", "ImageNet-1K", "masked autoencoding"


def _row(
    system: str,
    source: str,
    data: Data,
    figures: tuple[float, float, float | None],
    views: tuple[int, int] = (1, 1),
    *,
    ours: MViTConfig | str | None = None,
    pretraining: str = "",
    note: str = "",
) -> Published:
    parameters, gmac, top1 = figures
    config, baseline = (None, ours) if isinstance(ours, str) else (ours, "")
    return Published(
        system=system,
        source=source,
        data=data,
        parameters=parameters,
        gmac=gmac,
        top1=top1,
        views=views,
        config=config,
        baseline=baseline,
        pretraining=pretraining,
        note=note,
    )


_K600_HEAD, _SSV2_HEAD = {"num_classes": 600}, {"num_classes": 174}

MVIT: tuple[Published, ...] = (
    _row("MViT-S 16x4", "P", K400, (26.1, 32.9, 76.0), _5, ours=_S, note=_UNPUBLISHED),
    _row("MViT-S 16x4, max", "P", K400, (26.1, 32.9, 74.3), _5, ours=max_pooled(_S), note=_UNPUBLISHED),
    _row("MViT-B 16x4", "P", K400, (36.6, 70.5, 78.4), _5, ours=_B),
    _row("MViT-B 16x4, max", "P", K400, (36.5, 70.5, 77.2), _5, ours=max_pooled(_B)),
    _row("MViT-B 32x3", "P", K400, (36.6, 170, 80.2), _5, ours=_B_32),
    _row("MViT-B 64x3", "P", K400, (36.6, 455, 81.2), _3x3, ours=_B_64),
    _row("MViT-B 16x4, K600", "P", K600, (36.8, 70.5, 82.1), _5, ours=replace(_B, **_K600_HEAD)),
    _row("MViT-B 32x3, K600", "P", K600, (36.8, 170, 83.4), _5, ours=replace(_B_32, **_K600_HEAD)),
    _row("MViT-B-24 32x3, K600", "P", K600, (52.9, 236, 83.8), _5, ours=replace(_B_24, **_K600_HEAD)),
    _row("MViT-B-24 32x3, SSv2", "P", SSV2, (53.2, 236, 68.7), _1x3, ours=replace(_B_24, **_SSV2_HEAD)),
    _row("MViT-B-16", "P", IN1K, (37.0, 7.8, 83.0), ours=_IMAGE),
    _row("MViT-B-24, max", "P", IN1K, (53.5, 10.9, 83.1), ours=max_pooled(replace(_IMAGE, **_DEPTH_24))),
    _row("MViT-B-24-wide 320", "P", IN1K, (72.9, 32.7, 84.8), ours=_WIDE),
    _row("ViT-B 8x8", "P", K400, (87.2, 179.6, 68.5), _5, ours=get_config("vit_b_8x8")),
)

_L = get_config("mvitv2_l_image")
_B_NOTE = "the released configuration has 51.5 M parameters"
_L_NOTE = "the released weights widen in the MLP, and cost more than printed"

_L_PRINTED = "the computation printed is this one's, the parameters those of widening in the MLP"
_L_ATTENTION = replace(_L, widen_in="attention")

MVITV2: tuple[Published, ...] = (
    _row("MViTv2-T", "P2", IN1K, (24, 4.7, 82.3), ours=get_config("mvitv2_t_image")),
    _row("MViTv2-S", "P2", IN1K, (35, 7.0, 83.6), ours=get_config("mvitv2_s_image")),
    _row("MViTv2-B", "P2", IN1K, (52, 10.2, 84.4), ours=get_config("mvitv2_b_image"), note=_B_NOTE),
    _row("MViTv2-L", "P2", IN1K, (218, 42.1, 85.3), ours=_L, note=_L_NOTE),
    _row("MViTv2-L, widening in attention", "P2", IN1K, (218, 42.1, 85.3), ours=_L_ATTENTION, note=_L_PRINTED),
    _row("MViTv2-L, table 1", "P2 T1", IN1K, (218, 39.6, 85.3), ours=_L, note="the paper prints two figures"),
    _row(
        "MViTv2-H",
        "P2",
        IN1K,
        (667, 120.6, 88.0),
        ours=replace(get_config("mvitv2_h_image"), num_classes=1000),
        pretraining=_IN21K,
    ),
    _row("MViTv2-S 16x4", "P2", K400, (34.5, 64, 81.0), _5, ours=get_config("mvitv2_s_16x4")),
    _row("MViTv2-B 32x3", "P2", K400, (51.2, 225, 82.9), _5, ours=get_config("mvitv2_b_32x3")),
    _row(
        "MViTv2-L 40x3 312",
        "P2",
        K400,
        (217.6, 2828, 86.1),
        _5x3,
        ours=get_config("mvitv2_l_40x3"),
        pretraining=_IN21K,
        note="the released configuration has 213.4 M parameters",
    ),
    _row("rev-MViT-B 16x4", "REV", K400, (34.9, 64, 78.4), _5, ours=get_config("rev_mvit_b_16x4")),
    _row("rev-MViT-B", "REV", IN1K, (39, 8.7, 82.9), ours=get_config("rev_mvit_b_16_image")),
)

IMAGES: tuple[Published, ...] = (
    _row("VGG16", "TV", IN1K, (138.36, 15.47, 71.592), ours="vgg16"),
    _row("ResNet-50", "TV", IN1K, (25.56, 4.089, 76.13), ours="resnet50"),
    _row("ViT-B/16", "TV", IN1K, (86.57, 17.564, 81.072), ours="vit_b_16"),
    _row("DeiT-S", "P", IN1K, (22.1, 4.6, 79.8), ours="deit_s"),
    _row("DeiT-B", "P", IN1K, (86.6, 17.6, 81.8), ours="deit_b"),
    _row("DeiT-B 384", "P", IN1K, (87.0, 55.5, 83.1), ours="deit_b_384"),
    _row("PVT-S", "P2", IN1K, (25, 3.8, 79.8), ours="pvt_s"),
    _row("PVT-M", "P2", IN1K, (44, 6.7, 81.2), ours="pvt_m"),
    _row("PVT-L", "P2", IN1K, (61, 9.8, 81.7), ours="pvt_l"),
    _row("PVTv2-B2", "P2", IN1K, (25, 4.0, 82.0), ours="pvt_v2_b2"),
    _row("Swin-T", "P2", IN1K, (29, 4.5, 81.3), ours="swin_t"),
    _row("Swin-S", "P2", IN1K, (50, 8.7, 83.0), ours="swin_s"),
    _row("Swin-B", "P2", IN1K, (88, 15.4, 83.3), ours="swin_b"),
    _row("Swin-B 384", "P2", IN1K, (88, 47.0, 84.2), ours="swin_b_384"),
)

_MAE = "VideoMAE's encoder with a class token: in no library here"
_BATCH_NORMS = "what is printed has its batch norms too, at 5 an element"
_NON_LOCAL = "its non-local blocks are in no library here"

VIDEOS: tuple[Published, ...] = (
    _row("SlowFast R50 8x8", "PTV", K400, (34.57, 65.71, 76.94), _10x3, ours="slowfast_r50"),
    _row("SlowFast R101 8x8", "PTV", K400, (62.83, 127.2, 77.90), _10x3, ours="slowfast_r101", note=_BATCH_NORMS),
    _row(
        "SlowFast R101 16x8", "PTV", K400, (53.77, 215.61, 78.70), _10x3, ours="slowfast_16x8_r101", note=_BATCH_NORMS
    ),
    _row("SlowFast R101 8x8 + NL", "P", K400, (59.9, 116, 78.7), _10x3, note=_NON_LOCAL),
    _row("SlowFast R101 16x8 + NL", "P", K400, (59.9, 234, 79.8), _10x3, note=_NON_LOCAL),
    _row("X3D-S", "PTV", K400, (3.79, 2.96, 73.33), _10x3, ours="x3d_s", note=_BATCH_NORMS),
    _row("X3D-M", "PTV", K400, (3.79, 6.72, 75.94), _10x3, ours="x3d_m", note=_BATCH_NORMS),
    _row("TimeSformer", "TSF", K400, (121.4, 196, 77.9), _1x3, ours="timesformer_b", pretraining=_IN21K),
    _row("TimeSformer-L", "P", K400, (121.4, 2380, 80.7), _1x3, ours="timesformer_l", pretraining=_IN21K),
    _row("ViViT-L/16x2", "P", K400, (310.8, 1446, 80.3), _4, ours="vivit_l", pretraining=_IN21K),
    _row("ViViT-L/16x2 320", "P", K400, (310.8, 3992, 81.3), _4x3, ours="vivit_l_320", pretraining=_IN21K),
    _row("Video Swin-T", "VSW", K400, (28.2, 87.9, 78.8), _4x3, ours="video_swin_t", pretraining=_IN1K),
    _row("Video Swin-S", "VSW", K400, (49.8, 165.9, 80.6), _4x3, ours="video_swin_s", pretraining=_IN1K),
    _row("Video Swin-B", "VSW", K400, (88.1, 281.6, 80.6), _4x3, ours="video_swin_b", pretraining=_IN1K),
    _row("Video Swin-B, SSv2", "VSW", SSV2, (88.8, 320.6, 69.6), _1x3, note="its windows of 16x7x7 are no preset here"),
    _row("VideoMAE-B", "VM", K400, (87, 180, 81.5), _5x3, ours="videomae_b", pretraining=_MASKED),
    _row("VideoMAE-L", "VM", K400, (305, 597, 85.2), _5x3, ours="videomae_l", pretraining=_MASKED),
    _row("VideoMAE-H", "VM", K400, (633, 1192, 86.6), _5x3, ours="videomae_h", pretraining=_MASKED),
    _row("MAE-ST-B", "SF", K400, (87, 180, 81.3), _7x3, note=_MAE, pretraining=_MASKED),
    _row("MAE-ST-L", "SF", K400, (305, 598, 84.8), _7x3, note=_MAE, pretraining=_MASKED),
    _row("Hiera-B", "HI", K400, (52, 102, 84.0), _5x3, ours="hiera_b", pretraining=_MASKED),
    _row("Hiera-L", "HI", K400, (213, 413, 87.3), _5x3, ours="hiera_l", pretraining=_MASKED),
)

TABLES: dict[str, tuple[Published, ...]] = {
    "MViT (arXiv 2104.11227) and its columnar baseline": MVIT,
    "MViTv2 (arXiv 2112.01526) and reversible MViT (arXiv 2302.04869)": MVITV2,
    "Others on images": IMAGES,
    "Others on videos": VIDEOS,
}
