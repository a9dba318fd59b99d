"""An evaluation read back, and what is written of how far it can be trusted, down to one video of one class."""

import json
from pathlib import Path

import numpy as np
import pytest

from mvit.data.dataset import Sample
from mvit.data.sampling import Part
from mvit.evaluation import saved
from mvit.evaluation.evaluate import Evaluation, write
from mvit.evaluation.scoring import Scoring


def written(folder: Path, scores, labels: str, classes: str = "abc", at: Path = Path("/v")) -> Path:
    samples = tuple(Sample(at / f"{place}.mp4", label) for place, label in enumerate(labels))
    write(
        Evaluation(
            classes=tuple(classes),
            samples=samples,
            scores=np.array(scores, dtype=np.float64),
            unreadable={},
            left_out=(),
            listed=len(samples),
            protocol="1x1 views",
        ),
        folder,
    )
    return folder


def calibrated(folder: Path) -> dict:
    saved.calibrate(folder)
    return json.loads((folder / "calibration.json").read_text())


SCORES = [[0.8, 0.1, 0.1], [0.1, 0.7, 0.2], [0.3, 0.3, 0.4], [0.05, 0.9, 0.05]]


def test_what_was_written_is_read_back(tmp_path):
    found = saved.read(written(tmp_path, SCORES, "abca"))
    assert found.classes == ("a", "b", "c")
    assert found.paths == ("/v/0.mp4", "/v/1.mp4", "/v/2.mp4", "/v/3.mp4")
    assert found.labels.tolist() == [0, 1, 2, 0]
    np.testing.assert_allclose(found.scores, SCORES, rtol=1e-7)
    assert found.right.tolist() == [True, True, True, False]
    assert found.result["top1"] == 3 / 4


def test_parts_of_a_video_without_a_group_are_drawn_together(tmp_path):
    parts = [Sample(Path("/v/a.mp4"), "a", part=Part(0, 1)), Sample(Path("/v/a.mp4"), "a", part=Part(1, 2))]
    whole = [Sample(Path("/v/b.mp4"), "a"), Sample(Path("/v/c.mp4"), "a", group="ann", part=Part(0, 1))]
    assert [sample.drawn_with for sample in (*parts, *whole)] == ["/v/a.mp4", "/v/a.mp4", None, "ann"]
    (tmp_path / "split.csv").write_text("path,label,split,start,end\n/v/a.mp4,a,val,0,1\n/v/a.mp4,a,val,1,2\n")
    assert saved.groups_of(tmp_path, [str(sample.id) for sample in parts]) == ["/v/a.mp4"] * 2


def test_what_was_called_stays_where_the_file_rounds_two_scores_to_one(tmp_path):
    folder = written(tmp_path, [[0.5 - 1e-10, 0.5 + 1e-10, 0.0], [0.2, 0.7, 0.1]], "bb")
    found = saved.read(folder)
    assert found.scores[0].tolist() == [0.5, 0.5, 0.0]
    assert found.right.tolist() == [True, True]
    assert saved.trust(found, [None, None])["calibration"]["right"] == found.result["top1"] == 1
    table = (folder / "scores.csv").read_text()
    (folder / "scores.csv").write_text(table.replace("/v/1.mp4,b,b", "/v/1.mp4,b,a"))
    with pytest.raises(ValueError, match="called by another class than that of its highest score"):
        saved.read(folder)


def test_trust_is_written_with_its_denominators_and_the_wrong_label(tmp_path):
    folder = written(tmp_path, SCORES, "abca")
    rows = ("/v/0.mp4,a,ann,val", "/v/1.mp4,b,ann,val", "/v/2.mp4,c,bob,val", "/v/3.mp4,a,,val", "/v/4.mp4,a,eve,train")
    (folder / "split.csv").write_text("\n".join(["path,label,group,split", *rows]))
    content = calibrated(folder)
    assert (content["videos"], content["groups"], content["units"]) == (4, 2, 3)
    assert content["log_loss"] == pytest.approx(-np.log([0.8, 0.7, 0.4, 0.05]).mean())
    assert content["label_errors"] == [
        {
            "path": "/v/3.mp4",
            "label": "a",
            "suggested": "b",
            "score": 0.9,
            "own_score": 0.05,
            "margin": pytest.approx(-0.85),
        }
    ]
    assert content["coverage"][-1] == [1.0, 0.75, 0.4]


@pytest.mark.parametrize("inside", [".", "views-5x1", "model-onnx/on-others/views-5x1"])
def test_groups_are_those_of_the_run_also_by_other_views_and_by_a_link(inside, tmp_path):
    run, videos = tmp_path / "run", tmp_path / "videos"
    videos.mkdir()
    (tmp_path / "linked").symlink_to(videos)
    written(run / inside, SCORES, "abca", at=tmp_path / "linked")
    (run / "model.json").touch()
    rows = (f"{videos}/0.mp4,a,ann", f"{videos}/1.mp4,b,ann", f"{videos}/2.mp4,c,bob", f"{videos}/3.mp4,a,")
    (run / "split.csv").write_text("\n".join(["path,label,group", *rows]))
    content = calibrated(run / inside)
    assert (content["groups"], content["units"]) == (2, 3)


def test_a_table_above_a_folder_that_is_in_no_run_is_not_read(tmp_path):
    (tmp_path / "split.csv").write_text("another's\n")
    assert calibrated(written(tmp_path / "run", SCORES, "abca"))["units"] == 4


def test_it_repeats_to_the_digit(tmp_path):
    folder = written(tmp_path, np.random.default_rng(0).dirichlet(np.ones(3), 60), "abc" * 20)
    assert calibrated(folder) == calibrated(folder)


@pytest.mark.parametrize(
    ("scores", "labels", "classes"),
    [
        ([[1.0]], "a", "a"),
        ([[0.4, 0.6]], "a", "ab"),
        ([[0.9, 0.1]] * 3, "bbb", "ab"),  # all wrong
        ([[0.9, 0.1]] * 3, "aaa", "ab"),  # all right
        ([[0.5, 0.5]] * 4, "abab", "ab"),
        ([[0.0, 1.0]] * 2, "ab", "ab"),
    ],
)
def test_next_to_nothing_has_figures(scores, labels, classes, tmp_path):
    content = calibrated(written(tmp_path, scores, labels, classes))
    share = sum(label == classes[int(np.argmax(row))] for row, label in zip(scores, labels, strict=True)) / len(labels)
    assert content["calibration"]["right"] == share
    for way in ("equal_width", "adaptive"):
        figures = content["calibration"][way]
        low, high = figures["error_interval"]
        assert 0 <= low <= figures["error"] + 1e-9 <= high + 2e-9 <= 1 + 2e-9
        assert sum(each["videos"] for each in figures["bins"]) == len(labels)
    assert {row["threshold"] is None for row in content["thresholds"]} == {share < 0.8}
    assert "NaN" not in (tmp_path / "calibration.json").read_text()


def test_only_one_class_a_video_is_read(tmp_path):
    several = Evaluation(
        classes=("a", "b"),
        samples=(Sample(Path("x.mp4"), ("a", "b")),),
        scores=np.array([[0.5, 0.6]]),
        unreadable={},
        left_out=(),
        listed=1,
        protocol="1x1 views",
        scoring=Scoring(multi_label=True),
    )
    write(several, tmp_path / "several")
    saved.calibrate(tmp_path / "several")
    saved.calibrate(tmp_path)
    assert not list(tmp_path.rglob("calibration.json"))
    with pytest.raises(ValueError, match="several classes"):
        saved.read(tmp_path / "several")


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("scores.csv", "path,label,predicted,correct,a,b\n", "columns"),
        ("scores.csv", "path,label,predicted,correct,a,b,c\n0.mp4,z,a,0,1,0,0\n", "'z'"),
        ("scores.csv", "path,label,predicted,correct,a,b,c\n0.mp4,a,a,1,1,0,nan\n", "below 0 or not finite"),
        ("scores.csv", "path,label,predicted,correct,a,b,c\n0.mp4,a,a,1,1,-0.1,0\n", "below 0 or not finite"),
        (
            "scores.csv",
            "path,label,predicted,correct,a,b,c\n0.mp4,a,a,1,1,0,\n",
            "its line 2 lacks a class or a number",
        ),
        ("scores.csv", "path,label,predicted,correct,a,b,c\n" + 2 * "0.mp4,a,a,1,1,0,0\n", "a video is in it twice"),
        ("scores.csv", "path,label,predicted,correct,a,b,c\n0.mp4,a,a,1,1,0\n", "its line 2 has 6 of 7 columns"),
        ("scores.csv", "path,label,predicted,correct,a,b,c\n0.mp4,a,a,1,1,0,0\n", "it has 1 video, result.json 4"),
        ("scores.csv", "path,label,predicted,correct,a,b,c\n", "it holds no video"),
        ("result.json", "{", "was not written by evaluation"),
        ("result.json", "[]", "was not written by evaluation"),
    ],
)
def test_a_foreign_file_is_named(file, content, message, tmp_path):
    written(tmp_path, SCORES, "abca")
    before = {path.name for path in tmp_path.iterdir()}
    (tmp_path / file).write_text(content)
    with pytest.raises(ValueError, match=message) as refused:
        saved.calibrate(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == before
    assert str(tmp_path / file) in str(refused.value)
    assert "evaluate again" in str(refused.value)


def test_a_folder_without_an_evaluation_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"result\.json does not exist: run mvit evaluate"):
        saved.read(tmp_path)
