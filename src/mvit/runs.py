"""Run folders and checkpoints seen from outside: where the next one goes, and what one is."""

import itertools
import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from mvit import baselines, weights
from mvit.analysis import balance, counter
from mvit.analysis.complexity import Complexity, Counted, complexity
from mvit.baselines import BASELINES
from mvit.baselines.sizes import SIZES, BaselineConfig
from mvit.distributed import launch
from mvit.held_out import name_of
from mvit.model.config import MViTConfig, Triple
from mvit.model.mvit import MViT
from mvit.model.presets import get_config
from mvit.training.run import Run, only_listed_unreadable
from mvit.weights import hub
from mvit.weights.published import Published, published_for
from mvit.weights.read import CheckpointError, baseline_of, describe


def fresh(folder: Path, name: str) -> Path:
    """The first of NAME-1, NAME-2, ... in a folder that does not exist, or holds no run that has begun."""
    numbered = (folder / f"{name}-{n}" for n in itertools.count(1))
    return next(path for path in numbered if not path.exists() or only_listed_unreadable(path))


def to_train(data: Path, out: Path | None, resume: bool | Literal["auto"]) -> tuple[Path, bool]:
    """The folder to train into, and whether to go on with the run in it.

    True goes on with the run in ``out``. "auto" goes on with the run that this one's processes have begun, known by
    the id that torchrun or Slurm gave them, in ``out`` or under runs/, and begins it where there is none; so does a
    process that they have started again. Raises ``ValueError`` where there is nothing to go on with, no id, or a
    folder in use.
    """
    run_id = launch.run_id()
    if resume is True:
        if out is None or not (out / "recipe.toml").is_file():
            found = f"; {out} holds no recipe.toml, so none has begun there: leave --resume out to begin" if out else ""
            raise ValueError(f"--resume goes on with a run: name its folder with --out{found}")
        return out, True
    folder, name = Path("runs"), name_of(data)
    if resume == "auto" or launch.restarted():
        if run_id is None:
            raise ValueError(
                "--resume auto knows a run by the id that torchrun (--standalone or --rdzv-id=NAME) or Slurm gives it, "
                "and there is none: name a folder with --out, and go on with it by --resume"
            )
        its = re.compile(re.escape(name) + r"-\d+")  # what ``fresh`` gives, and no run of data with a longer name
        known = (out,) if out else sorted(path for path in folder.glob("*") if its.fullmatch(path.name))
        if begun := next((path for path in known if Run(path).is_of(run_id)), None):
            return begun, True
    if out is not None:
        Run(out).require_new()  # said before anything is looked at or downloaded
    return out or fresh(folder, name), False


def architecture(name: str) -> MViTConfig:
    """The configuration of a preset, or of a run folder or checkpoint by its path."""
    return _read(name)[0]


def _read(name: str) -> tuple[MViTConfig, weights.LoadingReport | None]:
    if Path(name).exists() or Path(name).name != name:
        config, _, report = weights.read(name)
        return config, report
    return get_config(name), None


def _trained_baseline(name: str) -> BaselineConfig | None:
    """The configuration of another library's model in a run folder; None for all else."""
    return baseline_of(name) if Path(name).exists() else None


def cost(name: str, clip: Triple | None, views: tuple[int, int]) -> Complexity | Counted:
    """What a model costs on a clip, its own unless given: ours by arithmetic, a baseline counted while it runs."""
    config = SIZES.get(name) or _trained_baseline(name)
    if config is not None:
        if clip not in (None, config.clip):
            raise ValueError(f"{name} takes clips of {config.clip} alone: leave out --clip")
        return counter.count(lambda: weights.build(config), config.clip, views)
    if name not in BASELINES:
        return complexity(architecture(name), clip, views)
    return counter.count(lambda: baselines.create(name), clip or BASELINES[name].clip, views)


def draw_balance(out: Path, names: Sequence[str], clip: Triple) -> Path:
    """Draw where the computation of models goes for a clip, as an SVG file; raises ``ValueError`` for a baseline."""
    if others := [name for name in names if name in BASELINES]:
        raise ValueError(
            f"{others[0]} is counted as a whole, so where its computation goes cannot be drawn: leave it out"
        )
    return balance.write(out, {name: architecture(name) for name in names}, clip)


def facts(name: str) -> dict[str, Any]:
    """What there is to know about a preset, a run folder or a checkpoint, as JSON holds it."""
    other = SIZES.get(name) or _trained_baseline(name)
    config, report = (other, None) if other else _read(name)
    counted = cost(name, None, (1, 1)) if other else complexity(architecture(name))
    known: dict[str, Any] = {
        "name": name,
        "parameters": counted.parameters,
        "macs": counted.macs,
        "clip": list(config.clip),
    }
    if (report is not None and report.dialect == "mvit") or (other and name not in SIZES):
        described = describe(name)
        known |= {
            key: described[key]
            for key in ("mvit", "classes", "multi_label", "preprocessing", "protocol")
            if key in described
        }
        folder = Path(name) if Path(name).is_dir() else Path(name).parent
        if (headline := _headline(folder / "result.json")) is not None:
            known["result"] = headline
    elif report is not None:
        known |= {"names": report.dialect, "assumed": report.assumed}
    if report is not None and report.not_finite:
        known["not_finite"] = report.not_finite
    if published := published_for(name):
        known["weights"] = {entry.name: entry.to_dict() for entry in published.values()}
    return known | {"config": config.to_dict()}


_JOINED_BY = {"clip": "x", "assumed": "; "}
"""Where a list of facts is not one of names."""


def listed(known: Mapping[str, Any]) -> Iterator[str]:
    """Facts for people, a line each; those that are mappings themselves stand indented below their name."""
    for name, value in known.items():
        if isinstance(value, Mapping):
            yield name
            yield from (f"  {line}" for line in listed(value))
        elif value != []:
            said = _JOINED_BY.get(name, ", ").join(map(str, value)) if isinstance(value, list) else value
            yield f"{name:15} {said:,}" if type(said) is int else f"{name:15} {said}"


def _headline(result: Path) -> str | None:
    """What evaluation found, in a line; None where a folder has no such file, or one that evaluation did not write."""
    try:
        content = json.loads(result.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except ValueError as why:
        raise ValueError(f"{result} is not JSON ({why}): evaluate the run again") from why
    return content.get("headline") if isinstance(content, dict) else None


def classes_in(file: Path) -> tuple[str, ...]:
    """The class names of a text file with one a line; raises ``ValueError`` for no UTF-8 and for a name twice."""
    try:
        names = tuple(line for line in file.read_text(encoding="utf-8-sig").splitlines() if line)
    except UnicodeDecodeError as why:
        raise ValueError(f"{file} is no UTF-8 text ({why}): expected a class name a line") from why
    if twice := next((name for name, count in Counter(names).items() if count > 1), None):
        raise ValueError(f"{file} names {twice!r} more than once: scores are told by class name, so each needs its own")
    return names


def from_published(preset: str, name: str, folder: Path, classes: Sequence[str] = ()) -> Published:
    """Make a run folder of published weights, as evaluation and prediction take it; they are downloaded if need be.

    ``classes`` are needed where no installed library lists them. Raises ``ValueError`` for an unknown preset or name,
    for other classes than the file has outputs, and for a file that is not the preset's architecture.
    """
    config = get_config(preset)
    entry = hub.named(preset, name)
    if entry is None:
        known = ", ".join(published_for(preset))
        there = f"the published weights of {preset} are {known}" if known else f"none are published for {preset}"
        raise ValueError(f"{name!r} is a path, where fetch takes the name of published weights: {there}")
    if folder.exists():
        raise FileExistsError(f"{folder} exists already: name another folder with --out")
    classes = classes or hub.class_names(entry)
    if not len(classes) == len(set(classes)) == entry.data.classes:
        given = f"{len(classes):,} names, {len(set(classes)):,} of them different"
        raise ValueError(f"{entry.data.title} has {entry.data.classes:,} different classes, and the file holds {given}")
    model = MViT(entry.config(config))
    _, state, report = weights.read(hub.fetch(entry), config=model.config)
    weights.fit(model, state, report)
    if report.reinitialised or report.resized or report.differing:
        raise CheckpointError(f"{report} so it is not what was published as {preset} {entry.name} {entry.note}".strip())
    description = {
        "config": model.config.to_dict(),
        "classes": list(classes),
        "preprocessing": entry.protocol.preprocessing.to_dict(),
        "views": list(entry.protocol.views),
        "protocol": str(entry.protocol),
        "published": entry.to_dict(),
    }
    weights.write(folder, model.state_dict(), description)
    return entry
