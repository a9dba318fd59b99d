"""What a sweep came to: each study's variants with spread over seeds, beside the figures that the paper printed."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from mvit.data.dataset import Listing
from mvit.data.samples import counted, medium_of
from mvit.deploy.predictor import load
from mvit.evaluation import probes
from mvit.provenance import provenance
from mvit.recipes import recipe as recipes
from mvit.recipes.recipe import Recipe
from mvit.studies import costs
from mvit.studies.ablations import PAPER, STUDIES
from mvit.studies.spread import contrast, deviation, mean
from mvit.studies.sweep import Sweep, Task
from mvit.studies.variants import ALIKE
from mvit.training import hardware
from mvit.training.run import Run

RECORD = "ablate.json"
PROTOCOL = (
    "each variant trained {start} by the same recipe{rate} on the same videos with every seed; differences are paired "
    "by seed, with 95 % intervals by Student's t over seeds: another draw of held-out videos is not in them"
)
COLUMNS = (
    *(
        "variant",
        "GMAC",
        "time",
        "memory",
        "params M",
        "lr",
        "before",
        "paper",
        "(diff)",
        "ours",
        "sd",
        "difference",
        "resolves",
    ),
    *("shuffled", "n"),
)
PERCENT = 100

Progress = Callable[[int, int], None]


def probe(sweep: Sweep, *, orders: int, progress: Progress = lambda done, of: None) -> None:
    """Have a ``probe.json`` in every run folder that is done: held-out videos with their frames shuffled."""
    todo = [one for one in sweep.runs() if sweep.is_done(*one)]
    for number, (task, seed) in enumerate(todo, start=1):
        folder = sweep.run(task, seed).folder
        if not (folder / probes.PROBE_FILE).is_file():
            _probe(folder, sweep.videos(task, seed), orders)
        progress(number, len(todo))


def _probe(folder: Path, listing: Listing, orders: int) -> None:
    predictor = load(folder)
    found = probes.probe(
        predictor.logits,
        listing.val,
        predictor.classes,
        predictor.preprocessing,
        scoring=predictor.scoring,
        orders=orders,
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
        "protocol": PROTOCOL.format(start=start, rate=" but for a learning rate of its own" if sweep.rates else ""),
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


# ---- for people ----------------------------------------------------------------------------------------------------


def describe(found: Mapping[str, Any]) -> str:
    """A table for each study, and what its columns mean."""
    lines = [] if found["complete"] else ["NOT COMPLETE: the same command goes on"]
    held_out = counted(found["data"]["val"], f"held-out {found['data']['medium'].removesuffix('s')}")
    lines.append(f"{len(found['seeds'])} seeds; {held_out}; {found['views'] or 'no run'}")
    if before := found["pretraining"]:
        data = before["data"]
        lines.append(
            f"each run starts from its variant's of the same seed on {data['path']}: {data['train']:,} "
            f"{data['medium']}, {data['classes']} classes"
        )
    every: list[dict[str, str]] = []
    for name, study in found["studies"].items():
        matched = f", matched by {study['matched']}" if study["matched"] else ""
        lines += ["", f"{name}: {study['question']} (reference: {study['reference']}{matched})", ""]
        rows = [_cells(variant, facts, found["metric"]) for variant, facts in study["variants"].items()]
        lines += _table(rows)
        every += rows
        for variant, facts in study["variants"].items():
            if facts["printed"] and facts["printed"]["note"]:
                lines.append(f"  paper, {variant}: {facts['printed']['note']}")
    return "\n".join([*lines, "", *_explained(found, every), *_legend(found)])


def plan(sweep: Sweep) -> str:
    """What would run, at which sizes, what it costs, and what of it is done."""
    runs = [[stage.is_done(*one) for one in stage.runs()] for stage in sweep.stages]
    lines = [describe(record(sweep) | {"complete": True}), *_sizes(sweep)]
    lines.append(f"{sum(map(len, runs))} runs in {sweep.folder}, {sum(map(sum, runs))} of them done")
    if len(runs) > 1:
        lines += [f"  {len(each)} in {stage.folder}" for stage, each in zip(sweep.stages, runs, strict=True)]
    return "\n".join(lines)


def _sizes(sweep: Sweep) -> Iterator[str]:
    """The sizes that were found, or are not the base's, a line a variant."""
    classes = len(sweep.listing.classes)
    base = _size(sweep.base, classes)
    sizes = [(task, _size(task.recipe, classes)) for task in sweep.tasks]
    other = [(task, size) for task, size in sizes if task.declared.size or size != base]
    if not other:
        yield "sizes: every variant has the base's"
        return
    kept = ", of this search, and not kept" if sweep.matching and not sweep.folder.exists() else ""
    yield f"sizes that are not the base's, stage by stage{kept}:"
    for task, size in other:
        yield f"  {task.name}: {size}"


def _size(recipe: Recipe, classes: int) -> str:
    config = recipe.model_config(classes).to_dict()
    numbers = {name: config[name] for name in ("depths", "widths", "width", "heads") if config.get(name)}
    return ", ".join(
        f"{name} {value if isinstance(value, int) else ' '.join(map(str, value))}" for name, value in numbers.items()
    )


def _cells(variant: str, facts: Mapping[str, Any], metric: str) -> dict[str, str]:
    own, difference, printed = facts[metric], facts["difference"], facts["printed"]
    cells = {
        "variant": variant,
        "GMAC": f"{facts['gmac']:.3g}",
        "params M": f"{facts['parameters'] / 1e6:.2f}",
        "paper": f"{printed['top1']:.1f}" if printed else "",
        "(diff)": f"{facts['printed_difference']:+.1f}" if facts["printed_difference"] else "",
        "n": str(len(own["values"])),
    }
    if own["mean"] is not None:
        cells["ours"] = f"{PERCENT * own['mean']:.1f}"
    if own["deviation"] is not None:
        cells["sd"] = f"{PERCENT * own['deviation']:.1f}"
    if difference and difference["low"] is None:
        cells["difference"] = f"{difference['mean']:+.1f} in every pair, no interval{_of(facts['pairs'], own)}"
    elif difference:
        told = "" if difference["resolved"] else " not resolvable"
        between = f"[{difference['low']:+.1f}, {difference['high']:+.1f}]"
        cells["difference"] = f"{difference['mean']:+.1f} {between}{told}{_of(facts['pairs'], own)}"
        cells["resolves"] = f"{difference['resolvable']:.1f}"
    if step := facts["step"]:
        cells["time"] = f"{step['times_reference']['median']:.2f}"
        cells["memory"] = f"{step['memory_times_reference']:.2f}" if step["memory_times_reference"] else "too much"
    if (tuning := facts["tuning"]) and tuning["chosen"]:
        cells["lr"] = f"{tuning['chosen']:g}"
    if before := facts["pretraining"]:
        there = before.get("map") or before.get("top1")
        if there["mean"] is not None:
            cells["before"] = f"{PERCENT * there['mean']:.1f}"
    if facts["shuffled"]:
        shuffled = facts["shuffled"]
        cells["shuffled"] = f"{PERCENT * shuffled['mean']:.1f}{_of(len(shuffled['values']), own)}"
    return cells


def _of(runs: int, own: Mapping[str, Any]) -> str:
    """Of how many runs a figure is, where it is not of all n."""
    return f" (of {runs})" if runs < len(own["values"]) else ""


def _taken(matching: Mapping[str, Any], name: str) -> float:
    """What a run's size took over its reference's when it was chosen."""
    return dict(matching["tried"][name])[matching["shares"][name]]


def _table(rows: Sequence[Mapping[str, str]]) -> list[str]:
    columns = [name for name in COLUMNS if any(row.get(name) for row in rows)]
    table = [columns, *([row.get(name, "") for name in columns] for row in rows)]
    wide = [max(map(len, column)) for column in zip(*table, strict=True)]
    words = ("variant", "difference")
    return [
        "  ".join(
            f"{cell:{size}}" if column in words else f"{cell:>{size}}"
            for column, cell, size in zip(columns, cells, wide, strict=True)
        ).rstrip()
        for cells in table
    ]


def _explained(found: Mapping[str, Any], rows: Sequence[Mapping[str, str]]) -> Iterator[str]:
    """What the columns mean that are there."""
    title = "mAP" if found["metric"] == "map" else "top-1"
    said = {
        "paper": f"top-1 printed in {found['printed']}, and its difference from the reference's",
        "ours": f"mean {title} in per cent over n seeds, and its standard deviation (sd)",
        "difference": "from the reference in points, paired by seed, with its 95 % interval over seeds",
        "resolves": "the difference that four of five such sweeps would find, by the spread of the pairs",
    }
    yield from (f"{name}: {what}" for name, what in said.items() if any(row.get(name) for row in rows))
    if any("(of " in cell for row in rows for cell in row.values()):
        yield "(of k): of k runs alone, where not all n have a partner or a probe"


def _legend(found: Mapping[str, Any]) -> Iterator[str]:
    title = "mAP" if found["metric"] == "map" else "top-1"
    if any(
        facts["difference"] and facts["difference"]["low"] is None
        for study in found["studies"].values()
        for facts in study["variants"].values()
    ):
        yield "no interval: all pairs differ alike, so they do not show how far others would be apart"
    if matching := found["matching"]:
        yield (
            f"matched by {matching['by']} of a training step, measured, within {ALIKE:.0%} of the reference's: "
            + ", ".join(f"{name} {_taken(matching, name):.2f}" for name in matching["shares"])
        )
    if measured := found["measured"]:
        yield (
            f"time, memory: of a training step of {measured['batch']} clips, measured beside the reference, of which "
            f"they are multiples; median of {measured['rounds']} rounds, memory with weights and the optimiser's state"
        )
    if tuning := found["tuning"]:
        rates, data = " ".join(f"{rate:g}" for rate in tuning["rates"]), tuning["data"]
        yield (
            f"lr: the best of {rates} by one run each with seed {tuning['seed']}, judged on {data['val']:,} videos "
            f"held out of train; the runs learn from all {found['data']['train']:,}"
        )
        for study in found["studies"].values():
            for variant, facts in study["variants"].items():
                for tried, where in ((facts["tuning"], ""), ((facts["pretraining"] or {}).get("tuning"), " before")):
                    if tried and tried["tried"]:
                        each = ", ".join(f"{PERCENT * value:.1f} at {rate}" for rate, value in tried["tried"].items())
                        yield f"  {variant}{where}: {each}"
    if before := found["pretraining"]:
        there = "mAP" if before["metric"] == "map" else "top-1"
        tuned = ", each at the best of the same rates there" if before["tuning"] else ""
        yield (
            f"before: mean {there} of the runs that these start from, on {before['data']['val']:,} held-out "
            f"{before['data']['medium']} of {before['data']['path']}{tuned}"
        )
    if any(facts["shuffled"] for study in found["studies"].values() for facts in study["variants"].values()):
        yield f"shuffled: mean {title} with the frames of each clip in random orders, one view"
    for run, why in found["diverged"].items():
        yield f"{run} came to no result, and is left out: {why}"
