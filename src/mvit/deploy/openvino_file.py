"""A model in OpenVINO's form, FILE.xml with its weights in FILE.bin beside it, run by OpenVINO without torch."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mvit.data.resources import available_cores
from mvit.deploy.described import METADATA, Described, from_metadata, in_fixed_batches
from mvit.deploy.onnx_file import EXTRA


@dataclass(frozen=True, kw_only=True)
class OpenVinoClassifier(Described):
    """A file of OpenVINO, ready to score videos; made by ``load``."""

    compiled: Any
    path: Path

    def logits(self, clips: np.ndarray) -> np.ndarray:
        """Logits (N, classes) of normalised float32 clips (N, 3, T, H, W), as many at once as the file takes."""
        batch = _lengths(self.compiled.input(0))[0]
        try:
            return in_fixed_batches(lambda piece: self.compiled(np.ascontiguousarray(piece))[0], clips, batch)
        except RuntimeError as why:
            raise ValueError(f"{self.path} cannot be computed by OpenVINO: {_reason(why)}") from why


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
        return OpenVinoClassifier(compiled=core.compile_model(model, "CPU", hints), path=path, **said)
    except RuntimeError as why:
        raise ValueError(f"{path} is no model that OpenVINO reads: {_reason(why)}") from why


def _reason(why: RuntimeError) -> str:
    return (str(why).strip().splitlines() or [type(why).__name__])[-1]


def library() -> Any:
    """OpenVINO; raises ``ValueError`` where it is not installed."""
    try:
        import openvino
    except ImportError as missing:
        raise ValueError(f"OpenVINO's files need OpenVINO: {EXTRA}") from missing
    return openvino


def _lengths(port: Any) -> list[Any]:
    return [length.get_length() if length.is_static else str(length) for length in port.get_partial_shape()]
