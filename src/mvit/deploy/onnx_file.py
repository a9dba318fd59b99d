"""A model of any origin as an ONNX file that says itself how it is to be used, run by ONNX Runtime without torch."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mvit.data.resources import available_cores
from mvit.deploy.described import METADATA, Described, from_metadata, in_fixed_batches

EXTRA = "pip install 'mvit[export]'"


@dataclass(frozen=True, kw_only=True)
class OnnxClassifier(Described):
    """An ONNX file, ready to score videos; made by ``load``."""

    session: Any
    path: Path

    def logits(self, clips: np.ndarray) -> np.ndarray:
        """Logits (N, classes) of normalised float32 clips (N, 3, T, H, W), as many at once as the file takes."""
        (entry,) = self.session.get_inputs()
        try:
            return in_fixed_batches(lambda piece: self.session.run(None, {entry.name: piece})[0], clips, entry.shape[0])
        except Exception as why:  # its own classes, one for each status, have no other base
            raise ValueError(f"{self.path} cannot be computed by ONNX Runtime: {_reason(why)}") from why


def load(path: Path, *, threads: int | None = None) -> OnnxClassifier:
    """The classifier of an ONNX file, on so many threads of the processor, or all that this process may use.

    It takes clips (N, 3, T, H, W) of any N, or of one N, to logits (N, classes). Raises ``ValueError`` for a file that
    ONNX Runtime does not read, that takes other clips or gives another number of classes, that does not say how it is
    to be used, and where ONNX Runtime is not installed; ``FileNotFoundError``.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist: name an ONNX file")
    try:
        import onnxruntime
    except ImportError as missing:
        raise ValueError(f"ONNX files need ONNX Runtime: {EXTRA}") from missing
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or available_cores()  # its own count is the machine's, not this process's
    options.log_severity_level = 4  # what fails is raised, and need not be printed too
    try:
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"], enable_fallback=0)
    except Exception as why:
        raise ValueError(f"{path} is no ONNX file that ONNX Runtime reads: {_reason(why)}") from why
    text = session.get_modelmeta().custom_metadata_map.get(METADATA)
    takes, gives = ([entry.shape for entry in entries] for entries in (session.get_inputs(), session.get_outputs()))
    return OnnxClassifier(session=session, path=path, **from_metadata(text, path, takes, gives))


def _reason(why: Exception) -> str:
    """On one line, without the status and the path that may stand before it."""
    return " ".join(str(why).rpartition("failed:")[2].split()).rstrip(".")
