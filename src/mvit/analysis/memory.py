"""What one forward pass holds while no gradient is wanted, in float32 elements, by arithmetic and a stated rule.

The largest sum of tensors that are alive at once: the clip, a block's input, and what the block needs at its widest
moment (while it pools, attends, pools its skip or applies its MLP). For the fused attention that runs, which never
holds its weights. Parameters and what a kernel needs inside itself are not in it; a batch of B clips takes B times as
much.

N tokens in, Q queries, K keys and values, with the class token; C channels in, A of the attention, D out.
"""

from dataclasses import dataclass
from math import prod

from mvit.model.config import FUSION_RATIO, MLP_RATIO, BlockConfig, MViTConfig, PoolConfig, Triple

INDEX_ELEMENTS = 2  # an int64 beside float32
STATISTICS = 2  # a mean and a deviation


def tokens(grid: Triple, class_token: bool) -> int:
    """Length of the sequence: the grid's tokens and, where there is one, the class token."""
    return int(class_token) + prod(grid)


def width_of_sequence(config: MViTConfig, stage: int) -> int:
    """Channels of what goes from block to block: those of both streams where there are two."""
    return config.widths[stage] * (1 if config.reversible == "none" else 2)


def stem_inference(config: MViTConfig, clip: Triple) -> int:
    """The clip, its tokens before and after the positions, and the table of positions, which is kept."""
    streams = 1 if config.reversible == "none" else 3  # the tokens, and twice beside each other
    sequence = tokens(config.grid_of(clip), config.class_token) * config.widths[0]
    return held_throughout(config, clip) + max(2, streams) * sequence


def held_throughout(config: MViTConfig, clip: Triple) -> int:
    """The clip, which the caller holds, and the table of positions for its grid."""
    table = tokens(config.grid_of(clip), config.class_token) * config.widths[0]
    return 3 * prod(clip) + (0 if config.positions == "none" else table)


def block_inference(block: BlockConfig, grid: Triple) -> int:
    """The widest moment of a block, beside what is held throughout the model."""
    entered = _merging(block, grid)
    grid = block.merged(grid)
    grid_q, grid_k = block.pool_q.grid_of(grid), block.pool_kv.grid_of(grid)
    N, Q, K = (tokens(each, block.class_token) for each in (grid, grid_q, grid_k))
    C, A, D = block.width, block.width_attention, block.width_out
    pool_kv, places = read(block, grid)
    pooling_q, pooling_kv = _pool_inference(block, block.pool_q, grid), _pool_inference(block, pool_kv, places)
    if places != grid:
        pooling_kv += tokens(places, block.class_token) * C
    projecting = 2 * N * C + max(pooling_q, (Q + K) * A + pooling_kv)
    attending = 2 * N * C + (2 * Q + 2 * K) * A + Q * block.heads
    if block.relative_grids is not None:
        attending += (2 * Q + 2 * K) * (A + block.heads * sum(grid_k)) - Q * A
    skipping = 2 * N * C + 2 * Q * A
    if block.pool_q.stride != (1, 1, 1) and block.skips_attention:
        pooled = prod(grid_q) * A
        skipping = 2 * N * C + (N * A if A != C else 0) + Q * A + (1 + INDEX_ELEMENTS) * pooled
    wide = MLP_RATIO * Q * A
    most = max(projecting, attending, skipping, N * C + 2 * Q * A + Q * D + 2 * wide)
    if block.reversible == "none":
        return max(entered.widest, entered.held + most)
    if block.is_transition:
        streams = N * C if block.reversible == "mlp" else 2 * N * C
        fusing = (2 + 2 * FUSION_RATIO) * N * C if block.reversible == "mlp" else 0
        return max(streams + most, fusing)
    return most + N * C  # the other stream


def class_token_inference(block: BlockConfig, grid: Triple) -> int:
    """The widest moment of the last block where the head reads its class token alone: while it pools its values."""
    entered = _merging(block, grid)
    grid = block.merged(grid)
    pool_kv, places = read(block, grid)
    C, A = block.width, block.width_attention
    gathered = tokens(places, True) * C if places != grid else 0
    keys = tokens(block.pool_kv.grid_of(grid), True)
    pooling = 2 * tokens(grid, True) * C + gathered + (1 + keys) * A + _pool_inference(block, pool_kv, places)
    return max(entered.widest, entered.held + pooling)


@dataclass(frozen=True)
class _Merging:
    """Elements while tokens are merged, at the widest moment, and of what was merged, which is held until after."""

    widest: int
    held: int


def _merging(block: BlockConfig, grid: Triple) -> _Merging:
    """Before a block; nothing where nothing is merged."""
    if block.merge is None:
        return _Merging(0, 0)
    held = tokens(grid, block.class_token) * block.merge.width
    merged = tokens(block.merged(grid), block.class_token)
    return _Merging(held + merged * (2 * block.merge.width_merged + block.width), held)


def read(block: BlockConfig, grid: Triple) -> tuple[PoolConfig, Triple]:
    """The tokens that keys and values are projected of, as a grid, and what pools that."""
    if not block.pool_kv.skips_places:
        return block.pool_kv, grid
    t, h, w = (len(places) for places in block.pool_kv.places_read(grid))
    return block.pool_kv.packed, (t, h, w)


def _pool_inference(block: BlockConfig, pool: PoolConfig, grid: Triple) -> int:
    """One projection and its pooling, at the widest moment."""
    A, N = block.width_attention, tokens(grid, block.class_token)
    if pool.is_identity:
        return N * A
    out = pool.grid_of(grid)
    P = tokens(out, block.class_token)
    if block.pooling == "conv":
        return N * A + (2 * P + (prod(out) if block.class_token else 0)) * A
    if block.pooling == "max":
        return N * A + (1 + INDEX_ELEMENTS) * prod(out) * A
    return N * A + prod(n + 2 * pad for n, pad in zip(grid, pool.padding, strict=True)) * A + prod(out) * A


def tables(block: BlockConfig, grid_q: Triple, grid_k: Triple) -> list[tuple[int, int]]:
    """Queries and keys along each axis that has a table of relative positions."""
    if block.relative_grids is None:
        return []
    axes = list(zip(grid_q, grid_k, strict=True))
    return axes if max(block.relative_grids[0][0], block.relative_grids[1][0]) > 1 else axes[1:]
