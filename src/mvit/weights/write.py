"""Writing a model: safetensors beside a JSON description, each whole or not there at all."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
from torch import Tensor

import mvit
from mvit.weights.read import DESCRIPTION_FILE, FORMAT, MODEL_FILE


def write(folder: str | Path, state: Mapping[str, Tensor], description: Mapping[str, Any]) -> None:
    """Write ``model.safetensors`` and ``model.json`` into a folder.

    ``description`` holds "config" (``MViTConfig.to_dict``), "classes", "preprocessing", "views" and "protocol"; format
    and version are added. An existing pair is replaced file by file: weights first, then what describes them.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}
    _replace(folder / MODEL_FILE, safetensors.torch.save(tensors))
    text = json.dumps({"format": FORMAT, "mvit": mvit.__version__, **description}, indent=2, ensure_ascii=False)
    _replace(folder / DESCRIPTION_FILE, (text + "\n").encode())


def _replace(path: Path, content: bytes) -> None:
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
