"""Pictures that move, pictures as files, for folders of frames, and one in tiles."""

import struct
from collections.abc import Sequence
from fractions import Fraction
from itertools import accumulate
from pathlib import Path

import av
import numpy as np


def moving(frames: int = 10, height: int = 48, width: int = 64) -> np.ndarray:
    """A bright square that moves to the right on a dark gradient."""
    pictures = np.tile(np.linspace(20, 90, width).astype(np.uint8)[None, None, :, None], (frames, height, 1, 3))
    for number, picture in enumerate(pictures):
        left = number * (width - 16) // max(frames - 1, 1)
        picture[16:32, left : left + 16] = 220
    return pictures


def save_picture(path: Path, picture: np.ndarray) -> None:
    """Write uint8 (H, W, 3) as JPEG or PNG, by the extension."""
    codec = "png" if path.suffix.lower() == ".png" else "mjpeg"
    encoder = av.CodecContext.create(codec, "w")
    encoder.height, encoder.width = picture.shape[:2]
    encoder.pix_fmt, encoder.time_base = "rgb24" if codec == "png" else "yuvj444p", Fraction(1, 25)
    frame = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format=encoder.pix_fmt)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"".join(bytes(packet) for packet in [*encoder.encode(frame), *encoder.encode(None)]))


def save_in_tiles(path: Path, tiles: Sequence[bytes], size: int) -> None:
    """Write JPEGs of one size beside each other as one picture, as phones do with HEVC (HEIF, ISO/IEC 23008-12)."""
    items = [struct.pack(">BBBBHH", 0, 0, 0, len(tiles) - 1, size * len(tiles), size), *tiles]
    numbers = range(2, len(items) + 1)
    kinds = [b"grid", *[b"jpeg"] * len(tiles)]
    named = [_box(b"infe", struct.pack(">IHH4sx", 2 << 24, n, 0, kind)) for n, kind in enumerate(kinds, start=1)]
    sizes = [_box(b"ispe", struct.pack(">III", 0, width, size)) for width in (size * len(tiles), size)]
    parts = struct.pack(f">HH{len(tiles)}H", 1, len(tiles), *numbers)
    having = [struct.pack(">HBB", n, 1, 1 if n == 1 else 2) for n in range(1, len(items) + 1)]
    about = [
        _box(b"hdlr", struct.pack(">II4s13x", 0, 0, b"pict")),
        _box(b"pitm", struct.pack(">IH", 0, 1)),
        _box(b"iinf", struct.pack(">IH", 0, len(items)), *named),
        _box(b"iref", bytes(4), _box(b"dimg", parts)),
        _box(b"iprp", _box(b"ipco", *sizes), _box(b"ipma", struct.pack(">II", 0, len(items)), *having)),
    ]
    ends = list(accumulate(map(len, items)))

    def meta(start: int) -> bytes:
        places = [
            struct.pack(">HHHII", n, 0, 1, start + end - len(item), len(item))
            for n, (end, item) in enumerate(zip(ends, items, strict=True), start=1)
        ]
        return _box(b"meta", bytes(4), *about, _box(b"iloc", struct.pack(">IHH", 0, 0x4400, len(items)), *places))

    brand = _box(b"ftyp", b"mif1", bytes(4), b"mif1heic")
    path.write_bytes(brand + meta(len(brand + meta(0)) + 8) + _box(b"mdat", *items))


def _box(kind: bytes, *content: bytes) -> bytes:
    body = b"".join(content)
    return struct.pack(">I4s", 8 + len(body), kind) + body
