import re
import tomllib
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mvit.recipes import toml

ACCEPTED: list[tuple[Any, Any, Any]] = [
    (3, int, 3),
    (3, float, 3.0),
    (0.5, float, 0.5),
    (True, bool, True),
    ("a", str, "a"),
    (False, float | None, None),
    (2, float | None, 2.0),
    ("auto", int | Literal["auto"], "auto"),
    (4, int | Literal["auto"], 4),
    ([1, 2.5], tuple[float, float], (1.0, 2.5)),
    ([[1, 2, 2]], tuple[tuple[int, int, int], ...], ((1, 2, 2),)),
]

REFUSED: list[tuple[Any, Any, str]] = [
    ("fast", float, "k is 'fast': expected a number"),
    (True, int, "k is true: expected a whole number"),
    (True, float, "k is true: expected a number"),
    (1.0, int, "k is 1.0: expected a whole number"),
    (1, bool, "k is 1: expected true or false"),
    (1, str, "k is 1: expected a string"),
    (float("nan"), float, "k is nan: expected a number"),
    (float("inf"), float, "k is inf: expected a number"),
    (True, float | None, "k is true: expected a number or false"),
    (False, float, "k is false: expected a number"),
    ("dens", Literal["dense", "segments"], 'k is \'dens\': expected "dense" or "segments"'),
    ([1], tuple[float, float], "k is [1]: expected a list of 2 entries, each a number"),
    ([1, 2, 3], tuple[float, float], "k is [1, 2, 3]: expected a list of 2 entries, each a number"),
    ([1, "x"], tuple[int, ...], 'k is [1, "x"]: expected a list of entries, each a whole number'),
    (3, tuple[int, ...], "k is 3: expected a list of entries, each a whole number"),
]


@pytest.mark.parametrize(("value", "hint", "expected"), ACCEPTED)
def test_values_become_their_type(value: Any, hint: Any, expected: Any):
    converted = toml.convert(value, hint, "k")
    assert converted == expected
    assert type(converted) is type(expected)


@pytest.mark.parametrize(("value", "hint", "message"), REFUSED)
def test_no_type_is_bent_into_another(value: Any, hint: Any, message: str):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        toml.convert(value, hint, "k")


values = st.recursive(
    st.booleans() | st.integers(-(2**60), 2**60) | st.floats(allow_nan=False) | st.text(st.characters(codec="utf-8")),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=6,
)


@given(values)
def test_what_is_written_is_read_back(value: Any):
    assert tomllib.loads(f"key = {toml.written(value)}") == {"key": value}
