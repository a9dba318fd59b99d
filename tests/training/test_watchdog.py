"""What hangs is named and ended: a decoding process, a step, a read in the process that trains."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mvit.data.backend import Backend
from mvit.data.dataset import Listing, find
from mvit.recipes import recipe as recipes
from mvit.recipes.recipe import Recipe, load
from mvit.training import loop
from mvit.training.watchdog import Watchdog

LIMIT_SECONDS = 30.0
"""Processes that decode may need some of it to start, on a machine with much to do."""
STUB = """
import time
from mvit.data import video

def read(path, *args, **options):
    if path == {video!r}:
        time.sleep(600)
    return video.read(path, *args, **options)
"""
PROGRAM = """
import sys, time
from pathlib import Path
from mvit.data.dataset import find
from mvit.training.learner import Learner
from mvit.training.loop import train
from mvit.recipes.recipe import load

Learner.step = lambda *_: time.sleep(600)
data, recipe, out = map(Path, sys.argv[1:])
train(load(recipe), find(data), out)
"""


def with_limit(recipe: Recipe, **values: Any) -> Recipe:
    return replace(recipe, train=replace(recipe.train, **{"timeout_seconds": LIMIT_SECONDS, **values}))


@pytest.mark.slow
def test_a_hung_decoding_process_ends_the_run_with_its_video(
    tmp_path: Path, recipe: Recipe, listing: Listing, monkeypatch: pytest.MonkeyPatch
):
    hung = listing.train[7].path
    (tmp_path / "stub.py").write_text(STUB.format(video=str(hung)), encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    import stub

    monkeypatch.setattr(loop, "choose_backend", lambda name: Backend("torchcodec", "cpu", "0", stub.read))
    begun, words = time.monotonic(), rf"batch \d of epoch 0 has not come for 30 s .* process \d+ is at {hung}: look at"
    with pytest.raises(ValueError, match=words):
        loop.train(with_limit(recipe, workers=2), listing, tmp_path / "run", echo=lambda line: None)
    assert time.monotonic() - begun < 3 * LIMIT_SECONDS


def test_a_hung_step_is_named_with_its_videos_and_ends_the_process(
    tmp_path: Path, recipe: Recipe, videos: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "recipe.toml").write_text(recipes.dumps(with_limit(recipe, timeout_seconds=0.5)), encoding="utf-8")
    (tmp_path / "program.py").write_text(PROGRAM, encoding="utf-8")
    command = [sys.executable, *(str(tmp_path / name) for name in ("program.py",)), str(videos)]
    done = subprocess.run(
        [*command, str(tmp_path / "recipe.toml"), str(tmp_path / "run")],
        capture_output=True,
        text=True,
        timeout=120,
        env=os.environ | {"RANK": "3"},
    )
    assert done.returncode == 1
    sentence, *stacks = done.stderr.splitlines()
    assert sentence.startswith("mvit: rank 3: 1 s have passed learning from batch 0 of epoch 1 (")
    assert sentence.endswith("): this process is ended")
    assert str(find(videos).train[0].path.parents[1]) in sentence
    assert any("learn" in line and "course.py" in line for line in stacks)


def said(limit_seconds: float | None, doing: Callable[[Watchdog], None]) -> list[str]:
    sentences: list[str] = []
    with Watchdog(limit_seconds, sentences.append) as watchdog:
        doing(watchdog)
    return sentences


def test_standing_still_for_twice_the_limit_is_too_long():
    def still(watchdog: Watchdog) -> None:
        watchdog.note(lambda: "reading a.mp4")
        time.sleep(1.0)

    assert said(0.1, still) == ["mvit: 0.2 s have passed reading a.mp4: this process is ended"]
    assert said(None, still) == []


def test_what_goes_on_or_has_ended_is_left_alone():
    def busy(watchdog: Watchdog) -> None:
        for _ in range(10):
            watchdog.note(lambda: "reading")
            time.sleep(0.1)

    assert said(2.0, busy) == []
    sentences = said(0.2, lambda watchdog: None)
    time.sleep(0.6)
    assert sentences == []


def test_the_limit_may_change_when_a_run_goes_on(tmp_path: Path, recipe: Recipe, listing: Listing):
    run = loop.train(with_limit(recipe, epochs=1), listing, tmp_path / "run", echo=lambda line: None)
    other = with_limit(recipe, epochs=1, timeout_seconds=None)
    assert loop.train(other, listing, run, resume=True, echo=lambda line: None) == run
    with pytest.raises(ValueError, match=r"train.timeout_seconds is 0.0: expected more than 0"):
        load(None, ["train.timeout_seconds=0.0"])
