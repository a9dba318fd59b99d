"""The operations of RandAugment on uint8 clips, in the arithmetic of PIL, by which the published recipes were trained.

T frames, H rows, W columns. A clip is uint8 (T, 3, H, W) on any device; channels-last memory is the quick one. Whatever
is drawn is the same for all frames; what depends on pixels (a histogram, a mean) is taken of each frame by itself.
"""

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as nn

from mvit.data.randaugment import Operation

Window = tuple[int, int, int, int]  # top, left, rows, columns

FILL = 128  # what comes in from outside the frame: the grey of timm and SlowFast
LEVELS = np.arange(256)


def apply(frames: Tensor, operations: Sequence[Operation], window: Window | None = None) -> Tensor:
    """The clip after all operations, in order; with `window`, only that part of it, computed no further than needed.

    Operations on single levels are joined into one table of 256 entries, exactly, and looked up once.
    """
    table: np.ndarray | None = None  # uint8 (1 or T, 1 or 3, 256): looked up when something needs the pixels
    counts: np.ndarray | None = None  # of the levels in `frames`
    for step, (name, argument) in enumerate(operations):
        if window is not None and all(later in PIXELWISE for later, _ in operations[step:]):
            frames, window = cut(frames, window), None
        if name in TABLES:
            table = _joined(table, TABLES[name](argument))
        elif name in HISTOGRAM_TABLES:
            counts = histograms(frames) if counts is None else counts
            table = _joined(table, HISTOGRAM_TABLES[name](counts if table is None else _moved(counts, table)))
        else:
            frames, table, counts = look_up(frames, table), None, None
            if name == "Contrast":
                table = _contrast(frames, argument)
            elif name == "Color":
                frames = color(frames, argument)
            else:
                part = window if all(later in PIXELWISE for later, _ in operations[step + 1 :]) else None
                if name == "Sharpness":
                    frames = sharpness(frames, argument, part)
                else:
                    frames = affine(frames, matrix(name, argument, frames.shape[3], frames.shape[2]), part)
                window = None if part is not None else window
    return look_up(cut(frames, window), table)


def _quick(frames: Tensor) -> bool:
    """Whether bytes can be counted and looked up where they lie."""
    return frames.device.type == "cpu"


def cut(frames: Tensor, window: Window | None) -> Tensor:
    """A part of each frame, as a view."""
    if window is None:
        return frames
    top, left, rows, columns = window
    return frames[..., top : top + rows, left : left + columns]


# ---- levels: a table for each operation ----------------------------------------------------------------------------


def _blended(other: np.ndarray | float, levels: np.ndarray, factor: float) -> np.ndarray:
    """PIL's Image.blend: (1 - factor) * other + factor * levels in single precision, cut off towards zero."""
    low = np.asarray(other, np.float32)
    return np.clip(low + np.float32(factor) * (levels.astype(np.float32) - low), 0, 255).astype(np.uint8)


def _table(levels: np.ndarray) -> np.ndarray:
    return np.clip(levels, 0, 255).astype(np.uint8)[None, None]


TABLES: dict[str, Callable[[float], np.ndarray]] = {
    "Invert": lambda _: _table(255 - LEVELS),
    "Posterize": lambda bits: _table(LEVELS & ~(2 ** (8 - int(bits)) - 1) if bits < 8 else LEVELS),
    "Solarize": lambda threshold: _table(np.where(threshold > LEVELS, LEVELS, 255 - LEVELS)),
    "SolarizeAdd": lambda added: _table(np.where(LEVELS < 128, LEVELS + int(added), LEVELS)),
    "Brightness": lambda factor: _table(_blended(0, LEVELS, factor)),
}


def _autocontrast(counts: np.ndarray) -> np.ndarray:
    """From the darkest to the brightest level of each frame and channel, stretched to all: (T, 3, 256)."""
    there = counts > 0
    low, high = there.argmax(-1)[..., None], 255 - there[..., ::-1].argmax(-1)[..., None]
    with np.errstate(divide="ignore", invalid="ignore"):
        scale = 255.0 / (high - low)
        stretched = np.trunc(LEVELS * scale - low * scale)
    return np.where(high > low, np.clip(np.nan_to_num(stretched), 0, 255), LEVELS).astype(np.uint8)


def _equalize(counts: np.ndarray) -> np.ndarray:
    """Levels spread so that each stands for as many pixels of its frame and channel: (T, 3, 256)."""
    there = counts > 0
    last = np.take_along_axis(counts, 255 - there[..., ::-1].argmax(-1)[..., None], axis=-1)
    step = (counts.sum(-1, keepdims=True) - last) // 255
    below = np.cumsum(counts, axis=-1) - counts
    spread = np.minimum((below + step // 2) // np.maximum(step, 1), 255)
    return np.where((step > 0) & (there.sum(-1, keepdims=True) > 1), spread, LEVELS).astype(np.uint8)


HISTOGRAM_TABLES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "AutoContrast": _autocontrast,
    "Equalize": _equalize,
}


def _contrast(frames: Tensor, factor: float) -> np.ndarray:
    """Away from the mean brightness of each frame, or towards it: (T, 1, 256)."""
    means = [
        math.floor(mean + 0.5)
        for mean in _luma(frames.to(torch.float32, memory_format=torch.contiguous_format))
        .double()
        .mean((1, 2, 3))
        .tolist()
    ]
    return np.stack([_blended(mean, LEVELS, factor)[None] for mean in means])


def _joined(first: np.ndarray | None, then: np.ndarray) -> np.ndarray:
    """One table for two lookups."""
    if first is None:
        return then
    shape = np.broadcast_shapes(first.shape, then.shape)
    return np.take_along_axis(np.broadcast_to(then, shape), np.broadcast_to(first, shape).astype(np.intp), axis=-1)


def _moved(counts: np.ndarray, table: np.ndarray) -> np.ndarray:
    """How often each level occurs after a lookup."""
    moved = np.zeros_like(counts)
    frame, channel = np.indices(counts.shape[:2])
    np.add.at(moved, (frame[..., None], channel[..., None], np.broadcast_to(table, counts.shape)), counts)
    return moved


def histograms(frames: Tensor) -> np.ndarray:
    """How often each level occurs in each frame and channel: int64 (T, 3, 256)."""
    count, channels = frames.shape[:2]
    if _quick(frames):
        planes = np.ascontiguousarray(frames.numpy()).reshape(count * channels, -1)
        return np.stack([np.bincount(plane, minlength=256) for plane in planes]).reshape(count, channels, 256)
    places = torch.arange(count * channels, device=frames.device).view(count, channels, 1, 1) * 256
    return (
        (frames + places).flatten().bincount(minlength=count * channels * 256).view(count, channels, 256).cpu().numpy()
    )


def look_up(frames: Tensor, table: np.ndarray | None) -> Tensor:
    """Each level replaced by the table's, uint8 (1 or T, 1 or 3, 256)."""
    if table is None:
        return frames
    if not _quick(frames):
        shape = (len(frames), frames.shape[1], 256)
        places = torch.arange(shape[0] * shape[1], device=frames.device).view(*shape[:2], 1, 1) * 256
        return torch.from_numpy(table).to(frames.device).expand(shape).flatten()[frames + places]
    # bytes.translate is the quickest lookup there is: half the time of numpy's, a quarter of torch's.
    if table.shape[1] == 1:
        rows = frames.permute(0, 2, 3, 1).numpy()  # (T, H, W, 3)
        blocks = [rows] if len(table) == 1 else list(rows)
        done = b"".join(
            block.tobytes().translate(levels[0].tobytes()) for block, levels in zip(blocks, table, strict=True)
        )
        return torch.frombuffer(bytearray(done), dtype=torch.uint8).view(rows.shape).permute(0, 3, 1, 2)
    planes, every = frames.numpy(), np.broadcast_to(table, (len(frames), 3, 256))
    done = b"".join(
        planes[frame, channel].tobytes().translate(every[frame, channel].tobytes())
        for frame in range(len(planes))
        for channel in range(3)
    )
    return _interleaved(torch.frombuffer(bytearray(done), dtype=torch.uint8).view(frames.shape))


# ---- colours and neighbours ----------------------------------------------------------------------------------------


def _luma(values: Tensor) -> Tensor:
    """PIL's brightness of whole floats (T, 3, H, W) as (T, 1, H, W): (19595 R + 38470 G + 7471 B) / 65536, rounded.

    All sums stay below 2^24, so that single precision holds them exactly.
    """
    red, green, blue = values.unbind(1)
    return (19595 * red).add_(green, alpha=38470).add_(blue, alpha=7471).add_(32768).div_(65536).floor_().unsqueeze(1)


def color(frames: Tensor, factor: float) -> Tensor:
    """Colours away from grey, or towards it."""
    values = frames.to(torch.float32, memory_format=torch.contiguous_format)
    grey = _luma(values)
    return _interleaved(values.sub_(grey).mul_(factor).add_(grey).clamp_(0, 255).to(torch.uint8))


def sharpness(frames: Tensor, factor: float, window: Window | None = None) -> Tensor:
    """Away from a smoothed copy, or towards it; the outermost pixels of a frame are left as they are."""
    height, width = frames.shape[2:]
    if min(height, width) < 3:
        return cut(frames, window)
    top, left, rows, columns = window or (0, 0, height, width)
    first_row, first_column = max(top, 1), max(left, 1)
    end_row, end_column = min(top + rows, height - 1), min(left + columns, width - 1)
    result = cut(frames, window).clone(memory_format=torch.channels_last)
    if end_row <= first_row or end_column <= first_column:
        return result
    for picture, sharpened in zip(frames, result, strict=True):  # frame by frame, which fits the processor's cache
        values = picture[:, first_row - 1 : end_row + 1, first_column - 1 : end_column + 1].float()
        across = values[:, :, :-2] + values[:, :, 1:-1] + values[:, :, 2:]
        centre = values[:, 1:-1, 1:-1]
        smooth = across[:, :-2] + across[:, 1:-1] + across[:, 2:]
        smooth.add_(centre, alpha=4).div_(13).add_(0.5).floor_()
        blended = (centre - smooth).mul_(factor).add_(smooth).clamp_(0, 255)
        sharpened[:, first_row - top : end_row - top, first_column - left : end_column - left] = blended
    return result


# ---- geometry ------------------------------------------------------------------------------------------------------


def matrix(name: str, argument: float, width: int, height: int) -> tuple[float, float, float, float, float, float]:
    """PIL's affine matrix, from where a pixel goes to where it is read: x = a x' + b y' + c, y = d x' + e y' + f."""
    match name:
        case "ShearX":
            return (1, argument, 0, 0, 1, 0)
        case "ShearY":
            return (1, 0, 0, argument, 1, 0)
        case "TranslateXRel":
            return (1, 0, argument * width, 0, 1, 0)
        case "TranslateYRel":
            return (1, 0, 0, 0, 1, argument * height)
        case "Rotate":
            angle, x, y = -math.radians(argument % 360.0), width / 2, height / 2
            cosine, sine, minus_sine = (
                round(part, 15) for part in (math.cos(angle), math.sin(angle), -math.sin(angle))
            )
            return (cosine, sine, cosine * -x + sine * -y + x, minus_sine, cosine, minus_sine * -x + cosine * -y + y)
    raise ValueError(f"there is no operation {name!r}")


def affine(frames: Tensor, numbers: Sequence[float], window: Window | None = None) -> Tensor:
    """Every frame through a matrix as of `matrix`, bilinear, with FILL where the frame ends; centres lie at halves."""
    a, b, c, d, e, f = numbers
    height, width = frames.shape[2:]
    top, left, rows, columns = window or (0, 0, height, width)
    y = torch.arange(top, top + rows, dtype=torch.float64)[:, None] + 0.5
    x = torch.arange(left, left + columns, dtype=torch.float64) + 0.5
    from_x, from_y = a * x + b * y + c, d * x + e * y + f  # (rows, columns)
    outside = (from_x < 0) | (from_x >= width) | (from_y < 0) | (from_y >= height)
    grid = torch.stack([from_x * (2 / width) - 1, from_y * (2 / height) - 1], dim=-1).float()
    grid = grid.to(frames.device)[None]
    outside = outside.flatten().nonzero()[:, 0].to(frames.device)
    size = 1 if _quick(frames) else len(frames)  # what fits the processor's cache costs half
    pieces = []
    for piece in frames.split(size):
        every = grid.expand(len(piece), -1, -1, -1)
        read = nn.grid_sample(piece.float(), every, mode="bilinear", padding_mode="border", align_corners=False)
        pieces.append(_interleaved(read.to(torch.uint8)).permute(0, 2, 3, 1))
    result = torch.cat(pieces)  # (T, rows, columns, 3)
    result.view(len(result), -1, 3).index_fill_(1, outside, FILL)
    return result.permute(0, 3, 1, 2)


def _interleaved(planes: Tensor) -> Tensor:
    """The same in channels-last memory, three times as quick as torch's own conversion."""
    return torch.stack(planes.unbind(1), dim=-1).permute(0, 3, 1, 2)


PIXELWISE = {*TABLES, "Color"}  # a pixel's value after these depends on nothing but its value before
