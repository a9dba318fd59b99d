"""Metrics against tables worked out by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mvit.evaluation.metrics import confusion, in_top_k, mean_class, paired_difference, per_class, softmax, wilson

SCORES = np.array([[0.5, 0.3, 0.2], [0.2, 0.3, 0.5], [0.4, 0.4, 0.2], [0.4, 0.4, 0.2], [1.0, 0.0, 0.0]])
LABELS = np.array([0, 1, 0, 1, 2])


def test_softmax_by_hand_and_for_huge_logits():
    np.testing.assert_allclose(softmax(np.log([[1.0, 2.0, 5.0]])), [[0.125, 0.25, 0.625]])
    np.testing.assert_allclose(softmax(np.array([1000.0, 1000.0], dtype=np.float32)), [0.5, 0.5])
    assert softmax(np.zeros(3, dtype=np.float32)).dtype == np.float64


@pytest.mark.parametrize(
    ("k", "expected"),
    [
        (1, [True, False, True, False, False]),  # the fourth is a tie that the first class wins
        (2, [True, True, True, True, False]),  # the fifth is a tie of the last two classes, won by class 1
        (3, [True] * 5),
    ],
)
def test_in_top_k_breaks_ties_as_argmax_does(k, expected):
    assert in_top_k(SCORES, LABELS, k).tolist() == expected


def test_in_top_k_of_one_class():
    assert in_top_k(np.ones((3, 1)), np.zeros(3, dtype=np.int64), 1).all()


@given(st.integers(1, 8), st.integers(1, 6), st.integers(0, 100))
def test_the_k_highest_hold_k_classes_for_any_scores(classes, k, seed):
    scores = np.random.default_rng(seed).integers(0, 3, classes).astype(float)[None].repeat(classes, axis=0)
    assert in_top_k(scores, np.arange(classes), min(k, classes)).sum() == min(k, classes)


def test_confusion_has_a_row_for_each_true_class():
    matrix = confusion(np.array([0, 0, 0, 1, 2]), np.array([0, 0, 1, 1, 0]), 4)
    assert matrix.tolist() == [[2, 1, 0, 0], [0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0]]


def test_per_class_by_hand():
    first, second, third, fourth = per_class(np.array([[2, 1, 0, 0], [0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0]]))
    assert (first["precision"], first["recall"], first["f1"], first["support"]) == (2 / 3, 2 / 3, 4 / 6, 3)
    assert (second["precision"], second["recall"], second["f1"], second["support"]) == (1 / 2, 1.0, 2 / 3, 1)
    assert (third["precision"], third["recall"], third["f1"], third["support"]) == (None, 0.0, 0.0, 1)
    assert (fourth["precision"], fourth["recall"], fourth["f1"], fourth["support"]) == (None, None, None, 0)
    assert fourth["recall_interval"] is None
    assert second["recall_interval"] == wilson(1, 1)


def test_mean_class_leaves_out_classes_without_videos():
    assert mean_class(np.array([[9, 1, 0], [1, 1, 0], [0, 0, 0]])) == pytest.approx((0.9 + 0.5) / 2)


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    [
        (81, 263, 0.2553, 0.3662),  # Newcombe (1998), table I, Wilson without continuity correction
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
        (29, 29, 0.8830, 1.0),
    ],
)
def test_wilson_against_published_intervals(successes, n, low, high):
    assert wilson(successes, n) == pytest.approx((low, high), abs=5e-5)


def test_wilson_of_nothing_is_everything():
    assert wilson(0, 0) == (0.0, 1.0)


def test_paired_difference_by_hand():
    # 10 videos: 4 right only in order, 1 right only otherwise; Agresti and Min: (4.5 - 1.5) / 12 = 0.25 and
    # variance ((4.5 + 1.5) / 12 - 0.25^2) / 12 = 0.0364583, half-width 1.95996 * 0.1909407 = 0.374237
    first = np.array([1, 1, 1, 1, 0, 1, 1, 1, 0, 0])
    second = np.array([0, 0, 0, 0, 1, 1, 1, 1, 0, 0])
    assert paired_difference(first, second) == pytest.approx((0.25 - 0.374237, 0.25 + 0.374237), abs=1e-6)


def test_paired_difference_is_no_point_when_all_agree():
    low, high = paired_difference(np.ones(50), np.ones(50))
    assert low == pytest.approx(-high)
    assert 0.01 < high < 0.1


def test_metrics_agree_with_scikit_learn(library):
    sklearn = library("sklearn.metrics", "peers")
    rng = np.random.default_rng(0)
    labels = np.concatenate([np.arange(7), rng.integers(0, 7, 200)])
    scores = softmax(rng.normal(size=(207, 7)) + 2 * np.eye(7)[labels])
    predictions = scores.argmax(axis=1)
    matrix = confusion(labels, predictions, 7)
    assert (matrix == sklearn.confusion_matrix(labels, predictions)).all()
    precision, recall, f1, support = sklearn.precision_recall_fscore_support(labels, predictions)
    ours = per_class(matrix)
    np.testing.assert_allclose([figure["precision"] for figure in ours], precision)
    np.testing.assert_allclose([figure["recall"] for figure in ours], recall)
    np.testing.assert_allclose([figure["f1"] for figure in ours], f1)
    assert [figure["support"] for figure in ours] == support.tolist()
    assert mean_class(matrix) == pytest.approx(sklearn.balanced_accuracy_score(labels, predictions))
    for k in (1, 3, 5):
        expected = sklearn.top_k_accuracy_score(labels, scores, k=k)
        assert in_top_k(scores, labels, k).mean() == pytest.approx(expected)
