"""A model as a graph that other programs run: traced by torch.export, and written as that, ONNX or OpenVINO's form.

Traced on two clips, where any number is to be taken: with one, torch takes the batch for a constant.
"""

import io
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import torch
from torch.export import Dim, ExportedProgram

from mvit.baselines.sized import Baseline
from mvit.baselines.sizes import LIBRARIES
from mvit.data.views import Preprocessing
from mvit.deploy.described import METADATA
from mvit.deploy.onnx_file import EXTRA
from mvit.deploy.openvino_file import library
from mvit.weights.build import Model

OPSET = 20
"""Of ONNX: the first with GELU as one operator, read by ONNX Runtime from 1.17 on and OpenVINO from 2024."""
MOST_BYTES = 2**31
"""Of ONNX: a message of protobuf is no larger."""
MODEL_JSON = "model.json"
"""The name of the description inside a program of torch.export."""


@torch.no_grad()
def traced(model: Model, preprocessing: Preprocessing, batch: int | None = None) -> ExportedProgram:
    """The program of a model on the processor, for clips of the size that it is evaluated at: any number, or a batch.

    Raises ``ValueError`` for another library's model that cannot be traced so.
    """
    clips = torch.zeros(batch or 2, 3, preprocessing.sampling.frames, preprocessing.crop, preprocessing.crop)
    lengths = None if batch else ({0: Dim("batch", min=1)},)
    try:
        with quiet():
            program = torch.export.export(model, (clips,), dynamic_shapes=lengths, strict=False)
    except Exception as why:
        if not isinstance(model, Baseline):
            raise
        name = model.config.baseline
        raise ValueError(
            f"{name} by {LIBRARIES[name]} cannot be exported: torch.export finds no program of it for "
            f"{batch or 'any number of'} clips ({(str(why).strip().splitlines() or [type(why).__name__])[0]})"
        ) from why
    for part in program.graph_module.modules():
        for node in part.graph.nodes if isinstance(part, torch.fx.GraphModule) else ():
            node.meta.pop("stack_trace", None)  # paths of this machine
    program.example_inputs = None  # type: ignore[assignment]
    return program


def write_program(program: ExportedProgram, description: str, path: Path) -> None:
    """Write a program of torch.export with a description inside, under ``MODEL_JSON``."""
    whole = io.BytesIO()  # a writer of torch that finds the disk full takes the process down
    torch.export.save(program, whole, extra_files={MODEL_JSON: description})
    path.write_bytes(whole.getbuffer())


def write_onnx(program: ExportedProgram, description: str, path: Path) -> None:
    """Write a program as an ONNX file with a description in its metadata, under ``METADATA``."""
    try:
        import onnx
        import onnxscript  # noqa: F401 (the exporter of torch needs it)
    except ImportError as missing:
        raise ValueError(f"to write ONNX files, onnx and onnxscript are needed: {EXTRA}") from missing
    if (size := sum(tensor.nbytes for tensor in program.state_dict.values())) > MOST_BYTES:
        raise ValueError(
            f"the model has {size / 1e9:.1f} GB of weights, and an ONNX file holds {MOST_BYTES / 1e9:.1f} GB at most: "
            "export it --to torch"
        )
    with quiet():
        found = torch.onnx.export(
            program, input_names=["clips"], output_names=["logits"], opset_version=OPSET, dynamo=True, verbose=False
        )
    assert found is not None
    proto = found.model_proto
    for node in proto.graph.node:
        del node.metadata_props[:]  # how each came about, of no use to who runs it
    (clips,), (logits,) = proto.graph.input, proto.graph.output
    for entry in (clips, logits):
        length = entry.type.tensor_type.shape.dim[0]
        if not length.HasField("dim_value"):
            length.dim_param = "batch"
    onnx.helper.set_model_props(proto, {METADATA: description})
    path.write_bytes(proto.SerializeToString())


def write_openvino(onnx_file: Path, description: str, path: Path) -> None:
    """Write an ONNX file in OpenVINO's form, FILE.xml and FILE.bin, in float32, with a description inside."""
    openvino = library()
    model = openvino.Core().read_model(onnx_file)
    model.set_rt_info(description, [METADATA])
    openvino.save_model(model, path, compress_to_fp16=False)


@contextmanager
def quiet() -> Iterator[None]:
    """Leave out what exporters say of themselves."""
    with warnings.catch_warnings(), redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        warnings.simplefilter("ignore")
        before = logging.root.manager.disable
        logging.disable(logging.WARNING)
        try:
            yield
        finally:
            logging.disable(before)


def opened(path: Path) -> Any:
    """The module of a program that was written here a moment ago; never of a stranger's, which it would execute."""
    with quiet():
        return torch.export.load(path).module()
