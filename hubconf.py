"""What torch.hub finds here: every preset by its name, and ``load`` for a trained run; all of it is mvit's own."""

import sys as _sys
from collections.abc import Callable as _Callable
from pathlib import Path as _Path
from typing import Any as _Any

# A hub's checkout is not installed: its own src comes first, and stays, as mvit imports its rooms when they are used.
_sys.path.insert(0, str(_Path(__file__).parent / "src"))
import mvit as _mvit

dependencies = ["torch", "torchvision", "numpy", "PIL", "av", "safetensors"]


def load(run_or_file: str | _Path, **options: _Any) -> _Any:
    """The predictor of a run folder or an exported file, as ``mvit.load``: ``.predict("video.mp4")`` gives scores."""
    return _mvit.load(run_or_file, **options)


def _entry(name: str) -> _Callable[..., _Any]:
    def create(**options: _Any) -> _Any:
        return _mvit.create_model(name, **options)

    create.__name__ = create.__qualname__ = name
    create.__doc__ = (
        f"{name}, by mvit.create_model: weights= takes the name of published weights, a run or a checkpoint, "
        "num_classes= another number of classes, features_only=True the pyramid alone; docs/models.md says what it is."
    )
    return create


globals().update({_name: _entry(_name) for _name in _mvit.list_models()})
