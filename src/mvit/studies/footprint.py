"""The memory of one step, measured in a process of its own, so that nothing is left over from another model.

On a CPU it is the process's resident memory at its highest during the step, over what it was before the step, when
weights, gradients and the optimiser's state were there already; on a GPU the same of what torch has allocated. A step
that is not measured comes first: what libraries set up once is no part of it.
"""

import ctypes
import gc
import multiprocessing
import signal
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch

from mvit.data.processes import deaf
from mvit.studies.cases import Case, Subject
from mvit.training.memory import is_lack_of_memory

STATUS, CLEAR_REFS = Path("/proc/self/status"), Path("/proc/self/clear_refs")
RESET_PEAK = "5"
KIBIBYTE = 1024


@dataclass(frozen=True)
class Footprint:
    """Bytes of one step."""

    weights: int
    state: int
    """Gradients and AdamW's two moments; none unless it is a training step."""
    activations: int
    """What the step held at most beside those: activations, and what kernels needed inside themselves."""
    before: int
    """Of the process (CPU), or of the device outside of torch's tensors (CUDA), before there was a model."""

    @property
    def total(self) -> int:
        """Weights, gradients, the optimiser's state and activations."""
        return self.weights + self.state + self.activations

    def to_dict(self) -> dict[str, int]:
        """Plain values that JSON can hold."""
        return asdict(self) | {"total": self.total}


def unmeasurable(device: str) -> str | None:
    """Why the memory of a process cannot be read; None where it can."""
    for file in (STATUS, CLEAR_REFS) if device == "cpu" else ():
        if not file.is_file():
            return f"memory on a CPU is read by {file}, which is not there ({sys.platform})"
    return None


def require_measurable(device: str) -> None:
    """Raise ``ValueError`` where the memory of a process cannot be read."""
    if why := unmeasurable(device):
        raise ValueError(why)


def footprint(case: Case) -> Footprint | None:
    """Measure one step of a case in a fresh process; None where it came to its end, as by lack of memory."""
    require_measurable(case.device)
    return in_its_own_process(case.name, _of_a_step, case)


def of_a_call(name: str, prepare: Callable[[], Callable[[], None]], device: str) -> int | None:
    """Bytes that a call held at most beside what is there before it; None where memory did not suffice.

    ``prepare`` makes it, in a fresh process, so it must be a function of a module, or a ``partial`` of one.
    """
    require_measurable(device)
    return in_its_own_process(name, _peak, prepare, device)


def in_its_own_process(name: str, function: Callable[..., Any], *arguments: Any) -> Any:
    """What a function of a module gives in a fresh process; None where that came to its end, as by lack of memory."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe(duplex=False)
    process = context.Process(
        target=_answer, args=(name, function, arguments, torch.get_num_threads(), there), daemon=True
    )
    with deaf():
        process.start()
    there.close()
    try:
        answer = here.recv()
        process.join()
    except EOFError:
        return None
    finally:
        process.kill()
        process.join()
        here.close()
    if isinstance(answer, str):
        raise RuntimeError(answer)
    return answer


def _answer(
    name: str, function: Callable[..., Any], arguments: tuple[Any, ...], threads: int, answer: Connection
) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the process that waits for this one ends it
    torch.set_num_threads(threads)
    try:
        found: Any = function(*arguments)
    except Exception as why:  # the process that asked is to tell it
        if is_lack_of_memory(why):
            return
        found = f"{name} failed in a process of its own: {type(why).__name__}: {why}"
    answer.send(found)


def _of_a_step(case: Case) -> Footprint:
    before = _before(case.device)
    subject = Subject(case)
    subject.step(keep_gradients=True)
    gc.collect()
    held = _start(case.device)
    subject.step(keep_gradients=True)
    activations = max(_highest(case.device) - held, 0)
    weights = subject.weight_bytes
    return Footprint(weights=weights, state=3 * weights if case.train else 0, activations=activations, before=before)


def _peak(prepare: Callable[[], Callable[[], None]], device: str) -> int:
    call = prepare()
    call()
    gc.collect()
    held = _start(device)
    call()
    return max(_highest(device) - held, 0)


def _before(device: str) -> int:
    if device == "cpu":
        return _resident("VmRSS")
    torch.zeros(1, device=device)
    free, total = torch.cuda.mem_get_info()
    return total - free - torch.cuda.memory_reserved()


def _start(device: str) -> int:
    """Forget the highest so far; what is held now."""
    if device == "cuda":
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        return torch.cuda.memory_allocated()
    if trim := getattr(ctypes.CDLL(None), "malloc_trim", None):  # glibc's
        trim(0)  # or what was freed counts as held, and the step uses it again
    CLEAR_REFS.write_text(RESET_PEAK)
    return _resident("VmRSS")


def _highest(device: str) -> int:
    if device == "cuda":
        torch.cuda.synchronize()
        return torch.cuda.max_memory_allocated()
    return _resident("VmHWM")


def _resident(what: str) -> int:
    lines = dict(line.split(":", 1) for line in STATUS.read_text(encoding="ascii").splitlines())
    return int(lines[what].split()[0]) * KIBIBYTE
