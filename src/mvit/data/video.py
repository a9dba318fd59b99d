"""Frames from videos, images and folders of pictures: guarded, exact, upright, decoding only what is asked for.

Stored pixels are taken as square (no decoder of the peers applies a sample aspect ratio, and neither did the training
of released weights). Time zero is the first frame shown.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import av
import numpy as np
from av.video.reformatter import Interpolation, VideoReformatter
from numpy.typing import ArrayLike

from mvit.data.limits import OWN, STRANGERS, Limits
from mvit.data.opening import Header, UnreadableVideo
from mvit.data.pictures import FPS, PictureFolder
from mvit.data.stream import Miscounted, PictureStream, turn

__all__ = ["OWN", "STRANGERS", "Limits", "UnreadableVideo", "Video", "VideoFacts", "probe", "read", "write"]

# From transposed, then mirrored in x and y, to degrees clockwise, after mirroring from left to right or not.
_ROTATIONS = {
    (False, False, False): (0, False),
    (True, True, False): (90, False),
    (False, True, True): (180, False),
    (True, False, True): (270, False),
    (False, True, False): (0, True),
    (True, True, True): (90, True),
    (False, False, True): (180, True),
    (True, False, False): (270, True),
}


@dataclass(frozen=True)
class VideoFacts:
    """What a file holds; width and height are those of the upright picture."""

    frames: int
    fps: float
    duration_seconds: float
    width: int
    height: int


class Video:
    """One open file: what it holds, and its frames by number or time; a context manager.

    Opening it reads when its frames are shown; reading decodes from the key frame before each wanted one, with
    `threads` threads. `limits` say what is opened at all: `STRANGERS` for files from people unknown.
    Raises FileNotFoundError, and UnreadableVideo for what holds no picture or is not allowed; what cannot be decoded
    shows when it is counted or read.

    A folder of numbered pictures (jpg, png; img_9 before img_10) is a video, too. It holds no time stamps: `fps` says
    how many are shown a second, 30 unless given; a file's own time stamps stand, so `fps` is refused for one.
    """

    def __init__(
        self, path: str | os.PathLike[str], *, threads: int = 1, limits: Limits = OWN, fps: float | None = None
    ) -> None:
        self.path = Path(path)
        self.limits = limits
        if fps is not None and not 0 < fps <= 1000:
            raise ValueError(f"fps must be above 0 and at most 1000 frames a second, got {fps}")
        self._stream: PictureStream | PictureFolder
        if os.path.isdir(self.path):  # which answers for any path, as Path.is_dir does not
            self._stream = PictureFolder(self.path, FPS if fps is None else fps, limits)
        elif fps is not None:
            raise ValueError(f"fps is for folders of pictures; {self.path} is none, and has its own time stamps")
        else:
            self._stream = PictureStream(self.path, threads, limits)
        self._reformatter = VideoReformatter()
        self._turn: tuple[bool, bool, bool] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; frames already read stay valid."""
        self._stream.close()

    # -- what it holds ------------------------------------------------------------------------------------------------

    @property
    def frames(self) -> int:
        """How many frames there are, exactly; raises UnreadableVideo where that takes decoding and the data are bad."""
        return len(self._stream.pts)

    @cached_property
    def good_frames(self) -> int:
        """How many frames come before the first damaged data; decodes them all.

        Where data are damaged, the video has only these from now on: `read()` gives them.
        """
        self._stream.start_clock()
        return self._stream.count_good()

    @property
    def times(self) -> np.ndarray:
        """When each frame is shown, in seconds from the first; float64 (frames,)."""
        return (self._stream.pts - self._stream.pts[0]) * float(self._stream.time_base)

    @property
    def fps(self) -> float:
        """Frames a second on average; of a single frame what the header says."""
        span = int(self._stream.pts[-1] - self._stream.pts[0]) * self._stream.time_base
        return float((self.frames - 1) / span) if span else self._stream.header_fps

    @property
    def duration_seconds(self) -> float:
        """From the first frame to the end of the last, which is shown for an average frame's time."""
        span = int(self._stream.pts[-1] - self._stream.pts[0]) * self._stream.time_base
        return float(span * Fraction(self.frames, self.frames - 1)) if span else 1 / self.fps

    @property
    def short_side(self) -> int:
        """The smaller of width and height in pixels, known without decoding."""
        return min(self._stream.size)

    @property
    def stream_index(self) -> int | None:
        """Which of the file's streams is the video; None of a folder of pictures."""
        return self._stream.index if isinstance(self._stream, PictureStream) else None

    @property
    def indexed(self) -> bool:
        """Whether the file says when each frame is shown; otherwise everything is decoded to find out."""
        return not (isinstance(self._stream, PictureStream) and self._stream.in_order)

    @property
    def start_seconds(self) -> float:
        """The first frame's own time stamp, which counts as 0 here."""
        return float(int(self._stream.pts[0]) * self._stream.time_base)

    @property
    def header(self) -> Header:
        """What the file says of itself, true or not."""
        return self._stream.header

    @property
    def rotation(self) -> tuple[int, bool]:
        """Degrees by which frames are turned clockwise to stand upright, and whether they are mirrored before that."""
        return _ROTATIONS[self._turned()]

    @cached_property
    def facts(self) -> VideoFacts:
        """Count, rate, duration and upright size; decodes the first frame."""
        width, height = reversed(self._stream.size) if self._turned()[0] else self._stream.size
        return VideoFacts(self.frames, self.fps, self.duration_seconds, width, height)

    def _turned(self) -> tuple[bool, bool, bool]:
        if self._turn is None:
            self.read([0])
        assert self._turn is not None
        return self._turn

    # -- frames -------------------------------------------------------------------------------------------------------

    def read(
        self, indices: ArrayLike | None = None, times: ArrayLike | None = None, *, short_side: int | None = None
    ) -> np.ndarray:
        """Frames by number, or those shown at `times` (seconds), in the order asked for; all of them if neither.

        With `short_side` frames come scaled to it (pixels, aspect ratio kept): bilinear with the filter widened when
        shrinking, so without aliasing, as the peers' pipelines and torchvision's antialiased resize do.
        Returns uint8 (T, H, W, 3), RGB, upright. Raises ValueError for frames that do not exist, UnreadableVideo for
        damaged data and for an answer beyond the limits.
        """
        numbers = self.locate(indices, times, short_side=short_side)
        try:
            return self._collect(numbers, short_side)
        except Miscounted:
            assert isinstance(self._stream, PictureStream)
            announced = self.frames
            self._stream.count_by_decoding()
        if numbers.max() >= self.frames:
            raise UnreadableVideo(self.path, f"only {self.frames} of its {announced} frames can be decoded")
        return self._collect(self._numbers(indices, times), short_side)

    def each(self, indices: ArrayLike | None = None, *, short_side: int | None = None) -> Iterator[np.ndarray]:
        """The same frames one at a time, uint8 (H, W, 3), by rising numbers: for videos too long for one answer.

        What `limits` say of one call holds for each frame. Nothing else may be read until the last one came. Raises
        what `read` would, for damaged data once the frames before them were given.
        """
        numbers = self.locate(np.arange(self.frames) if indices is None else indices, short_side=short_side, at_once=1)
        if (np.diff(numbers) < 1).any():
            raise ValueError("frames that come one at a time are asked for by rising numbers, each once")
        done, announced = 0, self.frames
        while len(left := numbers[done:][numbers[done:] < self.frames]):
            try:
                for _, picture in self._pictures(left, short_side):
                    yield picture
                    done += 1
                    self._stream.start_clock()  # whoever asks for frames may take any time between them
            except Miscounted:
                assert isinstance(self._stream, PictureStream)
                self._stream.start_clock()
                self._stream.count_by_decoding()
        if done < len(numbers):
            raise UnreadableVideo(self.path, f"only {self.frames} of its {announced} frames can be decoded")

    def locate(
        self,
        indices: ArrayLike | None = None,
        times: ArrayLike | None = None,
        *,
        short_side: int | None = None,
        at_once: int | None = None,
    ) -> np.ndarray:
        """The numbers of the frames that `read` would give, int64 (T,); raises what it would before decoding.

        Of them `at_once` are in memory at a time, all if not given.
        """
        if short_side is not None and not (isinstance(short_side, int | np.integer) and short_side > 0):
            raise ValueError(f"short_side must be a whole number of at least 1 pixel, got {short_side!r}")
        self._stream.start_clock()
        if indices is None and times is None:  # known before frames are counted
            self._allow(self._stream.announced, short_side)
        numbers = self._numbers(indices, times)
        self._allow(at_once or len(numbers), short_side)
        return numbers

    def _collect(self, numbers: np.ndarray, short_side: int | None) -> np.ndarray:
        wanted, places = np.unique(numbers, return_inverse=True)
        result: np.ndarray | None = None
        for rank, picture in self._pictures(wanted, short_side):
            if result is None:
                result = np.empty((len(numbers), *picture.shape), np.uint8)
            result[places == rank] = picture
        assert result is not None
        return result

    def _pictures(self, wanted: np.ndarray, short_side: int | None) -> Iterator[tuple[int, np.ndarray]]:
        """(rank in `wanted`, picture) for sorted frame numbers without repeats; raises Miscounted."""
        size = self._size(short_side)
        with self._stream.guard():
            for rank, frame in self._stream.pictures(wanted):
                self._turn = self._turn or turn(frame)
                yield rank, upright(self._reformatter, frame, size, self._turn)

    def _size(self, short_side: int | None) -> tuple[int, int]:
        return self._stream.size if short_side is None else scaled_size(*self._stream.size, short_side)

    def _allow(self, frames: int, short_side: int | None) -> None:
        width, height = self._size(short_side)
        if frames > self.limits.answer_frames:
            allowed = f"the {self.limits.answer_frames:,} frames allowed in one answer; ask for fewer"
        elif frames * width * height * 3 > self.limits.answer_bytes:
            allowed = f"the {self.limits.answer_bytes:,} bytes allowed; ask for fewer, or for a smaller short_side"
        else:
            return
        raise UnreadableVideo(self.path, f"{frames:,} frames of {width}x{height} at once are more than {allowed}")

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


def upright(
    reformatter: VideoReformatter, frame: Any, size: tuple[int, int], turn: tuple[bool, bool, bool]
) -> np.ndarray:
    """A decoded frame at a size (width, height), turned to stand upright; uint8 (H, W, 3), RGB."""
    width, height = size
    scaled = reformatter.reformat(frame, width, height, "rgb24", interpolation=Interpolation.BILINEAR, threads=1)
    picture = scaled.to_ndarray()
    transpose, mirror_x, mirror_y = turn
    if transpose:
        picture = picture.swapaxes(0, 1)
    return picture[:: -1 if mirror_y else 1, :: -1 if mirror_x else 1]


def scaled_size(width: int, height: int, short_side: int) -> tuple[int, int]:
    """Width and height once the smaller of them is `short_side`; the longer is rounded down."""
    short = min(width, height)
    return max(width * short_side // short, 1), max(height * short_side // short, 1)


def probe(path: str | os.PathLike[str], *, limits: Limits = OWN, fps: float | None = None) -> VideoFacts:
    """What a file or folder of pictures holds; raises FileNotFoundError or UnreadableVideo."""
    with Video(path, limits=limits, fps=fps) as video:
        return video.facts


def read(
    path: str | os.PathLike[str],
    indices: ArrayLike | None = None,
    times: ArrayLike | None = None,
    *,
    short_side: int | None = None,
    threads: int = 1,
    limits: Limits = OWN,
    fps: float | None = None,
) -> np.ndarray:
    """Frames of a file or folder of pictures: `Video.read` of one opened for it. uint8 (T, H, W, 3), RGB, upright."""
    if indices is None and times is None:  # a file too long for one answer need not be looked at to its end
        limits = replace(limits, frames=min(limits.frames, limits.answer_frames))
    with Video(path, threads=threads, limits=limits, fps=fps) as video:
        return video.read(indices, times, short_side=short_side)


def write(path: str | os.PathLike[str], frames: np.ndarray, fps: float = 30, *, crf: int = 18) -> None:
    """Write uint8 frames (T, H, W, 3) as H.264 in an MP4 file; `crf` 0 is the best quality, 51 the worst."""
    if frames.ndim != 4 or frames.shape[-1] != 3 or frames.dtype != np.uint8 or not len(frames):
        raise ValueError(f"frames must be uint8 (T, H, W, 3), got {frames.dtype} {frames.shape}")
    if frames.shape[1] % 2 or frames.shape[2] % 2:
        raise ValueError(f"H.264 needs an even height and width, got {frames.shape[1]}x{frames.shape[2]}")
    rate = Fraction(fps).limit_denominator(1001)
    with av.open(os.fspath(path), "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=rate, options={"crf": str(crf), "preset": "veryfast"})
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuv420p"
        stream.codec_context.thread_count = 1  # the same file on every machine
        for picture in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")))
        container.mux(stream.encode(None))
