"""torchrun and srun start the commands of examples/*.sh: with two processes, killed, stopped and started again."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import faults
import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
KILLED = """
import os
if os.environ.get("RANK") == "1" and os.environ["TORCHELASTIC_RESTART_COUNT"] == "0":
    import faults
    faults.prepare(faults.Fault(rank=1, step=5), rank=1)
"""
SRUN = """#!/bin/sh
while [ "${1#--}" != "$1" ]; do shift; done
export SLURM_STEP_NUM_TASKS=2 SLURM_STEP_ID=0 SLURM_STEP_NODELIST=localhost SLURM_NODEID=0
export SLURM_STEP_TASKS_PER_NODE=2
SLURM_PROCID=0 SLURM_LOCALID=0 "$@" & first=$!
SLURM_PROCID=1 SLURM_LOCALID=1 "$@" & second=$!
trap 'kill -TERM $first $second' TERM
wait $first; code=$?
while [ $code -gt 128 ]; do wait $first; code=$?; done
wait $second && exit $code
"""
"""Starts two tasks and passes SIGTERM on, as Slurm does."""
Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def bin_folder(tmp_path: Path) -> Path:
    """Programs that stand in for others."""
    (tmp_path / "bin").mkdir()
    return tmp_path / "bin"


@pytest.fixture
def start(tmp_path: Path, bin_folder: Path) -> Iterator[Start]:
    """Start a script as a user would, in a process group of its own."""
    started: list[subprocess.Popen[str]] = []
    path = os.pathsep.join([str(bin_folder), str(Path(sys.executable).parent), os.environ["PATH"]])
    sources = os.pathsep.join(map(str, (tmp_path, ROOT / "src", ROOT / "benchmarks")))

    def call(script: str, *arguments: Any, **environment: str) -> subprocess.Popen[str]:
        command = ["sh", str(EXAMPLES / script), *map(str, arguments)]
        known = {name: value for name, value in os.environ.items() if not name.startswith(("SLURM_", "TORCHELASTIC_"))}
        known |= {"PATH": path, "PYTHONPATH": sources, "PYTHONUNBUFFERED": "1", **environment}
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        started.append(subprocess.Popen(command, env=known, text=True, start_new_session=True, **pipes))
        return started[-1]

    yield call
    for process in started:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return faults.write_videos(tmp_path_factory.mktemp("faults") / "videos")


@pytest.fixture(scope="module")
def expected(videos: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What a run of two processes comes to that nothing disturbs."""
    return faults.undisturbed(videos, tmp_path_factory.mktemp("undisturbed") / "run", 2, "ddp")


def arguments(videos: Path, run: Path) -> list[Any]:
    return [videos, "--out", run, "--model", "mvit_test_4x32", *faults.RECIPE, "train.workers=0"]


def until(process: subprocess.Popen[str], beginning: str) -> str:
    assert process.stdout
    said = ""
    for line in process.stdout:
        said += line
        if line.startswith(beginning):
            return said
    raise AssertionError(said)


def test_torchrun_starts_it_again_and_it_goes_on_by_itself(
    start: Start, videos: Path, tmp_path: Path, expected: dict[str, str]
):
    (tmp_path / "sitecustomize.py").write_text(KILLED, encoding="utf-8")
    process = start("one_machine.sh", 2, *arguments(videos, tmp_path / "run"))
    said, _ = process.communicate()
    assert process.returncode == 0, said
    assert "going on in epoch 2, of which 0 of 3 steps are done" in said
    assert faults.digests(tmp_path / "run") == expected


def test_torchrun_passes_a_signal_on_and_all_is_saved(start: Start, videos: Path, tmp_path: Path):
    longer = [*arguments(videos, tmp_path / "run"), "train.epochs=2000"]
    process = start("one_machine.sh", 2, *longer)
    until(process, "epoch 2/")
    process.terminate()  # torchrun, which sh has become
    said, _ = process.communicate()
    assert "and saved: the same command with --out" in said
    assert "mvit: " not in said
    assert any(path.name.isdigit() for path in (tmp_path / "run" / "checkpoints").iterdir())


def test_two_machines(start: Start, videos: Path, tmp_path: Path, expected: dict[str, str]):
    """Two agents of torchrun; only one of them has the run folder."""
    port = {"MASTER_PORT": str(faults.free_port())}
    both = [start("two_machines.sh", "localhost", 1, *arguments(videos, tmp_path / "run"), **port) for _ in range(2)]
    said = [process.communicate()[0] for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    assert sum("epoch 3/3" in one for one in said) == 1
    assert faults.digests(tmp_path / "run") == expected


def test_slurm_stops_it_and_it_goes_on_by_itself(start: Start, bin_folder: Path, videos: Path, tmp_path: Path):
    """SIGTERM to every process of the job, as --signal sends it; the job asks to be queued again, and ends the run."""
    for name, text in (("srun", SRUN), ("scontrol", f'#!/bin/sh\necho "$@" >> "{tmp_path}/asked"\n')):
        (bin_folder / name).write_text(text, encoding="utf-8")
        (bin_folder / name).chmod(0o755)
    run, asked = tmp_path / "run", tmp_path / "asked"
    longer = ("train.epochs=30", "train.evaluate_every=30")  # that there is time to stop it
    options = ["--model", "mvit_test_4x32", *faults.RECIPE, "train.workers=0", *longer]
    job = {"SLURM_JOB_ID": "77", "MASTER_PORT": str(faults.free_port())}
    process = start("slurm.sh", videos, run, *options, **job)
    said = until(process, "epoch 1/")
    subprocess.run(["pkill", "-TERM", "-P", str(process.pid), "srun"], check=True)  # srun, which passes it on
    said += process.communicate()[0]
    assert process.returncode == 0, said
    assert "and saved: the same command with --out" in said
    assert asked.read_text(encoding="utf-8") == "requeue 77\n"
    again = start("slurm.sh", videos, run, *options, **job, SLURM_RESTART_COUNT="1")
    said = again.communicate()[0]
    assert again.returncode == 0, said
    assert "going on in epoch " in said
    assert faults.digests(run) == faults.undisturbed(videos, tmp_path / "undisturbed", 2, "ddp", longer)
