"""What the papers say in ratios, and what is often said of them, reckoned from the printed figures and from ours."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Literal

from mvit.analysis.complexity import FLOAT32_BYTES, Complexity, complexity
from mvit.analysis.published import max_pooled
from mvit.model.presets import get_config

Quantity = Literal["parameters", "GMAC a view", "GMAC a video"]
Figures = Mapping[tuple[str, Quantity], float]

MEBIBYTE = 2**20
SLACK = 0.03  # a ratio that is printed with two digits


@dataclass(frozen=True)
class Ratio:
    """One system costs so many times what another does: ``low`` to ``high`` times is what is said."""

    said: str
    dearer: str
    cheaper: str
    quantity: Quantity
    low: float
    high: float

    def verdict(self, figures: Figures) -> tuple[float | None, str]:
        """The ratio by these figures, None where one of the two is missing, and whether what is said holds."""
        dearer, cheaper = (figures.get((system, self.quantity)) for system in (self.dearer, self.cheaper))
        if dearer is None or cheaper is None:
            return None, "not counted"
        ratio = dearer / cheaper
        if ratio < self.low * (1 - SLACK):
            return ratio, "does not hold"
        return ratio, "holds" if ratio <= self.high * (1 + SLACK) else "holds, and more than is said"


_CONCURRENT = "5 to 10 times cheaper than concurrent transformers with large-scale pre-training"
_DEIT = "1.7 times less computation than DeiT, at 84.8 %"

RATIOS: tuple[Ratio, ...] = (
    *(
        Ratio(_CONCURRENT, dearer, cheaper, quantity, 5, 10)
        for dearer, cheaper in (
            ("ViViT-L/16x2 320", "MViT-B 64x3"),
            ("ViViT-L/16x2", "MViT-B 32x3"),
            ("TimeSformer-L", "MViT-B 32x3"),
        )
        for quantity in ("GMAC a video", "parameters")
    ),
    Ratio("6.8 times less computation at equal accuracy", "ViViT-L/16x2", "MViT-B 32x3", "GMAC a video", 6.8, 6.8),
    Ratio("8.5 times fewer parameters at equal accuracy", "ViViT-L/16x2", "MViT-B 32x3", "parameters", 8.5, 8.5),
    Ratio("2.6 times less computation than ViT-B", "ViT-B 8x8", "MViT-B 16x4", "GMAC a view", 2.6, 2.6),
    Ratio(_DEIT, "DeiT-B 384", "MViT-B-24-wide 320", "GMAC a view", 1.7, 1.7),
    Ratio(f"{_DEIT}: at equal size of 224", "DeiT-B", "MViT-B-16", "GMAC a view", 1.7, 1.7),
    Ratio("Video Swin has closed the gap: a view", "MViT-B 32x3", "Video Swin-S", "GMAC a view", 1, 1.05),
    Ratio("Video Swin has closed the gap: a video", "MViT-B 32x3", "Video Swin-S", "GMAC a video", 1, 1.05),
    Ratio("Video Swin has closed the gap: a video", "MViT-B 16x4", "Video Swin-T", "GMAC a video", 1, 1.05),
)


@dataclass(frozen=True)
class Saying:
    """Something said without a second system; ``reckon`` gives whether it holds, and what it comes to."""

    said: str
    reckon: Callable[[], tuple[bool, str]]


ALIKE = 4.0
"""The dearest of things that are "roughly the same" is at most so many times the cheapest."""


def _mvit_b() -> Complexity:
    return complexity(get_config("mvit_b_16x4"))


def _by_stage() -> tuple[bool, str]:
    macs = [stage.macs_with_norms / 1e9 for stage in _mvit_b().stages]
    return max(macs) <= ALIKE * min(macs), " / ".join(f"{each:.1f}" for each in macs) + " GMAC in MViT-B 16x4"


def _by_block() -> tuple[bool, str]:
    macs = [block.macs_with_norms / 1e9 for block in _mvit_b().blocks]
    most, least = max(macs), min(macs)
    said = f"{least:.1f} to {most:.1f} GMAC, {most / least:.1f} times, where channels change eight times"
    return most <= ALIKE * least, said


def _tokens() -> tuple[bool, str]:
    short, long = (complexity(get_config(name)).blocks[0].queries for name in ("mvit_b_16x4", "mvit_b_64x3"))
    return long >= 1e6, f"{short:,} (16x4) to {long:,} (64x3)"


def _keys() -> tuple[bool, str]:
    blocks = _mvit_b().blocks
    first, second, *_ = blocks
    said = f"{first.queries:,} queries attend to {first.keys:,} keys in the first block, to {second.keys:,} in the next"
    return max(block.keys for block in blocks) < first.queries / 10, said


def _growth() -> tuple[bool, str]:
    short, long = (complexity(get_config(name)).macs_with_norms / 1e9 for name in ("mvit_b_16x4", "mvit_b_64x3"))
    said = f"{long:.1f} GMAC for four times the {short:.1f} of 16x4: {long / short:.2f} times"
    return long <= 4 * short * (1 + SLACK), said


def _video() -> tuple[bool, str]:
    counted = complexity(get_config("mvit_b_64x3"), views=(3, 3))
    view, video = counted.macs_with_norms / 1e9, counted.totals()["macs_with_norms_per_video"] / 1e9
    return video <= 70.5 * (1 + SLACK), f"MViT-B 64x3 has 81.2 %, with 3x3 views of {view:.1f} GMAC: {video:,.0f}"


def _positions() -> tuple[bool, str]:
    separate, joint = (
        complexity(replace(get_config("mvit_b_16x4"), positions=positions)).parameters
        for positions in ("separate", "joint")
    )
    return separate < joint, f"{(joint - separate) / 1e6:.1f} M parameters fewer than a joint table"


def _training_memory() -> tuple[bool, str]:
    columnar, pooled = complexity(get_config("vit_b_8x8")), complexity(max_pooled(get_config("mvit_b_16x4")))
    fused = columnar.training_bytes / pooled.training_bytes
    written = _with_weights(columnar) / _with_weights(pooled)
    return fused >= 2.5 * (1 - SLACK), (
        f"{columnar.training_bytes / MEBIBYTE:,.0f} and {pooled.training_bytes / MEBIBYTE:,.0f} MiB a clip, "
        f"{fused:.1f} times: fused attention keeps no weights; {written:.1f} times where they are kept"
    )


def _with_weights(counted: Complexity) -> int:
    """Training memory with the attention's weights kept too."""
    maps = sum(block.heads * block.queries * block.keys for block in counted.blocks)
    return counted.training_bytes + FLOAT32_BYTES * maps


SAYINGS: tuple[Saying, ...] = (
    Saying("computation is roughly the same in every stage", _by_stage),
    Saying("computation is roughly the same in every block", _by_block),
    Saying("81.2 % for 70.5 GMAC", _video),
    Saying("millions of space-time tokens", _tokens),
    Saying("pooled keys and values keep attention short", _keys),
    Saying("computation grows linearly with the clip", _growth),
    Saying("separate positions save parameters", _positions),
    Saying("trains in 2.5 times less memory than ViT-B (6.8 against 16.8 GB, max pooling)", _training_memory),
)
