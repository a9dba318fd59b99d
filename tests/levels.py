"""Videos that brightness alone tells apart, in train/ and val/."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from mvit.data import video


def write_levels(
    folder: Path, levels: Mapping[str, int], counts: Mapping[str, int], *, noise: float = 40, seed: int = 0
) -> Path:
    """8 frames of 40x32 about a level for each class, so many in each part; gives the folder."""
    rng = np.random.default_rng(seed)
    for part, count in counts.items():
        for label, level in levels.items():
            (folder / part / label).mkdir(parents=True)
            for index in range(count):
                frames = np.clip(level + rng.normal(0, noise, (8, 32, 40, 3)), 0, 255).astype(np.uint8)
                video.write(folder / part / label / f"{index}.mp4", frames)
    return folder
