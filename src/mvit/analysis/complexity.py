"""Parameters, multiply-adds, activations and memory of a configuration, by arithmetic: nothing is built or run.

Multiply-adds are those of torch's counter, halved, on the attention as the papers write it: one for each product in
linear layers, convolutions and products of matrices. LayerNorms, which it leaves out, stand beside it at 5 an element,
as fvcore counts, whose totals the papers print as FLOPs. ``counter`` counts the same on tensors without memory.

N tokens in, Q queries, K keys and values, with the class token; C channels in, A of the attention, D out.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from math import prod
from typing import Any

from mvit.analysis import activations, memory
from mvit.analysis.memory import tokens
from mvit.model.config import FUSION_RATIO, MLP_RATIO, BlockConfig, MViTConfig, PoolConfig, Triple

OPERATIONS_PER_NORM_ELEMENT = 5
FLOAT32_BYTES = 4


@dataclass(frozen=True, kw_only=True)
class Counts:
    """What is known of every model, our own or not, and of its parts."""

    parameters: int
    macs: int
    """Multiply-adds."""
    norm_elements: int
    """Elements that LayerNorms give."""
    activations: int
    """Elements that linear layers, convolutions and products of matrices give: what the macs are spent on."""

    @property
    def macs_with_norms(self) -> int:
        """Multiply-adds as the papers count their FLOPs."""
        return self.macs + OPERATIONS_PER_NORM_ELEMENT * self.norm_elements


@dataclass(frozen=True, kw_only=True)
class OfViews(Counts):
    """What one clip of (frames, height, width) costs, and with it a video."""

    clip: Triple
    views: tuple[int, int]
    """Clips of a video and crops of a clip that a test looks at."""

    def totals(self) -> dict[str, int]:
        """Multiply-adds that follow from the others, by name: with LayerNorms, and of all views of a video."""
        clips = prod(self.views)
        return {
            "macs_with_norms": self.macs_with_norms,
            "macs_per_video": self.macs * clips,
            "macs_with_norms_per_video": self.macs_with_norms * clips,
        }


@dataclass(frozen=True, kw_only=True)
class Counted(OfViews):
    """What one clip cost when it was counted while it ran; see ``counter``."""

    macs_by_module: dict[str, int]
    """By the names that torch's counter gives: the class of the whole, then the path of the part."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values that JSON can hold."""
        return asdict(self) | self.totals()


@dataclass(frozen=True, kw_only=True)
class Cost(Counts):
    """What one clip costs in a model or in a part of it."""

    inference_bytes: int
    """float32 tensors alive at once, at most, without parameters; see ``memory`` for the rule."""
    training_bytes: int
    """float32 tensors that wait for the backward pass, without parameters; see ``activations`` for the rule."""


@dataclass(frozen=True, kw_only=True)
class BlockComplexity(Cost):
    """One block: its token grid in, and the queries and keys it attends with (class token included)."""

    index: int
    stage: int
    grid: Triple
    width: int
    heads: int
    queries: int
    keys: int


@dataclass(frozen=True, kw_only=True)
class Complexity(Cost, OfViews):
    """What one clip costs, in all and by part; the stem holds positions and class token."""

    stem: Cost
    blocks: tuple[BlockComplexity, ...]
    stages: tuple[Cost, ...]
    """Sums over the blocks of a stage; the largest for ``inference_bytes``."""
    head: Cost

    def to_dict(self) -> dict[str, Any]:
        """Plain values that JSON can hold."""
        return asdict(self) | self.totals()


def complexity(config: MViTConfig, clip: Triple | None = None, views: tuple[int, int] = (1, 1)) -> Complexity:
    """Count a model on one clip of (frames, height, width), the configuration's own unless said.

    Raises ``ValueError`` for a clip that is smaller than the stem's patch.
    """
    clip = clip or config.clip
    grid = config.grid_of(clip)
    stem = _stem(config, clip)
    held = FLOAT32_BYTES * memory.held_throughout(config, clip)
    blocks = []
    for index, block in enumerate(config.blocks()):
        cost = _block(block, grid)
        if index == sum(config.depths) - 1 and config.class_token and config.reversible == "none":
            inference = FLOAT32_BYTES * memory.class_token_inference(block, grid)
            training = activations.class_token_kept(block, grid)
            cost = replace(cost, inference_bytes=inference, training_bytes=training)
        blocks.append(replace(cost, index=index, inference_bytes=cost.inference_bytes + held))
        grid = block.grid_of(grid)
    head = _head(config, grid)
    head = replace(head, inference_bytes=head.inference_bytes + held)
    stages = tuple(_sum([block for block in blocks if block.stage == stage]) for stage in range(config.stages))
    return Complexity(
        **asdict(_sum([stem, *stages, head])),
        clip=clip,
        views=views,
        stem=stem,
        blocks=tuple(blocks),
        stages=stages,
        head=head,
    )


def _sum(parts: Sequence[Cost]) -> Cost:
    return Cost(
        parameters=sum(part.parameters for part in parts),
        macs=sum(part.macs for part in parts),
        norm_elements=sum(part.norm_elements for part in parts),
        activations=sum(part.activations for part in parts),
        inference_bytes=max(part.inference_bytes for part in parts),
        training_bytes=sum(part.training_bytes for part in parts),
    )


def _stem(config: MViTConfig, clip: Triple) -> Cost:
    width, kernel = config.widths[0], prod(config.stem_kernel)
    given = prod(config.grid_of(clip)) * width
    return Cost(
        parameters=(3 * kernel + 1 + int(config.class_token)) * width + _position_parameters(config) * width,
        macs=given * 3 * kernel,
        norm_elements=0,
        activations=given,
        inference_bytes=FLOAT32_BYTES * memory.stem_inference(config, clip),
        training_bytes=activations.stem_kept(clip),
    )


def _position_parameters(config: MViTConfig) -> int:
    """Rows of the tables of absolute positions, which are as wide as the stem."""
    (t, h, w), own = config.grid, int(config.class_token)
    return {"none": 0, "joint": own + t * h * w, "space": own + h * w, "separate": own + h * w + t}[config.positions]


def _block(block: BlockConfig, entered: Triple) -> BlockComplexity:
    grid = block.merged(entered)
    grid_q, grid_k = block.pool_q.grid_of(grid), block.pool_kv.grid_of(grid)
    N, Q, K = (tokens(each, block.class_token) for each in (grid, grid_q, grid_k))
    C, A, D = block.width, block.width_attention, block.width_out
    hidden = MLP_RATIO * A
    pools = [(pool, out) for pool, out in _pools(block, grid_q, grid_k) if block.pooling == "conv"]
    kernels = sum((prod(pool.kernel) + 2) * A // block.heads for pool, _ in pools)
    if block.is_transition and not block.pool_q.is_identity and block.pooling == "conv":
        pools.append((block.pool_q, grid_q))  # the skip is pooled by what pools the queries
    fused = FUSION_RATIO * C if block.is_transition and block.reversible == "mlp" else 0
    products = [prod(grid_q) * keys for keys in _axes_of_keys(block, grid_k)]
    widened = 0 if D == C or block.width_skip == "none" else N if A != C else Q  # tokens: before attention, or the MLP
    merged = block.merge.width_merged if block.merge else 0
    linear = [
        (N, merged, C),
        (N, C, fused),
        (N, fused, C),
        (3 * N, C, A),
        (Q, A, A),
        (Q, A, hidden),
        (Q, hidden, D),
        (widened, C, D),
    ]
    return BlockComplexity(
        index=0,
        stage=block.stage,
        grid=entered,
        width=C,
        heads=block.heads,
        queries=Q,
        keys=K,
        parameters=(
            2 * (merged + C + A)  # norms
            + merged * C
            + ((C + 1) * fused + (fused + 1) * C if fused else 0)
            + 3 * (C + int(block.qkv_bias)) * A
            + (A + 1) * A
            + (A + 1) * hidden
            + (hidden + 1) * D
            + ((C + 1) * D if widened else 0)
            + kernels
            + _table_rows(block) * A // block.heads
        ),
        macs=(
            sum(rows * wide_in * wide_out for rows, wide_in, wide_out in linear)  # rows, channels in and out
            + sum(prod(pool.kernel) * prod(out) * A for pool, out in pools)
            + 2 * Q * K * A
            + sum(products) * A
        ),
        norm_elements=N * (merged + C) + Q * A + sum(tokens(out, block.class_token) * A for _, out in pools),
        activations=(
            sum(rows * wide_out for rows, wide_in, wide_out in linear if wide_in)
            + sum(prod(out) * A for _, out in pools)
            + block.heads * Q * K
            + Q * A
            + sum(products) * block.heads
        ),
        inference_bytes=FLOAT32_BYTES * memory.block_inference(block, entered),
        training_bytes=activations.block_kept(block, entered),
    )


def _pools(block: BlockConfig, grid_q: Triple, grid_k: Triple) -> list[tuple[PoolConfig, Triple]]:
    """The poolings of queries, keys and values that are there, with the grids they give."""
    pools = [(block.pool_q, grid_q), (block.pool_kv, grid_k), (block.pool_kv, grid_k)]
    return [(pool, out) for pool, out in pools if not pool.is_identity]


def _table_rows(block: BlockConfig) -> int:
    """Rows of the tables of relative positions: none for time where they are made for single frames."""
    if block.relative_grids is None:
        return 0
    time, height, width = (2 * max(sizes) - 1 for sizes in zip(*block.relative_grids, strict=True))
    return (time if time > 1 else 0) + height + width


def _axes_of_keys(block: BlockConfig, grid_k: Triple) -> Sequence[int]:
    """Coordinates of keys along each axis that has a table of relative positions."""
    if block.relative_grids is None:
        return ()
    return grid_k if max(grid[0] for grid in block.relative_grids) > 1 else grid_k[1:]


def _head(config: MViTConfig, grid: Triple) -> Cost:
    width, N = memory.width_of_sequence(config, -1), tokens(grid, config.class_token)
    normed = width * (1 if config.class_token else N)
    return Cost(
        parameters=2 * width + (width + 1) * config.num_classes,
        macs=width * config.num_classes,
        norm_elements=normed,
        activations=config.num_classes,
        inference_bytes=FLOAT32_BYTES * (N * width + normed),
        training_bytes=activations.head_kept(config, grid),
    )
