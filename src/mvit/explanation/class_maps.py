"""Where a class's logit hangs on the tokens of a stage: maps weighted by gradients.

A token counts by what the layer after it reads, its norm, times the logit's gradient there, summed over channels: as in
HiResCAM (Draelos and Carin, arXiv 2011.08891). Grad-CAM (Selvaraju et al., ICCV 2017) first averages the gradient over
tokens, which in a transformer differs from token to token: docs/explain.md has both measured. Before the norm the
product would say nothing: a norm does not change with its token's length, so its gradient is at right angles to it.

B batch, N tokens, C channels.
"""

import torch
from torch import Tensor, nn

from mvit.explanation.attention import check
from mvit.model.config import MViTConfig
from mvit.model.mvit import MViT


def entered(config: MViTConfig, stage: int) -> int:
    """The block that the tokens of a stage (from 1 on) enter, or the number of blocks for those that the head reads.

    They are what the stage gives. Of a model with a class token nothing reads the grid that leaves the last block, so
    of its last stage they are those that enter that block. Raises ``ValueError`` for a stage that is not there.
    """
    if not 1 <= stage <= config.stages:
        raise ValueError(f"stage {stage} does not exist: the model has stages 1 to {config.stages}")
    index = sum(config.depths[:stage])
    return index - 1 if stage == config.stages and config.class_token else index


def class_map(model: MViT, clips: Tensor, label: int, index: int) -> Tensor:
    """How much each token that enters block ``index`` speaks for a class, or, below 0, against it: (B, T * H * W).

    What goes past the block by its skip is not counted; of the last stage nothing does. Put the model into evaluation
    mode first; its parameters get no gradients. Raises ``ValueError`` for a model that merges patches.
    """
    check(model)
    with torch.no_grad():
        x, grid = model.embed(clips)
        for block in model.blocks[:index]:
            x, grid = block(x, grid)
    reader = model.norm if index == len(model.blocks) else model.blocks[index].norm1
    assert isinstance(reader, nn.Module)
    read: list[Tensor] = []
    hook = reader.register_forward_hook(lambda _, given, gives: read.append(gives))
    try:
        with torch.enable_grad():
            x = x.requires_grad_()
            for block in model.blocks[index:]:
                x, grid = block(x, grid)
            (gradient,) = torch.autograd.grad(model.classify(x)[:, label].sum(), read[0])
    finally:
        hook.remove()
    return (read[0].detach() * gradient).sum(dim=-1)[:, int(model.config.class_token) :]
