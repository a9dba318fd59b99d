"""What a sweep came to: each study's variants with spread over seeds, beside the figures that the paper printed."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from mvit.data.dataset import Listing
from mvit.data.samples import medium_of
from mvit.deploy.predictor import load
from mvit.evaluation import probes
from mvit.provenance import provenance
from mvit.recipes import recipe as recipes
from mvit.studies import costs
from mvit.studies.ablations import PAPER, STUDIES
from mvit.studies.spread import contrast, deviation, mean
from mvit.studies.sweep import Sweep, Task
from mvit.training import hardware
from mvit.training.run import Run

RECORD = "ablate.json"
PROTOCOL = (
    "each variant trained {start} by the same recipe{rate} on the same videos{but} with every seed; differences are "
    "paired by seed, with 95 % intervals by Student's t over seeds: another draw of held-out videos is not in them"
)
PERCENT = 100

Progress = Callable[[int, int], None]


def probe(sweep: Sweep, *, orders: int, progress: Progress = lambda done, of: None) -> None:
    """Have a ``probe.json`` in every run folder that is done: held-out videos with their frames shuffled."""
    todo = [one for one in sweep.runs() if sweep.is_done(*one)]
    for number, (task, seed) in enumerate(todo, start=1):
        folder = sweep.run(task, seed).folder
        if not (folder / probes.PROBE_FILE).is_file():
            _probe(folder, sweep.videos(task, seed), orders, control=sweep.base.augment.order == "shuffled")
        progress(number, len(todo))


def _probe(folder: Path, listing: Listing, orders: int, *, control: bool) -> None:
    predictor = load(folder)
    found = probes.probe(
        predictor.logits,
        listing.val,
        predictor.classes,
        predictor.preprocessing,
        scoring=predictor.scoring,
        orders=orders,
        control=control,
    )
    probes.write(found, folder)


def record(sweep: Sweep, diverged: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Everything that is known of a sweep, done or not, as JSON holds it; shares are fractions, differences points."""
    results = _results(sweep)
    metric, before = sweep.metric, sweep.pretraining
    start = f"from its own run of the same seed on {before.data}" if before else "from scratch"
    return {
        "what": "ablations",
        "complete": len(results) == len(sweep.runs()),
        "protocol": PROTOCOL.format(
            start=start, rate=" but for a learning rate of its own" if sweep.rates else "", but=_other_videos(sweep)
        ),
        "printed": PAPER,
        **provenance(hardware.choose(sweep.base.train).device.type),
        "data": _data(sweep),
        "measured": costs.measured(sweep),
        "matching": sweep.settings["match"],
        "tuning": _tuning(sweep),
        "pretraining": {"data": _data(before), "metric": before.metric, "tuning": _tuning(before)} if before else None,
        "views": next((result["protocol"] for result in results.values()), None),
        "recipe": recipes.as_dict(sweep.base),
        "seeds": list(sweep.seeds),
        "metric": metric,
        "diverged": dict(diverged or {}),
        "studies": {
            name: _study(name, sweep, {key: result[metric] for key, result in results.items()}, metric)
            for name in dict.fromkeys(task.study for task in sweep.tasks)
        },
    }


def _other_videos(sweep: Sweep) -> str:
    """Which studies have variants that learn from fewer videos or others; empty where none has."""
    parts = {task.study: "parts of them" for task in sweep.tasks if task.declared.train_share != 1}
    sets = {task.study: "sets of their own" for task in sweep.tasks if task.declared.object_size != 1}
    said = "; ".join(f"{study}: {videos}" for study, videos in (parts | sets).items())
    return f" ({said})" if said else ""


def _results(sweep: Sweep) -> dict[tuple[str, int], dict[str, Any]]:
    return {(task.name, seed): sweep.result(task, seed) for task, seed in sweep.runs() if sweep.is_done(task, seed)}


def _data(sweep: Sweep) -> dict[str, Any]:
    listing = sweep.listing
    parts = {"train": len(listing.train), "val": len(listing.val), "how": listing.how}
    return {"path": str(sweep.data), "medium": medium_of(listing.train), "classes": len(listing.classes), **parts}


def _tuning(sweep: Sweep) -> dict[str, Any] | None:
    """By which videos learning rates were chosen, for all variants alike."""
    if not sweep.rates:
        return None
    tried = sweep.tuning[sweep.rates[0]]
    return {"rates": list(sweep.rates), "seed": tried.seeds[0], "metric": tried.metric, "data": _data(tried)}


def _chosen(sweep: Sweep, task: Task, *, settled: bool) -> dict[str, Any] | None:
    """What each learning rate came to, and the best of them where all that could were tried."""
    if not sweep.rates:
        return None
    tried = {f"{rate:g}": value for rate, value in sweep.tried(task).items()}
    return {"tried": tried, "chosen": sweep.chosen(task) if settled else None}


def _before(sweep: Sweep, task: Task) -> dict[str, Any] | None:
    """What the runs had learned elsewhere that a variant's start from."""
    before, start = sweep.pretraining, sweep.start(task)
    if before is None or start is None:
        return None
    seeds = [seed for seed in before.seeds if before.is_done(start, seed)]
    return {
        "runs": [before.run(start, seed).folder.relative_to(sweep.folder).as_posix() for seed in seeds],
        before.metric: _spread([before.result(start, seed)[before.metric] for seed in seeds]),
        "tuning": _chosen(before, start, settled=bool(seeds)),
    }


def _study(name: str, sweep: Sweep, values: Mapping[tuple[str, int], float], metric: str) -> dict[str, Any]:
    study, measured = STUDIES[name], costs.measured(sweep)
    tasks = {task.variant: task for task in sweep.tasks if task.study == name}
    reference = tasks[study.reference]
    return {
        "question": study.question,
        "reference": study.reference,
        "matched": sweep.matching.by if sweep.matching else "cost" if study.matched else None,
        "variants": {
            variant: _variant(task, reference, sweep, values, metric, measured) for variant, task in tasks.items()
        },
    }


def _variant(
    task: Task,
    reference: Task,
    sweep: Sweep,
    values: Mapping[tuple[str, int], float],
    metric: str,
    measured: dict[str, Any] | None,
) -> dict[str, Any]:
    seeds = [seed for seed in sweep.seeds if (task.name, seed) in values]
    pairs = [seed for seed in seeds if (reference.name, seed) in values] if task is not reference else []
    printed, other = task.declared.printed, reference.declared.printed
    points = {key: PERCENT * value for key, value in values.items()}
    own = [values[task.name, seed] for seed in seeds]
    shuffled = [found for seed in seeds if (found := _shuffled(sweep.run(task, seed), metric)) is not None]
    return {
        "name": task.name,
        "runs": [f"{task.name}-{seed}" for seed in seeds],
        "gmac": task.cost.macs / 1e9,
        "parameters": task.cost.parameters,
        "step": costs.beside(measured, task.name, reference.name) if measured else None,
        "model": task.recipe.model_config(len(sweep.listing.classes)).to_dict(),
        "printed": {"top1": printed.top1, "gmac": printed.gmac, "note": printed.note} if printed else None,
        "tuning": _chosen(sweep, task, settled=bool(own)),
        "pretraining": _before(sweep, task),
        "printed_difference": round(printed.top1 - other.top1, 1) if printed and other else None,
        metric: _spread(own),
        "difference": contrast(
            [points[task.name, seed] for seed in pairs], [points[reference.name, seed] for seed in pairs]
        ).to_dict()
        if len(pairs) > 1
        else None,
        "pairs": len(pairs),
        "shuffled": _spread(shuffled) if shuffled else None,
        "clips_per_second": mean(speeds) if (speeds := list(_speeds(task, seeds, sweep))) else None,
    }


def _spread(values: Sequence[float]) -> dict[str, Any]:
    return {
        "values": list(values),
        "mean": mean(values) if values else None,
        "deviation": deviation(values) if len(values) > 1 else None,
    }


def _shuffled(run: Run, metric: str) -> float | None:
    file = run.folder / probes.PROBE_FILE
    return json.loads(file.read_text(encoding="utf-8"))["shuffled"][metric] if file.is_file() else None


def _speeds(task: Task, seeds: Sequence[int], sweep: Sweep) -> Iterator[float]:
    """Clips a second of training, of every epoch."""
    for seed in seeds:
        lines = sweep.run(task, seed).metrics.read_text(encoding="utf-8").splitlines()
        yield from (json.loads(line)["clips_per_second"] for line in lines)
