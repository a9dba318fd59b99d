"""A run within a given memory learns the very weights of one without a limit."""

import re
from dataclasses import replace
from math import ceil
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

from mvit.analysis import budget
from mvit.analysis.complexity import complexity
from mvit.cli import COMMANDS
from mvit.commandline import main
from mvit.data.dataset import Listing
from mvit.model.mvit import MViT
from mvit.recipes.recipe import Recipe, dumps, load
from mvit.training import course, loop
from mvit.training.hardware import choose
from mvit.training.learner import Learner
from mvit.training.memory import on_each, step_of, too_little


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
    with pytest.raises(ValueError, match=r"train\.memory: '16' is no number of bytes"):
        load(None, ['train.memory="16"'])
    with pytest.raises(ValueError, match=r"train\.memory is 16: expected a string or false"):
        load(None, ["train.memory=16"])


# ---- where there is less than it takes -------------------------------------------------------------------------------


def raising(error: Exception) -> Any:
    def fail(*args: Any) -> None:
        raise error

    return fail


def compiled(recipe: Recipe) -> Recipe:
    return replace(recipe, train=replace(recipe.train, compile=True))


def test_the_sentence_says_what_each_change_gives():
    recipe = load(None, ["model.name=mvit_b_16x4", "train.batch=8", "train.device=cpu", "train.precision=float32"])
    config = recipe.model_config(400)
    said = too_little(config, recipe, choose(recipe.train))
    step = budget.Step(config=config, clip=(16, 224, 224), batch=8)

    def peak(step: budget.Step, again: bool = False) -> int:
        blocks = budget.every_block(config) if again else frozenset[int]()
        return budget.planned(step, complexity(config, step.clip), again, blocks).peak_bytes

    def less(other: budget.Step, again: bool = False) -> str:
        return f"({(peak(step) - peak(other, again)) / 1e9:.3g} GB less)"

    assert "a step with 8 clips of 16x224x224 in float32, " in said
    assert f"takes {peak(step) / 1e9:.3g} GB of cpu at its peak" in said
    assert f"--memory {ceil(peak(step, True) / 1e8) / 10}GB, the least {less(step, True)}" in said
    assert f"train.accumulate=2 {less(replace(step, batch=4))}" in said
    assert f"train.precision=bf16 {less(replace(step, bf16=True))}" in said
    assert f"data.frames=8 {less(replace(step, clip=(8, 224, 224)))}" in said
    assert f"data.crop=160 {less(replace(step, clip=(16, 160, 160)))}" in said
    assert "--memory" not in too_little(config, compiled(recipe), choose(recipe.train))
    assert float(re.findall(r"accumulate=2 \((\S+) GB", said)[0]) == pytest.approx(
        3.9, abs=0.1
    )  # 4 clips: docs/memory.md


def test_what_is_done_already_is_not_proposed_again():
    keys = ["model.name=mvit_b_16x4", "train.batch=8", "train.device=cpu", "train.precision=bf16", "train.accumulate=8"]
    recipe = load(None, [*keys, "train.memory=1GB"])
    said = too_little(recipe.model_config(400), recipe, choose(recipe.train))
    assert "8 clips of 16x224x224, 1 at once, in bf16" in said
    assert "--memory" not in said
    assert "accumulate=" not in said
    assert "precision=" not in said
    assert "try data.frames=8 (" in said


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
        RuntimeError(
            "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: you ..."
        ),
        None,
    ],
    ids=["cuda", "cpu", "real"],
)
def test_a_step_without_memory_ends_the_run_with_advice(
    tmp_path: Path, recipe: Recipe, videos: Path, monkeypatch: pytest.MonkeyPatch, capsys, error: Exception | None
):
    (tmp_path / "recipe.toml").write_text(dumps(recipe), encoding="utf-8")
    if error is None:
        monkeypatch.setattr(MViT, "forward", lambda self, clips: torch.empty(2**60, dtype=torch.uint8))
    else:
        monkeypatch.setattr(Learner, "step", raising(error))
    run = tmp_path / "run"
    assert main(COMMANDS, ["train", str(videos), "--recipe", str(tmp_path / "recipe.toml"), "--out", str(run)]) == 2
    told = capsys.readouterr().err
    assert told.startswith("mvit: memory does not suffice for a step with 8 clips of 4x32x32 in float32, which by ")
    assert "try --memory 0.7GB, the least (" in told
    assert "Traceback" not in told
    assert told.count("\n") == 1


def test_another_error_of_torch_stays_one_of_ours(
    tmp_path: Path, recipe: Recipe, listing: Listing, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(Learner, "step", raising(RuntimeError("shapes do not match")))
    with pytest.raises(RuntimeError, match="shapes do not match"):
        loop.train(recipe, listing, tmp_path / "run", echo=lambda _: None)


def test_of_several_processes_each_takes_its_share_of_a_batch():
    recipe = load(None, ["model.name=mvit_b_16x4", "train.batch=8", "train.device=cpu", "train.precision=float32"])
    config, machine = recipe.model_config(400), choose(recipe.train)
    assert step_of(config, on_each(recipe, 4), machine).batch == 2
    assert "a step with 2 clips of" in too_little(config, on_each(recipe, 4), machine)


def test_a_share_of_fewer_clips_than_pieces_is_computed_clip_by_clip():
    recipe = load(None, ["model.name=mvit_b_16x4", "train.batch=8", "train.accumulate=4", "train.device=cpu"])
    share = on_each(recipe, 4)
    assert (share.train.batch, step_of(recipe.model_config(400), share, choose(recipe.train)).batch) == (2, 1)
