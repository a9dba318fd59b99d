"""Medians, ratios and lines, by tables of known numbers."""

import pytest

from mvit.studies.plan import largest, rate
from mvit.studies.spread import Line, Spread, contrast, line, ratios, spread


@pytest.mark.parametrize(
    ("values", "median", "low", "high"),
    [
        ([3.0], 3, 3, 3),
        ([4.0, 2.0], 3, 2.5, 3.5),
        ([5.0, 1.0, 3.0], 3, 2, 4),
        ([1.0, 2.0, 3.0, 4.0, 100.0], 3, 2, 4),
        ([10.0, 20.0, 30.0, 40.0], 25, 17.5, 32.5),
    ],
)
def test_median_and_quartiles(values, median, low, high):
    assert spread(values) == Spread(median=median, low=low, high=high)


def test_no_number_has_no_median():
    with pytest.raises(ValueError, match="no number"):
        spread([])


def test_a_ratio_is_taken_within_rounds():
    """The second round was ten times slower for both, the third for one alone."""
    assert ratios([2.0, 20.0, 2.0], [1.0, 10.0, 10.0]).median == 2
    with pytest.raises(ValueError, match="shorter"):
        ratios([1.0, 2.0], [1.0])


@pytest.mark.parametrize(
    ("points", "at_zero", "slope"),
    [([(1, 5.0), (3, 9.0)], 3, 2), ([(1, 1.0), (2, 2.0), (3, 3.0)], 0, 1), ([(0, 0.0), (1, 3.0), (2, 0.0)], 1, 0)],
)
def test_line(points, at_zero, slope):
    fitted = line(points)
    assert (fitted.at_zero, fitted.slope) == pytest.approx((at_zero, slope))
    assert fitted.at(10) == pytest.approx(at_zero + 10 * slope)


def test_a_line_needs_two_places():
    with pytest.raises(ValueError, match="two different places"):
        line([(2, 1.0), (2, 3.0)])


@pytest.mark.parametrize(("room", "batch"), [(9.9, 0), (10, 0), (12, 1), (15.9, 2), (110, 50), (-5, 0)])
def test_the_largest_batch(room, batch):
    assert largest(room, Line(at_zero=10, slope=2)) == batch


def test_memory_that_does_not_grow_foretells_nothing():
    with pytest.raises(ValueError, match="did not grow"):
        largest(100, Line(at_zero=10, slope=0))


@pytest.mark.parametrize(
    ("at_zero", "slope", "clips_per_second"),
    [(100, 10, 50), (0, 10, 100), (12.8, -4.2, None), (5, 0, None), (-200, 10, None)],
)
def test_a_time_that_does_not_grow_foretells_no_speed(at_zero, slope, clips_per_second):
    assert rate(10, Line(at_zero=at_zero, slope=slope)) == clips_per_second


def test_a_contrast_is_of_pairs():
    """Differences of 1, 2, 3, 4 and 5: mean 3, standard error sqrt(2.5 / 5)."""
    found = contrast([11, 22, 33, 44, 55], [10, 20, 30, 40, 50])
    error = 0.5**0.5
    assert found.mean == 3
    assert (found.low, found.high) == pytest.approx((3 - 2.776445 * error, 3 + 2.776445 * error))
    assert found.resolvable == pytest.approx((2.776445 + 0.940965) * error)
    assert found.resolved
    assert not contrast([1, -1], [0, 0]).resolved
    with pytest.raises(ValueError, match="at least 2"):
        contrast([1], [0])


@pytest.mark.parametrize("ours", [[1, 1, 1], [1, 4, 9]])
@pytest.mark.parametrize("more", [0, 16])
def test_pairs_that_all_differ_alike_have_no_interval(ours, more):
    """Of 33 videos, in points, where rounding leaves a deviation of about 1e-14."""
    found = contrast([100 * (right + more) / 33 for right in ours], [100 * right / 33 for right in ours])
    assert found.mean == pytest.approx(100 * more / 33)
    assert (found.low, found.high, found.resolvable, found.resolved) == (None, None, None, False)
