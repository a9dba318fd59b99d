"""Run folders and checkpoints seen from outside: where the next one goes, what one is, which videos to judge it on."""

import csv
import itertools
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mvit import baselines, weights
from mvit.analysis import counter
from mvit.analysis.complexity import Complexity, Counted, complexity
from mvit.baselines import BASELINES
from mvit.data.dataset import Sample, find_all
from mvit.model.config import MViTConfig, Triple
from mvit.model.presets import get_config
from mvit.weights.read import describe


def fresh(folder: Path, name: str) -> Path:
    """The first of NAME-1, NAME-2, ... that does not exist in a folder."""
    numbered = (folder / f"{name}-{n}" for n in itertools.count(1))
    return next(path for path in numbered if not path.exists())


def name_of(data: Path) -> str:
    """What a run on this folder or CSV is called after."""
    whole = data.resolve()
    return whole.name if whole.is_dir() else whole.stem


def architecture(name: str) -> MViTConfig:
    """The configuration of a preset, or of a run folder or checkpoint by its path."""
    looks_like_path = Path(name).exists() or Path(name).name != name
    return weights.read(name)[0] if looks_like_path else get_config(name)


def cost(name: str, clip: Triple | None, views: tuple[int, int]) -> Complexity | Counted:
    """What a model costs on a clip, its own unless given: ours by arithmetic, a baseline counted while it runs."""
    if name not in BASELINES:
        return complexity(architecture(name), clip, views)
    return counter.count(lambda: baselines.create(name), clip or BASELINES[name].clip, views)


def facts(name: str) -> dict[str, Any]:
    """What there is to know about a preset, a run folder or a checkpoint, as JSON holds it."""
    config = architecture(name)
    counted = complexity(config)
    known: dict[str, Any] = {
        "name": name,
        "parameters": counted.parameters,
        "macs": counted.macs,
        "clip": list(config.clip),
    }
    path = Path(name)
    if path.is_dir() or path.suffix == ".safetensors":
        described = describe(path)
        known |= {key: described[key] for key in ("mvit", "classes", "preprocessing", "protocol") if key in described}
        result = (path if path.is_dir() else path.parent) / "result.json"
        if result.is_file():
            known["result"] = json.loads(result.read_text(encoding="utf-8"))["headline"]
    return known | {"config": config.to_dict()}


def to_judge(run: Path, data: Path, classes: Sequence[str]) -> tuple[tuple[Sample, ...], Path]:
    """The videos of ``data`` to judge a run on, and the folder for what comes out.

    Where the run itself split this data, these are the videos that it held out; where it learned from some, it is said.
    """
    samples = find_all(data, classes)
    home = run if run.is_dir() else run.parent
    if not (home / "split.csv").is_file():
        return samples, home
    # Read as it stands: the videos of the run may be gone by now, and need not be there to judge it on others.
    with (home / "split.csv").open(encoding="utf-8", newline="") as file:
        parts = {row["path"]: row["split"] for row in csv.DictReader(file)}
    named = {str(sample.path) for sample in samples}
    held_out = {path for path, part in parts.items() if part == "val"}
    if named == held_out:
        return samples, home
    if held_out and named == parts.keys():
        print(f"The run split {data} itself: it is judged on the {len(held_out)} videos that it held out.")
        return tuple(sample for sample in samples if str(sample.path) in held_out), home
    if learned := named & (parts.keys() - held_out):
        print(f"Beware: the model was trained on {len(learned)} of these {len(named)} videos.", file=sys.stderr)
    return samples, home / f"on-{name_of(data)}"
