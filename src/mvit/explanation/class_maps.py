"""Where a class's logit hangs on the tokens of a stage: gradient-weighted maps (Grad-CAM, Selvaraju et al., ICCV 2017).

B batch, N tokens, C channels; a grid is (time, height, width).
"""

import torch
from torch import Tensor

from mvit.model.config import MViTConfig
from mvit.model.mvit import MViT


def entered(config: MViTConfig, stage: int) -> int:
    """The block that the tokens of a stage (from 1 on) enter, or the number of blocks for those that leave the last.

    They are what the stage gives. Of a model with a class token nothing reads the grid that leaves the last block, so
    of its last stage they are those that enter that block. Raises ``ValueError`` for a stage that is not there.
    """
    if not 1 <= stage <= config.stages:
        raise ValueError(f"stage {stage} does not exist: the model has stages 1 to {config.stages}")
    index = sum(config.depths[:stage])
    return index - 1 if stage == config.stages and config.class_token else index


def class_map(model: MViT, clips: Tensor, label: int, index: int) -> Tensor:
    """How much the tokens that enter block ``index`` speak for a class: (B, T * H * W), 0 where they speak against it.

    Channels weighted by the mean gradient of the class's logit, summed, and what is negative left out. In evaluation
    mode; parameters get no gradients.
    """
    with torch.no_grad():
        x, grid = model.embed(clips)
        for block in model.blocks[:index]:
            x, grid = block(x, grid)
    x = x.detach().requires_grad_()
    with torch.enable_grad():
        y, at = x, grid
        for block in model.blocks[index:]:
            y, at = block(y, at)
        (gradient,) = torch.autograd.grad(model.classify(y)[:, label].sum(), x)
    first = int(model.config.class_token)
    body, gradient = x.detach()[:, first:], gradient[:, first:]
    return (body * gradient.mean(dim=1, keepdim=True)).sum(dim=-1).relu()
