"""Small models of every published family: their strides, kernels and heads follow the published rules."""

from dataclasses import replace

import pytest
import torch

from mvit.model.config import MViTConfig
from mvit.model.mvit import MViT

_V1 = MViTConfig(
    num_classes=5,
    clip=(4, 64, 64),
    depths=(1, 2, 2, 1),
    widths=(8, 16, 32, 64),
    drop_path=0.0,
    head_dropout=0.0,
)
_IMAGE = {
    "clip": (1, 64, 64),
    "stem_kernel": (1, 7, 7),
    "stem_stride": (1, 4, 4),
    "stem_padding": (0, 3, 3),
    "kernel_q": ((1, 1, 1), *((1, 3, 3),) * 3),
    "kernel_kv": ((1, 3, 3),) * 4,
    "stride_kv": ((1, 4, 4), (1, 2, 2), (1, 1, 1), (1, 1, 1)),
}
_V2 = {
    "positions": "none",
    "relative_positions": "grid",
    "residual_pooling": True,
    "widen_in": "attention",
    "pool_every_query": True,
}
_V1_IMAGE = replace(_V1, **_IMAGE)
_V2_IMAGE = replace(_V1, **_IMAGE | _V2 | {"kernel_q": ((1, 3, 3),) * 4, "class_token": False})
_ONE_MORE = {
    "kernel_q": ((1, 1, 1), *((1, 3, 3),) * 3),
    "kernel_kv": ((1, 9, 9), (1, 5, 5), (1, 3, 3), (1, 1, 1)),
}

FAMILIES = {
    "v1 clips": _V1,
    "v1 clips, joint": replace(_V1, positions="joint", clip=(8, 160, 160)),
    "v1 clips, max": replace(_V1, pooling="max", **_ONE_MORE),
    "v1 clips, kernels of stride + 1": replace(_V1, **_ONE_MORE),
    "v1 clips, 24 layers, 8 frames, 160 pixels": replace(
        _V1, clip=(8, 160, 160), depths=(2, 3, 16, 3), pooling="max", **_ONE_MORE
    ),
    "v1 images": replace(_V1_IMAGE, positions="joint"),
    "v1 images, separate": _V1_IMAGE,
    "v1 images, max": replace(
        _V1_IMAGE,
        positions="joint",
        pooling="max",
        kernel_kv=((1, 5, 5), (1, 3, 3), (1, 1, 1), (1, 1, 1)),
    ),
    "v2 clips": replace(_V1, **_V2, kernel_q=((3, 3, 3),) * 4),
    "v2 clips, 8 frames, 160 pixels": replace(_V1, **_V2, kernel_q=((3, 3, 3),) * 4, clip=(8, 160, 160)),
    "v2 clips, odd grids": replace(
        _V1, **_V2 | {"relative_positions": "floor"}, kernel_q=((3, 3, 3),) * 4, clip=(4, 72, 72)
    ),
    "v2 images": _V2_IMAGE,
    "v2 images, class token": replace(_V2_IMAGE, class_token=True, residual_class_token=True),
    "v2 images, widened in the MLP": replace(_V2_IMAGE, widen_in="mlp"),
    "reversible clips": replace(
        _V1, depths=(1, 2, 3, 2), widen_in="attention", class_token=False, reversible="average", qkv_bias=False
    ),
    "reversible images": replace(
        _V1_IMAGE,
        depths=(1, 2, 3, 2),
        widen_in="attention",
        class_token=False,
        reversible="mlp",
        positions="joint",
    ),
    "reversible images, columnar": replace(
        _V1,
        clip=(1, 224, 224),
        stem_kernel=(1, 16, 16),
        stem_stride=(1, 16, 16),
        stem_padding=(0, 0, 0),
        depths=(3,),
        widths=(128,),
        heads=(2,),
        widen_in="attention",
        class_token=False,
        reversible="average",
        positions="joint",
        **dict.fromkeys(("stride_q", "kernel_q", "stride_kv", "kernel_kv"), ((1, 1, 1),)),
    ),
    "columnar": replace(
        _V1,
        clip=(8, 224, 224),
        stem_kernel=(1, 16, 16),
        stem_stride=(1, 16, 16),
        stem_padding=(0, 0, 0),
        depths=(3,),
        widths=(128,),
        heads=(2,),
        positions="joint",
        **dict.fromkeys(("stride_q", "kernel_q", "stride_kv", "kernel_kv"), ((1, 1, 1),)),
    ),
}


def random_model(config: MViTConfig) -> MViT:
    """A model in evaluation mode of which no two tensors are alike and none is zero."""
    model = MViT(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(mean=0.0 if parameter.ndim > 1 else 0.5, std=0.2)
    return model


def logits_of(model: MViT, clip: torch.Tensor | None = None) -> torch.Tensor:
    """Logits of a seeded clip of the size that the model is made for."""
    if clip is None:
        clip = torch.randn(1, 3, *model.config.clip, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        return model(clip)


@pytest.fixture(scope="session")
def families() -> dict[str, MViTConfig]:
    return FAMILIES


@pytest.fixture(scope="session")
def random():
    return random_model


@pytest.fixture(scope="session")
def logits():
    return logits_of
