"""The commands as people type them: what they leave, what they print, and the sentence for each bad input."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from mvit import cli, commandline
from mvit.data import video

MVIT = [sys.executable, "-c", "import sys; from mvit.cli import main; sys.exit(main())"]
SMALL = ("--model", "mvit_test_4x32", "train.epochs=1", "train.batch=4", "train.workers=0", "data.spacing=2")


def write_videos(root: Path, classes=("jump_left", "jump_right", "wait"), each: int = 6) -> Path:
    rng = np.random.default_rng(7)
    for name in classes:
        (root / name).mkdir(parents=True)
        for n in range(each):
            frames = rng.integers(0, 255, (2, 6, 8, 3), dtype=np.uint8).repeat(5, 0).repeat(6, 1).repeat(6, 2)
            video.write(root / name / f"{n}.mp4", frames)
    return root


@pytest.fixture(scope="module")
def videos(tmp_path_factory) -> Path:
    return write_videos(tmp_path_factory.mktemp("videos"))


@pytest.fixture(scope="module")
def run(videos, tmp_path_factory) -> Path:
    """A run that split its videos itself."""
    folder = tmp_path_factory.mktemp("runs") / "first"
    assert cli.main(["train", str(videos), "--out", str(folder), *SMALL]) == 0
    return folder


@pytest.fixture
def mvit(capsys):
    """Run a command in this process; gives its exit code, output and errors."""

    def call(*args) -> tuple[int, str, str]:
        capsys.readouterr()
        code = cli.main([str(arg) for arg in args])
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return call


@pytest.fixture
def refused(mvit):
    """Run a command that must be refused, by one sentence and exit code 2; gives the sentence."""

    def call(*args) -> str:
        code, _, err = mvit(*args)
        assert code == 2, err
        lines = err.strip().splitlines()
        assert lines[-1].startswith("mvit: "), err
        assert len(lines) == 1, err
        return lines[0]

    return call


def process(*args, **options) -> subprocess.CompletedProcess:
    return subprocess.run([*MVIT, *map(str, args)], capture_output=True, text=True, timeout=100, **options)


# ---- what the commands do


def test_train_leaves_a_whole_run_folder(run):
    files = {path.name for path in run.iterdir()}
    wanted = "recipe.toml split.csv model.safetensors model.json metrics.jsonl result.json scores.csv report.html"
    assert files >= {*wanted.split(), "checkpoints"}
    result = json.loads((run / "result.json").read_text())
    assert result["videos"] == len((run / "scores.csv").read_text().splitlines()) - 1
    assert result["protocol"] == json.loads((run / "model.json").read_text())["protocol"]


def test_train_takes_a_fresh_folder_each_time(videos, mvit, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for n in (1, 2):
        code, _, err = mvit("train", videos, *SMALL)
        assert code == 0, err
        assert (tmp_path / "runs" / f"{videos.name}-{n}" / "model.json").is_file()


def test_options_may_stand_anywhere(run, mvit, refused, videos, tmp_path):
    sentence = refused(
        "train", "--out", tmp_path / "r", videos, "train.epochs=1", "--model", "mvit_test_4x32", "optim.l=1"
    )
    assert "did you mean 'lr'?" in sentence
    code, out, _ = mvit("predict", "--top", 1, run, videos / "wait" / "0.mp4", "--json", videos / "wait" / "1.mp4")
    assert code == 0
    assert len(out.splitlines()) == 2


def test_predict_gives_the_score_that_evaluate_wrote(run, videos, mvit):
    code, out, _ = mvit("evaluate", run, videos)
    assert code == 0
    assert "held out" in out, "the run split these videos itself: only what it held out is fair"
    header, *rows = [line.split(",") for line in (run / "scores.csv").read_text().splitlines()]
    held_out = [line for line in (run / "split.csv").read_text().splitlines() if line.endswith(",val")]
    assert len(rows) == len(held_out) > 0
    code, out, _ = mvit("predict", run, *(row[0] for row in rows), "--json")
    assert code == 0
    for row, line in zip(rows, out.splitlines(), strict=True):
        prediction = json.loads(line)
        assert prediction["video"] == row[0]
        scores = [prediction["scores"][name] for name in header[4:]]
        assert scores == pytest.approx([float(score) for score in row[4:]], abs=1e-5)


def test_evaluate_elsewhere_leaves_the_run_alone(run, mvit, tmp_path):
    others = write_videos(tmp_path / "others", each=2)
    before = (run / "result.json").read_bytes()
    code, out, _ = mvit("evaluate", run, others, "--views", "2x3", "--out", tmp_path / "other.json")
    assert code == 0
    assert "2x3 views" in out
    assert "6 of 6 videos" in out
    assert json.loads((tmp_path / "other.json").read_text())["videos"] == 6
    assert (run / "result.json").read_bytes() == before


def test_evaluate_says_when_the_model_has_learned_these_videos(run, mvit, tmp_path):
    learned = [line for line in (run / "split.csv").read_text().splitlines() if line.endswith(",train")]
    rows = [",".join(line.split(",")[:2]) for line in learned[:4]]
    table = tmp_path / "some.csv"
    table.write_text("\n".join(["path,label", *rows]))
    code, _, err = mvit("evaluate", run, table, "--out", tmp_path / "out.json")
    assert code == 0
    assert "trained on 4 of these 4 videos" in err


def test_probe_and_report(run, videos, mvit):
    code, out, _ = mvit("probe", run, videos, "--orders", 2)
    assert code == 0
    assert "shuffled" in out
    probe = json.loads((run / "probe.json").read_text())
    assert {"ordered", "shuffled", "reversed", "single_frame"} <= set(probe)
    code, out, _ = mvit("report", run)
    assert code == 0
    page = (run / "report.html").read_text()
    assert "shuffled" in page
    assert "://" not in page.replace("http://www.w3.org", ""), "the page loads nothing from elsewhere"


def test_one_bad_video_does_not_stop_the_others(run, videos, mvit, tmp_path):
    bad = tmp_path / "bad.mp4"
    bad.write_text("not a video")
    good = videos / "wait" / "0.mp4"
    code, out, err = mvit("predict", run, bad, good, tmp_path / "gone.mp4", good)
    assert code == 2
    assert [line for line in out.splitlines() if not line.startswith(" ")] == [str(good)] * 2
    first, second = err.strip().splitlines()
    assert first.startswith(f"mvit: {bad} cannot be read: ")
    assert second.startswith("mvit: ")
    assert str(tmp_path / "gone.mp4") in second


def test_an_unreadable_video_among_good_ones_is_named_counted_and_left_out(mvit, tmp_path):
    data = write_videos(tmp_path / "data", each=5)
    bad = data / "wait" / "bad.mp4"
    bad.write_bytes(b"nothing to see")
    code, out, err = mvit("train", data, "--out", tmp_path / "run", *SMALL)
    assert code == 0, err
    assert str(bad) in (tmp_path / "run" / "unreadable.csv").read_text()
    assert "bad.mp4" in out + err
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert result["videos"] + len(result["unreadable"]) == result["listed"]


def test_one_class_trains_with_a_warning(mvit, tmp_path):
    data = write_videos(tmp_path / "data", classes=("wave",))
    code, out, err = mvit("train", data, "--out", tmp_path / "run", *SMALL)
    assert code == 0, err
    assert "one class" in out + err


def test_an_interrupted_run_says_how_to_go_on_and_does(videos, tmp_path, mvit):
    """A real process, stopped as Ctrl-C does."""
    out = tmp_path / "run"
    command = [*MVIT, "train", str(videos), "--out", str(out), *SMALL, "train.epochs=2000"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout
        for line in process.stdout:
            if line.startswith("epoch 2"):
                break
        process.send_signal(signal.SIGINT)
        printed, err = process.communicate(timeout=60)
        assert (process.returncode, err) == (130, "mvit: interrupted\n")
    assert f"--out {out} --resume" in printed
    done = len((out / "metrics.jsonl").read_text().splitlines())
    stored = (out / "recipe.toml").read_text()
    (out / "recipe.toml").write_text(stored.replace("epochs = 2000", f"epochs = {done + 1}"))
    code, printed, err = mvit("train", videos, "--out", out, "--resume")
    assert code == 0, err
    assert f"epoch {done + 1}/" in printed
    assert "epoch 1/" not in printed
    assert len((out / "metrics.jsonl").read_text().splitlines()) == done + 1


def test_a_run_goes_on_only_as_it_began(run, videos, refused, tmp_path):
    assert "exists already" in refused("train", videos, "--out", run, *SMALL)
    assert "another recipe" in refused("train", videos, "--out", run, "--resume", "optim.lr=1")
    others = write_videos(tmp_path / "others")
    assert "another train" in refused("train", others, "--out", run, "--resume")


def test_info(run, mvit):
    code, out, _ = mvit("info", "mvit_b_16x4", "--json")
    assert code == 0
    assert json.loads(out)["parameters"] == 36_610_672
    code, out, _ = mvit("info", run, "--json")
    assert code == 0
    assert json.loads(out)["classes"] == ["jump_left", "jump_right", "wait"]
    code, out, _ = mvit("info")
    assert "mvit_b_16x4" in out
    code, out, _ = mvit("info", run)
    assert "jump_left" in out
    assert "top-1" in out


def test_complexity(mvit):
    code, out, _ = mvit("complexity", "mvit_b_16x4", "--json")
    assert code == 0
    facts = json.loads(out)
    assert facts["parameters"] == 36_610_672
    assert facts["macs"] == pytest.approx(70.60e9, rel=1e-3)
    code, out, _ = mvit("complexity", "mvit_test_4x32", "--clip", "8x48x64")
    assert code == 0
    assert "8x48x64" in out


def test_doctor_is_well_here(mvit):
    code, out, _ = mvit("doctor")
    assert code == 0, out
    assert "H.264 encoded and decoded" in out


# ---- what they refuse, each in one sentence


def test_an_unknown_command_names_the_nearest(refused):
    assert "did you mean 'train'?" in refused("trian")


def test_an_unknown_option_is_refused(mvit):
    code, _, err = mvit("predict", "run", "video", "--tpo", "3")
    assert code == 2
    assert "--top" in err


def test_an_empty_folder(refused, tmp_path):
    (tmp_path / "data").mkdir()
    assert str(tmp_path / "data") in refused("train", tmp_path / "data", "--out", tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_no_folder(refused, tmp_path):
    assert "does not exist" in refused("train", tmp_path / "nowhere")


def test_a_folder_of_text_files_renamed(refused, tmp_path):
    for name in ("a", "b"):
        (tmp_path / "data" / name).mkdir(parents=True)
        for n in range(3):
            (tmp_path / "data" / name / f"{n}.mp4").write_text("this is a text file")
    assert "read" in refused("train", tmp_path / "data", "--out", tmp_path / "run", *SMALL)


def test_a_table_without_header(refused, videos, tmp_path):
    table = tmp_path / "videos.csv"
    table.write_text(f"{videos / 'wait' / '0.mp4'},wait\n")
    assert "path,label" in refused("train", table)


def test_a_table_with_a_missing_file(refused, videos, tmp_path):
    table = tmp_path / "videos.csv"
    table.write_text(f"path,label\n{videos / 'wait' / '0.mp4'},wait\ngone.mp4,wait\n")
    assert "gone.mp4" in refused("train", table)


def test_an_unknown_preset_names_the_nearest(refused, videos):
    assert "'mvit_b_16x4'" in refused("train", videos, "--model", "mvit_b_16x5")
    assert "'mvit_b_16x4'" in refused("info", "mvit_b_16x5")


def test_an_unknown_recipe_names_the_nearest(refused, videos):
    assert "'quickstart'" in refused("train", videos, "--recipe", "quickstrat")


def test_an_unknown_recipe_key_names_the_nearest(refused, videos):
    assert "did you mean 'epochs'?" in refused("train", videos, "train.epoch=3")
    assert "train.epochs" in refused("train", videos, "epochs=3")


def test_a_model_of_other_classes(refused, run, tmp_path):
    others = write_videos(tmp_path / "others", classes=("jump_left", "swim"), each=2)
    assert "swim" in refused("evaluate", run, others)
    assert "swim" in refused("probe", run, others)


def test_a_truncated_model(refused, run, videos, tmp_path):
    copy = tmp_path / "copy"
    copy.mkdir()
    shutil.copy(run / "model.json", copy)
    (copy / "model.safetensors").write_bytes((run / "model.safetensors").read_bytes()[:-100])
    for command in (["predict", copy, videos / "wait" / "0.mp4"], ["evaluate", copy, videos], ["info", copy]):
        assert "cut short" in refused(*command)


def test_no_run(refused, videos, tmp_path):
    for command in ("evaluate", "probe", "predict"):
        assert str(tmp_path) in refused(command, tmp_path, videos)
    assert str(tmp_path) in refused("report", tmp_path)


def test_no_video_and_no_run_named(refused, run):
    assert "at least one video" in refused("predict", run)
    assert "at least one run" in refused("report")


@pytest.mark.parametrize("views", ["5", "0x1", "axb", "5x1x1", "-1x2"])
def test_views_that_are_none(refused, run, videos, views):
    assert "5x1" in refused("evaluate", run, videos, f"--views={views}")


def test_resume_without_a_run(refused, videos, tmp_path):
    assert "--out" in refused("train", videos, "--resume")
    assert "recipe.toml" in refused("train", videos, "--resume", "--out", tmp_path / "none")


# ---- whose fault it is


def test_a_library_s_complaint_is_our_fault(monkeypatch):
    monkeypatch.setitem(cli.COMMANDS, "doctor", lambda: json.loads("{"))
    with pytest.raises(json.JSONDecodeError):
        cli.main(["doctor"])


def test_an_interruption_is_130(mvit, monkeypatch):
    def interrupted() -> int:
        raise KeyboardInterrupt

    monkeypatch.setitem(cli.COMMANDS, "doctor", interrupted)
    assert mvit("doctor") == (130, "", "mvit: interrupted\n")


# ---- real processes


def test_help_and_errors_in_a_real_process(tmp_path):
    told = process("--help")
    assert (told.returncode, told.stderr) == (0, "")
    assert all(name in told.stdout for name in cli.COMMANDS)
    wrong = process("train", tmp_path / "nowhere", cwd=tmp_path)
    assert wrong.returncode == 2
    assert wrong.stdout == ""
    assert len(wrong.stderr.splitlines()) == 1
    assert wrong.stderr.startswith("mvit: ")


def test_a_reader_that_leaves_is_no_error(run, videos):
    args = [*MVIT, "predict", str(run), *[str(videos / "wait" / "0.mp4")] * 40, "--json"]
    unbuffered = {**os.environ, "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(args, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=unbuffered) as writer:
        assert writer.stdout
        assert writer.stderr
        writer.stdout.readline()
        writer.stdout.close()
        assert writer.stderr.read() == b""
    assert writer.returncode == commandline.READER_GONE


def test_quickstart_shows_the_commands_it_runs(mvit, tmp_path, monkeypatch):
    """The walk itself is minutes long; here with a demo set and a training that are as small as can be."""
    from mvit.data import demo

    made = demo.make
    monkeypatch.setattr(demo, "make", lambda folder: made(folder, train=8, val=8, size=32))
    short = tmp_path / "short.toml"
    short.write_text('[model]\nname = "mvit_test_4x32"\n[train]\nepochs = 1\nbatch = 4\nworkers = 0\n')
    monkeypatch.setattr(cli, "_recipe_path", lambda name: short)
    out = tmp_path / "quickstart"
    for n in (1, 2):
        code, printed, err = mvit("quickstart", "--out", out)
        assert code == 0, err
        assert (out / f"run-{n}" / "report.html").is_file()
        assert f"$ mvit probe {out / f'run-{n}'} {out / 'demo'}" in printed
        assert "YOUR_FOLDER" in printed
    assert "is there already" in printed
