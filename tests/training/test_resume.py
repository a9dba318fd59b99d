"""A run that was stopped goes on to the very weights and metrics of one that was not."""

import json
import shutil
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

from mvit.data.dataset import Listing, Sample, find
from mvit.evaluation import evaluate as evaluation
from mvit.recipes import recipe as recipes
from mvit.recipes.recipe import Recipe
from mvit.training import checkpoint, loop
from mvit.training.course import MEASURED
from mvit.training.learner import Learner, Outcome
from mvit.training.run import Run, rooted


def silent(_: str) -> None:
    pass


def metrics(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]


def same_weights(one: Path, other: Path) -> bool:
    first, second = (safetensors.torch.load_file(run / "model.safetensors") for run in (one, other))
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def timeless(run: Path) -> list[dict[str, Any]]:
    """The metrics without what the machine says."""
    return [{name: value for name, value in line.items() if name not in MEASURED} for line in metrics(run)]


class StoppedError(Exception):
    """Ends a run in the middle, as a kill would."""


def stop_at(patch: pytest.MonkeyPatch, step: int, how: Any) -> None:
    """Do ``how`` in the step of this number, before anything has moved."""
    real, steps = Learner.step, []

    def counted(self: Learner, *args: Any) -> Outcome:
        steps.append(None)
        if len(steps) == step:
            how()
        return real(self, *args)

    patch.setattr(Learner, "step", counted)


def die() -> None:
    raise StoppedError


def test_four_epochs_are_two_and_two(tmp_path: Path, finished: Path, recipe: Recipe, listing: Listing):
    with pytest.MonkeyPatch.context() as patch:
        stop_at(patch, 7, die)
        with pytest.raises(StoppedError):
            loop.train(recipe, listing, tmp_path / "run", echo=silent)
    assert len(metrics(tmp_path / "run")) == 2
    assert not same_weights(tmp_path / "run", finished)
    loop.train(recipe, listing, tmp_path / "run", resume=True, echo=silent)
    assert same_weights(tmp_path / "run", finished)
    assert timeless(tmp_path / "run") == timeless(finished)
    for name in ("scores.csv", "result.json", "split.csv", "recipe.toml"):
        assert (tmp_path / "run" / name).read_bytes() == (finished / name).read_bytes()


def test_a_run_that_ended_before_its_first_checkpoint_starts_from_its_weights_again(
    tmp_path: Path, finished: Path, recipe: Recipe, listing: Listing
):
    chosen = replace(
        recipe,
        model=replace(recipe.model, weights=str(finished), freeze="all"),
        train=replace(recipe.train, epochs=1),
    )
    loop.train(chosen, listing, tmp_path / "undisturbed", echo=silent)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checkpoint, "save", lambda *_, **__: die())
        with pytest.raises(StoppedError):
            loop.train(chosen, listing, tmp_path / "run", echo=silent)
    assert (tmp_path / "run" / "recipe.toml").is_file()
    loop.train(chosen, listing, tmp_path / "run", resume=True, echo=silent)
    assert same_weights(tmp_path / "run", tmp_path / "undisturbed")
    assert timeless(tmp_path / "run") == timeless(tmp_path / "undisturbed")


def test_a_run_in_fp16_and_in_pieces_goes_on_too(tmp_path: Path, recipe: Recipe, listing: Listing):
    reduced = replace(recipe, train=replace(recipe.train, precision="fp16", accumulate=3, epochs=2))
    loop.train(reduced, listing, tmp_path / "undisturbed", echo=silent)
    with pytest.MonkeyPatch.context() as patch:
        stop_at(patch, 5, die)
        with pytest.raises(StoppedError):
            loop.train(reduced, listing, tmp_path / "run", echo=silent)
    loop.train(reduced, listing, tmp_path / "run", resume=True, echo=silent)
    assert same_weights(tmp_path / "run", tmp_path / "undisturbed")
    saved = checkpoint.load_latest(tmp_path / "run" / "checkpoints", silent)
    assert saved is not None
    assert saved.tensors["scaler/_growth_tracker"] == 6  # steps since the scale was last changed


@pytest.mark.parametrize("which", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_saves_in_the_middle_of_an_epoch(
    tmp_path: Path, finished: Path, recipe: Recipe, listing: Listing, which: signal.Signals
):
    said: list[str] = []
    before = signal.getsignal(which)
    with pytest.MonkeyPatch.context() as patch:
        stop_at(patch, 5, lambda: signal.raise_signal(which))
        with pytest.raises(KeyboardInterrupt):
            loop.train(recipe, listing, tmp_path / "run", echo=said.append)
    assert signal.getsignal(which) is before
    assert said[-1] == (
        "stopped in epoch 2, of which 2 of 3 steps are done, and saved: "
        f"the same command with --out {tmp_path / 'run'} --resume goes on"
    )
    said.clear()
    loop.train(recipe, listing, tmp_path / "run", resume=True, echo=said.append)
    assert "going on in epoch 2, of which 2 of 3 steps are done" in said
    assert same_weights(tmp_path / "run", finished)
    assert timeless(tmp_path / "run") == timeless(finished)


def test_a_signal_during_evaluation_does_not_learn_the_epoch_again(
    tmp_path: Path, finished: Path, recipe: Recipe, listing: Listing, monkeypatch: pytest.MonkeyPatch
):
    real = evaluation.score

    def interrupted(*args: Any, **more: Any) -> Any:
        signal.raise_signal(signal.SIGINT)
        return real(*args, **more)

    monkeypatch.setattr(evaluation, "score", interrupted)
    with pytest.raises(KeyboardInterrupt):
        loop.train(recipe, listing, tmp_path / "run", echo=silent)
    monkeypatch.undo()
    assert not (tmp_path / "run" / "metrics.jsonl").exists()
    said: list[str] = []
    loop.train(recipe, listing, tmp_path / "run", resume=True, echo=said.append)
    assert "going on in epoch 1, of which 3 of 3 steps are done" in said
    assert same_weights(tmp_path / "run", finished)
    assert timeless(tmp_path / "run") == timeless(finished)


def test_a_damaged_last_checkpoint_costs_an_epoch_and_is_named(
    tmp_path: Path, finished: Path, recipe: Recipe, listing: Listing
):
    run = tmp_path / "run"
    shutil.copytree(finished, run)
    last = max((run / "checkpoints").iterdir()) / checkpoint.TENSORS
    last.write_bytes(last.read_bytes()[:1000])
    (run / "model.safetensors").unlink()
    said: list[str] = []
    loop.train(recipe, listing, run, resume=True, echo=said.append)
    assert any(str(last) in line and "1,000 of" in line for line in said)
    assert same_weights(run, finished)
    assert timeless(run) == timeless(finished)


def test_a_finished_run_is_only_evaluated_again(tmp_path: Path, finished: Path, recipe: Recipe, listing: Listing):
    run = tmp_path / "run"
    shutil.copytree(finished, run)
    (run / "result.json").unlink()
    loop.train(recipe, listing, run, resume=True, echo=silent)
    assert (run / "result.json").read_bytes() == (finished / "result.json").read_bytes()
    assert (run / "metrics.jsonl").read_bytes() == (finished / "metrics.jsonl").read_bytes()


def test_what_was_left_out_stays_so_where_the_data_go_by_another_path(tmp_path: Path, recipe: Recipe, videos: Path):
    here = shutil.copytree(videos, tmp_path / "here")
    (tmp_path / "there").symlink_to(here)
    (here / "train" / "dark" / "broken.mp4").write_text("no video")
    few = replace(recipe, train=replace(recipe.train, epochs=1, max_bad=0.06))
    run, said = loop.train(few, find(tmp_path / "there"), tmp_path / "run", echo=silent), list[str]()
    table = (run / "unreadable.csv").read_text(encoding="utf-8")
    loop.train(few, find(here), run, resume=True, echo=said.append)
    assert any("18 videos to learn from" in line for line in said)
    assert (run / "unreadable.csv").read_text(encoding="utf-8").split() == table.replace("/there/", "/here/").split()
    strict = replace(few, train=replace(few.train, max_bad=0.05))
    with pytest.raises(ValueError, match="1 of 19 training videos"):
        loop.train(strict, find(tmp_path / "there"), run, resume=True, echo=silent)


def test_another_recipe_does_not_go_on(finished: Path, recipe: Recipe, listing: Listing):
    train = replace(recipe.train, epochs=9, workers=3)
    other = replace(recipe, optim=replace(recipe.optim, lr=1e-3), train=train)
    with pytest.raises(ValueError, match=r"optim.lr: 0.008 -> 0.001; train.epochs: 4 -> 9\)") as refused:
        loop.train(other, listing, finished, resume=True, echo=silent)
    assert "workers" not in str(refused.value)


def test_other_videos_do_not_go_on(finished: Path, recipe: Recipe, listing: Listing):
    fewer = replace(listing, train=listing.train[1:])
    with pytest.raises(ValueError, match=r"another train \(18 videos, now 17, .*bright/0.mp4 is in one only\)"):
        loop.train(recipe, fewer, finished, resume=True, echo=silent)
    first, second, *others = listing.train
    in_a_group = Sample(first.path, first.labels, "a person")
    for same in ((second, first, *others), (in_a_group, second, *others)):
        with pytest.raises(ValueError, match=r"another train \(18 videos, now 18, in another order, class or group\)"):
            loop.train(recipe, replace(listing, train=same), finished, resume=True, echo=silent)


def test_there_must_be_a_run_to_go_on_with(tmp_path: Path, recipe: Recipe, listing: Listing):
    with pytest.raises(ValueError, match="is no run to go on with"):
        loop.train(recipe, listing, tmp_path / "nowhere", resume=True, echo=silent)
    assert not (tmp_path / "nowhere").exists()


def test_weights_are_the_same_by_either_path_and_go_by_name_as_before(
    tmp_path: Path, finished: Path, recipe: Recipe, listing: Listing, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(finished.parent)
    run = Run(shutil.copytree(finished, tmp_path / "run", ignore=shutil.ignore_patterns("checkpoints")))
    by_path = [replace(recipe, model=replace(recipe.model, weights=str(path))) for path in (finished, finished.name)]
    assert rooted(by_path[1]) == by_path[0]
    for began in by_path:  # earlier versions wrote it as it was given
        run.recipe.write_text(recipes.dumps(began), encoding="utf-8")
        for goes_on in by_path:
            run.require_same(goes_on, listing)
    for name in ("k400", "gone"):
        by_name = recipes.load(None, ["model.name=mvit_b_16x4", f"model.weights={name}"])
        assert rooted(by_name) == by_name
