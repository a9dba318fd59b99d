"""The commands that say what there is, thin as those of ``cli``, which lists them: runs, reports of them, models."""

import sys
from pathlib import Path

from mvit.commandline import DONE, numbers


def report(runs: tuple[Path, ...], /, *, out: Path | None = None, frames: bool = True) -> int:
    """Write one self-contained page from the files of runs: curves, confusions, order probe, calibration, worst videos.

    Args:
        runs: one or more run folders
        out: HTML file; report.html in the run folder, or here for several runs, if not given
        frames: leave out frames, paths and names of the videos, for a page to give away; else it shows those that are
            confused, worst or probably mislabelled, where their files are there
    """
    from mvit.analysis.report import names
    from mvit.analysis.report import report as write_report
    from mvit.evaluation import comparison, saved

    if not runs:
        raise ValueError("report needs at least one run folder: mvit report RUN...")
    if out and out.is_dir():
        raise ValueError(f"{out} is a folder: name an HTML file with --out")
    unwritten = {}
    for run in runs:
        if content := saved.calibrated(run):
            try:
                saved.write(content, run)
            except OSError as why:
                print(f"calibration is on the page, and in no file: {why}", file=sys.stderr)
                unwritten[run] = content
    compared = None
    if len(runs) > 1:
        try:
            compared = comparison.of_saved(dict(zip(names(runs), runs, strict=True)))
        except (ValueError, FileNotFoundError) as why:
            print(f"no differences are drawn: {why}", file=sys.stderr)
    page = out or (runs[0] if len(runs) == 1 else Path()) / "report.html"
    write_report(runs, page, frames=frames, compared=compared, unwritten=unwritten)
    print(f"Wrote {page}")
    return DONE


def runs(folders: tuple[Path, ...] = (), /, *, json: bool = False) -> int:
    """List runs, the latest last: model, data, how far each came, its loss, and top-1 or mAP with interval and views.

    Args:
        folders: run folders, or folders that hold some; runs/ if none is given
        json: print an object a line
    """
    from json import dumps

    from mvit import overview

    found, strange = overview.find(folders or (Path("runs"),))
    if json:
        for run in found:
            print(dumps(run.to_dict()))
    else:
        print(overview.table(found))
    for why in strange:
        print(f"left out: {why}", file=sys.stderr)
    return DONE


def info(names: tuple[str, ...] = (), /, *, json: bool = False) -> int:
    """Say what a preset, a run or a checkpoint is, with the weights published for it; without a name, list the presets.

    Args:
        names: a preset, run folder or checkpoint
        json: print an object a line
    """
    from json import dumps

    from mvit import runs
    from mvit.model.presets import list_models

    if not names and not json:
        print("\n".join(list_models()))
        return DONE
    for name in names or list_models():
        facts = runs.facts(name)
        if json:
            print(dumps(facts, ensure_ascii=False))
            continue
        print("\n".join(runs.listed(facts)))
    return DONE


def complexity(
    names: tuple[str, ...] = (),
    /,
    *,
    clip: str | None = None,
    views: str = "1x1",
    paper: bool = False,
    memory: bool = False,
    plot: Path | None = None,
    csv: bool = False,
    json: bool = False,
) -> int:
    """Count parameters, multiply-adds, activations and memory, block by block, without running the model.

    Args:
        names: presets, run folders, checkpoints, or other people's models such as swin_t
        clip: frames x height x width, such as 16x224x224; the model's own if not given
        views: clips x crops of a video, such as 5x1: what a video costs
        paper: print the papers' tables, each printed figure beside ours, and what the papers claim
        memory: print what training keeps of a clip, plainly and with recomputation, of all presets if none is named
        plot: SVG file to draw, of printed accuracy against cost, where presets and others' models named stand out; with
            names and --clip, of where the computation goes: by block, and by stage as that size changes
        csv: print rows with a header
        json: print an object a line
    """
    from json import dumps

    from mvit import runs
    from mvit.analysis import scatter, tables
    from mvit.model.presets import list_models

    if memory:
        if clip or views != "1x1" or paper or plot or csv or json:
            raise ValueError("--memory prints a table of its own, of own clips: leave the other options out")
        print(tables.memory({name: runs.architecture(name) for name in names or list_models()}))
        return DONE
    if not (names or paper or plot):
        raise ValueError("complexity needs at least one name: mvit complexity NAME...; mvit info lists the presets")
    if csv and json:
        raise ValueError("--csv and --json are two ways to print the same: choose one")
    if not names and (clip or views != "1x1"):
        raise ValueError("--clip and --views are of named models, and none is named: --paper and --plot have their own")
    size = numbers(clip, "frames x height x width, such as 16x224x224", 3) if clip else None
    seen = numbers(views, "clips x crops, such as 5x1", 2)
    undrawn = scatter.check(plot, () if size else names) if plot else []
    if plot and size:
        runs.draw_balance(plot, names, size)
    counted = {name: runs.cost(name, size, seen) for name in names}
    if csv and counted:
        print(tables.as_csv([row for name, cost in counted.items() for row in tables.rows(name, cost)]))
    for name, cost in () if csv else counted.items():
        print(dumps({"name": name, **cost.to_dict()}) if json else tables.describe(name, cost))
    if paper:
        from mvit.analysis import paper as papers

        compared = papers.compare()
        if csv:
            print(tables.as_csv(papers.rows(compared)))
        else:
            print("\n".join(map(dumps, papers.rows(compared))) if json else papers.describe(compared))
    if plot:
        print(f"Wrote {plot if size else scatter.write(plot, names)}", file=sys.stderr)
        if undrawn:
            where = " or ".join(scatter.PANELS)
            print(f"Not drawn: {', '.join(undrawn)}, as papers print no accuracy of it on {where}", file=sys.stderr)
    return DONE
