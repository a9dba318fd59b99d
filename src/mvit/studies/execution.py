"""Studies carried out: one run after the other, told how far it is, and gone on with where it was interrupted."""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from mvit import files
from mvit.recipes import recipe as recipes
from mvit.studies.sweep import RECIPE, SETTINGS, Echo, Sweep, Task, settings_of
from mvit.training import loop
from mvit.training.faults import DivergedError
from mvit.training.progress import duration


def carry_out(sweep: Sweep, *, index: Callable[[Path], Path] | None = None, echo: Echo = print) -> dict[str, str]:
    """Train what is not done yet, telling how far it is; gives why, by run, where a training diverged.

    A run that is done is kept, one that was interrupted gone on with. ``index`` says where what was seen of a data
    set's videos is kept. Raises ``ValueError`` where a run folder is of another recipe or other videos, and
    ``KeyboardInterrupt`` after a signal, with everything saved.
    """
    sweep.folder.mkdir(parents=True, exist_ok=True)
    if settings_of(sweep.folder) != sweep.settings:
        files.write_text(sweep.folder / SETTINGS, json.dumps(sweep.settings, indent=1) + "\n")
    if not (sweep.folder / RECIPE).is_file():
        files.write_text(sweep.folder / RECIPE, recipes.dumps(sweep.base))
    todo = [(stage, task, seed) for stage in sweep.stages for task, seed in stage.runs()]
    pace = _Pace()
    diverged: dict[str, str] = {}
    for number, (stage, task, seed) in enumerate(todo, start=1):
        run = stage.run(task, seed)
        name = run.folder.relative_to(sweep.folder).as_posix()
        where = f"run {number} of {len(todo)}, {name}"
        if why := stage.lacking(task, seed):
            diverged[name] = why
            echo(f"{where}: is left out, as {why}")
            continue
        recipe, videos = stage.recipe(task, seed), stage.videos(task, seed, echo)
        begun = run.recipe.is_file()
        if begun:
            run.require_same(recipe, videos)
        if begun and stage.is_done(task, seed):
            echo(f"{where}: done before")
            continue
        left = sum(_work(*each) for each in todo[number - 1 :] if not each[0].is_done(*each[1:]))
        echo(f"{where}: {'going on' if begun else 'begins'}{pace.estimate(left)}")
        start, seen = time.monotonic(), index(stage.data) if index else None
        try:
            loop.train(
                *(recipe, videos, run.folder),
                resume=begun,
                index=seen,
                echo=lambda line: echo(f"  {line}"),
                again="goes on",
            )
        except DivergedError as reason:
            diverged[name] = str(reason)
            echo(f"{where}: diverged, and is left out. {reason}")
        else:
            if not begun:
                pace.note(_work(stage, task, seed), time.monotonic() - start)
    return diverged


def _work(stage: Sweep, task: Task, seed: int) -> float:
    """What a run takes, in multiply-adds of all clips that are learned from."""
    return task.cost.macs * task.recipe.train.epochs * task.declared.train_share * len(stage.listing.train)


@dataclass
class _Pace:
    """How long runs took for their work, and so how long others will."""

    seconds: float = 0.0
    done: float = 0.0

    def note(self, work: float, seconds: float) -> None:
        """A run that was done from its beginning to its end."""
        self.seconds += seconds
        self.done += work

    def estimate(self, left: float) -> str:
        """What is said of so much work that is left; nothing before the first run is done."""
        return f", about {duration(self.seconds / self.done * left)} for all that is left" if self.done else ""
