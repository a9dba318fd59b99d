"""Tiny real videos of light that goes up, goes down or stays, and a classifier that can tell them only by order."""

from pathlib import Path

import numpy as np
import pytest

from mvit.data import video
from mvit.data.dataset import Sample
from mvit.data.sampling import ClipSampling
from mvit.data.views import Preprocessing

CLASSES = ("light_down", "light_up", "steady")
LEVELS = {"light_up": np.linspace(40, 200, 12), "light_down": np.linspace(200, 40, 12), "steady": np.full(12, 120.0)}


@pytest.fixture
def preprocessing() -> Preprocessing:
    return Preprocessing(sampling=ClipSampling(frames=8, mode="segments"), short_side=32, crop=32)


@pytest.fixture(scope="session")
def samples(tmp_path_factory) -> list[Sample]:
    """Two videos a class, the classes mixed."""
    folder = tmp_path_factory.mktemp("light")
    return [_sample(folder / f"{number}-{name}.mp4", name, number) for number in (0, 1) for name in CLASSES]


def _sample(path: Path, label: str, number: int) -> Sample:
    frames = np.empty((12, 32, 40, 3), dtype=np.uint8)
    frames[:] = (LEVELS[label] + 10 * number)[:, None, None, None]
    video.write(path, frames)
    return Sample(path, label)


@pytest.fixture
def broken(tmp_path) -> Sample:
    path = tmp_path / "broken.mp4"
    path.write_text("this is no video")
    return Sample(path, "steady")


@pytest.fixture
def predict():
    """Compares the first frame with the last: right for every clip in order, blind to what lies between."""

    def classify(clips: np.ndarray) -> np.ndarray:
        assert clips.dtype == np.float32
        rise = clips[:, :, -1].mean(axis=(1, 2, 3)) - clips[:, :, 0].mean(axis=(1, 2, 3))
        return np.stack([-3 * rise, 3 * rise, np.full_like(rise, 0.5)], axis=1)

    return classify
