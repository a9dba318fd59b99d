"""An ONNX file in eight-bit integers: linear layers and convolutions, with ranges that are taken from real clips.

Ranges are fixed (static): measured anew in each call, as dynamic quantisation has it, they would be of all clips of a
batch, and what is said of a video would hang on what is beside it.
"""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from mvit.deploy.graph import quiet
from mvit.deploy.onnx_file import EXTRA

OPERATORS = ("MatMul", "Gemm", "Conv")


class _Clips:
    """Clips one by one, as ONNX Runtime asks for what it calibrates by, each as often as a batch takes."""

    def __init__(self, clips: np.ndarray, batch: int) -> None:
        self.clips, self.batch = clips, batch
        self.set_range(0, len(clips))

    def __len__(self) -> int:
        return len(self.clips)

    def set_range(self, start_index: int, end_index: int) -> None:
        self.left = iter(range(start_index, end_index))

    def get_next(self) -> dict[str, Any] | None:
        place = next(self.left, None)
        return None if place is None else {"clips": self.clips[[place] * self.batch]}


def quantise(source: Path, target: Path, clips: np.ndarray, batch: int = 1) -> None:
    """Write an ONNX file again with int8 weights and activations, whose ranges come from clips (N, 3, T, H, W).

    The file takes ``batch`` clips at once, if not any number. Weights have a scale for each channel and seven of the
    eight bits: processors without VNNI would saturate, and others give other scores. Ranges leave out the outermost
    0.001 % of what an activation was.
    """
    try:
        import onnx
        from onnxruntime import quantization
        from onnxruntime.quantization.shape_inference import quant_pre_process
    except ImportError as missing:
        raise ValueError(f"int8 needs onnx and ONNX Runtime: {EXTRA}") from missing
    with TemporaryDirectory(prefix="mvit-int8-") as folder, quiet():
        prepared = Path(folder) / "prepared.onnx"
        said = {entry.key: entry.value for entry in onnx.load(source).metadata_props}
        quant_pre_process(source, prepared, skip_symbolic_shape=True)
        quantization.quantize_static(
            prepared,
            target,
            _Clips(clips, batch),
            op_types_to_quantize=list(OPERATORS),
            per_channel=True,
            reduce_range=True,
            activation_type=quantization.QuantType.QUInt8,
            weight_type=quantization.QuantType.QInt8,
            calibrate_method=quantization.CalibrationMethod.Percentile,
            # Clip by clip, whatever its name says of minima: else the activations of all clips are held at once.
            extra_options={"MatMulConstBOnly": True, "CalibStridedMinMax": 1},
        )
        proto = onnx.load(target)
        onnx.helper.set_model_props(proto, said)
        onnx.save(proto, target)
