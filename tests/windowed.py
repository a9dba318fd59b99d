"""A model whose scores tell which frames it saw, for tests of windows."""

from dataclasses import dataclass

import numpy as np

from mvit.data.sampling import ClipSampling
from mvit.data.views import Preprocessing
from mvit.evaluation.scoring import SINGLE, Scoring

SEGMENTS = Preprocessing(sampling=ClipSampling(frames=4, mode="segments"), short_side=32, crop=32)
DENSE = Preprocessing(sampling=ClipSampling(frames=4, spacing=2, target_fps=25), short_side=32, crop=32)


@dataclass
class Brightness:
    """Two classes, bright and dark, and a third that nothing is; clips are kept in `seen`."""

    preprocessing: Preprocessing = SEGMENTS
    views: tuple[int, int] = (2, 1)
    scoring: Scoring = SINGLE
    classes: tuple[str, ...] = ("bright", "dark", "never")
    seen: int = 0

    def logits(self, clips: np.ndarray) -> np.ndarray:
        self.seen += 1
        weights = np.arange(1, clips[0].size + 1, dtype=np.float64).reshape(clips.shape[1:]) / clips[0].size
        level = (clips.astype(np.float64) * weights).mean(axis=(1, 2, 3, 4))
        return np.stack([10 * level, -10 * level, np.full(len(clips), -20.0)], axis=1)
