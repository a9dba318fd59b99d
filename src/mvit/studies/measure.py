"""How fast models are beside each other: all are timed in one process, run after run, so that what slows the machine
down for a while slows all of them down.

A round runs every case once, its matrix products alone, and one large product of matrices, in an order that is drawn
anew. What is said of a case is the median over the rounds, and of two cases the median of their ratios within rounds.
"""

import random
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from mvit.baselines import BASELINES
from mvit.provenance import provenance
from mvit.studies.cases import MACS_OF_A_STEP, Case, Subject, loaded, macs
from mvit.studies.footprint import footprint, require_measurable
from mvit.studies.products import Product, Workspace, noted, square
from mvit.studies.spread import ratios, spread

WARM_UP_ROUNDS = 2
SEED = 0
PROTOCOL = (
    "random weights and clips; every round runs each case, its matrix products alone and a large product of matrices, "
    f"in an order drawn anew; {WARM_UP_ROUNDS} rounds before the first are left out"
)
Times = dict[str, list[float]]
"""Milliseconds of every round, by task."""
Progress = Callable[[int, int], None]


def measure(
    chosen: Sequence[Case], *, runs: int, memory: bool = False, progress: Progress = lambda done, of: None
) -> dict[str, Any]:
    """The record of a measurement, as JSON holds it: every time of every round, and what follows of them.

    A ``KeyboardInterrupt`` after the first round ends it early: ``complete`` is false then, and the record is of the
    rounds that were whole. Raises ``ValueError`` for a case that cannot be, before anything is timed.
    """
    if runs < 1:
        raise ValueError(f"{runs} runs measure nothing: there must be at least 1")
    if memory:
        require_measurable(chosen[0].device)
    multiply_adds = {size: macs(*size) for size in {(case.name, case.clip) for case in chosen}}
    steps = (len(chosen) if memory else 0) + runs + WARM_UP_ROUNDS
    times: Times = {}
    memories: list[dict[str, int] | None] = []
    known: dict[str, Any] = {}
    complete = False
    try:
        with loaded(chosen) as subjects:
            tasks, known["products"] = _tasks(subjects)
            in_rounds(tasks, times, runs, chosen[0].device, lambda done: progress(done, steps))
        tasks.clear()
        for done, case in enumerate(chosen if memory else (), start=runs + WARM_UP_ROUNDS):
            found = footprint(case)
            memories.append(found.to_dict() if found else None)
            progress(done + 1, steps)
        complete = True
    except KeyboardInterrupt:
        if not times.get("case 0"):
            raise
    libraries = sorted({BASELINES[case.name].library for case in chosen if case.name in BASELINES})
    return {
        "what": "training step" if chosen[0].train else "forward",
        "complete": complete,
        "protocol": PROTOCOL,
        "rounds": len(times["case 0"]),
        **provenance(chosen[0].device, libraries),
        "cases": [
            case.to_dict()
            | {"gmac": case.batch * multiply_adds[case.name, case.clip] / 1e9}
            | {"products_gmac": known["products"][index]}
            | _of_case(index, case, chosen, times, multiply_adds)
            | ({"memory_bytes": memories[index]} if index < len(memories) else {})
            for index, case in enumerate(chosen)
        ],
        "milliseconds": times,
    }


def in_rounds(
    tasks: Mapping[str, Callable[[], None]],
    times: Times,
    runs: int,
    device: str,
    progress: Callable[[int], None] = lambda done: None,
) -> None:
    """Run every task in each round, in an order drawn anew, and add a round's milliseconds to ``times`` at its end."""
    order = random.Random(SEED)
    for index in range(-WARM_UP_ROUNDS, runs):
        names = list(tasks)
        order.shuffle(names)
        found = {name: _milliseconds(tasks[name], device) for name in names}
        if index >= 0:
            for name in tasks:
                times.setdefault(name, []).append(found[name])
        progress(index + WARM_UP_ROUNDS + 1)


def _milliseconds(task: Callable[[], None], device: str) -> float:
    if device == "cuda":
        begun, ended = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        torch.cuda.synchronize()
        begun.record()
        task()
        ended.record()
        ended.synchronize()
        return begun.elapsed_time(ended)
    start = time.perf_counter()
    task()
    return 1e3 * (time.perf_counter() - start)


def _tasks(subjects: Sequence[Subject]) -> tuple[dict[str, Callable[[], None]], list[float]]:
    """What a round runs, by name, and how many thousand million multiply-adds each case's products are."""
    own = [noted(lambda subject=subject: subject.step(eager=True)) for subject in subjects]  # type: ignore[misc]
    device = subjects[0].case.device
    peaks = {dtype: square(device, dtype) for dtype in sorted({s.case.product_dtype for s in subjects})}
    workspace = Workspace([*(each for products in own for each in products), *peaks.values()], device)
    tasks: dict[str, Callable[[], None]] = {}
    for index, (subject, products) in enumerate(zip(subjects, own, strict=True)):
        tasks[f"case {index}"] = _compiling(subject) if subject.case.way == "compiled" else subject.step
        if products:
            tasks[f"products of case {index}"] = _running(workspace, products)
    for dtype, peak in peaks.items():
        tasks[f"{peak.rows}x{peak.rows} by itself, {dtype}"] = _running(workspace, [peak])
    return tasks, [sum(product.macs for product in products) / 1e9 for products in own]


def _running(workspace: Workspace, products: Sequence[Product]) -> Callable[[], None]:
    return lambda: workspace.run(products)


def _compiling(subject: Subject) -> Callable[[], None]:
    def step() -> None:
        try:
            subject.step()
        except (RuntimeError, torch._dynamo.exc.TorchDynamoException) as why:
            first = str(why).strip().splitlines()[0]
            raise ValueError(f"torch.compile of {subject.case.name} failed here: {first}") from why

    return step


def _of_case(
    index: int,
    case: Case,
    chosen: Sequence[Case],
    times: Times,
    multiply_adds: Mapping[tuple[str, tuple[int, int, int]], int],
) -> dict[str, Any]:
    """What the rounds say of a case; ratios are of times, so that 2 is twice as long."""
    own = times[f"case {index}"]
    middle = spread(own)
    work = case.batch * multiply_adds[case.name, case.clip] * (MACS_OF_A_STEP if case.train else 1)
    side = square(case.device, case.product_dtype)
    peak = times[f"{side.rows}x{side.rows} by itself, {case.product_dtype}"]
    said: dict[str, Any] = {
        "milliseconds": middle.to_dict(),
        "clips_per_second": 1e3 * case.batch / middle.median,
        "gmac_per_second": work / 1e6 / middle.median,
        "of_first": ratios(own, times["case 0"]).to_dict(),
        "share_of_peak": ratios([work * each for each in peak], [side.macs * each for each in own]).to_dict(),
    }
    if alone := times.get(f"products of case {index}"):
        said["share_of_products"] = ratios(alone, own).to_dict()
    smaller = next(i for i, other in enumerate(chosen) if _differ_by_clip(case, other))
    if smaller != index:
        work_ratio = multiply_adds[case.name, case.clip] / multiply_adds[case.name, chosen[smaller].clip]
        time_ratio = ratios(own, times[f"case {smaller}"])
        said["growth"] = {
            "of_case": smaller,
            "gmac_ratio": work_ratio,
            "time_over_gmac_ratio": {name: each / work_ratio for name, each in time_ratio.to_dict().items()},
        }
    return said


def _differ_by_clip(case: Case, other: Case) -> bool:
    return case.to_dict() | {"clip": None} == other.to_dict() | {"clip": None}
