"""Frames from video and image files: guarded, exact to the frame, upright, decoding only what is asked for.

Stored pixels are taken as square (no decoder of the peers applies a sample aspect ratio, and neither did the training
of released weights). Time zero is the first frame shown.
"""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from itertools import chain
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

import av
import numpy as np
from av.sidedata.sidedata import Type as SideData
from av.video.reformatter import Interpolation, VideoReformatter
from numpy.typing import ArrayLike

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
MAX_READ_BYTES = 2**33  # of one answer
_PACKET_MEMORY = 2**26  # compressed bytes kept between indexing and decoding; longer files are read twice

# What PyAV raises on broken files: FFmpeg's own, and Python's from its bindings (metadata, missing codec contexts).
_SURPRISES = (av.FFmpegError, OSError, UnicodeError, MemoryError, LookupError, ValueError, RuntimeError, AttributeError)


class UnreadableVideo(ValueError):  # noqa: N818 (a state of the file, named as users meet it)
    """A file that exists but gives no frames, or not the frames asked for."""

    def __init__(self, path: str | Path, reason: str) -> None:
        super().__init__(path, reason)  # both, so that it survives the way from a worker process
        self.path = Path(path)
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.path} cannot be read: {self.reason}"


@dataclass(frozen=True)
class VideoFacts:
    """What a file holds; width and height are those of the upright picture."""

    frames: int
    fps: float
    duration_seconds: float
    width: int
    height: int


class _Mismatch(Exception):  # noqa: N818 (never leaves this file)
    """The decoder gave other frames than the packets' time stamps announce."""


class Video:
    """One open file: what it holds, and its frames by number or time; a context manager.

    The file is demultiplexed once for the time stamp of every frame (headers are often wrong), then decoded from the
    key frame at or before each wanted frame. Files whose time stamps do not describe their frames (packed B-frames in
    AVI, no time stamps) are decoded from the start and counted.
    """

    def __init__(self, path: str | os.PathLike[str], *, threads: int = 1) -> None:
        self.path = Path(path)
        self._threads = threads
        self._reformatter = VideoReformatter()
        self._turn: tuple[bool, bool, bool] | None = None
        try:
            self._file = self.path.open("rb")
        except FileNotFoundError:
            raise FileNotFoundError(f"there is no file {self.path}") from None
        except OSError as error:
            raise UnreadableVideo(self.path, (error.strerror or str(error)).lower()) from error
        try:
            if self._file.seek(0, os.SEEK_END) == 0:
                raise UnreadableVideo(self.path, "the file is empty")
            self._open()
            self._index()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; the frames already read stay valid."""
        self._packets = []
        if hasattr(self, "_container"):
            self._container.close()
        self._file.close()

    # -- what it holds ------------------------------------------------------------------------------------------------

    @property
    def frames(self) -> int:
        """How many frames there are, exactly."""
        return len(self._pts)

    @cached_property
    def times(self) -> np.ndarray:
        """When each frame is shown, in seconds from the first; float64 (frames,)."""
        return (self._pts - self._pts[0]) * float(self._time_base)

    @property
    def fps(self) -> float:
        """Frames a second on average; of a single frame what the header says."""
        span = int(self._pts[-1] - self._pts[0])
        return float((self.frames - 1) / (span * self._time_base)) if span else self._header_fps

    @property
    def duration_seconds(self) -> float:
        """From the first frame to the end of the last, which is shown for an average frame's time."""
        return float(self.times[-1]) + 1 / self.fps

    @cached_property
    def facts(self) -> VideoFacts:
        """Count, rate, duration and upright size; decodes the first frame."""
        if self._turn is None:
            self.read([0])
        assert self._turn is not None
        width, height = reversed(self._size) if self._turn[0] else self._size
        return VideoFacts(self.frames, self.fps, self.duration_seconds, width, height)

    # -- frames -------------------------------------------------------------------------------------------------------

    def read(
        self, indices: ArrayLike | None = None, times: ArrayLike | None = None, *, short_side: int | None = None
    ) -> np.ndarray:
        """Frames by number, or those shown at `times` (seconds), in the order asked for; all of them if neither.

        With `short_side` frames come scaled to it (pixels, aspect ratio kept): bilinear with the filter widened when
        shrinking, so without aliasing, as the peers' pipelines and torchvision's antialiased resize do.
        Returns uint8 (T, H, W, 3), RGB, upright. Raises ValueError for frames that do not exist, UnreadableVideo for
        damaged data.
        """
        numbers = self._numbers(indices, times)
        try:
            return self._collect(numbers, short_side)
        except _Mismatch:
            announced, self._in_order = self.frames, True
            self._count_by_decoding()
        if numbers.max() >= self.frames:
            raise UnreadableVideo(self.path, f"only {self.frames} of its {announced} frames can be decoded")
        return self._collect(self._numbers(indices, times), short_side)

    def _collect(self, numbers: np.ndarray, short_side: int | None) -> np.ndarray:
        width, height = self._size if short_side is None else _scaled(*self._size, short_side)
        if len(numbers) * width * height * 3 > MAX_READ_BYTES:
            raise ValueError(
                f"{len(numbers)} frames of {width}x{height} from {self.path} would take more than "
                f"{MAX_READ_BYTES / 2**30:.0f} GiB; ask for fewer frames or a smaller short_side"
            )
        wanted, places = np.unique(numbers, return_inverse=True)
        result: np.ndarray | None = None
        for rank, frame in self._pictures(wanted):
            with self._guard("its data are damaged"):
                picture = self._reformatter.reformat(
                    frame, width, height, "rgb24", interpolation=Interpolation.BILINEAR, threads=1
                ).to_ndarray()
            assert self._turn is not None
            picture = _upright(picture, self._turn)
            if result is None:
                result = np.empty((len(numbers), *picture.shape), np.uint8)
            result[places == rank] = picture
        assert result is not None
        return result

    def _numbers(self, indices: ArrayLike | None, times: ArrayLike | None) -> np.ndarray:
        if indices is not None and times is not None:
            raise ValueError("give indices or times, not both")
        if times is not None:
            seconds = np.atleast_1d(np.asarray(times, np.float64))
            inside = (seconds >= 0) & (seconds <= self.duration_seconds)
            if seconds.ndim != 1 or not len(seconds) or not inside.all():
                raise ValueError(
                    f"times must be a list of seconds within 0 and {self.duration_seconds:.3f}, got {times!r}"
                )
            # Half a microsecond of grace: a time computed from a frame's own time stamp must give that frame.
            return np.maximum(np.searchsorted(self.times, seconds + 5e-7, side="right") - 1, 0)
        if indices is None:
            return np.arange(self.frames)
        numbers = np.atleast_1d(np.asarray(indices))
        if numbers.ndim != 1 or not len(numbers) or numbers.dtype.kind not in "iu":
            raise ValueError(f"indices must be a list of at least one whole number, got {indices!r}")
        if numbers.min() < 0 or numbers.max() >= self.frames:
            raise ValueError(
                f"{self.path} has frames 0 to {self.frames - 1}; asked for {numbers.min()} to {numbers.max()}"
            )
        return numbers.astype(np.int64)

    # -- opening and indexing -----------------------------------------------------------------------------------------

    @contextmanager
    def _guard(self, what: str) -> Iterator[None]:
        try:
            yield
        except UnreadableVideo:
            raise
        except MemoryError as error:
            raise UnreadableVideo(self.path, f"{what} (out of memory)") from error
        except _SURPRISES as error:
            detail = getattr(error, "strerror", None) or type(error).__name__
            raise UnreadableVideo(self.path, f"{what} ({detail})") from error

    def _open(self) -> None:
        if hasattr(self, "_container"):
            self._container.close()
        self._file.seek(0)
        options = {
            "format_whitelist": FORMATS,
            "protocol_whitelist": "file",
            "codec_whitelist": CODECS,
            "max_pixels": str(MAX_PIXELS),
        }
        with self._guard("it is no video or image that can be opened, or it is damaged"):
            # metadata_errors: comments need not be UTF-8.
            self._container: Any = av.open(_Nameless(self._file), options=options, metadata_errors="replace")
            if not self._container.streams.video:
                raise UnreadableVideo(self.path, "it holds no video, only sound or text")
            stream = self._container.streams.video[0]
            codec = stream.codec_context
            if codec is None or codec.name not in CODECS.split(","):
                name = "unknown" if codec is None else codec.name
                raise UnreadableVideo(self.path, f"its codec ({name}) is not among those allowed")
            codec.options = {"codec_whitelist": CODECS, "max_pixels": str(MAX_PIXELS)}
            codec.thread_count = self._threads
            self._stream: Any = stream
            self._time_base = stream.time_base or Fraction(1, 90_000)
            self._header_fps = float(stream.average_rate or stream.guessed_rate or 25)
            self._size = (codec.width, codec.height)
        if min(self._size) < 1:
            raise UnreadableVideo(self.path, "it does not say how large its pictures are")
        if self._size[0] * self._size[1] > MAX_PIXELS:
            raise UnreadableVideo(
                self.path, f"its pictures are {self._size[0]}x{self._size[1]}, more than {MAX_PIXELS} pixels"
            )

    def _index(self) -> None:
        self._packets: list[Any] = []
        kept_bytes, count = 0, 0
        shown: list[int | None] = []
        keys: list[int | None] = []
        with self._guard("its data are damaged"):
            for packet in self._container.demux(self._stream):
                if not packet.size:
                    continue
                count += 1
                if count > MAX_FRAMES:
                    raise UnreadableVideo(self.path, f"it has more than {MAX_FRAMES} frames")
                if packet.is_keyframe or count == 1:
                    keys.append(packet.pts)
                if not packet.is_discard:  # an edit list says not to show it
                    shown.append(packet.pts)
                kept_bytes += packet.size
                if kept_bytes <= _PACKET_MEMORY:
                    self._packets.append(packet)
            if kept_bytes > _PACKET_MEMORY:
                self._packets = []
            # AVI stores no presentation times; FFmpeg's guess is a frame off when frames are reordered.
            codec = self._stream.codec_context
            guessed = self._container.format.name == "avi" and bool(codec.has_b_frames)
            hidden = codec.name == "vp8"  # some of its packets hold frames that are never shown
        self._in_order = (
            guessed or hidden or None in shown or None in keys or len(set(shown)) < len(shown) or keys != sorted(keys)  # type: ignore[type-var]
        )
        if self._in_order:
            self._count_by_decoding()
        else:
            self._keys = np.array(keys, np.int64)
            self._pts = np.sort(np.array(shown, np.int64))
        if not len(self._pts):
            raise UnreadableVideo(self.path, "it holds no frame")

    def _count_by_decoding(self) -> None:
        with self._guard("its data are damaged"):
            stamps = [frame.pts for frame in self._run(None)]
        if not stamps:
            raise UnreadableVideo(self.path, "no frame of it can be decoded")
        if None in stamps or stamps != sorted(set(stamps)):  # type: ignore[type-var]
            self._time_base = Fraction(1 / self._header_fps)
            stamps = list(range(len(stamps)))
        self._pts = np.array(stamps, np.int64)

    # -- decoding -----------------------------------------------------------------------------------------------------

    def _pictures(self, wanted: np.ndarray) -> Iterator[tuple[int, Any]]:
        """(rank in `wanted`, decoded frame) for sorted frame numbers without repeats."""
        with self._guard("its data are damaged"):
            for rank, frame in self._by_order(wanted) if self._in_order else self._by_time_stamp(wanted):
                if self._turn is None:
                    self._turn = _turn(frame)
                yield rank, frame

    def _by_order(self, wanted: np.ndarray) -> Iterator[tuple[int, Any]]:
        rank = 0
        for number, frame in enumerate(self._run(None)):
            if number == wanted[rank]:
                yield rank, frame
                rank += 1
                if rank == len(wanted):
                    return
        raise _Mismatch

    def _by_time_stamp(self, wanted: np.ndarray) -> Iterator[tuple[int, Any]]:
        """Start at the key frame before each wanted frame, unless decoding on gets there as soon; check every frame."""
        stamps, rank = self._pts[wanted], 0
        while rank < len(stamps):
            key = self._key_before(stamps[rank])
            # After a jump, pictures shown before the key frame lack what they refer to.
            base = self._pts[0] if key == self._keys[0] else key
            number = int(np.searchsorted(self._pts, base))
            for frame in self._run(key):
                if frame.pts is not None and frame.pts < base:
                    continue
                if number == self.frames or frame.pts != self._pts[number]:
                    raise _Mismatch
                number += 1
                if frame.pts == stamps[rank]:
                    yield rank, frame
                    rank += 1
                    if rank == len(stamps) or self._key_before(stamps[rank]) > self._last_key:
                        break
            else:
                raise _Mismatch

    def _key_before(self, stamp: int) -> int:
        return int(self._keys[max(int(np.searchsorted(self._keys, stamp, side="right")) - 1, 0)])

    def _run(self, key: int | None) -> Iterator[Any]:
        """Every frame from the key frame with this time stamp on (None: from the first packet)."""
        packets = self._packets_from(key)
        codec = self._stream.codec_context
        if codec.is_open:
            codec.flush_buffers()
        for packet in packets:
            if packet.is_keyframe:
                self._last_key = packet.pts
            yield from codec.decode(packet)
        yield from codec.decode(None)

    def _packets_from(self, key: int | None) -> Iterable[Any]:
        if self._packets:
            start = 0 if key is None else next(n for n, p in enumerate(self._packets) if p.pts == key and p.is_keyframe)
            return self._packets[start:]
        if key is not None and key != self._keys[0]:
            self._container.seek(key, stream=self._stream)
            packets = (packet for packet in self._container.demux(self._stream) if packet.size)
            first = next(packets, None)
            if first is not None and first.is_keyframe and first.pts == key:
                return chain([first], packets)
        self._open()  # from the start, where seeking does not land on the key frame
        return (packet for packet in self._container.demux(self._stream) if packet.size)


class _Nameless:
    """A file without its name, by which FFmpeg would guess the format (and expand patterns)."""

    def __init__(self, file: BinaryIO) -> None:
        self.read, self.seek, self.tell = file.read, file.seek, file.tell


def _turn(frame: Any) -> tuple[bool, bool, bool]:
    """Whether to transpose, mirror horizontally and mirror vertically, from the frame's display matrix."""
    try:
        matrix = frame.side_data.get(SideData.DISPLAYMATRIX)
    except ValueError:  # side data of a kind that PyAV does not know; the angle does not tell of mirroring
        quarters = round(frame.rotation / 90) % 4
        return quarters % 2 == 1, quarters in (2, 3), quarters in (1, 2)
    if matrix is None:
        return False, False, False
    a, b, _, c, d = np.frombuffer(bytes(matrix), np.int32)[:5].tolist()  # x' = ax + cy, y' = bx + dy
    if abs(b) + abs(c) > abs(a) + abs(d):
        return True, c < 0, b < 0
    return False, a < 0, d < 0


def _upright(picture: np.ndarray, turn: tuple[bool, bool, bool]) -> np.ndarray:
    transpose, mirror_x, mirror_y = turn
    if transpose:
        picture = picture.swapaxes(0, 1)
    return picture[:: -1 if mirror_y else 1, :: -1 if mirror_x else 1]


def _scaled(width: int, height: int, short_side: int) -> tuple[int, int]:
    short = min(width, height)
    return max(width * short_side // short, 1), max(height * short_side // short, 1)


def probe(path: str | os.PathLike[str]) -> VideoFacts:
    """What a video or image file holds; raises FileNotFoundError or UnreadableVideo."""
    with Video(path) as video:
        return video.facts


def read(
    path: str | os.PathLike[str],
    indices: ArrayLike | None = None,
    times: ArrayLike | None = None,
    *,
    short_side: int | None = None,
    threads: int = 1,
) -> np.ndarray:
    """Frames of a video or image file: `Video.read` of a file opened for it. uint8 (T, H, W, 3), RGB, upright."""
    with Video(path, threads=threads) as video:
        return video.read(indices, times, short_side=short_side)


def write(path: str | os.PathLike[str], frames: np.ndarray, fps: float = 30, *, crf: int = 18) -> None:
    """Write uint8 frames (T, H, W, 3) as H.264 in an MP4 file; `crf` 0 is the best quality, 51 the worst."""
    if frames.ndim != 4 or frames.shape[-1] != 3 or frames.dtype != np.uint8 or not len(frames):
        raise ValueError(f"frames must be uint8 (T, H, W, 3), got {frames.dtype} {frames.shape}")
    if frames.shape[1] % 2 or frames.shape[2] % 2:
        raise ValueError(f"H.264 needs an even height and width, got {frames.shape[1]}x{frames.shape[2]}")
    rate = Fraction(fps).limit_denominator(1001)
    with av.open(os.fspath(path), "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=rate, options={"crf": str(crf), "preset": "fast"})
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuv420p"
        stream.codec_context.thread_count = 1  # the same file on every machine
        for picture in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")))
        container.mux(stream.encode(None))
