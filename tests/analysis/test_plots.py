"""Figures are SVG that says what it shows, from one class to hundreds."""

import math
import xml.etree.ElementTree as ET

import numpy as np
import pytest

from mvit.analysis.markup import Html, escape, join, table, tag
from mvit.analysis.plots import Bar, Series, against, alone, bars, curves, is_named, matrix, percent, strip, ticks


def drawn(figure: str) -> ET.Element:
    """The figure as XML; that it parses is part of every test."""
    return ET.fromstring(figure)  # noqa: S314 (our own)


def texts(figure: str) -> list[str]:
    return ["".join(node.itertext()) for node in drawn(figure).iter("text")]


@pytest.mark.parametrize(
    ("low", "high", "most", "expected"),
    [
        (0, 1, 6, [0, 0.2, 0.4, 0.6, 0.8, 1.0]),
        (0, 1, 5, [0, 0.25, 0.5, 0.75, 1.0]),
        (0.4, 2.7, 5, [1, 2]),
        (1, 30, 7, [5, 10, 15, 20, 25, 30]),
        (0, 1e-3, 5, [0, 2.5e-4, 5e-4, 7.5e-4, 1e-3]),
        (-3, 3, 7, [-3, -2, -1, 0, 1, 2, 3]),
        (5, 5, 5, [5]),
    ],
)
def test_ticks_are_round_numbers(low, high, most, expected):
    assert ticks(low, high, most) == pytest.approx(expected)


def test_a_curve_joins_what_was_measured_and_breaks_where_it_is_not_finite():
    def moves(values):
        figure = curves("Loss", range(1, 6), [Series("train", values)], show=str, low=0, high=4)
        (line,) = (node for node in drawn(figure).iter("path") if "line" in node.get("class", ""))
        return [letter for letter in line.get("d") if letter.isalpha()]

    assert moves([4, 3, 2, 1, 0]) == ["M", "L", "L", "L", "L"]
    assert moves([4, None, 2, None, 0]) == ["M", "L", "L"]
    assert moves([4, 3, math.nan, 1, 0]) == ["M", "L", "M", "L"]
    assert moves([None] * 5) == []


def test_a_curve_puts_values_where_the_axis_says():
    figure = curves("Top-1", [1, 2, 3], [Series("train", [0.0, 0.5, 1.0])], show=percent, low=0, high=1)
    (line,) = (node for node in drawn(figure).iter("path") if "line" in node.get("class", ""))
    points = [tuple(map(float, point.split())) for point in line.get("d").replace("M", "L").split("L")[1:]]
    grid = [float(node.get("y1")) for node in drawn(figure).iter("line")]
    assert points[0][1] == pytest.approx(max(grid), abs=0.1)
    assert points[2][1] == pytest.approx(min(grid), abs=0.1)
    assert points[1][0] - points[0][0] == pytest.approx(points[2][0] - points[1][0], abs=0.2)


@pytest.mark.parametrize("values", [[], [1.0], [2.0, 2.0], [math.nan], [0.0], [-1.0, -1.0]])
def test_a_curve_of_next_to_nothing_is_drawn(values):
    assert "Loss" in texts(curves("Loss", range(len(values)), [Series("train", values)], show=str))


def test_bars_are_as_long_as_their_shares_and_named():
    rows = [Bar("in order", "330 videos", 0.8, 0.75, 0.85), Bar("shuffled", "10 orders", 0.2, 0.15, 0.25, quiet=True)]
    figure = bars(rows, [("chance", 0.5)])
    first, second = (float(node.get("width")) for node in drawn(figure).iter("rect"))
    assert first == pytest.approx(4 * second)
    (chance,) = (float(node.get("x1")) for node in drawn(figure).iter("line") if node.get("class") == "chance")
    left = min(float(node.get("x")) for node in drawn(figure).iter("rect"))
    assert chance - left == pytest.approx(first * 0.5 / 0.8)
    assert {"in order", "330 videos", "80.0\xa0%", "chance 50.0\xa0%"} <= set(texts(figure))


def test_shares_against_a_number_stand_where_the_axes_say():
    figure = against("Top-1", "distance", [(0.0, 1.0, 0.9, 1.0), (0.5, 0.5, 0.25, 0.75)], ("chance", 0.25))
    (first, second) = [(float(dot.get("cx")), float(dot.get("cy"))) for dot in drawn(figure).iter("circle")]
    at = {"".join(node.itertext()): node for node in drawn(figure).iter("text")}
    assert first == (float(at["0"].get("x")), pytest.approx(float(at["100\xa0%"].get("y")) - 4))
    assert second == (float(at["0.5"].get("x")), pytest.approx(float(at["50\xa0%"].get("y")) - 4))
    low, high = (float(at[f"{share}\xa0%"].get("y")) - 4 for share in (25, 75))
    (_, whisker) = [path.get("d") for path in drawn(figure).iter("path") if path.get("class") == "whisker"]
    assert whisker.startswith(f"M{second[0]:.1f} {low:.1f}V{high:.1f}")
    assert {"Top-1", "distance", "chance 25.0\xa0%"} <= {*at}


def test_a_strip_shows_the_interval():
    figure = drawn(strip(0.5, 0.25, 1.0))
    lines = {node.get("class"): (float(node.get("x1")), float(node.get("x2"))) for node in figure.iter("line")}
    (dot,) = (float(node.get("cx")) for node in figure.iter("circle"))
    (left, right), (low, high) = lines["grid"], lines["interval"]
    assert high == right
    assert low - left == pytest.approx((right - left) / 4)
    assert dot - left == pytest.approx((right - left) / 2)


@pytest.mark.parametrize("size", [1, 2, 14, 21])
def test_a_matrix_with_room_names_classes_and_counts_videos(size):
    counts = np.diag(np.arange(1, size + 1))
    counts[0, -1] += 7
    figure = matrix([f"class {n}" for n in range(size)], counts.tolist())
    shown = texts(figure)
    for number in range(size):
        assert shown.count(f"class {number}") == 2
    assert {str(count) for count in counts.flat if count} <= set(shown)
    said = [node.text for node in drawn(figure).iter("title")]
    assert len(said) == np.count_nonzero(counts)
    if size > 1:
        assert f"class 0 taken for class {size - 1}: 7 of 8 (87.5\xa0%)" in said


def test_a_matrix_of_hundreds_is_small_counts_the_classes_and_shows_every_confusion():
    counts = np.diag(np.full(400, 50))
    rng = np.random.default_rng(0)
    for row, column in rng.integers(0, 400, (5000, 2)):
        counts[row, column] += 1
    figure = matrix([f"class {n}" for n in range(400)], counts.tolist())
    assert not is_named(400)
    assert len(figure) < 300_000
    assert "class 7" not in figure
    assert {"50", "400", "true class", "predicted class"} <= set(texts(figure))
    paths = [node.get("d") for node in drawn(figure).iter("path")]
    assert sum(path.count("z") for path in paths) == np.count_nonzero(counts)


@pytest.mark.parametrize("size", [2, 21, 56, 57, 400])
def test_a_matrix_fits_its_frame(size):
    names = [f"a class with a long name, number {n}" for n in range(size)]
    figure = drawn(matrix(names, np.eye(size, dtype=int).tolist()))
    width, height = (float(figure.get(side)) for side in ("width", "height"))
    assert width < 1000
    assert height < 1000


def test_names_of_classes_are_text_whatever_they_hold():
    names = ["</text><script>alert(1)</script>", '" onload="alert(1)', "a & b\x00\x1b[31m", "left\u202eright"]
    figure = matrix(names, np.ones((4, 4), dtype=int).tolist())
    assert {node.tag for node in drawn(figure).iter()} == {"svg", "g", "rect", "text", "title"}
    assert "a & b\\x00\\x1b[31m" in texts(figure)
    assert "left\\u202eright" in texts(figure)


def test_markup_escapes_text_and_attributes_but_not_markup():
    inner = tag("b", "1 < 2")
    assert tag("p", inner, " & ", 3, None, [1.5, "x"], title='"<', class_="a", data_no=None) == (
        '<p title="&quot;&lt;" class="a"><b>1 &lt; 2</b> &amp; 31.5x</p>'
    )
    assert isinstance(join("<"), Html)
    assert join("<") == "&lt;"


def test_escape_shows_what_would_hide_and_keeps_what_scripts_need():
    assert escape("caf\udce9 \u200b\u2028") == "caf\\udce9 \\u200b\\u2028"
    assert escape("فارسی\u200cنام 👩\u200d🔬 日本語\n") == "فارسی\u200cنام 👩\u200d🔬 日本語\n"


def test_a_table_gives_each_cell_the_class_of_its_column():
    made = drawn(table("Two rows.", {"name": None, "videos": "n"}, [("a", 1), ("<b>", 2)], summaries=[1]))
    cells = [[(cell.text, cell.get("class")) for cell in row] for row in made.iter("tr")]
    assert cells == [[("name", None), ("videos", "n")], [("a", None), ("1", "n")], [("<b>", None), ("2", "n")]]
    assert [row.get("class") for row in made.iter("tr")] == [None, None, "summary"]


def test_a_figure_of_its_own_is_whole_also_where_it_is_shown_as_an_image():
    """A padding of the element adds to the place that it takes as a page, but as an image cuts off its far edges."""
    whole = drawn(
        alone(100, 50, "a line", [tag("line", x1=0.0, x2=100.0, y1=0.0, y2=50.0, class_="grid")], ".a { x: 1 }")
    )
    left, top, width, height = map(float, whole.get("viewBox", "").split())
    assert (left, top, left + width, top + height) == (-16, -16, 116, 66)
    assert (whole.get("width"), whole.get("height")) == ("132", "82")
    (style,) = (node.text or "" for node in whole if node.tag.endswith("style"))
    (own,) = (rule for rule in style.splitlines() if rule.startswith("svg { background"))
    assert "padding" not in own
