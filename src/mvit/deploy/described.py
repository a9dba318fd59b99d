"""What a model says of itself, beside it or inside its file: enough to look at videos as evaluation does; no torch."""

import json
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict

import numpy as np

from mvit.data.samples import printable
from mvit.data.views import Preprocessing, describe
from mvit.evaluation.evaluate import checked, score_video
from mvit.evaluation.scoring import SINGLE, AfterStem, Scoring, by_name

METADATA = "mvit"
"""The key of an exported file's metadata whose value is what ``model.json`` holds, as JSON."""
EXPORTED = (".onnx", ".xml", ".pt2")
"""How the names of exported files end."""
AGAIN = "export it again"


def files_of(path: Path) -> list[Path]:
    """The files that an exported one consists of; the one that names it comes last."""
    return [path.with_suffix(".bin"), path] if path.suffix == ".xml" else [path]


class Description(TypedDict):
    """The fields of ``Described``."""

    classes: tuple[str, ...]
    preprocessing: Preprocessing
    views: tuple[int, int]
    scoring: Scoring


@dataclass(frozen=True, kw_only=True)
class Described(ABC):
    """A model of any origin with everything that a prediction needs."""

    classes: tuple[str, ...]
    preprocessing: Preprocessing
    views: tuple[int, int]
    """Clips and crops taken of a video."""
    scoring: Scoring = SINGLE
    """What becomes of the logits of those views."""

    @abstractmethod
    def logits(self, clips: np.ndarray) -> np.ndarray:
        """Logits (N, classes) of normalised float32 clips (N, 3, T, H, W), computed in float32."""

    @property
    def after_stem(self) -> AfterStem | None:
        """The same with what the stem makes of each clip put into an order in time; None where nobody can reach it."""
        return None

    @property
    def protocol(self) -> str:
        """How a video is looked at, in words: views, frames and their spacing, sizes."""
        return describe(self.preprocessing, *self.views, self.scoring.aggregate)

    def predict(self, video: str | Path) -> dict[str, float]:
        """Scores in 0..1 by class name, the highest first, as evaluation defines them.

        They are softmax, or, of a model for several classes at once, sigmoids, each by itself; their mean over views,
        or the highest where the recipe said so. Raises ``UnreadableVideo`` (a ``ValueError``) for a file that cannot be
        decoded, ``FileNotFoundError``.
        """
        scores = score_video(self.logits, Path(video), self.preprocessing, *self.views, self.scoring)
        return by_name(checked(scores, self.classes), self.classes)


def described(description: dict[str, Any], where: str, remedy: str) -> Description:
    """Classes, preprocessing, views and scoring of a ``model.json``, or of what holds the same elsewhere.

    Raises ``ValueError`` saying which is missing or wrong, where it is and what to do.
    """
    try:
        classes = tuple(description["classes"])
        preprocessing = Preprocessing.from_dict(description["preprocessing"])
        clips, crops = description["views"]
        if clips < 1 or clips % 1 or crops not in (1, 3):
            raise ValueError(f"views are clips and crops, whole numbers, of crops 1 or 3, not {[clips, crops]}")
        scoring = Scoring.of(description)
    except KeyError as missing:
        raise ValueError(f"{where} has no {missing}: {remedy}") from missing
    except (TypeError, ValueError) as why:
        raise ValueError(f"{where} is damaged: {why}") from why
    if not all(isinstance(name, str) for name in classes) or len(set(classes)) < len(classes) or not classes:
        raise ValueError(f"{where} is damaged: classes are names, each another one, not {printable(str(classes))}")
    return {"classes": classes, "preprocessing": preprocessing, "views": (int(clips), int(crops)), "scoring": scoring}


def from_metadata(text: str | None, path: Path, takes: list[list[Any]], gives: list[list[Any]]) -> Description:
    """What an exported file says, after a look at the shapes of what it takes and gives; no number: any length.

    It takes clips (N, 3, T, H, W) of any N, or of one N, and gives logits (N, classes). Raises ``ValueError`` where it
    does not, or does not say how it is to be used.
    """
    where = f"the metadata {METADATA!r} of {path}"
    if text is None:
        raise ValueError(
            f"{path} names no classes and no preprocessing: write them, as model.json has them, into its metadata "
            f"under {METADATA!r}"
        )
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as why:
        raise ValueError(f"{where} is no JSON ({why}): {AGAIN}") from why
    if not isinstance(content, dict):
        raise ValueError(f"{where} is no JSON object: {AGAIN}")
    found = described(content, where, AGAIN)
    frames, size = found["preprocessing"].sampling.frames, found["preprocessing"].crop
    batch = takes[0][0] if takes and takes[0] else None
    clips = [batch, 3, frames, size, size]
    if len(takes) != 1 or batch == 0 or not _fits(takes[0], clips):
        raise ValueError(
            f"{path} takes {_shapes(takes)}, but by its metadata clips are {clips[1:]}, any number at once or always "
            "as many: export it so"
        )
    classes = len(found["classes"])
    if len(gives) != 1 or not _fits(gives[0], [batch, classes]):
        raise ValueError(f"{path} gives {_shapes(gives)}, but its metadata names {classes} classes: {AGAIN}")
    return found


def in_fixed_batches(compute: Callable[[np.ndarray], np.ndarray], clips: np.ndarray, batch: object) -> np.ndarray:
    """What is computed of clips (N, 3, T, H, W) by what takes so many at once and no other number; no number: any.

    What is lacking in the last batch is filled up with copies, of which nothing comes back.
    """
    if not isinstance(batch, int):
        return compute(clips)
    full = np.concatenate([clips, np.repeat(clips[-1:], -len(clips) % batch, axis=0)])
    return np.concatenate([compute(piece) for piece in np.split(full, len(full) // batch)])[: len(clips)]


def _shapes(shapes: list[list[Any]]) -> str:
    return " and ".join(map(str, shapes))


def _fits(shape: list[Any], due: list[Any]) -> bool:
    """Whether a shape, in which a length that is not fixed is no number, takes what is due."""
    return len(shape) == len(due) and all(
        length == wanted or not isinstance(length, int) for length, wanted in zip(shape, due, strict=True)
    )
