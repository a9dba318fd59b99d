"""The scan command, its tables, and runs on data of which more and more is broken."""

import csv
import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mvit.data import video


def rows(table: Path) -> list[dict[str, str]]:
    with table.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_scan_prints_what_there_is_and_writes_tables(mvit, videos, tmp_path):
    data = shutil.copytree(videos, tmp_path / "data")
    (data / "wait" / "bad.mp4").write_text("no video")
    held_out = tmp_path / "held_out"
    (held_out / "wait").mkdir(parents=True)
    shutil.copy(data / "wait" / "0.mp4", held_out / "wait" / "renamed.mp4")
    code, out, err = mvit("scan", data, "--val", held_out, "--out", tmp_path / "tables", "--index", tmp_path / "i")
    assert code == 0, err
    for line in ("3 classes: 19 videos in train, 1 in val", "1 of 20 files cannot be read:", "kinds: h264 in mov (19)"):
        assert line in out
    assert "leak: 1 video of val is in train too (same content):" in out
    index = rows(tmp_path / "tables" / "index.csv")
    assert [row["state"] for row in index].count("good") == 19
    good = next(row for row in index if row["path"] == str(data / "wait" / "1.mp4"))
    facts = ("train", "wait", "10", "30", "48", "36", "0", "h264", str((data / "wait" / "1.mp4").stat().st_size))
    columns = ("part", "label", "frames", "fps", "width", "height", "rotation_degrees", "codec", "size_bytes")
    assert tuple(good[name] for name in columns) == facts
    (bad,) = rows(tmp_path / "tables" / "bad.csv")
    assert bad["path"] == str(data / "wait" / "bad.mp4")
    assert bad["state"] == "unreadable"
    assert bad["reason"]
    (leak,) = rows(tmp_path / "tables" / "leaks.csv")
    assert (leak["kind"], leak["val"]) == ("same content", str(held_out / "wait" / "renamed.mp4"))
    assert len((tmp_path / "i").read_text().splitlines()) == 21


def test_short_files_are_listed_and_used(mvit, shared, tmp_path):
    (tmp_path / "data" / "a").mkdir(parents=True)
    for name in ("truncated_50pct.mkv", "truncated_40pct.avi", "vfr.mp4", "sample_partially_fragmented.mp4"):
        shutil.copy(shared / "data" / "odd_videos" / "files" / name, tmp_path / "data" / "a")
    code, out, err = mvit("scan", tmp_path / "data", "--out", tmp_path)
    assert code == 0, err
    assert "2 end before their headers say" in out
    bad = {Path(row["path"]).name: (row["state"], row["reason"]) for row in rows(tmp_path / "bad.csv")}
    assert bad == {
        "truncated_40pct.avi": ("short", "its header promises 98 frames, 34 came"),
        "truncated_50pct.mkv": ("short", "its header promises 10.3 s, 5.0 s came"),
    }


def test_a_scan_that_is_killed_goes_on_in_the_next_one(program, mvit, shared, tmp_path):
    data = shared / "data" / "gestures" / "val.csv"
    index = tmp_path / "index.jsonl"
    scan = [*program, "scan", str(data), "--index", str(index), "--workers", "1"]
    process = subprocess.Popen(scan, stdout=subprocess.DEVNULL, start_new_session=True)
    while process.poll() is None and (not index.exists() or index.read_bytes().count(b"\n") < 40):
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    before = index.read_bytes().splitlines()[:-1]
    assert len(before) >= 39
    code, out, err = mvit("scan", data, "--index", index)
    assert code == 0, err
    assert "14 classes" in out
    after = index.read_bytes().splitlines()
    assert after[: len(before)] == before
    assert len(after) == 331


@pytest.mark.parametrize(
    ("argument", "said"),
    [(("--similar", "2"), "give 0.5 to 1"), (("--workers", "0"), "at least 1"), (("--out", "FILE"), "FILE")],
)
def test_what_makes_no_sense_is_refused(refused, videos, tmp_path, monkeypatch, argument, said):
    monkeypatch.chdir(tmp_path)
    Path("FILE").touch()
    assert said in refused("scan", videos, *argument)


@pytest.mark.parametrize("text", ["2", "-1%", "101%", "some", "nan"])
def test_a_share_that_is_none_is_refused(refused, videos, text):
    assert f"{text!r} is no share" in refused("train", videos, f"--max-bad={text}")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("broken", "limit", "ends"),
    [
        (1, None, "finishes"),
        (10, None, "finishes"),
        (11, None, "stops"),
        (100, None, "stops"),
        (100, "10%", "finishes"),
        (1000, None, "stops"),
        (1000, "100%", "stops"),
    ],
)
def test_with_broken_videos_a_run_finishes_or_stops_at_the_limit(mvit, small, tmp_path, broken, limit, ends):
    """0.1 %, 1 %, a little more, 10 % and 100 % of a thousand training videos are text files, and 2 of 20 in val."""
    rng = np.random.default_rng(0)
    for part, each in (("train", 500), ("val", 10)):
        for label, level in (("bright", 200), ("dark", 60)):
            folder = tmp_path / "data" / part / label
            folder.mkdir(parents=True)
            frames = np.clip(level + rng.normal(0, 20, (6, 36, 48, 3)), 0, 255).astype(np.uint8)
            video.write(tmp_path / f"{label}.mp4", frames)
            for number in range(each):
                (folder / f"{number:03}.mp4").hardlink_to(tmp_path / f"{label}.mp4")
    train = sorted((tmp_path / "data" / "train").rglob("*.mp4"))
    bad = [train[n] for n in rng.permutation(1000)[:broken]] + sorted((tmp_path / "data" / "val").rglob("009.mp4"))
    for path in bad:
        path.unlink()
        path.write_text("no video")
    run = tmp_path / "run"
    code, out, err = mvit(
        *("train", tmp_path / "data", "--out", run, *small, "train.batch=50", "train.seed=1"),
        *(("--max-bad", limit) if limit else ()),
    )
    assert {Path(row["path"]) for row in rows(run / "unreadable.csv")} == set(bad)
    if ends == "stops":
        assert code == 2
        assert len(err.strip().splitlines()) == 1
        if limit is None:
            assert f"{broken:,} of 1,000 training videos ({broken / 10:.3g} %) cannot be read, more than the 1 %" in err
            assert str(run / "unreadable.csv") in err
        else:
            assert "none of the 1000 training videos can be read" in err
        assert [path.name for path in run.iterdir()] == ["unreadable.csv"]
        return
    assert code == 0, err
    assert f"{len(bad):,} of 1,020 videos unreadable, listed in {run / 'unreadable.csv'}" in out
    assert f"{1000 - broken} videos to learn from, 20 to report on" in out
    result = json.loads((run / "result.json").read_text())
    assert (result["videos"], result["listed"], len(result["unreadable"])) == (18, 20, 2)
    assert result["top1_unreadable_wrong"] == pytest.approx(result["top1"] * 18 / 20)
    assert f"{90 * result['top1']:.1f} % with 2 unreadable counted wrong" in out
    steps = json.loads((run / "metrics.jsonl").read_text().splitlines()[-1])["step"]
    assert steps == -(-(1000 - broken) // 50)


def test_folders_of_pictures_are_scanned_without_a_size_and_not_packed(mvit, refused, tmp_path):
    pixels = np.random.default_rng(0).integers(0, 255, (8, 3, 32, 32, 3), np.uint8)
    for number, frames in enumerate(pixels):
        folder = tmp_path / "data" / "ab"[number % 2] / f"video{number}"
        folder.mkdir(parents=True)
        for frame, picture in enumerate(frames):
            Image.fromarray(picture).save(folder / f"{frame}.png")
    code, out, err = mvit("scan", tmp_path / "data", "--out", tmp_path / "tables")
    assert code == 0, err
    assert "0.0 min, 0.1 s each; 0 MB without the 8 folders of pictures" in out
    assert {row["size_bytes"] for row in rows(tmp_path / "tables" / "index.csv")} == {""}
    said = refused("shard", tmp_path / "data", tmp_path / "shards")
    assert "is a folder of frames, and cannot be put into a shard" in said
    assert not (tmp_path / "shards").exists()
