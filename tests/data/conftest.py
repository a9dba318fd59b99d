"""Tiny real videos whose every frame shows its own number, and the function that reads the numbers back."""

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

ROWS, COLUMNS, BLOCK = 2, 4, 16  # eight binary digits, one to a block


def _picture(number: int) -> np.ndarray:
    digits = [(number >> bit) & 1 for bit in range(ROWS * COLUMNS)]
    blocks = np.array(digits, np.uint8).reshape(ROWS, COLUMNS) * 235 + 10
    return np.repeat(np.kron(blocks, np.ones((BLOCK, BLOCK), np.uint8))[..., None], 3, axis=2)


def _number(picture: np.ndarray) -> int:
    height, width = picture.shape[0] // ROWS, picture.shape[1] // COLUMNS
    means = picture.mean(axis=2)[: height * ROWS, : width * COLUMNS].reshape(ROWS, height, COLUMNS, width)
    return sum(int(digit) << bit for bit, digit in enumerate((means.mean(axis=(1, 3)) > 127).ravel()))


@pytest.fixture
def numbers_in() -> Callable[[np.ndarray], list[int]]:
    """The numbers that frames (T, H, W, 3) show, upright."""
    return lambda frames: [_number(picture) for picture in frames]


@pytest.fixture
def numbered_video(tmp_path: Path) -> Callable[..., Path]:
    """Write frames 0 to n - 1 (n <= 256) of 32x64 pixels; `shown` sets time stamps in frames, `turn` degrees."""

    def write(
        frames: int,
        *,
        name: str = "numbered.mp4",
        codec: str = "libx264",
        fps: int = 30,
        options: dict[str, str] | None = None,
        shown: list[int] | None = None,
        turn: int = 0,
        pixels: str = "yuv420p",
    ) -> Path:
        path = tmp_path / name
        with av.open(str(path), "w") as container:
            stream = container.add_stream(codec, rate=fps, options=options or {})
            stream.height, stream.width, stream.pix_fmt = ROWS * BLOCK, COLUMNS * BLOCK, pixels
            stream.time_base = Fraction(1, fps)
            stream.codec_context.thread_count = 1
            if turn:
                stream.set_display_rotation(turn)
            for number in range(frames):
                frame = av.VideoFrame.from_ndarray(_picture(number), format="rgb24")
                frame.pts = shown[number] if shown else number
                frame.time_base = Fraction(1, fps)
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
        return path

    return write
