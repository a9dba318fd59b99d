"""Orders of frames: what each disorder keeps and what it breaks, for every number of frames."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mvit.evaluation.disorders import TITLES, WINDOWS, deranged, disorders, graded, not_asked, windows_shuffled
from mvit.evaluation.statistics import kendall_distance


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@given(st.integers(2, 33), st.integers(1, 12), st.integers(0, 100))
def test_every_disorder_shows_frames_of_the_clip_in_an_order_that_is_not_the_true_one(frames, orders, seed):
    drawn = disorders(frames, orders, rng(seed))
    assert drawn.pop("ordered").tolist() == [list(range(frames))]
    for name, shown in drawn.items():
        assert shown.shape[1] == frames
        assert len(shown) in (1, orders)
        assert (shown != np.arange(frames)).any(axis=1).all()
        if name not in ("single_frame", "stride_doubled"):
            assert (np.sort(shown, axis=1) == np.arange(frames)).all()


def test_of_sixteen_frames_all_are_asked_and_the_only_order_is_asked_once():
    drawn = disorders(16, 10, rng())
    counts = {name: len(shown) for name, shown in drawn.items()}
    once = {"ordered", "reversed", "single_frame", "stride_doubled", "deranged_2", "windows_8"}
    assert counts == {name: 1 if name in once else 10 for name in TITLES if name != "shuffled_after_stem"}
    assert not_asked(16) == {}
    assert drawn["reversed"][0].tolist() == list(range(16))[::-1]
    assert drawn["single_frame"][0].tolist() == [8] * 16
    assert drawn["stride_doubled"][0].tolist() == [0, 0, 2, 2, 4, 4, 6, 6, 8, 8, 10, 10, 12, 12, 14, 14]
    assert drawn["deranged_2"][0].tolist() == [1, 0, 3, 2, 5, 4, 7, 6, 9, 8, 11, 10, 13, 12, 15, 14]
    assert drawn["windows_8"][0].tolist() == [*range(8, 16), *range(8)]
    assert len({tuple(order) for order in drawn["shuffled"]}) == 10


@pytest.mark.parametrize("frames", [2, 3, 4, 5, 8, 9])
def test_what_few_frames_cannot_have_is_named(frames):
    drawn, missing = disorders(frames, 3, rng()), not_asked(frames)
    assert {*drawn, *missing} == {*TITLES} - {"shuffled_after_stem"}
    assert not {*drawn} & {*missing}
    assert all(reason == f"a clip has {frames} frames" for reason in missing.values())


@given(st.integers(2, 20), st.sampled_from(WINDOWS), st.integers(0, 100))
def test_deranged_frames_leave_their_place_but_not_their_window(frames, window, seed):
    order, places = deranged(frames, window, rng(seed)), np.arange(frames)
    assert (order // window == places // window).all()
    alone = frames % window == 1
    assert (order == places).tolist() == [False] * (frames - alone) + [True] * alone


@given(st.integers(3, 20), st.sampled_from((1, 2)), st.integers(0, 100))
def test_windows_keep_their_inside(frames, window, seed):
    order = windows_shuffled(frames, window, rng(seed))
    heads = [place for place, frame in enumerate(order) if frame % window == 0]
    for head in heads:
        inside = range(order[head], min(order[head] + window, frames))
        assert order[head : head + len(inside)].tolist() == list(inside)
    assert sorted(order[heads]) == list(range(0, frames, window))


@given(st.integers(2, 20), st.integers(1, 25), st.integers(0, 50))
def test_graded_orders_have_the_distances_of_their_grades(frames, orders, seed):
    drawn = graded(frames, orders, rng(seed))
    assert drawn.orders.shape == (orders, frames)
    assert (np.sort(drawn.orders, axis=1) == np.arange(frames)).all()
    distances = kendall_distance(drawn.orders)
    one = 2 / (frames * (frames - 1))
    assert (distances > drawn.grade / drawn.grades - one).all()
    assert (distances <= (drawn.grade + 1) / drawn.grades + 1e-9).all()
    assert (distances > 0).all()
    assert set(drawn.grade.tolist()) == set(range(drawn.grades))


def test_all_follows_from_the_generator():
    for make in (lambda seed: np.concatenate([*disorders(12, 4, rng(seed)).values()]),
                 lambda seed: graded(12, 4, rng(seed)).orders):  # fmt: skip
        assert (make(0) == make(0)).all()
        assert (make(0) != make(1)).any()
