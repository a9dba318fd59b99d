"""A run folder and a video are enough, and the score is evaluation's own."""

import json
import re
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

import mvit
from exports import CLASSES, PREPROCESSING
from exports import write_run as write_sharp_run
from mvit.data import video
from mvit.data.dataset import find_all
from mvit.data.views import read_views
from mvit.evaluation.evaluate import evaluate
from mvit.evaluation.scoring import Scoring

write_run = partial(write_sharp_run, sharpness=1)
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    return write_run(tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="module")
def videos(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("videos")
    rng = np.random.default_rng(0)
    for name in CLASSES:
        (folder / name).mkdir()
        frames = rng.integers(0, 255, (3, 12, 10, 3), dtype=np.uint8).repeat(6, 0).repeat(4, 1).repeat(5, 2)
        video.write(folder / name / "clip.mp4", frames)
    return folder


def test_predicts_by_name_highest_first(run, videos):
    predictor = mvit.load(run)
    scores = predictor.predict(videos / "up" / "clip.mp4")
    assert set(scores) == set(CLASSES)
    assert list(scores.values()) == sorted(scores.values(), reverse=True)
    assert sum(scores.values()) == pytest.approx(1)
    assert predictor.classes == tuple(CLASSES)
    assert predictor.protocol == "3x1 views, 4x2, short side 36, crop 32"


def test_a_prediction_is_the_score_that_evaluation_counts(run, videos):
    predictor = mvit.load(run / "model.safetensors")
    outcome = evaluate(predictor.logits, find_all(videos), predictor.classes, predictor.preprocessing, clips=3, crops=1)
    for sample, scores in zip(outcome.samples, outcome.scores, strict=True):
        predicted = predictor.predict(str(sample.path))
        assert [predicted[name] for name in CLASSES] == pytest.approx(scores.tolist(), abs=1e-6)


@pytest.mark.parametrize("aggregate", ["mean", "max"])
def test_a_model_of_several_labels_predicts_as_it_is_evaluated(aggregate, videos, tmp_path):
    predictor = mvit.load(write_run(tmp_path, multi_label=True, aggregate=aggregate))
    assert predictor.scoring == Scoring(multi_label=True, aggregate=aggregate)
    assert predictor.protocol == f"3x1 views{', max' if aggregate == 'max' else ''}, 4x2, short side 36, crop 32"
    views = read_views(videos / "up" / "clip.mp4", PREPROCESSING, clips=3, crops=1)
    each = 1 / (1 + np.exp(-predictor.logits(views).astype(np.float64)))
    expected = each.mean(axis=0) if aggregate == "mean" else each.max(axis=0)
    predicted = predictor.predict(videos / "up" / "clip.mp4")
    assert [predicted[name] for name in CLASSES] == pytest.approx(expected.tolist(), abs=1e-6)
    assert list(predicted.values()) == sorted(predicted.values(), reverse=True)


def test_logits_are_the_models_own(run):
    predictor = mvit.load(run, device="cpu")
    clips = np.random.default_rng(0).standard_normal((2, 3, 4, 32, 32)).astype(np.float32)
    logits = predictor.logits(clips)
    assert logits.dtype == np.float32
    with torch.no_grad():
        expected = mvit.create_model("mvit_test_4x32", num_classes=3, weights=run)(torch.from_numpy(clips))
    np.testing.assert_allclose(logits, expected.numpy(), rtol=1e-6, atol=1e-6)


def _cut(folder: Path):
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:1000])


def _half_json(folder: Path):
    file = folder / "model.json"
    file.write_text(file.read_text()[:40])


def _without(key: str):
    def change(folder: Path):
        file = folder / "model.json"
        description = json.loads(file.read_text())
        del description[key]
        file.write_text(json.dumps(description))

    return change


def _with(**changes):
    return lambda folder: write_run(folder, **changes)


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (_cut, r"model\.safetensors cannot be read .*cut short or damaged"),
        (_half_json, r"model\.json is not JSON .*cut short"),
        (_without("config"), r"model\.json does not describe a model"),
        (_without("classes"), r"has no 'classes'"),
        (_without("preprocessing"), r"has no 'preprocessing'"),
        (_without("views"), r"has no 'views'"),
        (_with(classes=["left", "right"]), r"names 2 classes for 3 outputs"),
        (_with(classes=3), r"is damaged"),
        (_with(views=[3]), r"is damaged"),
        (_with(views=[0, 1]), r"is damaged"),
        (_with(aggregate="median"), r"is damaged: multi_label is true or false and aggregate mean or max, not"),
        (_with(preprocessing={"crop": "large"}), r"is damaged"),
        (lambda folder: (folder / "model.json").unlink(), r"model\.json does not exist"),
        (lambda folder: (folder / "model.safetensors").unlink(), r"model\.safetensors does not exist"),
    ],
)
def test_a_damaged_run_is_refused_in_one_sentence(tmp_path, damage, sentence):
    damage(write_run(tmp_path))
    with pytest.raises((ValueError, FileNotFoundError), match=sentence) as error:
        mvit.load(tmp_path)
    assert "\n" not in str(error.value)


def test_a_checkpoint_of_other_people_names_what_is_missing(tmp_path):
    """Official files hold no class names: the sentence says so, and what to do."""
    from mvit.weights.write import write_dialect

    model = mvit.create_model("mvit_test_4x32", num_classes=3)
    path = tmp_path / "official.pyth"
    write_dialect(path, model.state_dict(), model.config, "official")
    with pytest.raises(ValueError, match=r"names no classes .*model\.weights="):
        mvit.load(path)


def test_the_python_of_the_readme_runs(run, videos, tmp_path, monkeypatch, capsys):
    program = re.search(r"```python\n(import mvit\n.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert program
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "YOUR_FOLDER-1").symlink_to(run)
    (tmp_path / "video.mp4").symlink_to(videos / "up" / "clip.mp4")
    monkeypatch.chdir(tmp_path)
    exec(compile(program[1], "README.md", "exec"), {})
    assert sorted(line.split()[1] for line in capsys.readouterr().out.splitlines()) == sorted(CLASSES)


def test_the_model_of_the_readme_is_as_described(capsys):
    programs = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    program = next(text for text in programs if "create_model" in text)
    names: dict = {}
    small = program.replace("mvit_b_16x4", "mvit_test_4x32")
    exec(compile(small, "README.md", "exec"), names)
    assert names["logits"].shape == (1, 14)
    assert [level.ndim for level in names["pyramid"]] == [5, 5]


def test_what_the_stem_gives_is_put_in_order_before_positions(run):
    predictor = mvit.load(run, device="cpu")
    model, behind = predictor.model, predictor.after_stem
    assert behind.places == model.config.grid[0] == 2
    clips = np.random.default_rng(0).normal(size=(2, 3, 4, 32, 32)).astype(np.float32)
    kept, swapped = np.array([[0, 1], [0, 1]]), np.array([[0, 1], [1, 0]])
    plain = predictor.logits(clips)
    np.testing.assert_array_equal(behind.predict(clips, kept), plain)
    one, other = behind.predict(clips, swapped)
    np.testing.assert_allclose(one, plain[0], rtol=1e-5, atol=1e-6)
    assert np.abs(other - plain[1]).max() > 1e-3
    np.testing.assert_array_equal(predictor.logits(clips), plain)  # nothing is left behind
    with torch.inference_mode():
        grid = model.stem(torch.from_numpy(clips[1:])).flip(2)
        x = torch.cat([model.class_token.expand(1, -1, -1), grid.flatten(2).transpose(1, 2)], dim=1)
        x, shape = model.positions(x, tuple(grid.shape[2:])), tuple(grid.shape[2:])
        for block in model.blocks:
            x, shape = block(x, shape)
        expected = model.head(model.norm(x[:, 0]))
    np.testing.assert_allclose(other, expected[0].numpy(), rtol=1e-4, atol=1e-5)
