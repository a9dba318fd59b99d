"""Where a class's score comes from in one clip, on the grid of the model's last tokens: for others to draw."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from mvit.deploy.predictor import Predictor
from mvit.evaluation.scoring import score_views
from mvit.explanation.class_maps import class_map, entered
from mvit.explanation.pooling import grids
from mvit.model.mvit import MViT

KIND = "class map of the last stage"


@dataclass(frozen=True)
class Heat:
    """How much each token speaks for a class: float32 (T', H', W'), of 0 to 1, the most of it 1."""

    label: str
    values: np.ndarray
    kind: str = KIND


def heat_of(predictor: Predictor) -> Callable[[np.ndarray, str | None], Heat] | None:
    """What gives the heat of a view (1, 3, T, H, W) for a class, or for the one it takes for; None of other models."""
    model = predictor.model
    if not isinstance(model, MViT) or model.config.widen_in == "merging":
        return None

    def heat(views: np.ndarray, target: str | None) -> Heat:
        clip = torch.from_numpy(views).to(next(model.parameters()).device)
        frames, height, width = clip.shape[2:]
        if target is None:
            label = int(score_views(predictor.logits, views, predictor.scoring).argmax())
        else:
            label = predictor.classes.index(target)
        index = entered(model.config, model.config.stages)
        with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):  # as the predictor computes
            counts = class_map(model, clip, label, index).clamp(min=0)
        values = (counts / counts.max().clamp(min=torch.finfo(counts.dtype).tiny)).float().cpu().numpy()
        grid = grids(model.config, (frames, height, width))[index]
        return Heat(predictor.classes[label], values.reshape(grid))

    return heat
