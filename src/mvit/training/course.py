"""A run under way: its steps, what ends an epoch, and what is written of both."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mvit import weights
from mvit.data.clips import Batch
from mvit.data.loader import TrainLoader
from mvit.data.samples import counted, named
from mvit.data.views import Preprocessing, describe
from mvit.distributed.group import ALONE, Ranks
from mvit.distributed.interruption import Interruption
from mvit.evaluation import evaluate as evaluation
from mvit.evaluation import probes
from mvit.evaluation.scoring import NotFiniteError, Scoring
from mvit.recipes.recipe import Recipe
from mvit.training import checkpoint, mixing, optim
from mvit.training.events import Plot
from mvit.training.faults import MOST_ROLLBACKS, MOST_SKIPPED_IN_A_ROW, DivergedError
from mvit.training.hardware import peak_memory
from mvit.training.judge import Judge, no_better_than
from mvit.training.learner import Learner, Outcome
from mvit.training.memory import is_lack_of_memory, on_each, too_little
from mvit.training.parts import Limit, Parts
from mvit.training.position import Position, step_seed
from mvit.training.progress import Meter, StatusLine, Watch, duration
from mvit.training.run import Run
from mvit.training.watchdog import Watchdog
from mvit.weights.read import MODEL_FILE

MEASURED = ("clips_per_second", "data_wait", "seconds", "peak_memory_bytes")
"""What a record of metrics.jsonl holds of the machine: all else is alike in runs that are."""
QUICK_VIEWS = (1, 1)
"""Clips and crops of a video in the evaluations on the way."""


@dataclass
class Course:
    """A run under way."""

    run: Run
    recipe: Recipe
    parts: Parts
    limit: Limit
    preprocessing: Preprocessing
    loader: TrainLoader
    schedule: optim.Schedule
    pupil: Learner
    position: Position
    echo: Callable[[str], None]
    plot: Plot
    status: StatusLine
    interruption: Interruption
    watch: Watch
    meter: Meter = field(default_factory=Meter)
    """Of this process; ``epoch_meter`` of its current epoch."""
    epoch_meter: Meter = field(default_factory=Meter)
    ranks: Ranks = ALONE
    """All of them go through everything below together; rank 0 writes what is written."""
    together: int = 0
    """Clips that the batches of all ranks have in the step under way."""

    @property
    def scoring(self) -> Scoring:
        """What becomes of logits."""
        return Scoring(multi_label=self.parts.multi_label, aggregate=self.recipe.data.aggregate)

    @property
    def judge(self) -> Judge:
        """What evaluates the model."""
        return Judge(
            *(self.parts.classes, self.preprocessing, self.scoring, self.pupil.hardware, self.ranks, self.status),
            *(self.interruption, self.recipe.train.timeout_seconds),
        )

    # ---- learning ----

    def learn_epoch(self) -> None:
        """Take a step for every batch of the epoch that is not done yet; of an earlier one, where the run went back."""
        self.epoch_meter = Meter()
        if self.position == Position():
            self.save(good=True)  # the first checkpoint to go back to
        with Watchdog(self.recipe.train.timeout_seconds) as watchdog:
            while self.position.batch < len(self.loader):
                self.meter, self.epoch_meter = self.meter + self.epoch_meter, Meter()
                self.learn_batches(watchdog)
        self.meter += self.epoch_meter

    def learn_batches(self, watchdog: Watchdog) -> None:
        """Take the steps of the epoch's batches, until all are done or the run goes back."""
        here = self.position

        def doing(what: str) -> Callable[[], str]:
            epoch, batch = here.epoch, here.batch
            return lambda: f"{what} batch {batch} of epoch {epoch + 1} ({named(self.loader.videos(epoch, batch))})"

        watchdog.note(doing("waiting for"))
        for batch in self.epoch_meter.timed(self.arriving()):
            watchdog.note(doing("learning from"))
            self.leave_out(batch)
            if [here.epoch, here.batch] in here.left_out:
                here.skipped += 1
            elif self.together:
                self.learn(batch)
            if self.position is not here:
                return
            here.batch += 1
            self.status.show(self.status_text)
            if starves := self.watch.sentence(self.meter + self.epoch_meter):
                self.echo(starves)
            self.interruption.check()
            watchdog.note(doing("waiting for"))

    def arriving(self) -> Iterator[Batch]:
        """This rank's batches, each once all ranks have theirs, with what any of them could not read."""
        first = self.position.batch
        batches = self.loader.epoch(self.position.epoch, start_batch=first)
        for _ in range(first, len(self.loader)):
            batch, failure = None, None
            try:
                batch = next(batches)
            except ValueError as why:
                failure = why
            counts = (len(batch.labels), len(batch.unreadable), 0) if batch is not None else (0, 0, 1)
            together, unreadable, failed = self.ranks.totals(counts)
            if failed:
                self.interruption.check()  # a signal to all processes may end those that decode, and the loader says so
            if failure is not None:
                raise failure
            assert batch is not None
            self.together = int(together)
            yield replace(batch, unreadable=self.everywhere(batch.unreadable) if unreadable else [])

    def everywhere(self, things: list[Any]) -> list[Any]:
        """What all ranks have of something, in their order."""
        return [thing for rank in self.ranks.gathered(things) for thing in rank]

    def rate(self, step: int) -> float:
        """The learning rate of a step, counted over the whole run."""
        return self.schedule.rate(step) * self.position.rate_factor

    def learn(self, batch: Batch) -> None:
        """One step; what is random in it follows from seed, epoch and batch alone, so a resumed run draws the same."""
        here = self.position
        rate = self.rate(here.epoch * len(self.loader) + here.batch)
        seed = step_seed(self.recipe.train.seed, here.epoch, here.batch, self.ranks.place.rank)
        torch.manual_seed(seed)
        crop = self.preprocessing.crop
        mix = mixing.draw(self.recipe.optim, crop, crop, (self.recipe.train.seed, here.epoch, here.batch))
        try:
            outcome = self.pupil.step(batch, rate, mix, self.together)
        except RuntimeError as why:
            if not is_lack_of_memory(why):
                raise
            recipe, config = on_each(self.recipe, self.ranks.count), self.pupil.model.config
            raise ValueError(too_little(config, recipe, self.pupil.hardware)) from why
        self.epoch_meter.clips += outcome.clips
        if outcome.moved:
            here.loss += outcome.loss * outcome.clips
            here.right += outcome.right
            here.clips += outcome.clips
            here.moved += 1
            here.norms += outcome.gradient_norm
            here.norm_max = max(here.norm_max, outcome.gradient_norm)
            here.skipped_in_a_row = 0
            return
        here.skipped += 1
        here.skipped_in_a_row += 1
        here.suspects.append([here.epoch, here.batch])
        torch.manual_seed(seed)
        where = self.pupil.first_not_finite(batch, mix, self.together)
        self.write_skipped(batch, outcome, rate, where)
        if here.skipped_in_a_row == MOST_SKIPPED_IN_A_ROW:
            self.roll_back(
                f"{MOST_SKIPPED_IN_A_ROW} steps in a row had a loss or gradient that is not finite (epoch "
                f"{here.epoch + 1}, learning rate {rate:.3g}; not finite first: {where or 'nothing, computed again'}; "
                f"see {self.run.skipped})"
            )

    def write_skipped(self, batch: Batch, outcome: Outcome, rate: float, where: str | None) -> None:
        """A line of skipped.jsonl: a step that was not taken, and what there is to find out why."""
        here = self.position
        record = {
            "epoch": here.epoch + 1,
            "batch": here.batch,
            "lr": rate,
            "loss": str(outcome.loss),
            "norm": str(outcome.gradient_norm),
            "weights_norm": str(self.pupil.weights_norm()),
            "first_not_finite": where,
            "videos": self.everywhere(self.loader.videos(here.epoch, here.batch)),
            "labels": self.everywhere(batch.named(self.parts.classes)),
        }
        if self.ranks.leads:
            self.run.append(self.run.skipped, record)

    def roll_back(self, why: str) -> None:
        """Go back to the last good checkpoint, to leave out the steps that failed since, at lower learning rates.

        Raises ``DivergedError`` where the run has done that before.
        """
        here = self.position
        if here.rollbacks == MOST_ROLLBACKS:
            raise DivergedError(
                f"{why}, also after going back and learning at {here.rate_factor:g} times the rate: lower optim.lr, "
                "lengthen optim.warmup_fraction or set optim.clip_norm"
            )
        path = checkpoint.path_of(self.run.checkpoints, here.good)
        saved = checkpoint.handed(self.ranks, lambda: checkpoint.load(path))
        assert saved is not None
        self.pupil.restore(saved.tensors)
        self.position = back = here.gone_back(Position(**saved.meta))
        if not self.pupil.best:  # nothing was, or an earlier version wrote the checkpoint
            back.best, back.best_epoch = Position.best, Position.best_epoch
        elif back.best_epoch != here.best_epoch:
            self.write_model(self.pupil.best)
        went_back = {"epoch": back.epoch + 1, "batch": back.batch}
        if self.ranks.leads:
            self.run.forget_after(back.epoch)
            self.run.append(self.run.skipped, {"went_back_to": went_back, "lr_factor": back.rate_factor, "why": why})
        self.plot.forget_after(back.epoch * len(self.loader))
        self.echo(
            f"warning: {why}: going back to {back.place(len(self.loader))}, leaving out what was skipped "
            f"({counted(len(here.suspects), 'step')}), and learning at {back.rate_factor:g} times the rate"
        )

    def leave_out(self, batch: Batch) -> None:
        """Name the videos that could not be read when their turn came, each once."""
        if not batch.unreadable:
            return
        known = self.ranks.from_first(self.run.left_out)
        for path, reason in batch.unreadable:
            if Path(path) in known:
                continue
            known[Path(path)] = reason
            self.echo(f"left out: {path} cannot be read: {reason}")
            if self.ranks.leads:
                self.run.leave_out(path, reason, found_in="training")
        try:
            self.limit.check(known)
        except ValueError:
            self.save()
            raise

    def status_text(self) -> str:
        """Where the run stands, in a line."""
        here, meter, epochs = self.position, self.epoch_meter, self.recipe.train.epochs
        left = (epochs - here.epoch) * len(self.loader) - here.batch
        return (
            f"epoch {here.epoch + 1}/{epochs}  step {here.batch}/{len(self.loader)}  {self.figures()}  "
            f"{duration((self.meter + meter).seconds_left(left))} left"
        )

    def figures(self) -> str:
        """Loss, accuracy and speed of the epoch so far."""
        here, meter = self.position, self.epoch_meter
        skipped = f"  {counted(here.skipped, 'step')} skipped" if here.skipped else ""
        loss, right = (total / max(here.clips, 1) for total in (here.loss, here.right))
        return (
            f"loss {loss:.3f}  train {self.scoring.hit.name} {right:.1%}{skipped}  "
            f"{meter.clips_per_second:.3g} clips/s  data wait {meter.data_wait:.0%}"
        )

    # ---- the end of an epoch ----

    def end_epoch(self) -> None:
        """Evaluate if it is time, write metrics and, last, the checkpoint: what comes before it can be done again.

        Goes back, like a row of skipped steps, where the scores of an evaluation are not finite.
        """
        here, meter, epochs = self.position, self.epoch_meter, self.recipe.train.epochs
        done = here.epoch + 1
        data_wait, peak = self.ranks.largest([meter.data_wait, peak_memory(self.pupil.hardware.device) or 0])
        record: dict[str, Any] = {
            "epoch": done,
            "step": done * len(self.loader),
            "lr": self.rate(done * len(self.loader) - 1),
            "loss": here.loss / here.clips if here.clips else None,
            f"train_{self.scoring.hit.key}": here.right / here.clips if here.clips else None,
            "gradient_norm": here.norms / here.moved if here.moved else None,
            "gradient_norm_max": here.norm_max if here.moved else None,
            "skipped": here.skipped,
            "clips_per_second": meter.clips_per_second,
            "data_wait": data_wait,
            "seconds": meter.seconds,
            "peak_memory_bytes": int(peak) or None,
        }
        line = f"epoch {done}/{epochs}  {self.figures()}"
        if done == epochs or done % self.recipe.train.evaluate_every == 0:
            for name, samples in (("holdout", self.parts.holdout), ("val", self.parts.val)):
                if samples:
                    try:
                        outcome = self.judge.evaluate(self.pupil.taught, samples, *QUICK_VIEWS)
                    except NotFiniteError:
                        self.roll_back(
                            f"the scores of {name} after epoch {done} are not finite (learning rate {record['lr']:.3g})"
                        )
                        return
                    result = evaluation.result(outcome)
                    key, title = self.scoring.metric
                    record[f"{name}_{key}"] = result[key]
                    line += f"  {name} {title} {result[key]:.1%}"
                    if wrong := len(result["unreadable"]):
                        line += f" ({result[f'{key}_unreadable_wrong']:.1%} with {wrong} unreadable counted wrong)"
            best = record.get(f"holdout_{self.scoring.metric.key}")
            if best is not None and best >= here.best:  # of equals the later, annealed more
                here.best, here.best_epoch = best, done
                self.pupil.keep_best()
                self.write_model(self.pupil.best)
        if self.ranks.leads:
            self.run.append(self.run.metrics, record)
        self.plot.add(record)
        self.echo(line)
        self.position = here.next_epoch()
        if done == epochs or done % self.recipe.train.checkpoint_every == 0:
            if not self.parts.holdout:
                self.write_model(self.pupil.taught.state_dict())
            self.save(good=not here.skipped_in_a_row)

    def write_model(self, state: Mapping[str, Tensor]) -> None:
        """The model for those who use it: weights, and what prediction must know."""
        views = self.recipe.data.views
        description = {
            "config": self.pupil.model.config.to_dict(),
            "classes": list(self.parts.classes),
            "preprocessing": self.preprocessing.to_dict(),
            "views": list(views),
            **self.scoring.to_dict(),
            "protocol": describe(self.preprocessing, *views, self.scoring.aggregate),
        }
        if self.ranks.leads:
            weights.write(self.run.folder, state, description)

    def save(self, *, good: bool = False) -> None:
        """Write a checkpoint of this position, ``good`` to go back to.

        One that an interruption calls for is not, so that a run that was stopped goes back to where it would have.
        """
        here = self.position
        serial = here.epoch * (len(self.loader) + 1) + here.batch  # an epoch learned is not yet an epoch ended
        if good:
            here.good, here.suspects = serial, []
        tensors = self.pupil.tensors()
        if self.ranks.leads:
            checkpoint.save(self.run.checkpoints, serial, tensors, asdict(here), keep=(here.good,))

    # ---- the end of the run ----

    def report(self) -> None:
        """Evaluate what stands on disk, as any later ``mvit evaluate`` would, and say what came out."""
        if tip := self.watch.at_the_end(self.meter):
            self.echo(tip)
        if not self.parts.val:
            self.echo(f"wrote {self.run.folder}; nothing is held out, so its accuracy is unknown")
            return
        config, state = self.ranks.from_first(lambda: weights.stored(self.run.folder))
        model = weights.build(config)
        model.load_state_dict(state)
        model.to(self.pupil.hardware.device)
        outcome = self.judge.evaluate(model, self.parts.val, *self.recipe.data.views, exact=True)
        if not self.ranks.leads:
            return
        result = evaluation.write(outcome, self.run.folder)
        probe, model_file = self.run.folder / probes.PROBE_FILE, self.run.folder / MODEL_FILE
        if probe.is_file() and probe.stat().st_mtime < model_file.stat().st_mtime:
            probe.unlink()
            self.echo(f"{probe} was of the weights before, and is gone: mvit probe asks again")
        which = f"epoch {self.position.best_epoch}, the best on the holdout" if self.parts.holdout else "the last epoch"
        self.echo(f"{result['headline']}, {which}")
        if idle := no_better_than(result, outcome.samples):
            self.echo(
                f"warning: {idle}: nothing was learned that holds for other {self.parts.medium}. Train longer "
                "(train.epochs), or start from model.weights"
            )
