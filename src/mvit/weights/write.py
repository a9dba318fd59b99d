"""Writing a model: safetensors beside a JSON description, or a checkpoint in another dialect; whole or not at all."""

import contextlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

import mvit
from mvit.files import folder_of, replacing
from mvit.model.config import MViTConfig
from mvit.weights import dialects, slowfast
from mvit.weights.limits import refusals
from mvit.weights.read import DESCRIPTION_FILE, FORMAT, MODEL_FILE


def write(folder: str | Path, state: Mapping[str, Tensor], description: Mapping[str, Any]) -> None:
    """Write ``model.safetensors`` and ``model.json`` into a folder.

    ``description`` holds "config" (``MViTConfig.to_dict``), "classes", "preprocessing", "views", "protocol" and, unless
    one label a video and the mean of views are meant, "multi_label" and "aggregate"; format and version are added. An
    existing pair is replaced file by file: weights first, then what describes them. After an error (``OSError`` of the
    system about a file) what was not there before is gone again.
    """
    folder = Path(folder)
    text = json.dumps({"format": FORMAT, "mvit": mvit.__version__, **description}, indent=2, ensure_ascii=False)
    new = [path for path in (folder / MODEL_FILE, folder / DESCRIPTION_FILE) if not os.path.lexists(path)]
    with folder_of(folder / MODEL_FILE):
        try:
            with replacing(folder / MODEL_FILE) as temporary:
                safetensors.torch.save_file(_plain(state), temporary)
            with replacing(folder / DESCRIPTION_FILE) as temporary:
                temporary.write_text(text + "\n", encoding="utf-8")
        except BaseException:
            with contextlib.suppress(OSError):
                for path in new:
                    path.unlink(missing_ok=True)
            raise


def write_dialect(path: str | Path, state: Mapping[str, Tensor], config: MViTConfig, dialect: str) -> None:
    """Write tensors in this project's names as a checkpoint in another dialect, as its own code saves them.

    A path that ends in .safetensors gets tensors alone. Raises ``ValueError`` for a model that the dialect cannot
    express.
    """
    path = Path(path)
    if why := refusals(config, dialect):
        raise ValueError(f"{path} cannot be written in the names of {dialect}: {' and '.join(why)}")
    theirs = _plain(dialects.to_dialect(state, config, dialect))
    cfg = {"cfg": slowfast.dump(config)} if dialect == "official" else {}
    wrapped: dict[str, Any] = {
        "official": {"model_state": theirs, **cfg},
        "pytorchvideo": {"model_state": theirs},
        "pytorchvideo-head": {"model_state": theirs},
        "mmaction2": {"state_dict": theirs, "meta": {}},
    }
    with replacing(path) as temporary:
        if path.suffix == ".safetensors":
            safetensors.torch.save_file(_apart(theirs), temporary, metadata={"format": "pt", **cfg})
        else:
            with temporary.open("wb") as file:  # given a path, torch does not say why it cannot write
                torch.save(wrapped.get(dialect, theirs), file)


def _plain(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}


def _apart(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors of which no two share memory, as safetensors wants them: second names get copies."""
    seen: set[int] = set()
    apart: dict[str, Tensor] = {}
    for name, tensor in state.items():
        apart[name] = tensor.clone() if tensor.data_ptr() in seen else tensor
        seen.add(tensor.data_ptr())
    return apart
