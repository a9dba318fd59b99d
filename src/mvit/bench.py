"""The commands that measure, thin as those of ``cli``, which lists them."""

import json as json_of
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mvit import files
from mvit.commandline import DONE, numbers, progress_bar

CLIP = "frames x height x width, such as 16x224x224"


def bench_model(
    names: tuple[str, ...] = (),
    /,
    *,
    against: tuple[str, ...] = (),
    clip: tuple[str, ...] = (),
    batch: tuple[int, ...] = (1,),
    dtype: tuple[str, ...] = ("float32",),
    train: bool = False,
    compile: bool = False,  # noqa: A002
    packed: bool = False,
    recompute: bool = False,
    device: str | None = None,
    runs: int = 15,
    memory: bool = False,
    out: Path | None = None,
    json: bool = False,
) -> int:
    """Time models beside each other, run after run in one process: milliseconds, clips/s, ratios, shares of the peak.

    Args:
        names: presets, or other people's models: torchvision_mvit_b_16x4, hiera_b, video_swin_t, ...
        against: more of them, behind the others in the table
        clip: frames x height x width, one or several, such as 16x224x224; each model's own if not given
        batch: clips at once, one or several numbers
        dtype: float32, bfloat16 or autocast (float32 weights, bfloat16 products); one or several
        train: a step of training (forward, cross-entropy, backward, AdamW) instead of a forward pass
        compile: each one compiled by torch.compile as well
        packed: each of ours after optimize_for_inference() as well
        recompute: each of ours that trains with norms and GELU computed again as well, and with every block
        device: cpu or cuda; cuda where there is one if not given
        runs: how often each is timed
        memory: measure the memory of each too, in a process of its own
        out: JSON file for the record: every time, hardware, versions, commit
        json: print the record instead of the table
    """
    if not names:
        raise ValueError("bench model needs at least one name: mvit bench model NAME...; mvit info lists the presets")
    sizes = [numbers(size, CLIP, 3) for size in clip]

    from mvit.studies import table
    from mvit.studies.cases import cases
    from mvit.studies.measure import measure

    if out:
        files.require_writable(out)
    chosen = cases(
        (*names, *against),
        sizes,
        batch,
        dtype,
        device=device,
        train=train,
        compiled=compile,
        packed=packed,
        recompute=recompute,
    )
    with progress_bar("measuring") as progress:
        record = measure(chosen, runs=runs, memory=memory, progress=progress)
    _deliver(record, out, None if json else table.describe)
    if not record["complete"]:
        raise KeyboardInterrupt
    return DONE


def bench_plan(
    name: str,
    /,
    *,
    memory: str,
    clip: str | None = None,
    dtype: str = "float32",
    train: bool = False,
    device: str | None = None,
    batches: tuple[int, ...] = (1, 2, 4),
    runs: int = 5,
    out: Path | None = None,
    json: bool = False,
) -> int:
    """Say which batch fits into a memory and how fast it would be, from small batches measured on this machine.

    Args:
        name: a preset
        memory: such as 24GB, for weights, gradients, the optimiser's state and activations
        clip: frames x height x width, such as 16x224x224; the model's own if not given
        dtype: float32, bfloat16 or autocast (float32 weights, bfloat16 products)
        train: a step of training (forward, cross-entropy, backward, AdamW) instead of a forward pass
        device: cpu or cuda; cuda where there is one if not given
        batches: clips at once, three numbers or more; the largest checks what the others foretell
        runs: how often each batch is timed
        out: JSON file for the record: every time, hardware, versions, commit
        json: print the record instead of the sentences
    """
    size = numbers(clip, CLIP, 3) if clip else None

    from mvit.analysis.budget import in_bytes
    from mvit.studies.plan import describe, plan

    limit = in_bytes(memory)
    if out:
        files.require_writable(out)
    with progress_bar("measuring") as progress:
        record = plan(
            name,
            limit,
            clip=size,
            dtype=dtype,
            train=train,
            device=device,
            batches=batches,
            runs=runs,
            progress=progress,
        )
    _deliver(record, out, None if json else describe)
    return DONE


def bench_data(
    data: Path,
    overrides: tuple[str, ...] = (),
    /,
    *,
    model: str | None = None,
    recipe: str | None = None,
    workers: int | None = None,
    rounds: int = 5,
    seconds: float = 10,
    out: Path | None = None,
    json: bool = False,
) -> int:
    """Measure how fast a data set is decoded, augmented and learned from, apart and together, and say what to do.

    Args:
        data: as for train
        overrides: section.key=value, over the recipe, as for train
        model: a preset, as for train
        recipe: as for train; scratch if not given
        workers: processes that decode; by the processors of this job if not given
        rounds: how often each part is timed
        seconds: how long the loader runs alone, and how long with the model
        out: JSON file for the record: every time, hardware, versions, commit
        json: print the record instead of the lines
    """
    from mvit.data.dataset import find
    from mvit.recipes import recipe as recipes
    from mvit.studies.feeding import describe, measure

    if out:
        files.require_writable(out)
    overrides = (*recipes.as_overrides({"model.name": model, "train.workers": workers}), *overrides)
    listing = find(data, **recipes.how_to_split(recipes.path_of(recipe), overrides))

    from mvit.training import defaults

    resolved = defaults.settle(recipe or "scratch", overrides, listing, echo=lambda line: None)
    with progress_bar("measuring") as progress:
        record = measure(listing, resolved, rounds=rounds, seconds=seconds, progress=progress)
    _deliver(record, out, None if json else describe)
    return DONE


def _deliver(record: Mapping[str, Any], out: Path | None, describe: Callable[[dict[str, Any]], str] | None) -> None:
    """Print what ``describe`` says of the record, or all of it as JSON, and write it with its command where asked."""
    from mvit.provenance import write

    whole = {"command": shlex.join(["mvit", *sys.argv[1:]]), **record}
    print(describe(whole) if describe else json_of.dumps(whole))
    if out:
        write(whole, out)
        print(f"Wrote {out}", file=sys.stderr)


def compare(
    names: tuple[Path, ...] = (),
    /,
    *,
    views: str | None = None,
    runs: int = 15,
    out: Path = Path("comparison"),
    json: bool = False,
) -> int:
    """Set models side by side on the same videos: top-1, differences with intervals and tests, cost, speed, memory.

    Args:
        names: two or more run folders or exported files, and last the data, as for evaluate; without data what is in
            run folders is compared, where it is of the same videos under the same protocol
        views: clips x crops taken of each video by every model, such as 5x1; the first one's own if not given
        runs: how often the speed of each is timed, turn by turn; 0: not at all, nor the memory
        out: folder for comparison.json and comparison.html
        json: print the record instead of the table
    """
    from mvit.analysis import report
    from mvit.evaluation import comparison
    from mvit.held_out import is_model, to_judge_alike
    from mvit.studies import compare as study

    paths, data = (names, None) if not names or is_model(names[-1]) else (names[:-1], names[-1])
    if views and data is None and paths:
        raise ValueError("--views is for data to look at, and none is given: mvit compare RUN... DATA --views 5x1")
    if len(paths) < 2:
        given = f"{paths[0]} is one" if paths else "there is none"
        as_data = f", as {data} is taken for data" if data else ""
        raise ValueError(f"compare needs two models or more, and {given}{as_data}: mvit compare RUN... [DATA]")
    for place, path in enumerate(paths):
        if path.resolve() in [other.resolve() for other in paths[:place]]:
            raise ValueError(f"{path} is given twice, and a model is compared with others: name each once")
    if runs < 0:
        raise ValueError(f"--runs is how often each is timed, 0 for not at all, but it is {runs}")
    if out.exists() and not out.is_dir():
        raise ValueError(f"{out} is a file: name a folder for the comparison with --out")
    if data is None and (file := next((path for path in paths if path.is_file()), None)):
        raise ValueError(f"{file} is a file, which keeps no scores: give the data too: mvit compare RUN... DATA")
    found = {} if data else comparison.of_saved(dict(zip(report.names(paths), paths, strict=True)))
    models = study.contenders(paths)
    seen = numbers(views, "clips x crops, such as 5x1", 2) if views else models[0].views
    folders: Sequence[Path] = paths
    judged = to_judge_alike(paths, data, models[0].classes, models[0].scoring.multi_label) if data else None
    files.require_writable(out / "comparison.json")  # before what takes long
    if judged:
        samples, folders = judged
        with progress_bar("evaluating") as progress:
            found = study.on_data(models, samples, seen, progress=progress)
    with progress_bar("measuring") as progress:
        cost = study.costs(study.probed(models, folders, found["listed"]), seen, runs=runs, progress=progress)
    record = study.recorded(found, cost, models[0].device)
    page = report.compared_page(record, " · ".join(model.name for model in models))
    _deliver(record, out / "comparison.json", None if json else study.describe)
    files.write_text(out / "comparison.html", page)
    print(f"Wrote {out / 'comparison.html'}", file=sys.stderr)
    return DONE
