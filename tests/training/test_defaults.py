"""What a run is where nobody told, and that it is told."""

import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch

import mvit
from mvit.data.dataset import Listing, Sample, find
from mvit.data.sampling import ClipSampling
from mvit.data.views import Preprocessing
from mvit.model.mvit import MViT
from mvit.model.presets import PRESETS, get_config
from mvit.recipes import recipe, resolve
from mvit.recipes.recipe import load, path_of
from mvit.training import hardware, loop
from mvit.training.defaults import as_begun, for_clips, from_published, settle
from mvit.weights import hub, published
from mvit.weights.fit import fit
from mvit.weights.published import Protocol, Published, published_for
from mvit.weights.read import LoadingReport
from pictures import save_picture

TEST = "mvit_test_4x32"
NOWHERE = "https://127.0.0.1:9/weights.pyth"
CPU = ("train.device=cpu", "train.precision=float32")
SCRATCH, FINETUNE = (way.epochs[1] for way in (resolve.WAYS["scratch"], resolve.WAYS["finetune"]))
"""Epochs of a run on few videos, which tell the two ways apart."""


@pytest.fixture
def told() -> list[str]:
    return []


@pytest.fixture
def released(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Published:
    """Weights of the smallest model that are published where no server answers, with an empty cache."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    seen = Preprocessing(sampling=ClipSampling(frames=4), short_side=32, crop=32, mean=(0.5, 0.4, 0.3))
    entry = Published(TEST, "k400_slowfast", NOWHERE, (), Protocol((5, 1), seen), "", {"positions": "joint"})
    monkeypatch.setattr(published, "PUBLISHED", (entry,))
    monkeypatch.setattr(torch.hub, "_hub_dir", None)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    return entry


@pytest.fixture
def cached(released: Published) -> Published:
    """The same, in the cache."""
    file = hub.cached(released)
    file.parent.mkdir(parents=True)
    model = mvit.create_model(TEST, positions="joint")
    torch.save(model.state_dict(), file)
    return released


def pictures(listing: Listing) -> Listing:
    return replace(listing, train=tuple(Sample(s.path.with_suffix(".png"), s.labels) for s in listing.train))


def on(device: str, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(hardware, "choose", lambda asked: SimpleNamespace(device=torch.device(device)))


# ---- the model -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("device", "images", "model"),
    [
        ("cpu", False, "mvit_tiny_16x64"),
        ("mps", False, "mvit_tiny_16x64"),
        ("cpu", True, "mvit_tiny_16x64"),
        ("cuda", False, "mvitv2_s_16x4"),
        ("cuda", True, "mvitv2_t_image"),
    ],
)
def test_the_model_follows_from_processor_and_data(
    device: str, images: bool, model: str, listing: Listing, monkeypatch: pytest.MonkeyPatch, told: list[str]
):
    on(device, monkeypatch)
    settled = settle("scratch", (), pictures(listing) if images else listing, echo=told.append)
    assert settled.model.name == model
    assert (settled.data.frames, settled.data.views) == ((1, (1, 1)) if images else (16, (5, 1)))
    kind = "images" if images else "videos"
    where = "a GPU" if device == "cuda" else f"the processor ({device})"
    assert told[0] == f"model: {model}, from {kind} on {where} (--model names another)"


def test_a_model_that_is_named_is_taken_and_images_are_clips_of_one_frame(listing: Listing, told: list[str]):
    settled = settle("scratch", (*CPU, f"model.name={TEST}"), pictures(listing), echo=told.append)
    assert (settled.model.name, settled.data.frames) == (TEST, 1)
    assert not any(line.startswith("model:") for line in told)


def test_from_a_run_its_model_and_what_it_sees_are_taken(finished: Path, listing: Listing, told: list[str]):
    settled = settle(None, (*CPU, f"model.weights={finished}"), listing, echo=told.append)
    assert told[0] == f"model: {TEST}, from the run {finished} (--model names another)"
    assert settled.model.fields == load(finished / "recipe.toml").model.fields
    assert (settled.data.frames, settled.data.crop) == (4, 32)
    assert (settled.model.weights, settled.train.epochs) == (str(finished), FINETUNE)
    assert settled.data.views == (5, 1), "how it is judged is a matter of this run"
    file = finished / "model.safetensors"
    smaller = settle(None, (*CPU, f"model.weights={file}", "data.crop=28"), listing, echo=told.append)
    assert (smaller.model.name, smaller.data.crop, smaller.data.short_side) == (TEST, 28, 32)
    of_images = settle(None, (*CPU, f"model.weights={finished}"), pictures(listing), echo=told.append)
    assert (of_images.data.frames, of_images.data.views, of_images.data.crop) == (1, (1, 1), 32)


def test_videos_after_a_run_on_images_have_the_frames_of_the_preset(
    finished: Path, listing: Listing, told: list[str], tmp_path: Path
):
    run = tmp_path / "run"
    run.mkdir()

    def ran(*keys: str) -> tuple[str, ...]:
        (run / "recipe.toml").write_text(recipe.dumps(load(None, ("data.frames=1", *keys))))
        return (*CPU, f"model.weights={run}")

    weights = ran(f"model.name={TEST}", "data.mean=[0.5, 0.4, 0.3]")
    settled = settle(None, weights, listing, echo=told.append)
    assert (settled.model.name, settled.data.frames, settled.data.mean) == (TEST, 4, (0.5, 0.4, 0.3))
    assert settle(None, weights, pictures(listing), echo=told.append).data.frames == 1
    other = settle(None, (*weights, "model.name=mvit_tiny_16x64"), listing, echo=told.append)
    assert (other.data.frames, other.data.crop, other.data.mean) == (16, 64, (0.5, 0.4, 0.3))

    image = ran("model.name=mvitv2_t_image")
    advice = "start a model for clips from it, such as --model mvitv2_s_16x4 'model.depths=[1, 2, 5, 2]'"
    sentence = f"{run} is a run on images, and mvitv2_t_image sees one frame of a video: {advice}"
    with pytest.raises(ValueError, match=f"^{re.escape(sentence)}$"):
        settle(None, image, listing, echo=told.append)
    assert settle(None, image, pictures(listing), echo=told.append).model.inflate is None
    clips = settle(None, (*image, "model.name=mvitv2_s_16x4", "model.depths=[1, 2, 5, 2]"), listing, echo=told.append)
    assert (clips.data.frames, clips.model.inflate) == (16, "centre")
    assert f'inflate = "centre"  # from the run {run}, of images' in told[-1]


def test_images_are_learned_and_then_videos_from_their_run(listing: Listing, tmp_path: Path, told: list[str]):
    rng = np.random.default_rng(0)
    for label, level in (("bright", 200), ("dark", 50), ("middle", 125)):
        for number in range(4):
            noise = rng.normal(level, 25, (32, 40, 3)).clip(0, 255).astype(np.uint8)
            save_picture(tmp_path / "images" / label / f"{number}.png", noise)
    tiny = (*CPU, "train.epochs=1", "train.workers=0", "model.stem_kernel=[1,7,7]", "model.stem_padding=[0,3,3]")
    images = find(tmp_path / "images")
    settled = settle(None, (*tiny, f"model.name={TEST}", "model.weights="), images, echo=told.append)
    run = loop.train(settled, images, tmp_path / "of_images", echo=told.append)
    assert any("9 images to learn from, 3 to report on" in line for line in told)
    assert any("train: 3 images a class" in line for line in told)
    assert any(" 3 of 3 images)" in line for line in told)
    assert not any(re.search(r"\d videos", line) for line in told)

    asked = (*CPU, "train.epochs=1", "train.workers=0", f"model.weights={run}", "data.views=[1,1]")
    same = settle(None, asked, listing, echo=told.append)
    assert (same.data.frames, same.model.fields["stem_kernel"], same.model.inflate) == (4, (1, 7, 7), None)
    over_time = settle(None, (*asked, f"model.name={TEST}", "model.stem_kernel=[3,7,7]"), listing, echo=told.append)
    assert over_time.model.inflate == "centre"
    for number, recipe_ in enumerate((same, over_time)):
        loop.train(recipe_, listing, tmp_path / str(number), echo=told.append)
        assert mvit.load(tmp_path / str(number)).protocol.startswith("1x1 views, 4 ")
    assert any("stem.weight (1 to 3 frames, centre)" in line for line in told)


@pytest.mark.parametrize("name", [name for name, config in PRESETS.items() if config.clip[0] == 1])
def test_the_model_for_clips_that_is_named_takes_the_weights_of_the_one_for_images(name: str):
    with torch.device("meta"):
        images = MViT(get_config(name))
        clips, *fields = for_clips(images.config)
        given = [f"model.name={clips}", *(field.strip("'") for field in fields)]
        model = MViT(load(None, given).model_config(5))
    fit(model, images.state_dict(), LoadingReport(source=Path(name), dialect="mvit"), "centre")


# ---- the weights ---------------------------------------------------------------------------------------------------


def test_published_weights_that_are_there_are_started_from(cached: Published, listing: Listing, told: list[str]):
    settled = settle(None, (*CPU, f"model.name={TEST}"), listing, echo=told.append)
    assert told[0] == "weights: k400_slowfast, trained on Kinetics-400 (--weights none starts from scratch)"
    assert settled.model.weights == "k400_slowfast"
    assert settled.model.fields == {"positions": "joint"}
    assert settled.data.mean == (0.5, 0.4, 0.3)
    assert settled.train.epochs == FINETUNE
    assert 'positions = "joint"  # from the weights k400_slowfast' in told[1]
    assert not any(line.startswith("warning") for line in told)


def test_weights_in_the_cache_save_the_download_of_others_for_the_same_data(
    released: Published, listing: Listing, told: list[str], monkeypatch: pytest.MonkeyPatch
):
    others = [replace(released, name=name) for name in ("in1k_mvit", "k400_torchvision")]
    monkeypatch.setattr(published, "PUBLISHED", (released, *others))
    for entry in others:
        hub.cached(entry).parent.mkdir(parents=True, exist_ok=True)
        hub.cached(entry).touch()
    assert settle(None, (*CPU, f"model.name={TEST}"), listing, echo=told.append).model.weights == "k400_torchvision"


def test_a_download_that_is_impossible_is_told_and_the_model_starts_from_scratch(
    released: Published, listing: Listing, told: list[str]
):
    settled = settle(None, (*CPU, f"model.name={TEST}"), listing, echo=told.append)
    assert told[0].startswith(
        f"weights: k400_slowfast cannot be had, so the model starts from scratch ({NOWHERE}: the ser"
    )
    assert str(hub.cached(released)) in told[0], "where to put the file by hand"
    assert settled.model.weights == ""
    assert (settled.train.epochs, settled.model.fields) == (SCRATCH, {})
    assert "18 videos are few" in told[-1]


def test_where_none_are_published_it_is_told(listing: Listing, told: list[str]):
    settled = settle(None, (*CPU, "model.name=mvit_s_16x4"), listing, echo=told.append)
    assert told[0].startswith("weights: none are published for mvit_s_16x4, so the model starts from scratch")
    assert settled.model.weights == ""


def test_weights_of_another_architecture_are_not_tried(cached: Published, listing: Listing, told: list[str]):
    changed = (*CPU, f"model.name={TEST}", "model.depths=[1, 2]", "model.drop_path=0.1")
    settled = settle(None, changed, listing, echo=told.append)
    assert told[0] == (
        f"weights: those published for {TEST} do not fit with another model.depths, so the model starts from scratch "
        "(--weights names others)"
    )
    assert settled.model.weights == ""


@pytest.mark.parametrize("override", ["model.weights=", f"model.weights={TEST}/k400"])
def test_weights_that_are_given_are_taken_also_where_they_are_none(
    override: str, cached: Published, listing: Listing, told: list[str]
):
    settled = settle(None, (*CPU, f"model.name={TEST}", override), listing, echo=told.append)
    assert settled.model.weights == override.partition("=")[2]
    assert settled.train.epochs == (FINETUNE if settled.model.weights else SCRATCH)
    assert not any(line.startswith("weights:") for line in told)


def test_finetune_without_weights_is_refused(released: Published, listing: Listing, told: list[str]):
    refused = r"the recipe finetune starts from trained weights, which are lacking \("
    with pytest.raises(ValueError, match=rf"{refused}k400_slowfast cannot be had; {NOWHERE}: .*, or take --recipe scr"):
        settle("finetune", (*CPU, f"model.name={TEST}"), listing, echo=told.append)
    with pytest.raises(ValueError, match=f"{refused}none are published for mvit_s_16x4; "):
        settle("finetune", (*CPU, "model.name=mvit_s_16x4"), listing, echo=told.append)
    with pytest.raises(ValueError, match=rf"{refused}none are named\): name some"):
        settle("finetune", (*CPU, f"model.name={TEST}", "model.weights="), listing, echo=told.append)
    assert not told, "nothing is said of a start from scratch that is then refused"


def test_nothing_is_frozen_at_random_where_a_download_is_impossible(
    released: Published, listing: Listing, told: list[str]
):
    with pytest.raises(
        ValueError, match=r"model\.freeze is 'all', but trained weights are lacking \(k400_slowfast cann"
    ):
        settle(None, (*CPU, f"model.name={TEST}", "model.freeze=all"), listing, echo=told.append)
    assert not told


# ---- the recipe ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["quickstart", "gestures", "actions", "kinetics_mvit_b_16x4"])
def test_a_recipe_that_is_named_stays_as_it_is(name: str, listing: Listing, told: list[str]):
    assert settle(name, ("train.seed=3",), listing, echo=told.append) == load(path_of(name), ["train.seed=3"])


def test_a_named_recipe_starts_from_published_weights_where_asked(
    cached: Published, listing: Listing, tmp_path: Path, told: list[str]
):
    file = tmp_path / "own.toml"
    file.write_text(f'[model]\nname = "{TEST}"\nweights = "elsewhere.pyth"\n')
    assert settle(str(file), (), listing, echo=told.append).model.weights == "elsewhere.pyth"
    settled = settle(str(file), (), listing, auto=True, echo=told.append)
    assert (settled.model.weights, settled.model.fields) == ("k400_slowfast", {"positions": "joint"})
    assert settled.data.mean == (0.5, 0.4, 0.3)
    assert 'positions = "joint"  # from the weights k400_slowfast' in "".join(told)
    by_name = settle(str(file), ("model.weights=k400",), listing, echo=told.append)
    assert (by_name.model.fields, by_name.data.mean) == (settled.model.fields, settled.data.mean)


@pytest.mark.parametrize(("model", "adds"), [("mvitv2_l_image", True), ("mvitv2_l_40x3", False)])
def test_only_an_image_s_class_token_gets_queries_from_weights_of_images(model: str, adds: bool):
    fields = from_published(model, published_for("mvitv2_l_image")["in21k_mvit"])
    assert fields["model.class_token"].value
    assert ("model.residual_class_token" in fields) == adds


def test_what_a_recipe_says_otherwise_than_published_weights_want_holds_and_is_told(
    cached: Published, listing: Listing, tmp_path: Path, told: list[str]
):
    file = tmp_path / "own.toml"
    file.write_text(f'[model]\nname = "{TEST}"\npositions = "joint"\n\n[data]\nmean = [0.1, 0.1, 0.1]\n')
    settled = settle(str(file), CPU, listing, auto=True, echo=told.append)
    assert (settled.model.weights, settled.data.mean) == ("k400_slowfast", (0.1, 0.1, 0.1))
    assert told[1] == (
        "note: data.mean is [0.1, 0.1, 0.1], as it was given; the weights k400_slowfast were trained with "
        "[0.5, 0.4, 0.3]"
    )
    file.write_text(f'[model]\nname = "{TEST}"\npositions = "space"\n')
    settled = settle(str(file), CPU, listing, auto=True, echo=told.append)
    assert (settled.model.weights, settled.model.fields) == ("", {"positions": "space"})
    assert any("do not fit with another model.positions, so the model starts" in line for line in told)


def test_a_run_goes_on_with_the_weights_that_were_found_when_it_began(
    cached: Published, listing: Listing, tmp_path: Path, told: list[str]
):
    file, begun = tmp_path / "own.toml", tmp_path / "recipe.toml"
    file.write_text(f'[model]\nname = "{TEST}"\n')
    settled = settle(str(file), CPU, listing, auto=True, echo=told.append)
    begun.write_text(recipe.dumps(settled))
    hub.cached(cached).unlink()
    assert settled.data.mean == (0.5, 0.4, 0.3)
    assert as_begun(file, CPU, begun, auto=True) == settled
    assert as_begun(file, CPU, begun).model.weights == ""


def test_overrides_win_and_every_key_is_told(listing: Listing, told: list[str], tmp_path: Path):
    asked = (*CPU, "train.epochs=7", "optim.lr=2e-4", "augment.brightness=0.5", "data.sampling=dense")
    settled = settle("scratch", asked, listing, echo=told.append)
    assert (settled.train.epochs, settled.optim.lr, settled.augment.brightness) == (7, 2e-4, 0.5)
    assert settled.augment.duration == (1.0, 1.0)
    assert settled.train.batch == 8
    whole = next(line for line in told if line.startswith("recipe scratch:\n\n"))
    (tmp_path / "told.toml").write_text(whole.partition("\n\n")[2])
    assert load(tmp_path / "told.toml") == settled
    assert "batch = 8  # from 18 videos\n" in whole
    assert "epochs = 7\n" in whole
    assert "scale = [0.5, 1.0]  # from 18 videos\n" in whole


def test_a_warm_up_in_epochs_fits_into_those_that_follow_from_the_data(listing: Listing, told: list[str]):
    keys = (*CPU, f"model.name={TEST}", "train.batch=auto", "train.memory=4GB", "optim.warmup_epochs=40")
    settled = settle("scratch", keys, listing, echo=told.append)
    assert (settled.train.epochs, settled.train.batch, settled.optim.warmup_epochs) == (SCRATCH, 2, 40)


def test_a_word_that_is_wrong_is_refused(listing: Listing, tmp_path: Path):
    for overrides, named, words in (
        (("optim.learning=1",), None, "no key 'learning'"),
        (("model.name=mvit_b",), None, "no model is called 'mvit_b'"),
        (("model.weights=x.pyth", *CPU), None, "x.pyth does not exist: --weights takes a run, a checkpoint, or a name"),
        (
            ("model.freeze=9", f"model.weights={tmp_path}", *CPU),
            None,
            "model.freeze is 9, but mvit_tiny_16x64 has 8 blocks",
        ),
        ((), "scrach", "did you mean 'scratch'?"),
    ):
        with pytest.raises((ValueError, FileNotFoundError), match=words):
            settle(named, overrides, listing, echo=lambda line: None)


# ---- a run ---------------------------------------------------------------------------------------------------------


def tensors(run: Path) -> dict[str, Any]:
    return safetensors.torch.load_file(run / "model.safetensors")


@pytest.mark.parametrize(("freeze", "learn"), [("1", ("blocks.1.", "norm.", "head.")), ("all", ("head.",))])
def test_what_is_frozen_stays_to_the_bit_and_the_rest_learns(
    freeze: str, learn: tuple[str, ...], finished: Path, listing: Listing, tmp_path: Path
):
    asked = (*CPU, f"model.weights={finished}", f"model.freeze={freeze}", "train.epochs=2", "train.workers=0")
    settled = settle(None, (*asked, "optim.name=sgd", "optim.ema_decay=0.5"), listing, echo=lambda line: None)
    loop.train(settled, listing, tmp_path / "run", echo=lambda line: None)
    before, after = tensors(finished), tensors(tmp_path / "run")
    changed = {name for name in after if not torch.equal(before[name], after[name])}
    assert changed == {name for name in after if name.startswith(learn)}
    assert recipe.load(tmp_path / "run" / "recipe.toml") == settled
