"""The simplest classifier, linear in all pixels, as an ONNX file that says how it is to be used."""

import json
from pathlib import Path

import numpy as np

from mvit.data.sampling import ClipSampling
from mvit.data.views import Preprocessing
from mvit.deploy.described import METADATA

CLASSES = ["open", "shut", "wait"]
PREPROCESSING = Preprocessing(sampling=ClipSampling(frames=8, mode="segments"), short_side=36, crop=32)
DESCRIPTION = {"classes": CLASSES, "preprocessing": PREPROCESSING.to_dict(), "views": [2, 1]}


WEIGHTS = np.random.default_rng(1).normal(size=(3 * 8 * 32 * 32, 3)).astype(np.float32) / 100


def linear(clips: np.ndarray) -> np.ndarray:
    return clips.reshape(len(clips), -1) @ WEIGHTS


def write_linear(onnx, path: Path, batch: str | int) -> Path:
    make = onnx.helper
    graph = make.make_graph(
        [
            make.make_node("Flatten", ["clips"], ["flat"]),
            make.make_node("MatMul", ["flat", "weights"], ["logits"]),
        ],
        "linear",
        [make.make_tensor_value_info("clips", onnx.TensorProto.FLOAT, [batch, 3, 8, 32, 32])],
        [make.make_tensor_value_info("logits", onnx.TensorProto.FLOAT, [batch, 3])],
        [onnx.numpy_helper.from_array(WEIGHTS, "weights")],
    )
    onnx.save(make.make_model(graph, opset_imports=[make.make_opsetid("", 17)], ir_version=8), path)
    return described(path, DESCRIPTION)


def described(path: Path, description: object) -> Path:
    import onnx

    file = onnx.load(path)
    del file.metadata_props[:]
    if description is not None:
        text = description if isinstance(description, str) else json.dumps(description)
        onnx.helper.set_model_props(file, {METADATA: text})
    onnx.save(file, path)
    return path
