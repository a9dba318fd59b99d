"""Multiscale Vision Transformers: from a folder of videos to a trained, evaluated, explained model."""

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = ["MViTConfig", "__version__", "create_model", "data", "list_models", "load", "weights"]

if TYPE_CHECKING:
    from mvit import data, weights
    from mvit.deploy.opened import load
    from mvit.model.config import MViTConfig
    from mvit.model.presets import list_models
    from mvit.weights.create import create_model

# Public names and where they live: found on first use, so that `import mvit` and decoding need no torch.
_HOMES = {
    "MViTConfig": "mvit.model.config",
    "create_model": "mvit.weights.create",
    "list_models": "mvit.model.presets",
    "load": "mvit.deploy.opened",
}
_SUBMODULES = ("data", "weights")


def __getattr__(name: str) -> Any:
    if name in _SUBMODULES:
        return importlib.import_module(f"mvit.{name}")
    if name in _HOMES:
        value = getattr(importlib.import_module(_HOMES[name]), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'mvit' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
