"""Maps over the frames that they are of: a contact sheet as PNG and a video as MP4."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from mvit import files
from mvit.data import video

SHOWN_FRAMES = 8
"""Of a clip on the contact sheet, spread evenly from the first to the last."""
SIDE = 144
"""Pixels that a frame's longer side takes, or the next whole multiple of what it has."""
FRAMES_PER_SECOND = 4
FONT_SIZE, LINE, GAP, MARGIN, LABEL = 15, 20, 6, 18, 190  # pixels
PANELS_IN_A_ROW = 4
INK, QUIET, PAPER = (28, 31, 36), (96, 101, 110), (253, 253, 251)
# From dark to bright also in grey and to the colour-blind: five colours of matplotlib's inferno (CC0).
COLOURS = np.array([(0, 0, 4), (87, 16, 110), (188, 55, 84), (249, 142, 9), (252, 255, 164)], np.float32)
OPACITY = (0.25, 0.75)
"""Of the lowest and of the highest value over a grey frame."""


@dataclass(frozen=True, kw_only=True)
class Layer:
    """A map over a clip: what it is called, and float (T, H, W) of the clip's size."""

    name: str
    unit: str
    """What stands behind the numbers of its scale."""
    values: np.ndarray

    @property
    def scale(self) -> str:
        """What dark and bright mean, in words."""
        low, high = float(self.values.min()), float(self.values.max())
        return f"dark {low:.2g}, bright {high:.2g} {self.unit}" if high > low else f"{low:.2g} {self.unit} everywhere"


def overlaid(frames: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Frames, uint8 (T, H, W, 3), in grey under a map (T, H, W) in colour, from its lowest to its highest value."""
    low, high = float(values.min()), float(values.max())
    level = (values - low) / (high - low) if high > low else np.zeros_like(values)
    place = level * (len(COLOURS) - 1)
    below = np.minimum(place.astype(np.int64), len(COLOURS) - 2)
    rest = (place - below)[..., None]
    colour = COLOURS[below] * (1 - rest) + COLOURS[below + 1] * rest
    opacity = (OPACITY[0] + (OPACITY[1] - OPACITY[0]) * level)[..., None]
    grey = frames @ np.array([0.299, 0.587, 0.114], np.float32)
    return (grey[..., None] * (1 - opacity) + colour * opacity).round().astype(np.uint8)


def write_sheet(
    out: Path, title: str, frames: np.ndarray, layers: Sequence[Layer], seconds: Sequence[float] | None
) -> None:
    """A PNG: evenly spread frames of a clip, uint8 (T, H, W, 3), and below them each map over the same frames.

    Over them stands which of the clip each is, and at which of its video's ``seconds`` (T,), where it has any.
    """
    chosen = np.unique(np.linspace(0, len(frames) - 1, SHOWN_FRAMES).round().astype(int))
    rows = [("what the model saw", "", frames), *((x.name, x.scale, overlaid(frames, x.values)) for x in layers)]
    factor = _factor(frames)
    height, width = (factor * size for size in frames.shape[1:3])
    wide = max(LABEL + len(chosen) * (width + GAP), 640)
    said = _wrapped(title, wide)
    top = MARGIN + LINE * len(said) + GAP
    tall = max(height, 6 * LINE)
    sheet = Image.new("RGB", (wide + 2 * MARGIN, top + LINE + len(rows) * (tall + GAP) + MARGIN), PAPER)
    pen = ImageDraw.Draw(sheet)
    _write(pen, said, (MARGIN, MARGIN), INK)
    for column, number in enumerate(chosen):
        x = MARGIN + LABEL + column * (width + GAP)
        _write(pen, [moment(number, frames, seconds)], (x, top), QUIET)
        for row, (_, _, pictures) in enumerate(rows):
            sheet.paste(Image.fromarray(_enlarged(pictures[number], factor)), (x, top + LINE + row * (tall + GAP)))
    for row, (name, note, _) in enumerate(rows):
        lines, y = _wrapped(name, LABEL - GAP), top + LINE + row * (tall + GAP)
        _write(pen, lines, (MARGIN, y), INK)
        _write(pen, _wrapped(note, LABEL - GAP), (MARGIN, y + LINE * len(lines)), QUIET)
    with files.replacing(out) as part:
        sheet.save(part, format="PNG")


def moment(number: int, frames: np.ndarray, seconds: Sequence[float] | None) -> str:
    """Which of its clip a frame is, and when it is shown; nothing of an image."""
    place = f"frame {number + 1}" if len(frames) > 1 else ""
    when = "" if seconds is None else f"{seconds[number]:.{2 if seconds[number] < 1000 else 0}f} s"
    return ", ".join(filter(None, (place, when)))


def write_overlay(out: Path, frames: np.ndarray, layers: Sequence[Layer]) -> None:
    """An MP4 of a clip, uint8 (T, H, W, 3), with the same frames under each map beside it."""
    panels = [("what the model saw", frames), *((layer.name, overlaid(frames, layer.values)) for layer in layers)]
    factor = 2 * _factor(frames)
    height, width = (factor * size for size in frames.shape[1:3])
    across = min(len(panels), PANELS_IN_A_ROW)
    names = [_wrapped(name, width) for name, _ in panels]
    head = LINE * max(map(len, names)) + GAP
    down = -(-len(panels) // across)
    size = (across * (width + GAP) + GAP, down * (head + height + GAP))
    blank = Image.new("RGB", (size[0] + size[0] % 2, size[1] + size[1] % 2), PAPER)  # H.264 wants even sizes
    places = [(GAP + n % across * (width + GAP), n // across * (head + height + GAP)) for n in range(len(panels))]
    for lines, (x, y) in zip(names, places, strict=True):
        _write(ImageDraw.Draw(blank), lines, (x, y), INK)
    pages = []
    for number in range(len(frames)):
        page = blank.copy()
        for (_, pictures), (x, y) in zip(panels, places, strict=True):
            page.paste(Image.fromarray(_enlarged(pictures[number], factor)), (x, y + head))
        pages.append(np.asarray(page))
    with files.replacing(out) as part:
        video.write(part, np.stack(pages), fps=FRAMES_PER_SECOND)


def _factor(frames: np.ndarray) -> int:
    return max(1, -(-SIDE // max(frames.shape[1:3])))


def _enlarged(picture: np.ndarray, factor: int) -> np.ndarray:
    """Pixels as squares: no detail is shown that the model did not see."""
    return picture.repeat(factor, axis=0).repeat(factor, axis=1)


def _font() -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(FONT_SIZE)


def _write(pen: ImageDraw.ImageDraw, lines: Sequence[str], at: tuple[int, int], colour: tuple[int, int, int]) -> None:
    for number, line in enumerate(lines):
        pen.text((at[0], at[1] + LINE * number), line, fill=colour, font=_font())


def _wrapped(text: str, pixels: int) -> list[str]:
    """Text in lines of at most so many pixels, broken between words, and within those that are longer than a line."""
    lines, font = [""], _font()
    for word in text.split():
        for part in (word,) if font.getlength(word) <= pixels else tuple(word):
            longer = f"{lines[-1]} {part}" if lines[-1] and part == word else f"{lines[-1]}{part}"
            lines = [*lines[:-1], longer] if font.getlength(longer) <= pixels else [*lines, part]
    return [line for line in lines if line]
