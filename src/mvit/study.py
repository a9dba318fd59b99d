"""The commands that ask what if, thin as those of ``cli``, which lists them."""

import shlex
import sys
from functools import partial
from pathlib import Path
from typing import Any, Literal

from mvit.commandline import DONE, progress_bar

ORDERS = 10


def ablate(
    data: Path,
    overrides: tuple[str, ...] = (),
    /,
    *,
    study: tuple[str, ...] = (),
    only: tuple[str, ...] = (),
    seeds: int = 5,
    recipe: str | None = None,
    model: str | None = None,
    val: Path | None = None,
    pretrain: Path | None = None,
    rates: tuple[float, ...] = (),
    match: Literal["cost", "time", "memory"] = "cost",
    probe: bool = False,
    measure: bool = False,
    plan: bool = False,
    index: Path | None = None,
    out: Path | None = None,
) -> int:
    """Train the variants of the paper's ablations with several seeds, and tell which differences the data resolve.

    Args:
        data: as for train
        overrides: section.key=value, over the recipe, as for train
        study: one or several of pooling, kv-stride, positions, depths, stem, multiscale, factorial, controls,
            image-controls, width, skip, data, object-size; see docs/ablate.md
        only: of the variants, these beside the reference; all if not given
        seeds: runs of each variant, from the recipe's train.seed on
        recipe: as for train; study, which is made for this, if not given
        model: the base that variants follow from, a preset, instead of the recipe's
        val: as for train
        pretrain: other data: each variant is trained there first, by the same recipe, and each run starts from its own
            of the same seed
        rates: learning rates, such as 5e-4 1e-3 2e-3: each variant tries each in one run on a part of train, and has
            the one that does best on the rest of train; with --pretrain there, too
        match: what variants whose size is found have in common with the reference: the multiply-adds of a clip, or the
            time or the memory of a training step, measured here before anything is trained
        probe: score each run with shuffled frames too
        measure: measure how long a training step of each variant takes here, and its memory, beside the reference's
        plan: say what would run and what each variant costs, and run nothing
        index: as for scan
        out: folder for run folders and the record; runs/ablate-DATA if not given. What is done in it is kept
    """
    from mvit.data.dataset import find
    from mvit.data.samples import medium_of
    from mvit.distributed import launch
    from mvit.recipes import recipe as recipes
    from mvit.recipes import resolve

    if launch.place().ranks > 1:
        raise ValueError("ablate trains one run after the other in one process: start it without torchrun or srun")
    overrides = (*recipes.as_overrides({"model.name": model}), *overrides)
    name = recipe or "study"
    how_to_split = recipes.how_to_split(recipes.path_of(name), overrides)
    listing = find(data, val=val, **how_to_split)
    before = (pretrain, find(pretrain, **how_to_split)) if pretrain else None

    from mvit.curation.index import place  # these take long to import: wrong words come first
    from mvit.distributed.interruption import TerminatedError
    from mvit.held_out import name_of
    from mvit.provenance import write
    from mvit.studies import costs, execution, findings, matching, planning, summary
    from mvit.training import defaults

    folder = out or Path("runs") / f"ablate-{name_of(data)}"
    base = defaults.settle(name, overrides, listing, echo=lambda line: None)
    for remark in resolve.repeated(medium_of(listing.train), base.data.frames):
        print(f"warning: {remark}", file=sys.stderr)
    ask = partial(planning.planned, study, base, data, listing, folder, seeds, only=only, rates=rates, pretrain=before)
    if match == "cost":
        planned = ask()
    else:
        with progress_bar("finding sizes") as progress:
            planned = matching.matched(lambda found: ask(matching=found), match, progress=progress)
    if plan:
        print(summary.plan(planned))
        return DONE
    if probe and base.data.frames == 1:
        raise ValueError("--probe asks what the order of frames is worth, and images have none: leave it out")
    if measure:
        costs.require_measurable_steps(planned)
    try:
        diverged = execution.carry_out(planned, index=lambda data: index or place(data))
    except TerminatedError:
        return DONE  # saved, as it was asked to

    def recorded() -> dict[str, Any]:
        found = {"command": shlex.join(["mvit", *sys.argv[1:]]), **findings.record(planned, diverged)}
        write(found, folder / findings.RECORD)
        return found

    if probe or measure:
        recorded()  # before what may yet fail
    if probe:
        with progress_bar("probing") as progress:
            findings.probe(planned, orders=ORDERS, progress=progress)
    if measure:
        with progress_bar("measuring") as progress:
            costs.measure(planned, progress=progress)
    found = recorded()
    print(f"\n{summary.describe(found)}\nWrote {folder / findings.RECORD}")
    return DONE
