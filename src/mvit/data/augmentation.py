"""The settings of augmentation: the section [augment] of a recipe, checked, without torch."""

from dataclasses import dataclass
from typing import Literal

from mvit.data import randaugment


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """How a training clip is varied; one draw for all frames of a clip."""

    duration: tuple[float, float] = (1.0, 1.0)
    """segments: least and largest share of the video that they are cut from, anywhere in it."""
    scale: tuple[float, float] = (0.08, 1.0)
    """Least and largest share of the frame's area that the crop covers; the paper's, for large data, is 0.08 to 1."""
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    """Least and largest width over height of the crop."""
    jitter: tuple[int, int] | None = None
    """In place of scale and ratio: a frame's shorter side is scaled to between these, such as [256, 320], and the crop
    taken anywhere; false: off."""
    flip: Literal["auto", "on", "off"] = "auto"
    """Mirror half of the clips. auto: as the names of the classes allow (left and right change places)."""
    mirrored: tuple[tuple[str, str], ...] = ()
    """Pairs of classes that change places when a clip is mirrored; given, the names of classes are not asked."""
    brightness: float = 0.0
    """Brightness is multiplied by up to 1 plus or minus this."""
    contrast: float = 0.0
    """Contrast is multiplied by up to 1 plus or minus this."""
    saturation: float = 0.0
    """Saturation is multiplied by up to 1 plus or minus this."""
    rotation_degrees: float = 0.0
    """Clips are turned by up to this, either way; corners become black."""
    randaugment: str = ""
    """Operations in timm's grammar, such as "rand-m7-n4-mstd0.5-inc1", the paper's; empty: none."""
    erasing: float = 0.0
    """Share of the clips in which a box is erased, the same in all frames; the paper's is 0.25."""
    erasing_mode: Literal["pixel", "const"] = "pixel"
    """What the box is erased to. pixel: noise, fresh in every frame. const: the mean."""
    order: Literal["kept", "shuffled"] = "kept"
    """Frames of a clip. shuffled: in a random order, drawn for each clip: the control for what order is worth."""
    copies: int = 1
    """Clips that are made of each video every time it is read; a batch holds train.batch / copies videos."""
    on: Literal["workers", "device"] = "workers"
    """Where augmentation is computed. workers: in the processes that decode. device: where the model is."""

    def __post_init__(self) -> None:
        for name in ("duration", "scale", "ratio"):
            low, high = getattr(self, name)
            share = name != "ratio"
            if not 0 < low <= high or (share and high > 1):
                allowed = "in (0, 1]" if share else "above 0"
                raise ValueError(f"augment.{name} is {(low, high)}, but must be two rising numbers {allowed}")
        if self.jitter is not None and not 0 < self.jitter[0] <= self.jitter[1]:
            raise ValueError(f"augment.jitter is {self.jitter}, but must be two rising numbers of pixels, or false")
        for name, allowed in (
            ("flip", ("auto", "on", "off")),
            ("erasing_mode", ("pixel", "const")),
            ("order", ("kept", "shuffled")),
            ("on", ("workers", "device")),
        ):
            if getattr(self, name) not in allowed:
                choices = f"{', '.join(map(repr, allowed[:-1]))} or {allowed[-1]!r}"
                raise ValueError(f"augment.{name} is {getattr(self, name)!r}, but must be {choices}")
        for name in ("brightness", "contrast", "saturation", "erasing"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"augment.{name} is {getattr(self, name)}, but must lie between 0 and 1")
        if not 0 <= self.rotation_degrees <= 180:
            raise ValueError(f"augment.rotation_degrees is {self.rotation_degrees}, but must lie between 0 and 180")
        if self.copies < 1:
            raise ValueError(f"augment.copies is {self.copies}, but must be at least 1")
        if self.mirrored and self.flip == "off":
            raise ValueError("augment.mirrored names classes that change places in a flip, but augment.flip is 'off'")
        if self.randaugment:
            try:
                randaugment.parse(self.randaugment)
            except ValueError as why:
                raise ValueError(f"augment.randaugment: {why}") from why
