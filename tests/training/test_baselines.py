"""Other people's models learn by the same loop, and are judged, resumed and predicted with as ours are."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from mvit import runs, weights
from mvit.baselines.sized import Baseline
from mvit.baselines.sizes import LIBRARIES, OF_IMAGES, SIZES, BaselineConfig
from mvit.deploy.predictor import load
from mvit.distributed.group import ALONE
from mvit.distributed.interruption import Interrupted
from mvit.distributed.launch import Place
from mvit.explanation import gallery
from mvit.model.presets import get_config
from mvit.recipes import recipe as recipes
from mvit.training import defaults, loop
from mvit.training.course import Course

SMALL = {
    "video_swin": ("model.patch=[2, 4, 4]", "model.depths=[1, 1, 1, 1]", "model.width=8", "model.heads=[1, 1, 2, 2]"),
    "timesformer": ("model.patch=[1, 16, 16]", "model.depths=[1]", "model.width=16", "model.heads=[2]"),
}
COMMON = (
    *("data.frames=4", "data.crop=32", "data.views=[1, 1]", "optim.ema_decay=0.9", "train.epochs=2", "train.batch=8"),
    *("train.workers=0", "train.device=cpu", "train.precision=float32"),
)


def recipe_of(name: str, *overrides: str):
    return recipes.load(None, [f"model.name={name}", *SMALL[name], *COMMON, *overrides])


@pytest.mark.parametrize("name", SMALL)
def test_a_baseline_is_trained_resumed_and_predicted_with(name, listing, tmp_path, monkeypatch, library):
    library(LIBRARIES[name], "baselines")
    recipe = recipe_of(name)
    whole = loop.train(recipe, listing, tmp_path / "whole", echo=lambda line: None)
    description = json.loads((whole / "model.json").read_text(encoding="utf-8"))
    assert description["config"]["baseline"] == name
    assert description["config"]["clip"] == [4, 32, 32]
    result = json.loads((whole / "result.json").read_text(encoding="utf-8"))
    predictor = load(whole, device="cpu")
    assert isinstance(predictor.model, Baseline)
    assert predictor.after_stem is None
    rows = (whole / "scores.csv").read_text(encoding="utf-8").splitlines()
    scores = predictor.predict(listing.val[0].path)
    assert sum(scores.values()) == pytest.approx(1, abs=1e-5)
    assert (len(rows) - 1, result["videos"]) == (len(listing.val), len(listing.val))
    shown = dict(zip(rows[0].split(","), rows[1].split(","), strict=True))
    assert float(shown["bright"]) == pytest.approx(scores["bright"], abs=1e-5)

    end_epoch, ended = Course.end_epoch, []

    def stop(course: Course) -> None:
        if ended:
            raise Interrupted
        ended.append(0)
        end_epoch(course)

    monkeypatch.setattr(Course, "end_epoch", stop)
    with pytest.raises(KeyboardInterrupt):
        loop.train(recipe, listing, tmp_path / "stopped", echo=lambda line: None)
    monkeypatch.setattr(Course, "end_epoch", end_epoch)
    stopped = loop.train(recipe, listing, tmp_path / "stopped", resume=True, echo=lambda line: None)
    assert (stopped / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()

    known = runs.facts(str(whole))
    assert known["classes"] == list(listing.classes)
    assert known["parameters"] == sum(parameter.numel() for parameter in predictor.model.parameters())
    with pytest.raises(ValueError, match="what is drawn is MViT's attention"):
        gallery.draw(predictor, listing.val[0].path, tmp_path / "drawn", gallery.Wish())
    with pytest.raises(weights.CheckpointError, match=f"is {name} by .*no MViT starts from it"):
        weights.read(whole)


def test_a_run_folder_whose_tensors_are_another_models_is_refused(listing, tmp_path):
    run = loop.train(recipe_of("video_swin", "train.epochs=1"), listing, tmp_path / "run", echo=lambda line: None)
    file = run / "model.json"
    description = json.loads(file.read_text(encoding="utf-8"))
    description["config"]["width"] = 16
    file.write_text(json.dumps(description), encoding="utf-8")
    with pytest.raises(weights.CheckpointError, match="does not fit the model that it seems to be"):
        load(run)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (("model.pooling=max",), "has no field 'pooling', which is one of MViT's"),
        (("model.head_dropout=0.5",), "has no such thing"),
        (("train.memory=1GB",), "train.memory is .* for MViT and not for video_swin"),
        (("train.batch=auto",), "train.batch is .* for MViT"),
        (("optim.layer_decay=0.7",), "optim.layer_decay is 0.7, which is for MViT"),
        (("model.weights=run", "model.freeze=1"), "model.freeze is 1, which is for MViT"),
        (("model.weights=run", "model.inflate=mean"), "model.inflate is .* for MViT"),
        (("data.frames=5",), r"cannot cut 5x32x32 into patches of \(2, 4, 4\)"),
        (("data.frames=1",), "is a model of clips"),
        (("model.heads=[3, 3, 3, 3]",), "choose a divisor"),
        (("model.depths=[2]",), "it takes 4 of each"),
    ],
)
def test_what_a_baseline_cannot_be_is_said_in_a_sentence(overrides, message):
    with pytest.raises(ValueError, match=message):
        recipe_of("video_swin", *overrides)


@pytest.mark.parametrize("name", SMALL)
def test_a_baseline_starts_from_a_run_of_the_same_with_a_new_head_for_other_classes(name, listing, tmp_path, library):
    library(LIBRARIES[name], "baselines")
    run = loop.train(recipe_of(name, "train.epochs=1"), listing, tmp_path / "run", echo=lambda line: None)
    _, before = weights.stored(run)

    def first(recipe, listing, out) -> tuple[dict[str, torch.Tensor], str]:
        """What is learned from, at a rate so small that it stays."""
        slow = replace(recipe, optim=replace(recipe.optim, lr=1e-30, ema_decay=None))
        said: list[str] = []
        loop.train(slow, listing, tmp_path / out, echo=said.append)
        return weights.stored(tmp_path / out)[1], "\n".join(said)

    found = defaults.settle(None, [f"model.weights={run}", *COMMON, "train.epochs=1"], listing, echo=lambda line: None)
    assert found.model.fields == recipes.load(run / "recipe.toml").model.fields, "the run says the size"
    same, said = first(found, listing, "same")
    assert all(torch.equal(same[key], before[key]) for key in before if before[key].is_floating_point())
    assert "reinitialised" not in said
    two = replace(
        listing,
        classes=listing.classes[:2],
        train=tuple(s for s in listing.train if s.label in listing.classes[:2]),
        val=tuple(s for s in listing.val if s.label in listing.classes[:2]),
    )
    other, said = first(found, two, "other")
    new = {key for key in before if before[key].shape != other[key].shape}
    assert {other[key].shape[0] for key in new} == {2}
    assert len(new) == 2, "a weight and a bias"
    assert all(torch.equal(other[key], before[key]) for key in before if key not in new)
    assert "3 to 2 classes" in said


def test_what_does_not_fit_a_baseline_is_not_started_from(listing, finished, tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    (run / "recipe.toml").write_text(recipes.dumps(recipe_of("video_swin")), encoding="utf-8")
    for wanted in ("timesformer", "mvit_tiny_16x64"):
        with pytest.raises(ValueError, match=f"is a run of video_swin: {wanted} does not start from it"):
            defaults.settle(None, [f"model.name={wanted}", f"model.weights={run}"], listing, echo=lambda line: None)
    with pytest.raises(ValueError, match="video_swin does not start from it, only mvit_test_4x32 does"):
        defaults.settle(None, ["model.name=video_swin", f"model.weights={finished}"], listing, echo=lambda line: None)
    with pytest.raises(ValueError, match="which is no run here, and timesformer starts from scratch"):
        defaults.settle("study", ["model.name=timesformer", "model.weights=k400"], listing, echo=lambda line: None)

    whole = loop.train(recipe_of("video_swin", "train.epochs=1"), listing, tmp_path / "whole", echo=lambda line: None)
    for source, message in (
        (whole, r"does not fit the model: .* it has width 8, not 16"),
        (finished, "holds no video_swin that was trained here"),
        (tmp_path / "none", "does not exist: video_swin starts from"),
    ):
        recipe = recipe_of("video_swin", "model.width=16", f"model.weights={source}")
        with pytest.raises((ValueError, FileNotFoundError), match=message):
            loop.train(recipe, listing, tmp_path / "refused", echo=lambda line: None)
        assert not (tmp_path / "refused").exists() or not any((tmp_path / "refused").iterdir())


def test_a_field_of_baselines_is_none_of_ours_and_unknown_names_are_told_the_nearest():
    with pytest.raises(ValueError, match="unknown model field 'width'"):
        recipes.load(None, ["model.width=8"])
    with pytest.raises(ValueError, match="did you mean 'video_swin'"):
        recipes.load(None, ["model.name=video_swim"])


@pytest.mark.parametrize(
    ("name", "changed", "message"),
    [
        ("slowfast", {"patch": (1, 4, 4)}, r"its library builds \(1, 2, 2\), so set model.patch to that"),
        ("resnet", {"patch": (1, 4, 4)}, r"its library builds \(1, 2, 2\)"),
        ("pvt_v2", {"patch": (1, 8, 8)}, r"its library builds \(1, 4, 4\)"),
        ("timesformer", {"patch": (2, 8, 8)}, r"its library builds \(1, 8, 8\)"),
        ("slowfast", {"clip": (6, 64, 64)}, "6 frames and a width of 16: .* a multiple of 4 and one of 8"),
        ("slowfast", {"width": 20}, "16 frames and a width of 20: .* a multiple of 4 and one of 8"),
    ],
)
def test_what_a_library_would_build_otherwise_or_not_run_is_refused(name, changed, message):
    with pytest.raises(ValueError, match=message):
        replace(SIZES[name], **changed)


def test_configurations_read_back():
    for config in SIZES.values():
        assert BaselineConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


def test_a_baseline_takes_clips_of_its_own_size_alone():
    model = weights.build(recipe_of("video_swin").model_config(3)).eval()
    with torch.inference_mode():
        assert model(torch.zeros(2, 3, 4, 32, 32)).shape == (2, 3)
    with pytest.raises(ValueError, match="is made for clips of"):
        model(torch.zeros(2, 3, 4, 48, 48))


@pytest.mark.slow
@pytest.mark.parametrize("name", SIZES)
def test_sizes_cost_what_the_small_preset_does(name: str, library):
    from mvit.analysis.complexity import complexity
    from mvit.analysis.counter import count

    library(LIBRARIES[name], "baselines")
    config = SIZES[name]
    preset = replace(get_config("mvit_tiny_16x64"), clip=config.clip)
    ratio = count(lambda: Baseline(config), config.clip).macs / complexity(preset).macs
    assert abs(ratio - 1) <= (0.12 if name == "slowfast" else 0.10)
    with torch.inference_mode():
        logits = Baseline(replace(config, num_classes=5)).eval()(torch.zeros(1, 3, *config.clip))
    assert logits.shape == (1, 5)
    assert np.isfinite(logits.numpy()).all()
    assert (config.clip[0] == 1) == (name in OF_IMAGES)


def test_several_processes_are_refused(listing, tmp_path: Path):
    with pytest.raises(ValueError, match="is trained by one process, not by 2"):
        loop.train(recipe_of("video_swin"), listing, tmp_path / "run", ranks=replace(ALONE, place=Place(0, 2, 0)))
