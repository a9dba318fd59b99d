"""The pictures of one file, by number: opened guarded, indexed by time stamp, decoded from the nearest key frame.

Part of `video`; nothing else needs to know of it.
"""

import re
from collections.abc import Container, Iterable, Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from itertools import chain
from pathlib import Path
from time import monotonic
from typing import Any

import av
import numpy as np
from av.sidedata.sidedata import Type as SideData
from av.stream import Disposition

from mvit.data.limits import Limits
from mvit.data.opening import SURPRISES, Header, Nameless, NotAllowed, OutOfTime, UnreadableVideo, open_regular

_PACKET_MEMORY = 2**26  # bytes of packets kept between indexing and decoding; longer files are read twice
_PACKET_OVERHEAD = 700  # bytes that a packet takes beside its data
# Where FFmpeg can be told to leave out frames that no other refers to, without a change to any other frame. (What HEVC
# calls non-reference may be referred to by a higher temporal layer.)
_SKIPPABLE = ("h264",)
_STILLS = ("mjpeg", "png", "bmp", "webp")


class Miscounted(Exception):  # noqa: N818 (caught by Video)
    """The decoder gave other frames than the packets' time stamps announce."""


class PictureStream:
    """The first video stream of an open file.

    The file is demultiplexed once for the time stamp of every frame (headers are often wrong), then decoded from the
    key frame at or before each wanted frame. Files whose time stamps do not describe their frames (packed B-frames in
    AVI, no time stamps) are decoded from the start, and counted so when the count is first asked for.
    """

    def __init__(self, path: Path, threads: int, limits: Limits) -> None:
        self.path = path
        self.limits = limits
        self._threads = threads
        self._container: Any = None
        self._stream: Any = None
        self._packets: list[Any] = []
        self._damaged = False
        self._file = open_regular(path, limits)
        try:
            self.start_clock()
            self._open()
            self._index()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        self._packets = []
        if self._container is not None:
            self._container.close()
        self._container = self._stream = None  # they know of this object: decoders would wait for the collector
        self._file.close()

    def start_clock(self) -> None:
        """A new call: it may take as many seconds as the limits allow."""
        self._deadline = monotonic() + self.limits.seconds

    def tick(self) -> None:
        if monotonic() > self._deadline:
            raise OutOfTime(self.path, f"it takes longer than the {self.limits.seconds:g} s allowed")

    @contextmanager
    def guard(self, what: str = "its data are damaged") -> Iterator[None]:
        """Turn what PyAV raises into UnreadableVideo."""
        try:
            yield
        except UnreadableVideo:
            raise
        except MemoryError as error:
            raise UnreadableVideo(self.path, f"{what} (out of memory)") from error
        except SURPRISES as error:
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
        if self.in_order:
            yield from self._by_order(wanted)
            return
        done = 0
        if self._skips:
            try:
                for rank, frame in self._by_time_stamp(wanted, skip=True):
                    yield rank, frame
                    done = rank + 1
                return
            except (Miscounted, *SURPRISES):
                self._skips = False  # whatever it is, it must be so without skipping, too
        for rank, frame in self._by_time_stamp(wanted[done:], skip=False):
            yield done + rank, frame

    def _open(self) -> None:
        if self._container is not None:
            self._container.close()
        self._file.seek(0)
        options = {
            "format_whitelist": ",".join(self.limits.formats),
            "protocol_whitelist": "file",
            "codec_whitelist": ",".join(self.limits.codecs),
            "max_pixels": str(self.limits.pixels),
        }
        with self.guard("it is no video or image that can be opened, or it is damaged"):
            # metadata_errors: comments need not be UTF-8.
            try:
                self._container = av.open(Nameless(self._file, self.tick), options=options, metadata_errors="replace")
            except av.ArgumentError:  # FFmpeg says so of formats outside the list alone, before it reads their headers
                formats = ", ".join(name.removesuffix("_pipe") for name in self.limits.formats)
                raise NotAllowed(self.path, f"its format is not among those allowed: {formats}") from None
            moving = [s for s in self._container.streams.video if not s.disposition & Disposition.attached_pic]
            if not moving:
                raise UnreadableVideo(self.path, "it holds no video, only sound or text")
            if moving[0].disposition & Disposition.dependent:  # each tile is a stream: the first is a corner of it
                raise NotAllowed(self.path, "it is a picture in tiles, as HEIC files of phones are: make a JPEG of it")
            # Some writers store a cover as the first stream without saying what it is.
            self._stream = next(
                (s for s in moving if s.codec_context is not None and s.codec_context.name not in _STILLS), moving[0]
            )
            codec = self._stream.codec_context
            if codec is None or codec.name not in self.limits.codecs:
                name = "unknown" if codec is None else codec.name
                codecs = ", ".join(self.limits.codecs)
                raise NotAllowed(self.path, f"its codec ({name}) is not among those allowed: {codecs}")
            codec.options = {name: options[name] for name in ("codec_whitelist", "max_pixels")}
            codec.thread_count = self._threads
            if codec.width < 1 or codec.height < 1:
                # FFmpeg says no size of what is beyond max_pixels where the file's pictures alone say it.
                beyond = (
                    f"it does not say how large its pictures are, or they have more than {self.limits.pixels:,} pixels"
                )
                if codec.name == "webp":  # in an animated one its decoder finds no picture
                    beyond += ", or it is an animated WebP, which is not decoded: make an MP4 of it"
                raise UnreadableVideo(self.path, beyond)
            if codec.width * codec.height > self.limits.pixels:
                size = f"{codec.width}x{codec.height}"
                raise UnreadableVideo(self.path, f"its pictures are {size}, more than {self.limits.pixels:,} pixels")

    def _index(self) -> None:
        stream, codec = self._stream, self._stream.codec_context
        self.index, self.size = int(stream.index), (codec.width, codec.height)
        self.time_base = stream.time_base or Fraction(1, 90_000)
        self.header_fps = float(stream.average_rate or stream.guessed_rate or 25)
        self._starts: dict[int | None, int] = {}  # time stamp of a key frame -> number of its packet
        kept_bytes, count, reordered = 0, 0, False
        shown: list[int | None] = []
        with self.guard():
            for packet in self._container.demux(stream):
                if not packet.size:
                    continue
                if packet.is_keyframe:
                    self._starts[packet.pts] = count
                count += 1
                if count > self.limits.frames:
                    at_once = (
                        " at once; ask for some of them" if self.limits.frames <= self.limits.answer_frames else ""
                    )
                    reason = f"it has more than the {self.limits.frames:,} frames allowed{at_once}"
                    raise UnreadableVideo(self.path, reason)
                if not packet.is_discard:  # an edit list says not to show it
                    shown.append(packet.pts)
                    reordered = reordered or packet.pts != packet.dts
                kept_bytes += packet.size + _PACKET_OVERHEAD
                if kept_bytes <= _PACKET_MEMORY:
                    self._packets.append(packet)
                elif self._packets:
                    self._packets = []
                self.tick()
        if not shown:
            raise UnreadableVideo(self.path, "it holds not one frame")
        self.announced, self._packet_count = len(shown), count
        # AVI stores no presentation times; FFmpeg's guess is a frame off when frames are reordered.
        guessed = self._container.format.name == "avi" and bool(codec.has_b_frames)
        hidden = codec.name == "vp8"  # some of its packets hold frames that are never shown
        keys = _increasing(list(self._starts))
        stamps = _increasing(sorted(shown)) if None not in shown else None  # type: ignore[type-var]
        # Frames before the first key frame lack what they refer to, and may not come out of the decoder.
        self.in_order = bool(
            guessed or hidden or stamps is None or keys is None or not len(keys) or stamps[0] < keys[0]
        )
        self._pts = None if self.in_order else stamps
        self._keys = keys if keys is not None else np.empty(0, np.int64)
        # Where times of decoding stand for those of showing, only looking at every frame finds out.
        self._skips = codec.name in _SKIPPABLE and (reordered or not codec.has_b_frames)

    @property
    def pts(self) -> np.ndarray:
        """The time stamp of every frame, int64 (frames,); decodes everything where packets do not tell."""
        if self._pts is None:
            self.start_clock()
            self.count_by_decoding()
        assert self._pts is not None
        return self._pts

    def count_by_decoding(self) -> None:
        """Give up the packets' time stamps: decode everything once, and from now on from the start."""
        shown, damage = self._decode_all()
        if damage is not None:
            raise damage
        if not shown:
            raise UnreadableVideo(self.path, "no frame of it can be decoded")
        self._count_as(shown)

    def count_good(self) -> int:
        """How many frames come before the first that is damaged; from now on there are no others."""
        shown, damage = self._decode_all()
        if shown and damage is not None:
            self._count_as(shown)
        return len(shown)

    def _decode_all(self) -> tuple[list[int | None], UnreadableVideo | None]:
        shown: list[int | None] = []
        try:
            with self.guard():
                shown.extend(frame.pts for frame in self._run(None))
        except OutOfTime:
            raise
        except UnreadableVideo as damage:
            self._damaged = True
            return shown, damage
        return shown, None

    def _count_as(self, shown: list[int | None]) -> None:
        self.in_order = True
        stamps = _increasing(shown)
        if stamps is None:
            stamps, self.time_base = np.arange(len(shown)), 1 / Fraction(self.header_fps)
        self._pts = stamps

    def _by_order(self, wanted: np.ndarray) -> Iterator[tuple[int, Any]]:
        rank = 0
        for number, frame in enumerate(self._run(None)):
            if number == wanted[rank]:
                yield rank, frame
                rank += 1
                if rank == len(wanted):
                    return
        raise Miscounted

    def _by_time_stamp(self, wanted: np.ndarray, skip: bool) -> Iterator[tuple[int, Any]]:
        """Start at the key frame before each wanted frame, unless decoding on gets there as soon.

        Every frame on the way is checked; with `skip` the wanted ones are, and others are decoded only where needed.
        """
        stamps, rank = self.pts[wanted], 0
        needed = set(stamps.tolist()) if skip else None
        while rank < len(stamps):
            key = self._key_before(stamps[rank])
            # After a jump, pictures shown before the key frame lack what they refer to.
            base = self.pts[0] if key == self._keys[0] else key
            number, last = int(np.searchsorted(self.pts, base)), base - 1
            for frame in self._run(key, needed):
                if frame.pts is not None and frame.pts < base:
                    continue
                # What a decoder makes up in place of damaged data depends on what it decoded before.
                if frame.pts is None or frame.is_corrupt:
                    raise Miscounted
                if skip and last < frame.pts < stamps[rank]:
                    last = frame.pts
                    continue
                if frame.pts != (stamps[rank] if skip else self.pts[number] if number < len(self.pts) else None):
                    raise Miscounted
                number, last = number + 1, frame.pts
                if frame.pts == stamps[rank]:
                    yield rank, frame
                    rank += 1
                    if rank == len(stamps) or self._key_before(stamps[rank]) > self._last_key:
                        break
            else:
                raise Miscounted

    def _key_before(self, stamp: int) -> int:
        return int(self._keys[max(int(np.searchsorted(self._keys, stamp, side="right")) - 1, 0)])

    def _run(self, key: int | None, needed: Container[int] | None = None) -> Iterator[Any]:
        """Every frame from the key frame with this time stamp on (None: from the first packet).

        With `needed`, time stamps, frames that are not among them and to which none refers may be missing.
        """
        if self._damaged:
            self._open()  # a decoder that met damage fills gaps from what it remembers
            self._damaged = False
        packets = self._packets_from(key)
        codec = self._stream.codec_context
        if codec.is_open:
            codec.flush_buffers()
        codec.skip_frame = "DEFAULT"
        for packet in packets:
            if not packet.size:
                continue
            self.tick()
            if packet.is_keyframe:
                self._last_key = packet.pts
            if needed is not None:
                codec.skip_frame = "DEFAULT" if packet.pts in needed else "NONREF"
            for frame in codec.decode(packet):
                self._damaged |= frame.is_corrupt
                yield frame
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
