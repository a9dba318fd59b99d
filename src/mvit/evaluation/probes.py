"""What the order of frames is worth: the same evaluation on clips with their frames shuffled, displaced, reversed."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mvit import files
from mvit.data.dataset import Sample
from mvit.data.views import Preprocessing, describe
from mvit.evaluation.disorders import disorders, graded, not_asked, shuffled
from mvit.evaluation.evaluate import Progress, as_json, checked, decoded, labels_of, require_readable
from mvit.evaluation.findings import GRADED, Answers, summary
from mvit.evaluation.scoring import SINGLE, AfterStem, Predict, Scoring, checked_logits
from mvit.evaluation.statistics import kendall_distance

PROBE_FILE = "probe.json"
AFTER_STEM = "shuffled_after_stem"
TIME = 2  # axis of (N, 3, T, H, W)
BATCH_BYTES = 2**26  # of clips that a classifier is given at once, unless the views of a video alone are more


def probe(
    predict: Predict,
    samples: Sequence[Sample],
    classes: Sequence[str],
    preprocessing: Preprocessing,
    *,
    clips: int = 1,
    crops: int = 1,
    scoring: Scoring = SINGLE,
    after_stem: AfterStem | None = None,
    orders: int = 10,
    seed: int = 0,
    control: bool = False,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """What goes into probe.json: top-1 or mAP of the clip as it is and in every disorder, and what each loses.

    Each video is decoded once, and its clips are shown with their frames in every order of ``disorders``, in ``orders``
    random ones where there are several, and in as many of graded Kendall distance; ``after_stem`` also shuffles what
    the stem of a model that can has made of them. Orders are drawn from ``seed`` and the video's place in the list, and
    are the same for all views of a video. Shares are fractions with 95 % intervals over the groups of the samples where
    they have any, else over videos; drops are in points. A ``control`` was trained on shuffled clips. Raises ValueError
    for clips of one frame, and as ``evaluate``.
    """
    frames = preprocessing.sampling.frames
    if frames < 2:
        raise ValueError(f"the model sees {frames} frame a clip: there is no order to probe")
    if orders < 1:
        raise ValueError(f"orders is {orders}: at least one random order is needed, and ten are usual")
    if seed < 0:
        raise ValueError(f"seed is {seed}: orders are drawn from a number of 0 or more")
    labels_of(samples, classes, scoring)
    asked = after_stem if after_stem is not None and after_stem.places > 1 else None
    kept: list[Sample] = []
    unreadable: dict[Path, str] = {}
    outcomes: list[np.ndarray] = []
    distances: list[np.ndarray] = []
    columns: dict[str, slice] = {}
    grade = np.zeros(0, dtype=np.int64)
    for place, (sample, views) in enumerate(decoded(samples, preprocessing, clips, crops)):
        if isinstance(views, str):
            unreadable[sample.id] = views
        else:
            rng = np.random.default_rng([seed, place])
            shown = disorders(frames, orders, rng)
            grades = graded(frames, orders, rng)
            shown[GRADED], grade = grades.orders, grades.grade
            logits = list(_in_orders(predict, views, np.concatenate([*shown.values()])))
            if asked is not None:
                shown[AFTER_STEM] = _after_stem_orders(asked.places, orders, rng)
                logits += _after_stem(asked, views, shown[AFTER_STEM])
            kept.append(sample)
            outcomes.append(_outcome(logits, scoring, classes))
            distances.append(np.concatenate([_distances(drawn) for drawn in shown.values()]))
            columns = _columns(shown)
        if progress is not None:
            progress(place + 1, len(samples))
    require_readable(kept, unreadable)
    answers = Answers(columns=columns, grade=grade, distances=np.stack(distances), outcomes=np.stack(outcomes))
    missing = not_asked(frames)
    if asked is None:
        missing[AFTER_STEM] = (
            "the model does not let what its stem gives be reordered"
            if after_stem is None
            else "the model's stem makes one token in time"
        )
    return {
        **summary(
            answers, labels_of(kept, classes, scoring), classes, [sample.drawn_with for sample in kept], control=control
        ),
        "not_asked": missing,
        "frames": frames,
        "orders": orders,
        "seed": seed,
        "listed": len(samples),
        "unreadable": {str(path): reason for path, reason in unreadable.items()},
        "protocol": describe(preprocessing, clips, crops, scoring.aggregate),
    }


def _after_stem_orders(places: int, orders: int, rng: np.random.Generator) -> np.ndarray:
    return np.stack([shuffled(places, rng) for _ in range(orders if places > 2 else 1)])


def _columns(shown: dict[str, np.ndarray]) -> dict[str, slice]:
    """Where the variants of each disorder stand when all are put one after the other."""
    columns, first = {}, 0
    for name, drawn in shown.items():
        columns[name] = slice(first, first + len(drawn))
        first += len(drawn)
    return columns


def _distances(orders: np.ndarray) -> np.ndarray:
    """The Kendall distance of each order, NaN for frames that are not all there: (R, T) -> (R,)."""
    whole = (np.sort(orders, axis=1) == np.arange(orders.shape[1])).all(axis=1)
    return np.where(whole, kendall_distance(orders), np.nan)


def _in_orders(predict: Predict, views: np.ndarray, orders: np.ndarray) -> Iterator[np.ndarray]:
    """Logits (V, C) of the views (V, 3, T, H, W) of a video in each of the orders (K, T)."""
    for some in _batches(views, orders):
        shown = np.concatenate([views.take(order, axis=TIME) for order in some])
        yield from np.split(checked_logits(predict(shown), len(shown)), len(some))


def _after_stem(model: AfterStem, views: np.ndarray, orders: np.ndarray) -> Iterator[np.ndarray]:
    """The same, with what the stem makes of the views in each of the orders (K, places)."""
    for some in _batches(views, orders):
        shown = np.concatenate([views] * len(some))
        answer = model.predict(shown, some.repeat(len(views), axis=0))
        yield from np.split(checked_logits(answer, len(shown)), len(some))


def _batches(views: np.ndarray, orders: np.ndarray) -> Iterator[np.ndarray]:
    at_once = max(1, BATCH_BYTES // views.nbytes)
    for first in range(0, len(orders), at_once):
        yield orders[first : first + at_once]


def _outcome(logits: Sequence[np.ndarray], scoring: Scoring, classes: Sequence[str]) -> np.ndarray:
    """What ``Answers.outcomes`` has of a video, from the logits (V, C) of each variant."""
    together = np.stack([checked(scoring.scores(answer), classes) for answer in logits])[None]
    views = len(logits[0])
    alone = [
        np.stack([scoring.scores(answer[[view]]) for answer in logits]) for view in range(views if views > 1 else 0)
    ]
    scores = np.concatenate([together, *(one[None] for one in alone)])
    return scores if scoring.multi_label else scores.argmax(axis=-1)


def write(content: dict[str, Any], out: Path) -> None:
    """Write probe.json into a folder, or to a file named *.json."""
    files.write_text(files.json_of(Path(out), PROBE_FILE), as_json(content))
