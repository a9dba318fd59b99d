"""Average precision against tables worked out by hand and against scikit-learn, and how far its interval reaches."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mvit.evaluation.metrics import Ranking, bootstrap, sigmoid


def ranked(scores: list[float], labels: list[int]) -> float:
    return float(Ranking(np.array(scores)[:, None], np.array(labels, dtype=bool)[:, None]).average_precision()[0])


def drawn(
    videos: int, classes: int, seed: int, levels: int = 1000, share: float = 0.3
) -> tuple[np.ndarray, np.ndarray]:
    """Scores of so many levels, a little higher for the classes that a video is of."""
    rng = np.random.default_rng(seed)
    labels = rng.random((videos, classes)) < share
    return rng.integers(0, levels, (videos, classes)) / levels + 0.3 * labels, labels


def test_sigmoid_by_hand_and_for_huge_logits():
    np.testing.assert_allclose(sigmoid(np.log([1.0, 3.0, 1 / 3])), [0.5, 0.75, 0.25])
    np.testing.assert_allclose(sigmoid(np.array([1e4, -1e4], dtype=np.float32)), [1.0, 0.0])
    assert sigmoid(np.zeros(2, dtype=np.float32)).dtype == np.float64


@pytest.mark.parametrize(
    ("scores", "labels", "expected"),
    [
        ([0.9, 0.8, 0.7, 0.6], [1, 0, 1, 0], (1 + 2 / 3) / 2),
        ([0.6, 0.9, 0.7, 0.8], [0, 1, 1, 0], (1 + 2 / 3) / 2),  # the same in another order
        ([0.9, 0.8, 0.7, 0.6], [0, 0, 0, 1], 1 / 4),
        ([0.9, 0.8], [1, 1], 1.0),
        ([0.9, 0.5, 0.5, 0.5], [0, 1, 0, 1], 2 / 4),  # three equal ones: both are found among four
        ([0.9, 0.5, 0.5, 0.1], [1, 0, 1, 1], (1 + 2 / 3 + 3 / 4) / 3),
        ([0.5] * 5, [0, 0, 1, 0, 1], 2 / 5),  # equal scores: the share of videos that are of the class
        ([0.3], [1], 1.0),
    ],
)
def test_average_precision_by_hand(scores, labels, expected):
    assert ranked(scores, labels) == pytest.approx(expected, abs=1e-15)


def test_a_class_of_no_video_has_none_and_leaves_the_others_alone():
    scores, labels = drawn(20, 4, seed=0)
    labels[:, 2] = False
    figures = Ranking(scores, labels).average_precision()
    assert np.isnan(figures).tolist() == [False, False, True, False]
    rest = Ranking(scores[:, [0, 1, 3]], labels[:, [0, 1, 3]])
    assert (figures[[0, 1, 3]] == rest.average_precision()).all()
    low, high = rest.interval(resamples=50)
    assert Ranking(scores, labels).interval(resamples=50) == pytest.approx((low, high))


@given(st.integers(1, 30), st.integers(1, 4), st.integers(1, 6), st.integers(0, 10_000))
def test_a_weight_is_a_repetition_and_the_order_listed_is_none(videos, classes, levels, seed):
    scores, labels = drawn(videos, classes, seed, levels)
    weights = np.random.default_rng(seed).integers(0, 4, videos)
    repeated = np.random.default_rng(seed).permutation(np.repeat(np.arange(videos), weights))
    figures = Ranking(scores, labels).average_precision(weights)
    if len(repeated):
        np.testing.assert_allclose(figures, Ranking(scores[repeated], labels[repeated]).average_precision())
    else:
        assert np.isnan(figures).all()


@pytest.mark.parametrize("levels", [3, 10**6])
def test_average_precision_is_scikit_learns(library, levels):
    sklearn = library("sklearn.metrics", "peers")
    scores, labels = drawn(150, 12, seed=1, levels=levels)
    weights = np.random.default_rng(2).integers(1, 4, 150)
    ours = Ranking(scores, labels)
    for given_weights in (None, weights):
        theirs = sklearn.average_precision_score(labels, scores, average=None, sample_weight=given_weights)
        np.testing.assert_allclose(ours.average_precision(given_weights), theirs, rtol=1e-12)
    macro = sklearn.average_precision_score(labels, scores, average="macro")
    assert np.nanmean(ours.average_precision()) == pytest.approx(macro, rel=1e-12)


def test_the_interval_holds_the_figure_and_narrows_with_the_videos():
    widths = []
    for videos in (50, 200, 800):
        ranking = Ranking(*drawn(videos, 6, seed=videos, share=0.1))
        low, high = ranking.interval(resamples=200)
        assert 0 <= low < np.nanmean(ranking.average_precision()) < high <= 1
        assert (low, high) == ranking.interval(resamples=200)
        assert (low, high) != ranking.interval(resamples=200, seed=1)
        widths.append(high - low)
    assert widths[0] > 1.5 * widths[1] > 2 * widths[2]


def test_the_interval_lies_around_the_figure_of_rare_classes_too():
    """Videos drawn twice raise the mean: the plain percentiles are 0.241 and 0.304, and the figure is 0.236."""
    rng = np.random.default_rng(0)
    labels = rng.random((300, 100)) < 0.02
    ranking = Ranking(rng.normal(size=labels.shape) + 1.5 * labels, labels)
    low, high = ranking.interval(resamples=100)
    assert (low + high) / 2 == pytest.approx(np.nanmean(ranking.average_precision()), abs=0.005)
    assert high - low == pytest.approx(0.063, abs=0.01)


def test_the_interval_covers_what_other_sets_of_this_size_give():
    expected = np.mean([np.nanmean(Ranking(*drawn(80, 8, n, share=0.06)).average_precision()) for n in range(400)])
    intervals = [Ranking(*drawn(80, 8, 1000 + n, share=0.06)).interval(resamples=100) for n in range(60)]
    assert 0.85 < np.mean([low <= expected <= high for low, high in intervals]) < 1


def test_a_perfect_order_is_a_point():
    labels = np.eye(5, dtype=bool)
    assert Ranking(labels * 1.0, labels).interval(resamples=20) == (1.0, 1.0)


def test_units_are_drawn_whole():
    values, repeated = np.random.default_rng(0).random(12), np.random.default_rng(0).random(12).repeat(5)

    def mean_of(those: np.ndarray):
        return lambda weights: [float((weights * those).sum() / weights.sum())]

    (alone,) = bootstrap(mean_of(values), 12)
    (grouped,) = bootstrap(mean_of(repeated), 60, units=np.arange(12).repeat(5))
    (apart,) = bootstrap(mean_of(repeated), 60)
    assert grouped == pytest.approx(alone)
    assert apart[1] - apart[0] < 0.6 * (alone[1] - alone[0])
