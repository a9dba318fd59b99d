"""The model: a stem, blocks over a token grid that coarsens as it widens, and a linear head.

B batch, T frames, H height, W width, N tokens (a class token first), C channels.
"""

import torch
from torch import Tensor, nn

from mvit.model.attention import NORM_EPS, TokenPool, tokens, volume
from mvit.model.block import MultiscaleBlock
from mvit.model.config import MViTConfig, Triple
from mvit.model.positions import PositionEmbedding
from mvit.model.relative import RelativePositions

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
        self.blocks = nn.ModuleList(MultiscaleBlock(block) for block in config.blocks())
        self.norm = nn.LayerNorm(config.widths[-1], eps=NORM_EPS)
        self.dropout = nn.Dropout(config.head_dropout)
        self.head = nn.Linear(config.widths[-1], config.num_classes)
        initialise(self)

    def forward(self, clips: Tensor) -> Tensor:  # (B, 3, T, H, W) -> (B, classes)
        x, grid = self._embed(clips)
        for block in self.blocks:
            x, grid = block(x, grid)
        x = self.norm(x[:, 0]) if self.config.class_token else self.norm(x).mean(dim=1)
        return self.head(self.dropout(x))

    def features(self, clips: Tensor) -> list[Tensor]:
        """The pyramid: the output of every stage's last block, (B, 3, T, H, W) -> [(B, C, T', H', W'), ...].

        Where the MLP widens, a stage's last block has done so, and its channels are those of the stage that follows;
        the last entry is not normalised.
        """
        x, grid = self._embed(clips)
        pyramid = []
        for block, config in zip(self.blocks, self.config.blocks(), strict=True):
            x, grid = block(x, grid)
            if config.is_last_of_stage:
                pyramid.append(volume(x[:, int(config.class_token) :], grid))
        return pyramid

    def _embed(self, clips: Tensor) -> tuple[Tensor, Triple]:
        """Tokens with their positions, (B, 3, T, H, W) -> (B, N, C), and their grid."""
        self._check(clips)
        x = self.stem(clips)
        grid: Triple = (x.shape[2], x.shape[3], x.shape[4])
        x = tokens(x)
        if self.class_token is not None:
            x = torch.cat([self.class_token.expand(x.shape[0], -1, -1).to(x.dtype), x], dim=1)
        return self.positions(x, grid), grid

    def _check(self, clips: Tensor) -> None:
        if clips.ndim != 5 or clips.shape[1] != 3 or not clips.is_floating_point():
            raise ValueError(
                f"clips are {tuple(clips.shape)} {clips.dtype}: expected floats (batch, 3, frames, height, width); "
                "an image is a clip of one frame"
            )


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
            nn.init.constant_(module.bias, bias)
        elif isinstance(module, nn.LayerNorm):
            nn.init.ones_(module.weight)
            nn.init.constant_(module.bias, bias)
        elif isinstance(module, PositionEmbedding | RelativePositions):
            for table in module.parameters():
                nn.init.trunc_normal_(table, std=INIT_STD)
        elif official and isinstance(module, nn.Conv3d | TokenPool) and getattr(module, "weight", None) is not None:
            nn.init.trunc_normal_(module.weight, std=INIT_STD)
