"""What one forward pass holds, in float32 elements, by arithmetic and a stated rule.

Inference: the largest sum of tensors that are alive at once while no gradient is wanted: the clip, a block's input,
and what the block needs at its widest moment (while it pools, attends, pools its skip or applies its MLP).

Training: every distinct tensor that waits for the backward pass, once: the inputs of linear layers, convolutions,
norms, poolings and GELU, a mean and a deviation for every row that is normalised, the indices of max pooling (two
elements each, for they are int64), and queries, keys, values, result and log-sums of each attention.

A reversible block keeps nothing, and its stage the last output: the rest is computed again, a block at a time, which
takes as much as one forward pass of that block.

Both are for the fused attention that runs, which never holds its weights. Parameters, gradients and the optimiser's
state, what a kernel needs inside itself, and dropout's masks are not in it; a batch of B clips takes B times as much.

N tokens in, Q queries, K keys and values, with the class token; C channels in, A of the attention, D out.
"""

from math import ceil, prod

from mvit.model.config import FUSION_RATIO, MLP_RATIO, WIDTH_MULTIPLE, BlockConfig, MViTConfig, PoolConfig, Triple

INDEX_ELEMENTS = 2  # an int64 beside float32
STATISTICS = 2  # a mean and a deviation


def tokens(grid: Triple, class_token: bool) -> int:
    """Length of the sequence: the grid's tokens and, where there is one, the class token."""
    return int(class_token) + prod(grid)


def width_of_sequence(config: MViTConfig, stage: int) -> int:
    """Channels of what goes from block to block: those of both streams where there are two."""
    return config.widths[stage] * (1 if config.reversible == "none" else 2)


def stem_training(clip: Triple) -> int:
    """The clip itself waits for the gradient of the stem's kernel."""
    return 3 * prod(clip)


def block_training(block: BlockConfig, grid: Triple) -> int:
    """What a block keeps for its backward pass; ``grid`` is that of its input."""
    grid_q, grid_k = block.pool_q.grid_of(grid), block.pool_kv.grid_of(grid)
    N, Q, K = (tokens(each, block.class_token) for each in (grid, grid_q, grid_k))
    C, A = block.width, block.width_attention
    if block.reversible != "none" and not block.is_transition:
        return 2 * N * C if block.is_last_of_stage else 0
    kept = 2 * N * C + STATISTICS * N  # the norm's input and output
    if block.is_transition and block.reversible == "mlp":
        kept += 2 * FUSION_RATIO * N * C  # around the GELU of what fuses the streams
    kept += _pool_training(block, block.pool_q, grid) + _keys_and_values_training(block, grid)
    if block.relative_grids is None:
        kept += (2 * Q + 2 * K) * A  # queries, result, keys, values
    else:
        extended = block.heads * ceil((A // block.heads + sum(grid_k)) / WIDTH_MULTIPLE) * WIDTH_MULTIPLE
        kept += (2 * Q + 2 * K) * extended + Q * A  # and the result again, cut to the heads' width
        kept += sum(prod(grid_q) * A + n_q * n_k * A // block.heads for n_q, n_k in _tables(block, grid_q, grid_k))
    kept += Q * block.heads  # log-sums
    if block.residual_pooling and block.relative_grids is None:
        kept += Q * A  # the sum of result and queries
    if block.is_transition:  # the skip is pooled by what pools the queries, and widened before
        kept += _pool_training(block, block.pool_q, grid) - (0 if A != C or block.pool_q.is_identity else N * A)
    elif block.pool_q.stride != (1, 1, 1):
        kept += INDEX_ELEMENTS * prod(grid_q) * A
        kept += N * A if A != C else 0  # the widened skip, which max pooling reads
    return kept + 2 * Q * A + STATISTICS * Q + 2 * MLP_RATIO * Q * A  # norm, MLP


def class_token_training(block: BlockConfig, grid: Triple) -> int:
    """What the last block keeps where the head reads its class token alone: one query, and one row of the MLP."""
    N, K = (tokens(each, True) for each in (grid, block.pool_kv.grid_of(grid)))
    C, A = block.width, block.width_attention
    kept = 2 * N * C + STATISTICS * N + _keys_and_values_training(block, grid)
    if block.pooling == "conv" and not block.pool_q.is_identity:
        kept += A + STATISTICS * block.heads  # the query before its norm
    kept += 2 * A + 2 * K * A + block.heads  # query, result, keys, values, log-sums
    if block.residual_pooling and block.residual_class_token:
        kept += A
    return kept + 2 * A + STATISTICS + 2 * MLP_RATIO * A  # norm, MLP


def head_training(config: MViTConfig, grid: Triple) -> int:
    """The last norm's input and the linear layer's."""
    class_token_alone = config.class_token and config.reversible == "none"
    N, width = 1 if class_token_alone else tokens(grid, config.class_token), width_of_sequence(config, -1)
    shared = config.reversible != "none" and (config.stages == 1 or config.depths[-1] > 1)  # the last stage has kept it
    return (0 if shared else N * width) + STATISTICS * (1 if config.class_token else N) + width


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
    grid_q, grid_k = block.pool_q.grid_of(grid), block.pool_kv.grid_of(grid)
    N, Q, K = (tokens(each, block.class_token) for each in (grid, grid_q, grid_k))
    C, A, D = block.width, block.width_attention, block.width_out
    pool_kv, read = _read(block, grid)
    pooling_q, pooling_kv = _pool_inference(block, block.pool_q, grid), _pool_inference(block, pool_kv, read)
    if read != grid:
        pooling_kv += tokens(read, block.class_token) * C
    projecting = 2 * N * C + max(pooling_q, (Q + K) * A + pooling_kv)
    attending = 2 * N * C + (2 * Q + 2 * K) * A + Q * block.heads
    if block.relative_grids is not None:
        attending += (2 * Q + 2 * K) * (A + block.heads * sum(grid_k)) - Q * A
    skipping = 2 * N * C + 2 * Q * A
    if block.pool_q.stride != (1, 1, 1):
        pooled = prod(grid_q) * A
        skipping = 2 * N * C + (N * A if A != C else 0) + Q * A + (1 + INDEX_ELEMENTS) * pooled
    wide = MLP_RATIO * Q * A
    most = max(projecting, attending, skipping, N * C + 2 * Q * A + Q * D + 2 * wide)
    if block.reversible == "none":
        return most
    if block.is_transition:
        streams = N * C if block.reversible == "mlp" else 2 * N * C
        fusing = (2 + 2 * FUSION_RATIO) * N * C if block.reversible == "mlp" else 0
        return max(streams + most, fusing)
    return most + N * C  # the other stream


def class_token_inference(block: BlockConfig, grid: Triple) -> int:
    """The widest moment of the last block where the head reads its class token alone: while it pools its values."""
    pool_kv, read = _read(block, grid)
    C, A = block.width, block.width_attention
    gathered = tokens(read, True) * C if read != grid else 0
    keys = tokens(block.pool_kv.grid_of(grid), True)
    return 2 * tokens(grid, True) * C + gathered + (1 + keys) * A + _pool_inference(block, pool_kv, read)


def _read(block: BlockConfig, grid: Triple) -> tuple[PoolConfig, Triple]:
    """The tokens that keys and values are projected of, as a grid, and what pools that."""
    if not block.pool_kv.skips_places:
        return block.pool_kv, grid
    t, h, w = (len(places) for places in block.pool_kv.places_read(grid))
    return block.pool_kv.packed, (t, h, w)


def _keys_and_values_training(block: BlockConfig, grid: Triple) -> int:
    """What keys and values keep beside themselves: the tokens that are read, apart, where, and their pooling."""
    pool, read = _read(block, grid)
    gathered = tokens(read, block.class_token) * (block.width + INDEX_ELEMENTS) if block.pool_kv.skips_places else 0
    return gathered + 2 * _pool_training(block, pool, read)


def _pool_training(block: BlockConfig, pool: PoolConfig, grid: Triple) -> int:
    """What one pooling keeps beside its result."""
    if pool.is_identity:
        return 0
    A, out = block.width_attention, pool.grid_of(grid)
    N, P = tokens(grid, block.class_token), tokens(out, block.class_token)
    if block.pooling == "conv":  # its kernel is repeated for all heads
        return N * A + A * prod(pool.kernel) + P * A + STATISTICS * P * block.heads
    if block.pooling == "max":
        return N * A + INDEX_ELEMENTS * prod(out) * A
    return prod(n + 2 * pad for n, pad in zip(grid, pool.padding, strict=True)) * A


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


def _tables(block: BlockConfig, grid_q: Triple, grid_k: Triple) -> list[tuple[int, int]]:
    """Queries and keys along each axis that has a table of relative positions."""
    if block.relative_grids is None:
        return []
    axes = list(zip(grid_q, grid_k, strict=True))
    return axes if max(block.relative_grids[0][0], block.relative_grids[1][0]) > 1 else axes[1:]
