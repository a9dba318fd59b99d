"""Real processes, killed and interrupted from outside, end at the weights of an undisturbed run."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import safetensors.torch
import torch

from mvit.data.dataset import Listing
from mvit.recipes import recipe as recipes
from mvit.recipes.recipe import Recipe
from mvit.training import loop

EPOCHS = 12
PROGRAM = """
import sys
from pathlib import Path
from mvit.data.dataset import find
from mvit.training.loop import train
from mvit.recipes.recipe import load

if __name__ == "__main__":
    data, recipe, out = map(Path, sys.argv[1:])
    train(load(recipe), find(data), out)
"""


def silent(_: str) -> None:
    pass


@pytest.fixture(scope="module")
def long(recipe: Recipe) -> Recipe:
    return replace(recipe, train=replace(recipe.train, epochs=EPOCHS, evaluate_every=EPOCHS))


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, long: Recipe, listing: Listing) -> Path:
    return loop.train(long, listing, tmp_path_factory.mktemp("undisturbed") / "run", echo=silent)


def epochs_done(run: Path) -> int:
    file = run / "metrics.jsonl"
    return file.read_bytes().count(b"\n") if file.exists() else 0


@contextmanager
def process(recipe: Recipe, videos: Path, run: Path) -> Iterator[subprocess.Popen[str]]:
    """A training process in a process group of its own, as a terminal's is, two or more epochs on its way."""
    file = run.with_name("recipe.toml")
    file.write_text(recipes.dumps(recipe), encoding="utf-8")
    (program := run.with_name("program.py")).write_text(PROGRAM, encoding="utf-8")
    child = subprocess.Popen(
        [sys.executable, str(program), str(videos), str(file), str(run)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        while epochs_done(run) < 2:
            assert child.poll() is None, child.communicate()[1]
            time.sleep(0.002)
        yield child
    finally:
        if child.poll() is None:
            os.killpg(child.pid, signal.SIGKILL)
        child.communicate()


def assert_ends_alike(run: Path, undisturbed: Path, recipe: Recipe, listing: Listing) -> None:
    assert 2 <= epochs_done(run) < EPOCHS
    loop.train(recipe, listing, run, resume=True, echo=silent)
    one, other = (safetensors.torch.load_file(folder / "model.safetensors") for folder in (run, undisturbed))
    assert all(torch.equal(one[name], other[name]) for name in other)
    losses = [
        [json.loads(line)["loss"] for line in (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
        for folder in (run, undisturbed)
    ]
    assert losses[0] == losses[1]


def test_kill_9(tmp_path: Path, undisturbed: Path, long: Recipe, listing: Listing, videos: Path):
    run = tmp_path / "run"
    with process(long, videos, run) as child:
        child.kill()
        child.wait()
        assert child.returncode == -signal.SIGKILL
    assert_ends_alike(run, undisturbed, long, listing)


def test_ctrl_c_with_a_decoding_process_and_going_on_without(
    tmp_path: Path, undisturbed: Path, long: Recipe, listing: Listing, videos: Path
):
    run = tmp_path / "run"
    with process(replace(long, train=replace(long.train, workers=1)), videos, run) as child:
        os.killpg(child.pid, signal.SIGINT)
        out, err = child.communicate(timeout=60)
        assert f"saved: the same command with --out {run} --resume goes on" in out
        assert err.strip().endswith("Interrupted"), err
    assert_ends_alike(run, undisturbed, long, listing)
