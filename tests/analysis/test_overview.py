"""The list of runs says of each what its files say, and names what is no run."""

import json
from pathlib import Path

import pytest

from mvit import cli, overview

CLASSES = ("grab", "tap", "wait")
DATA = {"folder": "/data/gestures", "classes": 3, "train": 30, "val": 6, "sha256": "0" * 64}


def began(run: Path, when: str, **data: object) -> Path:
    environment = {"system": "Linux", "hardware": {"processor": "Xeon"}, "versions": {"torch": "2.15.0"}}
    origin = {"begun": when, "commit": None, "environment": environment, "data": DATA | data}
    (run / "run.json").write_text(json.dumps(origin))
    return run


def cut(run: Path, epochs: int) -> Path:
    """As a run is that has come so far."""
    lines = (run / "metrics.jsonl").read_text().splitlines(keepends=True)
    (run / "metrics.jsonl").write_text("".join(lines[:epochs]) + lines[epochs][:20])
    (run / "result.json").unlink()
    return run


@pytest.fixture
def runs(make_run, tmp_path) -> Path:
    """Three runs, in the order in which they did not begin."""
    began(make_run(tmp_path / "c-late", CLASSES, seed=1), "2026-11-24T12:00:00+00:00")
    began(cut(make_run(tmp_path / "b-early", CLASSES, seed=2), 7), "2026-11-24T11:30:00+02:00")
    make_run(tmp_path / "d-undated", CLASSES, seed=3)
    return tmp_path


def test_runs_stand_by_the_time_when_they_began(runs):
    rows, strange = overview.find([runs])
    assert [row.name for row in rows] == ["d-undated", "b-early", "c-late"]
    assert strange == []


def test_a_row_says_what_the_files_say(runs):
    *_, early, late = overview.find([runs])[0]
    result = json.loads((runs / "c-late" / "result.json").read_text())
    last = json.loads((runs / "c-late" / "metrics.jsonl").read_text().splitlines()[-1])
    assert (late.model, late.data, late.seed, late.state) == ("mvit_tiny_16x64", "gestures", 1, "finished")
    assert (late.epochs, late.of_epochs, late.loss) == (30, 30, last["loss"])
    assert [late.top1, late.top1_interval, late.protocol] == [
        result[name] for name in ("top1", "top1_interval", "protocol")
    ]
    assert (early.epochs, early.state, early.top1) == (7, "after 7 of 30 epochs", None)
    assert early.last_top1 == json.loads((runs / "b-early" / "metrics.jsonl").read_text().splitlines()[5])["val_top1"]


def test_the_table_has_a_line_for_each(runs):
    head, *lines = overview.table(overview.find([runs])[0]).splitlines()
    assert head.split("  ")[0] == "run"
    assert [line.split()[0] for line in lines] == ["d-undated", "b-early", "c-late"]
    assert "2026-11-24 09:30" in lines[1]
    assert "on the way" in lines[1]
    result = json.loads((runs / "c-late" / "result.json").read_text())
    low, high = result["top1_interval"]
    assert f"{100 * result['top1']:.1f}  [{100 * low:.1f}, {100 * high:.1f}]  5x1" in lines[2]
    assert len({line.index("2026") for line in lines[1:]}) == 1


def test_what_has_ended_otherwise_is_called_so(make_run, tmp_path):
    unjudged = began(make_run(tmp_path / "unjudged", CLASSES), "2026-11-24T12:00:00+00:00")
    without = began(make_run(tmp_path / "without-val", CLASSES), "2026-11-24T12:00:00+00:00", val=0)
    for run in (unjudged, without):
        (run / "result.json").unlink()
    for name, file in (("fetched", "model.json"), ("refused", "unreadable.csv")):
        (tmp_path / name).mkdir()
        (tmp_path / name / file).write_text("{}" if file.endswith("json") else "path,reason,found_in\n")
    assert {row.name: row.state for row in overview.find([tmp_path])[0]} == {
        "unjudged": "trained, not evaluated",
        "without-val": "finished",
        "fetched": "not trained here",
        "refused": "not begun",
    }


@pytest.mark.parametrize(
    ("file", "content", "why"),
    [
        ("run.json", '{"commit": null}', "it has no 'begun'"),
        ("run.json", '{"begun": ', "is no JSON"),
        ("recipe.toml", "[model", "is no TOML"),
        ("result.json", "[]", "it is no object"),
    ],
)
def test_damaged_and_foreign_folders_are_named_and_the_others_listed(runs, capsys, file, content, why):
    (runs / "c-late" / file).write_text(content)
    (runs / "photos").mkdir()
    (runs / "photos" / "a.txt").write_text("hello")
    (runs / "notes.txt").write_text("hello")
    assert cli.main(["runs", str(runs)]) == 0
    said = capsys.readouterr()
    assert [line.split()[0] for line in said.out.splitlines()] == ["run", "d-undated", "b-early"]
    damaged, foreign = said.err.splitlines()
    assert damaged.startswith(f"left out: {runs / 'c-late' / file}")
    assert why in damaged
    assert foreign.startswith(f"left out: {runs / 'photos'} is no folder of a run")


def test_a_study_is_no_run_and_the_runs_in_it_are_listed(runs, capsys):
    (runs / "recipe.toml").write_text("[train]\nepochs = 12\n")
    assert cli.main(["runs", str(runs)]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == [
        "run",
        "d-undated",
        "b-early",
        "c-late",
    ]
    assert cli.main(["report", str(runs)]) == 2
    assert f"{runs} is no folder of a run: {runs / 'c-late'} is one" in capsys.readouterr().err


def test_runs_by_name_and_as_json(runs, capsys):
    (runs / "line\nbreak").mkdir()
    (runs / "line\nbreak" / "model.json").write_text("{}")
    assert cli.main(["runs", str(runs / "c-late"), str(runs / "line\nbreak"), str(runs / "c-late"), "--json"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["name"] for line in lines] == ["line\nbreak", "c-late"]
    assert overview.table(overview.find([runs / "line\nbreak"])[0]).count("\n") == 1


def test_a_folder_that_is_not_there_is_refused(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["runs"]) == 2
    assert capsys.readouterr().err.startswith("mvit: runs does not exist: name a folder of runs")
    (tmp_path / "runs").mkdir()
    assert cli.main(["runs"]) == 0
    assert capsys.readouterr().out == "There is no run here.\n"
    assert cli.main(["runs", "--json"]) == 0
    assert capsys.readouterr().out == ""
