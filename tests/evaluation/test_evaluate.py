"""Evaluation on real files: order, denominators, what is left out, and what is written."""

import csv
import dataclasses
import json
import os
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import numpy as np
import pytest

from mvit.data.dataset import Sample
from mvit.evaluation import evaluate as evaluation
from mvit.evaluation.evaluate import Evaluation, evaluate, result, score_video, write
from mvit.evaluation.metrics import wilson
from mvit.evaluation.scoring import NotFiniteError

CLASSES = ("light_down", "light_up", "steady")


def made_up(scores: list[list[float]], labels: str, unreadable: int = 0, classes: str = "abcdefg") -> Evaluation:
    samples = tuple(Sample(Path(f"{label}/{n}.mp4"), label) for n, label in enumerate(labels))
    return Evaluation(
        classes=tuple(classes[: len(scores[0])]),
        samples=samples,
        scores=np.array(scores),
        unreadable={Path(f"bad/{n}.mp4"): "it is empty" for n in range(unreadable)},
        left_out=tuple(Sample(Path(f"bad/{n}.mp4"), "a") for n in range(unreadable)),
        listed=len(samples) + unreadable,
        protocol="1x1 views, 8 segments, short side 32, crop 32",
    )


def test_every_video_is_scored_in_the_order_listed_as_prediction_scores_it(predict, samples, preprocessing):
    seen = []
    outcome = evaluate(
        predict, samples, CLASSES, preprocessing, clips=3, crops=3, progress=lambda done, of: seen.append((done, of))
    )
    assert outcome.samples == tuple(samples)
    assert seen == [(n, 6) for n in range(1, 7)]
    for sample, scores in zip(samples, outcome.scores, strict=True):
        assert (scores == score_video(predict, sample.path, preprocessing, 3, 3)).all()
    assert outcome.scores.sum(axis=1) == pytest.approx(1)
    assert (outcome.scores.argmax(axis=1) == outcome.labels).all()


def test_scores_are_the_mean_softmax_over_views(samples, preprocessing):
    logits = np.log([[1.0, 1.0, 2.0], [8.0, 1.0, 1.0]])
    scores = score_video(lambda clips: logits, samples[0].path, preprocessing, 2, 1)
    assert scores == pytest.approx([(0.25 + 0.8) / 2, (0.25 + 0.1) / 2, (0.5 + 0.1) / 2])


def test_unreadable_videos_are_counted_named_and_never_replaced(predict, samples, broken, preprocessing, tmp_path):
    gone = Sample(tmp_path / "gone.mp4", "light_up")
    outcome = evaluate(predict, [samples[0], broken, *samples[1:4], gone], CLASSES, preprocessing, clips=1)
    content = result(outcome)
    assert outcome.samples == tuple(samples[:4])
    assert set(outcome.unreadable) == {broken.path, gone.path}
    assert all(outcome.unreadable.values())
    assert (content["videos"], content["listed"]) == (4, 6)
    assert content["top1"] == 1.0
    assert content["top1_unreadable_wrong"] == 4 / 6
    assert content["headline"] == (
        "top-1 100.0 % [51.0, 100.0] (1x1 views, 8 segments, short side 32, crop 32; 4 of 6 videos), "
        "66.7 % with 2 unreadable counted wrong"
    )


def test_the_next_videos_are_decoded_while_one_waits_and_not_too_many(monkeypatch, preprocessing):
    second_started, started = threading.Event(), []

    def read(path, preprocessing, *, clips, crops, part=None, chosen=None):
        started.append(int(path.name))
        if path.name == "0":
            assert second_started.wait(30), "the first video waits for ever unless the second is decoded beside it"
        elif path.name == "1":
            second_started.set()
        return np.full((1, 3, 2, 2, 2), int(path.name), dtype=np.float32)

    def predict(clips):
        consumed = int(clips[0, 0, 0, 0, 0])
        assert max(started) <= consumed + 2
        return np.eye(3)[[consumed % 3]]

    monkeypatch.setattr(evaluation, "read_views", read)
    monkeypatch.setattr(evaluation, "available_cores", lambda: 2)
    samples = [Sample(Path(str(n)), "abc"[n % 3]) for n in range(20)]
    outcome = evaluate(predict, samples, "abc", preprocessing)
    assert (outcome.scores.argmax(axis=1) == np.arange(20) % 3).all()


def test_an_interrupt_ends_the_decoding_too(samples, preprocessing):
    def interrupted(clips):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        evaluate(interrupted, samples * 20, CLASSES, preprocessing)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("decode")]


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda n: np.zeros((n, 4)), "gives 4 scores, but there are 3 classes"),
        (lambda n: np.zeros(3), "shape"),
        (lambda n: np.zeros((n + 1, 3)), "shape"),
        (lambda n: np.full((n, 3), np.nan), "not finite"),
        (lambda n: np.full((n, 3), np.inf), "not finite"),
    ],
)
def test_a_classifier_that_answers_nonsense_is_refused(answer, message, samples, preprocessing):
    with pytest.raises(NotFiniteError if message == "not finite" else ValueError, match=message):
        evaluate(lambda clips: answer(len(clips)), samples, CLASSES, preprocessing)


def test_what_cannot_be_measured_is_refused(predict, samples, broken, preprocessing):
    with pytest.raises(ValueError, match=r"no video of 1 can be read.*broken\.mp4"):
        evaluate(predict, [broken], CLASSES, preprocessing)
    with pytest.raises(ValueError, match="no video"):
        evaluate(predict, [], CLASSES, preprocessing)
    with pytest.raises(ValueError, match="'sideways', which is none of the model's 3 classes"):
        evaluate(predict, [*samples, Sample(samples[0].path, "sideways")], CLASSES, preprocessing)


def test_result_by_hand():
    scores = [
        [0.9, 0.1, 0, 0, 0, 0],  # a: right
        [0.3, 0.4, 0.2, 0.1, 0, 0],  # a: taken for b
        [0.1, 0.1, 0.1, 0.1, 0.1, 0.5],  # b: taken for f; one of five equals behind it, so among the first five
        [0.5, 0.1, 0.1, 0.1, 0.2, 0.0],  # f: taken for a, and last of six
    ]
    content = result(made_up(scores, "aabf", unreadable=1))
    assert content["top1"] == 1 / 4
    assert content["top1_interval"] == wilson(1, 4)
    assert content["top5"] == 3 / 4
    assert content["top5_interval"] == wilson(3, 4)
    assert content["top1_unreadable_wrong"] == 1 / 5
    assert content["mean_class"] == pytest.approx((1 / 2 + 0 + 0) / 3)
    assert content["per_class"]["a"]["precision"] == 1 / 2
    assert content["per_class"]["a"]["recall"] == 1 / 2
    assert content["per_class"]["c"] == {
        "precision": None, "recall": None, "recall_interval": None, "f1": None, "support": 0
    }  # fmt: skip
    assert np.array(content["confusion"])[0].tolist() == [1, 1, 0, 0, 0, 0]
    assert content["classes"] == list("abcdef")


def test_few_classes_have_no_top5():
    five = result(made_up([[0.2, 0.3, 0.1, 0.2, 0.2]], "a"))
    assert (five["top5"], five["top5_interval"]) == (None, None)
    two = result(made_up([[0.6, 0.4], [0.6, 0.4]], "ab"))
    assert (two["top1"], two["top5"], two["mean_class"]) == (0.5, None, 0.5)
    one = result(made_up([[1.0], [1.0]], "aa"))
    assert (one["top1"], one["confusion"], one["mean_class"]) == (1.0, [[2]], 1.0)


def test_written_files_hold_what_was_measured(predict, samples, broken, preprocessing, tmp_path):
    outcome = evaluate(predict, [*samples, broken], CLASSES, preprocessing, clips=2)
    content = write(outcome, tmp_path / "run")
    assert json.loads((tmp_path / "run/result.json").read_text()) == json.loads(json.dumps(content))
    with (tmp_path / "run/scores.csv").open(newline="") as file:
        header, *rows = csv.reader(file)
    assert header == ["path", "label", "predicted", "correct", *CLASSES]
    assert [row[:4] for row in rows] == [[str(s.path), s.label, s.label, "1"] for s in samples]
    np.testing.assert_allclose([[float(score) for score in row[4:]] for row in rows], outcome.scores, rtol=1e-7)
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == ["result.json", "scores.csv"]


def test_a_named_file_gets_the_result_and_the_scores_beside_it(tmp_path):
    write(made_up([[0.6, 0.4]], "a"), tmp_path / "quick.json")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["quick.json", "quick.scores.csv"]


def test_names_of_any_kind_survive_writing(tmp_path):
    names = ('say "hi", twice', "two\nlines", "=1+1", "日本語", "a [  1, 2  ]")
    path = Path(os.fsdecode(b"caf\xe9/\xff.mp4"))  # Latin-1, no UTF-8
    outcome = dataclasses.replace(
        made_up([[0.1, 0.2, 0.3, 0.3, 0.1]], "a"), classes=names, samples=(Sample(path, names[1]),)
    )
    write(dataclasses.replace(outcome, unreadable={path: "empty"}, listed=2), tmp_path)
    with (tmp_path / "scores.csv").open(encoding="utf-8", errors="surrogateescape", newline="") as file:
        header, row = csv.reader(file)
    assert tuple(header[4:]) == names
    assert row[:4] == [str(path), names[1], names[2], "0"]
    text = (tmp_path / "result.json").read_text()
    content = json.loads(text)
    assert "[0, 0, 1, 0, 0]" in text
    assert tuple(content["classes"]) == names
    assert list(content["unreadable"]) == [str(path)]


def test_a_failed_write_leaves_the_former_result(tmp_path, monkeypatch):
    write(made_up([[0.6, 0.4]], "a"), tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write(made_up([[0.4, 0.6]], "a"), tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_evaluation_needs_no_torch(samples):
    program = f"""
        import sys
        sys.modules["torch"] = sys.modules["torchvision"] = None  # importing either raises
        import numpy as np
        from pathlib import Path
        from mvit.data.dataset import Sample
        from mvit.data.sampling import ClipSampling
        from mvit.data.views import Preprocessing
        from mvit.evaluation.evaluate import evaluate, result
        from mvit.evaluation.probes import probe
        pre = Preprocessing(sampling=ClipSampling(frames=4, mode="segments"), short_side=32, crop=32)
        predict = lambda clips: np.repeat([[0.0, 1.0]], len(clips), axis=0)
        samples = [Sample(Path({str(samples[1].path)!r}), "b")]
        data = samples, ["a", "b"], pre
        print(result(evaluate(predict, *data))["top1"], probe(predict, *data)["chance"])
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["1.0", "0.5"], done.stderr
