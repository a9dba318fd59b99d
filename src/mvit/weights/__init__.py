"""Trained weights: this project's own files, and other people's checkpoints in their own names.

``read`` gives a configuration, a state dict in this project's names and a report; ``fit`` loads it into a model,
``write`` stores one. ``build`` and ``stored`` are of models that were trained here, ours or another library's;
``read_same`` is what one of another library starts from.
"""

from mvit.weights.build import Config, Model, build
from mvit.weights.fit import fit
from mvit.weights.read import CheckpointError, LoadingReport, read, read_same, stored
from mvit.weights.write import write

__all__ = [
    "CheckpointError",
    "Config",
    "LoadingReport",
    "Model",
    "build",
    "fit",
    "read",
    "read_same",
    "stored",
    "write",
]
