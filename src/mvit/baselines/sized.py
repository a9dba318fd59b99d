"""Other people's architectures, built at a size by their own libraries: modules from clips to logits.

B batch, T frames, H height, W width.
"""

import warnings
from collections.abc import Callable

from torch import Tensor, nn

from mvit.baselines.published import FramesFirst, Images, TwoPathways, require_library
from mvit.baselines.sizes import LIBRARIES, SLOWFAST_DEPTHS, BaselineConfig

WINDOW = (8, 7, 7)
"""Swin's, of tokens in time, height and width."""
MLP_RATIO = 4
LAYERS = (50, 101, 152)
"""SlowFast's names for ``SLOWFAST_DEPTHS``."""


class Baseline(nn.Module):
    """What training, evaluation and prediction need of a model: ``config``, and logits (B, classes) of clips."""

    def __init__(self, config: BaselineConfig) -> None:
        super().__init__()
        self.config = config
        require_library(config.baseline, LIBRARIES[config.baseline])
        self.model = _BUILDERS[config.baseline](config)

    def forward(self, clips: Tensor) -> Tensor:  # (B, 3, T, H, W) -> (B, classes)
        if tuple(clips.shape[2:]) != self.config.clip:
            raise ValueError(
                f"{self.config.baseline} is made for clips of {self.config.clip}, not of {tuple(clips.shape[2:])}"
            )
        return self.model(clips)


def _video_swin(config: BaselineConfig) -> nn.Module:
    from torchvision.models.video.swin_transformer import SwinTransformer3d

    return SwinTransformer3d(
        patch_size=list(config.patch),
        embed_dim=config.width,
        depths=list(config.depths),
        num_heads=list(config.heads),
        window_size=list(WINDOW),
        stochastic_depth_prob=config.drop_path,
        num_classes=config.num_classes,
    )


def _timesformer(config: BaselineConfig) -> nn.Module:
    from transformers import TimesformerConfig, TimesformerForVideoClassification

    return FramesFirst(
        TimesformerForVideoClassification(
            TimesformerConfig(
                image_size=config.clip[1],
                patch_size=config.patch[1],
                num_frames=config.clip[0],
                hidden_size=config.width,
                num_hidden_layers=config.depths[0],
                num_attention_heads=config.heads[0],
                intermediate_size=MLP_RATIO * config.width,
                num_labels=config.num_classes,
            )
        )
    )


def _vivit(config: BaselineConfig) -> nn.Module:
    from transformers import VivitConfig, VivitForVideoClassification

    return FramesFirst(
        VivitForVideoClassification(
            VivitConfig(
                image_size=config.clip[1],
                num_frames=config.clip[0],
                tubelet_size=list(config.patch),
                hidden_size=config.width,
                num_hidden_layers=config.depths[0],
                num_attention_heads=config.heads[0],
                intermediate_size=MLP_RATIO * config.width,
                num_labels=config.num_classes,
            )
        )
    )


def _slowfast(config: BaselineConfig) -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it imports what its own dependencies have renamed
        from pytorchvideo.models.slowfast import create_slowfast

    frames, height, width = config.clip
    sides = (-(-height // 32), -(-width // 32))
    return TwoPathways(
        create_slowfast(
            model_depth=LAYERS[SLOWFAST_DEPTHS.index(config.depths)],
            stem_dim_outs=(config.width, config.width // 8),
            head_pool_kernel_sizes=((frames // TwoPathways.slower, *sides), (frames, *sides)),
            dropout_rate=config.head_dropout,
            model_num_class=config.num_classes,
        )
    )


def _deit(config: BaselineConfig) -> nn.Module:
    from timm.models.vision_transformer import VisionTransformer

    return Images(
        VisionTransformer(
            img_size=config.clip[1],
            patch_size=config.patch[1],
            embed_dim=config.width,
            depth=config.depths[0],
            num_heads=config.heads[0],
            drop_path_rate=config.drop_path,
            drop_rate=config.head_dropout,
            num_classes=config.num_classes,
        )
    )


def _resnet(config: BaselineConfig) -> nn.Module:
    from timm.models.resnet import Bottleneck, ResNet

    return Images(
        ResNet(
            Bottleneck,
            layers=config.depths,
            channels=config.widths,
            stem_width=config.width,
            drop_path_rate=config.drop_path,
            drop_rate=config.head_dropout,
            num_classes=config.num_classes,
        )
    )


def _swin(config: BaselineConfig) -> nn.Module:
    from timm.models.swin_transformer import SwinTransformer

    return Images(
        SwinTransformer(
            img_size=config.clip[1],
            patch_size=config.patch[1],
            embed_dim=config.width,
            depths=config.depths,
            num_heads=config.heads,
            window_size=WINDOW[1],
            drop_path_rate=config.drop_path,
            drop_rate=config.head_dropout,
            num_classes=config.num_classes,
        )
    )


def _pvt_v2(config: BaselineConfig) -> nn.Module:
    from timm.models.pvt_v2 import PyramidVisionTransformerV2

    return Images(
        PyramidVisionTransformerV2(
            depths=config.depths,
            embed_dims=config.widths,
            num_heads=config.heads,
            drop_path_rate=config.drop_path,
            drop_rate=config.head_dropout,
            num_classes=config.num_classes,
        )
    )


_BUILDERS: dict[str, Callable[[BaselineConfig], nn.Module]] = {
    "video_swin": _video_swin,
    "timesformer": _timesformer,
    "vivit": _vivit,
    "slowfast": _slowfast,
    "deit": _deit,
    "resnet": _resnet,
    "swin": _swin,
    "pvt_v2": _pvt_v2,
}
