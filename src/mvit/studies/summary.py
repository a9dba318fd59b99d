"""What there is to do for studies, and what came of it, as a terminal shows it: tables beside the paper's figures."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mvit.data.samples import counted
from mvit.recipes.recipe import Recipe
from mvit.studies.findings import PERCENT, record
from mvit.studies.sweep import BASE, Sweep
from mvit.studies.variants import ALIKE

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
    return "\n".join([*lines, "", *_explained(found, every), *_shared(found), *_legend(found)])


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
    for name, size in {task.name: size for task, size in other}.items():
        yield f"  {name}: {size}"


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
        cells["difference"] = f"{difference['mean']:+z.1f} in every pair, no interval{_of(facts['pairs'], own)}"
    elif difference:
        told = "" if difference["resolved"] else " not resolvable"
        between = f"[{difference['low']:+z.1f}, {difference['high']:+z.1f}]"
        cells["difference"] = f"{difference['mean']:+z.1f} {between}{told}{_of(facts['pairs'], own)}"
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


def _shared(found: Mapping[str, Any]) -> Iterator[str]:
    """Which rows are of runs by another name; that references are the base goes unsaid."""
    for study, facts in found["studies"].items():
        for variant, row in facts["variants"].items():
            own, name = f"{study}-{variant}", row["name"]
            if name != own and not (name == BASE and variant == facts["reference"]):
                yield f"{own} is the same as {name}, and has its runs"


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
        once = {row["name"]: row for study in found["studies"].values() for row in study["variants"].values()}
        for name, row in once.items():
            for tried, where in ((row["tuning"], ""), ((row["pretraining"] or {}).get("tuning"), " before")):
                if tried and tried["tried"]:
                    each = ", ".join(f"{PERCENT * value:.1f} at {rate}" for rate, value in tried["tried"].items())
                    yield f"  {name}{where}: {each}"
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
