"""How the paper's variants follow from a model of any size: changes of its numbers, and sizes at which they cost alike.

Each function gives the configuration that a base one becomes; nothing is built. Costs are multiply-adds of a clip, by
arithmetic (``analysis.complexity``). Those that find a size find one that costs ``share`` times what the base does;
at other shares than 1 the nearest there is, as those are measured (``studies.matching``).
"""

import math
from bisect import bisect
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import cache
from math import prod
from typing import Literal

from mvit.analysis import counter
from mvit.analysis.complexity import Counts, complexity
from mvit.baselines.sizes import DROP_PATH, HEAD_DROPOUT, SIZES, BaselineConfig
from mvit.model.config import MViTConfig, Pooling, Triple
from mvit.weights.build import Config, build

ALIKE = 0.10
"""Of two costs: how far they may be apart, as a share of the reference's, to be called matched."""
CLOSE = 0.09
"""Among sizes that are nearer than this to a cost, the one whose depth is most like the base's is taken."""
WIDTH_STEP = 8
MOST_HEADS = 64
MOST_TIMES_WIDER = 64
"""Than their usual size is another library's model at most."""
DEPTHS = 4
"""A columnar model is at most so many times deeper or shallower than the base."""
STEPS = {"video_swin": 4, "swin": 4, "pvt_v2": 4, "resnet": 4}
"""What widths of other models are multiples of; of the others, their heads."""

Kernel = Literal["stride", "overlapping", "wide"]
"""The kernel of a pooling of stride s: s, s + 1, or 2 s + 1; 1 where nothing is strided."""


def pooled(base: MViTConfig, pooling: Pooling, kernel: Kernel) -> MViTConfig:
    """Another pooling function, its kernels by the strides; where they are as large as strides, nothing is padded."""

    def kernels(strides: Sequence[Triple]) -> tuple[Triple, ...]:
        sizes = {"stride": lambda s: s, "overlapping": lambda s: s + 1, "wide": lambda s: 2 * s + 1}
        return tuple(_triple(*(sizes[kernel](s) if s > 1 else 1 for s in stride)) for stride in strides)

    unpadded = ((0, 0, 0),) * base.stages if kernel == "stride" else None
    return replace(
        base,
        pooling=pooling,
        kernel_q=kernels(base.stride_q),
        kernel_kv=kernels(base.stride_kv),
        padding_q=unpadded,
        padding_kv=unpadded,
    )


def convolved(base: MViTConfig) -> MViTConfig:
    """The paper's pooling: learned, 3x3x3 wherever it is; 1x3x3 for images, whose depth in time is 1."""
    kernel = (1, 3, 3) if base.clip[0] == 1 else (3, 3, 3)
    pools = [base.pool_every_query or stride != (1, 1, 1) for stride in base.stride_q]
    return replace(
        base,
        pooling="conv",
        kernel_q=tuple(kernel if there else (1, 1, 1) for there in pools),
        kernel_kv=(kernel,) * base.stages,
        padding_q=None,
        padding_kv=None,
    )


def without_kv_pooling(base: MViTConfig) -> MViTConfig:
    """Every query attends to the whole grid."""
    ones = ((1, 1, 1),) * base.stages
    return replace(base, stride_kv=ones, kernel_kv=ones, padding_kv=None)


def fixed_kv_stride(base: MViTConfig) -> MViTConfig:
    """One stride for keys and values in all stages, whatever the queries have pooled.

    It is twice the first one's over time and half of it over space: 2x4x4 where the adaptive ones start at 1x8x8, as
    the paper has it.
    """
    t, h, w = base.stride_kv[0]
    return replace(base, stride_kv=((2 * t, max(h // 2, 1), max(w // 2, 1)),) * base.stages)


def stemmed(base: MViTConfig, frames: int, *, overlapping: bool = True) -> MViTConfig:
    """Cubes of so many frames, of the base's height and width or, not overlapping, of its stride; the grid is kept.

    With fewer frames than the stride over time, frames in between are not seen.
    """
    _, height, width = base.stem_kernel if overlapping else base.stem_stride
    _, pad_height, pad_width = base.stem_padding if overlapping else (0, 0, 0)
    padding = (frames // 2 if frames % 2 else 0, pad_height, pad_width)
    return replace(base, stem_kernel=(frames, height, width), stem_padding=padding)


def distributed(base: MViTConfig, shares: Sequence[float]) -> MViTConfig:
    """The same number of blocks in other shares; every stage keeps one."""
    total = sum(base.depths)
    depths = [max(1, math.floor(total * share / sum(shares))) for share in shares]
    while sum(depths) != total:
        less = sum(depths) > total
        want = [total * share / sum(shares) - depth for share, depth in zip(shares, depths, strict=True)]
        able = [stage for stage in range(len(depths)) if not less or depths[stage] > 1]
        place = (min if less else max)(able, key=lambda stage: want[stage])
        depths[place] += -1 if less else 1
    return replace(base, depths=tuple(depths))


# ---- matched by cost -----------------------------------------------------------------------------------------------


@cache
def columnar(base: MViTConfig, share: float = 1.0, *, stride_kv: Triple = (1, 1, 1)) -> MViTConfig:
    """One grid and one width throughout at the base's cost: the paper's ViT, of a size that is matched.

    Its grid is the base's before the last stage (ViT-B's 8x14x14 beside MViT-B), cut into patches that do not overlap;
    frames of a patch, positions and rates are the base's. The size is matched with patches of one frame too, so that a
    factorial has one size. A ``stride_kv`` pools keys and values. Raises ``ValueError`` where no size is matched.
    """
    strides = (base.stem_stride, *base.stride_q[:-1])
    t, h, w = (prod(steps) for steps in zip(*strides, strict=True))
    frames = base.stem_kernel[0]
    kernel = ((3 if base.clip[0] > 1 else 1, 3, 3),) if stride_kv != (1, 1, 1) else ((1, 1, 1),)
    one = replace(
        base,
        stem_kernel=(frames, h, w),
        stem_stride=(t, h, w),
        stem_padding=(frames // 2 if frames % 2 else 0, 0, 0),
        depths=(1,),
        widths=base.widths[:1],
        heads=base.heads[:1],
        stride_q=((1, 1, 1),),
        kernel_q=((1, 1, 1),) if not base.pool_every_query else base.kernel_q[:1],
        stride_kv=(stride_kv,),
        kernel_kv=kernel,
        padding_q=None,
        padding_kv=None,
    )

    def sizes() -> Iterator[MViTConfig]:
        for heads in range(1, MOST_HEADS + 1):
            size = replace(one, widths=(heads * head_width(base),), heads=(heads,))
            shallow, deeper = (cost(replace(size, depths=(depth,))) for depth in (1, 2))
            depth = 1 + math.floor((share * cost(base) - shallow) / (deeper - shallow))
            likely = range(max(1, sum(base.depths) // DEPTHS), DEPTHS * sum(base.depths) + 1)
            yield from (replace(size, depths=(blocks,)) for blocks in (depth, depth + 1) if blocks in likely)

    return matched(base, share, sizes, "columnar model", ways=lambda size: (size, stemmed(size, 1)))


@cache
def merged(base: MViTConfig, share: float = 1.0) -> MViTConfig:
    """The base's pyramid without pooling attention: patches merged between stages, every query attends to all tokens.

    Stem, grids and depths are the base's, and widths grow as the base's do, from a first one with which the cost is the
    base's. Raises ``ValueError`` where none is matched.
    """
    ones = ((1, 1, 1),) * base.stages
    pooled = {"kernel_q": ones, "stride_kv": ones, "kernel_kv": ones, "padding_q": None, "padding_kv": None}
    kind = {"widen_in": "merging", "width_skip": "normalised", "pool_every_query": False}
    whole = replace(base, **kind, **pooled)  # type: ignore[arg-type]
    widest = max(base.widths)

    def size(steps: int) -> MViTConfig:
        widths = [WIDTH_STEP * max(1, round(steps * width / widest)) for width in base.widths]
        heads = tuple(_heads(width, head_width(base)) for width in widths)
        return replace(whole, widths=tuple(widths), heads=heads)

    def sizes() -> Iterator[MViTConfig]:
        least = bisect(range(1, 1 + 2 * widest // WIDTH_STEP), share * cost(base), key=lambda steps: cost(size(steps)))
        yield from (size(steps) for steps in (least, least + 1) if steps > 0)

    return matched(base, share, sizes, "pyramid by patch merging")


def widening(base: MViTConfig, share: float = 1.0, *, multiplier: float) -> MViTConfig:
    """Widths that grow by ``multiplier`` from stage to stage, from a first one with which the cost is the base's.

    Heads are as wide as the base's, as nearly as widths can be divided. Raises ``ValueError`` where none is
    matched.
    """

    def size(steps: int) -> MViTConfig:
        widths = [WIDTH_STEP * max(1, round(steps * multiplier**stage)) for stage in range(base.stages)]
        heads = tuple(_heads(width, head_width(base)) for width in widths)
        return replace(base, widths=tuple(widths), heads=heads)

    def sizes() -> Iterator[MViTConfig]:
        least = bisect(range(1, 2 * max(base.widths)), share * cost(base), key=lambda steps: cost(size(steps)))
        yield from (size(steps) for steps in (least, least + 1) if steps > 0)

    return matched(base, share, sizes, f"model whose widths grow by {multiplier:g}")


def matched(
    base: MViTConfig,
    share: float,
    sizes: Callable[[], Iterator[MViTConfig]],
    what: str,
    ways: Callable[[MViTConfig], Sequence[MViTConfig]] = lambda size: (size,),
) -> MViTConfig:
    """Of all sizes the one that costs that share of the base, in all ``ways``, and is as deep, as nearly as can be."""
    wanted, depth = share * cost(base), sum(base.depths)
    found = [(max(abs(cost(way) / wanted - 1) for way in ways(size)), size) for size in sizes()]
    close = [pair for pair in found if pair[0] <= CLOSE]
    if close:
        return min(close, key=lambda pair: (abs(math.log(sum(pair[1].depths) / depth)), pair[0]))[1]
    apart, nearest = min(found, key=lambda pair: pair[0], default=(math.inf, base))
    if not found or (share == 1 and apart > ALIKE):
        raise ValueError(
            f"no {what} costs {_wanted(share)} ({wanted / 1e9:.3g} GMAC a clip) within {ALIKE:.0%}: take a larger "
            "model or clip"
        )
    return nearest


def _wanted(share: float) -> str:
    return "what the base does" if share == 1 else f"{share:.3g} times what the base does"


def of_another(base: MViTConfig, share: float = 1.0, *, name: str) -> BaselineConfig:
    """Another library's model at the base's clip, classes and cost: its depth is as it is, its width is found.

    Rates are the base's where it has such. Raises ``ValueError`` where no width is matched.
    """
    usual = SIZES[name]
    rates = {"drop_path": DROP_PATH, "head_dropout": HEAD_DROPOUT}
    own = {rate: getattr(base, rate) for rate, able in rates.items() if name in able}
    step = STEPS.get(name, max(usual.heads, default=1))

    def size(steps: int) -> BaselineConfig:
        return replace(usual, clip=base.clip, num_classes=base.num_classes, width=steps * step, **own)

    @cache
    def macs(steps: int) -> int:
        return counts(size(steps)).macs

    likely, wanted = range(1, 1 + MOST_TIMES_WIDER * usual.width // step), share * cost(base)
    place = bisect(likely, wanted, key=macs)
    apart, steps = min((abs(macs(steps) / wanted - 1), steps) for steps in {max(place, 1), place + 1})
    if share == 1 and apart > ALIKE:
        raise ValueError(
            f"no {name} costs {_wanted(share)} ({wanted / 1e9:.3g} GMAC a clip; the nearest is {apart:.0%} "
            "away): take a larger model or clip, or the other variants with --only"
        )
    return size(steps)


@cache
def cost(config: MViTConfig) -> int:
    """Multiply-adds of a clip of the configuration's own size."""
    return counts(config).macs


def counts(config: Config, clip: Triple | None = None) -> Counts:
    """What a clip costs, of the configuration's own size unless said: ours by arithmetic, others while they run.

    Other libraries' models take no clip but their own.
    """
    if isinstance(config, MViTConfig):
        return complexity(config, clip)
    return counter.count(lambda: build(config), config.clip)


def head_width(config: MViTConfig) -> int:
    """Channels of a head in the first stage."""
    return config.widths[0] // config.heads[0]


def _heads(width: int, wanted: int) -> int:
    divisors = [heads for heads in range(1, width + 1) if width % heads == 0]
    return min(divisors, key=lambda heads: abs(width / heads - wanted))


def _triple(*values: int) -> Triple:
    t, h, w = values
    return (t, h, w)
