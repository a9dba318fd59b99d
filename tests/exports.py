"""Small videos, and a run of a small model with its split, for what is exported of it."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

import mvit
from mvit import weights
from mvit.data import video
from mvit.data.sampling import ClipSampling
from mvit.data.views import Preprocessing, describe

CLASSES = ["left", "right", "up"]
PREPROCESSING = Preprocessing(sampling=ClipSampling(frames=4, spacing=2), short_side=36, crop=32)


def write_videos(
    folder: Path,
    each: int = 4,
    classes: Sequence[str] = CLASSES,
    *,
    seed: int = 0,
    noise: tuple[int, int, int] = (3, 12, 10),
    repeats: tuple[int, int, int] = (6, 4, 5),
) -> Path:
    """A folder of classes: noise of (T, H, W), each value so often in time, height and width."""
    rng = np.random.default_rng(seed)
    for name in classes:
        (folder / name).mkdir(parents=True)
        for n in range(each):
            frames = rng.integers(0, 255, (*noise, 3), dtype=np.uint8)
            for axis, times in enumerate(repeats):
                frames = frames.repeat(times, axis)
            video.write(folder / name / f"{n}.mp4", frames)
    return folder


def small(lead: float = 0, sharpness: float = 50, **fields) -> mvit.model.mvit.MViT:
    """The smallest model, with a head that tells clips apart, or, with a lead of 30, surely says the first class.

    With a sharpness of 1 it is as it starts.
    """
    torch.manual_seed(1)
    model = mvit.create_model("mvit_test_4x32", num_classes=len(CLASSES), **fields)
    with torch.no_grad():
        model.head.weight *= sharpness
        model.head.bias[0] += lead
    return model.eval()


def write_run(folder: Path, videos: Path | None = None, lead: float = 0, sharpness: float = 50, **changes) -> Path:
    """The run; of each class in ``videos`` it has learned from the first and held out the others."""
    model = small(lead, sharpness)
    description = {
        "config": model.config.to_dict(),
        "classes": CLASSES,
        "preprocessing": PREPROCESSING.to_dict(),
        "views": [3, 1],
        "protocol": describe(PREPROCESSING, 3, 1),
    }
    weights.write(folder, model.state_dict(), description | changes)
    if videos is not None:
        rows = [
            f"{path},{path.parent.name},{'train' if path.stem == '0' else 'val'}"
            for path in sorted(videos.glob("*/*.mp4"))
        ]
        (folder / "split.csv").write_text("\n".join(["path,label,split", *rows]) + "\n")
    return folder
