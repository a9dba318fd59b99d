"""What one clip keeps for the backward pass, in bytes, by arithmetic and a stated rule.

Every distinct tensor that waits for the backward pass, once: the inputs of linear layers, convolutions, norms, poolings
and GELU, a mean and a deviation for every row that is normalised, and queries, keys, values, result and log-sums of
each attention. The clip waits for the gradient of the stem's kernel.

A reversible block keeps nothing, and its stage the last output. With ``elementwise``, norms and GELU are computed
again, and what they give is not kept. ``narrow`` is the bytes of an element that linear layers read and give: 2 under
bf16 autocast, where pooled skip connections, what pooling's norms read, statistics and log-sums stay float32.

For the fused attention that runs, which never holds its weights. Parameters, their gradients and copies, the
optimiser's state, what a kernel needs inside itself, and dropout's masks are not in it; a batch of B clips takes B
times as much.

N tokens in, Q queries, K keys and values, with the class token; C channels in, A of the attention, D out.
"""

from dataclasses import replace
from math import ceil, prod

from mvit.analysis.memory import STATISTICS, read, tables, tokens, width_of_sequence
from mvit.model.config import FUSION_RATIO, MLP_RATIO, WIDTH_MULTIPLE, BlockConfig, MViTConfig, PoolConfig, Triple

WIDE = 4  # bytes of float32
INDEX = 8  # of int64: which tokens are read


def stem_kept(clip: Triple, *, narrow: int = WIDE) -> int:
    """The clip itself waits for the gradient of the stem's kernel."""
    return 3 * prod(clip) * narrow


def block_input(block: BlockConfig, grid: Triple, *, narrow: int = WIDE) -> int:
    """The tokens that enter a block: all that is kept of one that is computed again as a whole."""
    streams = 2 if block.reversible == "average" or (block.reversible == "mlp" and not block.is_transition) else 1
    width = block.merge.width if block.merge else block.width
    return tokens(grid, block.class_token) * width * streams * _entering(block, narrow)


def _entering(block: BlockConfig, narrow: int) -> int:
    """Bytes of an element of the skip connection: a linear layer's, until a pooled skip is added in float32."""
    if block.widen_in == "merging" or (block.widen_in == "attention" and block.width_skip == "none"):
        return narrow  # no skip is pooled
    widened_by_mlp = block.is_first_of_stage and block.width == block.width_attention
    before_pooling = block.stage == 0 or (block.stage == 1 and block.is_first_of_stage)
    return narrow if block.reversible != "none" or before_pooling or widened_by_mlp else WIDE


def _leaving_attention(block: BlockConfig, narrow: int) -> int:
    pooled = block.reversible == "none" and block.pool_q.stride != (1, 1, 1) and block.skips_attention
    return WIDE if pooled else _entering(block, narrow)


def block_kept(block: BlockConfig, grid: Triple, *, narrow: int = WIDE, elementwise: bool = False) -> int:
    """What a block keeps for its backward pass; ``grid`` is that of its input."""
    merging = _merging(block, grid, narrow)
    grid = block.merged(grid)
    grid_q, grid_k = block.pool_q.grid_of(grid), block.pool_kv.grid_of(grid)
    N, Q, K = (tokens(each, block.class_token) for each in (grid, grid_q, grid_k))
    C, A = block.width, block.width_attention
    if block.reversible != "none" and not block.is_transition:
        return block_input(block, grid, narrow=narrow) if block.is_last_of_stage else 0
    entered = N * C * _entering(block, narrow)
    kept = merging + entered + STATISTICS * N * WIDE + (0 if elementwise else N * C * narrow)  # the norm's, in and out
    if block.is_transition and block.reversible == "mlp":
        kept += 2 * FUSION_RATIO * N * C * narrow  # around the GELU of what fuses the streams
    kept += _pool(block, block.pool_q, grid, narrow) + _keys_and_values(block, grid, narrow)
    if block.relative_grids is None:
        kept += (2 * Q + 2 * K) * A * narrow  # queries, result, keys, values
    else:
        extended = block.heads * ceil((A // block.heads + sum(grid_k)) / WIDTH_MULTIPLE) * WIDTH_MULTIPLE
        kept += ((2 * Q + 2 * K) * extended + Q * A) * narrow  # and the result again, cut to the heads' width
        pairs = tables(block, grid_q, grid_k)
        kept += sum(prod(grid_q) * A + n_q * n_k * A // block.heads for n_q, n_k in pairs) * narrow
    kept += Q * block.heads * WIDE  # log-sums
    if block.residual_pooling and block.relative_grids is None:
        kept += Q * A * narrow  # the sum of result and queries
    if block.is_transition:  # the skip is pooled by what pools the queries, and widened before
        kept += _pool(block, block.pool_q, grid, narrow)
        kept -= N * A * narrow if A == C and not block.pool_q.is_identity else 0  # the norm's input, counted above
    elif block.pool_q.stride != (1, 1, 1) and A != C and block.skips_attention:
        kept += N * A * narrow  # the widened skip, which max pooling reads
    if block.width_skip == "raw" and block.width_out != C:  # autocast's copy of a wide skip, which a linear layer reads
        rows, wide = (N, _entering(block, narrow)) if A != C else (Q, _leaving_attention(block, narrow))
        kept += rows * C * narrow if wide > narrow else 0
    kept += Q * A * _leaving_attention(block, narrow) + STATISTICS * Q * WIDE  # the norm's input
    mlp = MLP_RATIO * Q * A * narrow
    return kept + (mlp if elementwise else Q * A * narrow + 2 * mlp)


def class_token_kept(block: BlockConfig, grid: Triple, *, narrow: int = WIDE, elementwise: bool = False) -> int:
    """What the last block keeps where the head reads its class token alone: one query, and one row of the MLP."""
    merging = _merging(block, grid, narrow)
    grid = block.merged(grid)
    N, K = (tokens(each, True) for each in (grid, block.pool_kv.grid_of(grid)))
    C, A = block.width, block.width_attention
    kept = merging + N * C * _entering(block, narrow) + STATISTICS * N * WIDE + (0 if elementwise else N * C * narrow)
    kept += _keys_and_values(block, grid, narrow)
    if block.pooling == "conv" and not block.pool_q.is_identity:
        kept += (A + STATISTICS * block.heads) * WIDE  # the query before its norm
    kept += (2 * A + 2 * K * A) * narrow + block.heads * WIDE  # query, result, keys, values, log-sums
    if block.residual_pooling and block.residual_class_token:
        kept += A * narrow
    kept += (A + STATISTICS) * WIDE  # the norm's input
    mlp = MLP_RATIO * A * narrow
    return kept + (mlp if elementwise else A * narrow + 2 * mlp)


def _merging(block: BlockConfig, grid: Triple, narrow: int) -> int:
    """What a merging before the block keeps: its norm's input and output."""
    if block.merge is None:
        return 0
    merged = tokens(block.merged(grid), block.class_token)
    return merged * (block.merge.width_merged * 2 * narrow + STATISTICS * WIDE)


def head_kept(config: MViTConfig, grid: Triple) -> int:
    """The last norm's input and the linear layer's."""
    class_token_alone = config.class_token and config.reversible == "none"
    N, width = 1 if class_token_alone else tokens(grid, config.class_token), width_of_sequence(config, -1)
    shared = config.reversible != "none" and (config.stages == 1 or config.depths[-1] > 1)  # the last stage has kept it
    return WIDE * ((0 if shared else N * width) + STATISTICS * (1 if config.class_token else N) + width)


def computed_again(block: BlockConfig, grid: Triple, *, narrow: int = WIDE) -> int:
    """What a block that kept its input alone makes for its gradients: what it would have kept, less that input."""
    plain = block if block.is_transition else replace(block, reversible="none")
    return block_kept(plain, grid, narrow=narrow) - block_input(plain, grid, narrow=narrow)


def gradients(block: BlockConfig, grid: Triple, *, narrow: int = WIDE) -> int:
    """Gradients of tokens that are alive at once while a block's backward pass runs, beyond what it has freed by then.

    Its widest moment is in the MLP, or while it attends or pools, when what the MLP had kept is gone.
    """
    grid = block.merged(grid)
    grid_q, grid_k = block.pool_q.grid_of(grid), block.pool_kv.grid_of(grid)
    N, Q, K = (tokens(each, block.class_token) for each in (grid, grid_q, grid_k))
    C, A, D = block.width, block.width_attention, block.width_out
    mlp = Q * D * (WIDE + narrow) + 2 * MLP_RATIO * Q * A * narrow
    pooling = [(2 * Q + 4 * K) * A * narrow]
    for pool, size in ((block.pool_q, grid), read(block, grid)):
        if not pool.is_identity:  # in float32: what was pooled, the gradient spread over it, and the result
            pooling.append(tokens(size, block.class_token) * A * (3 * WIDE + narrow))
    skip = N * A * WIDE if block.pool_q.stride != (1, 1, 1) else 0
    freed = MLP_RATIO * Q * A * narrow
    return max(mlp, Q * A * WIDE + skip + max(pooling) + 2 * N * C * narrow - freed)


def _keys_and_values(block: BlockConfig, grid: Triple, narrow: int) -> int:
    """What keys and values keep beside themselves: the tokens that are read, apart, where, and their pooling."""
    pool, size = read(block, grid)
    gathered = tokens(size, block.class_token) * (block.width * narrow + INDEX) if block.pool_kv.skips_places else 0
    return gathered + 2 * _pool(block, pool, size, narrow)


def _pool(block: BlockConfig, pool: PoolConfig, grid: Triple, narrow: int) -> int:
    """What one pooling keeps beside its result."""
    if pool.is_identity:
        return 0
    A, out = block.width_attention, pool.grid_of(grid)
    N, P = tokens(grid, block.class_token), tokens(out, block.class_token)
    if block.pooling == "conv":  # its kernel is repeated for all heads
        return N * A * narrow + (A * prod(pool.kernel) + P * A + STATISTICS * P * block.heads) * WIDE
    if block.pooling == "max":
        return N * A * narrow
    return prod(n + 2 * pad for n, pad in zip(grid, pool.padding, strict=True)) * A * WIDE
