"""What a run computes on: device, precision and decoding processes, each with the reason in words."""

import sys
from dataclasses import dataclass
from typing import Literal

import torch

from mvit.data.resources import available_cores
from mvit.data.samples import counted
from mvit.recipes.sections import TrainRecipe

try:
    import resource
except ImportError:  # Windows has none
    resource = None

MOST_WORKERS = 16

Precision = Literal["bf16", "fp16", "float32"]
SCALED_DEVICES = ("cuda", "cpu")
"""Where torch scales the loss of fp16."""
_TYPES = {"bf16": torch.bfloat16, "fp16": torch.float16, "float32": torch.float32}


@dataclass(frozen=True)
class Hardware:
    """Where and in what numbers the forward and backward pass run; weights are float32 always."""

    device: torch.device
    precision: Precision
    workers: int
    reason: str

    @property
    def reduced(self) -> bool:
        """Whether matrix products take two bytes a number."""
        return self.precision != "float32"

    def autocast(self, enabled: bool = True) -> torch.autocast:
        """The context of a forward pass."""
        reduced = self.reduced and enabled
        return torch.autocast(self.device.type, dtype=_TYPES[self.precision] if reduced else None, enabled=reduced)

    def scaler(self) -> torch.amp.GradScaler:
        """What multiplies the loss, and divides its gradients again: those of fp16 would vanish below 6e-8."""
        return torch.amp.GradScaler(self.device.type, enabled=self.precision == "fp16")

    def __str__(self) -> str:
        name = torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else self.device.type
        threads = f" on {counted(torch.get_num_threads(), 'thread')}" if self.device.type == "cpu" else ""
        processes = counted(self.workers, "decoding process", "decoding processes")
        return f"{name}{threads}, {self.precision} ({self.reason}), {processes}"


def choose(recipe: TrainRecipe) -> Hardware:
    """What the recipe's ``device``, ``precision`` and ``workers`` mean on this machine.

    Raises ``ValueError`` for a device that is not there, and for a precision that it does not train in.
    """
    device = torch.device(_device(recipe.device))
    precision, reason = _precision(device, recipe.precision)
    return Hardware(device, precision, _workers(device) if recipe.workers == "auto" else recipe.workers, reason)


def peak_memory(device: torch.device) -> int | None:
    """Bytes that were held at most until now: torch's tensors on a GPU, this process on a CPU; None where unknown."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    if device.type != "cpu" or resource is None:
        return None
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else 1024 * most


def _device(wanted: str) -> str:
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if wanted == "auto":
        return next(name for name, available in there.items() if available)
    if not there[wanted]:
        names = " and ".join(name for name, available in there.items() if available)
        raise ValueError(f'train.device is "{wanted}", which this machine and torch build lack: there is {names}')
    return wanted


def _precision(device: torch.device, wanted: Precision | Literal["auto"]) -> tuple[Precision, str]:
    if wanted != "auto":
        if wanted == "fp16" and device.type not in SCALED_DEVICES:
            raise ValueError(
                f'train.precision is "fp16", whose loss must be scaled, which torch does on '
                f"{' and '.join(SCALED_DEVICES)} and not on {device.type}: set it to bf16 or float32"
            )
        return wanted, "as the recipe says"
    if device.type == "cuda":
        fast = torch.cuda.is_bf16_supported(including_emulation=False)
        if not fast:
            return "float32", "this GPU has no bf16; train.precision=fp16 is quicker"
        return "bf16", "this GPU multiplies bf16"
    if device.type == "cpu":
        # AVX-512 BF16 alone is not enough: 10 clips/s against 13 in float32 (mvit_tiny_16x64, one Xeon core).
        fast = torch.cpu._is_amx_tile_supported()
        return ("bf16", "this processor has AMX") if fast else ("float32", "without AMX, bf16 is slower")
    return "float32", f"bf16 is untried on {device.type}"


def _workers(device: torch.device) -> int:
    """On a GPU a process for each processor; on a CPU few, as the model computes on the same processors."""
    usable = available_cores()
    return min(MOST_WORKERS, usable if device.type != "cpu" else max(1, usable // 4))
