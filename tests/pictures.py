"""Pictures as files, for folders of frames."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np


def save_picture(path: Path, picture: np.ndarray) -> None:
    """Write uint8 (H, W, 3) as JPEG or PNG, by the extension."""
    codec = "png" if path.suffix.lower() == ".png" else "mjpeg"
    encoder = av.CodecContext.create(codec, "w")
    encoder.height, encoder.width = picture.shape[:2]
    encoder.pix_fmt, encoder.time_base = "rgb24" if codec == "png" else "yuvj444p", Fraction(1, 25)
    frame = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format=encoder.pix_fmt)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"".join(bytes(packet) for packet in [*encoder.encode(frame), *encoder.encode(None)]))
