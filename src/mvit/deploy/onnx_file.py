"""A model of any origin as an ONNX file that says itself how it is to be used, run by ONNX Runtime without torch."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mvit.data.resources import available_cores
from mvit.deploy.described import METADATA, Described, from_metadata

EXTRA = "pip install '.[export]' in mvit's folder"


@dataclass(frozen=True, kw_only=True)
class OnnxClassifier(Described):
    """An ONNX file, ready to score videos; made by ``load``."""

    session: Any

    def logits(self, clips: np.ndarray) -> np.ndarray:
        """Logits (N, classes) of normalised float32 clips (N, 3, T, H, W), one by one where the file takes no more."""
        (entry,) = self.session.get_inputs()
        pieces = np.split(clips, len(clips)) if entry.shape[0] == 1 else [clips]
        return np.concatenate([self.session.run(None, {entry.name: piece})[0] for piece in pieces])


def load(path: Path, *, threads: int | None = None) -> OnnxClassifier:
    """The classifier of an ONNX file, on so many threads of the processor, or all that this process may use.

    It takes clips (N, 3, T, H, W) of N or one to logits (N, classes). Raises ``ValueError`` for a file that ONNX
    Runtime does not read, that takes other clips or gives another number of classes, that does not say how it is to be
    used, and where ONNX Runtime is not installed; ``FileNotFoundError``.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist: name an ONNX file")
    try:
        import onnxruntime
    except ImportError as missing:
        raise ValueError(f"ONNX files need ONNX Runtime: {EXTRA}") from missing
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or available_cores()  # its own count is the machine's, not this process's
    try:
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as why:  # its own classes, one for each status, have no other base
        raise ValueError(f"{path} is no ONNX file that ONNX Runtime reads: {why}") from why
    text = session.get_modelmeta().custom_metadata_map.get(METADATA)
    takes, gives = ([entry.shape for entry in entries] for entries in (session.get_inputs(), session.get_outputs()))
    return OnnxClassifier(session=session, **from_metadata(text, path, takes, gives))
