"""The sentence for each bad input, and whose fault an error is."""

import json
import shutil

import pytest

from mvit import cli
from mvit.deploy.predictor import Predictor


def test_an_unknown_command_names_the_nearest(refused):
    assert "did you mean 'train'?" in refused("trian")


def test_an_unknown_option_is_refused(refused):
    assert (
        refused("predict", "run", "video", "--tpo", "3")
        == "mvit: mvit predict has no option --tpo: did you mean '--top'?"
    )
    assert refused("train", "videos", "--max_bda=1%").endswith("no option --max-bda: did you mean '--max-bad'?")
    assert "mvit doctor has no option -v: there are --help" in refused("doctor", "-v")
    for wrong in ("--frames", "--noframes"):
        assert (
            refused("report", "run", wrong) == f"mvit: mvit report has no option {wrong}: did you mean '--no-frames'?"
        )
    assert refused("runs", "--no-json") == "mvit: mvit runs has no option --no-json: did you mean '--json'?"


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (["explain"], "mvit explain lacks RUN and VIDEO"),
        (["train", "--model", "mvit_b_16x4"], "mvit train lacks DATA"),
        (["embed", "run", "video"], "mvit embed lacks --out"),
        (["bench", "data"], "mvit bench data lacks DATA"),
        (["doctor", "run"], "mvit doctor takes nothing like 'run' here"),
        (["explain", "run", "a", "--stage", "1", "b"], "mvit explain takes nothing like 'b' here"),
    ],
)
def test_too_few_or_too_many_arguments(refused, line, told):
    command = " ".join(line[:2] if line[0] == "bench" else line[:1])
    assert refused(*line) == f"mvit: {told}: `mvit {command} --help` says what it takes"


def test_help_is_given_whatever_else_is_said(mvit):
    code, out, _ = mvit("explain", "--nothing", "--help")
    assert code == 0
    assert out.startswith("usage: mvit explain")


def test_a_wrong_value_of_an_option_is_told_in_a_sentence(refused, tmp_path):
    assert refused("export", "run", "--batch", "x") == "mvit: --batch is 'x', but takes a whole number"
    assert refused("probe", "run", tmp_path, "--orders=1.5") == "mvit: --orders is '1.5', but takes a whole number"
    assert refused("segment", "run", "a.mp4", "--enter", "half") == "mvit: --enter is 'half', but takes a number"
    assert refused("ablate", tmp_path, "--rates", "1e-3", "x") == "mvit: --rates is 'x', but takes a number"
    assert refused("ablate", tmp_path, "--match", "m") == "mvit: --match is 'm', but takes cost or time or memory"
    assert refused("segment", "run", "a.mp4", "--out") == "mvit: --out is '', but takes a value"
    assert refused("probe", "run", tmp_path, "--orders") == "mvit: --orders is '', but takes a whole number"
    assert refused("probe", "run", tmp_path, "--views") == "mvit: --views is '', but takes a value"


def test_a_report_is_a_file(refused, tmp_path):
    (tmp_path / "pages").mkdir()
    told = refused("report", tmp_path, "--out", tmp_path / "pages")
    assert told == f"mvit: {tmp_path / 'pages'} is a folder: name an HTML file with --out"


def test_an_empty_folder(refused, tmp_path):
    (tmp_path / "data").mkdir()
    assert str(tmp_path / "data") in refused("train", tmp_path / "data", "--out", tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_no_folder(refused, tmp_path):
    assert "does not exist" in refused("train", tmp_path / "nowhere")


def test_a_folder_of_text_files_renamed(refused, tmp_path, small):
    for name in ("a", "b"):
        (tmp_path / "data" / name).mkdir(parents=True)
        for n in range(3):
            (tmp_path / "data" / name / f"{n}.mp4").write_text("this is a text file")
    assert "read" in refused("train", tmp_path / "data", "--out", tmp_path / "run", *small)


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


def test_what_cannot_be_frozen_or_started_from(refused, videos, run, tmp_path):
    test = ("train", videos, "--out", tmp_path / "none", "--model", "mvit_test_4x32")
    assert "model.freeze is 'some': expected a whole number or \"all\"" in refused(*test, "--freeze", "some")
    lacking = "model.freeze is 1, but trained weights are lacking (none are named)"
    assert lacking in refused(*test, "--freeze", "1", "--weights", "none")
    assert "model.freeze is -1: expected at least 0" in refused(*test, "--freeze", "-1", "--weights", run)
    assert "mvit_test_4x32 has 2 blocks" in refused(*test, "--freeze", "3", "--weights", run)
    named = refused(*test, "--weights", "k400")
    assert "no weights are published for mvit_test_4x32: give a path, or another model, as mvit_b_16x4 and " in named
    assert f"{tmp_path}/gone does not exist: --weights takes" in refused(*test, "--weights", tmp_path / "gone")
    assert "finetune starts from trained weights" in refused(*test, "--recipe", "finetune")
    assert "the warm-up must end before the run does" in refused(*test, "optim.warmup_epochs=5", "train.epochs=5")
    assert not (tmp_path / "none").exists()


def test_a_run_that_is_not_there_is_told_with_what_the_command_takes(refused, videos, tmp_path):
    run, video, exported = tmp_path / "gone", videos / "wait" / "0.mp4", "or an exported .onnx or .xml"
    for command in ("evaluate", "probe"):
        assert refused(command, run, videos).endswith(exported)
    for command in ("predict", "segment"):
        assert refused(command, run, video).endswith(exported)
    assert refused("compare", run, tmp_path / "too", videos).endswith(exported)
    for command in (("embed", run, video, "--out", tmp_path / "a.npy"), ("explain", run, video), ("export", run)):
        assert refused(*command).endswith("gone does not exist: expected a run folder or its model.safetensors")
    assert refused("push", run, "a/b").endswith("gone does not exist: expected a run folder or its model.safetensors")
    assert refused("info", run).endswith("expected a run folder, a model.safetensors or a checkpoint")
    assert f"{videos} is no run folder, or not a whole one" in refused("predict", videos, video)
    assert f"{video} is a file: name the folder of a run" in refused("report", video)
    (table := tmp_path / "val.csv").write_text("path,label\n")
    for command in ("evaluate", "probe"):
        assert "val.csv is data and no model: the run or" in refused(command, table, videos)
    for command in ("predict", "explain"):
        assert "0.mp4 is data and no model: the run or" in refused(command, video, videos)


def test_where_nothing_can_be_written_nothing_is_looked_at(refused, run, videos, tmp_path, monkeypatch):
    (file := tmp_path / "file").touch()
    monkeypatch.setattr(Predictor, "logits", None)
    for command in ("evaluate", "probe"):
        for out in (file / "figures.json", file):
            assert str(file) in refused(command, run, videos, "--out", out)


def test_orders_are_drawn_from_no_negative_number(refused, run, videos, tmp_path):
    out = tmp_path / "out" / "there"
    said = refused("probe", run, videos, "--seed", -1, "--out", out)
    assert said == "mvit: seed is -1: orders are drawn from a number of 0 or more"
    assert not out.parent.exists()


def test_an_unknown_recipe_key_names_the_nearest(refused, videos):
    assert "did you mean 'epochs'?" in refused("train", videos, "train.epoch=3")
    assert "train.epochs" in refused("train", videos, "epochs=3")


def test_a_model_of_other_classes(refused, run, tmp_path, write_videos):
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


def test_a_run_whose_training_was_interrupted(refused, run, videos, tmp_path):
    stopped, clip = tmp_path / "stopped", videos / "wait" / "0.mp4"
    shutil.copytree(run, stopped)
    for name in ("model.safetensors", "model.json", "result.json", "scores.csv", "report.html"):
        (stopped / name).unlink()
    told = f"mvit: {stopped} holds no model yet: its training has not ended; go on with it by mvit train DATA --out "
    for command in (["predict", stopped, clip], ["evaluate", stopped, videos], ["export", stopped], ["info", stopped]):
        assert refused(*command).startswith(told)
    mistyped = stopped / "modell.safetensors"
    assert refused("info", mistyped).startswith(f"mvit: {mistyped} does not exist")


def test_a_run_of_before_is_used_and_what_it_does_not_say_is_said(run, videos, refused, mvit, tmp_path):
    old, clip = tmp_path / "old", videos / "wait" / "0.mp4"
    shutil.copytree(run, old)
    for name in ("result.json", "scores.csv", "report.html", "run.json"):
        (old / name).unlink()
    said = json.loads((old / "model.json").read_text())

    def write(without: str) -> None:
        (old / "model.json").write_text(json.dumps({name: said[name] for name in said if name != without}))

    _, due, _ = mvit("predict", run, clip, "--csv")
    for newer in ("multi_label", "aggregate", "protocol"):
        write(newer)
        assert mvit("predict", old, clip, "--csv") == (0, due, "")
    for needed in ("classes", "preprocessing", "views"):
        write(needed)
        assert f"has no '{needed}': train it again" in refused("predict", old, clip)


def test_no_run(refused, videos, tmp_path):
    for command in ("evaluate", "probe", "predict"):
        assert str(tmp_path) in refused(command, tmp_path, videos)
    assert str(tmp_path) in refused("report", tmp_path)


def test_no_video_and_no_run_named(refused, run):
    assert "at least one video" in refused("predict", run)
    assert "at least one run" in refused("report")


@pytest.mark.parametrize("views", ["5", "0x1", "axb", "5x1x1", "-1x2"])
def test_views_that_are_none(refused, run, videos, views):
    for command in ("evaluate", "probe"):
        assert "5x1" in refused(command, run, videos, f"--views={views}")


def test_flags_that_would_be_passed_over(refused, tmp_path):
    assert "choose one" in refused("complexity", "mvit_test_4x32", "--csv", "--json")
    assert "--views" in refused("complexity", "--views", "5x1", "--paper")
    assert "--clip" in refused("complexity", "--clip", "4x32x32", "--plot", tmp_path / "a.svg")
    assert ".svg" in refused("complexity", "--plot", tmp_path / "a.png")
    assert not list(tmp_path.iterdir())


def test_fetch_says_what_it_takes(refused, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "classes.txt").write_bytes("déjà vu".encode("latin-1"))
    assert "no UTF-8" in refused("fetch", "mvit_b_16x4", "k400", "--classes", "classes.txt")
    (tmp_path / "twice.txt").write_text("crane\nbox\ncrane\n")
    assert "'crane' more than once" in refused("fetch", "mvit_b_16x4", "k400", "--classes", "twice.txt")
    assert "none are published for mvit_s_16x4" in refused("fetch", "mvit_s_16x4", "classes.txt")
    assert "k400" in refused("fetch", "mvit_b_16x4", "classes.txt")


def test_resume_without_a_run(refused, videos, tmp_path):
    assert "--out" in refused("train", videos, "--resume")
    assert "recipe.toml" in refused("train", videos, "--resume", "--out", tmp_path / "none")


def test_a_run_goes_on_only_as_it_began(run, videos, refused, mvit, tmp_path, write_videos, small):
    code, printed, said = mvit("train", videos, "--out", run, *small)
    assert (code, printed) == (2, ""), "before anything is settled or downloaded"
    assert "exists already: go on with it by --resume" in said
    assert "another recipe" in refused("train", videos, "--out", run, "--resume", "optim.lr=1")
    others = write_videos(tmp_path / "others")
    assert "another train" in refused("train", others, "--out", run, "--resume")


def test_a_library_s_complaint_is_our_fault(monkeypatch):
    monkeypatch.setitem(cli.COMMANDS, "doctor", lambda: json.loads("{"))
    with pytest.raises(json.JSONDecodeError):
        cli.main(["doctor"])


def test_an_interruption_is_130(mvit, monkeypatch):
    def interrupted() -> int:
        raise KeyboardInterrupt

    monkeypatch.setitem(cli.COMMANDS, "doctor", interrupted)
    assert mvit("doctor") == (130, "", "mvit: interrupted\n")
