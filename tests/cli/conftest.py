"""Small videos, a run trained on them, and ways to run commands in this process or in one of their own."""

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

import exports
from mvit import cli

PROGRAM = [sys.executable, "-c", "import sys; from mvit.cli import main; sys.exit(main())"]
SMALL = ("--model", "mvit_test_4x32", "train.epochs=1", "train.batch=4", "train.workers=0", "data.spacing=2")


_write_videos = partial(
    exports.write_videos,
    each=6,
    classes=("jump_left", "jump_right", "wait"),
    seed=7,
    noise=(2, 6, 8),
    repeats=(5, 6, 6),
)


@pytest.fixture
def write_videos() -> Callable[..., Path]:
    """Write a folder of classes: ``write_videos(root, classes=(...), each=6)``."""
    return _write_videos


@pytest.fixture
def small() -> tuple[str, ...]:
    """Options of a training that takes a second."""
    return SMALL


@pytest.fixture
def program() -> list[str]:
    """The start of a command line that runs mvit in a process of its own."""
    return PROGRAM


@pytest.fixture(scope="session")
def videos(tmp_path_factory) -> Path:
    return _write_videos(tmp_path_factory.mktemp("videos"))


@pytest.fixture(scope="session")
def run(videos, tmp_path_factory) -> Path:
    """A run that split its videos itself."""
    folder = tmp_path_factory.mktemp("runs") / "first"
    assert cli.main(["train", str(videos), "--out", str(folder), *SMALL]) == 0
    return folder


@pytest.fixture
def mvit(capsys):
    """Run a command in this process; gives its exit code, output and errors."""

    def call(*args) -> tuple[int, str, str]:
        capsys.readouterr()
        code = cli.main([str(arg) for arg in args])
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return call


@pytest.fixture
def refused(mvit):
    """Run a command that must be refused, by one sentence and exit code 2; gives the sentence."""

    def call(*args) -> str:
        code, _, err = mvit(*args)
        assert code == 2, err
        lines = err.strip().splitlines()
        assert lines[-1].startswith("mvit: "), err
        assert len(lines) == 1, err
        return lines[0]

    return call
