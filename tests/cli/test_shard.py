"""`mvit shard` as people type it, and what the other commands make of a folder of shards."""

import hashlib
import json

import pytest


def test_a_run_on_shards_is_the_run_on_the_files(mvit, small, videos, run, tmp_path):
    out = tmp_path / "shards"
    code, printed, err = mvit("shard", videos, out, "--count", 5)
    assert (code, err) == (0, "")
    assert printed.startswith(f"Wrote {out}: 18 videos (18 in all) of 3 classes in 4 shards, ")
    again = tmp_path / "run"
    code, printed, err = mvit("train", out, "--out", again, *small)
    assert code == 0, err
    digest = [hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest() for folder in (run, again)]
    assert digest[0] == digest[1]
    code, printed, err = mvit("evaluate", again, out)
    assert code == 0, err
    assert printed.startswith("The run split")
    figures = [json.loads((folder / "result.json").read_text())["confusion"] for folder in (run, again)]
    assert figures[0] == figures[1]
    code, printed, err = mvit("train", out, "--out", again, "--resume")
    assert code == 0, err


def test_two_tables_become_train_and_val(mvit, videos, tmp_path):
    for name, count in (("train", 4), ("val", 2)):
        rows = [f"{path},{path.parent.name}" for path in sorted(videos.rglob("*.mp4")) if int(path.stem) % 6 < count]
        (tmp_path / f"{name}.csv").write_text("\n".join(["path,label", *rows]))
    (tmp_path / "val.csv").write_text(
        (tmp_path / "val.csv").read_text().replace("0.mp4", "4.mp4").replace("1.mp4", "5.mp4")
    )
    code, printed, err = mvit("shard", tmp_path / "train.csv", tmp_path / "out", "--val", tmp_path / "val.csv")
    assert code == 0, err
    assert "18 videos (12 in train, 6 in val) of 3 classes in 2 shards" in printed


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--size", "1MB", "--count", "2"), "--size and --count both say"),
        (("--count", "0"), "--count is 0"),
        (("--size", "20KB"), "give MB or GB, such as 512MB"),
    ],
)
def test_wrong_options_are_a_sentence(mvit, videos, tmp_path, options, said):
    code, _, err = mvit("shard", videos, tmp_path / "out", *options)
    assert code == 2
    assert said in err
    assert err.count("\n") == 1
    assert not (tmp_path / "out").exists()
