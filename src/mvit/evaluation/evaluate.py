"""Score videos with any classifier, and write down what came out and over how many videos it was counted."""

import csv
import io
import json
import re
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mvit import files
from mvit.data.dataset import Sample
from mvit.data.opening import why
from mvit.data.resources import available_cores
from mvit.data.video import UnreadableVideo
from mvit.data.views import Preprocessing, describe, read_views
from mvit.evaluation.metrics import confusion, in_top_k, mean_class, per_class, softmax, wilson

Predict = Callable[[np.ndarray], np.ndarray]
"""A classifier: float32 clips (N, 3, T, H, W) to logits (N, classes)."""

Progress = Callable[[int, int], None]
"""Called after each video with how many are done and how many there are."""

RESULT_FILE, SCORES_FILE = "result.json", "scores.csv"
DECODERS = 8  # threads at most; each holds one decoded video


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """The scores of every readable video, in the order listed, and what was not readable, by `Sample.id`."""

    classes: tuple[str, ...]
    samples: tuple[Sample, ...]
    scores: np.ndarray  # (samples, classes) float64: softmax, averaged over views
    unreadable: dict[Path, str]
    listed: int
    protocol: str

    @property
    def labels(self) -> np.ndarray:
        """The index of each sample's true class: (samples,) int64."""
        return labels_of(self.samples, self.classes)


def score_views(predict: Predict, views: np.ndarray) -> np.ndarray:
    """The class scores of one video from its views: softmax of each, averaged; (N, 3, T, H, W) -> (classes,) float64.

    Raises ValueError when the classifier gives something other than a row of finite numbers for each view.
    """
    logits = np.asarray(predict(views))
    if logits.ndim != 2 or len(logits) != len(views):
        raise ValueError(
            f"the classifier gave an array of shape {logits.shape} for {len(views)} views: a row each is due"
        )
    if not np.isfinite(logits).all():
        raise ValueError(
            "the classifier gave scores that are not finite numbers: its training has probably diverged; "
            "train again with a lower learning rate"
        )
    return softmax(logits).mean(axis=0)


def score_video(predict: Predict, path: Path, preprocessing: Preprocessing, clips: int, crops: int) -> np.ndarray:
    """The class scores of a video: what evaluation counts and prediction shows; (classes,) float64, sum 1."""
    return score_views(predict, read_views(path, preprocessing, clips=clips, crops=crops))


def evaluate(
    predict: Predict,
    samples: Sequence[Sample],
    classes: Sequence[str],
    preprocessing: Preprocessing,
    *,
    clips: int = 5,
    crops: int = 1,
    progress: Progress | None = None,
) -> Evaluation:
    """Score every video, each in one call with all its views; the next ones are decoded meanwhile.

    An unreadable video is left out and named, never replaced. Raises ValueError for labels that are no class, scores
    for another number of classes, and when not one video is readable.
    """
    labels_of(samples, classes)
    kept: list[Sample] = []
    scores: list[np.ndarray] = []
    unreadable: dict[Path, str] = {}
    for done, (sample, views) in enumerate(decoded(samples, preprocessing, clips, crops), start=1):
        if isinstance(views, str):
            unreadable[sample.id] = views
        else:
            kept.append(sample)
            scores.append(checked(score_views(predict, views), classes))
        if progress is not None:
            progress(done, len(samples))
    require_readable(kept, unreadable)
    return Evaluation(
        classes=tuple(classes),
        samples=tuple(kept),
        scores=np.stack(scores),
        unreadable=unreadable,
        listed=len(samples),
        protocol=describe(preprocessing, clips, crops),
    )


def decoded(
    samples: Sequence[Sample], preprocessing: Preprocessing, clips: int, crops: int
) -> Iterator[tuple[Sample, np.ndarray | str]]:
    """The views of each video in the order listed, or why it has none; a few videos ahead are decoded by threads."""

    def read(sample: Sample) -> np.ndarray | str:
        try:
            return read_views(sample.path, preprocessing, clips=clips, crops=crops, part=sample.part)
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


def labels_of(samples: Sequence[Sample], classes: Sequence[str]) -> np.ndarray:
    """The index of each sample's class: (samples,) int64; raises ValueError for a label that is no class."""
    index = {name: position for position, name in enumerate(classes)}
    for sample in samples:
        if sample.label not in index:
            raise ValueError(
                f"{sample.id} is labelled {sample.label!r}, which is none of the model's {len(classes)} classes: "
                "evaluate on data with the classes it was trained on"
            )
    return np.array([index[sample.label] for sample in samples], dtype=np.int64)


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
    raise ValueError(f"none of the {len(unreadable)} videos can be read; the first is {path}: {reason}")


def result(evaluation: Evaluation) -> dict[str, Any]:
    """What goes into result.json; shares are fractions, intervals 95 % (Wilson).

    ``top1`` and ``top5`` (null for five classes or fewer) are over the ``videos`` readable of those ``listed``,
    ``top1_unreadable_wrong`` over all listed; ``mean_class`` is the mean recall over classes that have videos.
    ``unreadable`` gives the reason by path; ``confusion`` has a row for each true class.
    """
    labels, classes = evaluation.labels, evaluation.classes
    videos = len(labels)
    matrix = confusion(labels, evaluation.scores.argmax(axis=1), len(classes))
    right = int(matrix.trace())
    top5 = int(in_top_k(evaluation.scores, labels, 5).sum()) if len(classes) > 5 else None
    figures = dict(zip(classes, per_class(matrix), strict=True))
    content = {
        "top1": right / videos,
        "top1_interval": wilson(right, videos),
        "top5": None if top5 is None else top5 / videos,
        "top5_interval": None if top5 is None else wilson(top5, videos),
        "top1_unreadable_wrong": right / evaluation.listed,
        "mean_class": mean_class(matrix),
        "videos": videos,
        "listed": evaluation.listed,
        "unreadable": {str(path): reason for path, reason in evaluation.unreadable.items()},
        "protocol": evaluation.protocol,
        "classes": list(classes),
        "per_class": figures,
        "confusion": matrix.tolist(),
    }
    return {"headline": headline(content), **content}


def headline(content: dict[str, Any]) -> str:
    """A result in one line: ``top-1 71.9 % [67.0, 76.4] (5x1 views, ...; 1,990 of 1,990 videos)``."""
    low, high = content["top1_interval"]
    over = f"{content['videos']:,} of {content['listed']:,} videos"
    share = f"{100 * content['top1']:.1f} % [{100 * low:.1f}, {100 * high:.1f}]"
    line = f"top-1 {share} ({content['protocol']}; {over})"
    if unreadable := len(content["unreadable"]):
        line += f", {100 * content['top1_unreadable_wrong']:.1f} % with {unreadable:,} unreadable counted wrong"
    return line


def write(evaluation: Evaluation, out: Path) -> dict[str, Any]:
    """Write result.json and scores.csv into a folder, or NAME.json with NAME.scores.csv beside it; gives the result."""
    out = Path(out)
    content = result(evaluation)
    if out.suffix == ".json":
        result_file, scores_file = out, out.with_suffix(f".{SCORES_FILE}")
    else:
        result_file, scores_file = out / RESULT_FILE, out / SCORES_FILE
    files.write_text(scores_file, _scores_table(evaluation))
    files.write_text(result_file, as_json(content))
    return content


def as_json(content: dict[str, Any]) -> str:
    """JSON for people too: indented, but a list of numbers (a row of the confusion matrix) on one line."""
    indented = json.dumps(content, indent=2)
    # Inside of JSON's strings there are no raw line ends, so only lists are touched.
    return re.sub(r"\[\n([^\[\]{}\"]*)\]", lambda match: f"[{' '.join(match[1].split())}]", indented) + "\n"


def _scores_table(evaluation: Evaluation) -> str:
    classes, labels = evaluation.classes, evaluation.labels
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["path", "label", "predicted", "correct", *classes])
    for sample, label, scores in zip(evaluation.samples, labels, evaluation.scores, strict=True):
        predicted = int(scores.argmax())
        correct = int(predicted == label)
        table.writerow([sample.id, sample.label, classes[predicted], correct, *(f"{score:.8g}" for score in scores)])
    return text.getvalue()
