"""The model: a stem, blocks over a token grid that coarsens as it widens, and a linear head.

B batch, T frames, H height, W width, N tokens (a class token first), C channels.
"""

from collections.abc import Collection, Iterator
from itertools import islice
from typing import Literal, Self

import torch
from torch import Tensor, nn

from mvit.model.attention import NORM_EPS, TokenPool, tokens, volume
from mvit.model.block import MultiscaleBlock
from mvit.model.config import BlockConfig, MViTConfig, Triple
from mvit.model.inference import packed
from mvit.model.positions import PositionEmbedding
from mvit.model.recompute import checkpointed
from mvit.model.relative import RelativePositions
from mvit.model.reversible import ReversibleBlock, TransitionBlock, run_reversibly

INIT_STD = 0.02


class MViT(nn.Module):
    """Multiscale Vision Transformer, v1 or v2, for clips and, as clips of one frame, images.

    ``model(clips)`` takes (B, 3, T, H, W) floats of any size of at least one patch and gives (B, classes) logits.
    """

    def __init__(self, config: MViTConfig) -> None:
        super().__init__()
        self.config = config
        width = config.widths[0]
        self.stem = nn.Conv3d(3, width, config.stem_kernel, config.stem_stride, config.stem_padding)
        self.class_token = nn.Parameter(torch.zeros(1, 1, width)) if config.class_token else None
        self.positions = PositionEmbedding(config.positions, config.grid, width, class_token=config.class_token)
        self.blocks = nn.ModuleList(_block(block) for block in config.blocks())
        width = config.widths[-1] * (1 if config.reversible == "none" else 2)
        self.norm = nn.LayerNorm(width, eps=NORM_EPS)
        self.dropout = nn.Dropout(config.head_dropout)
        self.head = nn.Linear(width, config.num_classes)
        self._frozen: list[nn.Module] = []
        initialise(self)

    def forward(self, clips: Tensor) -> Tensor:  # (B, 3, T, H, W) -> (B, classes)
        x, grid = self.embed(clips)
        *before, last = self._stages()
        for blocks in before:
            x, grid = self._run(blocks, x, grid)
        final = last[-1]
        if self.config.class_token and isinstance(final, MultiscaleBlock) and final.attn.fused:
            x, grid = self._run(last[:-1], x, grid)
            kept = not (final.checkpointed and torch.is_grad_enabled())
            x = final.of_class_token(x, grid) if kept else checkpointed(final.of_class_token, x, grid)
        else:
            x, grid = self._run(last, x, grid)
        return self.classify(x)

    def embed(self, clips: Tensor) -> tuple[Tensor, Triple]:
        """Tokens with their positions, (B, 3, T, H, W) -> (B, N, C), and their grid; the blocks take both in turn."""
        self._check(clips)
        x = self.stem(clips)
        grid: Triple = (x.shape[2], x.shape[3], x.shape[4])
        x = tokens(x)
        if self.class_token is not None:
            x = torch.cat([self.class_token.expand(x.shape[0], -1, -1).to(x.dtype), x], dim=1)
        x = self.positions(x, grid)
        return x if self.config.reversible == "none" else torch.cat([x, x], dim=-1), grid

    def classify(self, x: Tensor) -> Tensor:
        """Logits of what the last block gave: (B, N, C) -> (B, classes)."""
        x = self.norm(x[:, 0]) if self.config.class_token else self.norm(x).mean(dim=1)
        return self.head(self.dropout(x))

    def features(self, clips: Tensor) -> list[Tensor]:
        """The pyramid: the output of every stage's last block, (B, 3, T, H, W) -> [(B, C, T', H', W'), ...].

        Where the MLP widens, a stage's last block has done so, and its channels are those of the stage that follows;
        a reversible model gives both streams, one after the other; the last entry is not normalised.
        """
        x, grid = self.embed(clips)
        pyramid = []
        for blocks in self._stages():
            x, grid = self._run(blocks, x, grid)
            pyramid.append(volume(x[:, int(self.config.class_token) :], grid))
        return pyramid

    def optimize_for_inference(self) -> "MViT":
        """A copy in evaluation mode for inference alone, with its weights laid out for the CPU they are on.

        Pack last: after the weights are loaded, moved and cast. The copy cannot be trained, saved or moved, and what it
        computes differs from the model's own by rounding. On a GPU there is nothing to lay out, and it is a plain copy.
        Raises ``ValueError`` for a model that is packed already.
        """
        return packed(self).eval().requires_grad_(False)

    def checkpoint(self, blocks: Collection[int] = (), *, elementwise: bool = False) -> None:
        """Choose what training computes again in the backward pass instead of keeping it: activation checkpointing.

        ``blocks``, by index, are computed again as a whole; ``elementwise`` does so with the norms before attention and
        MLP and with GELU in all others. Gradients stay the same. Each call replaces the last; without arguments
        everything is kept, but for reversible blocks, which never keep anything. Raises ``ValueError`` for a block that
        is not there or is reversible.
        """
        choices = [index for index, block in enumerate(self.blocks) if not isinstance(block, ReversibleBlock)]
        if isinstance(blocks, str | int):
            raise ValueError(f"blocks is {blocks!r}: expected some of {choices}, in a list, which may be all of it")
        if wrong := sorted(set(blocks) - set(choices)):
            raise ValueError(f"block {wrong[0]} cannot be checkpointed: the blocks that can are {choices}")
        for index in choices:
            block = self.blocks[index]
            assert isinstance(block, MultiscaleBlock | TransitionBlock)
            block.checkpointed = index in blocks
            block.recompute = block.mlp.recompute = elementwise and index not in blocks

    def freeze(self, blocks: int | Literal["all"]) -> None:
        """Have training leave alone the stem, class token and positions, and the first so many blocks; 0: nothing.

        "all" freezes everything but the head, a linear probe. What is frozen has no gradients, and stays in evaluation
        mode in ``train()``: it drops no paths, so that what learns sees what it will see. Each call replaces the last.
        Raises ``ValueError`` for more blocks than there are.
        """
        count = len(self.blocks) if blocks == "all" else blocks
        if not 0 <= count <= len(self.blocks):
            raise ValueError(f"{count} blocks cannot be frozen: the model has {len(self.blocks)}")
        self.requires_grad_(True)
        self._frozen = [self.stem, self.positions, *self.blocks[:count]] if count else []
        if blocks == "all":
            self._frozen.append(self.norm)
        for part in self._frozen:
            part.requires_grad_(False)
        if self.class_token is not None:
            self.class_token.requires_grad_(not self._frozen)
        self.train(self.training)

    def train(self, mode: bool = True) -> Self:
        """Set the mode; what is frozen stays in evaluation mode."""
        super().train(mode)
        for part in self._frozen:
            part.eval()
        return self

    def _stages(self) -> Iterator[list[nn.Module]]:
        blocks = iter(self.blocks)
        return (list(islice(blocks, depth)) for depth in self.config.depths)

    def _run(self, blocks: list[nn.Module], x: Tensor, grid: Triple) -> tuple[Tensor, Triple]:
        """One stage: (B, N, C) -> (B, Q, C')."""
        reversible = [block for block in blocks if isinstance(block, ReversibleBlock)]
        if not reversible or not torch.is_grad_enabled():
            for block in blocks:
                x, grid = _through(block, x, grid)
            return x, grid
        if len(reversible) < len(blocks):
            x, grid = _through(blocks[0], x, grid)
        return run_reversibly(x, grid, reversible), grid

    def _check(self, clips: Tensor) -> None:
        if clips.ndim != 5 or clips.shape[1] != 3 or not clips.is_floating_point():
            raise ValueError(
                f"clips are {tuple(clips.shape)} {clips.dtype}: expected floats (batch, 3, frames, height, width); "
                "an image is a clip of one frame"
            )


def _through(block: nn.Module, x: Tensor, grid: Triple) -> tuple[Tensor, Triple]:
    again = isinstance(block, MultiscaleBlock | TransitionBlock) and block.checkpointed and torch.is_grad_enabled()
    return checkpointed(block, x, grid) if again else block(x, grid)


def _block(config: BlockConfig) -> nn.Module:
    if config.reversible == "none":
        return MultiscaleBlock(config)
    return TransitionBlock(config) if config.is_transition else ReversibleBlock(config)


@torch.no_grad()
def initialise(model: MViT) -> None:
    """Truncated normals of 0.02 for weights and positions, in either of the two ways that released code has.

    "official" (SlowFast) also draws the stem and the pooling kernels so, and starts every bias, the norms' included,
    at 0.02; "torch" (all the others) leaves convolutions as torch makes them and starts biases at 0.
    """
    official = model.config.init == "official"
    bias = INIT_STD if official else 0.0
    if model.class_token is not None:
        nn.init.trunc_normal_(model.class_token, std=INIT_STD)
    for module in model.modules():
        if isinstance(module, nn.Linear):
            nn.init.trunc_normal_(module.weight, std=INIT_STD)
            if module.bias is not None:
                nn.init.constant_(module.bias, bias)
        elif isinstance(module, nn.LayerNorm):
            nn.init.ones_(module.weight)
            nn.init.constant_(module.bias, bias)
        elif isinstance(module, PositionEmbedding | RelativePositions):
            for table in module.parameters():
                nn.init.trunc_normal_(table, std=INIT_STD)
        elif official and isinstance(module, nn.Conv3d | TokenPool) and getattr(module, "weight", None) is not None:
            nn.init.trunc_normal_(module.weight, std=INIT_STD)
