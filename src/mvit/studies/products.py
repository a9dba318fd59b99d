"""The matrix products of a model, timed without the model: what it could not be faster than, were they all it did.

They are noted while a step runs: linear layers, products of matrices, and both products of each attention, or the five
of its backward pass (the queries with the keys are multiplied again there). Convolutions are not among them.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

SQUARE = {"cpu": 2048, "cuda": 8192}
"""Side of the matrices whose product stands for the most that a device can do."""
SCALE = 0.02


@dataclass(frozen=True)
class Product:
    """(rows, inner) by (inner, columns), ``batch`` times or, where that is None, as matrices."""

    batch: int | None
    rows: int
    inner: int
    columns: int
    transposed: tuple[bool, bool]
    """Whether each factor lies in memory as its transpose."""
    dtype: torch.dtype

    @property
    def macs(self) -> int:
        """Multiply-adds."""
        return (self.batch or 1) * self.rows * self.inner * self.columns

    @property
    def sizes(self) -> tuple[int, int, int]:
        """Elements of both factors and of the result."""
        times = self.batch or 1
        return times * self.rows * self.inner, times * self.inner * self.columns, times * self.rows * self.columns


def square(device: str, dtype: str) -> Product:
    """The product that stands for the most that a device can do."""
    side = SQUARE[device]
    return Product(None, side, side, side, (False, False), getattr(torch, dtype))


def noted(step: Callable[[], None]) -> list[Product]:
    """The products of one step, in their order."""
    with _Notes() as notes:
        step()
    return notes.products


class _Notes(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.products: list[Product] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = func.overloadpacket.__name__
        if name in ("mm", "bmm"):
            self.products.append(_of(args[0], args[1]))
        elif name in ("addmm", "baddbmm"):
            self.products.append(_of(args[1], args[2]))
        elif name.startswith("_scaled_dot_product"):
            backward = "backward" in name
            q, k, v = args[1:4] if backward else args[:3]
            self.products += _of_attention(q, k, v, backward)
        else:
            with self:  # under inference_mode linear layers and attention arrive whole
                parts = func.decompose(*args, **kwargs)
            if parts is not NotImplemented:
                return parts
        return func(*args, **kwargs)


def _of(first: Tensor, second: Tensor) -> Product:
    *batch, rows, inner = first.shape
    turned = (first.stride(-1) != 1, second.stride(-1) != 1)
    return Product(batch[0] if batch else None, rows, inner, second.shape[-1], turned, first.dtype)


def _of_attention(q: Tensor, k: Tensor, v: Tensor, backward: bool) -> Iterator[Product]:
    """(B, h, Q, d), (B, h, K, d) and (B, h, K, e)."""
    batch, dtype = q.shape[0] * q.shape[1], q.dtype
    Q, K, d, e = q.shape[2], k.shape[2], q.shape[3], v.shape[3]
    yield Product(batch, Q, d, K, (False, True), dtype)  # logits
    if not backward:
        yield Product(batch, Q, K, e, (False, False), dtype)
        return
    yield Product(batch, K, Q, e, (True, False), dtype)  # gradient of the values
    yield Product(batch, Q, e, K, (False, True), dtype)  # of the weights
    yield Product(batch, Q, K, d, (False, False), dtype)  # of the queries
    yield Product(batch, K, Q, d, (True, False), dtype)  # of the keys


class Workspace:
    """Memory in which products are computed one after the other, large enough for the largest."""

    def __init__(self, products: Iterable[Product], device: str) -> None:
        sizes: dict[torch.dtype, tuple[int, ...]] = {}
        for each in products:
            sizes[each.dtype] = tuple(map(max, each.sizes, sizes.get(each.dtype, (0, 0, 0))))
        self.memory = {
            dtype: [torch.randn(size, device=device).mul_(SCALE).to(dtype) for size in most]
            for dtype, most in sizes.items()
        }

    def run(self, products: Iterable[Product]) -> None:
        """Compute them in their order."""
        with torch.inference_mode():
            for each in products:
                shapes = ((each.rows, each.inner), (each.inner, each.columns), (each.rows, each.columns))
                turned = (*each.transposed, False)
                first, second, result = (
                    _shaped(*parts, each.batch) for parts in zip(self.memory[each.dtype], shapes, turned, strict=True)
                )
                (torch.mm if each.batch is None else torch.bmm)(first, second, out=result)


def _shaped(memory: Tensor, shape: tuple[int, int], transposed: bool, batch: int | None) -> Tensor:
    rows, columns = reversed(shape) if transposed else shape
    times = () if batch is None else (batch,)
    matrices = memory[: (batch or 1) * rows * columns].view(*times, rows, columns)
    return matrices.transpose(-1, -2) if transposed else matrices
