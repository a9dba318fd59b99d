"""A folder of numbered pictures as a video: the frames that data sets are often distributed as."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from time import monotonic
from typing import Any

import av
import numpy as np

from mvit.data import numbered
from mvit.data.limits import Limits
from mvit.data.opening import SURPRISES, Header, OutOfTime, UnreadableVideo, open_regular, why

FOLDER = "folder of pictures"
"""What its container is called."""
FPS = 30.0
"""The rate assumed of a folder, which holds no time stamps: that of most cameras."""

_DECODERS = {b"\xff\xd8\xff": "mjpeg", b"\x89PNG\r\n\x1a\n": "png"}


class PictureFolder:
    """The pictures of a folder in the order that `numbered` gives them; as `stream.PictureStream`.

    All pictures must have one size, which shows when they are read.
    """

    def __init__(self, path: Path, fps: float, limits: Limits) -> None:
        self.path = path
        self.limits = limits
        self.header_fps = fps
        self.time_base = 1 / Fraction(fps).limit_denominator(1001)
        self.start_clock()
        self._names = self._numbered()
        self.announced = len(self._names)
        self.pts = np.arange(self.announced, dtype=np.int64)
        first = self._picture(0)
        self.size = (first.width, first.height)

    def close(self) -> None:
        """Nothing stays open between pictures."""

    @property
    def header(self) -> Header:
        """There is none: the pictures are what they are."""
        return Header(FOLDER, Path(self._names[0]).suffix[1:].lower(), None, None, len(self._names))

    def start_clock(self) -> None:
        """A new call: it may take as many seconds as the limits allow."""
        self._deadline = monotonic() + self.limits.seconds

    @contextmanager
    def guard(self) -> Iterator[None]:
        """Every error of a picture is named where it is opened."""
        yield

    def pictures(self, wanted: np.ndarray) -> Iterator[tuple[int, Any]]:
        """(rank in `wanted`, decoded picture) for sorted numbers without repeats."""
        for rank, number in enumerate(wanted.tolist()):
            if monotonic() > self._deadline:
                raise OutOfTime(self.path, f"it takes longer than the {self.limits.seconds:g} s allowed")
            yield rank, self._picture(number)

    def count_good(self) -> int:
        """How many pictures come before the first that cannot be read; from now on there are no others."""
        good = 0
        try:
            for _ in self.pictures(self.pts):
                good += 1
        except OutOfTime:
            raise
        except UnreadableVideo:
            self.pts = self.pts[:good]
        return good

    def _numbered(self) -> list[str]:
        names: list[str] = []
        try:
            with os.scandir(self.path) as entries:
                for entry in entries:
                    if numbered.is_picture(entry.name):
                        names.append(entry.name)
                    if len(names) > self.limits.frames:
                        raise UnreadableVideo(self.path, f"it has more than {self.limits.frames:,} pictures")
        except OSError as error:
            raise UnreadableVideo(self.path, why(error)) from error
        try:
            return numbered.in_order(names)
        except ValueError as error:
            raise UnreadableVideo(self.path, str(error)) from None

    def _picture(self, number: int) -> Any:
        name = self._names[number]
        with self._naming(name):
            with open_regular(self.path / name, self.limits) as file:
                data = file.read(self.limits.pixels * 8)  # what no picture within the limits exceeds
            codec = next((codec for head, codec in _DECODERS.items() if data.startswith(head)), "unknown")
            if codec not in self.limits.codecs:
                raise UnreadableVideo(self.path, "it is neither JPEG nor PNG")
            decoder: Any = av.CodecContext.create(codec, "r")  # a new one: flushed ones of PNG give the picture before
            decoder.options = {"max_pixels": str(self.limits.pixels)}
            decoder.thread_count = 1
            frames = [*decoder.decode(av.Packet(data)), *decoder.decode(None)]
            if not frames or frames[0].is_corrupt:
                raise UnreadableVideo(self.path, "its data are damaged")
            frame = frames[0]
            if frame.width * frame.height > self.limits.pixels:
                raise UnreadableVideo(self.path, f"it has more than {self.limits.pixels:,} pixels")
            if number and (frame.width, frame.height) != self.size:
                size = "x".join(map(str, self.size))
                raise UnreadableVideo(self.path, f"it is {frame.width}x{frame.height}, the first one {size}")
            return frame

    @contextmanager
    def _naming(self, name: str) -> Iterator[None]:
        try:
            yield
        except UnreadableVideo as error:
            raise UnreadableVideo(self.path, f"picture {name}: {error.reason}") from error
        except FileNotFoundError as error:
            raise UnreadableVideo(self.path, f"picture {name} is gone") from error
        except SURPRISES as error:
            detail = getattr(error, "strerror", None) or type(error).__name__
            raise UnreadableVideo(self.path, f"picture {name}: its data are damaged ({detail})") from error
