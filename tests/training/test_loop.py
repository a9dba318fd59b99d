import csv
import json
import shutil
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch

from mvit import weights
from mvit.data import video
from mvit.data.dataset import Listing, Sample, find
from mvit.evaluation import evaluate as evaluation
from mvit.model.mvit import MViT
from mvit.recipes import recipe as recipes
from mvit.recipes.recipe import Recipe
from mvit.training import checkpoint, course, faults, judge, loop, progress
from mvit.training.hardware import choose
from mvit.training.learner import predictor
from pictures import save_picture


def with_train(recipe: Recipe, **values: Any) -> Recipe:
    return replace(recipe, train=replace(recipe.train, **values))


def silent(_: str) -> None:
    pass


def metrics(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]


def same_weights(one: Path, other: Path) -> bool:
    first, second = (safetensors.torch.load_file(run / "model.safetensors") for run in (one, other))
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


# ---- a run from beginning to end -------------------------------------------------------------------------------------


def test_a_run_leaves_everything_that_its_users_need(finished: Path, recipe: Recipe, listing: Listing):
    assert {path.name for path in finished.iterdir()} == {
        "run.json",
        "recipe.toml",
        "split.csv",
        "metrics.jsonl",
        "checkpoints",
        "model.safetensors",
        "model.json",
        "result.json",
        "scores.csv",
    }
    assert recipes.load(finished / "recipe.toml") == recipe
    again = find(finished / "split.csv")
    assert (again.classes, again.train, again.val) == (listing.classes, listing.train, listing.val)
    description = json.loads((finished / "model.json").read_text(encoding="utf-8"))
    assert description["classes"] == ["bright", "dark", "middle"]
    assert description["views"] == [2, 1]
    assert description["preprocessing"] == recipe.data.preprocessing().to_dict()
    assert description["protocol"] == json.loads((finished / "result.json").read_text(encoding="utf-8"))["protocol"]


def test_it_learns(tmp_path: Path, recipe: Recipe, listing: Listing):
    plain = replace(recipe, optim=replace(recipe.optim, mixup=0.0, ema_decay=None))
    run = loop.train(with_train(plain, epochs=12, evaluate_every=6), listing, tmp_path / "run", echo=silent)
    first, *_, last = metrics(run)
    assert last["loss"] < 0.8 * first["loss"]
    assert [line["epoch"] for line in metrics(run) if "val_top1" in line] == [6, 12]
    assert json.loads((run / "result.json").read_text(encoding="utf-8"))["top1"] == 1.0


def test_metrics_have_a_line_for_each_epoch(finished: Path, recipe: Recipe):
    record = metrics(finished)
    assert [line["epoch"] for line in record] == [1, 2, 3, 4]
    assert [line["step"] for line in record] == [3, 6, 9, 12]
    assert record[-1]["lr"] < record[0]["lr"]
    for line in record:
        assert 0 <= line["train_top1"] <= 1
        assert 0 <= line["val_top1"] <= 1
        assert 0 <= line["data_wait"] <= 1
        assert line["clips_per_second"] == pytest.approx(18 / line["seconds"])
        assert line["skipped"] == 0
        assert 0 < line["gradient_norm"] <= line["gradient_norm_max"]
        assert line["peak_memory_bytes"] > 2**24


def test_what_was_resolved_is_said_before_the_first_step(said: list[str], finished: Path):
    before = said[: next(number for number, line in enumerate(said) if line.startswith("epoch 1/"))]
    text = "\n".join(before)
    for part in (
        "4 epochs of 3 steps (12 in all), 8 clips a step, learning rate 0.002 after 1 step of warm-up",
        "3 classes, 18 videos to learn from, 6 to report on",
        "averages of the weights",
        "half of the clips are mirrored",
        "cpu on 1 thread, float32 (as the recipe says), 0 decoding processes",
        "warning: 12 steps are few",
        "every clip fits into its video",
    ):
        assert part in text
    assert said[-1].startswith("top-1 ")
    assert "6 of 6 videos), the last epoch" in said[-1]


def test_the_scores_are_those_of_the_model_on_disk(finished: Path, recipe: Recipe, listing: Listing):
    config, state, _ = weights.read(finished)
    model = MViT(config)
    model.load_state_dict(state)
    outcome = evaluation.evaluate(
        predictor(model, choose(recipe.train), exact=True),
        listing.val,
        listing.classes,
        recipe.data.preprocessing(),
        clips=2,
        crops=1,
    )
    with (finished / "scores.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    for row, scores in zip(rows, outcome.scores, strict=True):
        assert [float(row[name]) for name in listing.classes] == pytest.approx(scores.tolist(), abs=1e-7)


def test_an_evaluation_on_the_way_sees_the_weights_of_its_moment(tmp_path: Path, recipe: Recipe, listing: Listing):
    plain = with_train(replace(recipe, optim=replace(recipe.optim, ema_decay=None)), epochs=2, precision="float32")
    plain = replace(plain, data=replace(plain.data, views=(1, 1)))
    seen: list[Any] = []

    class Watched(judge.Judge):
        def evaluate(self, model: MViT, *args: Any, **more: Any) -> Any:
            seen.append(super().evaluate(model, *args, **more).scores)
            return super().evaluate(model, *args, **more)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(course, "Judge", Watched)
        loop.train(plain, listing, tmp_path / "run", echo=silent)
    assert len(seen) == 3
    assert seen[1] == pytest.approx(seen[2], abs=1e-6)  # the last epoch's weights, before and after they were written


# ---- what is refused -------------------------------------------------------------------------------------------------


def test_a_run_is_not_overwritten(finished: Path, recipe: Recipe, listing: Listing, tmp_path: Path):
    with pytest.raises(ValueError, match=r"exists already: go on with it by --resume, or choose another folder"):
        loop.train(recipe, listing, finished, echo=silent)
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(ValueError, match=r"exists already: choose another folder"):
        loop.train(recipe, listing, tmp_path, echo=silent)


# ---- what goes wrong -------------------------------------------------------------------------------------------------


def test_a_diverging_run_goes_back_and_at_last_stops(tmp_path: Path, recipe: Recipe, listing: Listing):
    wild = replace(recipe, optim=replace(recipe.optim, lr=1e30, clip_norm=None, ema_decay=None, warmup_fraction=0.0))
    with pytest.raises(faults.DivergedError, match=r"8 steps in a row .* at 0.5 times the rate: lower optim.lr"):
        loop.train(with_train(wild, evaluate_every=9, epochs=9), listing, tmp_path / "run", echo=silent)
    saved = checkpoint.load_latest(tmp_path / "run" / "checkpoints", silent)
    assert saved is not None
    assert all(tensor.isfinite().all() for tensor in saved.tensors.values())


def test_unreadable_videos_are_left_out_named_and_counted(tmp_path: Path, recipe: Recipe, videos: Path):
    shutil.copytree(videos, tmp_path / "videos")
    broken = [tmp_path / "videos" / part / "dark" / "broken.mp4" for part in ("train", "val")]
    for path in broken:
        path.write_text("no video")
    listing = find(tmp_path / "videos")
    said: list[str] = []
    run = loop.train(with_train(recipe, epochs=1, max_bad=0.1), listing, tmp_path / "run", echo=said.append)
    assert f"2 of 26 videos unreadable, listed in {run / 'unreadable.csv'}" in said
    assert "% with 1 unreadable counted wrong" in said[-1]
    with (run / "unreadable.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert {row["path"] for row in rows} == {str(path) for path in broken}
    assert all(row["found_in"] == "scan" and row["reason"] for row in rows)
    result = json.loads((run / "result.json").read_text(encoding="utf-8"))
    assert (result["videos"], result["listed"]) == (6, 7)
    assert result["top1_unreadable_wrong"] == pytest.approx(result["top1"] * 6 / 7)
    assert any("18 videos to learn from, 7 to report on" in line for line in said)
    assert metrics(run)[0]["clips_per_second"] > 0


def test_a_video_that_breaks_later_is_named_once_and_the_run_goes_on(
    tmp_path: Path, recipe: Recipe, videos: Path, monkeypatch: pytest.MonkeyPatch
):
    shutil.copytree(videos, tmp_path / "videos")
    listing = find(tmp_path / "videos")
    lost = listing.train[3].path
    said: list[str] = []

    def hear(line: str) -> None:
        said.append(line)
        if line.startswith("computing with"):  # the last line before the first step
            lost.write_text("gone")

    run = loop.train(with_train(recipe, epochs=2, max_bad=0.1), listing, tmp_path / "run", echo=hear)
    assert len([line for line in said if line.startswith(f"left out: {lost}")]) == 1
    with (run / "unreadable.csv").open(encoding="utf-8") as file:
        assert [(row["path"], row["found_in"]) for row in csv.DictReader(file)] == [(str(lost), "training")]


def test_without_a_readable_video_there_is_no_run(tmp_path: Path, recipe: Recipe):
    for name in ("a", "b"):
        (tmp_path / "videos" / name).mkdir(parents=True)
        for index in range(2):
            (tmp_path / "videos" / name / f"{index}.mp4").write_text("no video")
    listing, run = find(tmp_path / "videos"), tmp_path / "run"
    with pytest.raises(ValueError, match=r"2 of 2 training videos \(100 %\) cannot be read, more than the 1 % that"):
        loop.train(recipe, listing, run, echo=silent)
    assert [path.name for path in run.iterdir()] == ["unreadable.csv"]
    with pytest.raises(ValueError, match="none of the 2 training videos can be read; the first is"):
        loop.train(with_train(recipe, max_bad=1.0), listing, run, echo=silent)
    assert len((run / "unreadable.csv").read_text(encoding="utf-8").splitlines()) == 5  # made anew, not added to


def test_without_a_readable_video_of_val_there_is_no_run(tmp_path: Path, recipe: Recipe, videos: Path):
    shutil.copytree(videos, tmp_path / "videos")
    listing, run = find(tmp_path / "videos"), tmp_path / "run"
    for sample in listing.val:
        sample.path.write_text("no video")
    with pytest.raises(ValueError, match=r"no video of 6 in val can be read, so .* the first is .*bright/0.mp4"):
        loop.train(recipe, listing, run, echo=silent)
    assert [path.name for path in run.iterdir()] == ["unreadable.csv"]


def test_a_run_stops_where_more_videos_break_than_it_may_have_and_goes_on_when_it_may(
    tmp_path: Path, recipe: Recipe, videos: Path
):
    shutil.copytree(videos, tmp_path / "videos")
    listing = find(tmp_path / "videos")
    lost = [sample.path for sample in listing.train[3:5]]
    said: list[str] = []

    def hear(line: str) -> None:
        said.append(line)
        if line.startswith("epoch 1/"):
            for path in lost:
                path.write_text("gone")

    run, few = tmp_path / "run", with_train(recipe, epochs=3, max_bad=0.06)
    with pytest.raises(ValueError, match=r"2 of 18 training videos \(11.1 %\) .* 6 % .*unreadable.csv lists them"):
        loop.train(few, listing, run, echo=hear)
    with pytest.raises(ValueError, match="2 of 18 training videos"):
        loop.train(few, listing, run, resume=True, echo=said.append)
    loop.train(with_train(few, max_bad=0.2), listing, run, resume=True, echo=said.append)
    assert any(line.startswith("going on in epoch 2") for line in said)
    assert len(metrics(run)) == 3


# ---- choices ---------------------------------------------------------------------------------------------------------


def test_with_a_holdout_the_best_epoch_stands_and_train_is_smaller(tmp_path: Path, recipe: Recipe, listing: Listing):
    said: list[str] = []
    chosen = with_train(recipe, holdout=0.25, epochs=3)
    run = loop.train(chosen, listing, tmp_path / "run", echo=said.append)
    record = metrics(run)
    best = max(record, key=lambda line: (line["holdout_top1"], line["epoch"]))
    assert said[-1].endswith(f"epoch {best['epoch']}, the best on the holdout")
    assert any("15 videos to learn from, 3 held out of train to choose the best epoch" in line for line in said)
    saved = checkpoint.load_latest(run / "checkpoints", silent)
    assert saved is not None
    assert (saved.meta["best"], saved.meta["best_epoch"]) == (best["holdout_top1"], best["epoch"])
    written, wrote = run / "model.safetensors", (run / "model.safetensors").read_bytes()
    later = {name: tensor + 1 for name, tensor in safetensors.torch.load_file(written).items()}
    safetensors.torch.save_file(later, written)  # as a kill between a best epoch and its checkpoint leaves one
    loop.train(chosen, listing, run, resume=True, echo=silent)
    assert written.read_bytes() == wrote


def test_the_best_epoch_need_not_be_the_last(
    tmp_path: Path, recipe: Recipe, listing: Listing, monkeypatch: pytest.MonkeyPatch
):
    run, real, after_first = tmp_path / "run", evaluation.result, []

    def dictated(outcome: evaluation.Evaluation) -> dict[str, Any]:
        if outcome.samples[0].path.parts[-3] == "val":
            return real(outcome)
        if (run / "model.safetensors").exists():
            after_first.append((run / "model.safetensors").read_bytes())
        return {"top1": 0.4 if after_first else 0.9, "unreadable": {}}

    monkeypatch.setattr(evaluation, "result", dictated)
    said: list[str] = []
    loop.train(with_train(recipe, holdout=0.25, epochs=2), listing, run, echo=said.append)
    assert said[-1].endswith("epoch 1, the best on the holdout")
    assert (run / "model.safetensors").read_bytes() == after_first[0]
    saved = checkpoint.load_latest(run / "checkpoints", silent)
    written = safetensors.torch.load_file(run / "model.safetensors")
    assert saved is not None
    assert not torch.equal(saved.tensors["average/module.head.weight"], written["head.weight"])


def test_training_starts_from_weights_and_says_what_became_of_them(
    tmp_path: Path, finished: Path, videos: Path, monkeypatch: pytest.MonkeyPatch
):
    narrow = replace(find(videos), classes=("bright", "dark"))
    narrow = replace(
        narrow,
        train=tuple(sample for sample in narrow.train if sample.label != "middle"),
        val=tuple(sample for sample in narrow.val if sample.label != "middle"),
    )
    monkeypatch.chdir(finished.parent)
    recipe = recipes.load(finished / "recipe.toml", [f"model.weights={finished.name}", "train.epochs=1"])
    recipe = replace(recipe, optim=replace(recipe.optim, lr=1e-12, ema_decay=None))
    said: list[str] = []
    run = loop.train(recipe, narrow, tmp_path / "run", echo=said.append)
    assert any("head.weight (3 to 2 classes)" in line for line in said)
    before, after = (safetensors.torch.load_file(folder / "model.safetensors") for folder in (finished, run))
    assert torch.allclose(before["stem.weight"], after["stem.weight"], atol=1e-9)
    assert recipes.load(run / "recipe.toml").model.weights == str(finished), "it is read from other folders too"


def test_two_seeds_differ_and_the_callers_randomness_does_not_matter(
    tmp_path: Path, finished: Path, recipe: Recipe, listing: Listing
):
    torch.manual_seed(123)
    state = torch.random.get_rng_state()
    loop.train(recipe, listing, tmp_path / "same", echo=silent)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert same_weights(tmp_path / "same", finished)
    loop.train(with_train(recipe, seed=1, epochs=1), listing, tmp_path / "other", echo=silent)
    assert not same_weights(tmp_path / "other", finished)


def test_without_val_nothing_is_claimed(tmp_path: Path, recipe: Recipe, listing: Listing):
    said: list[str] = []
    run = loop.train(with_train(recipe, epochs=1), replace(listing, val=()), tmp_path / "run", echo=said.append)
    assert not (run / "result.json").exists()
    assert "nothing is held out, so its accuracy is unknown" in said[-1]


def test_one_image_a_class_is_a_clip_of_one_frame(tmp_path: Path):
    import numpy as np

    samples = []
    for label, level in (("dark", 40), ("light", 210)):
        path = tmp_path / f"{label}.mp4"
        video.write(path, np.full((1, 32, 32, 3), level, np.uint8))
        samples.append(Sample(path, label))
    keys = ["model.name=mvit_test_4x32", "train.epochs=1", "train.batch=2", "train.workers=0", "data.frames=1"]
    listing = Listing(("dark", "light"), tuple(samples), tuple(samples), "by hand")
    run = loop.train(recipes.load(None, [*keys, "train.device=cpu", "data.views=[1,1]"]), listing, tmp_path / "run")
    assert json.loads((run / "result.json").read_text(encoding="utf-8"))["videos"] == 2


def test_waiting_for_data_is_said_on_the_way_and_at_the_end(
    tmp_path: Path, recipe: Recipe, listing: Listing, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(progress, "LARGE_WAIT", 0.0)
    monkeypatch.setattr(loop, "Watch", partial(progress.Watch, patience_seconds=0.0))
    said: list[str] = []
    loop.train(with_train(recipe, epochs=2), listing, tmp_path / "run", echo=said.append)
    places = [number for number, line in enumerate(said) if line.startswith("the model waits for data ")]
    ends = next(number for number, line in enumerate(said) if line.startswith("epoch 1/2"))
    assert len(places) == 2
    assert places[0] < ends < places[1] == len(said) - 2


def test_a_backend_that_does_not_decode_is_refused_before_anything_is_written(tmp_path, recipe, listing, monkeypatch):
    monkeypatch.setitem(sys.modules, "torchcodec", None)
    other = replace(recipe, data=replace(recipe.data, backend="torchcodec"))
    assert recipes.differences(recipe, other) == ['data.backend: "pyav" -> "torchcodec"']
    with pytest.raises(ValueError, match="torchcodec is not installed; mend it with: python -m pip install"):
        loop.train(other, listing, tmp_path / "run", echo=silent)
    assert not (tmp_path / "run").exists()


def test_folders_of_frames_are_trained_on_evaluated_and_listed(tmp_path: Path, recipe: Recipe):
    rng = np.random.default_rng(0)
    for label, level in (("bright", 200), ("dark", 50)):
        for name in range(5):
            for number in range(8):
                picture = np.clip(level + rng.normal(0, 25, (32, 40, 3)), 0, 255).astype(np.uint8)
                save_picture(tmp_path / "data" / label / f"{label}-{name}" / f"img_{number}.jpg", picture)
    (tmp_path / "data" / "dark" / "dark-1" / "img_7.jpg").write_text("no picture")
    found, said = find(tmp_path / "data"), list[str]()
    lenient = with_train(recipe, epochs=1, max_bad=1.0, evaluate_every=2)
    run = loop.train(lenient, found, tmp_path / "run", index=tmp_path / "index", echo=said.append)
    result = json.loads((run / "result.json").read_text(encoding="utf-8"))
    bad = str(tmp_path / "data" / "dark" / "dark-1")
    unreadable = (run / "unreadable.csv").read_text(encoding="utf-8")
    assert f"{bad},picture img_7.jpg: " in unreadable
    assert result["videos"] + len(result["unreadable"]) == len(found.val)
    assert "videos are decoded by pyav" in "\n".join(said)
    assert loop.train(lenient, find(tmp_path / "data"), run, resume=True, echo=silent) == run
