"""The probes of time on videos and classifiers of which the right figures are known."""

import json

import numpy as np
import pytest

from mvit.data.dataset import Sample
from mvit.data.sampling import ClipSampling
from mvit.data.views import Preprocessing
from mvit.evaluation import evaluate as evaluation
from mvit.evaluation import findings, probes
from mvit.evaluation.disorders import TITLES
from mvit.evaluation.evaluate import evaluate, result
from mvit.evaluation.probes import probe, write
from mvit.evaluation.scoring import AfterStem, Scoring

CLASSES = ("light_down", "light_up", "steady")


def test_a_classifier_that_lives_by_order_loses_all_of_it(predict, samples, broken, preprocessing):
    found = probe(predict, [*samples, broken], CLASSES, preprocessing)
    assert found["ordered"]["top1"] == 1.0
    assert found["reversed"]["top1"] == 2 / 6  # steady light
    assert found["reversed"]["called_mirror"] == found["reversed"]["shown_top1"] == 1.0
    assert found["reversed"]["mirror_videos"] == 4
    assert found["reversed"]["mirrors"] == {"light_down": "light_up", "light_up": "light_down"}
    assert found["single_frame"]["top1"] == 2 / 6
    assert 0.4 < found["shuffled"]["top1"] < 0.8  # steady stays right, the others half of the time
    assert found["drops"]["reversed"] == pytest.approx(100 * 4 / 6)
    # It compares the first frame with the last: nothing changes where windows at both ends are only mixed inside.
    for name in ("stride_doubled", "deranged_2", "deranged_4"):
        assert found["drops"][name] == 0
    assert found["windows_4"]["top1"] == 2 / 6  # the second half first
    assert [found["kendall"][grade]["top1"] for grade in (0, 9)] == [1.0, 2 / 6]
    assert (found["videos"], found["listed"], list(found["unreadable"])) == (6, 7, [str(broken.path)])
    assert found["protocol"] == "1x1 views, 8 segments, short side 32, crop 32"
    assert found["chance"] == pytest.approx(1 / 3)
    assert found["sampled"] == {"unit": "video", "count": 6, "groups": 0}


def test_a_bag_of_frames_loses_nothing(samples, preprocessing):
    def by_spread(clips):
        spread = clips.std(axis=(1, 2, 3, 4), dtype=np.float64)
        return np.stack([spread, spread + 0.1, np.full(len(clips), 0.5)], axis=1)

    found = probe(by_spread, samples, CLASSES, preprocessing, clips=2)
    assert found["ordered"]["top1"] == 4 / 6  # all that moves is called light_up
    drops = {name: 0.0 for name in found["disorders"] if name != "ordered"}
    assert found["drops"] == pytest.approx(drops | {"single_frame": 100 * 2 / 6})
    assert found["shuffled"]["top1_interval"] == pytest.approx(found["ordered"]["top1_interval"])
    assert found["shuffled"]["std_over_orders"] == pytest.approx(0.0)
    assert found["reversed"]["called_mirror"] == 0.5


def test_ordered_is_what_evaluate_measures_also_by_map_and_in_small_batches(monkeypatch, samples, preprocessing):
    weights = np.random.default_rng(0).normal(size=(3 * 8 * 32 * 32, 3)) / 100

    def predict(clips):
        return clips.reshape(len(clips), -1) @ weights

    monkeypatch.setattr(findings, "RANKED_RESAMPLES", 5)
    for several in (Scoring(), Scoring(multi_label=True, aggregate="max")):
        how = {"clips": 2, "crops": 3, "scoring": several}
        evaluated = result(evaluate(predict, samples, CLASSES, preprocessing, **how))
        probed = probe(predict, samples, CLASSES, preprocessing, orders=3, **how)
        key = several.metric.key
        assert probed["ordered"][key] == pytest.approx(evaluated[key])
        with monkeypatch.context() as patched:
            patched.setattr(probes, "BATCH_BYTES", 1)
            small = probe(predict, samples, CLASSES, preprocessing, orders=3, **how)
        assert small["shuffled"][key] == pytest.approx(probed["shuffled"][key])


def test_each_view_alone_and_all_together(monkeypatch, samples, preprocessing):
    """Logits by the place of the view: the first is right, the second as sure of something else, all are right."""

    def predict(clips):
        logits = np.zeros((len(clips), 3))
        logits[0::2, 2] = 3
        logits[1::2, 0] = 1
        return logits

    steady = [sample for sample in samples if sample.label == "steady"]
    found = probe(predict, steady, CLASSES, preprocessing, clips=2, orders=2)
    assert found["shuffled"]["top1"] == 1
    assert found["shuffled"]["per_view"] == found["ordered"]["per_view"] == [1.0, 0.0]
    monkeypatch.setattr(findings, "RANKED_RESAMPLES", 5)
    ranked = probe(predict, samples, CLASSES, preprocessing, clips=2, orders=2, scoring=Scoring(multi_label=True))
    assert len(ranked["ordered"]["per_view"]) == 2


def test_the_classifier_sees_each_order_of_the_same_frames(samples, preprocessing):
    seen = []

    def predict(clips):
        seen.extend(clips[:, 0, :, 16, 16])
        return np.zeros((len(clips), 3))

    found = probe(predict, samples[:1], CLASSES, preprocessing, orders=10)
    ordered, *shuffled = seen[:11]
    backwards, single, held = seen[11:14]
    assert (backwards == ordered[::-1]).all()
    assert (single == ordered[4]).all()
    assert (held == ordered[[0, 0, 2, 2, 4, 4, 6, 6]]).all()
    for clip in [*shuffled, *seen[14:]]:
        assert (np.sort(clip) == np.sort(ordered)).all()
        assert (clip != ordered).any()
    counted = sum(found[name]["orders"] for name in found["disorders"])
    assert len(seen) == counted + 10  # and those of graded distance
    assert found["disorders"] == [name for name in TITLES if name not in ("windows_8", "shuffled_after_stem")]
    assert found["not_asked"] == {
        "windows_8": "a clip has 8 frames",
        "shuffled_after_stem": "the model does not let what its stem gives be reordered",
    }


def test_what_the_stem_gives_is_shuffled_where_the_model_can(predict, samples, preprocessing):
    seen = []

    def reordered(clips, orders):
        assert len(clips) == len(orders)
        seen.extend(orders.tolist())
        return predict(clips) * np.where(orders[:, :1] == 0, 1, -1)  # right where the first token stays

    found = probe(predict, samples, CLASSES, preprocessing, after_stem=AfterStem(4, reordered), clips=2, orders=5)
    assert len(seen) == 6 * 2 * 5
    assert all(sorted(order) == [0, 1, 2, 3] and order != [0, 1, 2, 3] for order in seen)
    assert [seen[place] for place in range(0, 60, 2)] == [seen[place] for place in range(1, 60, 2)]  # for both views
    assert found["shuffled_after_stem"]["orders"] == 5
    assert 0 < found["shuffled_after_stem"]["top1"] < 1
    assert "shuffled behind it" in found["meaning"]
    alone = probe(predict, samples, CLASSES, preprocessing, clips=2, orders=5)
    assert found["shuffled"] == alone["shuffled"]  # drawn alike, asked or not
    single = probe(predict, samples, CLASSES, preprocessing, after_stem=AfterStem(1, reordered))
    assert "makes one token in time" in single["not_asked"]["shuffled_after_stem"]


def test_every_video_is_decoded_once(monkeypatch, predict, samples, preprocessing):
    read, paths = evaluation.read_views, []

    def counting(path, *rest, **named):
        paths.append(path)
        return read(path, *rest, **named)

    monkeypatch.setattr(evaluation, "read_views", counting)
    probe(predict, samples, CLASSES, preprocessing, orders=12)
    assert sorted(paths) == sorted(sample.path for sample in samples)


def test_figures_repeat_to_the_digit_by_the_seed_and_orders_differ_between_videos(predict, samples, preprocessing):
    def orders_seen(seed):
        seen = []

        def watching(clips):
            seen.append(clips[:, 0, :, 16, 16].argsort(axis=1).argsort(axis=1))
            return predict(clips)

        found = probe(watching, [samples[0], samples[0], samples[1]], CLASSES, preprocessing, seed=seed)
        return seen, json.dumps(found)

    (first, *_), figures = orders_seen(0)
    (again, other, _), repeated = orders_seen(0)
    assert figures == repeated
    assert (first == again).all()
    assert (first[1:11] != other[1:11]).any()
    assert orders_seen(1)[1] != figures


def test_groups_are_what_is_drawn(predict, samples, preprocessing):
    grouped = [Sample(sample.path, sample.label, "ab"[place % 2]) for place, sample in enumerate(samples)]
    found = probe(predict, grouped, CLASSES, preprocessing)
    assert found["sampled"] == {"unit": "group", "count": 2, "groups": 2}
    assert "6 videos of 2 groups" in found["meaning"] or "cannot be told" in found["meaning"]
    alone = probe(predict, samples, CLASSES, preprocessing)
    assert found["shuffled"]["top1"] == alone["shuffled"]["top1"]
    assert found["shuffled"]["top1_interval"] != alone["shuffled"]["top1_interval"]


@pytest.mark.parametrize("frames", [2, 3])
def test_clips_of_few_frames_are_probed_by_what_they_can_have(frames, predict, samples):
    short = Preprocessing(sampling=ClipSampling(frames=frames, mode="segments"), short_side=32, crop=32)
    found = probe(predict, samples, CLASSES, short)
    assert found["ordered"]["top1"] == 1.0
    assert {*found["disorders"], *found["not_asked"]} == {*TITLES}
    assert len(found["kendall"]) == frames * (frames - 1) // 2


def test_what_cannot_be_probed_is_refused(predict, samples, broken, preprocessing):
    still = Preprocessing(sampling=ClipSampling(frames=1), short_side=32, crop=32)
    with pytest.raises(ValueError, match="no order to probe"):
        probe(predict, samples, CLASSES, still)
    with pytest.raises(ValueError, match="orders is 0"):
        probe(predict, samples, CLASSES, preprocessing, orders=0)
    with pytest.raises(ValueError, match="no video of 1 can be read"):
        probe(predict, [broken], CLASSES, preprocessing)
    with pytest.raises(ValueError, match="none of the model's 3 classes"):
        probe(predict, [Sample(samples[0].path, "sideways")], CLASSES, preprocessing)
    with pytest.raises(ValueError, match="gives 3 scores, but there are 4 classes"):
        probe(predict, samples, [*CLASSES, "dark"], preprocessing)
    with pytest.raises(ValueError, match="a row each is due"):
        probe(lambda clips: predict(clips)[:1], samples, CLASSES, preprocessing)


def test_the_file_holds_the_figures(predict, samples, preprocessing, tmp_path):
    found = probe(predict, samples, CLASSES, preprocessing)
    write(found, tmp_path / "run")
    assert json.loads((tmp_path / "run/probe.json").read_text()) == json.loads(json.dumps(found))
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["probe.json"]
