"""What was seen is kept, taken up again, and never believed where it is damaged, foreign or out of date."""

import json
import os
from pathlib import Path

import numpy as np
import pytest

from mvit.curation.index import Index, place
from mvit.curation.journal import Journal
from mvit.data import scan as scanning
from mvit.data import video
from mvit.data.dataset import Sample
from mvit.data.scan import scan
from pictures import save_picture


@pytest.fixture
def samples(tmp_path: Path) -> list[Sample]:
    """Three good videos and a broken one."""
    rng = np.random.default_rng(0)
    paths = [tmp_path / f"{name}.mp4" for name in ("a", "b", "c")]
    for number, path in enumerate(paths):
        video.write(path, rng.integers(0, 256, (4 + number, 16, 24, 3), dtype=np.uint8))
    (tmp_path / "bad.mp4").write_text("no video")
    return [Sample(path, "x") for path in (*paths, tmp_path / "bad.mp4")]


@pytest.fixture
def looked_at(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of files that are looked at, in this process."""
    names: list[str] = []
    real = scanning.look

    def look(path: Path) -> scanning.Look:
        names.append(path.name)
        return real(path)

    def here(_, paths, __):
        return ((path, look(path)) for path in paths)

    monkeypatch.setattr(scanning, "in_processes", here)
    return names


def seen_by(index: Path, samples: list[Sample]) -> scanning.Scan:
    with Index(index) as seen:
        return scan(samples, seen=seen, workers=1)


def test_only_changed_files_are_looked_at_again(tmp_path, samples, looked_at):
    index = tmp_path / "new" / "index.jsonl"
    first = seen_by(index, samples)
    assert len(looked_at) == 4
    looked_at.clear()
    assert seen_by(index, samples) == first
    assert looked_at == []
    changed = samples[1].path
    os.utime(changed, ns=(1, 1))
    samples[2].path.unlink()
    again = seen_by(index, samples)
    assert looked_at == ["b.mp4", "c.mp4"]
    assert list(again.unreadable) == [samples[2].path, samples[3].path]
    looked_at.clear()
    assert seen_by(index, samples).looks == again.looks
    assert looked_at == ["c.mp4"]  # that a file is not there is not kept


def test_a_scan_that_is_killed_goes_on_where_it_was(tmp_path, samples, looked_at):
    index = tmp_path / "index.jsonl"
    whole = seen_by(index, samples)
    lines = index.read_bytes().splitlines(keepends=True)
    index.write_bytes(b"".join(lines[:3]) + lines[3][:40])
    looked_at.clear()
    assert seen_by(index, samples) == whole
    assert looked_at == ["c.mp4", "bad.mp4"]
    looked_at.clear()
    assert seen_by(index, samples) == whole
    assert looked_at == []


@pytest.mark.parametrize("damage", ["bytes", "type", "thumbnail", "missing", "list", "deep"])
def test_a_damaged_index_is_named_and_made_anew(tmp_path, samples, looked_at, damage):
    index = tmp_path / "index.jsonl"
    whole = seen_by(index, samples)
    lines = index.read_text().splitlines()
    entry = json.loads(lines[2])
    if damage == "type":
        entry["facts"][0] = "4"
    elif damage == "thumbnail":
        entry["thumbnail"] = entry["thumbnail"][:-4]
    elif damage == "missing":
        del entry["mtime_ns"]
    lines[2] = {"bytes": "\ufffd", "list": "[]", "deep": "[" * 100_000}.get(damage, json.dumps(entry))
    index.write_text("\n".join(lines) + "\n")
    looked_at.clear()
    with Index(index) as seen:
        assert seen.notes == [f"{index} is damaged in line 3: it is made anew"]
        assert scan(samples, seen=seen, workers=1) == whole
    assert len(looked_at) == 4
    assert Index(index).notes == []


def test_what_another_version_saw_is_looked_at_again(tmp_path, samples, looked_at):
    index = tmp_path / "index.jsonl"
    seen_by(index, samples)
    lines = index.read_text().splitlines()
    index.write_text("\n".join([lines[0].replace('"PyAV": "', '"PyAV": "0.'), *lines[1:]]) + "\n")
    assert "was made otherwise" in Index(index).notes[0]
    looked_at.clear()
    seen_by(index, samples)
    assert len(looked_at) == 4


def test_a_place_that_cannot_be_written_is_named_and_the_scan_goes_on(tmp_path, samples, looked_at):
    (tmp_path / "file").touch()
    with Index(tmp_path / "file" / "index.jsonl") as seen:
        found = scan(samples, seen=seen, workers=1)
    assert len(found.facts) == 3
    assert len(seen.notes) == 1
    assert "cannot be kept in" in seen.notes[0]


def test_the_moment_is_not_taken_for_the_file(tmp_path, samples, monkeypatch):
    def broken(*_, **__):
        raise MemoryError

    with Index(tmp_path / "index.jsonl") as seen:
        with monkeypatch.context() as patch:
            patch.setattr(scanning, "in_processes", lambda look, paths, _: ((path, look(path)) for path in paths))
            patch.setattr("mvit.data.stream.PictureStream.pictures", broken)
            assert len(scan(samples, seen=seen, workers=1).unreadable) == 4
        assert list(seen) == [samples[3].path]


def test_places_differ_by_data_and_lie_in_the_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    one, other = place(Path("/data/a b/train.csv")), place(Path("/data/c/train.csv"))
    assert one != other
    assert one.parent == tmp_path / "mvit" / "index"
    assert place(Path("/data/a b/../a b/train.csv")) == one
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")  # to be passed over, by its specification
    assert place(Path("/data")).parent == Path.home() / ".cache" / "mvit" / "index"


def test_of_one_name_the_last_entry_holds(tmp_path):
    def journal() -> Journal[int]:
        return Journal(tmp_path / "j", {"of": "numbers"}, lambda values: values["n"], lambda n: {"n": n})

    one = journal()
    for name, number in (("a", 1), ("b", 2), ("a", 3)):
        one.put(name, number)
    assert journal().entries == {"a": 3, "b": 2}
    one.put("\udcff", 4)
    one.close()
    assert journal().entries == {"a": 3, "b": 2, "\udcff": 4}


@pytest.mark.parametrize("how", ["another content", "longer", "one less", "as long, an older one"])
def test_a_folder_of_frames_is_looked_at_again_when_one_of_its_pictures_changes(tmp_path, looked_at, how):
    folder = tmp_path / "frames"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(9):
        save_picture(folder / f"{number}.png", rng.integers(0, 256, (16, 24, 3), dtype=np.uint8))
    sample, index = Sample(folder, "x"), tmp_path / "index.jsonl"
    assert seen_by(index, [sample]).facts[folder].frames == 9
    assert seen_by(index, [sample]).looks[folder].size_bytes == sum(path.stat().st_size for path in folder.iterdir())
    assert looked_at == ["frames"]
    before, changed = folder.stat(), folder / "3.png"
    if how == "one less":
        changed.unlink()
    elif how == "as long, an older one":
        os.utime(changed, ns=(1, 1))
    else:
        changed.write_bytes(b"no picture" * (1 if how == "longer" else 2))
    os.utime(folder, ns=(before.st_atime_ns, before.st_mtime_ns))
    seen_by(index, [sample])
    assert looked_at == ["frames", "frames"]
