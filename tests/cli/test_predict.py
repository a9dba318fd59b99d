"""``mvit predict`` as people type it: many videos, forms of answers, files that are gone on with."""

import csv
import io
import json
import os
import pty
import re
import resource
import subprocess
import sys
from shutil import copytree

import numpy as np
import pytest
from safetensors.torch import load_file, save_file

from mvit.data.stills import encoded
from mvit.deploy import bulk
from mvit.distributed.lock import lock, locked


def answers(out: str) -> dict[str, dict]:
    return {said["video"]: said for said in map(json.loads, out.splitlines())}


def test_one_bad_video_does_not_stop_the_others(run, videos, mvit, tmp_path):
    bad = tmp_path / "bad.mp4"
    bad.write_text("not a video")
    good = videos / "wait" / "0.mp4"
    code, out, err = mvit("predict", run, bad, good, tmp_path / "gone.mp4", good)
    assert code == 0
    assert [line for line in out.splitlines() if not line.startswith(" ")] == [str(good)] * 2
    first, second, last = err.strip().splitlines()
    assert first.startswith(f"mvit: {bad} cannot be read: ")
    assert second == f"mvit: {tmp_path / 'gone.mp4'} cannot be read: there is no such file"
    assert last == "mvit: 2 of 4 videos could not be read"
    code, out, _ = mvit("predict", run, bad, tmp_path / "gone.mp4")
    assert (code, out) == (2, ""), "nothing could be done"
    code, out, err = mvit("predict", run, bad, good, "--json")
    assert code == 0
    assert answers(out)[str(bad)]["error"] in err


def test_a_folder_a_pattern_and_a_part(run, videos, mvit):
    code, out, err = mvit("predict", run, videos, "--json")
    assert (code, err) == (0, "")
    every = answers(out)
    assert sorted(every) == sorted(map(str, videos.glob("*/*.mp4")))
    code, out, _ = mvit("predict", run, videos / "w*" / "*.mp4", "--json")
    waits = answers(out)
    assert sorted(waits) == sorted(map(str, videos.glob("wait/*.mp4")))
    for video, said in waits.items():
        assert said["scores"] == pytest.approx(every[video]["scores"], abs=1e-6), "batches are of other videos"
    code, out, _ = mvit("predict", run, f"{videos / 'wait' / '0.mp4'}#t=0,0.1", "--json")
    assert code == 0
    assert list(answers(out)) == [f"{videos / 'wait' / '0.mp4'}#t=0,0.1"]


def test_the_table_has_the_scores_of_the_objects(run, videos, mvit):
    code, out, _ = mvit("predict", run, videos / "wait", "--csv")
    assert code == 0
    rows = list(csv.DictReader(io.StringIO(out)))
    _, out, _ = mvit("predict", run, videos / "wait", "--json")
    for row, said in zip(rows, answers(out).values(), strict=True):
        assert row["video"] == said["video"]
        assert row["predicted"] == next(iter(said["scores"]))
        assert {name: float(row[name]) for name in said["scores"]} == pytest.approx(said["scores"], abs=1e-6)
        assert (int(row["views"]), row["error"]) == (said["views"], "")


def test_views_are_those_that_are_asked_for(run, videos, mvit):
    clip = videos / "wait" / "0.mp4"

    def views(*options) -> tuple[int, str]:
        code, out, err = mvit("predict", run, clip, "--json", *options)
        assert code == 0, err
        said = answers(out)[str(clip)]
        return said["views"], said["protocol"]

    own = json.loads((run / "model.json").read_text())
    assert views() == (own["views"][0] * own["views"][1], own["protocol"])
    assert views("--views", "2x3")[0] == 6
    assert views("--fast")[0] == 1
    taken, told = views("--views", "auto")
    assert 2 <= taken <= 10
    assert told.startswith("2 to 10x")


def test_a_file_of_answers_is_gone_on_with(run, videos, mvit, tmp_path, refused):
    out = tmp_path / "answers.jsonl"
    _, told, _ = mvit("predict", run, videos, "--json")
    code, said, _ = mvit("predict", run, videos / "wait", "--out", out)
    assert (code, said) == (0, f"Wrote 6 answers to {out}\n")
    whole = out.read_bytes()
    out.write_bytes(whole[:-20])
    code, said, _ = mvit("predict", run, videos, "--out", out)
    assert (code, said) == (0, f"Wrote 13 answers to {out}, where 5 stood\n")
    ours, wanted = answers(out.read_text()), answers(told)
    assert list(ours)[:5] == list(answers(whole.decode()))[:5], "what stood still stands"
    assert {video: said["scores"] for video, said in ours.items()} == {
        video: pytest.approx(said["scores"], abs=1e-6) for video, said in wanted.items()
    }
    assert "predictions of another kind" in refused("predict", run, videos, "--fast", "--out", out)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("Dear all\n", "something else than predictions (line 1)"),
        ("Dear all", "something else than predictions (line 1)"),
        ('{"label": "wait", "video": "a.mp4"', "something else than predictions (line 1)"),
        ('{"video": "a.mp4", "label": "wait"}', "predictions of another kind (line 1: no model; "),
        ("[" * 200_000 + "\n", "something else than predictions (line 1)"),
    ],
)
def test_a_file_of_something_else_is_left_as_it_is(run, videos, refused, tmp_path, text, said):
    file = tmp_path / "answers.jsonl"
    file.write_text(text)
    assert f"{file} holds {said}" in refused("predict", run, videos / "wait" / "0.mp4", "--out", file)
    assert file.read_text() == text


@pytest.mark.parametrize("left", [1, 11, 40])
def test_a_line_that_was_cut_short_anywhere_is_written_anew(run, videos, mvit, tmp_path, left):
    file = tmp_path / "answers.jsonl"
    words = ("predict", run, videos / "wait" / "0.mp4", "--out", file)
    mvit(*words)
    whole = file.read_bytes()
    for kept in (left, len(whole) - left):
        file.write_bytes(whole[:kept])
        assert mvit(*words)[:2] == (0, f"Wrote 1 answers to {file}\n")
        assert file.read_bytes() == whole


def train_again(run):
    """As far as the file of its weights shows."""
    state = load_file(run / "model.safetensors")
    save_file({name: tensor.neg() for name, tensor in state.items()}, run / "model.safetensors")


def into_parts(library) -> str:
    library("pyarrow.parquet", "scale")
    return "answers"


@pytest.mark.parametrize("out", [lambda library: "answers.jsonl", into_parts], ids=["lines", "parts"])
def test_another_model_or_video_at_the_same_path_is_not_the_same(
    run, videos, mvit, refused, library, tmp_path, monkeypatch, out
):
    model, out = tmp_path / "model", tmp_path / out(library)
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "0.mp4").write_bytes((videos / "wait" / "0.mp4").read_bytes())
    copytree(run, model)
    monkeypatch.chdir(tmp_path / "one")
    words = ("predict", model, "0.mp4", "--out", out)
    assert mvit(*words)[:2] == (0, f"Wrote 1 answers to {out}\n")
    assert mvit(*words)[:2] == (0, f"Wrote 0 answers to {out}, where 1 stood\n")
    monkeypatch.chdir(tmp_path / "two")
    assert f"folder {str(tmp_path / 'one')!r}, now {str(tmp_path / 'two')!r}" in refused(*words)
    absolute = ("predict", model, tmp_path / "two" / "0.mp4", "--out", out)
    assert mvit(*absolute)[:2] == (0, f"Wrote 1 answers to {out}\n"), "a whole name is the same from every folder"
    later = tmp_path / f"later-{out.name}"
    assert mvit(*absolute[:-1], later)[0] == 0
    assert mvit("predict", model, "0.mp4", "--out", later)[:2] == (0, f"Wrote 1 answers to {later}\n"), "nor is it this"
    train_again(model)
    said = refused(*absolute)
    assert "predictions of another kind (" in said
    assert re.search(r"fingerprint '[0-9a-f]{16}', now '[0-9a-f]{16}'\)", said)


def test_lines_that_do_not_say_of_which_weights_they_are_are_refused(run, videos, mvit, refused, tmp_path):
    file = tmp_path / "answers.jsonl"
    words = ("predict", run, videos / "wait" / "0.mp4", "--out", file)
    mvit(*words)
    said = json.loads(file.read_text())
    del said["fingerprint"]
    file.write_text(f"{json.dumps(said)}\n")
    assert f"{file} holds predictions of another kind (line 1: no fingerprint)" in refused(*words)


def test_images_are_not_called_videos(run, mvit, tmp_path):
    for name in ("a.jpg", "b.jpg"):
        (tmp_path / name).write_text("no picture")
    (tmp_path / "c.png").write_bytes(encoded(np.zeros((40, 40, 3), np.uint8), "png", "rgb24"))
    assert mvit("predict", run, *tmp_path.iterdir())[2].endswith("mvit: 2 of 3 images could not be read\n")
    _, said, _ = mvit("embed", run, *tmp_path.iterdir(), "--out", tmp_path / "out" / "a.npy")
    assert said.startswith("Wrote 1 of 3 images to ")


def test_a_bar_on_the_terminal_leaves_the_answers_in_their_file(run, videos, tmp_path):
    table = tmp_path / "answers.csv"
    ours, terminal = pty.openpty()
    words = [sys.executable, "-m", "mvit", "predict", str(run), str(videos / "wait"), "--csv"]
    with table.open("wb") as file, subprocess.Popen(words, stdout=file, stderr=terminal, stdin=terminal) as child:
        os.close(terminal)
        shown = b""
        while part := _read(ours):
            shown += part
    os.close(ours)
    assert child.returncode == 0, shown
    assert b"predicting" in shown
    assert b"wait/0.mp4" not in shown
    with table.open() as file:
        assert [row["video"] for row in csv.DictReader(file)] == sorted(map(str, videos.glob("wait/*.mp4")))


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 1 << 16)
    except OSError:  # what Linux says of a terminal that nobody writes to any more
        return b""


def test_names_of_files_may_be_any_bytes(run, videos, mvit, refused, tmp_path, library):
    odd = tmp_path / os.fsdecode(b"caf\xe9.mp4")
    odd.write_bytes((videos / "wait" / "0.mp4").read_bytes())
    words = [sys.executable, "-m", "mvit", "predict", str(run), os.fspath(odd), "--json"]
    done = subprocess.run(words, capture_output=True, timeout=110)
    assert (done.returncode, done.stderr) == (0, b"")
    assert os.fsencode(odd) in done.stdout
    file = tmp_path / "answers.jsonl"
    assert mvit("predict", run, odd, "--out", file)[0] == 0
    assert file.read_bytes() == done.stdout
    assert mvit("predict", run, odd, "--out", file)[:2] == (0, f"Wrote 0 answers to {file}, where 1 stood\n")
    library("pyarrow", "scale")
    for words in (
        ("predict", run, odd, "--out", tmp_path / "parts"),
        ("embed", run, odd, "--out", tmp_path / "a.parquet"),
    ):
        assert "is no UTF-8, as Parquet wants it" in refused(*words)
    assert not (tmp_path / "parts").exists()


def test_a_file_holds_each_video_once(run, videos, mvit, tmp_path):
    file, clip = tmp_path / "deep" / "answers.jsonl", videos / "wait" / "0.mp4"
    code, out, _ = mvit("predict", run, clip, videos / "wait", clip, "--out", file)
    assert (code, out) == (0, f"Wrote 6 answers to {file}\n")
    assert len(answers(file.read_text())) == len(file.read_text().splitlines()) == 6


def test_two_at_once_do_not_write_into_one(run, videos, refused, tmp_path, library):
    file = tmp_path / "answers.jsonl"
    with file.open("ab") as held:
        lock(held, file)
        assert f"{file} is in use by another process" in refused("predict", run, videos, "--out", file)
    assert file.read_bytes() == b""
    library("pyarrow", "scale")
    with locked(tmp_path / "parts", bulk.LOCK):
        assert f"parts is in use by process {os.getpid()}" in refused(
            "predict", run, videos, "--out", tmp_path / "parts"
        )
    (tmp_path / "letter").write_text("Dear all")
    assert "is a file: --out is a folder for Parquet" in refused("predict", run, videos, "--out", tmp_path / "letter")


def test_a_full_disk_is_said_of_the_file_and_what_was_written_stands(run, videos, mvit, refused, tmp_path):
    file = tmp_path / "answers.jsonl"
    words = ("predict", run, videos / "wait", "--batch", "1", "--out", file)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        assert refused(*words) == f"mvit: {file}: File too large"
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    before = file.read_bytes()
    assert len(before) == 1000
    kept = before.count(b"\n")
    assert 2 <= kept <= 5
    assert mvit(*words)[:2] == (0, f"Wrote {6 - kept} answers to {file}, where {kept} stood\n")
    assert file.read_bytes().startswith(before)
    (tmp_path / "table").write_text("")
    below = tmp_path / "table" / "answers.jsonl"
    assert refused("predict", run, videos / "wait", "--out", below).startswith(f"mvit: {below}: ")


STOPPED = """
import signal, sys
from mvit import cli
from mvit.deploy import answers
signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job ignores it
read = answers.decoded
def slowly(samples, *how):
    for number, found in enumerate(read(samples, *how)):
        if number == 4:
            signal.raise_signal(signal.SIGINT)
        yield found
answers.decoded = slowly
sys.exit(cli.main(sys.argv[1:]))
"""


def test_an_interrupted_file_has_what_was_answered_and_goes_on(run, videos, mvit, tmp_path):
    file = tmp_path / "answers.jsonl"
    words = ["predict", str(run), str(videos), "--batch", "1", "--out", str(file)]
    stopped = subprocess.run([sys.executable, "-c", STOPPED, *words], capture_output=True, text=True, timeout=110)
    assert (stopped.returncode, stopped.stderr) == (130, "mvit: interrupted\n")
    before = file.read_text()
    assert before.endswith("\n")
    assert len(answers(before)) == 4
    assert mvit(*words)[:2] == (0, f"Wrote 14 answers to {file}, where 4 stood\n")
    assert file.read_text().startswith(before)
    assert len(file.read_text().splitlines()) == 18


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--top", 0), "--top is 0"),
        (("--batch", 0), "--batch 0"),
        (("--json", "--csv"), "choose one"),
        (("--fast", "--views", "5x1"), "choose one"),
        (("--views", "many"), "'many' is not clips x crops"),
        (("--out", "answers.txt"), "ends in .txt"),
        (("--ray",), "give --out FOLDER"),
        (("--ray", "--out", "a.jsonl"), "give --out FOLDER"),
        (("--views", "auto", "--out", "answers"), "give --out NAME.jsonl"),
    ],
)
def test_options_that_cannot_be(run, videos, refused, options, said):
    assert said in refused("predict", run, videos, *options)


def test_what_holds_no_video_is_said(run, refused, tmp_path):
    (tmp_path / "empty").mkdir()
    assert "holds no video" in refused("predict", run, tmp_path / "empty")
    assert "nothing fits the pattern" in refused("predict", run, tmp_path / "*.mp4")
    assert "at least one video" in refused("predict", run)


def parts(library, folder) -> dict[str, dict]:
    """What the parts of a folder say of each video, in the form of ``answers``."""
    parquet = library("pyarrow.parquet", "scale")
    found = {}
    for path in folder.iterdir():
        table = parquet.read_table(path)
        classes = json.loads(table.schema.metadata[b"classes"])
        for row in table.to_pylist():
            scores = {"scores": dict(zip(classes, row["scores"], strict=True))} if row["scores"] else {}
            assert row["video"] not in found, "no video is answered twice"
            found[row["video"]] = {"predicted": row["predicted"], "error": row["error"], **scores}
    return found


def test_a_folder_of_parts_is_gone_on_with(run, videos, mvit, library, refused, tmp_path, monkeypatch):
    library("pyarrow.parquet", "scale")
    monkeypatch.setattr(bulk, "PART", 4)
    bad, out = tmp_path / "bad.mp4", tmp_path / "answers"
    bad.write_text("not a video")
    code, said, err = mvit("predict", run, videos / "wait", bad, "--out", out)
    assert (code, said) == (0, f"Wrote 7 answers to {out}\n")
    assert f"{bad} cannot be read" in err
    assert len(list(out.iterdir())) == 2
    (out / ".mvit-0123.tmp").touch()  # of a kill
    code, said, _ = mvit("predict", run, bad, videos, "--out", out)
    assert (code, said) == (0, f"Wrote 12 answers to {out}, where 7 stood\n")
    _, told, _ = mvit("predict", run, videos, "--json")
    found = parts(library, out)
    assert found.pop(str(bad)) == {
        "predicted": None,
        "error": answers(mvit("predict", run, bad, "--json")[1])[str(bad)]["error"],
    }
    for video, wanted in answers(told).items():
        assert found[video]["scores"] == pytest.approx(wanted["scores"], abs=1e-6)
        assert found[video]["predicted"] == next(iter(wanted["scores"]))
    assert len(found) == len(answers(told))
    assert "predictions of another kind" in refused("predict", run, videos, "--fast", "--out", out)
    (out / "notes").write_text("mine")
    assert "is no part of predictions" in refused("predict", run, videos, "--out", out)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.filterwarnings("default")  # Ray's own
def test_ray_answers_the_same(run, videos, mvit, library, tmp_path, monkeypatch):
    library("ray.data", "scale")
    ray = library("ray", "scale")
    monkeypatch.setattr(bulk, "PART", 5)
    bad, out = tmp_path / "bad.mp4", tmp_path / "answers"
    bad.write_text("not a video")
    code, said, err = mvit("predict", run, videos, bad, "--out", out, "--ray")
    assert code == 0, err
    assert f"Wrote 19 answers to {out}" in said
    assert f"{bad} cannot be read" in err
    assert not ray.is_initialized(), "what it started would go on writing into this process's errors"
    found = parts(library, out)
    for video, wanted in answers(mvit("predict", run, videos, "--json")[1]).items():
        assert found[video]["scores"] == pytest.approx(wanted["scores"], abs=1e-6)
    code, said, _ = mvit("predict", run, videos, bad, "--out", out, "--ray")
    assert (code, f"Wrote 0 answers to {out}, where 19 stood" in said) == (0, True)


def test_more_classes_than_there_are_are_all(mvit, run, videos):
    code, said, _ = mvit("predict", run, videos / "wait" / "0.mp4", "--top", 10**30)
    assert (code, len(said.splitlines())) == (0, 4)
