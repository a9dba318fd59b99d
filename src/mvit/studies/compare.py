"""Models beside each other: right on the same videos under the same views, what each costs, and how fast it is here."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from mvit.analysis.comparison import DASH, EXPLAINED, FEW_UNITS, cells, order_drop, over, shown_p, undrawn
from mvit.analysis.record import read_probe
from mvit.analysis.report import names
from mvit.data.dataset import Sample
from mvit.data.views import Preprocessing
from mvit.deploy.opened import load
from mvit.deploy.predictor import Predictor
from mvit.evaluation import comparison
from mvit.evaluation.evaluate import evaluate
from mvit.evaluation.scoring import SINGLE, Predict, Scoring
from mvit.provenance import provenance
from mvit.studies.footprint import of_a_call, unmeasurable
from mvit.studies.measure import WARM_UP_ROUNDS, Progress, Times, in_rounds
from mvit.studies.spread import spread
from mvit.studies.variants import counts

PROTOCOL = "one clip at a time, all models in one process, run after run in an order drawn anew"


@dataclass(frozen=True, kw_only=True)
class Contender:
    """A model of any origin to compare: a function from clips to logits, and what it is given and taken for."""

    name: str
    predict: Predict
    classes: tuple[str, ...]
    preprocessing: Preprocessing
    views: tuple[int, int] = (1, 1)
    scoring: Scoring = SINGLE
    device: str = "cpu"
    parameters: int | None = None
    macs: int | None = None
    """Multiply-adds of one view."""
    load: Callable[[], Predict] | None = None
    """Makes ``predict`` in another process, where memory is measured: a function of a module, or a partial of one."""
    said: Mapping[str, Any] | None = None
    """What else is known of it: ``order_drop`` and its interval."""


def contenders(paths: Sequence[Path]) -> list[Contender]:
    """Run folders, their model.safetensors and exported files as what they are compared as; raises as they do."""
    found = []
    for name, path in zip(names(paths), paths, strict=True):
        model = load(path)
        known: dict[str, Any] = {}
        if isinstance(model, Predictor):
            size = model.preprocessing.crop
            counted = counts(model.model.config, (model.preprocessing.sampling.frames, size, size))
            known = {"parameters": counted.parameters, "macs": counted.macs}
            known["device"] = next(model.model.parameters()).device.type
        found.append(
            Contender(
                name=name,
                predict=model.logits,
                classes=model.classes,
                preprocessing=model.preprocessing,
                views=model.views,
                scoring=model.scoring,
                load=partial(_predict_of, path),
                **known,
            )
        )
    return found


def probed(models: Sequence[Contender], folders: Sequence[Path], listed: int) -> list[Contender]:
    """The same models with ``said`` from the probes in their folders, of those that are of as many videos."""
    return [
        replace(model, said=order_drop(read_probe(folder), listed))
        for model, folder in zip(models, folders, strict=True)
    ]


def _predict_of(path: Path) -> Predict:
    return load(path).logits


def on_data(
    models: Sequence[Contender],
    samples: Sequence[Sample],
    views: tuple[int, int],
    *,
    progress: Progress = lambda done, of: None,
) -> dict[str, Any]:
    """All models on the same videos with as many views each, as ``evaluation.comparison`` has it.

    A video counts where every model could read it. Raises ValueError for two models of one name, for classes that
    differ, and as ``evaluate``.
    """
    require_comparable(models)
    right: dict[str, dict[Path, bool]] = {}
    protocols = {}
    for place, model in enumerate(models):
        outcome = evaluate(
            model.predict,
            samples,
            model.classes,
            model.preprocessing,
            clips=views[0],
            crops=views[1],
            scoring=model.scoring,
            progress=partial(_shifted, progress, place, len(models)),
        )
        hits = outcome.scores.argmax(axis=1) == outcome.labels
        right[model.name] = {sample.id: bool(hit) for sample, hit in zip(outcome.samples, hits, strict=True)}
        protocols[model.name] = outcome.protocol
    kept = [sample for sample in samples if all(sample.id in hits for hits in right.values())]
    if not kept:
        raise ValueError("there is no video that every one of these models could read")
    answers = {name: np.array([hits[sample.id] for sample in kept]) for name, hits in right.items()}
    found = comparison.compare(answers, [sample.drawn_with for sample in kept])
    for name, protocol in protocols.items():
        found["models"][name]["protocol"] = protocol
    shared = {"protocol": next(iter(protocols.values()))} if len(set(protocols.values())) == 1 else {}
    return {**shared, "listed": len(samples), **found}


def _shifted(progress: Progress, place: int, models: int, done: int, of: int) -> None:
    progress(place * of + done, models * of)


def require_comparable(models: Sequence[Contender]) -> None:
    """Raise ``ValueError`` for two models of one name, for classes that differ, and for several classes a video."""
    for place, model in enumerate(models):
        if model.scoring.multi_label:
            raise ValueError(f"{model.name} is for videos of several classes at once: compare models of one class each")
        if model.name in [other.name for other in models[:place]]:
            raise ValueError(f"two models are called {model.name}: each is compared once")
    comparison.require_same_classes({model.name: model.classes for model in models})


def costs(
    models: Sequence[Contender],
    views: tuple[int, int],
    *,
    runs: int,
    progress: Progress = lambda done, of: None,
) -> dict[str, Any]:
    """What is known of each model's cost by its name, under ``models``, and, with ``runs``, what was ``measured``.

    Where the memory of a process cannot be read, ``measured`` says why in ``no_memory``.
    """
    known: dict[str, dict[str, Any]] = {}
    for model in models:
        view = None if model.macs is None else model.macs / 1e9
        known[model.name] = {
            "parameters": model.parameters,
            "gmac_per_view": view,
            "views": list(views),
            "gmac_per_video": None if view is None else view * prod(views),
            **(model.said or {}),
        }
    if runs < 1:
        return {"models": known}
    times: Times = {}
    lacking: dict[str, str] = {}
    calls = {model.name: _call(model.predict, model.preprocessing) for model in models}
    steps = runs + WARM_UP_ROUNDS + len(models)
    in_rounds(calls, times, runs, "cpu", lambda done: progress(done, steps))  # a call gives what is on the host
    for place, model in enumerate(models):
        speed = spread([1e3 / each for each in times[model.name]])
        known[model.name]["clips_per_second"] = speed.to_dict()
        known[model.name]["milliseconds_per_video"] = 1e3 / speed.median * prod(views)
        if model.load is not None and (why := unmeasurable(model.device)):
            lacking["no_memory"] = why
        elif model.load is not None:
            prepare = partial(_prepared, model.load, model.preprocessing)
            known[model.name]["memory_bytes"] = of_a_call(model.name, prepare, model.device)
        progress(runs + WARM_UP_ROUNDS + place + 1, steps)
    return {"models": known, "measured": {"protocol": PROTOCOL, "rounds": runs, "milliseconds": times, **lacking}}


def _clip(preprocessing: Preprocessing) -> np.ndarray:
    shape = (1, 3, preprocessing.sampling.frames, preprocessing.crop, preprocessing.crop)
    return np.random.default_rng(0).standard_normal(shape, dtype=np.float32)


def _call(predict: Predict, preprocessing: Preprocessing) -> Callable[[], None]:
    clip = _clip(preprocessing)

    def once() -> None:
        predict(clip)

    return once


def _prepared(load: Callable[[], Predict], preprocessing: Preprocessing) -> Callable[[], None]:
    return _call(load(), preprocessing)


def recorded(found: Mapping[str, Any], cost: Mapping[str, Any], device: str) -> dict[str, Any]:
    """Accuracy and cost as one record, with the machine."""
    models = {name: {**model, **cost["models"][name]} for name, model in found["models"].items()}
    return {"what": "comparison", **provenance(device), **found, **cost, "models": models}


def describe(record: Mapping[str, Any]) -> str:
    """The record in lines for people."""
    return "\n".join(_lines(record))


def _lines(record: Mapping[str, Any]) -> Iterator[str]:
    rows = [{"model": name, **cells(model)} for name, model in record["models"].items()]
    titles = [title for title in rows[0] if any(row[title] != DASH for row in rows)]
    lines = [titles, *([row[title] for title in titles] for row in rows)]
    wide = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        first, *others = (f"{cell:{'>' if place else '<'}{wide[place]}}" for place, cell in enumerate(line))
        yield "  ".join([first, *others])
    if "measured" in record:
        yield "clips/s: median and quartiles"
    yield from (f"{title}: {said}" for title, said in EXPLAINED.items() if title in titles)
    if why := record.get("measured", {}).get("no_memory"):
        yield f"MiB: not measured, as {why}"
    yield f"top-1 with 95 % intervals over {over(record)}; {record['videos']:,} of {record['listed']:,} videos"
    if record["units"] < FEW_UNITS:
        yield f"intervals over no more than {over(record)} are rough, and rather too narrow"
    for name, model in record["models"].items():
        yield f"{name}: {model.get('protocol', record.get('protocol'))}"
    several = len(record["pairs"]) > 1
    for pair in record["pairs"]:
        low, high = (100 * limit for limit in pair["difference_interval"])
        told = "" if pair["method"] == "bootstrap" else f" ({pair['method']}: {undrawn(pair['method'], record)})"
        yield (
            f"{pair['first']} - {pair['second']}: {100 * pair['difference']:+z.1f} points [{low:+z.1f}, {high:+z.1f}]"
            f"{told}, right alone {pair['only_first']:,} : {pair['only_second']:,}, McNemar p {shown_p(pair['p'])}"
            + (f", corrected for {len(record['pairs'])} pairs (Holm) {shown_p(pair['p_corrected'])}" if several else "")
        )
