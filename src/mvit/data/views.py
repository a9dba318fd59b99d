"""Test-time preprocessing, the only one: from a file to normalised clips, the same for evaluation and prediction."""

import dataclasses
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from mvit.data.sampling import ClipSampling, Part, test_indices
from mvit.data.video import UnreadableVideo, Video

# The letters in shapes: V views, T frames, H height, W width.


@dataclass(frozen=True, kw_only=True)
class Preprocessing:
    """All that turns a video into the clips a model was trained on; stored with its weights."""

    sampling: ClipSampling
    short_side: int = 256
    crop: int = 224
    mean: tuple[float, float, float] = (0.45, 0.45, 0.45)
    std: tuple[float, float, float] = (0.225, 0.225, 0.225)

    def __post_init__(self) -> None:
        if self.crop % 1 or self.short_side % 1:  # of infinity it is NaN, which counts
            raise ValueError(f"crop and short_side are whole pixels, got {self.crop} and {self.short_side}")
        if not 1 <= self.crop <= self.short_side:
            raise ValueError(
                f"the crop must be between 1 and the short side of {self.short_side} pixels, got {self.crop}; "
                "set a smaller crop or a larger short_side"
            )
        finite = all(map(math.isfinite, (*self.mean, *self.std)))
        if len(self.mean) != 3 or len(self.std) != 3 or not finite or min(self.std) <= 0:
            raise ValueError(f"mean and std need three numbers each, std above 0; got {self.mean} and {self.std}")

    def to_dict(self) -> dict[str, Any]:
        """As JSON holds it."""
        return dataclasses.asdict(self) | {"mean": list(self.mean), "std": list(self.std)}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Preprocessing":
        """The inverse of `to_dict`; every field must be there and no other, so that none is guessed."""
        _same_keys("preprocessing", values, cls)
        _same_keys("preprocessing.sampling", values["sampling"], ClipSampling)
        try:
            return cls(
                sampling=ClipSampling(**values["sampling"]),
                short_side=values["short_side"],
                crop=values["crop"],
                mean=tuple(values["mean"]),
                std=tuple(values["std"]),
            )
        except TypeError as error:  # text where a number belongs
            raise ValueError(f"preprocessing holds a value of the wrong kind ({error}): {values}") from error


def frames_of(video: Video, part: Part | None) -> range:
    """The numbers of a video's frames, or of those in a part; raises UnreadableVideo where it has no such part."""
    if part is None:
        return range(video.frames)
    if reason := part.misfit(video.duration_seconds, video.fps):
        raise UnreadableVideo(video.path, reason)
    return part.frames(video.times)


def clip_indices(video: Video, preprocessing: Preprocessing, clips: int, part: Part | None = None) -> np.ndarray:
    """The numbers of the frames that test clips have, (clips, T), for one who asks before they are read."""
    frames = frames_of(video, part)
    return frames.start + test_indices(len(frames), video.fps, preprocessing.sampling, clips)


def read_views(
    path: str | os.PathLike[str],
    preprocessing: Preprocessing,
    *,
    clips: int = 5,
    crops: int = 1,
    part: Part | None = None,
    chosen: Sequence[int] | None = None,
) -> np.ndarray:
    """The test views of a video or image file, decoded once and normalised; float32 (clips * crops, 3, T, crop, crop).

    Of a `part` of it where one is given, as if the video were no longer than that. Of those clips only the `chosen`,
    by their places in time, where some are.

    Views come clip by clip, and within a clip from left to right (or top to bottom). Raises FileNotFoundError,
    UnreadableVideo, and ValueError for counts of views that are not offered.
    """
    with Video(path) as video:
        return views_in(video, preprocessing, clips=clips, crops=crops, part=part, chosen=chosen)


def views_in(
    video: Video,
    preprocessing: Preprocessing,
    *,
    clips: int,
    crops: int,
    part: Part | None = None,
    chosen: Sequence[int] | None = None,
) -> np.ndarray:
    """The same of an open video, which has limits of its own."""
    indices = clip_indices(video, preprocessing, clips, part)
    indices = indices if chosen is None else indices[list(chosen)]
    decoded = video.read(indices.ravel(), short_side=preprocessing.short_side)
    return views_of(decoded.reshape(*indices.shape, *decoded.shape[1:]), preprocessing, crops)


def views_of(pictures: np.ndarray, preprocessing: Preprocessing, crops: int) -> np.ndarray:
    """What `read_views` makes of decoded frames; uint8 (clips, T, H, W, 3), scaled to `short_side`."""
    corners = crop_corners(pictures.shape[2], pictures.shape[3], preprocessing.crop, crops)
    size = preprocessing.crop
    views = np.empty((len(pictures), crops, 3, preprocessing.sampling.frames, size, size), np.float32)
    for clip in range(len(pictures)):
        for crop, (top, left) in enumerate(corners):
            window = pictures[clip, :, top : top + size, left : left + size]
            views[clip, crop] = normalise_uint8(window, preprocessing.mean, preprocessing.std)
    return views.reshape(-1, *views.shape[2:])


def crop_corners(height: int, width: int, crop: int, crops: int) -> list[tuple[int, int]]:
    """(top, left) of square crops: 1 is the centre; 3 lie at the start, centre and end of the longer side."""
    if crops not in (1, 3):
        raise ValueError(f"crops must be 1 (the centre) or 3 (along the longer side), got {crops}")
    # Rounded up, as in SlowFast's uniform_crop.
    top, left = (height - crop + 1) // 2, (width - crop + 1) // 2
    if crops == 1:
        return [(top, left)]
    if height > width:
        return [(0, left), (top, left), (height - crop, left)]
    return [(top, 0), (top, left), (top, width - crop)]


def normalise_uint8(frames: np.ndarray, mean: Sequence[float], std: Sequence[float]) -> np.ndarray:
    """(x / 255 - mean) / std for each channel; uint8 (T, H, W, 3) -> float32 (3, T, H, W)."""
    levels = np.arange(256, dtype=np.float64) / 255
    result = np.empty((3, *frames.shape[:3]), np.float32)
    for channel in range(3):
        table = ((levels - mean[channel]) / std[channel]).astype(np.float32)
        np.take(table, frames[..., channel], out=result[channel], mode="clip")  # no level needs clipping; checks cost
    return result


def describe(preprocessing: Preprocessing, clips: int, crops: int, aggregate: Literal["mean", "max"] = "mean") -> str:
    """The protocol in words, as every result carries it: "5x1 views, 16x4, short side 256, crop 224".

    "10x3 views, max, ..." where a class's score is the highest of those of the views, and not, as usual, their mean.
    """
    sampling = preprocessing.sampling
    if sampling.frames == 1:
        frames = "1 frame"
    elif sampling.mode == "segments":
        frames = f"{sampling.frames} segments"
    else:
        frames = f"{sampling.frames}x{sampling.spacing:g}"
        frames += f" at {sampling.target_fps:g} fps" if sampling.target_fps else ""
    views = f"{clips}x{crops} views" + (", max" if aggregate == "max" and clips * crops > 1 else "")
    return f"{views}, {frames}, short side {preprocessing.short_side}, crop {preprocessing.crop}"


def _same_keys(where: str, values: Any, kind: type) -> None:
    if not isinstance(values, dict):
        raise ValueError(f"{where} must be a table of settings, got {values!r}")
    expected, given = {field.name for field in dataclasses.fields(kind)}, set(values)
    if expected != given:
        missing, unknown = sorted(expected - given), sorted(given - expected)
        raise ValueError(f"{where} must name exactly {sorted(expected)}; missing {missing}, unknown {unknown}")
