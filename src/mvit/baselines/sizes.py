"""Other people's architectures as numbers: what a recipe says of them, and the sizes they have where it says nothing.

No torch here, as in ``model.config``. The sizes cost what ``mvit_tiny_16x64`` costs for such a clip, within a tenth;
SlowFast, which its library builds in multiples of 8 channels alone, costs 11 % less.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Self

Triple = tuple[int, int, int]
"""Time, height, width."""

LIBRARIES = {
    "video_swin": "torchvision",
    "timesformer": "transformers",
    "vivit": "transformers",
    "slowfast": "pytorchvideo",
    "deit": "timm",
    "resnet": "timm",
    "swin": "timm",
    "pvt_v2": "timm",
}
OF_IMAGES = ("deit", "resnet", "swin", "pvt_v2")
COLUMNAR = ("timesformer", "vivit", "deit")
"""Architectures of one stage."""
WITHOUT_HEADS = ("slowfast", "resnet")
HEAD_DROPOUT = ("slowfast", "deit", "resnet", "swin", "pvt_v2")
"""Whose libraries can drop what the head reads."""
DROP_PATH = ("video_swin", "deit", "resnet", "swin", "pvt_v2")
"""Whose libraries can drop whole branches of blocks."""
STEMS = {"slowfast": (1, 2, 2), "resnet": (1, 2, 2), "pvt_v2": (1, 4, 4)}
"""The patches of those whose libraries build no other stem."""
SLOWFAST_DEPTHS = ((3, 4, 6, 3), (3, 4, 23, 3), (3, 8, 36, 3))
"""ResNets of 50, 101 and 152 layers, which are all that PyTorchVideo builds."""


@dataclass(frozen=True, kw_only=True)
class BaselineConfig:
    """An architecture of another library at some size; raises ``ValueError`` for numbers that it cannot have.

    Channels grow from stage to stage as the architecture has it: they double, and in PVTv2 are 1, 2, 5 and 8 times the
    first ones.
    """

    baseline: str
    """Which: a key of ``LIBRARIES``."""
    clip: Triple
    """Frames, height, width; no other size is taken."""
    depths: tuple[int, ...]
    """Blocks in each stage."""
    width: int
    """Channels of the first stage; of SlowFast's slow pathway, the fast one having an eighth."""
    heads: tuple[int, ...] = ()
    """In each stage; none in networks of convolutions."""
    patch: Triple
    """What the stem takes together, in frames and pixels: its strides."""
    drop_path: float = 0.0
    head_dropout: float = 0.0
    num_classes: int = 400

    def __post_init__(self) -> None:
        name = self.baseline
        if name not in LIBRARIES:
            raise ValueError(f"no baseline to train is called {name!r}: there are {', '.join(LIBRARIES)}")
        if self.clip[1] != self.clip[2]:
            raise ValueError(f"{name} takes square frames, not {self.clip[1]}x{self.clip[2]}")
        if name in OF_IMAGES and self.clip[0] != 1:
            raise ValueError(f"{name} is a model of images, and clips have {self.clip[0]} frames: set data.frames to 1")
        if name not in OF_IMAGES and self.clip[0] == 1:
            raise ValueError(f"{name} is a model of clips, and images are one frame: choose {', '.join(OF_IMAGES)}")
        whole = (*self.depths, *self.heads, self.width, self.num_classes, *self.patch)
        if min(whole) < 1 or not self.depths:
            raise ValueError(f"{name} has sizes of {whole}: all are whole numbers of at least 1")
        stages = 1 if name in COLUMNAR else 4
        if len(self.depths) != stages or len(self.heads) != (0 if name in WITHOUT_HEADS else stages):
            raise ValueError(
                f"{name} has depths {self.depths} and heads {self.heads}: it takes {stages} of each"
                + (", and no heads" if name in WITHOUT_HEADS else "")
            )
        if name == "slowfast" and self.depths not in SLOWFAST_DEPTHS:
            raise ValueError(f"slowfast has depths {self.depths}: its library builds {SLOWFAST_DEPTHS}")
        if name == "slowfast" and (self.clip[0] % 4 or self.width % 8):
            raise ValueError(
                f"slowfast has {self.clip[0]} frames and a width of {self.width}: its slow pathway sees a fourth of "
                "the frames and its fast one has an eighth of the channels, so choose a multiple of 4 and one of 8"
            )
        fixed = STEMS.get(name, (1, *self.patch[1:]) if name == "timesformer" else self.patch)
        if self.patch != fixed:
            raise ValueError(
                f"{name} has patches of {self.patch}: its library builds {fixed}, so set model.patch to that"
            )
        for width, heads in zip(self.widths, self.heads, strict=False):
            if width % heads:
                raise ValueError(f"a stage of width {width} cannot be cut into {heads} heads: choose a divisor")
        frames, height, _ = self.clip
        if frames % self.patch[0] or height % self.patch[1] or self.patch[1] != self.patch[2]:
            raise ValueError(f"{name} cannot cut {frames}x{height}x{height} into patches of {self.patch}")
        for rate, able in (("drop_path", DROP_PATH), ("head_dropout", HEAD_DROPOUT)):
            value = getattr(self, rate)
            if not 0 <= value < 1:
                raise ValueError(f"{rate} is {value!r}: a rate is at least 0 and below 1")
            if value and name not in able:
                raise ValueError(f"model.{rate} is {value:g}, but the library of {name} has no such thing: set it to 0")

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels of each stage."""
        times = (1, 2, 5, 8) if self.baseline == "pvt_v2" else (1, 2, 4, 8)
        return tuple(self.width * factor for factor in times[: len(self.depths)])

    def to_dict(self) -> dict[str, Any]:
        """Plain values that JSON can hold; ``from_dict`` reads them back."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """A configuration from ``to_dict``'s values, lists for tuples allowed; ``ValueError`` for unknown fields."""
        known = [field.name for field in fields(cls)]
        unknown = sorted(set(values) - set(known))
        if unknown:
            raise ValueError(
                f"{values.get('baseline')} has no field {unknown[0]!r}, which is one of MViT's: it has "
                f"{', '.join(known)}"
            )
        own: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in values.items()
        }
        return cls(**own)


_CLIP, _IMAGE = (16, 64, 64), (1, 64, 64)

SIZES: dict[str, BaselineConfig] = {
    config.baseline: config
    for config in (
        BaselineConfig(
            baseline="video_swin", clip=_CLIP, patch=(2, 4, 4), depths=(1, 2, 4, 1), width=28, heads=(1, 2, 4, 8)
        ),
        BaselineConfig(baseline="timesformer", clip=_CLIP, patch=(1, 16, 16), depths=(10,), width=96, heads=(3,)),
        BaselineConfig(baseline="vivit", clip=_CLIP, patch=(2, 16, 16), depths=(9,), width=160, heads=(5,)),
        BaselineConfig(baseline="slowfast", clip=_CLIP, patch=(1, 2, 2), depths=(3, 8, 36, 3), width=16),
        BaselineConfig(baseline="deit", clip=_IMAGE, patch=(1, 8, 8), depths=(8,), width=80, heads=(2,)),
        BaselineConfig(baseline="resnet", clip=_IMAGE, patch=(1, 2, 2), depths=(3, 4, 6, 3), width=20),
        BaselineConfig(
            baseline="swin", clip=_IMAGE, patch=(1, 4, 4), depths=(1, 2, 4, 1), width=36, heads=(1, 2, 4, 8)
        ),
        BaselineConfig(
            baseline="pvt_v2", clip=_IMAGE, patch=(1, 4, 4), depths=(2, 2, 2, 2), width=32, heads=(1, 2, 5, 8)
        ),
    )
}
