"""Trained weights: this project's own files, and other people's checkpoints in their own names.

``read`` gives a configuration, a state dict in this project's names and a report; ``fit`` loads it into a model,
``write`` stores one.
"""

from mvit.weights.fit import fit
from mvit.weights.read import CheckpointError, LoadingReport, read
from mvit.weights.write import write

__all__ = ["CheckpointError", "LoadingReport", "fit", "read", "write"]
