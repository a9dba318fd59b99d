"""`--resume`, and `--resume auto`: whose run is in the folder."""

import json
import os
import shutil
from pathlib import Path

import pytest

from mvit import cli, runs


@pytest.fixture
def torchrun(monkeypatch):
    """Be a process that torchrun has started alone in a run of this id, for this many times."""

    def started(name: str, times: int = 0) -> None:
        monkeypatch.setenv("TORCHELASTIC_RUN_ID", name)
        monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", str(times))

    return started


def test_auto_begins_a_run_and_goes_on_with_its_own_alone(mvit, refused, videos, small, tmp_path, torchrun):
    out = tmp_path / "run"
    torchrun("first")
    code, printed, err = mvit("train", videos, "--resume", "auto", "--out", out, *small)
    assert (code, "going on" in printed) == (0, False), err
    assert json.loads((out / "run.json").read_text())["id"] == "torchrun first"
    code, printed, err = mvit("train", videos, "--out", out, "--resume", "auto", *small)
    assert (code, "going on after the last epoch" in printed) == (0, True), err
    torchrun("second")
    assert "exists already" in refused("train", videos, "--out", out, "--resume", "auto", *small)
    assert mvit("train", videos, "--out", out, "--resume")[0] == 0, "the flag alone asks for no id"


def test_who_was_started_again_goes_on_without_being_told(mvit, videos, small, tmp_path, torchrun, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torchrun("one")
    assert mvit("train", videos, *small)[0] == 0
    (first,) = Path("runs").iterdir()
    torchrun("two")
    assert mvit("train", videos, *small)[0] == 0
    torchrun("one", times=1)
    code, printed, err = mvit("train", videos, *small)
    assert code == 0, err
    assert f"Wrote {first}/report.html" in printed
    assert "going on after the last epoch" in printed
    assert len(list(Path("runs").iterdir())) == 2
    torchrun("three", times=1)  # was started again before it could begin
    assert mvit("train", videos, *small)[0] == 0
    assert len(list(Path("runs").iterdir())) == 3


@pytest.mark.parametrize(
    ("data", "begun", "found"),
    [
        ("set[1]", "set[1]-1", "set[1]-1"),
        ("gestures", "gestures-small-1", None),
        ("gestures", "gestures-12", "gestures-12"),
    ],
)
def test_auto_knows_its_runs_by_their_whole_names(data, begun, found, tmp_path, monkeypatch, torchrun):
    monkeypatch.chdir(tmp_path)
    torchrun("one")
    (folder := Path("runs", begun)).mkdir(parents=True)
    (folder / "recipe.toml").touch()
    (folder / "run.json").write_text('{"id": "torchrun one"}')
    place = (Path("runs", found), True) if found else (Path("runs", f"{data}-1"), False)
    assert runs.to_train(Path(data), None, "auto") == place


def test_auto_without_an_id(refused, videos, tmp_path, monkeypatch):
    for name in ("TORCHELASTIC_RUN_ID", "SLURM_JOB_ID"):
        monkeypatch.delenv(name, raising=False)
    assert "--rdzv-id=NAME" in refused("train", videos, "--out", tmp_path / "run", "--resume", "auto")


def test_a_flag_may_stand_before_a_word_that_is_not_its_own(mvit, refused, run, videos, tmp_path):
    assert "recipe.toml" in refused("train", "--resume", videos, "--out", tmp_path / "none")
    assert "[auto]" in mvit("train", "--help")[1]
    assert cli.main(["train", str(videos), "--resume", "--out", str(run)]) == 0


def test_a_probe_of_the_weights_before_does_not_stay_beside_new_ones(mvit, run, videos, tmp_path):
    copy = Path(shutil.copytree(run, tmp_path / "run"))
    assert mvit("probe", copy, videos, "--orders", 1)[0] == 0
    code, printed, err = mvit("train", videos, "--resume", "--out", copy)
    assert (code, "of the weights before" in printed) == (0, False), err
    assert (copy / "probe.json").is_file(), "nothing was learned"
    written = (copy / "model.safetensors").stat().st_mtime
    os.utime(copy / "probe.json", (written - 60, written - 60))
    code, printed, err = mvit("train", videos, "--resume", "--out", copy)
    assert (code, f"{copy / 'probe.json'} was of the weights before, and is gone" in printed) == (0, True), err
    assert not (copy / "probe.json").exists()
