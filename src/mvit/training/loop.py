"""From a recipe and a listing of videos to a run folder with a trained, evaluated model."""

from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import torch

from mvit import weights
from mvit.data.backend import choose as choose_backend
from mvit.data.dataset import Listing
from mvit.data.loader import TrainLoader
from mvit.data.resources import available_cores
from mvit.data.transforms import Augmentation
from mvit.model.mvit import MViT
from mvit.training import batch, checkpoint, events, hardware, optim
from mvit.training.course import Course
from mvit.training.interruption import Interrupted, Interruption
from mvit.training.learner import learner
from mvit.training.memory import fitted
from mvit.training.origin import changes, origin
from mvit.training.parts import Limit, divide, look_through
from mvit.training.position import Position
from mvit.training.progress import Feeding, StatusLine, Watch
from mvit.training.recipe import Recipe
from mvit.training.run import Run
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
) -> Path:
    """Train, evaluate and write a model; returns the run folder.

    ``resume`` goes on from the last checkpoint, and ends at the very weights that an undisturbed run would have (bit
    for bit on the same processor). ``index`` is a file that keeps what was seen of the videos; ``tensorboard`` writes
    the metrics for TensorBoard too, which changes nothing of the run. A signal (SIGINT, SIGTERM) is answered by saving
    and ``KeyboardInterrupt``. Raises ``ValueError`` for a folder in use, a changed recipe, too many unreadable videos,
    a training that diverges.
    """
    if listing.val and not any(sample.labels for sample in listing.val):
        raise ValueError("no video of val is of any class: there is nothing to judge by, so give it labels, or no val")
    if tensorboard:
        events.require_tensorboard()
    run, machine = Run(Path(out)), hardware.choose(recipe.train)
    if resume:
        recipe = batch.as_begun(recipe, run.recipe)
    config = recipe.model_config(len(listing.classes))
    preprocessing, augmentation = recipe.data.preprocessing(), Augmentation(**asdict(recipe.augment))

    # ---- data ----
    backend = choose_backend(recipe.data.backend)
    start = None
    limit = Limit(frozenset(sample.id for sample in listing.train), recipe.train.max_bad, run.unreadable)
    if resume:
        run.require_same(recipe, listing)
        unreadable = run.left_out(found_in="scan")  # and not what can be read today: the order of batches hangs on it
        limit.check(run.left_out())
    else:
        run.require_new()
        if recipe.model.weights:
            start = weights.read(hub.located(recipe.model.name, recipe.model.weights), config=config)
        unreadable = look_through(listing, preprocessing.sampling, echo, recipe.train.workers, index)
        run.list_unreadable(unreadable)
        limit.check(unreadable)
        if unreadable:
            videos = len(listing.train) + len(listing.val)
            echo(f"{len(unreadable):,} of {videos:,} videos unreadable, listed in {run.unreadable}")
    parts = divide(listing, unreadable, recipe.train)
    recipe = batch.resolved(recipe, config, len(parts.train), machine, echo)
    loader = TrainLoader(
        parts.train,
        parts.classes,
        preprocessing,
        augmentation,
        batch=recipe.train.clips_per_step,
        seed=recipe.train.seed,
        workers=machine.workers,
        fewer=recipe.train.workers == "auto",
        backend=backend,
        multi_label=parts.multi_label,
        timeout_seconds=recipe.train.timeout_seconds,
    )
    machine = replace(machine, workers=loader.workers)

    with torch.random.fork_rng():
        # ---- model: from scratch, from weights, or from the last checkpoint ----
        torch.manual_seed(recipe.train.seed)
        model = MViT(config)
        saved = checkpoint.load_latest(run.checkpoints, echo) if resume else None
        if start is not None:
            _, state, report = start
            echo(str(weights.fit(model, state, report, recipe.model.inflate)))
        model.freeze(recipe.model.freeze)
        plan = fitted(model, recipe, machine) if recipe.train.memory is not None else None
        pupil = learner(
            *(model, recipe.optim, machine, preprocessing),
            accumulate=recipe.train.accumulate,
            compiled=recipe.train.compile,
        )
        if saved is not None:
            pupil.restore(saved.tensors)
        position = Position(**saved.meta) if saved is not None else Position()

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
        for note in loader.notes:
            echo(f"note: {note}")
        if plan is not None:
            echo(f"of {recipe.train.memory}, {plan}")
        for remark in schedule.remarks() if not recipe.model.weights else []:
            echo(f"warning: {remark}")
        if resume:
            for remark in changes(run.origin, origin(listing, machine.device.type)):
                echo(remark)
            run.forget_after(position.epoch)
            echo(f"going on {_whereabouts(position, recipe, len(loader))}")
        else:
            run.create(recipe, listing, unreadable, origin(listing, machine.device.type))

        # ---- epochs ----
        steps_done = position.epoch * len(loader)
        drawing = events.plotting(run.metrics, steps_done) if tensorboard else events.not_plotting()
        with drawing as plot, Interruption() as interruption, StatusLine(echo) as status:
            feeding = Feeding(machine.device.type, machine.workers, available_cores(), preprocessing.short_side)
            course = Course(
                *(run, recipe, parts, limit, preprocessing, loader, schedule, pupil, position),
                *(echo, plot, status, interruption, Watch(feeding)),
            )
            try:
                while course.position.epoch < recipe.train.epochs:
                    course.learn_epoch()
                    course.end_epoch()
                course.report()
            except Interrupted:
                course.save()
                where = _whereabouts(course.position, recipe, len(loader))
                echo(f"stopped {where}, and saved: the same command with --out {run.folder} --resume goes on")
                raise
    return run.folder


def _whereabouts(position: Position, recipe: Recipe, steps: int) -> str:
    if position.epoch == recipe.train.epochs:
        return "after the last epoch, with the evaluation"
    return f"in epoch {position.epoch + 1}, of which {position.batch} of {steps} steps are done"
