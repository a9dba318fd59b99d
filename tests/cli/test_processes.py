"""What only a process of its own shows: exit codes, streams, signals, pipes."""

import os
import signal
import subprocess
import sys
import time

import pytest

from mvit import cli, commandline


def _run(program, *args, **options):
    return subprocess.run([*program, *map(str, args)], capture_output=True, text=True, timeout=100, **options)


def test_help_and_errors(program, tmp_path):
    told = _run(program, "--help")
    assert (told.returncode, told.stderr) == (0, "")
    assert all(name in told.stdout for name in cli.COMMANDS)
    wrong = _run(program, "train", tmp_path / "nowhere", cwd=tmp_path)
    assert wrong.returncode == 2
    assert wrong.stdout == ""
    assert len(wrong.stderr.splitlines()) == 1
    assert wrong.stderr.startswith("mvit: ")


def test_a_reader_that_leaves_is_no_error(run, videos, program):
    args = [*program, "predict", str(run), *[str(videos / "wait" / "0.mp4")] * 40, "--json"]
    unbuffered = {**os.environ, "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(args, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=unbuffered) as writer:
        assert writer.stdout
        assert writer.stderr
        writer.stdout.readline()
        writer.stdout.close()
        assert writer.stderr.read() == b""
    assert writer.returncode == commandline.READER_GONE


def test_an_interrupted_run_says_how_to_go_on_and_does(videos, tmp_path, mvit, small, program):
    """A real process, stopped as Ctrl-C does."""
    out = tmp_path / "run"
    command = [*program, "train", str(videos), "--out", str(out), *small, "train.epochs=2000"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout
        for line in process.stdout:
            if line.startswith("epoch 2"):
                break
        process.send_signal(signal.SIGINT)
        printed, err = process.communicate(timeout=60)
        assert (process.returncode, err) == (130, "mvit: interrupted\n")
    assert f"--out {out} --resume" in printed
    done = len((out / "metrics.jsonl").read_text().splitlines())
    stored = (out / "recipe.toml").read_text()
    (out / "recipe.toml").write_text(stored.replace("epochs = 2000", f"epochs = {done + 1}"))
    code, printed, err = mvit("train", videos, "--out", out, "--resume")
    assert code == 0, err
    assert f"epoch {done + 1}/" in printed
    assert "epoch 1/" not in printed
    assert len((out / "metrics.jsonl").read_text().splitlines()) == done + 1


STARTING = """
import pathlib, signal, sys, time

class Standing:
    def find_spec(self, name, path=None, target=None):
        if name == {module!r}:
            pathlib.Path({here!r}).touch()
            time.sleep(1)

signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job ignores it, and its children too
if "multiprocessing.{starts}" in sys.orig_argv[-1] or "multiprocessing.{starts}" in sys.orig_argv[-2]:
    sys.meta_path.insert(0, Standing())
"""
"""What each process does at its start: one that looks at videos or decodes them stands still at an import."""


@pytest.mark.parametrize(
    ("starts", "module"), [("spawn", "av"), ("forkserver", "numpy"), ("forkserver", "torchvision")]
)
def test_ctrl_c_while_processes_start_is_told_in_a_sentence(starts, module, write_videos, tmp_path, small, program):
    here, videos = (
        tmp_path / "here",
        write_videos(tmp_path / "videos", each=9),
    )  # more than are looked at in one process
    code = STARTING.format(starts=starts, module=module, here=str(here))
    (tmp_path / "sitecustomize.py").write_text(code, encoding="utf-8")
    places = os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])
    with subprocess.Popen(
        [*program, "train", str(videos), "--out", str(tmp_path / "run"), *small, "train.workers=2"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": places, "XDG_CACHE_HOME": str(tmp_path / "cache")},
        start_new_session=True,
    ) as process:
        try:
            while not here.exists():
                assert process.poll() is None, process.communicate()
                time.sleep(0.01)
            os.killpg(process.pid, signal.SIGINT)
            _, err = process.communicate(timeout=100)
        finally:
            process.kill()
    assert (process.returncode, err) == (130, "mvit: interrupted\n")


def test_sigterm_saves_and_is_no_failure(videos, tmp_path, small, program):
    out = tmp_path / "run"
    command = [*program, "train", str(videos), "--out", str(out), *small, "train.epochs=2000"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout
        next(line for line in process.stdout if line.startswith("epoch 2"))
        process.send_signal(signal.SIGTERM)
        printed, err = process.communicate(timeout=60)
        assert (process.returncode, err) == (0, "")
    assert f"saved: the same command with --out {out} --resume" in printed
    assert any((out / "checkpoints").iterdir())


def test_the_module_is_the_command():
    command = [sys.executable, "-m", "mvit", "info"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "mvit_b_16x4" in done.stdout
    assert subprocess.run([*command, "nothing"], capture_output=True, check=False).returncode == 2
