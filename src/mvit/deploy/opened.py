"""A trained model from whatever it is in: a run folder, or a file that it was exported to, which needs no torch."""

import hashlib
from pathlib import Path
from typing import Any

from mvit.deploy.described import EXPORTED, Described, files_of


def load(run_or_file: str | Path, *, device: Any = None) -> Described:
    """The predictor of a run folder or its ``model.safetensors``, of an ONNX file, or of OpenVINO's FILE.xml.

    A run is computed by torch, on the GPU where there is one unless ``device`` says otherwise, the others by their own
    runtimes on the processor. Raises ``ValueError`` for a file that is damaged, foreign or without its classes, and for
    a program of ``torch.export``, which executes what is in it when it is opened; ``FileNotFoundError``.
    """
    path = Path(run_or_file)
    if path.suffix == ".pt2":
        raise ValueError(
            f"{path} is a program of torch.export, and opening one executes what is in it: name the run or an ONNX "
            "file, or in Python open what you trust by torch.export.load"
        )
    if not path.exists():
        raise FileNotFoundError(
            f"{path} does not exist: expected a run folder, its model.safetensors or an exported .onnx or .xml"
        )
    if path.suffix not in EXPORTED:
        from mvit.deploy import predictor

        return predictor.load(path, device=device)
    if device is not None and str(device) != "cpu":
        raise ValueError(f"{path} is computed on the processor, not on {device}: leave the device out, or name the run")
    if path.suffix == ".onnx":
        from mvit.deploy import onnx_file

        return onnx_file.load(path)
    from mvit.deploy import openvino_file

    return openvino_file.load(path)


def fingerprint(run_or_file: str | Path) -> str:
    """What tells a model from others at the same path: 16 digits of the SHA-256 of its files, description included."""
    path = Path(run_or_file)
    parts = files_of(path)
    if path.suffix not in EXPORTED:
        from mvit.weights.read import DESCRIPTION_FILE, MODEL_FILE

        weights = path / MODEL_FILE if path.is_dir() else path
        parts = [weights, weights.with_name(DESCRIPTION_FILE)]
    whole = hashlib.sha256()
    for part in parts:
        with part.open("rb") as file:
            whole.update(hashlib.file_digest(file, "sha256").digest())
    return whole.hexdigest()[:16]
