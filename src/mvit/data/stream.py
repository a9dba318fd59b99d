"""The pictures of one file, by number: opened guarded, indexed by time stamp, decoded from the nearest key frame.

Part of `video`; nothing else needs to know of it but `UnreadableVideo`.
"""

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO

import av
import numpy as np
from av.sidedata.sidedata import Type as SideData
from av.stream import Disposition

av.logging.set_level(None)

# What may be opened at all. Playlists (concat, hls) would read other files than the one named, and image2 expands
# patterns in names; rarely used decoders are where FFmpeg's memory errors are found.
FORMATS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,flv,ogg,asf,gif,jpeg_pipe,png_pipe,webp_pipe,bmp_pipe"
CODECS = (
    "h264,hevc,vvc,vp8,vp9,libdav1d,av1,mpeg4,mpeg2video,mpeg1video,h263,flv,mjpeg,msmpeg4v2,msmpeg4,wmv1,wmv2,wmv3,vc1,"
    "theora,prores,rawvideo,ffv1,qtrle,gif,png,webp,bmp"
)
MAX_PIXELS = 2**26  # of one frame; a 400 kB file of 8192x8192 black frames would fill any memory otherwise
MAX_FRAMES = 5_000_000  # 46 hours at 30 frames a second
_PACKET_MEMORY = 2**26  # compressed bytes kept between indexing and decoding; longer files are read twice

# What PyAV raises on broken files: FFmpeg's own, and Python's from its bindings (metadata, missing codec contexts).
_SURPRISES = (av.FFmpegError, OSError, UnicodeError, MemoryError, LookupError, ValueError, RuntimeError, AttributeError)


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


class Miscounted(Exception):  # noqa: N818 (caught by Video)
    """The decoder gave other frames than the packets' time stamps announce."""


class PictureStream:
    """The first video stream of an open file.

    The file is demultiplexed once for the time stamp of every frame (headers are often wrong), then decoded from the
    key frame at or before each wanted frame. Files whose time stamps do not describe their frames (packed B-frames in
    AVI, no time stamps) are decoded from the start and counted.
    """

    def __init__(self, path: Path, threads: int) -> None:
        self.path = path
        self._threads = threads
        self._container: Any = None
        self._packets: list[Any] = []
        try:
            if path.exists() and not path.is_file():  # opening a named pipe would wait for ever
                raise UnreadableVideo(path, "it is a folder" if path.is_dir() else "it is no regular file")
            self._file = path.open("rb")
        except FileNotFoundError:
            raise FileNotFoundError(f"there is no file {path}") from None
        except OSError as error:
            raise UnreadableVideo(path, (error.strerror or str(error)).lower()) from error
        try:
            if self._file.seek(0, os.SEEK_END) == 0:
                raise UnreadableVideo(path, "the file is empty")
            self._open()
            self._index()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        self._packets = []
        if self._container is not None:
            self._container.close()
        self._file.close()

    @contextmanager
    def guard(self, what: str = "its data are damaged") -> Iterator[None]:
        """Turn what PyAV raises into UnreadableVideo."""
        try:
            yield
        except UnreadableVideo:
            raise
        except MemoryError as error:
            raise UnreadableVideo(self.path, f"{what} (out of memory)") from error
        except _SURPRISES as error:
            detail = getattr(error, "strerror", None) or type(error).__name__
            raise UnreadableVideo(self.path, f"{what} ({detail})") from error

    @property
    def header(self) -> Header:
        """What the file says of itself."""
        container, stream = self._container, self._stream
        clock = re.fullmatch(r"(\d{1,6}):(\d\d):(\d\d(?:\.\d{1,9})?)", stream.metadata.get("DURATION", ""))
        seconds = None
        if clock:  # of this stream, as Matroska has it
            seconds = int(clock[1]) * 3600 + int(clock[2]) * 60 + float(clock[3])
        elif container.duration and len(container.streams) == 1:  # otherwise the sound's, perhaps
            seconds = container.duration / 1e6
        return Header(
            container.format.name, stream.codec_context.name, stream.frames or None, seconds, self._packet_count
        )

    def pictures(self, wanted: np.ndarray) -> Iterator[tuple[int, Any]]:
        """(rank in `wanted`, decoded frame) for sorted frame numbers without repeats; raises Miscounted."""
        return self._by_order(wanted) if self._in_order else self._by_time_stamp(wanted)

    def _open(self) -> None:
        if self._container is not None:
            self._container.close()
        self._file.seek(0)
        options = {
            "format_whitelist": FORMATS,
            "protocol_whitelist": "file",
            "codec_whitelist": CODECS,
            "max_pixels": str(MAX_PIXELS),
        }
        with self.guard("it is no video or image that can be opened, or it is damaged"):
            # metadata_errors: comments need not be UTF-8.
            self._container = av.open(_Nameless(self._file), options=options, metadata_errors="replace")
            moving = [s for s in self._container.streams.video if not s.disposition & Disposition.attached_pic]
            if not moving:
                raise UnreadableVideo(self.path, "it holds no video, only sound or text")
            self._stream: Any = moving[0]
            codec = self._stream.codec_context
            if codec is None or codec.name not in CODECS.split(","):
                name = "unknown" if codec is None else codec.name
                raise UnreadableVideo(self.path, f"its codec ({name}) is not among those allowed")
            codec.options = {"codec_whitelist": CODECS, "max_pixels": str(MAX_PIXELS)}
            codec.thread_count = self._threads
            if codec.width < 1 or codec.height < 1:
                raise UnreadableVideo(self.path, "it does not say how large its pictures are")
            if codec.width * codec.height > MAX_PIXELS:
                size = f"{codec.width}x{codec.height}"
                raise UnreadableVideo(self.path, f"its pictures are {size}, more than {MAX_PIXELS} pixels")

    def _index(self) -> None:
        stream, codec = self._stream, self._stream.codec_context
        self.size = (codec.width, codec.height)
        self.time_base = stream.time_base or Fraction(1, 90_000)
        self.header_fps = float(stream.average_rate or stream.guessed_rate or 25)
        self._starts: dict[int | None, int] = {}  # time stamp of a key frame -> number of its packet
        kept_bytes, count = 0, 0
        shown: list[int | None] = []
        with self.guard():
            for packet in self._container.demux(stream):
                if not packet.size:
                    continue
                if packet.is_keyframe:
                    self._starts[packet.pts] = count
                count += 1
                if count > MAX_FRAMES:
                    raise UnreadableVideo(self.path, f"it has more than {MAX_FRAMES} frames")
                if not packet.is_discard:  # an edit list says not to show it
                    shown.append(packet.pts)
                kept_bytes += packet.size
                if kept_bytes <= _PACKET_MEMORY:
                    self._packets.append(packet)
            if kept_bytes > _PACKET_MEMORY:
                self._packets = []
        self._packet_count = count
        # AVI stores no presentation times; FFmpeg's guess is a frame off when frames are reordered.
        guessed = self._container.format.name == "avi" and bool(codec.has_b_frames)
        hidden = codec.name == "vp8"  # some of its packets hold frames that are never shown
        keys = _increasing(list(self._starts))
        stamps = _increasing(sorted(shown)) if None not in shown else None  # type: ignore[type-var]
        # Frames before the first key frame lack what they refer to, and may not come out of the decoder.
        if (
            guessed
            or hidden
            or stamps is None
            or keys is None
            or not min(len(stamps), len(keys))
            or stamps[0] < keys[0]
        ):
            self.count_by_decoding()
        else:
            self.pts, self._keys, self._in_order = stamps, keys, False

    def count_by_decoding(self) -> None:
        """Give up the packets' time stamps: decode everything once, and from now on from the start."""
        self._in_order = True
        with self.guard():
            shown = [frame.pts for frame in self._run(None)]
        if not shown:
            raise UnreadableVideo(self.path, "no frame of it can be decoded")
        stamps = _increasing(shown)
        if stamps is None:
            stamps, self.time_base = np.arange(len(shown)), 1 / Fraction(self.header_fps)
        self.pts = stamps

    def _by_order(self, wanted: np.ndarray) -> Iterator[tuple[int, Any]]:
        rank = 0
        for number, frame in enumerate(self._run(None)):
            if number == wanted[rank]:
                yield rank, frame
                rank += 1
                if rank == len(wanted):
                    return
        raise Miscounted

    def _by_time_stamp(self, wanted: np.ndarray) -> Iterator[tuple[int, Any]]:
        """Start at the key frame before each wanted frame, unless decoding on gets there as soon; check every frame."""
        stamps, rank = self.pts[wanted], 0
        while rank < len(stamps):
            key = self._key_before(stamps[rank])
            # After a jump, pictures shown before the key frame lack what they refer to.
            base = self.pts[0] if key == self._keys[0] else key
            number = int(np.searchsorted(self.pts, base))
            for frame in self._run(key):
                if frame.pts is not None and frame.pts < base:
                    continue
                if number == len(self.pts) or frame.pts != self.pts[number]:
                    raise Miscounted
                number += 1
                if frame.pts == stamps[rank]:
                    yield rank, frame
                    rank += 1
                    if rank == len(stamps) or self._key_before(stamps[rank]) > self._last_key:
                        break
            else:
                raise Miscounted

    def _key_before(self, stamp: int) -> int:
        return int(self._keys[max(int(np.searchsorted(self._keys, stamp, side="right")) - 1, 0)])

    def _run(self, key: int | None) -> Iterator[Any]:
        """Every frame from the key frame with this time stamp on (None: from the first packet)."""
        packets = self._packets_from(key)
        codec = self._stream.codec_context
        if codec.is_open:
            codec.flush_buffers()
        for packet in packets:
            if not packet.size:
                continue
            if packet.is_keyframe:
                self._last_key = packet.pts
            yield from codec.decode(packet)
        yield from codec.decode(None)

    def _packets_from(self, key: int | None) -> Iterable[Any]:
        start = 0 if key is None else self._starts[key]
        if self._packets:
            return self._packets[start:]
        if start:
            self._container.seek(key, stream=self._stream)
            packets = self._container.demux(self._stream)
            first = next(packets)
            if first.is_keyframe and first.pts is not None and first.pts <= key:
                return chain([first], packets)
        self._open()  # from the start, where seeking does not land before the key frame
        return self._container.demux(self._stream)


class _Nameless:
    """A file without its name, by which FFmpeg would guess the format (and expand patterns)."""

    def __init__(self, file: BinaryIO) -> None:
        self.read, self.seek, self.tell = file.read, file.seek, file.tell


def _increasing(stamps: Sequence[int | None]) -> np.ndarray | None:
    """The stamps as an array, or None unless all are there and each is later than the one before."""
    known = np.array([stamp for stamp in stamps if stamp is not None], np.int64)
    return known if len(known) == len(stamps) and bool(np.all(known[1:] > known[:-1])) else None


def turn(frame: Any) -> tuple[bool, bool, bool]:
    """Whether to transpose, mirror horizontally and mirror vertically, from the frame's display matrix."""
    matrix = frame.side_data.get(SideData.DISPLAYMATRIX)
    if matrix is None:
        return False, False, False
    a, b, _, c, d = np.frombuffer(bytes(matrix), np.int32)[:5].tolist()  # x' = ax + cy, y' = bx + dy
    if abs(b) + abs(c) > abs(a) + abs(d):
        return True, c < 0, b < 0
    return False, a < 0, d < 0
