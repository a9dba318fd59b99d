"""A video with what a model said of it written into the pictures, as an MP4 of any length."""

from collections.abc import Callable
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import av
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from mvit import files
from mvit.data.video import Video

SHORT_SIDE = (240, 720)
"""Pixels between which the pictures are scaled: words are to be read in small ones, and large ones take long."""
PAPER, INK = (28, 31, 36), (253, 253, 251)
_TICKS = 90_000  # a second; as fine as MPEG's own


def drawn_side(short_side: int) -> int:
    """The short side that pictures are drawn at, in pixels."""
    return min(max(short_side, SHORT_SIDE[0]), SHORT_SIDE[1])


def captioned(picture: np.ndarray, caption: str) -> np.ndarray:
    """A picture, uint8 (H, W, 3), with words on a strip over its lower edge; of an even height and width."""
    height, width = (side - side % 2 for side in picture.shape[:2])  # as H.264 wants them
    page = Image.fromarray(np.ascontiguousarray(picture[:height, :width]))
    if caption:
        font = ImageFont.load_default(max(height // 16, 10))
        while font.getlength(caption) > width - 8 and len(caption) > 1:
            caption = caption.removesuffix("…")[:-1] + "…"
        strip = height // 10
        pen = ImageDraw.Draw(page)
        pen.rectangle((0, height - strip, width, height), fill=PAPER)
        pen.text((4, height - strip // 2), caption, fill=INK, font=font, anchor="lm")
    return np.asarray(page)


def enlarged(picture: np.ndarray) -> np.ndarray:
    """A picture in which words can be read, as it is where it is large enough."""
    height, width = picture.shape[:2]
    short = min(height, width)
    if (side := drawn_side(short)) <= short:
        return picture
    page = Image.fromarray(np.ascontiguousarray(picture))
    return np.asarray(page.resize((width * side // short, height * side // short), Image.Resampling.BILINEAR))


class Overlay:
    """An MP4 that pictures with a caption are added to; a context manager, which leaves no file where it fails.

    Errors of the kinds in ``keep`` are no failure of the file: it ends there, whole. Pictures keep their times. There
    is no sound, and no file without a picture.
    """

    def __init__(self, out: Path, fps: float, keep: tuple[type[BaseException], ...] = ()) -> None:
        self._out, self._keep = out, keep
        self._rate = max(Fraction(fps).limit_denominator(1001), Fraction(1))  # the encoder's idea; times say when
        self._open = ExitStack()
        self._container: Any = None
        self._stream: Any = None
        self._last = -1
        self.written = False
        """Whether the file is there, whole."""

    def add(self, seconds: float, picture: np.ndarray, caption: str) -> None:
        """A picture, uint8 (H, W, 3), shown from `seconds` on, which is later than the one before."""
        page = captioned(enlarged(picture), caption)
        if self._stream is None:
            self._stream = self._begin(*page.shape[:2])
        frame = av.VideoFrame.from_ndarray(page, format="rgb24")
        self._last = max(round(seconds * _TICKS), self._last + 1)
        frame.pts, frame.time_base = self._last, Fraction(1, _TICKS)
        self._container.mux(self._stream.encode(frame))

    def _begin(self, height: int, width: int) -> Any:
        self._open.enter_context(files.folder_of(self._out))
        part = self._open.enter_context(files.replacing(self._out))
        self._container = self._open.enter_context(av.open(str(part), "w", format="mp4"))
        stream = self._container.add_stream("libx264", rate=self._rate, options={"preset": "veryfast"})
        stream.height, stream.width, stream.pix_fmt = height, width, "yuv420p"
        stream.codec_context.time_base = Fraction(1, _TICKS)
        self._open.callback(lambda: self._container.mux(stream.encode(None)))
        return stream

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None or isinstance(error, self._keep):
            self._open.close()
            self.written = self._stream is not None
        else:
            self._open.__exit__(kind, error, trace)


def draw(video: Video, out: Path, caption: Callable[[float], str], until: float | None = None) -> None:
    """Write a video once more with the caption of each moment, in seconds, up to `until` where it is given."""
    times = video.times
    count = len(times) if until is None else int(np.searchsorted(times, until))
    with Overlay(out, video.fps) as overlay:
        pictures = video.each(range(count), short_side=drawn_side(video.short_side))
        for seconds, picture in zip(times.tolist(), pictures, strict=False):
            overlay.add(seconds, picture, caption(seconds))
