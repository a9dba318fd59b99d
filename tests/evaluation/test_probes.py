"""The order probe on videos and classifiers of which the right figures are known."""

import json

import numpy as np
import pytest

from mvit.data.dataset import Sample
from mvit.data.sampling import ClipSampling
from mvit.data.views import Preprocessing
from mvit.evaluation import evaluate as evaluation
from mvit.evaluation.evaluate import evaluate, result
from mvit.evaluation.metrics import wilson
from mvit.evaluation.probes import frame_orders, meaning, probe, summary, write

CLASSES = ("light_down", "light_up", "steady")


def test_a_classifier_that_lives_by_order_loses_all_of_it(predict, samples, broken, preprocessing):
    found = probe(predict, [*samples, broken], CLASSES, preprocessing)
    assert found["ordered"]["top1"] == 1.0
    assert found["reversed"]["top1"] == 2 / 6  # steady light
    assert found["reversed"]["called_mirror"] == 1.0
    assert found["reversed"]["called_mirror_interval"] == wilson(4, 4)
    assert found["reversed"]["mirror_videos"] == 4
    assert found["reversed"]["mirrors"] == {"light_down": "light_up", "light_up": "light_down"}
    assert found["single_frame"]["top1"] == 2 / 6
    assert 0.4 < found["shuffled"]["top1"] < 0.8  # steady stays right, the others half of the time
    assert found["drops"]["reversed"] == pytest.approx(100 * 4 / 6)
    assert (found["videos"], found["listed"], list(found["unreadable"])) == (6, 7, [str(broken.path)])
    assert found["protocol"] == "1x1 views, 8 segments, short side 32, crop 32"
    assert found["chance"] == pytest.approx(1 / 3)


def test_a_bag_of_frames_loses_nothing(samples, preprocessing):
    def by_spread(clips):
        spread = clips.std(axis=(1, 2, 3, 4), dtype=np.float64)
        return np.stack([spread, spread + 0.1, np.full(len(clips), 0.5)], axis=1)

    found = probe(by_spread, samples, CLASSES, preprocessing, clips=2)
    assert found["ordered"]["top1"] == 4 / 6  # all that moves is called light_up
    assert found["drops"] == pytest.approx({"shuffled": 0.0, "reversed": 0.0, "single_frame": 100 * 2 / 6})
    assert found["shuffled"]["top1_interval"] == pytest.approx(found["ordered"]["top1_interval"])
    assert found["shuffled"]["std_over_orders"] == pytest.approx(0.0)
    assert found["reversed"]["called_mirror"] == 0.5


def test_ordered_is_what_evaluate_measures(samples, preprocessing):
    weights = np.random.default_rng(0).normal(size=(3 * 8 * 32 * 32, 3))

    def predict(clips):
        return clips.reshape(len(clips), -1) @ weights

    evaluated = result(evaluate(predict, samples, CLASSES, preprocessing, clips=2, crops=3))
    probed = probe(predict, samples, CLASSES, preprocessing, clips=2, crops=3)
    assert probed["ordered"]["top1"] == evaluated["top1"]
    assert probed["ordered"]["top1_interval"] == evaluated["top1_interval"]


def test_the_classifier_sees_each_order_of_the_same_frames(samples, preprocessing):
    seen = []

    def predict(clips):
        seen.append(clips[0, 0, :, 16, 16])
        return np.zeros((len(clips), 3))

    probe(predict, samples[:1], CLASSES, preprocessing, orders=10)
    assert len(seen) == 13
    ordered, backwards, single, *shuffled = seen
    assert (backwards == ordered[::-1]).all()
    assert (single == ordered[4]).all()
    for clip in shuffled:
        assert (np.sort(clip) == np.sort(ordered)).all()
        assert (clip != ordered).any()


def test_every_video_is_decoded_once(monkeypatch, predict, samples, preprocessing):
    read, paths = evaluation.read_views, []

    def counting(path, *rest, **named):
        paths.append(path)
        return read(path, *rest, **named)

    monkeypatch.setattr(evaluation, "read_views", counting)
    probe(predict, samples, CLASSES, preprocessing, orders=12)
    assert sorted(paths) == sorted(sample.path for sample in samples)


def test_orders_follow_from_the_seed_alone_and_differ_between_videos(samples, preprocessing):
    def orders_seen(seed):
        seen = []

        def predict(clips):
            seen.append(clips[0, 0, :, 16, 16].argsort().argsort())
            return np.zeros((1, 3))

        probe(predict, [samples[0], samples[0]], CLASSES, preprocessing, seed=seed)
        return np.array(seen)

    first = orders_seen(0)
    assert (first == orders_seen(0)).all()
    assert (first != orders_seen(1)).any()
    assert (first[3:13] != first[16:26]).any()


@pytest.mark.parametrize("frames", [2, 3, 16])
def test_frame_orders(frames):
    orders = frame_orders(frames, 10, np.random.default_rng(0))
    assert orders.shape == (13, frames)
    assert orders[0].tolist() == list(range(frames))
    assert orders[1].tolist() == list(range(frames))[::-1]
    assert set(orders[2]) == {frames // 2}
    assert (np.sort(orders[3:], axis=1) == np.arange(frames)).all()
    assert (orders[3:] != np.arange(frames)).any(axis=1).all()


def test_the_sample_is_the_videos_not_the_orders():
    # Ten orders of four videos: two always right, two never. Forty independent trials would give a narrower interval.
    predictions = np.array([[0] * 13, [0] * 13, [0, 1, 1] + [1] * 10, [0, 1, 1] + [1] * 10])
    found = summary(predictions, np.zeros(4, dtype=np.int64), ["a", "b"])
    assert found["shuffled"]["top1"] == 0.5
    assert found["shuffled"]["top1_interval"] == wilson(2, 4)
    assert found["drops"]["shuffled"] == 50.0
    assert found["majority"] == 1.0


def test_spread_over_orders_by_hand():
    predictions = np.zeros((2, 5), dtype=np.int64)
    predictions[0, 3] = 1  # right in one of two orders
    found = summary(predictions, np.zeros(2, dtype=np.int64), ["a", "b"])
    assert found["shuffled"]["top1"] == 0.75
    assert found["shuffled"]["std_over_orders"] == pytest.approx(0.25)  # 0.5 and 1.0


def test_classes_without_a_mirror_have_no_such_figure():
    found = summary(np.zeros((3, 13), dtype=np.int64), np.zeros(3, dtype=np.int64), ["cat", "dog"])
    assert found["reversed"]["called_mirror"] is None
    assert found["reversed"]["mirror_videos"] == 0
    assert "no class is another one reversed" in meaning({**found, "majority": 0.5, "chance": 0.5, "ordered": {
        "top1": 0.9, "top1_interval": [0.8, 0.95]}})  # fmt: skip


def known(ordered: int, shuffled: int, videos: int = 100) -> dict:
    """Figures of so many videos right in order, and so many in each random order, of two balanced classes."""
    labels = np.arange(videos) % 2
    right = np.zeros((videos, 13), dtype=bool)
    right[:ordered, :3] = True
    right[:shuffled, 3:] = True
    return summary(np.where(right, labels[:, None], 1 - labels[:, None]), labels, ["step left", "step right"])


def test_the_sentence_says_what_the_figures_allow():
    assert "reads the order of frames: most" in known(90, 60)["meaning"]
    assert "reads the order of frames: part" in known(90, 75)["meaning"]
    assert "a bag of frames would explain" in known(90, 90)["meaning"]
    assert "cannot be told from always answering one class (50.0 %)" in known(55, 50)["meaning"]
    assert "strange" in known(70, 95)["meaning"]
    assert "from 90.0 % to 60.0 %, 30.0 points fewer (95 % interval 20." in known(90, 60)["meaning"]
    assert "25.0 points more (95 % interval 15." in known(70, 95)["meaning"]
    assert "Played backwards, 10.0 % of the 100 videos" in known(90, 60)["meaning"]


def test_what_cannot_be_probed_is_refused(predict, samples, broken, preprocessing):
    still = Preprocessing(sampling=ClipSampling(frames=1), short_side=32, crop=32)
    with pytest.raises(ValueError, match="no order to probe"):
        probe(predict, samples, CLASSES, still)
    with pytest.raises(ValueError, match="orders is 0"):
        probe(predict, samples, CLASSES, preprocessing, orders=0)
    with pytest.raises(ValueError, match="none of the 1 videos can be read"):
        probe(predict, [broken], CLASSES, preprocessing)
    with pytest.raises(ValueError, match="none of the model's 3 classes"):
        probe(predict, [Sample(samples[0].path, "sideways")], CLASSES, preprocessing)


def test_the_file_holds_the_figures(predict, samples, preprocessing, tmp_path):
    found = probe(predict, samples, CLASSES, preprocessing)
    write(found, tmp_path / "run")
    assert json.loads((tmp_path / "run/probe.json").read_text()) == json.loads(json.dumps(found))
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["probe.json"]
