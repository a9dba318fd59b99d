"""Hysteresis over windows, and the files that segments become."""

import csv
import json

import numpy as np
import pytest

from mvit.data.sampling import Part
from mvit.deploy.segments import Hysteresis, Segment, captions, clock, segments, write
from mvit.deploy.windows import Scored

CLASSES = ("a", "b", "c")
TWO = Hysteresis(enter=0.6, leave=0.4)


def windows(*rows, start=0.0):
    """One a second, 2 s long."""
    return [Scored(Part(start + n, start + n + 2), np.array(row)) for n, row in enumerate(rows)]


def found(*rows, multi_label=False, hysteresis=TWO):
    every = segments(windows(*rows), CLASSES, hysteresis, multi_label=multi_label)
    return [(s.label, s.start, s.end, round(s.score, 6), s.windows) for s in every]


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([], []),
        ([[0.5, 0.3, 0.2]], []),
        ([[0.7, 0.2, 0.1]], [("a", 0, 2, 0.7, 1)]),
        # Windows meet half way between their centres; the first and the last reach to their own ends.
        ([[0.7, 0.2, 0.1], [0.5, 0.4, 0.1], [0.3, 0.3, 0.4]], [("a", 0, 2.5, 0.6, 2)]),
        # Flicker between the two scores changes nothing; below the lower one it ends, and begins at the upper again.
        ([[0.5, 0, 0], [0.6, 0, 0], [0.4, 0, 0], [0.39, 0, 0], [0.5, 0, 0]], [("a", 1.5, 3.5, 0.5, 2)]),
        # Another class that is sure ends the one before, though that is not below the lower score.
        ([[0.8, 0.2, 0], [0.4, 0.6, 0], [0, 1, 0]], [("a", 0, 1.5, 0.8, 1), ("b", 1.5, 4, 0.8, 2)]),
    ],
)
def test_neighbours_are_merged_with_hysteresis(rows, expected):
    assert found(*rows) == expected


def test_classes_that_go_together_overlap():
    rows = [[0.7, 0.1, 0], [0.8, 0.9, 0], [0.3, 0.9, 0]]
    assert found(*rows, multi_label=True) == [("a", 0, 2.5, 0.75, 2), ("b", 1.5, 4, 0.9, 2)]


@pytest.mark.parametrize(("enter", "leave"), [(0.4, 0.6), (0, 0), (1.1, 0.5), (0.5, -1), (float("nan"), 0.5)])
def test_scores_that_are_none_are_refused(enter, leave):
    with pytest.raises(ValueError, match="leave no more than enter"):
        Hysteresis(enter=enter, leave=leave)


FOUND = [
    Segment(start=1.25, end=3.5, label="wave, <left> & right", score=0.814, windows=4),
    Segment(start=3.5, end=3723.0004, label="tap", score=0.5, windows=9),
]


def test_segments_are_written_as_the_ending_says(tmp_path):
    for ending in ("json", "csv", "srt", "VTT"):
        write(FOUND, tmp_path / f"out.{ending}", {"note": "by itself", "video": "clip.mp4"})
    content = json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))
    assert content["video"] == "clip.mp4"
    assert content["segments"][1] == {"start": 3.5, "end": 3723.0, "label": "tap", "score": 0.5, "windows": 9}
    with (tmp_path / "out.csv").open(encoding="utf-8") as file:
        assert list(csv.reader(file))[:2] == [
            ["start", "end", "label", "score", "windows"],
            ["1.250", "3.500", "wave, <left> & right", "0.8140", "4"],
        ]
    assert (tmp_path / "out.srt").read_text(encoding="utf-8") == (
        "1\n00:00:01,250 --> 00:00:03,500\nwave, <left> & right 81%\n\n2\n00:00:03,500 --> 01:02:03,000\ntap 50%\n"
    )
    assert (tmp_path / "out.VTT").read_text(encoding="utf-8") == (
        "WEBVTT\n\nNOTE by itself\n\n00:00:01.250 --> 00:00:03.500\nwave, &lt;left&gt; &amp; right 81%\n"
        "\n00:00:03.500 --> 01:02:03.000\ntap 50%\n"
    )


def test_the_caption_of_a_moment_is_what_its_segments_say():
    caption = captions(FOUND)
    assert [caption(t) for t in (0, 1.25, 3.5)] == ["", "wave, <left> & right 81%", "tap 50%"]


def test_a_clock_rounds_to_the_millisecond():
    assert [clock(t) for t in (0, 59.9996, 3599.9994, 360000)] == [
        "00:00:00.000", "00:01:00.000", "00:59:59.999", "100:00:00.000",
    ]  # fmt: skip
