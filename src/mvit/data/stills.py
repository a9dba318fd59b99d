"""A video at a glance: a few of its frames beside each other, as one small JPEG."""

from fractions import Fraction
from typing import Any

import av
import numpy as np

from mvit.data.samples import path_and_part
from mvit.data.video import Video
from mvit.data.views import frames_of

FRAMES = 3
SHORT_SIDE = 72  # pixels
QUALITY = "6"  # of 2, the best, to 31


def strip(sample_id: str) -> bytes:
    """Three frames of a video (one of an image) from its first to its last third as a JPEG, by ``Sample.id``.

    Raises FileNotFoundError, and ValueError for what cannot be decoded or is no part of it.
    """
    path, part = path_and_part(sample_id)
    with Video(path) as video:
        frames = frames_of(video, part)
        count = min(FRAMES, len(frames))
        numbers = [frames.start + (2 * place + 1) * len(frames) // (2 * count) for place in range(count)]
        pictures = video.read(numbers, short_side=SHORT_SIDE)
    return encoded(np.concatenate(pictures, axis=1), "mjpeg", "yuvj420p", QUALITY)


def encoded(picture: np.ndarray, codec: str, pixel_format: str, quality: str | None = None) -> bytes:
    """A picture, uint8 (H, W, 3), as a file of its own; ``quality`` of mjpeg from "2", the best, to "31"."""
    encoder: Any = av.CodecContext.create(codec, "w")
    encoder.height, encoder.width = picture.shape[:2]
    encoder.time_base = Fraction(1, 25)
    encoder.pix_fmt = pixel_format
    if quality is not None:
        encoder.options = {"qmin": quality, "qmax": quality}
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24").reformat(format=encoder.pix_fmt)
    return b"".join(bytes(packet) for packet in [*encoder.encode(frame), *encoder.encode(None)])
