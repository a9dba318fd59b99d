"""The largest batch that fits into a memory, and how fast it would be: two lines, fitted to small batches.

Time and memory of a step are taken as a constant and a part that grows with the batch. Both lines are fitted to
measurements at all batches but the largest, and foretell that one: how far they miss it is said. The memory that
arithmetic expects (``analysis.memory``) stands beside what was measured.
"""

from collections.abc import Callable, Sequence
from math import floor
from typing import Any

from mvit.analysis.complexity import complexity
from mvit.model.config import Triple
from mvit.model.presets import get_config
from mvit.provenance import provenance
from mvit.studies.cases import Subject, cases, loaded
from mvit.studies.footprint import footprint, require_measurable
from mvit.studies.measure import WARM_UP_ROUNDS, Progress, Times, in_rounds
from mvit.studies.spread import Line, line, spread

LEAST_BATCHES = 3


def plan(
    name: str,
    limit: float,
    *,
    clip: Triple | None = None,
    dtype: str = "float32",
    train: bool = False,
    device: str | None = None,
    batches: Sequence[int] = (1, 2, 4),
    runs: int = 5,
    progress: Progress = lambda done, of: None,
) -> dict[str, Any]:
    """The record of a plan for a preset within ``limit`` bytes, as JSON holds it.

    Raises ``ValueError`` for a name that is no preset, for fewer than three batches, and where a batch that was to be
    measured does not fit this machine.
    """
    config = get_config(name)
    if runs < 1:
        raise ValueError(f"{runs} runs measure nothing: there must be at least 1")
    if len(set(batches)) < LEAST_BATCHES:
        raise ValueError(f"batches {list(batches)}: two lines are fitted to all but the largest, so name three or more")
    size = clip or config.clip
    arithmetic = complexity(config, size)
    chosen = sorted(cases([name], [size], batches, [dtype], device=device, train=train), key=lambda case: case.batch)
    where = chosen[0].device
    require_measurable(where)
    steps = len(chosen) + runs + WARM_UP_ROUNDS

    memories = []
    for done, case in enumerate(chosen):
        found = footprint(case)
        if found is None:
            raise ValueError(f"a batch of {case.batch} clips does not fit this machine: name smaller ones by --batches")
        memories.append(found)
        progress(done + 1, steps)
    times: Times = {}
    with loaded(chosen) as subjects:
        tasks = {str(subject.case.batch): _step(subject) for subject in subjects}
        in_rounds(tasks, times, runs, where, lambda done: progress(len(chosen) + done, steps))
        tasks.clear()

    fixed = memories[0].weights + memories[0].state
    measured = [(case.batch, float(memory.activations)) for case, memory in zip(chosen, memories, strict=True)]
    middles = [(case.batch, spread(times[str(case.batch)]).median) for case in chosen]
    memory, duration = line(measured[:-1]), line(middles[:-1])
    batch = largest(limit - fixed, memory)
    return {
        "what": "plan of a training step" if train else "plan of a forward pass",
        **provenance(where),
        "case": chosen[0].to_dict() | {"batch": None},
        "limit_bytes": limit,
        "weights_bytes": memories[0].weights,
        "state_bytes": memories[0].state,
        "process_bytes": memories[0].before,
        "bytes_per_clip_by_arithmetic": arithmetic.training_bytes if train else arithmetic.inference_bytes,
        "activations_bytes": _fit(measured, memory),
        "milliseconds": _fit(middles, duration) | {"rounds": times},
        "batch": batch,
        "bytes": round(fixed + memory.at(batch)) if batch else None,
        "bytes_of_one_clip": round(fixed + memory.at(1)),
        "clips_per_second": rate(batch, duration) if batch else None,
    }


def largest(room: float, memory: Line) -> int:
    """The most clips whose activations fit into ``room`` bytes; 0 where not even one does.

    Raises ``ValueError`` where the line does not rise: then it says nothing about larger batches.
    """
    if memory.slope <= 0:
        raise ValueError("memory did not grow from batch to batch, so no largest one follows: name larger --batches")
    return max(floor((room - memory.at_zero) / memory.slope), 0)


def rate(batch: int, duration: Line) -> float | None:
    """Clips/s at a batch, by its milliseconds; None where these do not grow with it: larger ones do not follow then."""
    return 1e3 * batch / duration.at(batch) if duration.slope > 0 and duration.at(batch) > 0 else None


def describe(record: dict[str, Any]) -> str:
    """The plan in sentences."""
    case, machine = record["case"], record["hardware"]
    clip = "x".join(map(str, case["clip"]))
    memory, duration = record["activations_bytes"], record["milliseconds"]
    name = machine.get("gpu") or machine["processor"]
    lines = [
        f"{record['what']}: {case['name']}, clips of {clip}, {case['dtype']}; {name}, {machine['threads']} threads"
    ]
    if record["batch"]:
        speed = record["clips_per_second"]
        lines.append(
            f"{record['batch']} clips fit into {_giga(record['limit_bytes'])} and take {_giga(record['bytes'])}: "
            + (
                f"expect {speed:.3g} clips/s"
                if speed
                else "how fast is unknown, for time did not grow from batch to batch: name larger --batches"
            )
        )
    else:
        lines.append(
            f"nothing fits into {_giga(record['limit_bytes'])}: one clip takes {_giga(record['bytes_of_one_clip'])}"
        )
    check = memory["check"]
    lines += [
        f"memory: {_giga(record['weights_bytes'] + record['state_bytes'])} of weights"
        + (", gradients and AdamW's moments" if record["state_bytes"] else "")
        + f", {_giga(memory['at_zero'])} whatever the batch, {_giga(memory['slope'])} a clip"
        + f" ({_giga(record['bytes_per_clip_by_arithmetic'])} by arithmetic in float32);"
        + f" at {check['batch']} clips it is {check['error']:+.1%} off",
        f"time: {duration['at_zero']:.1f} ms and {duration['slope']:.1f} ms a clip;"
        f" at {duration['check']['batch']} clips it is {duration['check']['error']:+.1%} off",
        f"Not in it: {_giga(record['process_bytes'])} of the process itself"
        + (" and of others on the GPU" if case["device"] == "cuda" else "")
        + ", and the videos that wait to be learned from",
    ]
    return "\n".join(lines)


def _fit(points: Sequence[tuple[int, float]], fitted: Line) -> dict[str, Any]:
    batch, found = points[-1]
    return {
        "by_batch": {str(place): value for place, value in points},
        "at_zero": fitted.at_zero,
        "slope": fitted.slope,
        "check": {
            "batch": batch,
            "measured": found,
            "foretold": fitted.at(batch),
            "error": fitted.at(batch) / found - 1,
        },
    }


def _step(subject: Subject) -> Callable[[], None]:
    return lambda: subject.step()


def _giga(size: float) -> str:
    return f"{size / 1e9:,.2f} GB" if abs(size) >= 1e8 else f"{size / 1e6:,.3g} MB"
