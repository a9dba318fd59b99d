"""The architecture as numbers: a few per stage, from which every block follows by arithmetic.

No torch here: a configuration can be made, checked, saved and counted without it.
"""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, Self, get_args

from mvit.model.windows import NO_POOL, MergeConfig, PoolConfig, Triple, convolved, divided

Pooling = Literal["conv", "max", "average"]
Positions = Literal["none", "space", "joint", "separate"]
Initialisation = Literal["official", "torch"]
Widening = Literal["mlp", "attention", "merging"]
WidthSkip = Literal["normalised", "raw", "none"]
RelativePositions = Literal["none", "grid", "floor"]
Reversible = Literal["none", "average", "mlp"]

MLP_RATIO = 4
FUSION_RATIO = 2
WIDTH_MULTIPLE = 8
"""Of what queries and keys are extended to by relative positions (``relative.py``)."""


@dataclass(frozen=True, kw_only=True)
class BlockConfig:
    """What one block is: widths in tokens' channels, pooling of its queries and of its keys and values."""

    stage: int
    merge: MergeConfig | None
    """What is before all else in the first block of a stage; None: nothing is merged."""
    width: int
    width_attention: int
    """Channels of queries, keys, values and of what the attention gives."""
    width_out: int
    widen_in: Widening
    width_skip: WidthSkip
    heads: int
    pooling: Pooling
    pool_q: PoolConfig
    pool_kv: PoolConfig
    class_token: bool
    qkv_bias: bool
    residual_pooling: bool
    residual_class_token: bool
    reversible: Reversible
    relative_grids: tuple[Triple, Triple] | None
    """The grids of queries and of keys that the tables of relative positions are made for; None: no such tables."""
    drop_path: float
    is_first_of_stage: bool
    is_last_of_stage: bool

    @property
    def is_transition(self) -> bool:
        """Whether it is the block of a reversible model that fuses the streams, and cannot be reversed."""
        return self.reversible != "none" and self.is_first_of_stage and self.stage > 0

    @property
    def skips_attention(self) -> bool:
        """Whether a skip connection passes the attention."""
        return self.width_skip != "none" or self.width == self.width_attention

    @property
    def skips_mlp(self) -> bool:
        """Whether a skip connection passes the MLP."""
        return self.width_skip != "none" or self.width_attention == self.width_out

    def merged(self, grid: Triple) -> Triple:
        """The grid that attention is given, of the one that enters the block."""
        return self.merge.grid_of(grid) if self.merge else grid

    def grid_of(self, grid: Triple) -> Triple:
        """The grid that leaves the block, of the one that enters it."""
        return self.pool_q.grid_of(self.merged(grid))


_CHOICES = {
    "widen_in": Widening,
    "width_skip": WidthSkip,
    "pooling": Pooling,
    "positions": Positions,
    "relative_positions": RelativePositions,
    "reversible": Reversible,
    "init": Initialisation,
}


@dataclass(frozen=True, kw_only=True)
class MViTConfig:
    """A Multiscale Vision Transformer (Fan et al., ICCV 2021) in stage-wise numbers; the defaults are MViT-B 16x4.

    MViTv2 (Li et al., CVPR 2022) is ``relative_positions="grid"``, ``residual_pooling``, ``widen_in="attention"`` and
    ``pool_every_query`` together, without absolute positions.

    Every per-stage field holds one entry a stage, from the densest grid to the coarsest. A field that holds triples
    is in (time, height, width). Raises ``ValueError`` for numbers that do not make a model.
    """

    num_classes: int = 400
    clip: Triple = (16, 224, 224)
    """Frames, height, width that the position tables are made for; the model runs on any other size too."""

    stem_kernel: Triple = (3, 7, 7)
    stem_stride: Triple = (2, 4, 4)
    stem_padding: Triple = (1, 3, 3)

    depths: tuple[int, ...] = (1, 2, 11, 2)
    """Blocks in each stage."""
    widths: tuple[int, ...] = (96, 192, 384, 768)
    """Channels in each stage."""
    widen_in: Widening = "mlp"
    """Where a stage's channels come from: the MLP of the last block of the stage before, or its first attention.

    Or a patch merging between the two, which coarsens the grid in place of the queries: neighbours side by side, their
    norm, a linear layer (Liu et al., Swin Transformer, ICCV 2021, section 3.1).
    """
    width_skip: WidthSkip = "normalised"
    """The skip connection of the residual in which the width changes (paper, table of ablations).

    A linear layer of the norm's output or of the "raw" input; "none": only what the branch gives, which then no
    stochastic depth drops. Reversible models have a raw one, in their own way.
    """
    heads: tuple[int, ...] = (1, 2, 4, 8)

    stride_q: tuple[Triple, ...] = ((1, 1, 1), (1, 2, 2), (1, 2, 2), (1, 2, 2))
    """Stride of the query pooling in the first block of each stage, or of the merging: it makes the stage's grid."""
    kernel_q: tuple[Triple, ...] = ((1, 1, 1), (3, 3, 3), (3, 3, 3), (3, 3, 3))
    padding_q: tuple[Triple, ...] | None = None
    """None: half the kernel."""
    pool_every_query: bool = False
    """Also in a stage's further blocks, with stride 1."""
    stride_kv: tuple[Triple, ...] = ((1, 8, 8), (1, 4, 4), (1, 2, 2), (1, 1, 1))
    """Stride of the key and value pooling in each block of each stage, from the grid that enters the block."""
    kernel_kv: tuple[Triple, ...] = ((3, 3, 3), (3, 3, 3), (3, 3, 3), (3, 3, 3))
    padding_kv: tuple[Triple, ...] | None = None
    """None: half the kernel."""
    pooling: Pooling = "conv"

    class_token: bool = True
    """A token beside the grid's that the head reads; without it the head reads their mean."""
    positions: Positions = "separate"
    """Absolute positions, added once after the stem."""
    relative_positions: RelativePositions = "none"
    """Positions of keys relative to queries, a table for each axis in every block (MViTv2, section 4.1).

    "grid" makes the tables for the grids that ``clip`` has; "floor" as the official code does, which halves odd grids
    downwards: released tables for 312 pixels are smaller than the grid, and interpolated.
    """
    residual_pooling: bool = False
    """The pooled queries are added to what the attention gives (MViTv2, section 4.1)."""
    residual_class_token: bool = False
    """Also to what the class token gets: in the image models that have one (facebookresearch/mvit), not for clips."""
    qkv_bias: bool = True
    reversible: Reversible = "none"
    """Two streams, whose blocks' inputs are computed again for gradients instead of kept (Mangalam et al., CVPR 2022).

    The first block of each further stage fuses the streams: by their "average", or by an "mlp" of both.
    """
    drop_path: float = 0.2
    """Rate of stochastic depth in the last block; it grows linearly from 0 in the first."""
    head_dropout: float = 0.5
    init: Initialisation = "official"

    def __post_init__(self) -> None:
        for name in ("clip", "stem_kernel", "stem_stride", "stem_padding"):
            self._check_triple(name, getattr(self, name), least=0 if name == "stem_padding" else 1)
        stages = len(self.depths)
        if not stages:
            raise ValueError("depths is empty: name the number of blocks of at least one stage")
        for name in ("depths", "widths", "heads"):
            values = getattr(self, name)
            self._check_stages(name, values, stages)
            if any(not _is_int(value) or value < 1 for value in values):
                raise ValueError(f"{name} is {values}: every stage needs a whole number of at least 1")
        for name in ("stride_q", "kernel_q", "padding_q", "stride_kv", "kernel_kv", "padding_kv"):
            triples = getattr(self, name)
            if triples is None and name.startswith("padding"):
                continue
            self._check_stages(name, triples, stages)
            for triple in triples:
                self._check_triple(name, triple, least=0 if name.startswith("padding") else 1)
        for width, heads in zip(self.widths, self.heads, strict=True):
            if width % heads:
                raise ValueError(f"a stage of width {width} cannot be cut into {heads} heads: choose a divisor")
        for name, choices in _CHOICES.items():
            if getattr(self, name) not in get_args(choices):
                raise ValueError(f"{name} is {getattr(self, name)!r}: choose one of {', '.join(get_args(choices))}")
        for name in ("pool_every_query", "class_token", "residual_pooling", "residual_class_token", "qkv_bias"):
            if not isinstance(getattr(self, name), bool):
                raise ValueError(f"{name} is {getattr(self, name)!r}: expected true or false")
        if not _is_int(self.num_classes) or self.num_classes < 1:
            raise ValueError(f"num_classes is {self.num_classes!r}: a model needs a whole number of at least 1")
        for name in ("drop_path", "head_dropout"):
            rate = getattr(self, name)
            if isinstance(rate, bool) or not isinstance(rate, int | float) or not 0 <= rate < 1:
                raise ValueError(f"{name} is {rate!r}: a rate is at least 0 and below 1")
        if self.reversible != "none" and (self.widen_in != "attention" or self.stride_q[0] != (1, 1, 1)):
            raise ValueError(
                f"reversible is {self.reversible!r} with widen_in {self.widen_in!r} and stride_q {self.stride_q[0]} in "
                "the first stage: reversible blocks keep width and grid, so set 'attention' and (1, 1, 1)"
            )
        if self.widen_in == "merging" and self.stride_q[0] != (1, 1, 1):
            raise ValueError(
                f"widen_in is 'merging' with stride_q {self.stride_q[0]} in the first stage: patches are merged "
                "between stages, so set (1, 1, 1), and the stem's stride for a coarser first grid"
            )
        if self.width_skip != "normalised" and (self.widen_in == "merging" or self.reversible != "none"):
            raise ValueError(
                f"width_skip is {self.width_skip!r} with widen_in {self.widen_in!r} and reversible "
                f"{self.reversible!r}: there is a choice only where attention or MLP widens a model that is not "
                "reversible, so leave it out"
            )
        self._check_pools()

    def _check_stages(self, name: str, values: Any, stages: int) -> None:
        if not isinstance(values, tuple) or len(values) != stages:
            raise ValueError(
                f"{name} is {values!r}: expected a tuple of {stages} entries, one for each stage of depths"
            )

    def _check_triple(self, name: str, triple: Any, *, least: int) -> None:
        whole = isinstance(triple, tuple) and len(triple) == 3 and all(_is_int(value) for value in triple)
        if not whole or min(triple) < least:
            raise ValueError(
                f"{name} has {triple!r}: expected (time, height, width), whole numbers of at least {least}"
            )

    def _check_pools(self) -> None:
        for stage in range(self.stages):
            for name, padding in (("q", self.padding_q), ("kv", self.padding_kv)):
                pool = _pool(getattr(self, f"kernel_{name}"), getattr(self, f"stride_{name}"), padding, stage)
                if any(2 * pad > kernel for kernel, pad in zip(pool.kernel, pool.padding, strict=True)):
                    raise ValueError(
                        f"stage {stage + 1} pads a {name} kernel of {pool.kernel} by {pool.padding}: at most half of it"
                    )

    @property
    def stages(self) -> int:
        return len(self.depths)

    @property
    def grid(self) -> Triple:
        """Tokens in time, height and width after the stem, for ``clip``."""
        return self.grid_of(self.clip)

    def grid_of(self, clip: Triple) -> Triple:
        """Tokens in time, height and width that the stem makes of a clip of (frames, height, width)."""
        return convolved(clip, self.stem_kernel, self.stem_stride, self.stem_padding)

    def blocks(self) -> Iterator[BlockConfig]:
        """Every block in order: queries are pooled in the first block of a stage at least, keys and values in all."""
        depth = sum(self.depths)
        index = 0
        width = self.widths[0]
        grid = divided(self.clip, self.stem_stride) if self.relative_positions == "floor" else self.grid
        for stage, blocks in enumerate(self.depths):
            pool_kv = _pool(self.kernel_kv, self.stride_kv, self.padding_kv, stage)
            for place in range(blocks):
                last = place == blocks - 1
                merge = self._merge(stage) if self.widen_in == "merging" and stage and place == 0 else None
                if merge:
                    grid, width = self._table_grid(merge, grid), self.widths[stage]
                pool_q = self._pool_q(stage, first=place == 0)
                grid_q = self._table_grid(pool_q, grid)
                attention = self.widths[stage]
                out = (
                    self.widths[stage + 1] if self.widen_in == "mlp" and last and stage + 1 < self.stages else attention
                )
                tables = None if self.relative_positions == "none" else (grid_q, self._table_grid(pool_kv, grid))
                fused_by_mlp = self.reversible == "mlp" and stage > 0 and place == 0
                yield BlockConfig(
                    stage=stage,
                    merge=merge,
                    width=2 * width if fused_by_mlp else width,
                    width_attention=attention,
                    width_out=out,
                    widen_in=self.widen_in,
                    width_skip=self.width_skip,
                    heads=self.heads[stage],
                    pooling=self.pooling,
                    pool_q=pool_q,
                    pool_kv=pool_kv,
                    class_token=self.class_token,
                    qkv_bias=self.qkv_bias,
                    residual_pooling=self.residual_pooling,
                    residual_class_token=self.residual_class_token,
                    reversible=self.reversible,
                    relative_grids=tables,
                    drop_path=self.drop_path * index / max(depth - 1, 1),
                    is_first_of_stage=place == 0,
                    is_last_of_stage=last,
                )
                index += 1
                width, grid = out, grid_q

    def _table_grid(self, pool: PoolConfig, grid: Triple) -> Triple:
        if self.relative_positions == "floor":
            return divided(grid, pool.stride)
        return pool.grid_of(grid)

    def _merge(self, stage: int) -> MergeConfig:
        stride = self.stride_q[stage]
        return MergeConfig(kernel=stride, stride=stride, padding=(0, 0, 0), width=self.widths[stage - 1])

    def _pool_q(self, stage: int, *, first: bool) -> PoolConfig:
        if first and self.widen_in != "merging":
            return _pool(self.kernel_q, self.stride_q, self.padding_q, stage)
        if first or self.pool_every_query:
            return _pool(self.kernel_q, (NO_POOL.stride,) * self.stages, self.padding_q, stage)
        return NO_POOL

    def to_dict(self) -> dict[str, Any]:
        """Plain values that JSON can hold; ``from_dict`` reads them back."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """A configuration from ``to_dict``'s values, lists for tuples allowed; ``ValueError`` for unknown fields."""
        known = {field.name for field in fields(cls)}
        unknown = sorted(set(values) - known)
        if unknown:
            raise ValueError(f"unknown model field {unknown[0]!r}: the fields are {', '.join(sorted(known))}")
        return cls(**{name: _tuples(value) for name, value in values.items()})


def _pool(
    kernels: tuple[Triple, ...], strides: tuple[Triple, ...], paddings: tuple[Triple, ...] | None, stage: int
) -> PoolConfig:
    kernel = kernels[stage]
    padding = paddings[stage] if paddings else (kernel[0] // 2, kernel[1] // 2, kernel[2] // 2)
    return PoolConfig(kernel=kernel, stride=strides[stage], padding=padding)


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _tuples(value: Any) -> Any:
    return tuple(_tuples(entry) for entry in value) if isinstance(value, list | tuple) else value
