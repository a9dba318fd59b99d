"""A camera or an address as frames that come when they come; the one place where an address is opened.

Only what the user named is opened, and by few protocols and formats: a playlist, which names other addresses, is none.
"""

import errno
import re
import stat
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import av
import numpy as np
from av.stream import Disposition
from av.video.reformatter import VideoReformatter

from mvit.data.limits import OWN
from mvit.data.opening import SURPRISES
from mvit.data.stream import turn
from mvit.data.video import scaled_size, upright

SCHEMES = ("rtsp", "rtsps", "http", "https")
OPENING_SECONDS, SILENCE_SECONDS = 10.0, 5.0
"""How long an address may take to answer, and then be silent, before it counts as gone: reading cannot be stopped."""
LIMITS = replace(
    OWN, formats=("rtsp", "mpegts", "mpjpeg", "mjpeg", "mov", "mp4", "matroska", "webm", "flv", "video4linux2")
)
_PROTOCOLS = "rtsp,rtsps,rtp,srtp,udp,tcp,tls,http,https,httpproxy"
_CLOCKLESS = ("mjpeg", "mpjpeg")
"""Formats whose time stamps FFmpeg makes up."""
_DEVICE = re.compile(r"/dev/video\d+")
_LONGEST_GAP = 1_000
"""Packets in a row that may give no picture before the source counts as damaged."""


class LostSource(ValueError):  # noqa: N818 (a state of the source, named as users meet it)
    """A camera or address that gives no pictures, or no more."""

    def __init__(self, source: str, reason: str) -> None:
        super().__init__(f"{shown(source)} cannot be watched: {reason}")
        self.reason = reason


def is_address(source: str) -> bool:
    """Whether a source is an address; raises ValueError for one of another protocol."""
    scheme, found, _ = source.partition("://")
    if not found:
        return False
    if scheme.lower() not in SCHEMES:
        raise ValueError(
            f"{shown(source)} begins with {scheme}://: what can be watched is a file, a camera such as /dev/video0, or "
            f"an address of {', '.join(f'{scheme}://' for scheme in SCHEMES)}"
        )
    return True


def is_camera(source: str) -> bool:
    """Whether a source is a camera of this machine, by its name or by a link to it (/dev/v4l/by-id/...)."""
    return bool(_DEVICE.fullmatch(source) or _DEVICE.fullmatch(str(Path(source).resolve())))


def require_there(camera: str) -> None:
    """Raise ``LostSource`` for a camera that this machine has not."""
    if not (Path(camera).exists() and stat.S_ISCHR(Path(camera).stat().st_mode)):
        raise LostSource(camera, "there is no such camera: ls /dev/video* shows those of this machine")


def shown(source: str) -> str:
    """A source as it may be printed: without the password of an address, nor what stands after its question mark."""
    if "://" not in source:
        return source
    return re.sub(r"\?.*", "?***", re.sub(r"(?<=://)([^/@:]*):[^/@]*@", r"\1:***@", source), flags=re.DOTALL)


class LiveStream:
    """An open camera or address: iterate over it for (seconds, picture); a context manager.

    Seconds are those of the source's own clock, which begins anywhere, None where it has none; pictures are uint8
    (H, W, 3), RGB, upright, of a short side. What the decoder finds damaged is left out and counted. Raises
    LostSource for what cannot be opened, sends nothing for `SILENCE_SECONDS`, breaks off or changes its size; where
    a source ends, so does the iteration.
    """

    def __init__(self, source: str, short_side: int) -> None:
        self.source = source
        self.damaged = self.left_out = 0
        """Packets or pictures that were damaged, and that were left out for being late."""
        self._short_side = short_side
        self._late = False
        self._container: Any = None
        try:
            self._open()
        except BaseException:
            self.close()
            raise

    def _open(self) -> None:
        if camera := is_camera(self.source):
            require_there(self.source)
        options = {
            "format_whitelist": ",".join(LIMITS.formats),
            "codec_whitelist": ",".join(LIMITS.codecs),
            "max_pixels": str(LIMITS.pixels),
        }
        if not camera:  # UDP only where the source offers nothing else: what it loses shows as damage
            options |= {"protocol_whitelist": _PROTOCOLS, "rtsp_flags": "prefer_tcp"}
        try:
            self._container = av.open(
                self.source,
                format="video4linux2" if camera else None,
                options=options,
                timeout=(OPENING_SECONDS, SILENCE_SECONDS),
                metadata_errors="replace",
            )
        except SURPRISES as error:
            raise LostSource(self.source, _reason(error)) from None  # FFmpeg's words hold the password
        streams = [s for s in self._container.streams.video if not s.disposition & Disposition.attached_pic]
        codec = streams[0].codec_context if streams else None
        if codec is None or codec.name not in LIMITS.codecs:
            raise LostSource(self.source, "it holds no video of a codec that is allowed")
        if not 0 < codec.width * codec.height <= LIMITS.pixels:
            size = f"{codec.width}x{codec.height}"
            raise LostSource(self.source, f"its pictures are {size}; 1 to {LIMITS.pixels:,} pixels are due")
        codec.options = {name: options[name] for name in ("codec_whitelist", "max_pixels")}
        codec.thread_count = 1
        self._stream, self._size = streams[0], (codec.width, codec.height)

    @property
    def is_recording(self) -> bool:
        """Whether it says how long it is: then it comes as fast as it is taken, and its end is an end."""
        return bool(self._container.duration and self._container.duration > 0)

    @property
    def short_side(self) -> int:
        """Of its pictures as they come, in pixels."""
        return min(self._size)

    def hurry(self) -> None:
        """Go on with the next key frame: what was decoded last was too old to be of use."""
        self._late = True

    def __iter__(self) -> Iterator[tuple[float | None, np.ndarray]]:
        reformatter, barren = VideoReformatter(), 0
        has_clock = self._container.format.name not in _CLOCKLESS
        for packet in self._packets():
            if self._late and packet.size and not packet.is_keyframe:
                self.left_out += 1
                continue
            self._late = False
            barren += 1
            if barren > _LONGEST_GAP:
                raise LostSource(self.source, f"{_LONGEST_GAP:,} packets in a row gave no whole picture")
            try:
                frames = self._stream.codec_context.decode(packet)
            except SURPRISES:
                self.damaged += 1
                continue
            for frame in frames:
                if frame.is_corrupt:
                    self.damaged += 1
                    continue
                barren = 0
                if (frame.width, frame.height) != self._size:
                    raise LostSource(self.source, f"its pictures are now {frame.width}x{frame.height}")
                size = scaled_size(*self._size, self._short_side)
                yield frame.time if has_clock else None, upright(reformatter, frame, size, turn(frame))

    def _packets(self) -> Iterator[Any]:
        packets = self._container.demux(self._stream)
        while True:
            try:
                packet = next(packets)
            except StopIteration:
                return
            except SURPRISES as error:
                raise LostSource(self.source, _reason(error)) from None
            yield packet  # the last one is empty, and has the decoder give what it still holds

    def close(self) -> None:
        """Close it."""
        if self._container is not None:
            self._container.close()
            self._container = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _reason(error: Exception) -> str:
    if isinstance(error, av.error.ExitError):
        return "no data came for too long"
    if isinstance(error, av.error.ArgumentError | av.error.InvalidDataError):
        return "it is no video stream that may be opened; of a playlist, name the address of the stream itself"
    if isinstance(error, OSError) and error.errno == errno.EIO:
        return "it is not there, or its connection broke off"
    return str(getattr(error, "strerror", None) or type(error).__name__).lower()
