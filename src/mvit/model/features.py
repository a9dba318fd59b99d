"""The pyramid alone, with what those who build on it ask: channels and strides of every level, under timm's names."""

from dataclasses import dataclass
from itertools import accumulate

from torch import Tensor, nn

from mvit.model.config import MViTConfig, Triple
from mvit.model.mvit import MViT


@dataclass(frozen=True)
class FeatureInfo:
    """What every level of the pyramid is; ``channels`` and ``reduction`` are called as timm's are."""

    widths: tuple[int, ...]
    strides: tuple[Triple, ...]
    """Frames, rows and columns of the clip for one place of each level."""

    def channels(self) -> list[int]:
        """Of every level."""
        return list(self.widths)

    def reduction(self) -> list[int]:
        """Pixels of the clip for one place of every level; raises ``ValueError`` where rows and columns differ."""
        if any(height != width for _, height, width in self.strides):
            raise ValueError(f"the strides {self.strides} differ between rows and columns: take .strides")
        return [height for _, height, _ in self.strides]


class FeaturesOnly(nn.Module):
    """A model without norm and head: clips (B, 3, T, H, W) to the pyramid, [(B, C, T', H', W'), ...]."""

    def __init__(self, model: MViT) -> None:
        super().__init__()
        self.config = model.config
        self.feature_info = feature_info(model.config)
        for name in ("norm", "dropout", "head"):  # parameters without gradients would stop DistributedDataParallel
            setattr(model, name, nn.Identity())
        self.model = model
        self.train(model.training)

    def forward(self, clips: Tensor) -> list[Tensor]:  # (B, 3, T, H, W) -> [(B, C, T', H', W'), ...]
        return self.model.features(clips)


def feature_info(config: MViTConfig) -> FeatureInfo:
    """What ``MViT.features`` gives, by arithmetic."""
    streams = 1 if config.reversible == "none" else 2
    widths = tuple(streams * block.width_out for block in config.blocks() if block.is_last_of_stage)
    strides = tuple(accumulate(config.stride_q, _product, initial=config.stem_stride))
    return FeatureInfo(widths, strides[1:])


def _product(first: Triple, second: Triple) -> Triple:
    return (first[0] * second[0], first[1] * second[1], first[2] * second[2])
