"""The batch of a recipe that leaves it to the machine."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from mvit.analysis import budget
from mvit.analysis.complexity import complexity
from mvit.cli import COMMANDS
from mvit.commandline import main
from mvit.data import resources
from mvit.data.dataset import Listing
from mvit.recipes import recipe as recipes
from mvit.recipes.recipe import Recipe, load
from mvit.training import batch, loop
from mvit.training.defaults import settle
from mvit.training.hardware import Hardware, choose
from mvit.training.learner import Learner

KEYS = ("model.name=mvit_b_16x4", "train.batch=auto", "train.device=cpu", "train.precision=float32")


def chosen(videos: int, *keys: str) -> tuple[int, str]:
    """The batch for so many videos, and what is said of it."""
    recipe, said = load(None, [*KEYS, *keys]), list[str]()
    found = batch.resolved(recipe, recipe.model_config(400), videos, choose(recipe.train), said.append)
    assert len(said) == 1
    return found.train.clips_per_step, said[0]


def peak(clips: int) -> int:
    config = load(None, KEYS).model_config(400)
    step = budget.Step(config=config, clip=config.clip, batch=clips)
    return budget.planned(step, complexity(config, config.clip), False, frozenset()).peak_bytes


@pytest.fixture
def room(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Sets how many bytes a step may take."""

    def free(bytes_: int | None) -> None:
        found = None if bytes_ is None else int(bytes_ / batch.USED_SHARE) + 1
        monkeypatch.setattr(resources, "available_memory", lambda: found)

    return free


@pytest.mark.parametrize("clips", [1, 2, 8, 64])
def test_it_is_the_largest_power_of_two_that_fits(room: Any, clips: int):
    room(peak(clips))
    assert chosen(100_000) == (
        clips,
        f"train.batch is {clips}: the largest by powers of two of which a step fits into {peak(clips) / 1e9:.3g} GB",
    )
    room(peak(2 * clips) - 2)
    assert chosen(100_000)[0] == clips


def test_it_leaves_an_epoch_steps_and_learning_rates_their_meaning(room: Any):
    room(peak(1000))
    number, said = chosen(100)
    assert number == 8
    assert said.endswith("but an epoch of 100 videos is to have 8 steps or more")
    number, said = chosen(10**6)
    assert number == 512
    assert said.endswith("but no more than 512 are taken unasked")
    assert chosen(3)[0] == 1


def test_pieces_and_copies_make_it_larger(room: Any):
    room(peak(8))
    assert chosen(100_000, "train.accumulate=4")[0] == 32
    assert chosen(100_000, "augment.copies=3")[0] == 6
    assert chosen(100_000, "augment.copies=2", "train.accumulate=4")[0] == 32


def test_within_a_memory_as_much_is_computed_again_as_must(room: Any):
    room(0)
    limit = f"train.memory={peak(8) // 10**6}MB"
    assert chosen(100_000, limit)[0] == 16  # every block computed again takes a quarter of a clip's memory


def test_where_nothing_fits_or_nothing_is_known_that_is_said(room: Any):
    room(peak(1) - 10**8)
    with pytest.raises(ValueError, match=r"not even a step with 1 clip of 16x224x224 fits into .* GB: take fewer"):
        chosen(100_000)
    room(None)
    with pytest.raises(ValueError, match=r'train.batch is "auto", but this system does not say .* give --memory'):
        chosen(100_000)


def test_on_a_gpu_steps_are_tried(recipe: Recipe, monkeypatch: pytest.MonkeyPatch):
    steps = list[int]()
    taken = {"peak": 0}

    def step(self: Learner, given: Any, rate: float) -> None:
        steps.append(len(given.labels))
        if len(given.labels) > 16:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        taken["peak"] = 100 * len(given.labels)

    monkeypatch.setattr(Learner, "step", step)
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda device: None)
    monkeypatch.setattr(torch.cuda, "max_memory_reserved", lambda device: taken["peak"])
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "a GPU")
    machine = choose(recipe.train)  # the processor, where a GPU is asked what is free
    config = recipe.model_config(3)
    for free, expected in ((10_000, [4, 4, 8, 8, 16, 16, 32]), (1_500, [4, 4, 8, 8, 16, 16])):
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device, free=free: (free, free))
        tried = [batch._tried(replace(recipe, train=replace(recipe.train, batch=n)), config, machine) for n in (4, 8)]
        assert tried == [True, True]
        assert batch._tried(replace(recipe, train=replace(recipe.train, batch=16)), config, machine) is (free == 10_000)
        if free == 10_000:
            assert not batch._tried(replace(recipe, train=replace(recipe.train, batch=32)), config, machine)
        assert steps == expected
        steps.clear()
    gpu = Hardware(torch.device("cuda"), "float32", 0, "")
    monkeypatch.setattr(batch, "_tried", lambda recipe, *_: recipe.train.batch <= 64)
    said = list[str]()
    found = batch.resolved(load(None, KEYS), load(None, KEYS).model_config(400), 10**6, gpu, said.append)
    assert found.train.batch == 64
    assert said == ["train.batch is 64: the largest by powers of two of which a step fits into a GPU"]


def test_a_run_writes_it_down_and_goes_on_with_it(
    tmp_path: Path, recipe: Recipe, listing: Listing, monkeypatch: pytest.MonkeyPatch
):
    left_open, said = replace(recipe, train=replace(recipe.train, batch="auto", epochs=1)), list[str]()
    monkeypatch.setattr(batch, "LEAST_STEPS", 4)
    run = loop.train(left_open, listing, tmp_path / "run", echo=said.append)
    assert any(line.startswith("train.batch is 4: more would fit into ") for line in said)
    assert any("5 steps (5 in all), 4 clips a step" in line for line in said)
    assert recipes.load(run / "recipe.toml").train.batch == 4
    monkeypatch.setattr(batch, "LEAST_STEPS", 2)
    (run / "result.json").unlink()
    loop.train(left_open, listing, run, resume=True, echo=said.append)
    assert (run / "result.json").exists()


def test_the_command_has_an_option_for_it(
    tmp_path: Path, recipe: Recipe, videos: Path, monkeypatch: pytest.MonkeyPatch
):
    asked = list[Recipe]()
    (tmp_path / "recipe.toml").write_text(recipes.dumps(recipe), encoding="utf-8")
    monkeypatch.setattr(loop, "train", lambda recipe, *_, **__: asked.append(recipe) or interrupted())

    def interrupted() -> None:
        raise KeyboardInterrupt

    command = ["train", str(videos), "--recipe", str(tmp_path / "recipe.toml"), "--out", str(tmp_path / "run")]
    for option in ("auto", "6"):
        assert main(COMMANDS, [*command, "--batch", option]) == 130
    assert [recipe.train.batch for recipe in asked] == ["auto", 6]
    assert main(COMMANDS, [*command, "--batch", "many"]) == 2


def test_what_follows_from_the_batch_follows_from_the_number(listing: Listing):
    keys = ("model.name=mvit_test_4x32", "model.weights=", "train.device=cpu", "train.precision=float32")
    said = list[str]()
    left_open = settle(None, [*keys, "train.batch=auto"], listing, echo=said.append)
    assert any(line.startswith("train.batch is 2: more would fit into ") for line in said)
    assert left_open == settle(None, [*keys, "train.batch=2"], listing, echo=said.append)
    assert left_open != settle(None, [*keys, "train.batch=16"], listing, echo=said.append)


def test_the_key_is_read_strictly():
    assert load(None, ["train.batch=auto"]).train.batch == "auto"
    for wrong in ("most", "0", "2.5"):
        with pytest.raises(ValueError, match=r"train\.batch is "):
            load(None, [f"train.batch={wrong}"])
    with pytest.raises(ValueError, match=r'train.batch is "auto", which training settles .* such as train.batch=32'):
        _ = load(None, ["train.batch=auto"]).train.clips_per_step
    with pytest.raises(ValueError, match=r"train.accumulate is 9 and train.batch 8: a batch has no more pieces than"):
        load(None, ["train.batch=8", "train.accumulate=9"])
    with pytest.raises(ValueError, match=r"train.compile is true and train.memory is set: a compiler chooses"):
        load(None, ["train.compile=true", "train.memory=16GB"])


def test_each_of_several_processes_takes_what_fits(room: Any, listing: Listing, monkeypatch: pytest.MonkeyPatch):
    room(peak(8))
    recipe, said = load(None, KEYS), list[str]()
    config = recipe.model_config(400)
    found = batch.resolved(recipe, config, 100_000, choose(recipe.train), said.append, 4)
    assert found.train.batch == 32
    assert said[0].startswith("train.batch is 32, 8 on each of 4 processes: the largest by powers of two of which")
    room(peak(1000))
    assert batch.resolved(recipe, config, 10**6, choose(recipe.train), said.append, 4).train.batch == 512
    monkeypatch.undo()
    monkeypatch.setattr(resources, "_machines_memory", lambda: int(4 * peak(8) / batch.USED_SHARE) + 8)
    monkeypatch.setattr(resources, "_groups_memory", lambda: iter(()))
    for started, clips in (("1", 32), ("4", 8)):
        monkeypatch.setenv("LOCAL_WORLD_SIZE", started)
        assert chosen(100_000)[0] == clips, "a process has its share of the machine"
    keys = ("model.name=mvit_test_4x32", "model.weights=", "train.device=cpu", "train.precision=float32")
    assert settle(None, [*keys, "train.batch=auto"], listing, ranks=4, echo=said.append).train.batch == 4
