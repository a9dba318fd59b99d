"""Which videos a run is judged on, what is said of them, and where what is found goes; nothing is decoded."""

import json
from pathlib import Path

import pytest

from mvit.data import dataset
from mvit.held_out import to_judge
from trees import table, tree, videos

CLASSES = ("clap", "wave")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Five videos of each of two classes."""
    return tree(tmp_path / "data", *videos(5, "clap"), *videos(5, "wave"))


@pytest.fixture
def run(data: Path, tmp_path: Path) -> Path:
    """The folder of a run that split the data itself."""
    table(tmp_path / "run" / "split.csv", *dataset.split_table(dataset.find(data)).splitlines())
    return tmp_path / "run"


def folder(run: Path, data: Path) -> Path:
    return to_judge(run, data, CLASSES, several=False)[1]


def evaluated(place: Path, data: Path) -> Path:
    """Leave what an evaluation of these videos leaves, as far as it says which they are."""
    samples = dataset.find_all(data)
    table(place / "scores.csv", "path,label,predicted,correct", *(f"{sample.id},clap,clap,1" for sample in samples))
    table(place / "result.json", json.dumps({"listed": len(samples)}))
    return place


def test_videos_that_may_be_those_learned_from_under_another_path_are_told(data, run, capsys):
    moved = data.rename(data.with_name("moved"))
    for number in range(4):  # as `mvit prepare` calls them
        (moved / "clap" / f"{number}.mp4").rename(moved / "clap" / f"{number}.avi")
    samples, place = to_judge(run, moved, CLASSES, several=False)
    assert (len(samples), place) == (10, run / "on-moved")
    assert "Beware: 8 of these 10 videos are called as some that the model was trained on" in capsys.readouterr().err
    for number in range(5):
        (moved / "wave" / f"{number}.mp4").rename(moved / "wave" / f"new{number}.mp4")
    to_judge(run, moved, CLASSES, several=False)
    assert "Beware" not in capsys.readouterr().err, "five of ten are called alike, as videos with numbers may be"


def test_other_labels_of_what_was_held_out_are_told(data, run, tmp_path, capsys):
    held_out = dataset.read_manifest(run / "split.csv").parts["val"]
    given = {sample.id: sample.label for sample in held_out}
    for others, said in ((0, ""), (1, f"Beware: 1 of these 2 videos have other labels than in {run / 'split.csv'}.\n")):
        lines = [f"{path},{'wave' if number < others else label}" for number, (path, label) in enumerate(given.items())]
        assert folder(run, table(tmp_path / "val.csv", "path,label", *lines)) == run
        assert capsys.readouterr().err == said
        assert folder(run / "model.onnx", tmp_path / "val.csv") == run / "model-onnx"
        assert capsys.readouterr().err == said, "the table is the run's, also for a file exported into it"


def test_folders_of_one_name_do_not_write_over_each_other(run, tmp_path):
    first, second = (tree(tmp_path / name / "test", "clap/x.mp4", "wave/y.mp4") for name in ("s1", "s2"))
    assert folder(run, first) == folder(run, second) == run / "on-test"
    evaluated(run / "on-test" / "views-5x1", first)
    assert folder(run, first) == run / "on-test"
    other = folder(run, second)
    assert (other.parent, other.name[:8], len(other.name)) == (run, "on-test-", 16)
    evaluated(other, second)
    assert folder(run, second) == other
    tree(first, "wave/more.mp4")
    assert folder(run, first) == run / "on-test", "the same videos and one more"


def test_a_probe_of_as_many_videos_is_taken_for_one_of_these(run, tmp_path):
    few = tree(tmp_path / "test", "clap/x.mp4", "wave/y.mp4")
    for listed, name in ((2, 7), (3, 16)):
        table(run / "on-test" / "probe.json", json.dumps({"listed": listed}))
        assert len(folder(run, few).name) == name


def test_what_was_pulled_or_found_of_other_videos_stays_in_a_run_without_its_split(data, tmp_path):
    fetched, pulled = tree(tmp_path / "fetched", "model.json"), tree(tmp_path / "pulled", "model.json", "pulled.json")
    other = tree(tmp_path / "other", "clap/x.mp4", "wave/y.mp4")
    assert folder(fetched, data) == fetched
    evaluated(fetched, data)
    assert folder(fetched, data) == fetched
    assert folder(fetched, other) == fetched / "on-other"
    assert folder(pulled, data) == pulled / "on-data"
