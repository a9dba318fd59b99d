"""What variants of a sweep take to learn from a batch, measured: the time of a step, beside each other, and its memory.

Multiply-adds match variants by arithmetic; how far those that are matched are apart in time and memory, machines say.
"""

import json
from collections.abc import Callable, Mapping
from math import inf
from typing import Any

from mvit import files
from mvit.provenance import provenance
from mvit.studies.cases import Case, loaded, require_device
from mvit.studies.footprint import footprint, require_measurable
from mvit.studies.measure import WARM_UP_ROUNDS, Times, in_rounds
from mvit.studies.spread import ratios, spread
from mvit.studies.sweep import Measure, Sweep
from mvit.training import hardware

MEASURED = "measured.json"
ROUNDS, MATCHING_ROUNDS = 15, 9
PROTOCOL = (
    "a training step on random clips: forward and backward pass and AdamW; every round runs each variant once, in an "
    f"order drawn anew, {WARM_UP_ROUNDS} rounds before the first are left out; memory in a process of its own: "
    "weights, gradients, the optimiser's state, and what the step held at most beside them"
)

Progress = Callable[[int, int], None]


def require_measurable_steps(sweep: Sweep) -> None:
    """Raise ``ValueError`` as ``measure`` does, before anything is trained."""
    chosen = _cases(sweep)
    if not _is_measured(chosen, sweep):
        require_measurable(next(iter(chosen.values())).device)


def measure(sweep: Sweep, *, rounds: int = ROUNDS, progress: Progress = lambda done, of: None) -> None:
    """Have a ``measured.json`` in the folder with time and memory of each variant; what is there is kept.

    Where it lacks one, all are measured anew, as times are of one moment. Raises ``ValueError`` where the memory of a
    process cannot be read, and for a precision or device that is not measured.
    """
    chosen = _cases(sweep)
    if _is_measured(chosen, sweep):
        return
    first = next(iter(chosen.values()))
    require_measurable(first.device)
    steps = rounds + WARM_UP_ROUNDS + len(chosen)
    times = _times(chosen, rounds, lambda done: progress(done, steps))
    memory = {}
    for done, (name, case) in enumerate(chosen.items(), start=rounds + WARM_UP_ROUNDS + 1):
        found = footprint(case)
        memory[name] = found.to_dict() if found else None
        progress(done, steps)
    record = {
        "protocol": PROTOCOL,
        "rounds": rounds,
        "batch": first.batch,
        "precision": first.dtype,
        **provenance(first.device),
        "sizes": {name: case.size for name, case in chosen.items()},
        "milliseconds": times,
        "memory_bytes": memory,
    }
    files.write_text(sweep.folder / MEASURED, json.dumps(record, indent=1) + "\n")


def measured(sweep: Sweep) -> dict[str, Any] | None:
    """What ``measure`` wrote of this sweep's variants; None where it did not, or of others."""
    file = sweep.folder / MEASURED
    return dict(json.loads(file.read_text(encoding="utf-8"))) if file.is_file() else None


def beside(record: dict[str, Any], name: str, reference: str) -> dict[str, Any] | None:
    """A variant's step in that record, its time beside the reference's round by round; None where it is not in it."""
    times, memory = record["milliseconds"], record["memory_bytes"]
    if not {name, reference} <= times.keys():
        return None
    own, other = (memory[each] and memory[each]["total"] for each in (name, reference))
    return {
        "milliseconds": spread(times[name]).to_dict(),
        "times_reference": ratios(times[name], times[reference]).to_dict(),
        "memory_bytes": memory[name],
        "memory_times_reference": own / other if own and other else None,
    }


def of_reference(sweep: Sweep, by: Measure) -> dict[str, float]:
    """What a training step of each variant takes over its study's reference's, by the names of runs.

    Time is the median of a few rounds beside each other; infinite where memory did not suffice. Raises ``ValueError``
    as ``measure`` does, and where it did not suffice for a reference.
    """
    chosen = _cases(sweep)
    if by == "time":
        times = _times(chosen, MATCHING_ROUNDS, lambda done: None)
        return {task.name: ratios(times[task.name], times[sweep.reference(task).name]).median for task in sweep.tasks}
    found = {name: footprint(case) for name, case in chosen.items()}
    for name in dict.fromkeys(sweep.reference(task).name for task in sweep.tasks):
        if found[name] is None:
            raise ValueError(
                f"a step of {name} does not fit into the memory here, so nothing can be matched with it: take a "
                "smaller train.batch, or leave out --match"
            )
    totals = {name: step.total if step else inf for name, step in found.items()}
    return {task.name: totals[task.name] / totals[sweep.reference(task).name] for task in sweep.tasks}


def _times(chosen: dict[str, Case], rounds: int, progress: Callable[[int], None]) -> Times:
    device, times = next(iter(chosen.values())).device, Times()
    with loaded(list(chosen.values())) as subjects:
        tasks = {name: subject.step for name, subject in zip(chosen, subjects, strict=True)}
        in_rounds(tasks, times, rounds, device, progress)
        tasks.clear()
    return times


def _is_measured(chosen: Mapping[str, Case], sweep: Sweep) -> bool:
    return {name: case.size for name, case in chosen.items()}.items() <= _known(sweep).items()


def _known(sweep: Sweep) -> dict[str, Any]:
    return (measured(sweep) or {"sizes": {}})["sizes"]


def _cases(sweep: Sweep) -> dict[str, Case]:
    """A training step of each variant, as the recipe's machine computes it."""
    machine = hardware.choose(sweep.base.train)
    if machine.precision == "fp16":
        raise ValueError("steps in fp16 are not measured: leave out --measure and --match, or train in bf16 or float32")
    sizes = {task.name: task.recipe.model_config(len(sweep.listing.classes)) for task in sweep.tasks}
    return {
        name: Case(
            name=name,
            clip=config.clip,
            batch=sweep.base.train.clips_per_step,
            dtype="float32" if machine.precision == "float32" else "autocast",
            device=require_device(machine.device.type),
            train=True,
            config=config,
        )
        for name, config in sizes.items()
    }
