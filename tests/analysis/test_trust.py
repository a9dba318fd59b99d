"""How far scores can be trusted, on the page: what the files say, frames of videos that are there, and small cases."""

import csv
import json
import re
import xml.etree.ElementTree as ET
from base64 import b64decode
from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from mvit.analysis import trust
from mvit.analysis.record import read
from mvit.analysis.reliability import coverage, reliability
from mvit.analysis.report import report
from mvit.analysis.thumbnails import Thumbnails
from mvit.data import video
from mvit.data.dataset import Sample
from mvit.evaluation import saved
from mvit.evaluation.evaluate import Evaluation, write

CLASSES = ("grab", "swipe_left", "swipe_right", "tap")


class Images(HTMLParser):
    """The images of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.sources, self.alts = [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        if tag == "img":
            self.sources.append(dict(attrs)["src"])
            self.alts.append(dict(attrs)["alt"])


def page_of(*runs: Path, **options) -> str:
    return report(runs, runs[0].parent / "report.html", **options).read_text(encoding="utf-8")


def text_of(page: str) -> str:
    return " ".join(re.sub(r"<style>.*?</style>|<[^>]*>", " ", page, flags=re.DOTALL).replace("\xa0", " ").split())


def judged(folder: Path, scores, labels, classes, names=None) -> Path:
    """A run folder with nothing but an evaluation."""
    paths = names or [f"/videos/{place}.mp4" for place in range(len(labels))]
    samples = tuple(Sample(Path(path), classes[label]) for path, label in zip(paths, labels, strict=True))
    outcome = Evaluation(
        classes=tuple(classes),
        samples=samples,
        scores=np.array(scores, dtype=np.float64),
        unreadable={},
        left_out=(),
        listed=len(samples),
        protocol="1x1 views, 4x2, short side 32, crop 32",
    )
    write(outcome, folder)
    saved.calibrate(folder)
    return folder


def listed(run: Path, columns: str, values: Sequence[str]) -> None:
    """Have the run's split list its evaluated videos with further columns, their values in turn."""
    with (run / "scores.csv").open(newline="") as file:
        rows = [(row["path"], row["label"]) for row in csv.DictReader(file)]
    samples = [f"{Path(run, path)},{label},{values[n % len(values)]}" for n, (path, label) in enumerate(rows)]
    (run / "split.csv").write_text("\n".join([f"path,label,{columns}", *samples]))
    text = (run / "scores.csv").read_text()
    (run / "scores.csv").write_text(text.replace("\nvideos/", f"\n{run}/videos/"))
    saved.calibrate(run)


def test_the_page_says_what_calibration_json_says(make_run, tmp_path):
    run = make_run(tmp_path / "run", CLASSES, videos=40)
    content = json.loads((run / "calibration.json").read_text())
    text = text_of(page_of(run))
    for way in ("equal_width", "adaptive"):
        figures = content["calibration"][way]
        low, high = (100 * limit for limit in figures["error_interval"])
        assert f"{100 * figures['error']:.1f} % [{low:.1f}, {high:.1f}]" in text
        assert f"{100 * figures['by_chance_most']:.1f} %" in text
    assert f"The mean log loss is {content['log_loss']:.3f}" in text
    assert "over 160 videos)" in text
    for row in content["thresholds"]:
        chosen, checked = row["chosen_on"], row["checked"]
        low, high = checked["precision_interval"]
        assert (
            f"{100 * row['wished']:.0f} % {row['threshold']:.3f} {100 * checked['precision']:.1f} % "
            f"[{100 * low:.1f}, {100 * high:.1f}] {100 * checked['coverage']:.1f} % ({checked['answered']}) "
            f"{100 * chosen['precision']:.1f} % of {100 * chosen['coverage']:.1f} %"
        ) in text
    table = text.split("Probable label errors")[1].split("Unreadable videos")[0]
    assert f"{len(content['label_errors'])} labels (" in table
    places = [table.index(suspect["path"]) for suspect in content["label_errors"]]
    assert len(places) > 3
    assert places == sorted(places)


def test_a_precision_that_was_missed_when_checked_is_named(make_run, tmp_path):
    run = make_run(tmp_path / "run", CLASSES, videos=40)
    content = json.loads((run / "calibration.json").read_text())
    assert all(row["checked"]["precision"] is not None for row in content["thresholds"])
    for row, precision in zip(content["thresholds"], (0.79, 0.9, 0.96, 0.98), strict=True):
        row["checked"]["precision"] = precision
    (run / "calibration.json").write_text(json.dumps(content))
    assert "Where 80 %, 99 % is wished, fewer were right when checked: expect that" in text_of(page_of(run))
    content["thresholds"][0]["threshold"] = None  # there is no score from which on to answer
    content["thresholds"][3]["checked"]["precision"] = 0.98999  # 99.0 %, as the table has it
    (run / "calibration.json").write_text(json.dumps(content))
    assert "fewer were right when checked" not in text_of(page_of(run))


def test_what_the_model_learned_from_is_said_where_it_is_judged_on_it(make_run, tmp_path):
    run = make_run(tmp_path / "run", CLASSES, videos=6)
    assert "not learned from them" in text_of(page_of(run))
    listed(run, "split", ("train", "train", "train", "val", "val", "test"))
    text = text_of(page_of(run))
    assert "Beware: these are 24 videos, and the model was trained on 12 of them." in text
    assert "Of the 24 videos evaluated here only, and the model was trained on 12 of them." in text
    assert "not learned from them" not in text


def test_of_images_no_order_is_asked(make_run, tmp_path):
    run = make_run(tmp_path / "run", CLASSES)
    (run / "recipe.toml").write_text("[data]\nframes = 1\n")
    assert "The model looks at single images, which have no order." in text_of(page_of(run))


def test_groups_are_the_denominator_of_intervals(make_run, tmp_path):
    run = make_run(tmp_path / "run", CLASSES, videos=6)
    listed(run, "group,split", [f"person{n},val" for n in range(3)])
    text = text_of(page_of(run))
    assert "over 3 groups)" in text
    assert "Intervals over as few as 3 groups are rather too narrow." in text
    assert "Checked: 3 groups dealt into 3 parts" in text


@pytest.mark.parametrize(
    ("scores", "labels", "classes", "said"),
    [
        ([[1.0]] * 3, [0, 0, 0], ["only"], ["100.0 % of them are right", "None found"]),
        ([[0.9, 0.1], [0.2, 0.8]], [0, 1], ["a", "b"], ["15.0 points less sure than right", "None found"]),
        ([[0.9, 0.1]], [0], ["a", "b"], ["over 1 video)", "There is nothing else to check it on"]),
        ([[0.9, 0.1]], [1], ["a", "b"], ["not even the surest answers are right so often", "None found"]),
        ([[0.2, 0.8], [0.9, 0.1]] * 4, [0, 1] * 4, ["a", "b"], ["85.0 points more sure than right"]),
        ([[0.8, 0.2], [0.1, 0.9]] * 4, [0, 1] * 4, ["a", "b"], ["every readable video was called by its class"]),
    ],
)
def test_small_cases_have_readable_pages(scores, labels, classes, said, tmp_path):
    text = text_of(page_of(judged(tmp_path / "run", scores, labels, classes)))
    for sentence in said:
        assert sentence in text
    assert not re.search(r"\bnan\b|\binf\b|\b1 labels", text)


def test_what_is_missing_is_said_with_the_command_that_makes_it(make_run, tmp_path):
    run = make_run(tmp_path / "run", CLASSES, videos=3)
    (run / "calibration.json").unlink()
    text = text_of(page_of(run))
    assert f"No calibration yet: run mvit report {run} ." in text
    (run / "calibration.json").write_text('{"videos": 3}')
    with pytest.raises(ValueError, match=r"calibration\.json was not written by this version of mvit: it has no"):
        page_of(run)


@pytest.mark.parametrize("draw", [reliability, lambda title, bins: coverage(title, [(1.0, 1.0, 0.9)], [0.9])])
def test_the_last_mark_of_an_axis_lies_within_its_panel(draw):
    """On a phone a panel is cut off at its edge."""
    bins = [{"videos": 3, "low": 0.9, "high": 0.9, "confidence": 0.9, "right": 1.0, "right_interval": (0.4, 1.0)}]
    figure = ET.fromstring(draw("Bins", bins))  # noqa: S314 (our own)
    marks = [float(node.get("x", "")) for node in figure.iter("text") if node.text == "100\N{NO-BREAK SPACE}%"]
    assert max(marks) + len("100 %") * 0.7 * 11.5 / 2 <= float(figure.get("width", ""))


def test_frames_are_shown_of_videos_that_are_there(tmp_path):
    there = tmp_path / "there.mp4"
    frames = np.zeros((9, 40, 48, 3), dtype=np.uint8)
    frames[:3, ..., 0], frames[3:6, ..., 1], frames[6:, ..., 2] = 255, 255, 255
    video.write(there, frames)
    scores = [[0.1, 0.9], [0.1, 0.9], [0.9, 0.1], [0.1, 0.9]]
    run = judged(tmp_path / "run", scores, [0, 0, 0, 1], "ab", [there, "gone.mp4", "fine.mp4", "also.mp4"])
    page = page_of(run)
    images = Images(page)
    assert set(images.alts) == {f"frames of {there}"}
    assert len(images.sources) == 3  # among confusions, worst mistakes and probable label errors
    (tmp_path / "strip.jpg").write_bytes(b64decode(images.sources[0].removeprefix("data:image/jpeg;base64,")))
    (strip,) = video.read(tmp_path / "strip.jpg")
    assert strip.shape[1] == pytest.approx(3 * strip.shape[0] * 48 / 40, abs=3)
    thirds = [part.mean(axis=(0, 1)).argmax() for part in np.split(strip[:, : strip.shape[1] // 3 * 3], 3, axis=1)]
    assert thirds == [0, 1, 2]  # from left to right: red, green, blue
    assert "It holds frames of 1 video; mvit report --no-frames leaves them and all names of videos out." in text_of(
        page
    )
    assert "1 video could not be shown" in text_of(page)
    without = page_of(run, frames=False)
    assert not Images(without).sources
    assert "could not be shown" not in text_of(without)


def test_a_page_without_frames_names_no_video(make_run, tmp_path):
    runs = [make_run(tmp_path / name, CLASSES, videos=40, skill=1.5, unreadable=2) for name in ("a", "b")]
    with (runs[0] / "scores.csv").open(newline="") as file:
        paths = {row["path"] for row in csv.DictReader(file)} | {"videos/broken_0.mp4", "videos/cut.mp4"}
    assert any(path in page_of(*runs) for path in paths)
    page = page_of(*runs, frames=False)
    for path in paths:
        assert Path(path).name not in page
    assert "videos/" not in page
    text = text_of(page)
    assert text.count("3 videos left out; none was replaced by another.") == 2
    assert "Videos have numbers here: their frames, paths and names are left out." in text
    worst = [mistake.path for mistake in read(runs[0]).worst]
    numbers = re.findall(r"video (\d+) (?:grab|swipe|tap)", text.split("Worst mistakes")[1].split("Probable")[0])
    assert numbers == [str(place + 1) for place in range(len(worst))]
    suspected = [suspect["path"] for suspect in json.loads((runs[0] / "calibration.json").read_text())["label_errors"]]
    labels = text.split("Probable label errors")[1].split("Unreadable videos")[0]
    again = next(path for path in suspected if path in worst)
    row = re.findall(r"video (\d+) (?:grab|swipe|tap)", labels)[suspected.index(again)]
    assert row == str(worst.index(again) + 1)  # one number all over the page


def test_a_part_of_a_video_is_shown_as_that_part(tmp_path):
    path = tmp_path / "x.mp4"
    frames = np.zeros((20, 32, 32, 3), dtype=np.uint8)
    frames[10:] = 255
    video.write(path, frames, fps=10)
    thumbnails = Thumbnails()
    assert thumbnails.of(f"{path}#t=1,2") != thumbnails.of(f"{path}#t=0,1")
    assert thumbnails.of(f"{path}#t=5,6") is None  # it is not as long
    assert (thumbnails.shown, thumbnails.lacking) == (2, 1)


def test_the_reliability_diagram_puts_bins_where_the_axes_say():
    bins = [
        {"videos": 30, "low": 0.0, "high": 0.0, "confidence": 0.0, "right": 0.0, "right_interval": [0.0, 0.1]},
        {"videos": 60, "low": 0.9, "high": 1.0, "confidence": 1.0, "right": 1.0, "right_interval": [0.9, 1.0]},
    ]
    figure = ET.fromstring(reliability("Bins", bins))  # noqa: S314 (our own)
    first, second = ((float(node.get("cx")), float(node.get("cy"))) for node in figure.iter("circle"))
    (ideal,) = (node for node in figure.iter("line") if node.get("class") == "chance")
    ends = [float(ideal.get(name)) for name in ("x1", "y1", "x2", "y2")]
    assert [*first, *second] == pytest.approx(ends)
    low, high = (float(node.get("height")) for node in figure.iter("rect"))
    assert high == pytest.approx(2 * low)
    said = [node.text.replace("\xa0", " ") for node in figure.iter("title")]
    assert said[1] == "60 videos with 90.0 % to 100.0 %, on average 100.0 %: 100.0 % right, 90.0 % to 100.0 %"


def test_the_coverage_curve_ends_at_the_accuracy():
    figure = ET.fromstring(coverage("Surest", [(0.5, 1.0, 0.9), (1.0, 0.8, 0.1)], [0.9]))  # noqa: S314 (our own)
    (dot,) = figure.iter("circle")
    (curve,) = (node.get("d") for node in figure.iter("path"))
    assert curve.endswith(f"{float(dot.get('cx')):.1f} {float(dot.get('cy')):.1f}")
    (wished,) = (float(node.get("y1")) for node in figure.iter("line") if node.get("class") == "chance")
    top = min(float(node.get("y1")) for node in figure.iter("line") if node.get("class") == "grid")
    assert wished - top == pytest.approx((float(dot.get("cy")) - top) / 2)


def test_of_several_classes_a_video_it_says_so(tmp_path, make_run):
    run = make_run(tmp_path / "run", CLASSES, videos=3)
    record = read(run)
    record.result["map"] = 0.5
    assert "Only where each video is of one class" in trust.calibration(record)
    assert "Only where each video is of one class" in trust.label_errors(record, Thumbnails())
