"""`mvit bench model` and `mvit bench plan` as people type them, at the smallest sizes."""

import importlib.util
import json
import signal
import subprocess
from pathlib import Path

import pytest

from mvit.studies.footprint import Footprint

NAME = "mvit_test_4x32"
ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _small_square(monkeypatch):
    monkeypatch.setattr("mvit.studies.products.SQUARE", {"cpu": 64})


def test_a_record_a_table_and_the_page_made_of_them(mvit, tmp_path):
    out = tmp_path / "record.json"
    options = ("--clip", "4x32x32", "--train", "--runs", "2", "--device", "cpu", "--memory")
    code, printed, err = mvit("bench", "model", NAME, *options, "--out", out)
    assert (code, err) == (0, f"Wrote {out}\n")
    assert "1.000 [1.000, 1.000]" in printed
    record = json.loads(out.read_text())
    assert {"command", "commit", "date", "hardware", "versions", "milliseconds"} <= record.keys()
    (case,) = record["cases"]
    memory = case["memory_bytes"]
    assert memory["state"] == 3 * memory["weights"]
    assert memory["total"] == memory["weights"] + memory["state"] + memory["activations"]
    assert [path.name for path in tmp_path.iterdir()] == ["record.json"]

    spec = importlib.util.spec_from_file_location("table", ROOT / "benchmarks/table.py")
    assert spec
    assert spec.loader
    program = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(program)
    page = program.page({"cpu-x": record})
    assert f"## cpu-x\n\n`{record['command']}`" in page
    assert "aimed at" not in page
    one = {"name": "mvit_b_16x4", "dtype": "float32", "way": "packed"}
    two = {"name": "torchvision_mvit_b_16x4", "dtype": "float32", "way": "eager"}
    times = {"case 0": [1.0, 10.0, 2.0], "case 1": [2.0, 20.0, 2.0]}
    found = program.AIMS[0].found({"cases": [one, two], "milliseconds": times})
    assert (found.median, found.low, found.high) == (2, 1.5, 2)
    assert program.AIMS[1].found({"cases": [one, two], "milliseconds": times}) is None


def test_several_models_and_settings_as_json(mvit):
    options = ("--clip", "4x32x32", "--batch", "1", "2", "--runs", "1", "--json")
    code, printed, err = mvit("bench", "model", NAME, "--against", "mvit_tiny_16x64", *options)
    assert code == 0, err
    said = [(case["name"], case["batch"]) for case in json.loads(printed)["cases"]]
    assert said == [(NAME, 1), ("mvit_tiny_16x64", 1), (NAME, 2), ("mvit_tiny_16x64", 2)]


def test_a_plan(mvit, tmp_path, monkeypatch):
    """Times are measured; of the memory it is known what must follow."""
    weights, fixed, each = 100, 50, 1000
    found = lambda case: Footprint(weights, 3 * weights, fixed + each * case.batch, 0)  # noqa: E731
    monkeypatch.setattr("mvit.studies.plan.footprint", found)
    out = tmp_path / "plan.json"
    options = ("--train", "--memory", "1MB", "--batches", "2", "1", "4", "--runs", "2", "--device", "cpu")
    code, printed, err = mvit("bench", "plan", NAME, *options, "--out", out)
    assert code == 0, err
    record = json.loads(out.read_text())
    assert record["batch"] == (1_000_000 - 4 * weights - fixed) // each == 999
    assert record["bytes"] == 4 * weights + fixed + each * 999
    assert "999 clips fit into 1 MB" in printed
    assert record["activations_bytes"]["check"] == {"batch": 4, "measured": 4050, "foretold": 4050, "error": 0}
    assert set(record["milliseconds"]["by_batch"]) == {"1", "2", "4"}
    code, printed, err = mvit("bench", "plan", NAME, *options, "--memory", "0.001MB")
    assert code == 0, err
    assert "nothing fits into 0.001 MB" in printed


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("model",), "at least one name"),
        (("model", "mvit_tset_4x32"), "did you mean 'mvit_test_4x32'?"),
        (("model", NAME, NAME), "names one twice"),
        (("model", NAME, "--clip", "4x32"), "'4x32' is not frames x height x width"),
        (("model", NAME, "--clip", "4x32x32", "4x32x32"), "given twice"),
        (("model", NAME, "--clip", "1x1x1x1"), "is not frames"),
        (("model", NAME, "--dtype", "float8"), "no type of numbers is called 'float8'"),
        (("model", NAME, "--batch", "0"), "at least 1"),
        (("model", NAME, "--runs", "0"), "at least 1"),
        (("model", NAME, "--device", "tpu"), "no device is called 'tpu'"),
        (("plan", "swin_t", "--memory", "1GB"), "no model is called 'swin_t'"),
        (("plan", NAME, "--memory", "24"), "is no number of bytes"),
        (("plan", NAME, "--memory", "1GB", "--batches", "1", "2"), "three or more"),
    ],
    ids=lambda each: " ".join(each) if isinstance(each, tuple) else "",
)
def test_bad_input_is_told_before_anything_is_measured(refused, tmp_path, words, sentence):
    assert sentence in refused("bench", *words, "--out", tmp_path / "record.json")
    assert not list(tmp_path.iterdir())


def test_a_record_that_could_not_be_written(refused, tmp_path):
    (tmp_path / "note").touch()
    below = tmp_path / "note" / "record.json"
    for path in (below, tmp_path):
        assert str(path) in refused("bench", "model", NAME, "--out", path)
    assert [path.name for path in tmp_path.iterdir()] == ["note"]


def test_bench_alone_and_what_it_does_not_do(refused, mvit):
    assert "'bench model'" in refused("bench", "modle")
    assert "bench" in refused("bench")
    code, printed, _ = mvit("bench", "model", "--help")
    assert code == 0
    assert "mvit bench model" in printed


def test_an_interrupted_measurement_keeps_its_rounds(program, tmp_path):
    """A real process, stopped as Ctrl-C does."""
    out = tmp_path / "record.json"
    measure = "from mvit.studies import measure; import os, signal\n"
    measure += "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # a shell's background job ignores it
    measure += "ran = measure._milliseconds\n"
    measure += "seen = []\n"
    measure += "def counted(task, device):\n"
    measure += "    seen.append(1)\n"
    measure += "    if len(seen) == 20: os.kill(os.getpid(), signal.SIGINT)\n"
    measure += "    return ran(task, device)\n"
    measure += "measure._milliseconds = counted\n"
    start = [program[0], "-c", measure + program[2]]
    words = ["bench", "model", NAME, "--runs", "100000", "--device", "cpu", "--out", str(out)]
    done = subprocess.run([*start, *words], capture_output=True, text=True, timeout=100)
    assert done.returncode == 128 + signal.SIGINT
    assert done.stderr.endswith("mvit: interrupted\n")
    assert "INTERRUPTED" in done.stdout
    record = json.loads(out.read_text())
    assert (record["complete"], record["rounds"]) == (False, 4)


def test_a_data_set(mvit, videos, tmp_path):
    out = tmp_path / "data.json"
    options = ("--model", NAME, "--workers", "0", "--rounds", "1", "--seconds", "0.1", "--out", out)
    code, printed, err = mvit("bench", "data", videos, *options, "data.spacing=2", "train.batch=4", "train.device=cpu")
    assert (code, err) == (0, f"Wrote {out}\n")
    assert "The limit is " in printed
    record = json.loads(out.read_text())
    assert {"command", "commit", "date", "hardware", "versions", "seconds_per_clip"} <= record.keys()

    spec = importlib.util.spec_from_file_location("table", ROOT / "benchmarks/table.py")
    assert spec
    assert spec.loader
    program = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(program)
    page = program.page({"data-x": record, "other": {"command": "sh other.sh", "date": "2026-01-02T03:04:05"}})
    assert "clips/s of one process" in page
    assert page.endswith("| [other](other.json) | 2026-01-02 | `sh other.sh` |\n")
