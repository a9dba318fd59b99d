"""Windows over a grid of tokens, as numbers: what poolings and patch mergings make of its size.

No torch here, as in ``config``.
"""

from dataclasses import dataclass
from math import prod

Triple = tuple[int, int, int]
"""Time, height, width."""


def convolved(size: Triple, kernel: Triple, stride: Triple, padding: Triple) -> Triple:
    """Size in time, height and width after a strided, padded window; raises ``ValueError`` where nothing is left."""
    t, h, w = (
        (n + 2 * pad - window) // step + 1 for n, window, step, pad in zip(size, kernel, stride, padding, strict=True)
    )
    if min(t, h, w) < 1:
        raise ValueError(f"an input of {size} is too small for a kernel of {kernel} with stride {stride}")
    return (t, h, w)


def divided(size: Triple, stride: Triple) -> Triple:
    """Size over stride, rounded down but at least 1: the official code's grid where it only sizes tables."""
    t, h, w = (max(n // step, 1) for n, step in zip(size, stride, strict=True))
    return (t, h, w)


@dataclass(frozen=True, kw_only=True)
class PoolConfig:
    """One pooling operator; kernel 1 with stride 1 is no operator at all."""

    kernel: Triple
    stride: Triple
    padding: Triple

    @property
    def is_identity(self) -> bool:
        return self.kernel == (1, 1, 1) and self.stride == (1, 1, 1)

    def grid_of(self, grid: Triple) -> Triple:
        """Tokens in time, height and width that come out: ``ceil(size / stride)`` for odd kernels padded by half."""
        return convolved(grid, self.kernel, self.stride, self.padding)

    def places_read(self, grid: Triple) -> tuple[list[int], list[int], list[int]]:
        """The coordinates along each axis that lie in some window: not all of them where strides exceed kernels."""
        return tuple(  # type: ignore[return-value]
            [place for place in range(size) if stride <= kernel or (place + pad) % stride < kernel]
            for size, kernel, stride, pad in zip(grid, self.kernel, self.stride, self.padding, strict=True)
        )

    @property
    def skips_places(self) -> bool:
        """Whether windows leave places unread; the grid of those read pools to the same by ``packed``."""
        gaps = any(stride > kernel for stride, kernel in zip(self.stride, self.kernel, strict=True))
        return gaps and all(pad < kernel for pad, kernel in zip(self.padding, self.kernel, strict=True))

    @property
    def packed(self) -> "PoolConfig":
        """The same windows on the grid of the places that are read, where they lie side by side."""
        t, h, w = (min(stride, kernel) for stride, kernel in zip(self.stride, self.kernel, strict=True))
        return PoolConfig(kernel=self.kernel, stride=(t, h, w), padding=self.padding)

    @property
    def skip(self) -> "PoolConfig":
        """The max pooling that brings a skip connection to the same grid (1x3x3 for a stride of 1x2x2, as released).

        The official code takes stride + 1; an odd kernel padded by half always gives ``ceil(size / stride)``, and an
        operator that gives another grid (even kernels) is followed in its kernel and padding.
        """
        odd = all(kernel == 2 * padding + 1 for kernel, padding in zip(self.kernel, self.padding, strict=True))
        if not odd:
            return self
        t, h, w = (stride // 2 for stride in self.stride)
        return PoolConfig(kernel=(2 * t + 1, 2 * h + 1, 2 * w + 1), stride=self.stride, padding=(t, h, w))


@dataclass(frozen=True, kw_only=True)
class MergeConfig(PoolConfig):
    """Patch merging: windows side by side, which are filled up by zeros where the grid ends inside one."""

    width: int
    """Channels of what is merged."""

    @property
    def width_merged(self) -> int:
        """Channels of a window's tokens side by side."""
        return prod(self.stride) * self.width

    def grid_of(self, grid: Triple) -> Triple:
        """Tokens in time, height and width that come out: ``ceil(size / stride)``."""
        t, h, w = (-(-n // step) for n, step in zip(grid, self.stride, strict=True))
        return (t, h, w)


NO_POOL = PoolConfig(kernel=(1, 1, 1), stride=(1, 1, 1), padding=(0, 0, 0))
