"""Figures, pairs and sentences of a probe from answers made up for them."""

import numpy as np
import pytest

from mvit.evaluation.findings import summary
from mvit.evaluation.metrics import paired_difference, wilson
from mvit.evaluation.statistics import difference_interval, mean_interval
from mvit.evaluation.verdict import meaning, table
from probed import alike, answers


def test_the_sample_is_the_videos_not_the_orders():
    # Ten orders of four videos: two always right, two never. Forty independent trials would give a narrower interval.
    predictions = np.array([[0] * 13, [0] * 13, [0, 1, 1] + [1] * 10, [0, 1, 1] + [1] * 10])
    found = summary(alike(predictions), np.zeros(4, dtype=np.int64), ["a", "b"])
    right = np.array([1.0, 1.0, 0.0, 0.0])
    assert found["shuffled"]["top1"] == 0.5
    assert found["shuffled"]["top1_interval"] == mean_interval(right, np.arange(4)) == (0, 1)
    assert found["drops"]["shuffled"] == 50.0
    low, high = difference_interval(np.ones(4), right, np.arange(4))
    assert found["drop_intervals"]["shuffled"] == [100 * low, 100 * high]
    assert found["majority"] == 1.0


def test_spread_over_orders_by_hand():
    predictions = np.zeros((2, 5), dtype=np.int64)
    predictions[0, 3] = 1  # right in one of two orders
    found = summary(alike(predictions), np.zeros(2, dtype=np.int64), ["a", "b"])
    assert found["shuffled"]["top1"] == 0.75
    assert found["shuffled"]["std_over_orders"] == pytest.approx(0.25)  # 0.5 and 1.0
    assert [grade["top1"] for grade in found["kendall"]] == [0.5, 1.0]


def test_figures_by_class_and_pairs_that_collapse():
    labels = np.array([0, 0, 1, 1, 2, 2])
    right = np.tile(labels[:, None], (1, 5))
    right[0, 3:] = 1  # left taken for right in both orders
    right[2, 3] = 0  # and right for left in one
    right[4, 3:] = right[4, 0] = 0  # wrong in order already
    found = summary(alike(right), labels, ["swipe left", "swipe right", "tap"], ["a", "a", "b", "b", "c", "c"])
    assert found["per_class"]["swipe left"]["support"] == 2
    assert found["per_class"]["swipe left"]["ordered"] == 1
    assert found["per_class"]["swipe left"]["shuffled"] == 0.5
    # Of one group alone, whose mean drop is half.
    interval = paired_difference(np.array([1.0]), np.array([0.5]))
    assert found["per_class"]["swipe left"]["drop_interval"] == [100 * value for value in interval]
    (pair,) = found["collapses"]
    assert pair == {
        "classes": ["swipe left", "swipe right"],
        "videos": 4,
        "ordered": 0.0,
        "shuffled": 1.5 / 4,
        "shuffled_each": [0.5, 0.25],
        "mirror": True,
    }
    assert found["shuffled"]["most_called"] == {
        "class": "swipe left", "share": pytest.approx(5 / 12), "ordered": 0.5
    }  # fmt: skip


def test_reversed_clips_are_scored_by_what_they_show():
    labels = np.array([0, 1, 2, 2])
    predictions = np.tile(labels[:, None], (1, 13))
    predictions[:, 1] = [1, 0, 2, 0]
    found = summary(alike(predictions), labels, ["open", "close", "tap"])["reversed"]
    assert (found["top1"], found["called_mirror"], found["shown_top1"]) == (0.25, 1.0, 0.75)
    assert found["called_mirror_interval"] == wilson(2, 2)


def test_classes_without_a_mirror_have_no_such_figure():
    found = summary(alike(np.zeros((3, 13), dtype=np.int64)), np.zeros(3, dtype=np.int64), ["cat", "dog"])
    assert found["reversed"]["called_mirror"] is found["reversed"]["shown_top1"] is None
    assert found["reversed"]["mirror_videos"] == 0
    assert "no class is another one reversed" in meaning({**found, "majority": 0.5, "chance": 0.5, "ordered": {
        "top1": 0.9, "top1_interval": [0.8, 0.95]}})  # fmt: skip


def known(ordered: int, shuffled: int, videos: int = 100, **others: int) -> dict:
    """Figures of so many videos right in order, and so many in each random order, of two balanced classes."""
    labels = np.arange(videos) % 2
    counts = {"ordered": ordered, "reversed": ordered, "single_frame": ordered, "shuffled": shuffled} | others
    right = {
        name: np.tile((np.arange(videos) < count)[:, None], (1, 10 if name == "shuffled" else 1))
        for name, count in counts.items()
    }
    outcomes = {name: np.where(hit, labels[:, None], 1 - labels[:, None]) for name, hit in right.items()}
    return summary(answers(outcomes), labels, ["step left", "step right"])


def test_the_sentence_says_what_the_figures_allow():
    assert "reads the order of frames: most" in known(90, 60)["meaning"]
    assert "reads the order of frames: part" in known(90, 75)["meaning"]
    assert "a bag of frames would explain" in known(90, 90)["meaning"]
    assert "cannot be told from always answering one class (50.0 %)" in known(55, 50)["meaning"]
    assert "is worse than always answering one class (50.0 %)" in known(5, 50)["meaning"]
    assert "strange" in known(70, 95)["meaning"]
    assert (
        "from 90.0 % to 60.0 %, 30.0 points fewer (95 % interval 21.0 to 39.0, 100 videos)" in known(90, 60)["meaning"]
    )
    assert "25.0 points more (95 % interval 1" in known(70, 95)["meaning"]
    assert "Played backwards, 10.0 % of the 100 videos" in known(90, 60)["meaning"]
    assert "too narrow" not in known(90, 60)["meaning"]
    assert "no more than 9 videos are rough" in known(9, 0, videos=9)["meaning"]
    assert "say nothing yet. Intervals over no more than 9 videos are rough" in known(5, 4, videos=9)["meaning"]


def test_near_and_far_are_told_apart():
    said = known(90, 60, deranged_4=88, windows_4=65, shuffled_after_stem=70)["meaning"]
    assert (
        "only within windows of 4 frames it keeps 88.0 %, with such windows whole but in another order 65.0 %" in said
    )
    assert "shuffled behind it 70.0 %." in said
    assert "windows of 2 frames it keeps 80.0 %" in known(90, 60, deranged_2=80, windows_2=65)["meaning"]
    assert "windows" not in known(90, 60)["meaning"]


@pytest.mark.parametrize("videos", [1, 2, 40])
@pytest.mark.parametrize("classes", [["only"], ["no", "yes"], ["close", "open", "wait"]])
@pytest.mark.parametrize("right", [True, False])
def test_any_number_of_classes_and_videos_all_right_or_all_wrong_is_readable(videos, classes, right):
    labels = np.arange(videos) % len(classes)
    predicted = labels if right else (labels + 1) % len(classes)
    found = summary(alike(np.tile(predicted[:, None], (1, 13))), labels, classes, ["ann"] * videos)
    hits = right or len(classes) == 1
    assert found["ordered"]["top1"] == found["shuffled"]["top1"] == float(hits)
    low, high = found["ordered"]["top1_interval"]
    assert (high == 1 and low < 1) if hits else (low == 0 and high > 0)
    low, high = found["drop_intervals"]["shuffled"]
    assert low < 0 < high
    assert found["collapses"] == []
    assert "nan" not in (found["meaning"] + table(found)).lower()
    assert " 1 videos" not in table(found)
    assert "1 group" in found["meaning"] or "told from" in found["meaning"] or "worse than" in found["meaning"]


def test_videos_without_a_group_are_not_counted_as_groups():
    outcomes = alike(np.tile((np.arange(12) % 2)[:, None], (1, 13)))
    groups = ["ann", "ann", "bob", "bob", *[None] * 8]
    found = summary(outcomes, np.arange(12) % 2, ["a", "b"], groups)
    assert found["sampled"] == {"unit": "group", "count": 10, "groups": 2}
    assert "12 videos: 2 groups and 8 videos without one)" in found["meaning"]
    found = summary(outcomes, np.arange(12) % 2, ["a", "b"], [*groups[:4], *["eve"] * 7, None])
    assert "no more than 3 groups and 1 video without one are rough" in found["meaning"]


def test_a_wide_interval_is_no_proof_of_a_bag_of_frames():
    found = known(90, 90)
    assert "a bag of frames would explain" in found["meaning"]
    found["drop_intervals"]["shuffled"] = [-3.0, 14.0]
    assert "nor can 14.0 points of it be excluded" in meaning(found)
    found["reversed"] |= {"title": "reversed"}
    found["drops"] |= {"reversed": 12.0, "single_frame": 50.0}
    found["drop_intervals"] |= {"reversed": [2.0, 22.0], "single_frame": [40.0, 60.0]}
    said = meaning(found)
    assert "other orders cost something that can: reversed 12.0 points (95 % interval 2.0 to 22.0)" in said
    assert "bag of frames" not in said


def test_of_the_control_it_is_not_said_what_holds_of_others():
    for shuffled in (60, 95):
        said = meaning(known(90, shuffled) | {"control": True})
        assert "The model was trained on shuffled clips: what it has of them is what can be known without order" in said
        assert not any(words in said for words in ("reads the order", "unlike anything", "strange", "bag of frames"))


def test_no_loss_has_no_sign():
    found = known(90, 60)
    found["drops"]["shuffled"], found["drop_intervals"]["shuffled"] = -1e-14, [-0.04, 0.04]
    (line,) = (line for line in table(found).splitlines() if line.startswith("shuffled"))
    assert " ".join(line.split()).endswith("69.0] 0.0 [ 0.0, 0.0] 0.50")


def test_the_table_has_a_line_for_each_disorder():
    found = known(90, 60, deranged_2=80, windows_2=65) | {"not_asked": {"windows_8": "a clip has 8 frames"}}
    head, *lines = table(found).splitlines()
    assert " ".join(head.split()) == "frames top-1 95 % interval lost 95 % interval Kendall distance"
    shown = [" ".join(line.split()) for line in lines]
    assert shown[0] == "in order 90.0 [ 84.0, 96.0]"
    assert shown[1] == "shuffled 60.0 [ 51.0, 69.0] 30.0 [ 21.0, 39.0] 0.50"
    assert shown[3].startswith("one frame, repeated 90.0 [")
    assert shown[3].endswith("] -")
    assert shown[-2].startswith("reversed, called its mirror 10.0 [")
    assert shown[-2].endswith("] of 100 videos")
    assert shown[-1] == "not asked: windows of 8 shuffled whole: a clip has 8 frames"
    assert len({len(line) for line in (head, *lines[1:6])}) == 1
