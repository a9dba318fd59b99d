"""Score videos with any classifier, and write down what came out and over how many videos it was counted."""

import csv
import io
import json
import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mvit import files
from mvit.data.dataset import Sample
from mvit.data.opening import why
from mvit.data.resources import available_cores
from mvit.data.samples import medium_of
from mvit.data.video import UnreadableVideo
from mvit.data.views import Preprocessing, describe, read_views
from mvit.evaluation.metrics import Ranking, confusion, in_top_k, mean_class, per_class, wilson
from mvit.evaluation.scoring import SINGLE, Predict, Scoring, score_views

Progress = Callable[[int, int], None]
"""Called after each video with how many are done and how many there are."""

RESULT_FILE, SCORES_FILE = "result.json", "scores.csv"
DECODERS = 8  # threads at most; each holds one decoded video


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """The scores of every readable video, in the order listed, and what was not readable, by `Sample.id`."""

    classes: tuple[str, ...]
    samples: tuple[Sample, ...]
    scores: np.ndarray  # (samples, classes) float64, as `scoring` makes them
    unreadable: dict[Path, str]
    left_out: tuple[Sample, ...]
    """The samples that are unreadable."""
    listed: int
    protocol: str
    scoring: Scoring = SINGLE

    @property
    def labels(self) -> np.ndarray:
        """The index of each sample's class, (samples,) int64, or, for several labels, bool (samples, classes)."""
        return labels_of(self.samples, self.classes, self.scoring)


def score_video(
    predict: Predict,
    path: Path,
    preprocessing: Preprocessing,
    clips: int,
    crops: int,
    scoring: Scoring = SINGLE,
) -> np.ndarray:
    """The class scores of a video: what evaluation counts and prediction shows; (classes,) float64."""
    return score_views(predict, read_views(path, preprocessing, clips=clips, crops=crops), scoring)


def evaluate(
    predict: Predict,
    samples: Sequence[Sample],
    classes: Sequence[str],
    preprocessing: Preprocessing,
    *,
    clips: int = 5,
    crops: int = 1,
    scoring: Scoring = SINGLE,
    progress: Progress | None = None,
) -> Evaluation:
    """Score every video, each in one call with all its views; the next ones are decoded meanwhile.

    An unreadable video is left out and named, never replaced. Raises ValueError for labels that are no class, scores
    for another number of classes, and when not one video is readable.
    """
    how: dict[str, Any] = {"clips": clips, "crops": crops, "scoring": scoring}
    outcomes = score(predict, samples, classes, preprocessing, **how, progress=progress)
    return collected(samples, outcomes, classes, preprocessing, **how)


def score(
    predict: Predict,
    samples: Sequence[Sample],
    classes: Sequence[str],
    preprocessing: Preprocessing,
    *,
    clips: int,
    crops: int,
    scoring: Scoring,
    progress: Progress | None = None,
) -> list[np.ndarray | str]:
    """The scores of each video, or why it has none; raises as ``evaluate``, but also none may be readable."""
    labels_of(samples, classes, scoring)
    outcomes: list[np.ndarray | str] = []
    for done, (_, views) in enumerate(decoded(samples, preprocessing, clips, crops), start=1):
        unreadable = isinstance(views, str)
        outcomes.append(views if unreadable else checked(score_views(predict, views, scoring), classes))
        if progress is not None:
            progress(done, len(samples))
    return outcomes


def collected(
    samples: Sequence[Sample],
    outcomes: Sequence[np.ndarray | str],
    classes: Sequence[str],
    preprocessing: Preprocessing,
    *,
    clips: int,
    crops: int,
    scoring: Scoring,
) -> Evaluation:
    """What ``score`` gave for each of the videos, together; raises ValueError when not one is readable."""
    pairs = list(zip(samples, outcomes, strict=True))
    kept = [sample for sample, outcome in pairs if not isinstance(outcome, str)]
    scores = [outcome for outcome in outcomes if not isinstance(outcome, str)]
    unreadable = {sample.id: outcome for sample, outcome in pairs if isinstance(outcome, str)}
    require_readable(kept, unreadable)
    return Evaluation(
        classes=tuple(classes),
        samples=tuple(kept),
        scores=np.stack(scores),
        unreadable=unreadable,
        left_out=tuple(sample for sample, outcome in pairs if isinstance(outcome, str)),
        listed=len(samples),
        protocol=describe(preprocessing, clips, crops, scoring.aggregate),
        scoring=scoring,
    )


def decoded(
    samples: Iterable[Sample],
    preprocessing: Preprocessing,
    clips: int,
    crops: int,
    chosen: Sequence[int] | None = None,
) -> Iterator[tuple[Sample, np.ndarray | str]]:
    """The views of each video in the order listed, or why it has none; a few videos ahead are decoded by threads.

    Those of the ``chosen`` clips alone, where some are.
    """

    def read(sample: Sample) -> np.ndarray | str:
        try:
            return read_views(sample.path, preprocessing, clips=clips, crops=crops, part=sample.part, chosen=chosen)
        except (UnreadableVideo, OSError) as error:
            return why(error)

    workers = min(DECODERS, available_cores())
    pool = ThreadPoolExecutor(workers, thread_name_prefix="decode")
    waiting: deque[tuple[Sample, Future[np.ndarray | str]]] = deque()
    try:
        for sample in samples:
            waiting.append((sample, pool.submit(read, sample)))
            if len(waiting) > workers:
                ready, views = waiting.popleft()
                yield ready, views.result()
        while waiting:
            ready, views = waiting.popleft()
            yield ready, views.result()
    finally:
        pool.shutdown(cancel_futures=True)


def labels_of(samples: Sequence[Sample], classes: Sequence[str], scoring: Scoring = SINGLE) -> np.ndarray:
    """The index of each sample's class, (samples,) int64, or, for several labels, bool (samples, classes).

    Raises ValueError for a label that is no class, and for samples of several where one is due.
    """
    index = {name: position for position, name in enumerate(classes)}
    for sample in samples:
        if strange := [label for label in sample.labels if label not in index]:
            raise ValueError(
                f"{sample.id} is labelled {strange[0]!r}, which is none of the model's {len(classes)} classes: "
                "evaluate on data with the classes it was trained on"
            )
    if not scoring.multi_label:
        return np.array([index[sample.label] for sample in samples], dtype=np.int64)
    labels = np.zeros((len(samples), len(classes)), dtype=bool)
    for row, sample in zip(labels, samples, strict=True):
        row[[index[label] for label in sample.labels]] = True
    return labels


def checked(scores: np.ndarray, classes: Sequence[str]) -> np.ndarray:
    """The scores, after a look whether there is one for each class."""
    if scores.shape != (len(classes),):
        raise ValueError(f"the classifier gives {len(scores)} scores, but there are {len(classes)} classes")
    return scores


def require_readable(kept: Sequence[Sample], unreadable: dict[Path, str]) -> None:
    """Refuse to measure anything over no video."""
    if kept:
        return
    if not unreadable:
        raise ValueError("there is no video to evaluate on")
    path, reason = next(iter(unreadable.items()))
    raise ValueError(f"no video of {len(unreadable):,} can be read; the first is {path}: {reason}")


def require_labelled(labels: np.ndarray) -> None:
    """Refuse to rank videos of which none is of any class."""
    if not labels.any():
        raise ValueError(f"none of {len(labels):,} readable videos is of any class, so there is no mAP over them")


def result(evaluation: Evaluation) -> dict[str, Any]:
    """What goes into result.json; shares are fractions, intervals 95 %; every figure is over ``videos``.

    ``videos`` are those readable of those ``listed``, ``unreadable`` gives the reason by path. One label a video:
    ``top1`` and ``top5`` (null for five classes or fewer) with their intervals (Wilson), ``top1_unreadable_wrong`` over
    all listed, ``mean_class``, the mean recall over classes that have videos, and ``confusion``, a row for each true
    class. Several: ``map``, the mean of average precision over the ``map_classes`` classes that have videos, with its
    interval (``Ranking.interval``), ``map_unreadable_wrong``, where unreadable videos are never found, ``hit1``, the
    share of videos whose highest score is one of their classes, and ``chance``, the ``map`` of equal scores.
    """
    figures, tables = _of_several(evaluation) if evaluation.scoring.multi_label else _of_one(evaluation)
    content = {
        **figures,
        "videos": len(evaluation.samples),
        "listed": evaluation.listed,
        "unreadable": {str(path): reason for path, reason in evaluation.unreadable.items()},
        "protocol": evaluation.protocol,
        "classes": list(evaluation.classes),
        **tables,
    }
    return {"headline": headline(content, medium_of((*evaluation.samples, *evaluation.left_out))), **content}


def _of_one(evaluation: Evaluation) -> tuple[dict[str, Any], dict[str, Any]]:
    """Figures and tables of videos of one class each."""
    labels, classes = evaluation.labels, evaluation.classes
    videos = len(labels)
    matrix = confusion(labels, evaluation.scores.argmax(axis=1), len(classes))
    right = int(matrix.trace())
    top5 = int(in_top_k(evaluation.scores, labels, 5).sum()) if len(classes) > 5 else None
    figures = {
        "top1": right / videos,
        "top1_interval": wilson(right, videos),
        "top5": None if top5 is None else top5 / videos,
        "top5_interval": None if top5 is None else wilson(top5, videos),
        "top1_unreadable_wrong": right / evaluation.listed,
        "mean_class": mean_class(matrix),
    }
    return figures, {"per_class": dict(zip(classes, per_class(matrix), strict=True)), "confusion": matrix.tolist()}


def _of_several(evaluation: Evaluation) -> tuple[dict[str, Any], dict[str, Any]]:
    """Figures and tables of videos of several classes at once; raises ValueError where no readable one is of any."""
    labels, scores = evaluation.labels, evaluation.scores
    support = labels.sum(axis=0)
    require_labelled(labels)
    ranking = Ranking(scores, labels)
    precision = ranking.average_precision()
    listed = support + labels_of(evaluation.left_out, evaluation.classes, evaluation.scoring).sum(axis=0)
    found = np.where(support > 0, precision * support, 0.0)[listed > 0]
    figures = {
        "map": ranking.mean(),
        "map_interval": ranking.interval(),
        "map_unreadable_wrong": float((found / listed[listed > 0]).mean()),
        "map_classes": int((support > 0).sum()),
        "chance": chance(labels),
        "hit1": float(_hits(scores, labels).mean()),
    }
    by_class = {
        name: {"average_precision": float(share) if videos else None, "support": int(videos)}
        for name, share, videos in zip(evaluation.classes, precision, support, strict=True)
    }
    return figures, {"per_class": by_class}


def chance(labels: np.ndarray) -> float:
    """The mean average precision of equal scores: the mean, over classes, of the share of videos that are of it."""
    shares = labels.mean(axis=0)
    return float(shares[shares > 0].mean())


def _hits(scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Whether each video's highest score is that of its class, or of one of its classes: (N,) bool."""
    predicted = scores.argmax(axis=1)
    return predicted == labels if labels.ndim == 1 else np.take_along_axis(labels, predicted[:, None], axis=1)[:, 0]


def headline(content: dict[str, Any], medium: str = "videos") -> str:
    """A result in one line: ``top-1 71.9 % [67.0, 76.4] (5x1 views, ...; 1,990 of 1,990 videos)``, or ``mAP ...``."""
    metric = Scoring(multi_label="map" in content).metric
    low, high = content[f"{metric.key}_interval"]
    over = f"{content['videos']:,} of {content['listed']:,} {medium}"
    if (counted := content.get("map_classes", len(content["classes"]))) < len(content["classes"]):
        over += f", {counted:,} of {len(content['classes']):,} classes have any"
    share = f"{100 * content[metric.key]:.1f} % [{100 * low:.1f}, {100 * high:.1f}]"
    line = f"{metric.name} {share} ({content['protocol']}; {over})"
    if unreadable := len(content["unreadable"]):
        wrong = content[f"{metric.key}_unreadable_wrong"]
        line += f", {100 * wrong:.1f} % with {unreadable:,} unreadable counted wrong"
    return line


def write(evaluation: Evaluation, out: Path) -> dict[str, Any]:
    """Write result.json and scores.csv into a folder, or NAME.json with NAME.scores.csv beside it; gives the result."""
    file, content = files.json_of(Path(out), RESULT_FILE), result(evaluation)
    scores = file.with_name(SCORES_FILE) if file.name == RESULT_FILE else file.with_suffix(f".{SCORES_FILE}")
    files.write_text(scores, _scores_table(evaluation))
    files.write_text(file, as_json(content))
    return content


def as_json(content: dict[str, Any]) -> str:
    """JSON for people too: indented, but a list of numbers (a row of the confusion matrix) on one line."""
    indented = json.dumps(content, indent=2)
    # Inside of JSON's strings there are no raw line ends, so only lists are touched.
    return re.sub(r"\[\n([^\[\]{}\"]*)\]", lambda match: f"[{' '.join(match[1].split())}]", indented) + "\n"


def _scores_table(evaluation: Evaluation) -> str:
    """A row a video; several labels are a JSON list in the column ``labels``."""
    several, predicted = evaluation.scoring.multi_label, evaluation.scores.argmax(axis=1)
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["path", "labels" if several else "label", "predicted", "correct", *evaluation.classes])
    right = _hits(evaluation.scores, evaluation.labels)
    for sample, scores, best, correct in zip(evaluation.samples, evaluation.scores, predicted, right, strict=True):
        label = json.dumps(sample.labels, ensure_ascii=False) if several else sample.label
        figures = (f"{score:.8g}" for score in scores)
        table.writerow([sample.id, label, evaluation.classes[best], int(correct), *figures])
    return text.getvalue()
