"""Mixup and cutmix against timm's arithmetic, on clips; draws follow from their key alone."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from mvit.recipes.sections import OptimRecipe
from mvit.training import mixing
from mvit.training.mixing import UNMIXED, Mix, cut, draw, loss, mixed, right, targets

PAPER = OptimRecipe(mixup=0.8, cutmix=1.0)


def clips(count: int = 4, frames: int = 3, height: int = 20, width: int = 28) -> torch.Tensor:
    return torch.randn(count, 3, frames, height, width, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("size", [(224, 224), (20, 28), (7, 1)])
@pytest.mark.parametrize("share", [0.0, 0.13, 0.5, 0.97])
def test_boxes_and_shares_are_timms(library, monkeypatch, size, share):
    theirs = library("timm.data.mixup", "peers")
    height, width = size
    for y, x in ((0, 0), (height // 2, width // 3), (height - 1, width - 1)):
        points = iter((y, x))
        monkeypatch.setattr(theirs.np.random, "randint", lambda *_, points=points, **__: next(points))
        expected, kept = theirs.cutmix_bbox_and_lam((1, 3, height, width), share)
        top, bottom, left, right = cut(height, width, share, y, x)
        assert (top, bottom, left, right) == tuple(int(edge) for edge in expected)
        assert 1.0 - (bottom - top) * (right - left) / float(height * width) == kept


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("share", [1.0, 0.3])
def test_targets_and_loss_are_timms(library, smoothing, share):
    timm = library("timm.data.mixup", "peers")
    entropy = library("timm.loss", "peers").SoftTargetCrossEntropy()
    labels, logits, mix = torch.tensor([0, 4, 2, 2, 1]), torch.randn(5, 6), Mix(share)
    expected = timm.mixup_target(labels, 6, share, smoothing)
    torch.testing.assert_close(targets(labels, labels.flip(0), 6, mix, smoothing), expected, rtol=0, atol=1e-7)
    torch.testing.assert_close(loss(logits, labels, labels.flip(0), mix, smoothing), entropy(logits, expected))


@pytest.mark.parametrize("mix", [Mix(0.3), Mix(0.8, (3, 9, 5, 20)), Mix(1 - 1e-9), Mix(0.0, (0, 20, 0, 28))])
def test_pixels_are_timms_frame_by_frame(library, monkeypatch, mix):
    theirs = library("timm.data.mixup", "peers")
    frames = clips()
    ours = mixed(frames, frames.flip(0), mix)
    mixer = theirs.Mixup(mixup_alpha=0.8, cutmix_alpha=1.0, num_classes=6)
    monkeypatch.setattr(mixer, "_params_per_batch", lambda: (mix.share, mix.box is not None))
    monkeypatch.setattr(theirs, "cutmix_bbox_and_lam", lambda *_, **__: (mix.box, mix.share))
    for frame in range(frames.shape[2]):
        expected, _ = mixer(frames[:, :, frame].clone(), torch.zeros(4, dtype=torch.int64))
        torch.testing.assert_close(ours[:, :, frame], expected)


def test_nothing_is_mixed_in_place_and_what_is_unmixed_is_itself():
    frames = clips()
    before = frames.clone()
    for mix in (Mix(0.4), Mix(0.9, (0, 5, 0, 5))):
        assert not torch.equal(mixed(frames, frames.flip(0), mix), frames)
    assert torch.equal(frames, before)
    assert mixed(frames, frames.flip(0), UNMIXED) is frames
    labels, logits = torch.tensor([0, 1, 2, 0]), torch.randn(4, 3)
    assert loss(logits, labels, labels.flip(0), UNMIXED, 0.1) == F.cross_entropy(logits, labels, label_smoothing=0.1)


@pytest.mark.parametrize("count", [1, 3])
def test_the_middle_clip_of_an_odd_batch_stays_itself(count):
    frames, middle = clips(count), count // 2
    for mix in (Mix(0.4), Mix(0.9, (0, 5, 0, 5))):
        torch.testing.assert_close(mixed(frames, frames.flip(0), mix)[middle], frames[middle])


def test_draws_follow_from_their_key():
    keys = [(seed, epoch, batch) for seed in (0, 2**40) for epoch in range(3) for batch in range(5)]
    draws = [draw(PAPER, 224, 224, key) for key in keys]
    np.random.seed(3)  # noqa: NPY002 (the global generators must not matter)
    torch.manual_seed(3)
    assert [draw(PAPER, 224, 224, key) for key in keys] == draws
    assert len(set(draws)) == len(keys)
    assert draw(OptimRecipe(), 224, 224, (0, 0, 0)) is UNMIXED


def test_draws_are_spread_as_said():
    draws = [draw(PAPER, 224, 224, (0, 0, batch)) for batch in range(3000)]
    boxes = [mix for mix in draws if mix.box]
    assert len(boxes) == pytest.approx(1500, abs=100)
    shares = np.array([mix.share for mix in draws if not mix.box])
    assert shares.mean() == pytest.approx(0.5, abs=0.03)
    assert shares.var() == pytest.approx(1 / (4 * (2 * 0.8 + 1)), abs=0.01)
    for mix in boxes:
        top, bottom, left, right = mix.box
        assert 0 <= top <= bottom <= 224
        assert mix.share == 1 - (bottom - top) * (right - left) / 224**2
    only = [draw(OptimRecipe(cutmix=1.0), 32, 32, (0, 0, batch)) for batch in range(50)]
    assert all(mix.box for mix in only)
    assert not any(draw(OptimRecipe(mixup=1.0), 32, 32, (0, 0, batch)).box for batch in range(50))
    rare = [draw(OptimRecipe(mixup=1.0, cutmix=1.0, cutmix_odds=0.1), 32, 32, (0, 0, batch)) for batch in range(1000)]
    assert sum(mix.box is not None for mix in rare) == pytest.approx(100, abs=40)


def test_a_samples_own_draws_are_apart(monkeypatch):
    keys = []
    original = np.random.default_rng
    monkeypatch.setattr(mixing.np.random, "default_rng", lambda key: keys.append(key) or original(key))
    draw(PAPER, 8, 8, (1, 2, 3))
    assert original(keys[0]).random() not in [original((1, 2, 3, *copy)).random() for copy in ((), (0,), (1,))]


# ---- several labels a clip -------------------------------------------------------------------------------------------

HOT = torch.tensor([[1, 0, 1, 0], [0, 0, 0, 0], [1, 1, 1, 1], [0, 0, 0, 1.0]])


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_the_loss_of_several_labels_is_timms(library, smoothing):
    theirs = library("timm.loss", "peers").BinaryCrossEntropy(smoothing=smoothing, smooth_dense=True)
    logits = torch.randn(4, 4)
    torch.testing.assert_close(loss(logits, HOT, HOT.flip(0), UNMIXED, smoothing), theirs(logits, HOT))


def test_targets_of_several_labels_by_hand():
    smooth = targets(HOT, HOT.flip(0), 4, UNMIXED, 0.2)
    torch.testing.assert_close(smooth, HOT * 0.8 + 0.1)
    mixed_labels = targets(HOT, HOT.flip(0), 4, Mix(0.7), 0.2)
    assert mixed_labels[0].tolist() == pytest.approx(
        [0.7 * 0.9 + 0.3 * 0.1, 0.1, 0.7 * 0.9 + 0.3 * 0.1, 0.3 * 0.9 + 0.07]
    )
    torch.testing.assert_close(mixed_labels[3], 0.7 * smooth[3] + 0.3 * smooth[0])
    assert loss(torch.zeros(4, 4), HOT, HOT.flip(0), Mix(0.7), 0.2).item() == pytest.approx(np.log(2))


def test_of_several_labels_any_is_right():
    logits = torch.tensor([[0.0, 1, 0, 0], [9, 0, 0, 0], [0, 0, 2, 0], [0, 0, 0, 1]])
    assert right(logits, HOT) == 2
    assert right(logits, torch.tensor([1, 0, 0, 3])) == 3
