"""A model of any origin as an ONNX file that says itself how it is to be used, run by ONNX Runtime."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mvit.data.views import Preprocessing
from mvit.deploy.predictor import described
from mvit.evaluation.scoring import SINGLE, Scoring
from mvit.weights.read import CheckpointError

METADATA = "mvit"
"""The key of the file's metadata whose value is what ``model.json`` holds: classes, preprocessing, views, as JSON."""


@dataclass(frozen=True, kw_only=True)
class OnnxClassifier:
    """What an evaluation needs of an ONNX file; made by ``load``."""

    session: Any
    classes: tuple[str, ...]
    preprocessing: Preprocessing
    views: tuple[int, int]
    scoring: Scoring = SINGLE
    after_stem: None = None
    """Nothing can be reordered inside of a graph."""

    def logits(self, clips: np.ndarray) -> np.ndarray:
        """Logits (N, classes) of normalised float32 clips (N, 3, T, H, W), one by one where the file takes no more."""
        (entry,) = self.session.get_inputs()
        pieces = np.split(clips, len(clips)) if entry.shape[0] == 1 else [clips]
        return np.concatenate([self.session.run(None, {entry.name: piece})[0] for piece in pieces])


def load(path: Path) -> OnnxClassifier:
    """The classifier of an ONNX file: clips (N, 3, T, H, W) of N or one to logits (N, classes), and its metadata.

    Raises ``CheckpointError`` (a ``ValueError``) for a file that ONNX Runtime does not read, that takes other clips, or
    that does not say how it is to be used, ``ValueError`` where ONNX Runtime is not installed, ``FileNotFoundError``.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist: name an ONNX file")
    try:
        import onnxruntime
    except ImportError as missing:
        raise ValueError("ONNX files need ONNX Runtime: pip install '.[export]' in mvit's folder") from missing
    try:
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    except Exception as why:  # its own classes, one for each status, have no other base
        raise CheckpointError(f"{path} is no ONNX file that ONNX Runtime reads: {why}") from why
    text, where = session.get_modelmeta().custom_metadata_map.get(METADATA), f"the metadata {METADATA!r} of {path}"
    if text is None:
        raise CheckpointError(
            f"{path} names no classes and no preprocessing: write them, as model.json has them, into its metadata "
            f"under {METADATA!r}"
        )
    try:
        description = json.loads(text)
    except ValueError as why:
        raise CheckpointError(f"{where} is no JSON ({why}): export it again") from why
    if not isinstance(description, dict):
        raise CheckpointError(f"{where} is no JSON object: export it again")
    classes, preprocessing, views, scoring = described(description, where, "export it again")
    shapes = [entry.shape for entry in session.get_inputs()]
    due = [1, 3, preprocessing.sampling.frames, preprocessing.crop, preprocessing.crop]
    if len(shapes) != 1 or not _fits(shapes[0], due):
        raise CheckpointError(
            f"{path} takes {' and '.join(map(str, shapes))}, but by its metadata clips are {due[1:]}, one or any "
            "number at once: export it so"
        )
    return OnnxClassifier(session=session, classes=classes, preprocessing=preprocessing, views=views, scoring=scoring)


def _fits(shape: list[Any], due: list[int]) -> bool:
    """Whether a shape, in which a length that is not fixed is no number, takes what is due."""
    return len(shape) == len(due) and all(
        length == wanted or not isinstance(length, int) for length, wanted in zip(shape, due, strict=True)
    )
