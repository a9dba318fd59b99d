"""Scores of a video from the logits of its views, of one label and of several."""

import numpy as np
import pytest

from mvit.evaluation.evaluate import score_video
from mvit.evaluation.metrics import sigmoid, softmax
from mvit.evaluation.scoring import Scoring

LOGITS = np.log([[1.0, 1.0, 2.0], [8.0, 1.0, 1.0]])
HALF, MOST = [0.5, 0.5, 2 / 3], [8 / 9, 0.5, 0.5]


@pytest.mark.parametrize(
    ("scoring", "expected"),
    [
        (Scoring(), [(0.25 + 0.8) / 2, (0.25 + 0.1) / 2, (0.5 + 0.1) / 2]),
        (Scoring(aggregate="max"), [0.8, 0.25, 0.5]),
        (Scoring(multi_label=True), np.mean([HALF, MOST], axis=0)),
        (Scoring(multi_label=True, aggregate="max"), [8 / 9, 0.5, 2 / 3]),
    ],
)
def test_scores_by_hand(scoring, expected, samples, preprocessing):
    assert scoring.scores(LOGITS) == pytest.approx(expected)
    scores = score_video(lambda clips: LOGITS, samples[0].path, preprocessing, 2, 1, scoring)
    assert scores == pytest.approx(expected)
    assert scores.dtype == np.float64


def test_of_one_view_the_mean_is_the_highest():
    logits = np.random.default_rng(0).normal(size=(1, 5)).astype(np.float32)
    for aggregate in ("mean", "max"):
        assert (Scoring(aggregate=aggregate).scores(logits) == softmax(logits)[0]).all()
        assert (Scoring(multi_label=True, aggregate=aggregate).scores(logits) == sigmoid(logits)[0]).all()


def test_it_is_read_back_from_a_description_and_older_ones_are_of_one_label():
    scoring = Scoring(multi_label=True, aggregate="max")
    assert Scoring.of({"classes": ["a"], **scoring.to_dict()}) == scoring
    assert Scoring.of({"classes": ["a"]}) == Scoring()
    for damaged in ({"multi_label": 1}, {"aggregate": "median"}, {"aggregate": None}):
        with pytest.raises(ValueError, match="aggregate mean or max, not"):
            Scoring.of(damaged)


def test_a_metric_has_its_own_name():
    assert (Scoring().metric, Scoring().hit, Scoring().activation) == (("top1", "top-1"),) * 2 + ("softmax",)
    several = Scoring(multi_label=True)
    assert (several.metric, several.hit, several.activation) == (("map", "mAP"), ("hit1", "hit@1"), "sigmoid")
