"""The configuration of a model, from the names and shapes of its tensors.

No tensor shows a stride, a max or average pooling, how many heads such a model has, nor whether pooled queries are
added to the attention. The ``cfg`` of an official file says so; without one it is what every released configuration of
the family has (facebookresearch/SlowFast 287ec00, facebookresearch/mvit dfbdfdf), and is listed as assumed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from torch import Tensor

from mvit.model.config import NO_POOL, MViTConfig, PoolConfig, Positions, Reversible, Triple
from mvit.weights import slowfast
from mvit.weights.slowfast import one_more

_ELSEWHERE = ("MVIT.POOL_FIRST", "MVIT.USE_FIXED_SINCOS_POS", "MVIT.USE_MEAN_POOLING")
"""What the official code can do and this package cannot, although the tensors look alike."""

PUBLISHED_CROPS = (224, 160, 256, 312, 320, 384, 112)
HALVED: Triple = (1, 2, 2)


class InexpressibleError(ValueError):
    """A file's ``cfg`` asks for what this package cannot do: a model of no configuration, whoever names one."""


def infer_config(state: Mapping[str, Tensor], keys: Mapping[str, Any] | None = None) -> tuple[MViTConfig, list[str]]:
    """The configuration that tensors in this project's names show, and what had to be assumed for it, in words.

    ``keys`` are those of an official file's ``cfg`` (``slowfast.parse``). Raises ``ValueError`` for tensors that are
    missing or have the wrong number of axes, ``InexpressibleError`` for models that this package cannot express.
    """
    keys = keys or {}
    assumed: list[str] = []
    for key in _ELSEWHERE:
        if keys.get(key):
            raise InexpressibleError(f"its cfg has {key}, which this package does not know")
    numbers = {name.split(".")[1] for name in state if name.startswith("blocks.")}
    depth = 1 + max((int(number) for number in numbers if number.isdecimal()), default=-1)
    if not depth:
        raise ValueError("it has no tensor blocks.0.attn.q.weight, and no block at all")
    shapes = [_shape(state, f"blocks.{index}.attn.q.weight", 2) for index in range(depth)]
    attention, entering = [shape[0] for shape in shapes], [shape[1] for shape in shapes]
    stem_kernel, stem_stride, stem_padding = _stem(state, keys, assumed)
    clip = _clip(state, stem_kernel, stem_stride, keys, assumed)
    relative = "blocks.0.attn.relative.height" in state
    pooling, pools_q, pools_kv = _pools(state, attention, clip[0] > 1, keys, assumed)
    heads = _heads(state, attention, pools_kv, keys, assumed)

    # A stage goes on as long as nothing changes but the query pooling of its first block.
    starts = [
        index
        for index in range(depth)
        if index == 0
        or (attention[index], heads[index], pools_kv[index])
        != (attention[index - 1], heads[index - 1], pools_kv[index - 1])
        or pools_q[index].stride != (1, 1, 1)
        or (pools_q[index].kernel != pools_q[index - 1].kernel and not pools_q[index].is_identity)
    ]
    reversible = _reversible(state, attention, starts, keys, assumed)
    class_token = "class_token" in state
    residual = _said(keys, "MVIT.RESIDUAL_POOLING", relative, "residual_pooling", assumed)
    from_mvit = clip[0] == 1 and "MVIT.PATCH_2D" not in keys  # of the two official codes, that for images
    if residual and class_token and not keys:
        assumed.append(
            f"residual_class_token {str(from_mvit).lower()}, as released for {'images' if from_mvit else 'clips'}"
        )
    family = {"MVIT.DROPPATH_RATE": 0.1 if clip[0] == 1 else 0.2, "MODEL.DROPOUT_RATE": 0.0 if clip[0] == 1 else 0.5}
    drop_path, head_dropout = (keys.get(key, rate) for key, rate in family.items())
    if not family.keys() <= keys.keys():
        assumed.append(f"drop_path {drop_path} and head_dropout {head_dropout}, which matter in training only")
    config = MViTConfig(
        num_classes=_shape(state, "head.weight", 2)[0],
        clip=clip,
        stem_kernel=stem_kernel,
        stem_stride=stem_stride,
        stem_padding=stem_padding,
        depths=tuple(end - start for start, end in zip(starts, [*starts[1:], depth], strict=True)),
        widths=tuple(attention[start] for start in starts),
        widen_in="mlp" if entering == attention and reversible == "none" else "attention",
        heads=tuple(heads[start] for start in starts),
        stride_q=tuple(pools_q[start].stride for start in starts),
        kernel_q=tuple(pools_q[start].kernel for start in starts),
        pool_every_query=any(not pools_q[index].is_identity for index in range(depth) if index not in starts),
        stride_kv=tuple(pools_kv[start].stride for start in starts),
        kernel_kv=tuple(pools_kv[start].kernel for start in starts),
        pooling=pooling,
        class_token=class_token,
        positions=_positions(state),
        relative_positions="grid" if relative else "none",
        residual_pooling=residual,
        residual_class_token=residual and class_token and from_mvit,
        qkv_bias="blocks.0.attn.q.bias" in state,
        reversible=reversible,
        drop_path=drop_path,
        head_dropout=head_dropout,
    )
    return replace(config, relative_positions="floor") if relative and _floored(state, config) else config, assumed


def _shape(state: Mapping[str, Tensor], name: str, axes: int) -> tuple[int, ...]:
    if name not in state:
        raise ValueError(f"it has no tensor {name}")
    if state[name].ndim != axes:
        raise ValueError(f"its {name} is {tuple(state[name].shape)}: expected {axes} axes")
    return tuple(state[name].shape)


def _said(keys: Mapping[str, Any], key: str, otherwise: Any, what: str, assumed: list[str]) -> Any:
    """What the file's cfg says, else what the published family has."""
    if key in keys:
        return keys[key]
    if otherwise:
        assumed.append(f"{what} {str(otherwise).lower()}")
    return otherwise


def _reversible(
    state: Mapping[str, Tensor],
    attention: Sequence[int],
    starts: Sequence[int],
    keys: Mapping[str, Any],
    assumed: list[str],
) -> Reversible:
    """Whether two streams run side by side, which the last norm shows, and what fuses them where a stage begins."""
    if _shape(state, "norm.weight", 1)[0] != 2 * attention[-1]:
        return "none"
    fused_by: Reversible = "mlp" if any(".fuse." in name for name in state) else "average"
    if len(starts) == 1:
        return fused_by
    known = {
        "MVIT.REV.PRE_Q_FUSION": slowfast.FUSIONS[fused_by],
        "MVIT.REV.RES_PATH": "conv",
        "MVIT.REV.BUFFER_LAYERS": list(starts[1:]),
    }
    for key, value in known.items():
        if keys.get(key, value) != value:
            said = f"its cfg has {keys[key]!r} as {key}, and this package knows {value!r} only"
            raise ValueError(said) if key.endswith("LAYERS") else InexpressibleError(said)
    if "MVIT.REV.PRE_Q_FUSION" not in keys and fused_by == "average":
        assumed.append("streams fused by their average, as no tensors fuse them")
    if "MVIT.REV.RES_PATH" not in keys:
        assumed.append("the skip where a stage begins is pooled as the queries are")
    return fused_by


def _stem(state: Mapping[str, Tensor], keys: Mapping[str, Any], assumed: list[str]) -> tuple[Triple, Triple, Triple]:
    _, _, t, h, w = _shape(state, "stem.weight", 5)
    stride = slowfast.triple(keys.get("MVIT.PATCH_STRIDE"), "MVIT.PATCH_STRIDE")
    padding = slowfast.triple(keys.get("MVIT.PATCH_PADDING"), "MVIT.PATCH_PADDING", of_image=0)
    overlapping = h < 8  # the published stems: 3x7x7 with stride 2x4x4, 1x7x7 with 1x4x4, and patches side by side
    if stride is None:
        stride = (2 if t > 1 else 1, 4, 4) if overlapping else (min(t, 2), h, w)
        assumed.append(f"stem_stride {stride}")
    if padding is None:
        padding = (t // 2, h // 2, w // 2) if overlapping else (t // 2, 0, 0)
        assumed.append(f"stem_padding {padding}")
    return (t, h, w), stride, padding


def _pools(
    state: Mapping[str, Tensor], attention: Sequence[int], video: bool, keys: Mapping[str, Any], assumed: list[str]
) -> tuple[Any, list[PoolConfig], list[PoolConfig]]:
    """How tokens are pooled, and the pools of queries and of keys and values in every block."""
    depth = len(attention)
    learned_q, learned_kv = ([_kernel(state, index, part) for index in range(depth)] for part in "qk")
    learned = any([*learned_q, *learned_kv])
    columnar = len(set(attention)) == 1
    if not learned and not keys and columnar:
        assumed.append("no pooling at all, as its width never changes")
        return "conv", [NO_POOL] * depth, [NO_POOL] * depth
    mode = {"avg": "average"}.get(keys.get("MVIT.MODE", "max"), keys.get("MVIT.MODE", "max"))
    if learned and keys.get("MVIT.MODE", "conv") != "conv":
        raise ValueError(f"its cfg has {keys['MVIT.MODE']!r} as MVIT.MODE, and its pools have weights: expected 'conv'")
    pooling = "conv" if learned else mode
    if not learned and "MVIT.MODE" not in keys:
        assumed.append("pooling max, as it has no pools with weights")
    kernel = slowfast.triple(keys.get("MVIT.POOL_KVQ_KERNEL"), "MVIT.POOL_KVQ_KERNEL")
    if not learned and "MVIT.POOL_KVQ_KERNEL" not in keys:
        assumed.append("kernels of pools their stride + 1")

    every = sum(known is not None for known in learned_q) > depth / 2
    widened = [index > 0 and attention[index] != attention[index - 1] for index in range(depth)]
    if "MVIT.POOL_Q_STRIDE" in keys:
        strides_q = slowfast.triples_of_blocks(keys["MVIT.POOL_Q_STRIDE"], "MVIT.POOL_Q_STRIDE")
    else:
        begins = [
            w or (index > 0 and known is not None and not every)
            for index, (w, known) in enumerate(zip(widened, learned_q, strict=True))
        ]
        strides_q = {index: HALVED for index in range(depth) if begins[index]}
        if strides_q:
            assumed.append(f"stride_q {HALVED} where a stage begins")

    strides_kv = slowfast.triples_of_blocks(keys.get("MVIT.POOL_KV_STRIDE"), "MVIT.POOL_KV_STRIDE")
    adaptive = slowfast.triple(keys.get("MVIT.POOL_KV_STRIDE_ADAPTIVE"), "MVIT.POOL_KV_STRIDE_ADAPTIVE")
    kernels: list[Triple | None] = [None] * depth
    if not {"MVIT.POOL_KV_STRIDE", "MVIT.POOL_KV_STRIDE_ADAPTIVE"} & keys.keys():
        kernels = learned_kv
        adaptive = (1, 8, 8) if video else (1, 4, 4)
        large = any(max(known) > 3 for known in learned_kv if known)
        first = "their kernels - 1" if large else f"{adaptive} at first, less by what the queries have pooled"
        assumed.append(f"stride_kv {first}")
        strides_kv = {}
    if adaptive is not None:
        strides_kv = _adaptive(adaptive, kernels, strides_q)

    pools_q = [_pool(pooling, learned_q[i], strides_q.get(i), kernel) for i in range(depth)]
    pools_kv = [_pool(pooling, learned_kv[i], strides_kv.get(i), kernel) for i in range(depth)]
    return pooling, pools_q, pools_kv


def _pool(pooling: Any, learned: Triple | None, stride: Triple | None, kernel: Triple | None) -> PoolConfig:
    """The pool of a block: with weights, of which the kernel is known; or, where there is a stride, without."""
    if pooling == "conv":
        kernel, stride = learned or (1, 1, 1), stride if learned and stride else (1, 1, 1)
    elif stride is None:
        return NO_POOL
    kernel = kernel or one_more(stride)
    return PoolConfig(kernel=kernel, stride=stride, padding=(kernel[0] // 2, kernel[1] // 2, kernel[2] // 2))


def _kernel(state: Mapping[str, Tensor], index: int, part: str) -> Triple | None:
    name = f"blocks.{index}.attn.pool_{part}.weight"
    if name not in state:
        return None
    _, _, t, h, w = _shape(state, name, 5)
    return (t, h, w)


def _adaptive(first: Triple, kernels: Sequence[Triple | None], strides_q: Mapping[int, Triple]) -> dict[int, Triple]:
    """Strides of keys and values in every block: less by what the queries have pooled, as SlowFast has it."""
    strides: dict[int, Triple] = {}
    for index, kernel in enumerate(kernels):
        if kernel and max(kernel) > 3:  # the released configurations without POOL_KVQ_KERNEL
            first = (max(kernel[0] - 1, 1), max(kernel[1] - 1, 1), max(kernel[2] - 1, 1))
        else:
            t, h, w = (max(kv // q, 1) for kv, q in zip(first, strides_q.get(index, (1, 1, 1)), strict=True))
            first = (t, h, w)
        strides[index] = first
    return strides


def _heads(
    state: Mapping[str, Tensor],
    attention: Sequence[int],
    pools: Sequence[PoolConfig],
    keys: Mapping[str, Any],
    assumed: list[str],
) -> list[int]:
    """Heads of every block: pools and relative positions with weights are as wide as one of them."""
    depth = len(attention)
    widths = [_head_width(state, index) for index in range(depth)]
    if "MVIT.NUM_HEADS" in keys:
        factors = slowfast.products(keys.get("MVIT.HEAD_MUL"), keys["MVIT.NUM_HEADS"], depth, "MVIT.HEAD_MUL")
    else:
        columnar = all(pool.is_identity for pool in pools) and len(set(attention)) == 1
        known = next((width for width in widths if width), 64 if columnar else attention[0])
        factors = [max(width // known, 1) for width in attention]
        if None in widths:
            assumed.append(f"heads {', '.join(map(str, dict.fromkeys(factors)))}, each {known} channels wide")
    return [width // own if own else factor for width, own, factor in zip(attention, widths, factors, strict=True)]


def _head_width(state: Mapping[str, Tensor], index: int) -> int | None:
    for name, axis in (("pool_k.weight", 0), ("pool_q.weight", 0), ("relative.height", 1)):
        tensor = state.get(f"blocks.{index}.attn.{name}")
        if tensor is not None and tensor.ndim > axis:
            return max(tensor.shape[axis], 1)
    return None


def _positions(state: Mapping[str, Tensor]) -> Positions:
    if "positions.joint" in state:
        return "joint"
    if "positions.temporal" in state:
        return "separate"
    return "space" if "positions.spatial" in state else "none"


def _floored(state: Mapping[str, Tensor], config: MViTConfig) -> bool:
    """Whether some table is smaller than its grid: the official code halves odd grids downwards."""
    for index, block in enumerate(config.blocks()):
        grid_q, grid_k = block.relative_grids or (config.grid, config.grid)
        if _shape(state, f"blocks.{index}.attn.relative.height", 2)[0] < 2 * max(grid_q[1], grid_k[1]) - 1:
            return True
    return False


def _clip(
    state: Mapping[str, Tensor], kernel: Triple, stride: Triple, keys: Mapping[str, Any], assumed: list[str]
) -> Triple:
    """The clip that the tables of positions were made for."""
    sizes = (keys.get("DATA.NUM_FRAMES"), keys.get("DATA.TRAIN_CROP_SIZE"), keys.get("DATA.TRAIN_CROP_SIZE"))
    image = kernel[0] == 1 and (keys.get("MVIT.PATCH_2D", True) or sizes[0] == 1)
    trained: tuple[Any, ...] = (1, *sizes[1:]) if image else sizes
    frames: int | None = None
    if "positions.spatial" in state:
        places = _shape(state, "positions.spatial", 3)[1]
        frames = _shape(state, "positions.temporal", 3)[1] if "positions.temporal" in state else None
    elif "blocks.0.attn.relative.height" in state:
        names = ("time", "height", "width")
        lengths = [state.get(f"blocks.0.attn.relative.{axis}") for axis in names]
        t, h, w = (1 if table is None else (table.shape[0] + 1) // 2 for table in lengths)
        return (t * stride[0], h * stride[1], w * stride[2])
    elif "positions.joint" in state:
        places = _shape(state, "positions.joint", 3)[1] - int("class_token" in state)
        frames = _frames_of_joint(places, stride, image, trained, assumed)
        places //= frames
    else:
        if all(isinstance(size, int) for size in trained):
            return (trained[0], trained[1], trained[2])
        assumed.append(f"clip of {1 if image else 16} frames of 224 pixels, as it has no positions")
        return (1 if image else 16, 224, 224)
    if frames is None:
        frames = 1 if image else 8
        if not image:
            assumed.append(f"clip of {frames * stride[0]} frames, as it has positions in space alone")
    side = round(places**0.5)
    if side * side != places:
        raise ValueError(f"its {places} positions in space are not square: name the model that it belongs to")
    return (frames * stride[0], side * stride[1], side * stride[2])


def _frames_of_joint(places: int, stride: Triple, image: bool, trained: Sequence[Any], assumed: list[str]) -> int:
    """How many of a joint table's positions are in time."""
    if all(isinstance(n, int) for n in trained):
        t, h, w = (n // step for n, step in zip(trained, stride, strict=True))
        if t * h * w == places:
            return t
    if image and round(places**0.5) ** 2 == places:
        return 1
    for crop in PUBLISHED_CROPS:
        side = crop // stride[1]
        if side and places % (side * side) == 0 and places // (side * side) <= 64:
            assumed.append(
                f"clip of {places // (side * side) * stride[0]} frames of {crop} pixels, by its joint positions"
            )
            return places // (side * side)
    raise ValueError(f"its {places} joint positions do not show how many frames they hold: name the model")
