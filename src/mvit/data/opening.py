"""Files from anyone, opened without waiting, without a name and without reading another one; what is refused says why.

Part of `video`; nothing else needs to know of it but `UnreadableVideo` and `why`.
"""

import os
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import av
from av.sidedata.sidedata import Type as SideData

from mvit.data import members
from mvit.data.limits import Limits

av.logging.set_level(None)

# What PyAV raises on broken files: FFmpeg's own, and Python's from its bindings (metadata, missing codec contexts).
SURPRISES = (av.FFmpegError, OSError, UnicodeError, MemoryError, LookupError, ValueError, RuntimeError, AttributeError)


def _unknown_side_data(kind: type[SideData], value: int) -> SideData:
    member = object.__new__(kind)
    member._name_, member._value_ = f"UNKNOWN_{value}", value
    return member


# PyAV names fewer kinds of side data than its FFmpeg knows, and refuses a frame's whole side data at the first unnamed
# one: the turn of photographs (with EXIF) and of stereo films would be lost.
SideData._missing_ = classmethod(_unknown_side_data)  # type: ignore[assignment]


class UnreadableVideo(ValueError):  # noqa: N818 (a state of the file, named as users meet it)
    """A file that exists but gives no frames, or not the frames asked for."""

    def __init__(self, path: str | Path, reason: str) -> None:
        super().__init__(path, reason)  # both, so that it survives the way from a worker process
        self.path = Path(path)
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.path} cannot be read: {self.reason}"


class NotAllowed(UnreadableVideo):
    """Not the data are at fault: the format or codec is not among those that the limits allow."""


class OutOfTime(UnreadableVideo):
    """Not the data are at fault but how long they take."""


def why(error: UnreadableVideo | OSError) -> str:
    """The reason alone, for tables that name the file beside it."""
    if isinstance(error, UnreadableVideo):
        return error.reason
    if isinstance(error, FileNotFoundError):
        return "there is no such file"
    return error.strerror.lower() if error.strerror else str(error)


@dataclass(frozen=True)
class Header:
    """What a file says of itself: container, codec, and the frames and seconds it promises, None where it does not.

    `packets` came when the file was demultiplexed: what a promised count is to be held against.
    """

    container: str
    codec: str
    frames: int | None
    seconds: float | None
    packets: int


def open_regular(path: Path, limits: Limits) -> BinaryIO:
    """The file, or the member of a shard, open for reading; links are followed.

    Raises FileNotFoundError, and UnreadableVideo for what is no file.
    """
    try:
        if (member := members.opened(path)) is not None:
            return _within(member, path, member.seek(0, os.SEEK_END), limits)
        # Opening a named pipe would wait for ever, and opening some devices does things.
        if not stat.S_ISREG((found := path.stat()).st_mode):
            raise UnreadableVideo(path, "it is a folder" if stat.S_ISDIR(found.st_mode) else "it is no regular file")
        file = open(path, "rb", opener=_without_waiting)  # noqa: SIM115 (its user closes it)
    except UnreadableVideo:
        raise
    except FileNotFoundError:
        if path.is_symlink():
            raise UnreadableVideo(path, f"it is a link to {path.readlink()}, which is not there") from None
        raise FileNotFoundError(f"there is no file {path}") from None
    except OSError as error:
        raise UnreadableVideo(path, why(error)) from error
    except ValueError as error:  # a name with a null character
        raise UnreadableVideo(path, str(error)) from error
    found = os.fstat(file.fileno())
    if not stat.S_ISREG(found.st_mode):  # another one since we looked
        file.close()
        raise UnreadableVideo(path, "it is no regular file")
    return _within(file, path, found.st_size, limits)


def _within(file: BinaryIO, path: Path, size: int, limits: Limits) -> BinaryIO:
    if not size:
        reason = "the file is empty"
    elif size > limits.file_bytes:
        reason = f"the file has {size:,} bytes, more than the {limits.file_bytes:,} allowed"
    else:
        return file
    file.close()
    raise UnreadableVideo(path, reason)


def _without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


class Nameless:
    """A file without its name, by which FFmpeg would guess the format (and expand patterns); `tick` at each reading."""

    def __init__(self, file: BinaryIO, tick: Callable[[], None]) -> None:
        self.seek, self.tell = file.seek, file.tell
        self._read, self._tick = file.read, tick

    def read(self, size: int) -> bytes:
        self._tick()
        return self._read(size)
