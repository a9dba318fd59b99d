"""Evaluation of videos of several classes at once: figures, denominators, and what is written."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from mvit.data.dataset import Sample
from mvit.evaluation.evaluate import Evaluation, evaluate, result, write
from mvit.evaluation.findings import summary
from mvit.evaluation.metrics import Ranking, sigmoid
from mvit.evaluation.probes import probe
from mvit.evaluation.scoring import Scoring
from probed import alike

CLASSES = ("light_down", "light_up", "steady")
SEVERAL = Scoring(multi_label=True)


def made_up(scores: list[list[float]], labels: list[str], lost: tuple[str, ...] = ()) -> Evaluation:
    """Labels are letters of a, b, c ... together, such as "ac"; "" is of no class."""
    samples = tuple(Sample(Path(f"{n}.mp4"), tuple(label)) for n, label in enumerate(labels))
    left_out = tuple(Sample(Path(f"bad/{n}.mp4"), tuple(label)) for n, label in enumerate(lost))
    return Evaluation(
        classes=tuple("abcdefg"[: len(scores[0])]),
        samples=samples,
        scores=np.array(scores),
        unreadable={sample.id: "it is empty" for sample in left_out},
        left_out=left_out,
        listed=len(samples) + len(left_out),
        protocol="10x3 views, max, 16x4, short side 256, crop 224",
        scoring=Scoring(multi_label=True, aggregate="max"),
    )


SCORES = [[0.9, 0.2, 0.1], [0.8, 0.7, 0.1], [0.7, 0.6, 0.1], [0.6, 0.9, 0.1]]
LABELS = ["a", "b", "ab", ""]


def test_result_by_hand():
    content = result(made_up(SCORES, LABELS))
    average_a, average_b = (1 + 2 / 3) / 2, (1 / 2 + 2 / 3) / 2
    assert content["per_class"] == {
        "a": {"average_precision": pytest.approx(average_a), "support": 2},
        "b": {"average_precision": pytest.approx(average_b), "support": 2},
        "c": {"average_precision": None, "support": 0},  # no video: left out of the mean, and counted
    }
    assert content["map"] == pytest.approx((average_a + average_b) / 2)
    assert (content["map_classes"], content["chance"], content["hit1"]) == (2, 0.5, 2 / 4)
    assert content["map_interval"] == Ranking(np.array(SCORES), made_up(SCORES, LABELS).labels).interval()
    low, high = content["map_interval"]
    assert content["headline"] == (
        f"mAP 70.8 % [{100 * low:.1f}, {100 * high:.1f}] (10x3 views, max, 16x4, short side 256, crop 224; "
        "4 of 4 videos, 2 of 3 classes have any)"
    )
    assert not {"top1", "top5", "confusion", "mean_class"} & set(content)


def test_unreadable_videos_are_never_found():
    content = result(made_up(SCORES, LABELS, lost=("bc", "")))
    average_a, average_b = (1 + 2 / 3) / 2, (1 / 2 + 2 / 3) / 2
    assert content["map"] == pytest.approx((average_a + average_b) / 2)
    # One of three videos of b is lost, and the only one of c.
    assert content["map_unreadable_wrong"] == pytest.approx((average_a + average_b * 2 / 3 + 0) / 3)
    assert (content["videos"], content["listed"], content["map_classes"]) == (4, 6, 2)
    assert content["headline"].endswith(
        "4 of 6 videos, 2 of 3 classes have any), 40.7 % with 2 unreadable counted wrong"
    )


def test_where_all_classes_have_videos_nothing_more_is_said():
    assert result(made_up([[0.9, 0.1], [0.2, 0.8]], ["ab", "b"]))["headline"].endswith("crop 224; 2 of 2 videos)")


def test_equal_scores_have_the_map_of_chance():
    content = result(made_up([[0.5, 0.5, 0.5]] * 4, ["a", "b", "ab", "c"]))
    assert content["map"] == pytest.approx(content["chance"]) == pytest.approx((2 / 4 + 2 / 4 + 1 / 4) / 3)


def test_videos_of_no_class_alone_have_no_map():
    with pytest.raises(ValueError, match=r"none of 2 readable videos is of any class, so there is no mAP"):
        result(made_up([[0.5, 0.5]] * 2, ["", ""], lost=("a",)))


def test_written_files_hold_what_was_measured(predict, samples, broken, preprocessing, tmp_path):
    both = [Sample(sample.path, (sample.label, "steady")) for sample in samples[:2]]
    listed = [*both, Sample(samples[2].path, ()), broken]
    outcome = evaluate(predict, listed, CLASSES, preprocessing, clips=2, scoring=SEVERAL)
    assert outcome.left_out == (broken,)
    assert outcome.labels.tolist() == [[True, False, True], [False, True, True], [False, False, False]]
    content = write(outcome, tmp_path)
    assert json.loads((tmp_path / "result.json").read_text()) == json.loads(json.dumps(content))
    with (tmp_path / "scores.csv").open(newline="") as file:
        header, *rows = csv.reader(file)
    assert header == ["path", "labels", "predicted", "correct", *CLASSES]
    assert [json.loads(row[1]) for row in rows] == [list(sample.labels) for sample in listed[:3]]
    assert [row[2:4] for row in rows] == [["light_down", "1"], ["light_up", "1"], ["steady", "0"]]
    np.testing.assert_allclose([[float(score) for score in row[4:]] for row in rows], outcome.scores, rtol=1e-7)
    assert outcome.scores[2, 2] == pytest.approx(sigmoid(np.array(0.5)))


def test_labels_of_the_other_kind_are_refused(predict, samples, preprocessing):
    strange = Sample(samples[0].path, ("steady", "sideways"))
    with pytest.raises(ValueError, match="'sideways', which is none of the model's 3 classes"):
        evaluate(predict, [strange], CLASSES, preprocessing, scoring=SEVERAL)
    with pytest.raises(ValueError, match="is of 2 classes, where one is due"):
        evaluate(predict, [Sample(samples[0].path, ("steady", "light_up"))], CLASSES, preprocessing)


# ---- the order probe -------------------------------------------------------------------------------------------------


def lights(samples: list[Sample]) -> list[Sample]:
    """Light that goes up or down; what stays is of no class."""
    return [Sample(sample.path, tuple({sample.label} - {"steady"})) for sample in samples]


def test_a_classifier_that_lives_by_order_loses_its_map(predict, samples, broken, preprocessing):
    listed = [*lights(samples), Sample(broken.path, ("light_up",))]
    found = probe(predict, listed, CLASSES, preprocessing, scoring=SEVERAL)
    evaluated = result(evaluate(predict, listed, CLASSES, preprocessing, clips=1, scoring=SEVERAL))
    assert (
        (found["ordered"]["map"], found["chance"])
        == (1.0, pytest.approx(1 / 3))
        == (evaluated["map"], evaluated["chance"])
    )
    assert found["reversed"]["map"] == pytest.approx((1 / 5 + 2 / 6) / 2, abs=0.1)  # its own come last
    assert 0.3 < found["shuffled"]["map"] < 0.9
    assert found["single_frame"]["map"] == pytest.approx(found["chance"])
    assert found["drops"]["single_frame"] == pytest.approx(100 * 2 / 3)
    assert (found["videos"], found["listed"], list(found["unreadable"])) == (6, 7, [str(broken.path)])
    assert found["meaning"].startswith("Shuffling the frames takes mAP from 100.0 % to ")
    assert "The model reads the order of frames" in found["meaning"]
    assert not {"majority", "called_mirror"} & {*found, *found["reversed"]}


def test_drops_are_of_the_same_draws_of_videos():
    rng = np.random.default_rng(0)
    labels = rng.random((60, 4)) < 0.4
    once = rng.normal(size=(60, 1, 4)) + 1.5 * labels[:, None]
    same = summary(alike(once.repeat(5, axis=1)), labels, "abcd")
    assert same["drop_intervals"] == {name: [0.0, 0.0] for name in ("shuffled", "reversed", "single_frame")}
    assert same["shuffled"]["std_over_orders"] == 0
    assert "a bag of frames would explain" in same["meaning"]
    blind = np.concatenate([once, rng.normal(size=(60, 4, 4))], axis=1)
    found = summary(alike(blind), labels, "abcd")
    rankings = [Ranking(blind[:, variant], labels) for variant in range(5)]
    assert found["ordered"]["map_interval"] == pytest.approx(rankings[0].interval(resamples=500))
    assert found["shuffled"]["map"] == pytest.approx((rankings[3].mean() + rankings[4].mean()) / 2)
    assert found["shuffled"]["std_over_orders"] == pytest.approx(abs(rankings[3].mean() - rankings[4].mean()) / 2)
    assert found["drops"]["reversed"] == pytest.approx(100 * (rankings[0].mean() - rankings[1].mean()))
    low, high = found["drop_intervals"]["shuffled"]
    assert 0 < low < found["drops"]["shuffled"] < high


def test_a_probe_of_nothing_learned_says_so():
    labels = np.eye(3, dtype=bool).repeat(10, axis=0)
    found = summary(alike(np.random.default_rng(0).random((30, 4, 3))), labels, "abc")
    assert found["chance"] == pytest.approx(1 / 3)
    assert "cannot be told from giving every video the same scores (33.3 %)" in found["meaning"]


@pytest.mark.parametrize(("videos", "groups"), [(20, ["ann"] * 20), (1, [])])
def test_one_unit_says_nothing_of_others(videos, groups):
    """All are ranked right in order, and by nothing when shuffled."""
    labels = np.tile([[True, False], [False, True]], (10, 1))[:videos]
    shown = np.stack([labels, labels, labels, ~labels, ~labels], axis=1).astype(np.float64)
    found = summary(alike(shown), labels, ["a", "b"], groups)
    assert found["ordered"]["map"] == 1
    for figures in (found["ordered"], found["shuffled"], *found["kendall"]):
        assert figures["map_interval"] == (0, 1)
    assert found["drop_intervals"]["shuffled"] == [-100, 100]
    assert "cannot be told from giving every video the same scores" in found["meaning"]
