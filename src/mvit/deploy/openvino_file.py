"""A model in OpenVINO's form, FILE.xml with its weights in FILE.bin beside it, run by OpenVINO without torch."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mvit.data.resources import available_cores
from mvit.deploy.described import METADATA, Described, from_metadata
from mvit.deploy.onnx_file import EXTRA


@dataclass(frozen=True, kw_only=True)
class OpenVinoClassifier(Described):
    """A file of OpenVINO, ready to score videos; made by ``load``."""

    compiled: Any

    def logits(self, clips: np.ndarray) -> np.ndarray:
        """Logits (N, classes) of normalised float32 clips (N, 3, T, H, W)."""
        return self.compiled(np.ascontiguousarray(clips))[0]


def load(path: Path, *, threads: int | None = None) -> OpenVinoClassifier:
    """The classifier of an OpenVINO file, on so many threads of the processor, or all that this process may use.

    It computes in float32: by itself OpenVINO would take bfloat16 where the processor has it, and other scores come of
    it. Raises ``ValueError`` as ``onnx_file.load``, ``FileNotFoundError``, also for missing weights.
    """
    for needed in (path, path.with_suffix(".bin")):
        if not needed.is_file():
            raise FileNotFoundError(f"{needed} does not exist: OpenVINO's form is FILE.xml and FILE.bin together")
    openvino = library()
    core = openvino.Core()
    try:
        model = core.read_model(path)
        text = model.get_rt_info([METADATA]).astype(str) if model.has_rt_info([METADATA]) else None
        takes, gives = ([_lengths(port) for port in ports] for ports in (model.inputs, model.outputs))
        said = from_metadata(text, path, takes, gives)
        hints = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": threads or available_cores()}
        return OpenVinoClassifier(compiled=core.compile_model(model, "CPU", hints), **said)
    except RuntimeError as why:
        first = str(why).strip().splitlines()[-1]
        raise ValueError(f"{path} is no model that OpenVINO reads: {first}") from why


def library() -> Any:
    """OpenVINO; raises ``ValueError`` where it is not installed."""
    try:
        import openvino
    except ImportError as missing:
        raise ValueError(f"OpenVINO's files need OpenVINO: {EXTRA}") from missing
    return openvino


def _lengths(port: Any) -> list[Any]:
    return [length.get_length() if length.is_static else str(length) for length in port.get_partial_shape()]
