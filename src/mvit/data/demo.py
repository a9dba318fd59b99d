"""The demo set: eight classes of short videos that only the order of their frames tells apart.

A textured shape moves, grows or turns over a textured background. All motion is cyclic (what leaves on the right comes
back on the left, what has grown to the largest size starts again at the smallest) with a phase drawn uniformly and a
constant speed, so that a frame, whichever it is, looks the same in a class and in its mirror; a clip of the second
class of a pair is drawn like one of the first and played backwards. Held-out clips have textures and backgrounds of
kinds that training never saw.
"""

import inspect
import json
import math
import shutil
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from mvit.data import video
from mvit.data.resources import available_cores

PAIRS = (("move_right", "move_left"), ("move_down", "move_up"), ("grow", "shrink"), ("clockwise", "counter_clockwise"))
CLASSES = tuple(sorted(name for pair in PAIRS for name in pair))
FRAMES_PER_SECOND = 15
MARKER = "demo.json"  # lies in the folder from the first moment, and says what the set is once it is complete

# Difficulty. Brightness is a share of white, drawn for each clip; sizes are shares of the frame's side.
SHAPE_BRIGHTNESS = (0.65, 1.0)
BACKGROUND_BRIGHTNESS = (0.05, 0.35)
INVERTED_SHARE = 0.0  # of the clips have the two swapped: a dark shape over a bright background
SHAPE_CONTRAST = (0.2, 0.5)  # amplitude of the texture, as a share of the brightness
BACKGROUND_CONTRAST = (0.2, 0.5)
TINT = 0.2  # how far the colour channels differ
NOISE = 0.03  # standard deviation, uniform, in every pixel of every frame anew
RADIUS = (0.16, 0.30)
GROWN_RADIUS = (0.10, 0.42)  # the sizes between which a shape grows
TRAVEL = (0.5, 1.2)  # sides of the frame that a shape moves in 16 frames
GROWTH = (0.5, 1.0)  # cycles of growth in 16 frames
TURN = (0.35, 1.0)  # revolutions in 16 frames

Field = np.ndarray  # float32, broadcast to (T, H, W)
Pattern = Callable[[Field, Field], Field]  # of a place (x, y) to a value in about -1 ... 1
Kind = Callable[[np.random.Generator], Pattern]


def make(
    folder: Path,
    *,
    train: int = 1600,
    val: int = 400,
    seed: int = 0,
    size: int = 64,
    frames: int = 20,
    object_size: float = 1.0,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Write the demo set to `folder`/{train,val}/<class>/*.mp4 (H.264) and give the folder back.

    `train` and `val` count clips over all classes; `object_size` is a share of the usual size of what moves. A complete
    set of these settings is left as it is; a half-made one, or one of other settings, is made anew. What is drawn
    follows from `seed` to the bit; what x264 makes of it differs by a few levels in one clip of a hundred. `progress`
    is told how many clips of how many are done. Raises ValueError where the folder holds anything else.
    """
    folder = Path(folder)
    for name, count in (("train", train), ("val", val)):
        if count < len(CLASSES) or count % len(CLASSES):
            raise ValueError(
                f"{name} is {count} clips, but must be a multiple of {len(CLASSES)}, the number of classes"
            )
    if not 0 < object_size <= 1:
        raise ValueError(f"object_size is {object_size:g}, but must be above 0 and at most 1, the usual size")
    clips = [
        (Path(part, label, f"{index:04d}.mp4"), label, (seed, part == "val", CLASSES.index(label), index))
        for part, count in (("train", train), ("val", val))
        for label in CLASSES
        for index in range(count // len(CLASSES))
    ]
    settings: dict[str, Any] = {"format": 1, "train": train, "val": val, "seed": seed, "size": size, "frames": frames}
    if object_size != 1:  # sets that were made before sizes could be chosen stay as they are
        settings["object_size"] = object_size
    description = json.dumps(settings | _difficulty(), indent=1)
    if _description(folder) == description and all((folder / path).is_file() for path, *_ in clips):
        return folder
    partial = folder.with_name(f"{folder.name}.partial")
    for old in (partial, folder):
        _remove_demo(old)
    for place in {path.parent for path, *_ in clips}:
        (partial / place).mkdir(parents=True)
    (partial / MARKER).touch()

    def write(clip: tuple[Path, str, tuple[int, bool, int, int]]) -> None:
        path, label, key = clip
        rng = np.random.default_rng(key)
        drawn = render(label, rng, unseen=key[1], size=size, frames=frames, object_size=object_size)
        video.write(partial / path, drawn, fps=FRAMES_PER_SECOND)

    with ThreadPoolExecutor(available_cores()) as pool:
        for number, _ in enumerate(pool.map(write, clips), start=1):
            if progress is not None:
                progress(number, len(clips))
    (partial / MARKER).write_text(description, encoding="utf-8")
    partial.rename(folder)
    return folder


def settings_of(folder: Path) -> dict[str, Any]:
    """What `make` was called with for a complete demo set; raises ValueError for a folder that is none."""
    known = json.loads(_description(folder) or "{}")
    names = [name for name in inspect.signature(make).parameters if name in known]
    if not names:
        raise ValueError(f"{folder} is no demo set: make one with mvit quickstart, or as docs/data.md says")
    return {name: known[name] for name in names}


def render(
    label: str,
    rng: np.random.Generator,
    *,
    unseen: bool = False,
    size: int = 64,
    frames: int = 20,
    object_size: float = 1.0,
) -> np.ndarray:
    """Draw one clip of a class as uint8 (T, H, W, 3); `unseen` takes the textures and backgrounds kept for val."""
    forward = next(pair[0] for pair in PAIRS if label in pair)
    textures, backgrounds = (UNSEEN_TEXTURES, UNSEEN_BACKGROUNDS) if unseen else (TEXTURES, BACKGROUNDS)
    time = np.arange(frames, dtype=np.float32)[:, None, None] / 16  # (T, 1, 1)
    axis = (np.arange(size, dtype=np.float32) + 0.5) / size
    x, y = axis[None, None, :], axis[None, :, None]
    (center_x, center_y), radius = rng.uniform(0.3, 0.7, 2), object_size * rng.uniform(*RADIUS)
    angle, phase = rng.uniform(0, 2 * math.pi), rng.uniform()
    if forward == "move_right":
        center_x = phase + time * rng.uniform(*TRAVEL)
    elif forward == "move_down":
        center_y = phase + time * rng.uniform(*TRAVEL)
    elif forward == "grow":
        grown = (phase + time * rng.uniform(*GROWTH)) % 1
        radius = object_size * GROWN_RADIUS[0] * (GROWN_RADIUS[1] / GROWN_RADIUS[0]) ** grown
    else:
        angle = angle + time * (2 * math.pi * rng.uniform(*TURN))  # y points down, so that this is clockwise
    right, down = (x - center_x + 0.5) % 1 - 0.5, (y - center_y + 0.5) % 1 - 0.5  # the frame is a torus
    cosine, sine = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    u = (right * cosine + down * sine) / radius  # (T, H, W); a disc's outline is at 1
    v = (down * cosine - right * sine) / radius
    mask = np.clip(_outline(rng)(u, v) * radius * size + 0.5, 0, 1)  # soft over one pixel
    brightness = (SHAPE_BRIGHTNESS, BACKGROUND_BRIGHTNESS)
    if rng.uniform() < INVERTED_SHARE:
        brightness = brightness[::-1]
    shape = _paint(_choose(textures, rng)(u, v), brightness[0], SHAPE_CONTRAST, rng)
    background = _paint(_choose(backgrounds, rng)(x * 2 - 1, y * 2 - 1), brightness[1], BACKGROUND_CONTRAST, rng)
    clip = background + mask * (shape - background)  # (3, T, H, W)
    clip += NOISE * math.sqrt(12) * (rng.random(clip.shape, dtype=np.float32) - np.float32(0.5))
    frames_uint8 = np.moveaxis((np.clip(clip, 0, 1) * 255 + 0.5).astype(np.uint8), 0, -1)
    return np.ascontiguousarray(frames_uint8 if label == forward else frames_uint8[::-1])


def _difficulty() -> dict[str, Any]:
    """What a set depends on besides its settings, so that one made with other constants is made anew."""
    return {
        "brightness": (SHAPE_BRIGHTNESS, BACKGROUND_BRIGHTNESS, INVERTED_SHARE, TINT, NOISE),
        "contrast": (SHAPE_CONTRAST, BACKGROUND_CONTRAST),
        "radius": (RADIUS, GROWN_RADIUS),
        "speed": (TRAVEL, GROWTH, TURN),
    }


def _description(folder: Path) -> str | None:
    marker = folder / MARKER
    return marker.read_text(encoding="utf-8") if marker.is_file() else None


def _remove_demo(folder: Path) -> None:
    if not folder.exists():
        return
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()
    elif _holds_a_demo_only(folder):
        shutil.rmtree(folder)
    else:
        raise ValueError(f"{folder} holds files that are no demo set: name a folder that is empty or does not exist")


def _holds_a_demo_only(folder: Path) -> bool:
    """Whether a folder is a demo set, complete or begun: another file called as its marker does not make it one."""
    marker = folder / MARKER
    if not marker.is_file() or {path.name for path in folder.iterdir()} - {"train", "val", MARKER}:
        return False
    if not (text := marker.read_bytes()):
        return True  # it is empty until the set is whole
    try:
        known = json.loads(text)
    except ValueError:
        return False
    return isinstance(known, dict) and {"format", "train"} <= known.keys()


def _paint(pattern: Field, brightness: Any, contrast: Any, rng: np.random.Generator) -> Field:
    """Colour a pattern: (T, H, W) to (3, T, H, W)."""
    colors = rng.uniform(*brightness) * (1 + TINT * rng.uniform(-1, 1, (2, 3, 1, 1, 1)))
    amplitude = rng.uniform(*contrast)
    dark, bright = (colors[0] * (1 - amplitude)).astype(np.float32), (colors[1] * (1 + amplitude)).astype(np.float32)
    return dark + np.clip(0.5 + 0.5 * pattern, 0, 1) * (bright - dark)


def _choose(kinds: Sequence[Kind], rng: np.random.Generator) -> Pattern:
    return kinds[int(rng.integers(len(kinds)))](rng)


def _outline(rng: np.random.Generator) -> Pattern:
    """A polygon or a flower, as the distance inwards from its edge."""
    corners, polygon = int(rng.integers(3, 7)), rng.uniform() < 0.5
    depth, start = rng.uniform(0.15, 0.35), rng.uniform(0, 2 * math.pi)
    sides = [start + 2 * math.pi * side / corners for side in range(corners)]

    def inwards(u: Field, v: Field) -> Field:
        if polygon:
            outwards = np.max(
                [u * np.float32(math.cos(side)) + v * np.float32(math.sin(side)) for side in sides], axis=0
            )
            return math.cos(math.pi / corners) - outwards
        edge = 1 - depth + depth * np.cos(corners * np.arctan2(v, u) + np.float32(start))
        return edge - np.hypot(u, v)

    return inwards


def _wave(rng: np.random.Generator, low: float, high: float) -> Pattern:
    """A plane wave of `low` to `high` periods a unit, in any direction."""
    frequency, direction, start = rng.uniform(low, high), rng.uniform(0, 2 * math.pi), rng.uniform(0, 2 * math.pi)
    a, b = 2 * math.pi * frequency * math.cos(direction), 2 * math.pi * frequency * math.sin(direction)
    return lambda u, v: np.sin(np.float32(a) * u + np.float32(b) * v + np.float32(start))


def _stripes(rng: np.random.Generator) -> Pattern:
    wave = _wave(rng, 0.8, 1.6)
    return lambda u, v: np.clip(3 * wave(u, v), -1, 1)


def _dots(rng: np.random.Generator) -> Pattern:
    first, second = _wave(rng, 0.8, 1.4), _wave(rng, 0.8, 1.4)
    return lambda u, v: np.clip(2 * (first(u, v) + second(u, v)) - 1, -1, 1)


def _clouds(rng: np.random.Generator) -> Pattern:
    waves = [_wave(rng, 0.3, 1.2) for _ in range(4)]
    return lambda u, v: 0.6 * np.sum([wave(u, v) for wave in waves], axis=0)


def _halves(rng: np.random.Generator) -> Pattern:
    wave = _wave(rng, 0.2, 0.4)
    return lambda u, v: np.clip(6 * wave(u, v), -1, 1)


def _checks(rng: np.random.Generator) -> Pattern:
    first, second = _wave(rng, 0.5, 1.0), _wave(rng, 0.5, 1.0)
    return lambda u, v: np.clip(6 * first(u, v) * second(u, v), -1, 1)


def _rings(rng: np.random.Generator) -> Pattern:
    (a, b), frequency = rng.uniform(-0.8, 0.8, 2), rng.uniform(6, 10)
    return lambda u, v: np.sin(np.float32(frequency) * np.hypot(u - np.float32(a), v - np.float32(b)))


def _zigzag(rng: np.random.Generator) -> Pattern:
    along, frequency = _wave(rng, 0.6, 1.0), rng.uniform(5, 8)
    return lambda u, v: np.clip(3 * np.sin(np.float32(frequency) * v + 2 * np.arcsin(along(u, v))), -1, 1)


def _cells(rng: np.random.Generator) -> Pattern:
    places = rng.uniform(-1.2, 1.2, (5, 2)).astype(np.float32)
    values = rng.permutation(np.linspace(-1, 1, 5, dtype=np.float32))

    def cells(u: Field, v: Field) -> Field:
        distances = np.stack([(u - a) ** 2 + (v - b) ** 2 for a, b in places])
        return values[distances.argmin(axis=0)]

    return cells


def _slope(rng: np.random.Generator) -> Pattern:
    return _wave(rng, 0.05, 0.2)


def _folds(rng: np.random.Generator) -> Pattern:
    first, second = _wave(rng, 0.4, 0.8), _wave(rng, 0.2, 0.4)
    return lambda u, v: 2 * np.abs(first(u, v) + second(u, v)) - 1


TEXTURES = (_stripes, _dots, _clouds, _halves)
UNSEEN_TEXTURES = (_checks, _rings, _zigzag, _cells)
BACKGROUNDS = (_slope, _clouds, _stripes)
UNSEEN_BACKGROUNDS = (_cells, _folds, _checks)
