"""One video or image made smaller, every frame and time stamp kept unless another rate is asked for, and verified."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

import av
import numpy as np

from mvit import files
from mvit.data.stills import encoded
from mvit.data.video import UnreadableVideo, Video

CODECS = {"h264": "libx264", "hevc": "libx265"}
CRF = {"h264": 20, "hevc": 24}
"""Of the encoders' quality scales: about the same to the eye, and hardly to be told from the source."""
KEY_FRAME_EVERY = 24
"""Frames. A clip begins anywhere, and all frames since the key frame before it are decoded: docs/data.md, measured."""
_CLOCK = 90_000  # ticks a second: every common frame rate is a whole number of them
_MOST_FRAMES = 5_000_000
_CHUNK_BYTES = 2**28  # of frames in memory at once
_PNG = ("png", "rgb24", None)
_JPEG = ("mjpeg", "yuvj444p", "2")  # the best of its scale


class Unverified(RuntimeError):  # noqa: N818 (a state of the file, as UnreadableVideo)
    """What was written does not decode to what was meant to be written."""


@dataclass(frozen=True)
class Made:
    """What a new file holds."""

    frames: int
    width: int
    height: int
    size_bytes: int


def transcode(
    source: Path,
    target: Path,
    *,
    short_side: int | None = None,
    fps: float | None = None,
    codec: Literal["h264", "hevc"] = "h264",
    crf: int | None = None,
    key_frame_every: int = KEY_FRAME_EVERY,
    enlarge: bool = False,
) -> Made:
    """Write a video as MP4, upright, without sound, its short side scaled to `short_side` pixels and an even size.

    Frames keep their time stamps, counted from the first; with `fps`, the frame shown at each 1 / fps is taken instead.
    Nothing is enlarged unless asked for. The new file is decoded before it takes its name, and has as many frames, as
    far apart, in the size meant. Raises UnreadableVideo for the source, Unverified, OSError for the target.
    """
    with _replacing(target) as part, Video(source) as video:
        numbers, ticks = _timetable(video, fps)
        width, height = _even(video, short_side, enlarge)
        options = {"crf": str(CRF[codec] if crf is None else crf), "preset": "veryfast"}
        if codec == "hevc":
            backward = 4 if len(numbers) > 4 else 0  # of one frame alone it would give no decoding time otherwise
            options["x265-params"] = (
                f"keyint={key_frame_every}:min-keyint=1:open-gop=0:bframes={backward}:pools=1:log-level=none"
            )
        rate = Fraction(min(max(fps or video.fps, 1), 1000)).limit_denominator(1001)  # a hint: frames have their times
        with av.open(os.fspath(part), "w", format="mp4", options={"movflags": "+faststart"}) as container:
            stream: Any = container.add_stream(CODECS[codec], rate=rate, options=options)
            stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
            stream.time_base = stream.codec_context.time_base = Fraction(1, _CLOCK)
            stream.codec_context.thread_count = 1  # the same file on every machine; files are made side by side
            stream.codec_context.gop_size = key_frame_every
            if codec == "hevc":
                stream.codec_context.codec_tag = "hvc1"  # or players of Apple's show nothing
            for picture, tick in zip(_pictures(video, numbers, _scale(video, short_side, enlarge)), ticks, strict=True):
                frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture[:height, :width]), format="rgb24")
                frame.pts, frame.time_base = int(tick), Fraction(1, _CLOCK)
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
        return _verified(part, target, len(numbers), width, height, ticks / _CLOCK)


def resize(source: Path, target: Path, *, short_side: int | None = None, enlarge: bool = False) -> Made:
    """Write an image upright with its short side scaled, JPEG as JPEG and anything else as PNG; raises as `transcode`.

    An image that is small enough is copied as it is.
    """
    with _replacing(target) as part, Video(source) as video:
        scale = _scale(video, short_side, enlarge)
        picture = np.ascontiguousarray(video.read([0], short_side=scale)[0])
        if scale is None and source.suffix.lower() == target.suffix.lower():
            content = source.read_bytes()
        else:
            content = encoded(picture, *(_JPEG if target.suffix.lower() in (".jpg", ".jpeg") else _PNG))
        part.write_bytes(content)
        return _verified(part, target, 1, picture.shape[1], picture.shape[0], np.zeros(1))


@contextmanager
def _replacing(target: Path) -> Iterator[Path]:
    """As `files.replacing`, in a folder that is made where it is not there; errors of the encoder name the file."""
    with files.blaming(target):  # and left there after an error, as other processes write into it, too
        target.parent.mkdir(parents=True, exist_ok=True)
    with files.replacing(target) as part:
        try:
            yield part
        except av.FFmpegError as error:
            if isinstance(error, OSError):
                raise
            raise Unverified(
                f"{target} cannot be written: {(error.strerror or type(error).__name__).lower()}"
            ) from error


def _timetable(video: Video, fps: float | None) -> tuple[np.ndarray, np.ndarray]:
    """The numbers of the frames to write, and when each is shown, in ticks; later ones always have later ticks."""
    if fps is None:
        ticks = np.round(video.times * _CLOCK).astype(np.int64)
        apart = np.maximum.accumulate(ticks - np.arange(len(ticks))) + np.arange(len(ticks))
        return np.arange(video.frames), apart
    count = max(1, round(video.duration_seconds * fps))
    if count > _MOST_FRAMES:
        raise UnreadableVideo(
            video.path, f"{video.duration_seconds:,.0f} s would be {count:,} frames at {fps:g} a second"
        )
    wanted = np.arange(count) / fps
    # Half a microsecond of grace, as in Video.read: a time computed from a frame's own must give that frame.
    numbers = np.maximum(np.searchsorted(video.times, wanted + 5e-7, side="right") - 1, 0)
    return numbers, np.round(wanted * _CLOCK).astype(np.int64)


def _scale(video: Video, short_side: int | None, enlarge: bool) -> int | None:
    """The short side to decode to; None where the picture stays as large as it is."""
    if short_side is None or short_side == video.short_side or (short_side > video.short_side and not enlarge):
        return None
    return short_side


def _even(video: Video, short_side: int | None, enlarge: bool) -> tuple[int, int]:
    """Width and height that are written: of an odd size, which the codecs' colours cannot have, the last row goes."""
    height, width = video.read([0], short_side=_scale(video, short_side, enlarge)).shape[1:3]
    if min(width, height) < 2:
        raise UnreadableVideo(video.path, f"its pictures are {width}x{height}: too small to be a video")
    return width // 2 * 2, height // 2 * 2


def _pictures(video: Video, numbers: np.ndarray, short_side: int | None) -> Iterator[np.ndarray]:
    """Frames by number, a chunk of them decoded at a time."""
    largest = video.facts.width * video.facts.height * 3
    if short_side is not None:
        largest = largest * short_side**2 // video.short_side**2
    step = max(1, _CHUNK_BYTES // max(largest, 1))
    for start in range(0, len(numbers), step):
        yield from video.read(numbers[start : start + step], short_side=short_side)


def _verified(part: Path, target: Path, frames: int, width: int, height: int, times: np.ndarray) -> Made:
    """Decode all of a file that was written; raises Unverified unless it is what it should be."""
    try:
        with Video(part) as video:
            decoded = sum(1 for _ in _pictures(video, np.arange(video.frames), None))
            facts = video.facts
            late = float(np.abs(video.times - times).max()) if video.frames == frames else 0.0
        if (decoded, facts.width, facts.height) != (frames, width, height) or late > 1e-3:
            raise Unverified(
                f"{target} came out as {decoded} frames of {facts.width}x{facts.height}, up to {late:.3f} s off, and "
                f"should be {frames} of {width}x{height}"
            )
    except UnreadableVideo as error:
        raise Unverified(f"{target} cannot be read again: {error.reason}") from error
    return Made(frames, width, height, part.stat().st_size)
