"""Real processes, killed and interrupted from outside, end at the weights of an undisturbed run."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

from mvit import runs
from mvit.data.dataset import Listing
from mvit.distributed.interruption import Interrupted, TerminatedError
from mvit.recipes import recipe as recipes
from mvit.recipes.recipe import Recipe
from mvit.training import loop
from mvit.training.run import Run

pytestmark = pytest.mark.timeout(600)  # real processes, on cores that others may use
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


STANDING_STILL = """
import sys, time
from mvit import cli
from mvit.training import batch, parts

def stand_still(*_, **__):
    print("here", flush=True)
    time.sleep(600)

if __name__ == "__main__":
    if sys.argv[1] == "looking through":
        parts.StatusLine.show = stand_still
    else:
        batch.resolved = stand_still
    sys.exit(cli.main(sys.argv[2:]))
"""
"""Comes to a place before the first step, and stays there."""


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


@pytest.mark.parametrize(
    ("where", "sentence"),
    [
        ("looking through", "stopped between steps, and nothing is half done: the same command begins the run"),
        ("probing", "stopped before anything was begun: give the same command again"),
    ],
)
def test_sigterm_before_the_first_step_leaves_nothing(tmp_path: Path, videos: Path, where: str, sentence: str):
    """While processes look at the videos, and while a batch is looked for that fits."""
    run, program = tmp_path / "runs" / "run", tmp_path / "program.py"
    program.write_text(STANDING_STILL, encoding="utf-8")
    keys = ("train.device=cpu", f"train.workers={int(where == 'looking through')}", "train.epochs=1")
    command = ["train", str(videos), "--model", "mvit_test_4x32", "--batch", "auto", "--out", str(run), *keys]
    child = subprocess.Popen(
        [sys.executable, str(program), where, *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"XDG_CACHE_HOME": str(tmp_path / "cache")},
    )
    assert child.stdout is not None
    try:
        while (line := child.stdout.readline()) != "here\n":
            assert line, child.communicate()[1]
        child.send_signal(signal.SIGTERM)
        out, err = child.communicate()
    finally:
        child.kill()
    assert (child.returncode, err) == (0, "")
    assert out.splitlines()[-1] == sentence
    assert not run.exists()
    with pytest.raises(ValueError, match=r"run holds no recipe.toml, so none has begun there: leave --resume out"):
        runs.to_train(videos, run, True)


@pytest.mark.parametrize("which", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_the_folder_is_made_leaves_a_whole_one_and_saves(
    tmp_path: Path, recipe: Recipe, listing: Listing, monkeypatch: pytest.MonkeyPatch, which: signal.Signals
):
    short, real, run = replace(recipe, train=replace(recipe.train, epochs=1)), Run.list_unreadable, tmp_path / "run"

    def interrupted(self: Run, *args: Any) -> None:
        if self.split.exists():  # the recipe, which comes last, is not there
            signal.raise_signal(which)
        real(self, *args)

    monkeypatch.setattr(Run, "list_unreadable", interrupted)
    said: list[str] = []
    with pytest.raises(Interrupted):
        loop.train(short, listing, run, echo=said.append)
    assert said[-1].startswith("stopped in epoch 1, of which 1 of 3 steps are done, and saved")
    monkeypatch.undo()
    loop.train(short, listing, run, resume=True, echo=said.append)
    loop.train(short, listing, tmp_path / "undisturbed", echo=silent)
    one, other = ((folder / "model.safetensors").read_bytes() for folder in (run, tmp_path / "undisturbed"))
    assert one == other


def test_sigterm_before_a_run_goes_on_leaves_it_as_it_is(
    tmp_path: Path, recipe: Recipe, listing: Listing, finished: Path, monkeypatch: pytest.MonkeyPatch
):
    run, before = tmp_path / "run", signal.getsignal(signal.SIGTERM)
    shutil.copytree(finished, run)
    held = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    monkeypatch.setattr(loop.checkpoint, "load_latest", lambda *_: signal.raise_signal(signal.SIGTERM))
    said: list[str] = []
    with pytest.raises(TerminatedError):
        loop.train(recipe, listing, run, resume=True, echo=said.append)
    assert said[-1].endswith(f"nothing is half done: the same command with --out {run} --resume goes on")
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == held
    assert signal.getsignal(signal.SIGTERM) is before
