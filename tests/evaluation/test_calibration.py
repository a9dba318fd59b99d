"""Calibration against figures worked out by hand, and thresholds that hold on videos they were not chosen on."""

import numpy as np
import pytest

from mvit.evaluation import calibration as it
from mvit.evaluation.metrics import wilson


def alone(videos: int) -> np.ndarray:
    return np.arange(videos)


@pytest.mark.parametrize(
    ("confidence", "bin_of_15"), [(0.0, 0), (1 / 15, 0), (0.0667, 1), (0.6, 8), (0.60001, 9), (14 / 15, 13), (1.0, 14)]
)
def test_a_bin_holds_its_upper_edge(confidence, bin_of_15):
    assert it.equal_width(np.array([confidence])).tolist() == [bin_of_15]


def test_adaptive_bins_hold_as_many_and_keep_equals_together():
    assert np.bincount(it.adaptive(np.linspace(0.1, 1, 60))).tolist() == [4] * 15
    assert it.adaptive(np.array([0.5, 0.9, 0.5, 0.5]), bins=4).tolist() == [0, 3, 0, 0]
    assert it.adaptive(np.array([0.5])).tolist() == [0]


def test_calibration_error_by_hand():
    # One bin of two answers at 0.8 and 0.6 of which one is right, one of an answer at 0.9 that is wrong:
    # 2/3 * |0.5 - 0.7| + 1/3 * |0 - 0.9|
    confidence, right = np.array([0.8, 0.6, 0.9]), np.array([True, False, False])
    error = it.calibration_error(confidence, right, np.array([0, 0, 1]))
    assert error == pytest.approx(2 / 3 * 0.2 + 1 / 3 * 0.9)
    weighted = it.calibration_error(confidence, right, np.array([0, 0, 1]), np.array([1.0, 1.0, 2.0]))
    assert weighted == pytest.approx(2 / 4 * 0.2 + 2 / 4 * 0.9)


def test_bins_agree_with_scikit_learn(library):
    sklearn = library("sklearn.calibration", "peers")
    rng = np.random.default_rng(0)
    confidence = rng.random(500)
    right = rng.random(500) < confidence**2
    for way, strategy in (("equal_width", "uniform"), ("adaptive", "quantile")):
        shares, means = sklearn.calibration_curve(right, confidence, n_bins=it.BINS, strategy=strategy)
        bins = it.calibration(confidence, right, alone(500))[way]["bins"]
        tolerance = 1e-9 if way == "equal_width" else 0.06  # its quantiles lie between two videos
        np.testing.assert_allclose([each["right"] for each in bins], shares, atol=tolerance)
        np.testing.assert_allclose([each["confidence"] for each in bins], means, atol=tolerance)


def test_a_calibrated_model_is_told_from_one_that_is_too_sure():
    rng = np.random.default_rng(1)
    chance = rng.uniform(0.3, 0.9, 2000)
    right = rng.random(2000) < chance
    fair, sure = it.calibration(chance, right, alone(2000)), it.calibration(chance + 0.1, right, alone(2000))
    for way in ("equal_width", "adaptive"):
        assert fair[way]["error"] < fair[way]["by_chance_most"] < 0.05
        assert sure[way]["error"] == pytest.approx(0.1, abs=0.02)
        assert sure[way]["error"] > sure[way]["by_chance_most"]
        low, high = sure[way]["error_interval"]
        assert 0.05 < low < sure[way]["error"] < high < 0.15
    low, high = sure["overconfidence_interval"]
    assert low < 0.1 < high
    assert fair["overconfidence_interval"][0] < 0 < fair["overconfidence_interval"][1]


def test_few_videos_that_are_all_right_do_not_show_that_a_model_is_less_sure_than_right():
    """Draws of them cannot differ in what is right, but other videos can: scores of 0.57 are all right in 3 of 16."""
    confidence = np.array([0.57, 0.58, 0.55])
    low, high = it.calibration(confidence, np.ones(3, dtype=bool), alone(3))["overconfidence_interval"]
    assert low < confidence.mean() - 1 < 0 < high == pytest.approx(confidence.mean() - wilson(3, 3)[0], abs=0.01)
    low, high = it.calibration(confidence, np.zeros(3, dtype=bool), alone(3))["overconfidence_interval"]
    assert low == pytest.approx(confidence.mean() - wilson(0, 3)[1], abs=0.01)
    for right in (np.ones(3, dtype=bool), np.zeros(3, dtype=bool)):
        found = it.calibration(confidence, right, alone(3))
        low, high = found["overconfidence_interval"]
        for way in ("equal_width", "adaptive"):
            assert found[way]["error"] == pytest.approx(abs(found["overconfidence"]))
            least, most = found[way]["error_interval"]
            assert (least, most) == (max(low, -high, 0.0), max(-low, high)), "how far off it may be, either way"
            assert least < found[way]["error"] < most
    for sure in (0.99, 1.0):
        confidence, people = np.full(150, sure), np.repeat(np.arange(3), 50)
        found = it.calibration(confidence, np.ones(150, dtype=bool), people)
        low, high = found["overconfidence_interval"]
        assert (low < 0.3, high > 0.3) == (True, True), "three people, and not 150 videos, say how right it is"
        assert found["adaptive"]["error_interval"][1] > 0.3
    many = np.linspace(0.5, 0.7, 60)
    low, high = it.calibration(many, np.ones(60, dtype=bool), alone(60))["overconfidence_interval"]
    assert low < -0.4 < high < -0.3


def test_groups_that_are_alike_do_not_show_how_far_others_are():
    found = it.calibration(np.array([0.7, 0.7] * 2), np.array([True, False] * 2), np.array([0, 0, 1, 1]))
    assert found["equal_width"]["error"] == pytest.approx(0.2)
    assert found["equal_width"]["error_interval"] == (0.0, 1.0)


def test_bins_name_their_denominators():
    confidence, right = np.array([0.95, 0.96, 0.99, 0.4]), np.array([True, True, False, False])
    first, second = it.calibration(confidence, right, alone(4))["equal_width"]["bins"]
    assert first == {
        "videos": 1,
        "low": 0.4,
        "high": 0.4,
        "confidence": 0.4,
        "right": 0.0,
        "right_interval": wilson(0, 1),
    }
    assert (second["videos"], second["low"], second["high"]) == (3, 0.95, 0.99)
    assert second["right_interval"] == wilson(2, 3)


def test_the_interval_is_over_units():
    """Ten people of a hundred videos each, each right or wrong throughout: ten things were seen."""
    right = np.repeat(np.arange(10) < 5, 100)
    confidence = np.full(1000, 0.6)
    by_person = it.calibration(confidence, right, np.repeat(np.arange(10), 100))
    by_video = it.calibration(confidence, right, alone(1000))
    assert np.diff(by_person["overconfidence_interval"]) > 5 * np.diff(by_video["overconfidence_interval"])
    assert np.diff(by_person["adaptive"]["error_interval"]) > 5 * np.diff(by_video["adaptive"]["error_interval"])


def test_log_loss_by_hand():
    scores = np.array([[0.5, 0.5], [0.25, 0.75], [1.0, 0.0]])
    assert it.log_loss(scores[:2], np.array([0, 1])) == pytest.approx((np.log(2) - np.log(0.75)) / 2)
    assert np.isfinite(it.log_loss(scores, np.array([0, 1, 1])))


@pytest.mark.parametrize(
    ("precision", "expected"),
    [(1.0, 0.9), (0.8, 0.5), (0.75, 0.5), (2 / 3, 0.4), (0.5, 0.2)],
)
def test_a_threshold_is_the_lowest_that_reaches_the_precision(precision, expected):
    confidence = np.array([0.9, 0.8, 0.7, 0.5, 0.5, 0.4, 0.2])
    right = np.array([1, 0, 1, 1, 1, 0, 0], dtype=bool)  # shares from the top: 1, 1/2, 2/3, -, 4/5, 4/6, 4/7
    assert it.threshold(confidence, right, precision) == expected


def test_equal_confidences_are_answered_together():
    assert it.threshold(np.array([0.5, 0.5]), np.array([True, False]), 0.9) is None


def test_no_threshold_where_none_will_do():
    wrong = it.thresholds(np.array([0.9, 0.8]), np.array([False, False]), alone(2), (0.9,))
    assert wrong == [
        {
            "wished": 0.9,
            "threshold": None,
            "chosen_on": None,
            "checked": {"folds": 2, "answered": 0, "coverage": 0.0, "precision": None, "precision_interval": None},
        }
    ]


def test_one_unit_cannot_be_checked():
    (row,) = it.thresholds(np.array([0.9, 0.8]), np.array([True, False]), np.zeros(2, dtype=np.int64), (0.9,))
    assert row["threshold"] == 0.9
    assert row["chosen_on"] == {"precision": 1.0, "coverage": 0.5}
    assert row["checked"] is None


def test_what_a_threshold_reaches_where_it_was_chosen_flatters_it():
    """Of scores that say nothing, the best of many thresholds looks good on the videos that chose it only."""
    chosen, checked = [], []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        (row,) = it.thresholds(rng.random(50), rng.random(50) < 0.5, alone(50), (0.7,))
        if row["chosen_on"] and row["checked"]["answered"]:
            chosen.append(row["chosen_on"]["precision"])
            checked.append(row["checked"]["precision"])
    assert len(chosen) >= 20
    assert min(chosen) >= 0.7
    assert np.mean(checked) < 0.6


def test_a_threshold_of_true_chances_keeps_its_word_elsewhere():
    rng = np.random.default_rng(3)
    chance = rng.random(4000)
    right = rng.random(4000) < chance
    for row in it.thresholds(chance, right, alone(4000), (0.8, 0.9)):
        # Chances from t to 1 are right in (1 + t) / 2 of the cases, and cover 1 - t.
        assert row["threshold"] == pytest.approx(2 * row["wished"] - 1, abs=0.06)
        assert row["checked"]["precision"] == pytest.approx(row["wished"], abs=0.02)
        assert row["checked"]["coverage"] == pytest.approx(2 - 2 * row["wished"], abs=0.06)
        low, high = row["checked"]["precision_interval"]
        assert low < row["wished"] < high


def test_units_are_not_torn_apart():
    """Each unit is right or wrong as a whole, with a confidence of its own: no other one can choose for it."""
    unit = np.repeat(np.arange(5), 4)
    confidence = np.array([0.9, 0.8, 0.7, 0.6, 0.5])[unit]
    right = np.array([True, False, True, True, True])[unit]
    (row,) = it.thresholds(confidence, right, unit, (1.0,))
    # Without the first one nothing reaches 1.0; without any other it is 0.9, or 0.5 where the second is left out.
    assert row["checked"] == {
        "folds": 5,
        "answered": 4,
        "coverage": 0.2,
        "precision": 0.0,
        "precision_interval": wilson(0, 1),
    }


def test_the_coverage_curve_ends_with_all_answers():
    confidence = np.linspace(0, 1, 1000)
    right = confidence > 0.5
    curve = it.coverage_curve(confidence, right)
    assert len(curve) == it.CURVE_POINTS
    assert curve[-1] == (1.0, 0.5, 0.0)
    assert curve[0][0] == pytest.approx(it.CURVE_FROM / 1000)
    assert all(share == 1.0 for coverage, share, _ in curve if coverage <= 0.5)
    assert it.coverage_curve(np.array([0.5]), np.array([False])) == [(1.0, 0.0, 0.5)]
