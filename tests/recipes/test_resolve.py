"""What follows from the size of the data, by tables."""

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mvit.recipes import recipe, resolve
from mvit.recipes.resolve import WAYS
from mvit.training import optim


@pytest.mark.parametrize(
    ("videos", "batch", "scratch", "finetune"),
    [
        (1, 8, 300, 100),
        (100, 8, 300, 100),
        (660, 8, 152, 45),
        (1_023, 8, 98, 29),
        (1_024, 16, 98, 29),
        (2_070, 16, 48, 14),
        (10_000, 16, 30, 10),
        (240_000, 16, 30, 10),
    ],
)
def test_batch_and_epochs_follow_from_the_number_of_videos(videos: int, batch: int, scratch: int, finetune: int):
    assert resolve.batch(videos) == batch
    assert resolve.epochs(WAYS["scratch"], videos) == scratch
    assert resolve.epochs(WAYS["finetune"], videos) == finetune


@pytest.mark.parametrize(
    ("kind", "width", "batch", "lr", "peak"),
    [
        ("scratch", 256, 16, 1e-3, 1e-3),
        ("scratch", 256, 8, 1e-3, 5e-4),
        ("scratch", 256, 32, 8e-4, 1.6e-3),
        ("scratch", 768, 16, 3.33e-4, 3.33e-4),
        ("scratch", 768, 512, 5e-5, 1.6e-3),
        ("finetune", 768, 32, 3.33e-4, 6.66e-4),
        ("finetune", 768, 8, 3.33e-4, 1.665e-4),
        ("finetune", 768, 256, 6.25e-5, 1e-3),
        ("finetune", 256, 8, 1e-3, 5e-4),
    ],
)
def test_the_learning_rate_follows_from_batch_and_width(kind: Any, width: int, batch: int, lr: float, peak: float):
    values = {key: entry.value for key, entry in resolve.settings(kind, 1_000, width, {"train.batch": batch}).items()}
    assert values["optim.lr"] == lr
    schedule = optim.schedule(recipe.make(values | {"train.batch": batch}), steps_per_epoch=100)
    assert schedule.peak == pytest.approx(peak, rel=1e-3)


@pytest.mark.parametrize(
    ("steps", "decay"), [(1, None), (249, None), (250, 0.9), (1_000, 0.975), (10_000, 0.9975), (10**7, 0.9999)]
)
def test_the_average_reaches_over_the_same_share_of_any_run(steps: int, decay: float | None):
    assert resolve.ema_decay(steps) == decay


PAPER = {"augment.randaugment": "rand-m7-n4-mstd0.5-inc1", "augment.erasing": 0.25}


@pytest.mark.parametrize(
    ("videos", "expected"),
    [
        (4_999, {"augment.scale": (0.5, 1.0), "augment.brightness": 0.2, "augment.contrast": 0.2}),
        (5_000, {"augment.scale": (0.3, 1.0)} | PAPER),
        (49_999, {"augment.scale": (0.3, 1.0)} | PAPER),
        (50_000, {"augment.scale": (0.08, 1.0), "optim.mixup": 0.8, "optim.cutmix": 1.0} | PAPER),
    ],
)
def test_few_videos_are_varied_less(videos: int, expected: dict[str, Any]):
    assert resolve.augmentation(videos, "dense") == expected
    parts = {"augment.duration": (0.8, 1.0)} if videos < 5_000 else {}
    assert resolve.augmentation(videos, "segments") == expected | parts


def test_each_recipe_without_a_file_is_a_way():
    assert set(recipe.BY_DATA) == set(WAYS)
    assert recipe.path_of(None) is recipe.path_of("scratch") is recipe.path_of("finetune") is None


def test_what_is_given_is_not_resolved_and_the_rest_follows_from_it():
    given = {"train.epochs": 10, "train.batch": 4, "augment.copies": 2, "optim.lr": 1e-4, "augment.scale": (0.9, 1.0)}
    found = resolve.settings("scratch", 660, 256, given)
    assert not set(found) & set(given)
    assert found["train.evaluate_every"] == found["train.checkpoint_every"]
    assert found["train.evaluate_every"].value == 1
    assert found["optim.ema_decay"].reason == "3,300 steps"
    assert found["optim.ema_decay"].value == round(1 - 25 / 3300, 4)


@pytest.mark.parametrize("kind", ["scratch", "finetune"])
def test_a_rate_that_was_resolved_is_the_same_when_it_is_given(kind: Any):
    def peak(**known: float) -> float:
        given = {key.replace("_", ".", 1): value for key, value in known.items()}
        values = {key: entry.value for key, entry in resolve.settings(kind, 2_070, 512, given).items()}
        return optim.schedule(recipe.make(values | given), steps_per_epoch=100).peak

    assert peak() == peak(optim_lr=5e-4)
    assert peak(optim_lr=5e-4, optim_reference_batch=8) == 2 * peak()


@given(
    st.sampled_from(["scratch", "finetune"]),
    st.integers(1, 10**7),
    st.integers(16, 2048),
    st.fixed_dictionaries(
        {},
        optional={
            "train.batch": st.integers(1, 8192),
            "train.epochs": st.integers(1, 1000),
            "data.sampling": st.sampled_from(["dense", "segments"]),
        },
    ),
)
def test_every_size_gives_a_recipe_and_no_rate_above_the_highest(
    kind: Any, videos: int, width: int, known: dict[str, Any]
):
    values = {key: entry.value for key, entry in resolve.settings(kind, videos, width, known).items()}
    whole = recipe.make(values | known)
    schedule = optim.schedule(whole, steps_per_epoch=-(-videos // whole.train.batch))
    assert 0 < schedule.peak <= WAYS[kind].highest_lr * 1.01
    assert 0 <= schedule.warmup_steps < schedule.steps
    assert whole.train.evaluate_every <= whole.train.epochs


def test_few_videos_without_weights_are_warned_of():
    (remark,) = resolve.remarks(999, "")
    assert re.match("999 videos are few for a model that starts from scratch", remark)
    assert resolve.remarks(1_000, "") == resolve.remarks(5, "k400") == []


def test_images_that_are_shown_as_clips_are_warned_of():
    (remark,) = resolve.repeated("images", 8)
    assert remark.startswith("every image is shown as a clip of 8 frames that are all alike")
    assert resolve.repeated("images", 1) == resolve.repeated("videos", 8) == []


@pytest.mark.parametrize(
    ("videos", "ranks", "copies", "batch"),
    [
        (2070, 1, 1, 16),
        (2070, 3, 1, 18),
        (2070, 32, 1, 32),
        (300, 3, 1, 9),
        (300, 3, 2, 12),
        (7, 2, 1, 6),
        (2, 4, 1, 4),
    ],
)
def test_processes_divide_the_batch_equally_and_the_rate_follows(videos: int, ranks: int, copies: int, batch: int):
    given = {"augment.copies": copies, "optim.reference_batch": 16} if copies > 1 else {}
    found = resolve.settings("scratch", videos, 512, given, ranks=ranks)
    assert found["train.batch"].value == batch
    unasked = resolve.batch(videos)
    if batch != unasked:
        assert found["train.batch"].reason.startswith(f"{videos:,} videos, for {ranks} processes")
    steps = found["train.epochs"].value * -(-videos * copies // batch)
    assert found["optim.ema_decay"].reason == f"{steps:,} steps"
    assert "train.batch" not in resolve.settings("scratch", videos, 512, {"train.batch": 7}, ranks=ranks)


def test_the_rate_of_a_batch_that_processes_made_larger_stays_below_the_highest():
    alone, many = (resolve.settings("scratch", 2070, 256, {}, ranks=ranks) for ranks in (1, 32))
    assert alone["optim.lr"].value == 1e-3
    assert many["optim.lr"].value * many["train.batch"].value / 16 == pytest.approx(1.6e-3)
