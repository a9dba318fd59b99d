"""Every command, thin: what it does is done elsewhere, and imported only when the command runs."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any, Literal

from mvit import commandline, files
from mvit.bench import bench_data, bench_model, bench_plan, compare
from mvit.commandline import DONE, USERS_INPUT, numbers, progress_bar, share
from mvit.curate import prepare, scan, shard, split
from mvit.describe import complexity, info, report, runs
from mvit.explain import explain
from mvit.export import export
from mvit.live import segment, watch
from mvit.predict import embed, predict
from mvit.serve import serve
from mvit.share import pull, push
from mvit.study import ablate

if TYPE_CHECKING:
    from mvit.distributed.group import Ranks

# ---- the commands --------------------------------------------------------------------------------------------------
# Each one's docstring is its help: the first line in `mvit --help`, all of it in `mvit COMMAND --help`.


def quickstart(*, out: Path = Path("quickstart")) -> int:
    """Walk the whole path in minutes: make a demo set, train, probe, report and predict.

    Args:
        out: folder for the demo set and the runs; what is there already stays
    """
    import json
    import shlex

    from mvit import runs
    from mvit.data import demo

    videos, run = out / "demo", runs.fresh(out, "run")
    print(f"The demo set in {videos}: eight movements that only the order of the frames tells apart ...", flush=True)
    demo.make(videos)  # leaves a complete set as it is
    clip = min((videos / "val").rglob("*.mp4"))
    for step in (
        ["train", f"{videos}", "--recipe", "quickstart", "--out", f"{run}"],
        ["probe", f"{run}", f"{videos}", "--orders", "3"],
        ["report", f"{run}"],
        ["predict", f"{run}", f"{clip}", "--top", "3"],
    ):
        print(f"\n$ mvit {shlex.join(step)}", flush=True)
        if code := commandline.run(COMMANDS, step):
            return code
    top1, probe = (json.loads((run / name).read_text(encoding="utf-8")) for name in ("result.json", "probe.json"))
    print(
        f"\nA model was trained from scratch on {videos}/train and judged on videos it never saw: "
        f"{top1['top1']:.1%} right, {probe['shuffled']['top1']:.1%} when their frames are shuffled.\n"
        f"Look at {run}/report.html. Then, with a folder that holds a folder of videos for each class:\n\n"
        f"  mvit train YOUR_FOLDER\n"
        f"  mvit predict runs/YOUR_FOLDER-1 VIDEO\n"
    )
    return DONE


def train(
    data: Path,
    overrides: tuple[str, ...] = (),
    /,
    *,
    model: str | None = None,
    weights: str | None = None,
    freeze: str | None = None,
    recipe: str | None = None,
    val: Path | None = None,
    memory: str | None = None,
    batch: str | None = None,
    max_bad: str | None = None,
    index: Path | None = None,
    out: Path | None = None,
    resume: bool | Literal["auto"] = False,
    tensorboard: bool = False,
) -> int:
    """Train a model on a folder of videos, judge it on held-out ones, and report.

    Args:
        data: folder with a folder for each class or with train/ and val/, CSV or JSON Lines (path,label[,group]), or
            the lists of a published data set; see docs/data.md
        overrides: section.key=value, over the recipe: train.epochs=30 optim.lr=1e-3 model.drop_path=0.2
        model: a preset; `mvit info` lists them. By the data and the processor if not given
        weights: to start from: a run, a checkpoint, or the name of published ones; none: from scratch; auto, as if not
            given: published ones, if they can be had
        freeze: so many blocks, and the stem, stay as they start; all: only the head learns
        recipe: a TOML file, the name of a recipe that comes with mvit, or one that follows from the size of the data:
            scratch, or finetune, which is taken where there are weights; see docs/training.md
        val: held-out videos, as a second folder or CSV
        memory: what a step may take, such as 16GB: what does not fit is computed again for the gradients
        batch: clips in one step, such as 32; auto: as many as fit into memory
        max_bad: share of the training videos that may be unreadable, such as 1%: with more the run stops
        index: as for scan
        out: run folder; a fresh one under runs/ if not given
        resume: go on with the run in --out from its last checkpoint, on the same data; `--resume auto` does so if these
            processes, as torchrun or Slurm name them, have begun it, and else begins it (docs/scale.md)
        tensorboard: write the metrics for TensorBoard as well, into the run folder; pip install 'mvit[logs]'
    """
    from mvit import runs
    from mvit.curation.index import place
    from mvit.data.dataset import find
    from mvit.data.samples import medium_of
    from mvit.distributed import launch
    from mvit.distributed.interruption import TerminatedError, terminable
    from mvit.recipes import recipe as recipes

    options: dict[str, Any] = {"model.name": model, "train.memory": memory}
    options["train.max_bad"] = None if max_bad is None else share(max_bad)
    options["model.weights"] = {"auto": None, "none": ""}.get(weights or "auto", weights)
    options["model.freeze"] = _whole(freeze)
    options["train.batch"] = _whole(batch)
    overrides = (*recipes.as_overrides(options), *overrides)

    def begin() -> tuple[Path, bool, Path | None, dict[str, Any]]:
        folder, goes_on = runs.to_train(data, out, resume)
        file = recipes.path_of(recipe) or (folder / "recipe.toml" if goes_on else None)
        return folder, goes_on, file, recipes.how_to_split(file, overrides)

    try:
        with _together() as ranks:

            def unbegun() -> None:
                if not ranks or ranks.leads:
                    print("stopped before anything was begun: give the same command again")

            with terminable(unbegun):
                folder, goes_on, file, how_to_split = ranks.from_first(begin) if ranks else begin()
                listing = find(data, val=val, **how_to_split)

                # These take long to import: wrong words come first.
                from mvit.analysis.report import report as write_report
                from mvit.evaluation.saved import calibrate
                from mvit.training import defaults, loop

                def resolve() -> Any:
                    if goes_on:
                        return defaults.as_begun(file, overrides, folder / "recipe.toml", auto=weights == "auto")
                    count = ranks.count if ranks else 1
                    return defaults.settle(recipe, overrides, listing, auto=weights == "auto", ranks=count)

                resolved = ranks.from_first(resolve) if ranks else resolve()
            together: dict[str, Any] = {"ranks": ranks} if ranks else {}
            loop.train(
                *(resolved, listing, folder),
                resume=goes_on,
                index=index or place(data),
                tensorboard=tensorboard,
                run_id=launch.run_id(),
                **together,
            )
            if not ranks or ranks.leads:
                calibrate(folder)
                page = write_report([folder], folder / "report.html")
                medium = medium_of(listing.train).upper().removesuffix("S")
                print(f"Wrote {page}. Next: mvit predict {quote(str(folder))} {medium}")
    except TerminatedError:
        return DONE  # saved, as it was asked to
    return DONE


def evaluate(run: Path, data: Path, /, *, views: str | None = None, out: Path | None = None) -> int:
    """Score a trained model on labelled videos: top-1 or mAP with interval, protocol and denominator.

    Args:
        run: run folder, its model.safetensors, or an exported file (docs/export.md)
        data: as for train; its val part where there is one, else everything
        views: clips x crops taken of each video, such as 5x1; the run's own if not given
        out: JSON file or folder for result and scores; if not given, the run folder, or a folder in it for other
            videos than those that the run held out and for other views than its own
    """
    from mvit.deploy.opened import load
    from mvit.evaluation import evaluate as evaluation
    from mvit.held_out import to_judge

    predictor = load(run)
    clips, crops = numbers(views, "clips x crops, such as 5x1", 2) if views else predictor.views
    samples, folder = to_judge(run, data, predictor.classes, predictor.scoring.multi_label)
    if (clips, crops) != tuple(predictor.views):
        folder /= f"views-{clips}x{crops}"
    file = files.json_of(out or folder, evaluation.RESULT_FILE)
    files.require_writable(file)
    with progress_bar("evaluating") as progress:
        outcome = evaluation.evaluate(
            predictor.logits,
            samples,
            predictor.classes,
            predictor.preprocessing,
            clips=clips,
            crops=crops,
            scoring=predictor.scoring,
            progress=progress,
        )
    _name_left_out(outcome.unreadable)
    print(f"{evaluation.write(outcome, file)['headline']}\nWrote {file}")
    return DONE


def probe(
    run: Path, data: Path, /, *, views: str = "1x1", orders: int = 10, seed: int = 0, out: Path | None = None
) -> int:
    """Ask whether a model uses the order of frames: shuffled, reversed, displaced, alike, shuffled after its stem.

    Args:
        run: run folder, its model.safetensors, or an exported file (docs/export.md)
        data: as for evaluate
        views: clips x crops taken of each video, such as 5x1
        orders: random orders for each clip
        seed: of those orders
        out: JSON file or folder for the figures; if not given, as for evaluate
    """
    from mvit.deploy.opened import load
    from mvit.evaluation import probes, verdict
    from mvit.held_out import to_judge
    from mvit.recipes import recipe as recipes

    model = load(run)
    clips, crops = numbers(views, "clips x crops, such as 5x1", 2)
    samples, folder = to_judge(run, data, model.classes, model.scoring.multi_label)
    if (clips, crops) != (1, 1):
        folder /= f"views-{clips}x{crops}"
    file = files.json_of(out or folder, probes.PROBE_FILE)
    files.require_writable(file)
    recipe = (run if run.is_dir() else run.parent) / "recipe.toml"
    with progress_bar("probing") as progress:
        found = probes.probe(
            model.logits,
            samples,
            model.classes,
            model.preprocessing,
            clips=clips,
            crops=crops,
            scoring=model.scoring,
            after_stem=model.after_stem,
            orders=orders,
            seed=seed,
            control=recipe.is_file() and recipes.load(recipe).augment.order == "shuffled",
            progress=progress,
        )
    _name_left_out(found["unreadable"])
    print(f"{verdict.table(found)}\n{found['meaning']}\n({found['protocol']}; {verdict.over(found)})")
    probes.write(found, file)
    print(f"Wrote {file}")
    return DONE


def fetch(preset: str, weights: str, /, *, out: Path | None = None, classes: Path | None = None) -> int:
    """Make a run folder of published weights, to evaluate, probe and predict with; download them if need be.

    Args:
        preset: the model; `mvit info PRESET` lists its published weights
        weights: one of their names, such as k400
        out: run folder; runs/PRESET-WEIGHTS if not given
        classes: text file with a class name a line in the order of the labels, instead of the names of the data set
    """
    from mvit import runs

    names = runs.classes_in(classes) if classes else ()
    folder = out or Path("runs") / f"{preset}-{weights}"
    entry = runs.from_published(preset, weights, folder, names)
    figures = ", ".join(f"top-{k} {value:g}" for k, value in zip((1, 5), entry.accuracy, strict=False))
    print(f"Wrote {folder}: {entry.preset} {entry.name}, published with {figures or 'no accuracy'} ({entry.protocol}).")
    print(f"Licence of {entry.source.page.split(',')[0]}: {entry.source.licence}. Next: mvit predict {folder} VIDEO")
    return DONE


def convert(source: Path, out: Path, /, *, to: str, model: str | None = None) -> int:
    """Write a checkpoint in the names of another library, and say what was read, assumed and cannot be said.

    Args:
        source: a run folder or a checkpoint in any names that are known
        out: the file to write, or the folder for --to mvit; it must not exist
        to: official, torchvision, pytorchvideo, pytorchvideo-head, timm, mmaction2 or mvit
        model: a preset, or a run or checkpoint of the same model, where the shapes do not show which it is
    """
    from mvit import runs
    from mvit.weights.convert import convert as write_converted

    print(write_converted(source, out, to, runs.architecture(model) if model else None))
    return DONE


def doctor() -> int:
    """Check this machine by really encoding, decoding and computing; name the command that mends what is wrong."""
    from mvit.data.samples import counted
    from mvit.doctor import examine

    problems = 0
    for check in examine():
        print(f"{'problem' if check.remedy else 'ok':8} {check.name:12} {check.finding}")
        if check.remedy:
            problems += 1
            print(f"{'':21} {check.remedy}")
    print(counted(problems, "problem") if problems else "Everything that mvit needs works here.")
    return USERS_INPUT if problems else DONE


# ---- what several commands share -----------------------------------------------------------------------------------


@contextmanager
def _together() -> Iterator["Ranks | None"]:
    """Meet the other processes where torchrun or srun started several, before anything can go wrong in one of them."""
    from mvit.distributed import launch

    place = launch.place()
    if place.ranks == 1:
        yield None
        return
    from mvit.distributed.group import joined

    with joined(place) as ranks:
        yield ranks


def _whole(text: str | None) -> int | str | None:
    """A whole number as one, for the recipe to judge; words as they are."""
    return int(text) if text and text.removeprefix("-").isdecimal() else text


def _name_left_out(unreadable: Mapping[Any, str]) -> None:
    for path, reason in unreadable.items():
        print(f"left out: {path} cannot be read: {reason}", file=sys.stderr)


_EVERYDAY = (
    quickstart,
    train,
    evaluate,
    probe,
    compare,
    predict,
    embed,
    export,
    segment,
    watch,
    serve,
    explain,
    report,
    runs,
    info,
    fetch,
    push,
    pull,
    complexity,
)
COMMANDS: dict[str, commandline.Command] = {
    command.__name__.replace("_", " "): command
    for command in (
        *_EVERYDAY,
        convert,
        doctor,
        scan,
        split,
        prepare,
        shard,
        bench_data,
        bench_model,
        bench_plan,
        ablate,
    )
}


def main(args: Sequence[str] | None = None) -> int:
    """Run a command line, that of this process unless given, and return its exit code."""
    return commandline.main(COMMANDS, sys.argv[1:] if args is None else args)
