"""Other people's models, from their own libraries: as they were published, and at sizes to train beside ours."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mvit.baselines.published import BASELINES, create, is_installed, require_installed

__all__ = ["BASELINES", "create", "is_installed", "require_installed"]


def __getattr__(name: str) -> Any:  # sizes need no torch, and are read without it
    if name in __all__:
        return getattr(importlib.import_module("mvit.baselines.published"), name)
    raise AttributeError(f"module 'mvit.baselines' has no attribute {name!r}")
