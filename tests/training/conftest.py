"""A folder of small real videos whose classes differ in brightness, and a recipe that learns them in seconds."""

from pathlib import Path

import pytest

from levels import write_levels
from mvit.data.dataset import Listing, find
from mvit.recipes.recipe import Recipe, load
from mvit.training import loop

TINY = (
    "model.name=mvit_test_4x32",
    "model.head_dropout=0.3",
    "model.drop_path=0.2",
    "data.views=[2, 1]",
    "augment.scale=[0.5, 1.0]",
    "optim.lr=8e-3",
    "optim.ema_decay=0.9",
    "optim.mixup=0.2",
    "optim.cutmix=1.0",
    "optim.cutmix_odds=0.3",
    "train.epochs=4",
    "train.batch=8",
    "train.workers=0",
    "train.device=cpu",
    "train.precision=float32",
)


@pytest.fixture(scope="session")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """train/ and val/ with the classes bright, dark and middle: 6 and 2 videos each, 8 frames of 40x32."""
    levels = {"bright": 200, "dark": 50, "middle": 125}
    return write_levels(tmp_path_factory.mktemp("videos"), levels, {"train": 6, "val": 2}, noise=25)


@pytest.fixture(scope="session")
def listing(videos: Path) -> Listing:
    return find(videos)


@pytest.fixture(scope="session")
def recipe() -> Recipe:
    """Everything random that a step can hold is on: dropout, dropped paths, mixup, cutmix; and weights are averaged."""
    return load(None, TINY)


@pytest.fixture(scope="session")
def said() -> list[str]:
    """What the undisturbed run said."""
    return []


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory, recipe: Recipe, listing: Listing, said: list[str]) -> Path:
    """A run of four epochs that nothing disturbed."""
    return loop.train(recipe, listing, tmp_path_factory.mktemp("runs") / "run", echo=said.append)
