"""What a video file may be and may cost before it is refused: one list for the user's own files, one for strangers'."""

from dataclasses import dataclass, replace

__all__ = ["OWN", "STRANGERS", "Limits"]


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What may be opened, by FFmpeg's names, and how much of anything; change one with `dataclasses.replace`.

    Playlists and patterns (concat, hls, dash, image2) belong into no list of formats: they make FFmpeg read other
    files than the one named. Rarely used decoders are where its memory errors are found.
    """

    formats: tuple[str, ...]
    codecs: tuple[str, ...]
    pixels: int
    """Of one frame: 300 black frames of 8192x8192 are a file of 400 kB, and fill any memory."""
    frames: int
    """Of one file."""
    file_bytes: int
    answer_frames: int
    """That one call returns."""
    answer_bytes: int
    seconds: float
    """Of work, by the clock, on one call: to open, to count or to read."""


_SHORT_FORMATS = ("mov", "mp4", "m4a", "3gp", "3g2", "mj2", "matroska", "webm", "avi", "mpegts", "mpeg", "flv")
_SHORT_CODECS = ("h264", "hevc", "vp8", "vp9", "libdav1d", "av1", "mpeg4", "mpeg2video", "mjpeg", "png", "webp")

OWN = Limits(
    formats=(
        *_SHORT_FORMATS,
        *("ogg", "asf", "gif", "apng", "jpeg_pipe", "png_pipe", "webp_pipe", "bmp_pipe"),
        *("h264", "hevc", "m4v", "mpegvideo", "mjpeg", "ivf", "dv", "mxf", "yuv4mpegpipe"),
    ),
    codecs=(
        *_SHORT_CODECS,
        *("vvc", "h263", "flv", "mpeg1video", "msmpeg4v2", "msmpeg4", "wmv1", "wmv2", "wmv3", "vc1", "theora"),
        *("prores", "dnxhd", "dvvideo", "rawvideo", "ffv1", "qtrle", "gif", "apng", "bmp"),
    ),
    pixels=2**25,  # 7680x4320 fits
    frames=5_000_000,  # 46 hours at 30 frames a second
    file_bytes=2**40,
    answer_frames=2**16,  # 36 minutes
    answer_bytes=2**32,
    seconds=3600,
)
"""For the user's own files: everything that data sets come in."""

STRANGERS = replace(
    OWN,
    formats=(*_SHORT_FORMATS, "jpeg_pipe", "png_pipe", "webp_pipe"),
    codecs=_SHORT_CODECS,
    pixels=4096 * 3072,  # an ordinary photograph of twelve million, and video of 4096x2304
    frames=2**17,  # 73 minutes
    file_bytes=2**30,
    answer_frames=2**13,
    answer_bytes=2**30,
    seconds=60,
)
"""For files from people unknown: what cameras and browsers make, and little of it."""
