"""Studies carried out: every variant with every seed in a run folder of its own, one after the other, and gone on with.

Nothing of a sweep is kept but run folders and the recipe that it was begun with: what stands is what is done.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from mvit import files
from mvit.analysis.complexity import Counts
from mvit.data import demo
from mvit.data.dataset import Listing, find
from mvit.data.splits import thinned
from mvit.evaluation.evaluate import RESULT_FILE
from mvit.model.config import MViTConfig
from mvit.model.presets import nearest
from mvit.recipes import recipe as recipes
from mvit.recipes.recipe import Recipe
from mvit.recipes.sections import ModelRecipe
from mvit.studies.ablations import STUDIES, Study, Variant
from mvit.studies.variants import ALIKE, cost, counts
from mvit.training import loop
from mvit.training.faults import DivergedError
from mvit.training.progress import duration
from mvit.training.run import MACHINE_KEYS, Run
from mvit.weights.build import Config

RECIPE = "recipe.toml"
BASE = "base"
"""What the runs of variants are called that are the base itself, which studies share."""
LEAST_SEEDS = 2
FOLLOWING = ("clip", "num_classes")
"""Of a model's numbers: what follows from the data."""

Echo = Callable[[str], None]


@dataclass(frozen=True)
class Task:
    """A variant of a study at the base's size: what its runs are called, and what they follow from, but for seeds."""

    study: str
    variant: str
    name: str
    recipe: Recipe
    declared: Variant
    cost: Counts

    def of_seed(self, seed: int) -> Recipe:
        """The recipe of the run of a seed."""
        return replace(self.recipe, train=replace(self.recipe.train, seed=seed))


@dataclass(frozen=True)
class Sweep:
    """All runs of some studies; made by ``planned``."""

    folder: Path
    base: Recipe
    data: Path
    listing: Listing
    tasks: tuple[Task, ...]
    seeds: tuple[int, ...]

    def runs(self) -> list[tuple[Task, int]]:
        """Every run once, in order: all variants with the first seed, then with the second."""
        once = {task.name: task for task in self.tasks}
        return [(task, seed) for seed in self.seeds for task in once.values()]

    def run(self, task: Task, seed: int) -> Run:
        """The run of a variant with a seed."""
        return Run(self.folder / f"{task.name}-{seed}")

    def is_done(self, task: Task, seed: int) -> bool:
        """Whether a run has come to its result, which it writes last."""
        return (self.run(task, seed).folder / RESULT_FILE).is_file()

    def videos(self, task: Task, seed: int, echo: Echo = print) -> Listing:
        """What a run learns from and is judged on; makes the demo set that a variant asks for, if it is not there."""
        size, share = task.declared.object_size, task.declared.train_share
        if size != 1:
            folder = self.folder / f"demo-{size:g}"
            if not folder.exists():
                echo(f"making the demo set with objects of {size:g} times the size in {folder}")
            return find(demo.make(folder, **demo.settings_of(self.data) | {"object_size": size}))
        if share == 1:
            return self.listing
        kept = thinned(self.listing.train, share, seed)
        how = f"{len(kept):,} of {len(self.listing.train):,} videos of train, drawn from each class by seed {seed}"
        return replace(self.listing, train=kept, how=f"{self.listing.how}; {how}")


def planned(names: Sequence[str], base: Recipe, data: Path, listing: Listing, folder: Path, seeds: int) -> Sweep:
    """What there is to do for studies by name; writes nothing.

    Seeds count from the base's ``train.seed``; all share the split of ``listing``. Raises ``ValueError`` for what
    cannot be: an unknown study, one that asks nothing of such data, fewer than two seeds, weights to start from, no
    videos held out, and a folder in which something else stands.
    """
    for name in names:
        if name not in STUDIES:
            raise ValueError(f"no study is called {name!r}: {nearest(name, list(STUDIES))}")
    if not names or len(set(names)) < len(names):
        raise ValueError(f"name at least one study with --study, each once: there are {', '.join(STUDIES)}")
    if seeds < LEAST_SEEDS:
        raise ValueError(f"{seeds} seeds show no spread: take at least {LEAST_SEEDS}, and 5 for differences to be told")
    if base.model.weights:
        raise ValueError(
            f"model.weights is {base.model.weights!r}, but variants have other tensors: ablations start from scratch"
        )
    if base.train.batch == "auto":
        raise ValueError('train.batch is "auto", which may differ between variants: give a number')
    if not listing.val:
        raise ValueError(f"no video of {data} is held out, so variants could not be told apart: give --val")
    _require_same(folder, base)
    config = base.model_config(len(listing.classes))
    if not isinstance(config, MViTConfig):
        raise ValueError(f"model.name is {base.model.name!r}, but variants follow from an MViT: name a preset of ours")
    tasks = []
    for name in names:
        study = STUDIES[name]
        _require_kind(name, study, config)
        tasks += [_task(name, variant, base, config) for variant in study.variants]
        if any(variant.object_size != 1 for variant in study.variants.values()):
            demo.settings_of(data)
        if study.matched:
            _require_alike(name, [task for task in tasks if task.study == name], cost(config))
    first = base.train.seed
    return Sweep(folder, base, data, listing, tuple(tasks), tuple(range(first, first + seeds)))


def _require_same(folder: Path, base: Recipe) -> None:
    """Raise ``ValueError`` where a sweep of another recipe, or something else, stands in a folder."""
    file = folder / RECIPE
    if not file.is_file():
        if folder.exists() and any(folder.iterdir()):
            raise ValueError(f"{folder} holds something else than a sweep: choose another folder with --out")
        return
    changes = [line for line in recipes.differences(recipes.load(file), base) if not line.startswith(MACHINE_KEYS)]
    if changes:
        raise ValueError(
            f"{folder} was begun with another recipe ({'; '.join(changes)}): go on with the same one, or choose "
            "another folder with --out"
        )


def _task(study: str, variant: str, base: Recipe, config: MViTConfig) -> Task:
    declared = STUDIES[study].variants[variant]
    changed = declared.change(config)
    recipe = base if changed == config else _with_model(base, config, changed)
    if declared.train_share < 1:
        recipe = _longer(recipe, 1 / declared.train_share)
    same = recipe == base and declared.train_share == declared.object_size == 1
    return Task(study, variant, BASE if same else f"{study}-{variant}", recipe, declared, counts(changed))


def _with_model(base: Recipe, config: MViTConfig, changed: Config) -> Recipe:
    """The base's recipe with the fields of the model that are other, or with another library's model."""
    if not isinstance(changed, MViTConfig):
        sizes = {key: value for key, value in changed.to_dict().items() if key not in ("baseline", *FOLLOWING)}
        return replace(base, model=ModelRecipe(name=changed.baseline, fields=sizes))
    before, after = config.to_dict(), changed.to_dict()
    fields = {name: value for name, value in after.items() if value != before[name]}
    return replace(base, model=replace(base.model, fields=dict(base.model.fields) | fields))


def _longer(recipe: Recipe, times: float) -> Recipe:
    """So many times the epochs, warmed up, looked at and saved as often in the whole run."""
    train, optim = recipe.train, recipe.optim
    if optim.warmup_epochs is not None:
        optim = replace(optim, warmup_epochs=times * optim.warmup_epochs)
    epochs, evaluate, save = (
        round(times * number) for number in (train.epochs, train.evaluate_every, train.checkpoint_every)
    )
    train = replace(train, epochs=epochs, evaluate_every=evaluate, checkpoint_every=save)
    return replace(recipe, train=train, optim=optim)


def _require_kind(name: str, study: Study, config: MViTConfig) -> None:
    kind = "images" if config.clip[0] == 1 else "clips"
    if kind not in study.kinds:
        raise ValueError(f"the study {name} asks about time, and images have none: take videos, or another study")


def _require_alike(name: str, tasks: Sequence[Task], wanted: int) -> None:
    apart = {task.variant: task.cost.macs / wanted - 1 for task in tasks}
    worst = max(apart, key=lambda variant: abs(apart[variant]))
    if abs(apart[worst]) > ALIKE:
        raise ValueError(
            f"the study {name} compares variants of the same cost, but at this size {worst} costs {apart[worst]:+.0%}: "
            "take a larger model (--model) or clip (data.crop, data.frames)"
        )


def carry_out(sweep: Sweep, *, index: Path | None = None, echo: Echo = print) -> dict[str, str]:
    """Train what is not done yet, telling how far it is; gives why, by run, where a training diverged.

    A run that is done is kept, one that was interrupted gone on with. Raises ``ValueError`` where a run folder is of
    another recipe or other videos, and ``KeyboardInterrupt`` after a signal, with everything saved.
    """
    if not (sweep.folder / RECIPE).is_file():
        sweep.folder.mkdir(parents=True, exist_ok=True)
        files.write_text(sweep.folder / RECIPE, recipes.dumps(sweep.base))
    todo = sweep.runs()
    pace = _Pace()
    diverged: dict[str, str] = {}
    for number, (task, seed) in enumerate(todo, start=1):
        run, recipe, videos = sweep.run(task, seed), task.of_seed(seed), sweep.videos(task, seed, echo)
        where = f"run {number} of {len(todo)}, {run.folder.name}"
        begun = run.recipe.is_file()
        if begun:
            run.require_same(recipe, videos)
        if begun and sweep.is_done(task, seed):
            echo(f"{where}: done before")
            continue
        left = sum(_work(each) for each, its in todo[number - 1 :] if not sweep.is_done(each, its))
        echo(f"{where}: {'going on' if begun else 'begins'}{pace.estimate(left)}")
        start = time.monotonic()
        try:
            loop.train(recipe, videos, run.folder, resume=begun, index=index, echo=lambda line: echo(f"  {line}"))
        except DivergedError as why:
            diverged[run.folder.name] = str(why)
            echo(f"{where}: diverged, and is left out. {why}")
        else:
            if not begun:
                pace.note(_work(task), time.monotonic() - start)
    return diverged


def _work(task: Task) -> float:
    """What a run takes, in multiply-adds of each clip that is learned from, but for the number of videos."""
    return task.cost.macs * task.recipe.train.epochs * task.declared.train_share


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
