"""The commands about data sets: what they write is read by the others."""

import json
from pathlib import Path

import pytest

from mvit.data import dataset
from trees import table, tree, videos


@pytest.fixture
def people(tmp_path: Path) -> Path:
    """Two classes of ten videos, whose names say which of five people they show."""
    return tree(tmp_path / "set", *(f"{label}/p{n // 2}_{n}.mp4" for label in ("clap", "wave") for n in range(10)))


def test_split_writes_what_train_reads(mvit, people: Path, tmp_path: Path):
    code, out, _ = mvit("split", people, "--out", tmp_path / "made", "--val", 0.2, "--test", 0.2)
    assert code == 0
    assert "12 train, 4 val, 4 test" in out
    assert "no groups are known" in out
    listing = dataset.find(tmp_path / "made/split.csv")
    assert (len(listing.train), len(listing.val)) == (12, 4)
    assert any(note.startswith("test is not used in training") for note in listing.notes)


def test_folds_by_a_pattern_leave_people_out(mvit, people: Path, tmp_path: Path):
    code, out, _ = mvit("split", people, "--out", tmp_path / "made", "--folds", 5, "--group-pattern", r"^p\d")
    assert code == 0
    assert "fold-5.csv: 16 train (4 groups), 4 val (1 group)" in out
    held = [dataset.find(tmp_path / f"made/fold-{number}.csv").val for number in range(1, 6)]
    assert len({sample.path for part in held for sample in part}) == 20
    assert [len({sample.group for sample in part}) for part in held] == [1] * 5


def test_split_overwrites_nothing_and_says_what_is_wrong(refused, mvit, people: Path, tmp_path: Path):
    mvit("split", people, "--out", tmp_path / "made")
    before = (tmp_path / "made/split.csv").read_bytes()
    assert "split.csv exists already" in refused("split", people, "--out", tmp_path / "made")
    assert (tmp_path / "made/split.csv").read_bytes() == before
    assert "there is no --test beside them" in refused("split", people, "--out", tmp_path, "--folds", 3, "--test", 0.1)
    assert "number of folds is 99" in refused("split", people, "--out", tmp_path, "--folds", 99)
    assert "must lie between 0 and 1" in refused("split", people, "--out", tmp_path, "--val", 1.5)
    assert "finds no group in 20 of 20 names" in refused("split", people, "--out", tmp_path, "--group-pattern", "x")
    assert r"'x(\d+)' finds no group" in refused("split", people, "--out", tmp_path, "--group-pattern", r"x(\d+)")
    assert not list(tmp_path.glob("*.csv"))


def test_several_classes_a_video_are_split_to_json_lines(mvit, tmp_path: Path):
    tree(tmp_path, *videos(10, "x"))
    lines = [json.dumps({"path": f"x/{n}.mp4", "label": ["a", "b"] if n % 2 else ["b", "c"]}) for n in range(10)]
    data = table(tmp_path / "set.jsonl", *lines)
    code, out, _ = mvit("split", data, "--out", tmp_path / "made")
    assert code == 0
    assert "split.jsonl: 8 train, 2 val" in out
    listing = dataset.find(tmp_path / "made/split.jsonl")
    assert listing.multi_label
    assert (len(listing.train), len(listing.val)) == (8, 2)
