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

from mvit.data.dataset import Listing
from mvit.evaluation import evaluate as evaluation
from mvit.recipes.recipe import Recipe
from mvit.training import checkpoint, loop
from mvit.training.course import MEASURED
from mvit.training.learner import Learner, Outcome


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
