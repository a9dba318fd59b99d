"""From a recipe and a listing of videos to a run folder with a trained, evaluated model."""

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch

from mvit import weights
from mvit.baselines.sizes import SIZES
from mvit.data.backend import choose as choose_backend
from mvit.data.dataset import Listing
from mvit.data.loader import TrainLoader
from mvit.data.resources import available_cores
from mvit.data.samples import medium_of
from mvit.data.transforms import Augmentation
from mvit.distributed.group import ALONE, Ranks, settle
from mvit.distributed.interruption import Interrupted, Interruption, terminable
from mvit.distributed.lock import locked
from mvit.model.config import MViTConfig
from mvit.model.mvit import MViT
from mvit.recipes import recipe as recipes
from mvit.recipes.recipe import Recipe
from mvit.recipes.sections import ModelRecipe
from mvit.training import batch, checkpoint, events, hardware, optim
from mvit.training.course import Course
from mvit.training.learner import learner
from mvit.training.memory import fitted, on_each
from mvit.training.origin import changes, origin
from mvit.training.parts import Limit, divide, look_through
from mvit.training.position import Position
from mvit.training.progress import Feeding, StatusLine, Watch
from mvit.training.run import Run, rooted
from mvit.weights import hub


def train(
    recipe: Recipe,
    listing: Listing,
    out: Path,
    *,
    resume: bool = False,
    index: Path | None = None,
    tensorboard: bool = False,
    echo: Callable[[str], None] = print,
    ranks: Ranks = ALONE,
    run_id: str | None = None,
    again: str | None = None,
) -> Path:
    """Train, evaluate and write a model; returns the run folder.

    ``resume`` goes on from the last checkpoint, and ends at the very weights that an undisturbed run would have (bit
    for bit on the same processor). ``index`` is a file that keeps what was seen of the videos; ``tensorboard`` writes
    the metrics for TensorBoard too, which changes nothing of the run. ``ranks`` are the processes that call this
    together, each with the same arguments (``group.joined``); ``run_id`` is by what they know the run when they
    are started anew. A signal (SIGINT, SIGTERM) is answered by saving and ``KeyboardInterrupt``, and ``again`` says of
    the same command how it goes on then, if it does not by ``--resume``. Raises ``ValueError``
    for a folder in use, a changed recipe, too many unreadable videos, a training that diverges.
    """
    if listing.val and not any(sample.labels for sample in listing.val):
        raise ValueError("no video of val is of any class: there is nothing to judge by, so give it labels, or no val")
    if ranks.count > 1 and recipe.model.name in SIZES:
        raise ValueError(
            f"{recipe.model.name} is trained by one process, not by {ranks.count}: start it without torchrun"
        )
    if tensorboard:
        events.require_tensorboard()
    run, machine = Run(Path(out)), hardware.choose(recipe.train)
    heard = echo if ranks.leads else _unheard

    again = again or f"with --out {run.folder} --resume goes on"

    def unbegun() -> None:
        how = again if run.recipe.is_file() else "begins the run"
        heard(f"stopped between steps, and nothing is half done: the same command {how}")

    with terminable(unbegun):
        if resume:
            recipe = ranks.from_first(lambda: batch.as_begun(recipe, run.recipe))
        settle(machine.device, ranks)
        now = origin(listing, machine.device.type, ranks.count, run_id)
        ranks.require_alike(
            {
                f"{section}.{key}": str(value)
                for section, keys in recipes.as_dict(recipe).items()
                for key, value in keys.items()
            }
            | {f"the version of {name}": str(version) for name, version in now["environment"]["versions"].items()}
            | {"their videos": now["data"]["sha256"], "their processors": machine.precision}
        )

        recipe = rooted(recipe)

        def require_folder() -> None:
            return run.require_same(recipe, listing) if resume else run.require_new()

        ranks.from_first(require_folder)
        with locked(run.folder) if ranks.leads else nullcontext():
            ranks.from_first(require_folder)  # nobody can have come in between now
            _train(
                *(recipe, listing, run, machine, now, ranks, heard),
                resume=resume,
                index=index,
                tensorboard=tensorboard,
                again=again,
            )
    return run.folder


def _train(
    recipe: Recipe,
    listing: Listing,
    run: Run,
    machine: hardware.Hardware,
    now: dict[str, Any],
    ranks: Ranks,
    echo: Callable[[str], None],
    *,
    resume: bool,
    index: Path | None,
    tensorboard: bool,
    again: str,
) -> None:
    config = recipe.model_config(len(listing.classes))
    preprocessing, augmentation = recipe.data.preprocessing(), Augmentation(**asdict(recipe.augment))

    # ---- data ----
    backend = choose_backend(recipe.data.backend)
    start = saved = None
    limit = Limit(frozenset(sample.id for sample in listing.train), recipe.train.max_bad, run.unreadable)
    known: dict[str, Any] = {}
    unreadable: Mapping[Path, str] = {}
    if resume:
        # Not what can be read today: the order of batches hangs on what was left out at the start.
        ranks.from_first(lambda: run.spell_left_out(listing))
        known, unreadable, left_out = ranks.from_first(
            lambda: (run.known, run.left_out(found_in="scan"), run.left_out())
        )
        limit.check(left_out)
        saved = checkpoint.handed(ranks, lambda: checkpoint.load_latest(run.checkpoints, echo))
    if saved is None and recipe.model.weights:
        start = ranks.from_first(lambda: _start(recipe.model, config))  # one download, if it is one
    if not resume:
        unreadable = ranks.from_first(
            lambda: look_through(listing, preprocessing.sampling, echo, recipe.train.workers, index)
        )
        if ranks.leads:
            run.list_unreadable(unreadable)
        limit.check(unreadable)
        if unreadable:
            videos = len(listing.train) + len(listing.val)
            medium = medium_of((*listing.train, *listing.val))
            echo(f"{len(unreadable):,} of {videos:,} {medium} unreadable, listed in {run.unreadable}")
    parts = divide(listing, unreadable, recipe.train)
    if recipe.train.batch == "auto" and isinstance(config, MViTConfig):
        videos = len(parts.train)
        recipe = ranks.from_first(lambda: batch.resolved(recipe, config, videos, machine, echo, ranks.count))
    whole = whole_batches(known, len(parts.train), recipe, ranks.count) if resume else None
    loader = TrainLoader(
        parts.train,
        parts.classes,
        preprocessing,
        augmentation,
        batch=recipe.train.clips_per_step,
        seed=recipe.train.seed,
        workers=machine.workers,
        fewer=recipe.train.workers == "auto",
        rank=ranks.place.rank,
        ranks=ranks.count,
        whole=whole,
        backend=backend,
        multi_label=parts.multi_label,
        timeout_seconds=recipe.train.timeout_seconds,
    )
    machine = replace(machine, workers=loader.workers)

    with torch.random.fork_rng():
        # ---- model: from scratch, from weights, or from the last checkpoint ----
        torch.manual_seed(recipe.train.seed)
        model = weights.build(config)
        if start is not None:
            _, state, report = start
            if isinstance(model, MViT):
                weights.fit(model, state, report, recipe.model.inflate)
            else:
                model.load_state_dict(state, strict=False)  # but for a head of other classes it is whole
            echo(str(report))
        plan = None
        if isinstance(model, MViT):
            model.freeze(recipe.model.freeze)
            memory = recipe.train.memory
            plan = fitted(model, on_each(recipe, ranks.count), machine) if memory is not None else None
        pupil = learner(
            *(model, recipe.optim, machine, preprocessing),
            accumulate=recipe.train.accumulate,
            compiled=recipe.train.compile,
            ranks=ranks,
            sharded=recipe.train.parallel == "fsdp",
        )
        if saved is not None:
            pupil.restore(saved.tensors)
        # Earlier versions wrote down no good checkpoint: it is the one that such a run goes on from.
        reached: dict[str, Any] = {"good": saved.serial, **saved.meta} if saved is not None else {}
        position = Position(**reached)

        # ---- what it comes to, before the first step ----
        schedule = optim.schedule(recipe, len(loader))
        echo(f"{recipe.model.name}: {parts}")
        echo(f"{schedule}")
        if recipe.model.freeze:
            frozen = sum(parameter.numel() for parameter in model.parameters() if not parameter.requires_grad)
            echo(f"{frozen:,} of {sum(map(torch.numel, model.parameters())):,} parameters are frozen")
        if recipe.optim.ema_decay is not None:
            echo(f"evaluated and saved are averages of the weights over steps (decay {recipe.optim.ema_decay})")
        echo(loader.flip_note)
        echo(str(backend))
        echo(f"computing with {machine}")
        if ranks.count > 1:
            holding = "an equal part of the model (fsdp)" if pupil.sharded else "a copy of the model (ddp)"
            clips = recipe.train.clips_per_step // ranks.count
            echo(f"{ranks.count} processes, {clips} clips of a step and {holding} on each")
        elif recipe.train.parallel == "fsdp":
            echo("note: there is one process, so nothing is sharded (train.parallel)")
        for note in loader.notes:
            echo(f"note: {note}")
        if plan is not None:
            echo(f"of {recipe.train.memory}, {plan}")
        for remark in schedule.remarks() if not recipe.model.weights else []:
            echo(f"warning: {remark}")

        # ---- epochs ----
        interrupting = Interruption(ranks.largest, several=ranks.count > 1)
        line = StatusLine(echo)
        with interrupting as interruption:
            if resume and ranks.leads:
                for remark in changes(run.origin, now):
                    echo(remark)
                run.forget_after(position.epoch)
                run.forget_skipped((position.epoch, position.batch), position.rollbacks)
                echo(f"going on {_whereabouts(position, recipe, len(loader))}")
            elif ranks.leads:
                run.create(recipe, listing, unreadable, now | {"whole_batches": loader.order.whole})
            drawn = tensorboard and ranks.leads
            steps_done = position.epoch * len(loader)
            drawing = events.plotting(run.metrics, steps_done) if drawn else nullcontext(events.Plot())
            with drawing as plot, line if ranks.leads else nullcontext(line) as status:
                feeding = Feeding(machine.device.type, machine.workers, available_cores(), preprocessing.short_side)
                course = Course(
                    *(run, recipe, parts, limit, preprocessing, loader, schedule, pupil, position),
                    *(echo, plot, status, interruption, Watch(feeding)),
                    ranks=ranks,
                )
                if parts.holdout and pupil.best:  # a kill may have left a later epoch's, of which no checkpoint knows
                    course.write_model(pupil.best)
                try:
                    while course.position.epoch < recipe.train.epochs:
                        course.learn_epoch()
                        course.end_epoch()
                    course.report()
                except Interrupted:
                    course.save()
                    where = _whereabouts(course.position, recipe, len(loader))
                    echo(f"stopped {where}, and saved: the same command {again}")
                    raise


def _start(model: ModelRecipe, config: weights.Config) -> tuple[Any, dict[str, torch.Tensor], weights.LoadingReport]:
    if isinstance(config, MViTConfig):
        return weights.read(hub.located(model.name, model.weights), config=config)
    return weights.read_same(model.weights, config)


def whole_batches(known: Mapping[str, Any], videos: int, recipe: Recipe, ranks: int) -> bool:
    """Whether a run that goes on leaves out incomplete batches, as it has from the start.

    ``known`` is what its run.json holds. Raises ``ValueError`` where it did not, and now has several processes.
    """
    batch = recipe.train.clips_per_step // recipe.augment.copies
    if known.get("whole_batches", False) or (ranks > 1 and videos % batch == 0):
        return True
    if ranks > 1:
        raise ValueError(
            f"the run was begun by one process, and the last batch of its epochs has {videos % batch} of {batch} "
            "videos, which several processes would leave out: go on with one, or begin anew"
        )
    return False


def _unheard(_: str) -> None:
    """What ranks other than the first have to say: the same, or nothing."""


def _whereabouts(position: Position, recipe: Recipe, steps: int) -> str:
    if position.epoch == recipe.train.epochs:
        return "after the last epoch, with the evaluation"
    return f"in {position.place(steps)}"
