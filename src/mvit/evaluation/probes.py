"""What the order of frames is worth: the same evaluation on clips shuffled, reversed, or of one frame repeated."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mvit import files
from mvit.data.dataset import Sample
from mvit.data.directions import mirror_in_time
from mvit.data.views import Preprocessing, describe
from mvit.evaluation.evaluate import (
    Progress,
    as_json,
    chance,
    checked,
    decoded,
    labels_of,
    require_labelled,
    require_readable,
)
from mvit.evaluation.metrics import Ranking, bootstrap, paired_difference, wilson
from mvit.evaluation.scoring import SINGLE, Predict, Scoring, score_views

PROBE_FILE = "probe.json"
TIME = 2  # axis of (N, 3, T, H, W)


def probe(
    predict: Predict,
    samples: Sequence[Sample],
    classes: Sequence[str],
    preprocessing: Preprocessing,
    *,
    clips: int = 1,
    crops: int = 1,
    scoring: Scoring = SINGLE,
    orders: int = 10,
    seed: int = 0,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """What goes into probe.json: top-1 or mAP in order, shuffled, reversed and on one frame, and what each loses.

    Each video is decoded once; the frames of the clip that the classifier sees are shuffled in ``orders`` random orders
    drawn from ``seed`` and the video's place in the list, reversed, or replaced by the middle one. Shares are fractions
    with 95 % intervals over videos (not orders), drops are in points. ``called_mirror`` is the share of reversed clips
    taken for the class that theirs is when played backwards, over videos of classes that have such a mirror. Raises
    ValueError for clips of one frame, and as ``evaluate`` does.
    """
    frames = preprocessing.sampling.frames
    if frames < 2:
        raise ValueError(f"the model sees {frames} frame a clip: there is no order to probe")
    if orders < 1:
        raise ValueError(f"orders is {orders}: at least one random order is needed, and ten are usual")
    labels_of(samples, classes, scoring)
    kept: list[Sample] = []
    unreadable: dict[Path, str] = {}
    outcomes: list[np.ndarray] = []
    for place, (sample, views) in enumerate(decoded(samples, preprocessing, clips, crops)):
        if isinstance(views, str):
            unreadable[sample.id] = views
        else:
            variants = frame_orders(frames, orders, np.random.default_rng([seed, place]))
            shown = (views.take(order, axis=TIME) for order in variants)
            scores = np.stack([checked(score_views(predict, seen, scoring), classes) for seen in shown])
            kept.append(sample)
            outcomes.append(scores if scoring.multi_label else scores.argmax(axis=1))
        if progress is not None:
            progress(place + 1, len(samples))
    require_readable(kept, unreadable)
    labels = labels_of(kept, classes, scoring)
    summed = (
        summary_of_several(np.stack(outcomes), labels)
        if scoring.multi_label
        else summary(np.stack(outcomes), labels, classes)
    )
    return {
        **summed,
        "orders": orders,
        "seed": seed,
        "listed": len(samples),
        "unreadable": {str(path): reason for path, reason in unreadable.items()},
        "protocol": describe(preprocessing, clips, crops, scoring.aggregate),
    }


def frame_orders(frames: int, orders: int, rng: np.random.Generator) -> np.ndarray:
    """Frame indices of each variant, (3 + orders, frames): in order, reversed, the middle frame, random orders.

    No random order is the true one; for two frames that leaves the reversed one only.
    """
    ordered = np.arange(frames)
    variants = [ordered, ordered[::-1], np.full(frames, frames // 2)]
    while len(variants) < 3 + orders:
        order = rng.permutation(frames)
        if (order != ordered).any():
            variants.append(order)
    return np.stack(variants)


def summary(predictions: np.ndarray, labels: np.ndarray, classes: Sequence[str]) -> dict[str, Any]:
    """The probe's figures from the classes predicted, (videos, 3 + orders) in the order of `frame_orders`."""
    right = (predictions == labels[:, None]).astype(np.float64)
    shuffles = right[:, 3:]
    # The sample is the videos: one video in ten orders is not ten videos, so each counts with its share of orders.
    outcome = {
        "ordered": right[:, 0],
        "shuffled": shuffles.mean(axis=1),
        "reversed": right[:, 1],
        "single_frame": right[:, 2],
    }
    figures: dict[str, Any] = {name: _share(shares, "top1") for name, shares in outcome.items()}
    figures["shuffled"]["std_over_orders"] = float(shuffles.mean(axis=0).std())
    figures["reversed"] |= _called_mirror(predictions[:, 1], predictions[:, 0], labels, classes)
    worse = [name for name in outcome if name != "ordered"]
    intervals = {name: paired_difference(outcome["ordered"], outcome[name]) for name in worse}
    content = {
        "videos": len(labels),
        "chance": 1 / len(classes),
        "majority": int(np.bincount(labels).max()) / len(labels),
        **figures,
        "drops": {name: 100 * (figures["ordered"]["top1"] - figures[name]["top1"]) for name in worse},
        "drop_intervals": {name: [100 * low, 100 * high] for name, (low, high) in intervals.items()},
    }
    return {"meaning": meaning(content), **content}


def summary_of_several(scores: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
    """The same by mAP, from scores (videos, 3 + orders, classes) and the classes of videos, bool (videos, classes).

    All intervals, those of drops too, come from the same draws of videos (``metrics.bootstrap``).
    """
    require_labelled(labels)
    rankings = [Ranking(scores[:, variant], labels) for variant in range(scores.shape[1])]
    names = ("ordered", "shuffled", "reversed", "single_frame")

    def figures_of(weights: np.ndarray) -> list[float]:
        ordered, backwards, single, *shuffles = (ranking.mean(weights) for ranking in rankings)
        values = [ordered, float(np.mean(shuffles)), backwards, single]
        return values + [ordered - value for value in values[1:]]

    values, intervals = figures_of(np.ones(len(labels))), bootstrap(figures_of, len(labels))
    figures: dict[str, Any] = {
        name: {"map": value, "map_interval": (max(0.0, low), min(1.0, high))}
        for name, value, (low, high) in zip(names, values, intervals, strict=False)
    }
    figures["shuffled"]["std_over_orders"] = float(np.std([ranking.mean() for ranking in rankings[3:]]))
    content = {
        "videos": len(labels),
        "chance": chance(labels),
        **figures,
        "drops": {name: 100 * value for name, value in zip(names[1:], values[4:], strict=True)},
        "drop_intervals": {
            name: [100 * low, 100 * high] for name, (low, high) in zip(names[1:], intervals[4:], strict=True)
        },
    }
    return {"meaning": meaning(content), **content}


def _share(outcomes: np.ndarray, name: str) -> dict[str, Any]:
    return {name: float(outcomes.mean()), f"{name}_interval": wilson(float(outcomes.sum()), len(outcomes))}


def _called_mirror(
    backwards: np.ndarray, forwards: np.ndarray, labels: np.ndarray, classes: Sequence[str]
) -> dict[str, Any]:
    mirror = mirror_in_time(classes)
    index = {name: position for position, name in enumerate(classes)}
    target = np.array([index[mirror[name]] if name in mirror else -1 for name in classes])[labels]
    mirrored = target >= 0
    content: dict[str, Any] = {"mirror_videos": int(mirrored.sum()), "mirrors": mirror}
    if not mirrored.any():
        return content | {"called_mirror": None, "called_mirror_interval": None, "mirror_ordered_top1": None}
    return (
        content
        | _share((backwards == target)[mirrored].astype(np.float64), "called_mirror")
        | {"mirror_ordered_top1": float((forwards == labels)[mirrored].mean())}
    )


def meaning(content: dict[str, Any]) -> str:
    """What the figures say and what they do not, in a few plain sentences."""
    ordered, shuffled, reverse = content["ordered"], content["shuffled"], content["reversed"]
    several = "map" in ordered
    key, name = Scoring(multi_label=several).metric
    low, high = content["drop_intervals"]["shuffled"]
    drop = content["drops"]["shuffled"]
    baseline = max(content["chance"], content.get("majority", 0.0))
    if ordered[f"{key}_interval"][0] <= baseline:
        blind = "giving every video the same scores" if several else "always answering one class"
        return (
            f"In its own order the model gets {_percent(ordered[key])}, which cannot be told from {blind} "
            f"({_percent(baseline)}): the other figures say nothing yet."
        )
    fewer, between = ("fewer", (low, high)) if drop >= 0 else ("more", (-high, -low))
    said = [
        f"Shuffling the frames takes {name} from {_percent(ordered[key])} to {_percent(shuffled[key])}, "
        f"{abs(drop):.1f} points {fewer} (95 % interval {between[0]:.1f} to {between[1]:.1f}, "
        f"{content['videos']:,} videos)."
    ]
    if low > 0:
        share = drop / 100 / (ordered[key] - content["chance"])
        lost = "most" if share > 0.5 else "part"
        said.append(
            f"The model reads the order of frames: {lost} of what it has over chance goes with it. This is an upper "
            "bound on what order is worth, as a shuffled clip is also unlike anything it was trained on."
        )
    elif high < 0:
        said.append("It does better without the order, which is strange: look at the data and the labels.")
    else:
        said.append(
            "No use of the order of frames can be told from chance here: a bag of frames would explain this accuracy."
        )
    said.append(f"One frame alone gives {_percent(content['single_frame'][key])}.")
    if several:
        said.append(f"Played backwards it gets {_percent(reverse[key])}.")
    elif reverse["called_mirror"] is not None:
        low, high = reverse["called_mirror_interval"]
        said.append(
            f"Played backwards, {_percent(reverse['called_mirror'])} of the {reverse['mirror_videos']:,} videos whose "
            f"class is another one reversed are called that other one (95 % interval {100 * low:.1f} to "
            f"{100 * high:.1f}); forwards, {_percent(reverse['mirror_ordered_top1'])} of them are right."
        )
    else:
        said.append(f"Played backwards it gets {_percent(reverse[key])}; no class is another one reversed.")
    return " ".join(said)


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def write(content: dict[str, Any], out: Path) -> None:
    """Write probe.json into a folder, or to a file named *.json."""
    out = Path(out)
    files.write_text(out if out.suffix == ".json" else out / PROBE_FILE, as_json(content))
