"""A run within a given memory learns the very weights of one without a limit."""

from dataclasses import replace
from math import ceil
from pathlib import Path

import pytest
import safetensors.torch
import torch

from mvit.analysis import budget
from mvit.analysis.complexity import complexity
from mvit.data.dataset import Listing
from mvit.training import course, loop
from mvit.training.recipe import Recipe, load


def within(recipe: Recipe, memory: str) -> Recipe:
    return replace(recipe, train=replace(recipe.train, memory=memory))


def limit_that_needs_a_block(recipe: Recipe) -> str:
    """What a step takes that computes norms, GELU and the first block again."""
    config = recipe.model_config(3)
    step = budget.Step(config=config, clip=config.clip, batch=recipe.train.batch, averaged=True)
    plan = budget.planned(step, complexity(config), True, frozenset([0]))
    return f"{ceil(plan.peak_bytes / 1e3) / 1e3}MB"


def test_the_same_weights_in_less_memory(tmp_path: Path, finished: Path, recipe: Recipe, listing: Listing):
    limit, said = limit_that_needs_a_block(recipe), list[str]()
    run = loop.train(within(recipe, limit), listing, tmp_path / "run", echo=said.append)
    assert any(line.startswith(f"of {limit}, ") and "norms, GELU and block 0 computed again" in line for line in said)
    before, now = (safetensors.torch.load_file(folder / "model.safetensors") for folder in (finished, run))
    assert all(torch.equal(before[name], now[name]) for name in before)
    assert load(run / "recipe.toml").train.memory == limit


def test_a_run_goes_on_within_another_memory(tmp_path: Path, finished: Path, recipe: Recipe, listing: Listing):
    def stopped_in_the_second(self: course.Course) -> None:
        if self.position.epoch == 1:
            raise EOFError
        real(self)

    with pytest.MonkeyPatch.context() as patch:
        real = course.Course.learn_epoch
        patch.setattr(course.Course, "learn_epoch", stopped_in_the_second)
        with pytest.raises(EOFError):
            loop.train(recipe, listing, tmp_path / "run", echo=lambda _: None)
    limit = limit_that_needs_a_block(recipe)
    run = loop.train(within(recipe, limit), listing, tmp_path / "run", resume=True, echo=lambda _: None)
    before, now = (safetensors.torch.load_file(folder / "model.safetensors") for folder in (finished, run))
    assert all(torch.equal(before[name], now[name]) for name in before)


def test_what_cannot_fit_is_an_error_before_the_first_step(tmp_path: Path, recipe: Recipe, listing: Listing):
    with pytest.raises(
        ValueError, match=r"train.memory is '601MB', but a step with 8 clips of 4x32x32 takes 0\.6\d+ GB"
    ):
        loop.train(within(recipe, "601MB"), listing, tmp_path / "run", echo=lambda _: None)
    assert not (tmp_path / "run").exists()


def test_the_key_is_read_strictly():
    assert load(None, ["train.memory=16GB"]).train.memory == "16GB"
    assert load(None, ["train.memory=false"]).train.memory is None
    with pytest.raises(ValueError, match=r"train\.memory: '16' is no amount of memory"):
        load(None, ['train.memory="16"'])
    with pytest.raises(ValueError, match=r"train\.memory is 16: expected a string or false"):
        load(None, ["train.memory=16"])
