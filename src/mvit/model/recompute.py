"""Activation checkpointing: what the backward pass computes again instead of having been kept since the forward pass.

Whole blocks by ``torch.utils.checkpoint``, which draws the same random numbers again; and cheap functions, norms and
GELU, by keeping their input in place of their output. The gradients are those of the plain pass, bit for bit.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks
from torch.utils.checkpoint import checkpoint

from mvit.model.config import Triple

AUTOCASTS = tuple(device for device in ("cpu", "cuda", "mps", "xpu") if torch.amp.is_autocast_available(device))
"""Types of device that have an autocast: asked once, since torch 2.10 compiles no function that asks."""


def autocast_of(device: str) -> AbstractContextManager[object]:
    """Autocast as it is set now for a type of device, to be entered again in the backward pass."""
    if device not in AUTOCASTS:
        return nullcontext()
    dtype = torch.get_autocast_dtype(device)
    # Without the cache: torch 2.10 finds weights there that were cast without gradients.
    return torch.autocast(device, dtype=dtype, enabled=torch.is_autocast_enabled(device), cache_enabled=False)


def checkpointed(function: Callable[[Tensor, Triple], Any], x: Tensor, grid: Triple) -> Any:
    """``function(x, grid)``, of which x alone is kept; for gradients it is called again, and draws the same."""
    return checkpoint(function, x, grid, use_reentrant=False)


@contextmanager
def recomputed(
    function: Callable[[Tensor], Tensor], x: Tensor, y: Tensor | None = None, *, enabled: bool = True
) -> Iterator[Tensor]:
    """``function(x)`` for the operations inside: where one would keep it for its gradient, x is kept in its place.

    ``y`` is what it gives, where that is there already. ``function`` gives a new tensor and draws nothing random. Not
    for use inside ``checkpointed``, whose own hooks would not see what is kept here. Without effect while compiling: a
    compiler chooses for itself what to compute again.
    """
    y = function(x) if y is None else y
    hooks: AbstractContextManager[object] = nullcontext()
    if enabled and torch.is_grad_enabled() and not torch.compiler.is_compiling():
        kept = _InPlaceOf(function, x, y)
        hooks = saved_tensors_hooks(kept.pack, kept.unpack)
    del x  # so that nothing here holds it while what stands inside runs
    with hooks:
        yield y


class _InPlaceOf:
    """Stands for views of ``function(x)``; it computes them once and forgets them with the last that is asked for."""

    def __init__(self, function: Callable[[Tensor], Tensor], x: Tensor, y: Tensor) -> None:
        self.function, self.x = function, x.detach()
        self.place = y.untyped_storage().data_ptr()
        self.autocast = autocast_of(x.device.type)
        self.waiting = 0
        self.again: Tensor | None = None

    def pack(self, saved: Tensor) -> Any:
        if saved.untyped_storage().data_ptr() != self.place:
            return saved
        self.waiting += 1
        return saved.shape, saved.stride(), saved.storage_offset()

    def unpack(self, packed: Any) -> Tensor:
        if isinstance(packed, Tensor):
            return packed
        y = self.again
        if y is None:
            with torch.no_grad(), self.autocast:
                y = self.function(self.x)
        self.waiting -= 1
        self.again = y if self.waiting > 0 else None
        return y.as_strided(*packed)
