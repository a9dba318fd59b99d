"""Intervals, tests and distances against closed forms, brute force and scipy."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from mvit.evaluation import statistics
from mvit.evaluation.metrics import paired_difference, wilson
from mvit.evaluation.statistics import (
    difference_interval,
    difference_method,
    holm,
    kendall_distance,
    mcnemar,
    mean_interval,
    t_quantile,
    units,
)


def test_units_are_groups_and_videos_without_one_stand_alone():
    assert units(["ann", None, "bob", "ann", None]).tolist() == [0, 1, 2, 0, 3]
    assert units([None, None]).tolist() == [0, 1]
    assert units(["0", None, "1"]).tolist() == [0, 1, 2]


def test_of_videos_without_groups_it_is_the_bootstrap_of_scipy():
    rng = np.random.default_rng(0)
    values = rng.random(60) ** 2
    ours = mean_interval(values, np.arange(60), resamples=9_999)
    theirs = stats.bootstrap((values,), np.mean, n_resamples=9_999, method="percentile", rng=1).confidence_interval
    assert ours == pytest.approx(tuple(theirs), abs=0.004)
    wide = mean_interval(values, np.arange(60), resamples=20_000, confidence=0.99)
    assert wide[0] < ours[0] < ours[1] < wide[1]


def test_a_paired_difference_is_the_paired_bootstrap_of_scipy():
    rng = np.random.default_rng(1)
    first = (rng.random(80) < 0.8).astype(float)
    second = np.where(rng.random(80) < 0.7, first, 1 - first)
    ours = difference_interval(first, second, np.arange(80), resamples=20_000)
    theirs = stats.bootstrap(
        (first, second),
        lambda one, other, axis: one.mean(axis=axis) - other.mean(axis=axis),
        paired=True,
        n_resamples=20_000,
        method="percentile",
        rng=1,
    ).confidence_interval
    assert ours == pytest.approx(tuple(theirs), abs=0.013)  # the means are steps of 1/80


def test_of_few_groups_it_is_what_all_draws_of_them_give():
    values = np.array([1, 1, 0, 1, 0, 0, 0, 0.5])
    groups = np.array([0, 0, 0, 1, 1, 2, 2, 2])
    means = [
        np.concatenate([values[groups == group] for group in drawn]).mean()
        for drawn in itertools.product(range(3), repeat=3)
    ]
    exact = np.quantile(means, (0.025, 0.975), method="inverted_cdf")
    assert mean_interval(values, groups, resamples=20_000) == pytest.approx(tuple(exact), abs=1e-9)


def test_a_group_of_alike_videos_is_one_observation():
    rng = np.random.default_rng(2)
    people = (rng.random(12) < 0.5).astype(float)
    repeated, groups = people.repeat(30), np.arange(12).repeat(30)
    assert mean_interval(repeated, groups) == pytest.approx(mean_interval(people, np.arange(12)))
    low, high = mean_interval(repeated, np.arange(360))
    grouped = mean_interval(repeated, groups)
    assert grouped[1] - grouped[0] > 4 * (high - low)


def test_where_draws_cannot_differ_it_is_the_interval_of_so_many_trials():
    for value in (0.0, 1.0, 0.3):
        assert mean_interval(np.full(7, value), np.arange(7)) == pytest.approx(wilson(7 * value, 7))
    assert mean_interval(np.array([1.0, 0.0]), np.zeros(2, dtype=int)) == wilson(0.5, 1)  # one group
    assert mean_interval(np.ones(1), np.zeros(1, dtype=int)) == wilson(1, 1)  # one video
    alike, other = np.ones(9), np.zeros(9)
    assert difference_interval(alike, other, np.arange(9)) == paired_difference(alike, other)
    assert difference_interval(alike, np.tile([1, 1, 0], 3), np.arange(9) // 3) == pytest.approx(
        paired_difference(np.ones(3), np.full(3, 2 / 3))
    )


@pytest.mark.parametrize("videos", [1, 9, 60, 5000])
def test_where_no_video_differs_it_is_the_exact_bound_for_none_of_so_many(videos):
    alike, groups = np.arange(videos) % 3 > 0, np.arange(videos) % 4
    groups = np.unique(groups, return_inverse=True)[1]
    low, high = difference_interval(alike, alike, groups)
    assert high == pytest.approx(stats.binomtest(0, videos).proportion_ci(0.95, "exact").high)
    assert high == pytest.approx(1 - 0.025 ** (1 / videos))
    assert low == -high
    assert difference_interval(alike, alike, groups, confidence=0.99)[1] > high


def test_how_an_interval_is_had():
    first, groups = np.array([1, 1, 0, 1, 0, 0]), np.arange(6) // 2
    assert difference_method(first, first, groups) == "exact"
    assert difference_method(first, 1 - first, groups) == "bootstrap"
    assert difference_method(first, np.array([0, 1, 0, 0, -1, 0]), groups) == "trials"  # each group by a half
    assert difference_method(first, 1 - first, np.zeros(6, dtype=int)) == "trials"  # one group


def test_it_repeats_by_the_seed_and_does_not_hang_on_how_many_are_drawn_at_once(monkeypatch):
    values, groups = np.random.default_rng(3).random(50), np.arange(50) // 3
    first = mean_interval(values, groups)
    assert first == mean_interval(values, groups)
    assert first != mean_interval(values, groups, seed=1)
    monkeypatch.setattr(statistics, "DRAWN_AT_ONCE", 40)
    assert first == mean_interval(values, groups)


def test_intervals_over_groups_hold_the_mean_about_as_often_as_they_say():
    held = 0
    for seed in range(100):
        rng = np.random.default_rng(seed)
        groups = np.arange(40).repeat(10)
        skill = rng.beta(2, 2, 40)[groups]
        low, high = mean_interval((rng.random(400) < skill).astype(float), groups, resamples=500)
        held += low <= 0.5 <= high
    assert 88 <= held <= 99


@pytest.mark.parametrize(("only_first", "only_second"), [(0, 0), (1, 0), (5, 5), (2, 9), (40, 20), (700, 640)])
def test_mcnemar_is_the_binomial_test_of_scipy(only_first, only_second):
    first = np.array([True] * only_first + [False] * only_second + [True] * 3 + [False] * 4)
    second = np.array([False] * only_first + [True] * only_second + [True] * 3 + [False] * 4)
    differing = only_first + only_second
    expected = stats.binomtest(only_first, differing, 0.5).pvalue if differing else 1.0
    assert mcnemar(first, second) == pytest.approx(expected, rel=1e-9)
    assert mcnemar(second, first) == mcnemar(first, second)


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.7]) == [1.0, 1.0]
    assert holm([0.02]) == [0.02]
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8), st.floats(0.001, 0.5))
def test_holm_rejects_what_its_steps_reject(p, level):
    corrected, rejected = holm(p), set()
    for rank, index in enumerate(np.argsort(p, kind="stable")):
        if p[index] * (len(p) - rank) > level:
            break
        rejected.add(int(index))
    assert {index for index, value in enumerate(corrected) if value <= level} == rejected


def test_kendall_distance_by_hand():
    orders = np.array([[0, 1, 2, 3], [3, 2, 1, 0], [1, 0, 2, 3], [2, 3, 0, 1]])
    assert kendall_distance(orders).tolist() == [0, 1, 1 / 6, 4 / 6]
    assert kendall_distance(np.array([1, 0])) == 1


@given(st.permutations(range(9)))
def test_kendall_distance_is_scipys_tau(order):
    tau = stats.kendalltau(range(9), order).statistic
    assert kendall_distance(np.array(order)) == pytest.approx((1 - tau) / 2)


@pytest.mark.parametrize(
    ("share", "freedom", "expected"),
    [
        *((0.975, 1, 12.7062), (0.975, 2, 4.30265), (0.975, 4, 2.77645), (0.975, 9, 2.26216), (0.975, 200, 1.971896)),
        *((0.8, 1, 1.376382), (0.8, 4, 0.940965), (0.995, 3, 5.840909)),
    ],
)
def test_quantiles_of_students_t_are_those_of_the_tables(share: float, freedom: int, expected: float):
    assert t_quantile(share, freedom) == pytest.approx(expected, rel=1e-5)
