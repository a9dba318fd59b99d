"""One look at one file: what it holds or why it cannot be read, what its header promises, and how it looks, tiny."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mvit.data.members import size_and_change
from mvit.data.opening import why
from mvit.data.video import UnreadableVideo, Video, VideoFacts

COARSE, FINE = 8, 16  # grey levels a side: of the first, middle and last frame, and of the middle one again
COARSE_BYTES = 3 * COARSE**2
THUMBNAIL_BYTES = COARSE_BYTES + FINE**2
_SHORT_SIDE = 64  # pixels that thumbnails are made from
# Headers count a frame or two that no decoder gives, and sound may end after the pictures: less than this is no news.
_MISSING_SHARE, _MISSING_FRAMES, _MISSING_SECONDS = 0.05, 2, 0.5


@dataclass(frozen=True, kw_only=True, slots=True)
class Look:
    """What a file of this size and age was found to hold: `facts`, or the `reason` why there are none.

    `short` says how many frames less came than the header promises; such a file can be used as far as it goes.
    `thumbnail` holds the first, middle and last frame in 8 x 8 grey levels each, and the middle one in 16 x 16.
    `lasting` tells whether the outcome is that of the file, and not of the moment (memory, permissions).
    """

    size_bytes: int = 0
    mtime_ns: int = 0
    facts: VideoFacts | None = None
    reason: str = ""
    container: str = ""
    codec: str = ""
    rotation_degrees: int = 0
    mirrored: bool = False
    short: str = ""
    thumbnail: bytes = b""
    lasting: bool = True

    def is_of(self, path: Path) -> bool:
        """Whether the file is still as it was when it was looked at, by size and time of its last change."""
        try:
            return size_and_change(path) == (self.size_bytes, self.mtime_ns)
        except OSError:
            return False


def look(path: Path) -> Look:
    """Open a file and decode its first, middle and last frame; raises nothing that a file can cause."""
    try:
        size, mtime = size_and_change(path)
    except OSError as error:
        return Look(reason=why(error), lasting=False)
    try:
        with Video(path) as video:
            header = video.header
            numbers = [0, video.frames // 2, video.frames - 1]
            pictures = video.read(numbers, short_side=min(_SHORT_SIDE, video.short_side))
            degrees, mirrored = video.rotation
            return Look(
                size_bytes=size,
                mtime_ns=mtime,
                facts=video.facts,
                container=header.container,
                codec=header.codec,
                rotation_degrees=degrees,
                mirrored=mirrored,
                short=shortfall(header.frames, header.packets, header.seconds, video.duration_seconds),
                thumbnail=thumbnail(pictures),
            )
    except UnreadableVideo as error:
        passing = isinstance(error.__cause__, OSError | MemoryError)
        return Look(size_bytes=size, mtime_ns=mtime, reason=error.reason, lasting=not passing)
    except OSError as error:
        return Look(reason=why(error), lasting=False)


def shortfall(frames: int | None, came: int, seconds: float | None, lasted: float) -> str:
    """What is said of a file whose header promises more `frames` than `came`, or where it tells no count, `seconds`.

    Nothing where the header promises nothing, or no more than 5 % and 2 frames (half a second) too much.
    """
    if frames is not None:
        missing = frames - came
        if missing > max(_MISSING_FRAMES, _MISSING_SHARE * frames):
            return f"its header promises {frames:,} frames, {came:,} came"
    elif seconds is not None and seconds - lasted > max(_MISSING_SECONDS, _MISSING_SHARE * seconds):
        return f"its header promises {seconds:.1f} s, {lasted:.1f} s came"
    return ""


def thumbnail(frames: np.ndarray) -> bytes:
    """Three frames (3, H, W, 3) uint8 as 3 * 8 * 8 grey levels, means over equal parts, and the middle as 16 * 16."""
    grey = frames.astype(np.float32).mean(axis=3)
    return _parts(grey, COARSE) + _parts(grey[1:2], FINE)


def _parts(grey: np.ndarray, side: int) -> bytes:
    rows, columns = _shares(grey.shape[1], side), _shares(grey.shape[2], side)
    return np.round(rows @ grey @ columns.T).astype(np.uint8).tobytes()


def _shares(length: int, side: int) -> np.ndarray:
    """How much of each of `length` pixels goes into each of `side` equal parts: (side, length), rows sum to 1."""
    edges = np.linspace(0, length, side + 1)
    pixels = np.arange(length)
    overlap = np.minimum(edges[1:, None], pixels + 1) - np.maximum(edges[:-1, None], pixels)
    shares = np.clip(overlap, 0, None).astype(np.float32)
    return shares / shares.sum(axis=1, keepdims=True)
