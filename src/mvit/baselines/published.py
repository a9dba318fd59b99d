"""Other people's models, built by their own libraries: modules from clips to logits, under one name each.

``create("swin_t")`` makes one with random weights; ``BASELINES`` says which there are, for which clip, and from where.
An image model takes clips of one frame. Nothing of them is written here but the layout of their inputs.

B batch, T frames, H height, W width.
"""

import importlib.util
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

Triple = tuple[int, int, int]


class Images(nn.Module):
    """A model of images as one of clips of a single frame: (B, 3, 1, H, W) -> (B, classes)."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, clips: Tensor) -> Tensor:
        if clips.shape[2] != 1:
            raise ValueError(f"clips have {clips.shape[2]} frames: this is a model of images, which are clips of one")
        return self.model(clips.squeeze(2))


class FramesFirst(nn.Module):
    """A model of (B, T, 3, H, W) whose answer has ``logits``, from clips (B, 3, T, H, W)."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, clips: Tensor) -> Tensor:
        return self.model(pixel_values=clips.transpose(1, 2)).logits


class Logits(nn.Module):
    """A model whose answer has ``logits``, from its first argument."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x).logits


class TwoPathways(nn.Module):
    """SlowFast: the fast pathway sees every frame, the slow one each fourth, spread from the first to the last."""

    slower = 4

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, clips: Tensor) -> Tensor:  # (B, 3, T, H, W) -> (B, classes)
        frames = clips.shape[2]
        count = frames // self.slower
        places = [place * (frames - 1) // max(count - 1, 1) for place in range(count)]
        return self.model([clips[:, :, places], clips])


def _torchvision(name: str) -> nn.Module:
    from torchvision import models

    return models.get_model(name, weights=None)


def _timm(name: str) -> nn.Module:
    import timm

    return Images(timm.create_model(name, pretrained=False))


def _timesformer(frames: int) -> nn.Module:
    from transformers import TimesformerConfig, TimesformerForVideoClassification

    return FramesFirst(TimesformerForVideoClassification(TimesformerConfig(num_frames=frames, num_labels=400)))


def _vivit(size: int, **fields: Any) -> nn.Module:
    from transformers import VivitConfig, VivitForVideoClassification

    return FramesFirst(VivitForVideoClassification(VivitConfig(image_size=size, num_labels=400, **fields)))


def _videomae(**fields: Any) -> nn.Module:
    from transformers import VideoMAEConfig, VideoMAEForVideoClassification

    return FramesFirst(VideoMAEForVideoClassification(VideoMAEConfig(num_labels=400, **fields)))


def _pvt(*depths: int) -> nn.Module:
    from transformers import PvtConfig, PvtForImageClassification

    return Images(Logits(PvtForImageClassification(PvtConfig(depths=list(depths), num_labels=1000))))


def _pytorchvideo(name: str, **fields: Any) -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it imports what its own dependencies have renamed
        from pytorchvideo.models import hub

    return getattr(hub, name)(pretrained=False, **fields)


def _pytorchvideo_mvit(name: str, **fields: Any) -> nn.Module:
    with _SizesInMemory():  # not for models with batch norm, whose variances are made by ``ones`` too
        return _pytorchvideo(name, **fields)


def _hiera(name: str) -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # as above
        import hiera

    with _SizesInMemory():
        return getattr(hiera, name)(pretrained=False, num_classes=400)


class _SizesInMemory(TorchFunctionMode):
    """Has ``linspace`` and ``ones`` make real numbers also where tensors have no memory.

    Hiera and PyTorchVideo read their drop rates from the one, PyTorchVideo its widths from the other.
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return func(*args, **(kwargs or {}) | ({"device": "cpu"} if func in (torch.linspace, torch.ones) else {}))


_LARGE = {"hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16, "intermediate_size": 4096}
_HUGE = {"hidden_size": 1280, "num_hidden_layers": 32, "num_attention_heads": 16, "intermediate_size": 5120}


@dataclass(frozen=True)
class Baseline:
    """A model of another library, and the clip of (frames, height, width) that its tables and pools are made for."""

    library: str
    clip: Triple
    build: Callable[[], nn.Module]


_IMAGE, _IMAGE_384 = (1, 224, 224), (1, 384, 384)
_MVIT_CLIP, _SWIN_CLIP, _SLOWFAST_CLIP = (16, 224, 224), (32, 224, 224), (32, 256, 256)

BASELINES: dict[str, Baseline] = {
    "vgg16": Baseline("torchvision", _IMAGE, lambda: Images(_torchvision("vgg16"))),
    "resnet50": Baseline("torchvision", _IMAGE, lambda: Images(_torchvision("resnet50"))),
    "vit_b_16": Baseline("timm", _IMAGE, lambda: _timm("vit_base_patch16_224")),
    "deit_s": Baseline("timm", _IMAGE, lambda: _timm("deit_small_patch16_224")),
    "deit_b": Baseline("timm", _IMAGE, lambda: _timm("deit_base_patch16_224")),
    "deit_b_384": Baseline("timm", _IMAGE_384, lambda: _timm("deit_base_patch16_384")),
    "pvt_s": Baseline("transformers", _IMAGE, lambda: _pvt(3, 4, 6, 3)),
    "pvt_m": Baseline("transformers", _IMAGE, lambda: _pvt(3, 4, 18, 3)),
    "pvt_l": Baseline("transformers", _IMAGE, lambda: _pvt(3, 8, 27, 3)),
    "pvt_v2_b2": Baseline("timm", _IMAGE, lambda: _timm("pvt_v2_b2")),
    "swin_t": Baseline("torchvision", _IMAGE, lambda: Images(_torchvision("swin_t"))),
    "swin_s": Baseline("torchvision", _IMAGE, lambda: Images(_torchvision("swin_s"))),
    "swin_b": Baseline("torchvision", _IMAGE, lambda: Images(_torchvision("swin_b"))),
    "swin_b_384": Baseline("timm", _IMAGE_384, lambda: _timm("swin_base_patch4_window12_384")),
    "video_swin_t": Baseline("torchvision", _SWIN_CLIP, lambda: _torchvision("swin3d_t")),
    "video_swin_s": Baseline("torchvision", _SWIN_CLIP, lambda: _torchvision("swin3d_s")),
    "video_swin_b": Baseline("torchvision", _SWIN_CLIP, lambda: _torchvision("swin3d_b")),
    "timesformer_b": Baseline("transformers", (8, 224, 224), lambda: _timesformer(8)),
    "timesformer_l": Baseline("transformers", (96, 224, 224), lambda: _timesformer(96)),
    "vivit_b": Baseline("transformers", (32, 224, 224), lambda: _vivit(224)),
    "vivit_l": Baseline("transformers", (32, 224, 224), lambda: _vivit(224, **_LARGE)),
    "vivit_l_320": Baseline("transformers", (32, 320, 320), lambda: _vivit(320, **_LARGE)),
    "videomae_b": Baseline("transformers", (16, 224, 224), lambda: _videomae()),
    "videomae_l": Baseline("transformers", (16, 224, 224), lambda: _videomae(**_LARGE)),
    "videomae_h": Baseline("transformers", (16, 224, 224), lambda: _videomae(**_HUGE)),
    "slowfast_r50": Baseline("pytorchvideo", _SLOWFAST_CLIP, lambda: TwoPathways(_pytorchvideo("slowfast_r50"))),
    "slowfast_r101": Baseline("pytorchvideo", _SLOWFAST_CLIP, lambda: TwoPathways(_pytorchvideo("slowfast_r101"))),
    "slowfast_16x8_r101": Baseline(
        "pytorchvideo", (64, 256, 256), lambda: TwoPathways(_pytorchvideo("slowfast_16x8_r101_50_50"))
    ),
    "x3d_s": Baseline("pytorchvideo", (13, 182, 182), lambda: _pytorchvideo("x3d_s")),
    "x3d_m": Baseline("pytorchvideo", (16, 256, 256), lambda: _pytorchvideo("x3d_m")),
    "hiera_b": Baseline("hiera", (16, 224, 224), lambda: _hiera("hiera_base_16x224")),
    "hiera_l": Baseline("hiera", (16, 224, 224), lambda: _hiera("hiera_large_16x224")),
    # The presets by other libraries: LIBRARY_PRESET.
    "torchvision_mvit_b_16x4": Baseline("torchvision", _MVIT_CLIP, lambda: _torchvision("mvit_v1_b")),
    "torchvision_mvitv2_s_16x4": Baseline("torchvision", _MVIT_CLIP, lambda: _torchvision("mvit_v2_s")),
    "pytorchvideo_mvit_b_16x4": Baseline("pytorchvideo", _MVIT_CLIP, lambda: _pytorchvideo_mvit("mvit_base_16x4")),
    "pytorchvideo_mvit_b_32x3": Baseline("pytorchvideo", (32, 224, 224), lambda: _pytorchvideo_mvit("mvit_base_32x3")),
    "pytorchvideo_mvit_b_16_image": Baseline(
        "pytorchvideo", _IMAGE, lambda: Images(_pytorchvideo_mvit("mvit_base_16", head_num_classes=1000))
    ),
    "timm_mvitv2_t_image": Baseline("timm", _IMAGE, lambda: _timm("mvitv2_tiny")),
    "timm_mvitv2_s_image": Baseline("timm", _IMAGE, lambda: _timm("mvitv2_small")),
    "timm_mvitv2_b_image": Baseline("timm", _IMAGE, lambda: _timm("mvitv2_base")),
    "timm_mvitv2_l_image": Baseline("timm", _IMAGE, lambda: _timm("mvitv2_large")),
}


def create(name: str) -> nn.Module:
    """A baseline with random weights: (B, 3, T, H, W) -> (B, classes); its library's own classes, 1000 or 400.

    Raises ``ValueError`` for a name that is none of ``BASELINES``, and where the library is not installed.
    """
    if name not in BASELINES:
        raise ValueError(f"no baseline is called {name!r}: there are {', '.join(BASELINES)}")
    require_installed(name)
    return BASELINES[name].build()


def require_installed(name: str) -> None:
    """Raise ``ValueError`` where the library of a baseline is missing."""
    require_library(name, BASELINES[name].library)


def is_installed(name: str) -> bool:
    """Whether the library of a baseline is there."""
    return _is_there(BASELINES[name].library)


def require_library(name: str, library: str) -> None:
    """Raise ``ValueError`` where the library that builds a model is missing."""
    if not _is_there(library):
        raise ValueError(f"{name} is built by {library}, which is not installed: pip install 'mvit[baselines]'")


def _is_there(library: str) -> bool:
    return importlib.util.find_spec(library) is not None
