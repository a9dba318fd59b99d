"""A list in one buffer: the values that went in, in whatever process."""

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mvit.data.mapped import MappedList

entries = st.tuples(st.text(st.characters(), max_size=20), st.integers(-(2**40), 2**40)).map(list)


@given(st.lists(entries, max_size=20))
def test_values_come_back_as_they_were(values):
    mapped = MappedList(values)
    assert list(mapped) == values
    assert len(mapped) == len(values)
    for again in (mapped, pickle.loads(pickle.dumps(mapped))):  # noqa: S301 (our own bytes)
        assert [again[index] for index in reversed(range(len(values)))] == values[::-1]


def test_a_path_that_is_no_text_comes_back_too():
    assert MappedList(["a\udc80b"])[0] == "a\udc80b"


def test_shared_values_are_the_same():
    mapped = MappedList([["a.mp4", 1], ["b.mp4", 2]])
    mapped.share()
    assert list(mapped) == [["a.mp4", 1], ["b.mp4", 2]]
    assert mapped.bytes == 2 * 8 + 2 * len('["a.mp4",1]')


@pytest.mark.parametrize("index", [-1, 2])
def test_there_is_nothing_beyond_the_ends(index):
    with pytest.raises(IndexError, match="among 2"):
        MappedList([1, 2])[index]
