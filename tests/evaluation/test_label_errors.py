"""Wrong labels are found by hand's reckoning, and among those of the demo set."""

import numpy as np
import pytest

from mvit.data import demo
from mvit.evaluation.label_errors import Suspect, class_thresholds, suspects
from mvit.evaluation.metrics import softmax


def test_suspects_by_hand():
    scores = np.array(
        [
            [0.9, 0.1, 0.0],  # 0: its own
            [0.5, 0.4, 0.1],  # 0: its own, though it stays below the threshold of 0
            [0.1, 0.9, 0.0],  # 0, but surely 1
            [0.2, 0.7, 0.1],  # 1: its own
            [0.6, 0.4, 0.0],  # 1, but 0 reaches its threshold and 1 does not
            [0.1, 0.2, 0.7],  # 1; that it is 2 is sure, but no video is labelled 2, so no threshold is known
        ]
    )
    labels = np.array([0, 0, 0, 1, 1, 1])
    np.testing.assert_allclose(class_thresholds(scores, labels), [1.5 / 3, 1.3 / 3, np.inf])
    found = suspects(scores, labels)
    assert [(each.place, each.suggested) for each in found] == [(2, 1), (4, 0)]
    assert [each.margin for each in found] == pytest.approx([-0.8, -0.2])


def test_a_class_of_which_the_model_is_unsure_throughout_needs_less():
    """A score of 0.45 for class 1 is low, and yet more than its own videos have."""
    scores = np.array([[0.95, 0.05], [0.97, 0.03], [0.55, 0.45], [0.6, 0.4], [0.62, 0.38]])
    assert suspects(scores, np.array([0, 0, 0, 1, 1])) == []  # 0.55 is the higher score, and is that of its label
    scores[2] = 0.45, 0.55
    (found,) = suspects(scores, np.array([0, 0, 0, 1, 1]))
    assert found == Suspect(2, 1, pytest.approx(-0.1))


@pytest.mark.parametrize("classes", [1, 2])
def test_where_all_is_right_nothing_is_suspected(classes):
    labels = np.arange(6) % classes
    assert suspects(np.full((6, classes), 0.1) + 0.8 * np.eye(classes)[labels], labels) == []


def test_equal_scores_suspect_nothing():
    assert suspects(np.full((5, 4), 0.25), np.array([0, 1, 2, 3, 3])) == []


def motion(clip: np.ndarray) -> list[float]:
    """How the bright shape of a demo clip moves to the right and down, grows and turns; uint8 (T, H, W, 3)."""
    grey = clip.mean(axis=-1) / 255
    mask = grey > 0.5
    size = grey.shape[1]
    axis = np.arange(size)
    angle = 2 * np.pi * axis / size
    steps = []
    for sums in (mask.sum(axis=1), mask.sum(axis=2)):  # over a frame that is a torus
        phase = np.angle(sums @ np.exp(1j * angle))
        steps.append(np.median(np.angle(np.exp(1j * np.diff(phase)))))
    area = mask.mean(axis=(1, 2))
    growth = np.median(np.diff(np.log(area + 1e-3)))
    down, right = np.gradient(grey, axis=(1, 2))
    weight = mask / np.maximum(mask.sum(axis=(1, 2), keepdims=True), 1)
    x, y = ((weight * place).sum(axis=(1, 2), keepdims=True) for place in (axis[None, None, :], axis[None, :, None]))
    swirl = ((axis[None, None, :] - x) * down - (axis[None, :, None] - y) * right) * mask
    change = np.diff(grey, axis=0)
    between = (swirl[1:] + swirl[:-1]) / 2
    turn = -(change * between).sum(axis=(1, 2)) / ((between**2).sum(axis=(1, 2)) + 1e-3)
    return [*(float(step) for step in steps), float(growth), float(np.median(turn))]


def clips(part: bool, each: int) -> tuple[np.ndarray, np.ndarray]:
    features, labels = [], []
    for label, name in enumerate(demo.CLASSES):
        for number in range(each):
            rng = np.random.default_rng((11, part, label, number))
            features.append(motion(demo.render(name, rng, unseen=part, size=32, frames=10)))
            labels.append(label)
    return np.array(features), np.array(labels)


def flipped(labels: np.ndarray, seed: int) -> np.ndarray:
    """5 % of labels turned into another one."""
    rng = np.random.default_rng(seed)
    chosen = rng.choice(len(labels), len(labels) // 20, replace=False)
    given = labels.copy()
    given[chosen] = (given[chosen] + rng.integers(1, 8, len(chosen))) % 8
    return given


def test_labels_flipped_in_the_demo_set_are_found():
    """A small model of motion learns from clips of which 5 % are mislabelled, and judges the labels of others."""
    (seen, true), (held_out, held_out_true) = clips(False, 30), clips(True, 50)
    learned = flipped(true, 0)
    scale = np.abs(seen).mean(axis=0)
    squashed = [np.tanh(part / scale / 2) for part in (seen, held_out)]
    inputs, judged = (np.concatenate([part, part**2, np.ones((len(part), 1))], axis=1) for part in squashed)
    weights = np.zeros((inputs.shape[1], 8))
    for _ in range(2000):
        weights -= 1.0 * inputs.T @ (softmax(inputs @ weights) - np.eye(8)[learned]) / len(inputs)
    scores = softmax(judged @ weights)
    assert (scores.argmax(axis=1) == held_out_true).mean() > 0.85
    given = flipped(held_out_true, 1)
    wrong = set(np.flatnonzero(given != held_out_true).tolist())
    assert len(wrong) == 20
    listed = [suspect.place for suspect in suspects(scores, given)]
    hits = [place in wrong for place in listed]
    assert sum(hits) >= 0.8 * len(wrong)
    assert sum(hits) >= 0.5 * len(listed)
