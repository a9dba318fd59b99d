"""The commands as people type them: what they leave, and what they print."""

import csv
import io
import json
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

from mvit import commandline, doctor
from mvit.analysis import published
from mvit.doctor import Check


def test_train_leaves_a_whole_run_folder(run):
    files = {path.name for path in run.iterdir()}
    wanted = "recipe.toml split.csv model.safetensors model.json metrics.jsonl result.json scores.csv report.html"
    assert files >= {*wanted.split(), "checkpoints"}
    result = json.loads((run / "result.json").read_text())
    assert result["videos"] == len((run / "scores.csv").read_text().splitlines()) - 1
    assert result["protocol"] == json.loads((run / "model.json").read_text())["protocol"]


def test_train_takes_a_fresh_folder_each_time(videos, mvit, tmp_path, monkeypatch, small):
    monkeypatch.chdir(tmp_path)
    for n in (1, 2):
        code, _, err = mvit("train", videos, *small)
        assert code == 0, err
        assert (tmp_path / "runs" / f"{videos.name}-{n}" / "model.json").is_file()


def test_train_starts_from_a_run_and_its_head_alone_learns(run, videos, mvit, tmp_path):
    out = tmp_path / "probe"
    options = ("train.epochs=1", "train.workers=0", "--weights", run, "--freeze", "all", "--recipe", "finetune")
    code, told, err = mvit("train", videos, "--out", out, *options)
    assert code == 0, err
    assert f"model: mvit_test_4x32, from the run {run}" in told
    assert re.search(r"(\d\d,\d{3}) of \d\d,\d{3} parameters are frozen", told)
    written = (out / "recipe.toml").read_text()
    assert 'freeze = "all"\n' in written
    assert 'freeze = "all"\n' in told
    assert f'weights = "{run}"\n' in written
    code, told, err = mvit("train", videos, "--out", out, "--resume")
    assert code == 0, err
    assert "going on after the last epoch" in told
    assert "recipe" not in told


def test_train_from_scratch_where_asked(videos, mvit, tmp_path, small):
    code, told, err = mvit("train", videos, "--out", tmp_path / "run", "--weights", "none", *small)
    assert code == 0, err
    assert "recipe scratch:" in told
    assert "weights:" not in told
    assert "warning: 15 videos are few for a model that starts from scratch" in told


def test_options_may_stand_anywhere(run, mvit, refused, videos, tmp_path):
    sentence = refused(
        "train", "--out", tmp_path / "r", videos, "train.epochs=1", "--model", "mvit_test_4x32", "optim.l=1"
    )
    assert "did you mean 'lr'?" in sentence
    code, out, _ = mvit("predict", "--top", 1, run, videos / "wait" / "0.mp4", "--json", videos / "wait" / "1.mp4")
    assert code == 0
    assert len(out.splitlines()) == 2


def test_an_option_of_several_values_may_be_given_twice():
    seen = []

    def write(run: Path, /, *, out: tuple[Path, ...] = (), max_bad: str = "") -> int:
        """Write.

        Args:
            run: one
            out: several
            max_bad: one
        """
        seen.append((run, out, max_bad))
        return 0

    every = (Path("a"), Path("b"), Path("c"))
    for line in (
        ["--out", "a", "b", "--max_bad", "1%", "x", "--out", "c"],
        ["x", "--out=a", "--out=b", "--max-bad=1%", "--out", "c"],
    ):
        assert commandline.run({"write": write}, ["write", *line]) == 0
    assert seen == [(Path("x"), every, "1%")] * 2
    assert commandline.run({"write": write}, ["write", "x", "--out=-a"]) == 0
    assert seen[-1] == (Path("x"), (Path("-a"),), "")


def test_a_flag_that_turns_off_takes_no_value(run, mvit, tmp_path):
    page = tmp_path / "report.html"
    for args in (["--no-frames", "--out", page, run], ["--out", page, "--no-frames", run], [run, "--no-frames"]):
        code, _, err = mvit("report", *args, *(() if page in args else ("--out", page)))
        assert code == 0, err
        assert "Videos have numbers here" in page.read_text()
        page.unlink()
    told = " ".join(mvit("report", "--help")[1].split())
    assert "--no-frames leave out frames, paths and names" in told
    assert "default: True" not in told


def test_predict_gives_the_score_that_evaluate_wrote(run, videos, mvit):
    (run / "scores.csv").unlink()  # that of training
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


def test_evaluate_elsewhere_leaves_the_run_alone(run, mvit, tmp_path, write_videos):
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


def test_evaluate_knows_the_learned_videos_by_another_path_too(run, videos, mvit, tmp_path):
    (tmp_path / "again").symlink_to(videos)
    before = (run / "result.json").read_bytes()
    code, out, err = mvit("evaluate", run, tmp_path / "again", "--out", tmp_path / "out.json")
    assert code == 0, err
    assert "it is judged on the" in out
    assert json.loads((tmp_path / "out.json").read_text())["videos"] == json.loads(before)["videos"]


def test_other_views_leave_the_run_s_own_result_alone(run, videos, mvit):
    before = (run / "result.json").read_bytes()
    code, _, err = mvit("evaluate", run, videos, "--views", "3x3")
    assert code == 0, err
    assert (run / "result.json").read_bytes() == before
    assert "3x3 views" in json.loads((run / "views-3x3" / "result.json").read_text())["headline"]


def test_probe_and_report(run, videos, mvit):
    code, out, _ = mvit("probe", run, videos, "--orders", 2)
    assert code == 0
    assert "windows of 2 shuffled whole" in out
    assert "not asked: windows of 4 shuffled whole: a clip has 4 frames" in out
    probe = json.loads((run / "probe.json").read_text())
    assert {"ordered", "shuffled", "reversed", "single_frame", "shuffled_after_stem"} <= set(probe)
    before = (run / "probe.json").read_bytes()
    code, out, _ = mvit("probe", run, videos, "--orders", 2, "--views", "2x1")
    assert code == 0
    assert (run / "probe.json").read_bytes() == before
    assert len(json.loads((run / "views-2x1" / "probe.json").read_text())["shuffled"]["per_view"]) == 2
    code, out, _ = mvit("probe", run, videos, "--orders", 2, "--out", run / "again.json")
    assert (code, (run / "again.json").read_bytes()) == (0, before), "the same seed gives the same figures"
    code, out, _ = mvit("report", run)
    assert code == 0
    page = (run / "report.html").read_text()
    assert "shuffled" in page
    assert "://" not in page.replace("http://www.w3.org", ""), "the page loads nothing from elsewhere"


def test_an_unreadable_video_among_good_ones_is_named_counted_and_left_out(mvit, tmp_path, write_videos, small):
    data = write_videos(tmp_path / "data", each=5)
    bad = data / "wait" / "bad.mp4"
    bad.write_bytes(b"nothing to see")
    train = ("train", data, "--out", tmp_path / "run", *small)
    code, out, err = mvit(*train)
    if "cannot be read, more than the 1 %" in err:  # and not held out
        assert code == 2
        code, out, err = mvit(*train, "--max-bad", "20%")
    assert code == 0, err
    assert str(bad) in (tmp_path / "run" / "unreadable.csv").read_text()
    assert "bad.mp4" in out + err
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert result["videos"] + len(result["unreadable"]) == result["listed"]


def test_one_class_trains_with_a_warning(mvit, tmp_path, write_videos, small):
    data = write_videos(tmp_path / "data", classes=("wave",))
    code, out, err = mvit("train", data, "--out", tmp_path / "run", *small)
    assert code == 0, err
    assert "one class" in out + err


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


def test_info_of_a_result_without_a_headline(run, mvit, tmp_path):
    for name in ("model.json", "model.safetensors"):
        (tmp_path / name).write_bytes((run / name).read_bytes())
    (tmp_path / "result.json").write_text('{"top1": 0.5}')
    assert mvit("info", tmp_path)[0] == 0
    (tmp_path / "result.json").write_text("{")
    code, _, err = mvit("info", tmp_path)
    assert code == 2
    assert "result.json is not JSON" in err


def test_complexity(mvit):
    code, out, _ = mvit("complexity", "mvit_b_16x4", "--json")
    assert code == 0
    facts = json.loads(out)
    assert facts["parameters"] == 36_610_672
    assert facts["macs"] == pytest.approx(70.60e9, rel=1e-3)
    code, out, _ = mvit("complexity", "mvit_test_4x32", "--clip", "8x48x64")
    assert code == 0
    assert "8x48x64" in out


def test_complexity_of_views_as_csv_and_of_others(mvit, tmp_path):
    code, out, _ = mvit("complexity", "mvit_test_4x32", "swin_t", "--views", "5x3", "--csv")
    assert code == 0
    totals = {row["name"]: row for row in csv.DictReader(io.StringIO(out)) if row["part"] == "total"}
    assert totals["swin_t"]["parameters"] == "28288354"
    for row in totals.values():
        assert int(row["macs_per_video"]) == 15 * int(row["macs"])
        assert int(row["macs_with_norms_per_video"]) == 15 * int(row["macs_with_norms"])
    code, _, err = mvit("complexity", "mvit_b_16x4", "mvit_test_4x32", "--plot", tmp_path / "plot.svg")
    assert code == 0
    written, undrawn = err.splitlines()
    assert "plot.svg" in written
    assert undrawn.startswith("Not drawn: mvit_test_4x32,")
    assert (tmp_path / "plot.svg").read_text(encoding="utf-8").startswith("<svg")
    assert mvit("complexity", "mvit_test_4x32", "--views", "5")[0] == 2
    assert mvit("complexity")[0] == 2


@pytest.mark.slow
def test_the_papers_tables(mvit):
    """With the extra or without: a row whose library is missing is printed too."""
    code, out, _ = mvit("complexity", "--paper")
    assert code == 0
    assert "MViT-B 64x3" in out
    assert "SlowFast R50 8x8" in out


def test_the_papers_tables_for_programs(mvit, monkeypatch):
    monkeypatch.setattr("mvit.analysis.paper.TABLES", {"MViT": published.MVIT})
    by_json, by_csv = (mvit("complexity", "--paper", how) for how in ("--json", "--csv"))
    objects = [json.loads(line) for line in by_json[1].splitlines()]
    assert [row["system"] for row in objects] == [row.system for row in published.MVIT]
    assert [row["system"] for row in csv.DictReader(io.StringIO(by_csv[1]))] == [row["system"] for row in objects]


def test_doctor_is_well_here(mvit, monkeypatch):
    monkeypatch.setattr("torch.get_num_threads", lambda: 1)
    code, out, _ = mvit("doctor")
    assert code == 0, out
    assert "H.264 encoded and decoded" in out
    assert "processors usable, 1 thread\n" in out


@pytest.mark.parametrize("optimised", [0, 1])
def test_doctor_names_as_many_threads_as_there_are_processors(optimised, monkeypatch):
    """Also where Python leaves asserts out."""
    monkeypatch.setattr("torch.get_num_threads", lambda: 3)
    monkeypatch.setattr("mvit.data.resources.available_cores", lambda: 1)
    source = Path(doctor.__file__)
    code = compile(source.read_text(encoding="utf-8"), source, "exec", optimize=optimised)
    module = ModuleType("doctor")
    monkeypatch.setitem(sys.modules, "doctor", module)  # where dataclasses look
    exec(code, vars(module))
    check = module._checked("processor", "nothing", module._processor)
    assert check.finding == "3 threads for the 1 processor that this process may use"
    assert check.remedy == "export OMP_NUM_THREADS=1"


def test_doctor_counts_what_is_wrong(mvit, monkeypatch):
    monkeypatch.setattr("mvit.doctor.examine", lambda: [Check("torch", "broken", "mend it"), Check("video", "well")])
    code, out, _ = mvit("doctor")
    assert code == 2
    assert out.splitlines()[-1] == "1 problem"


def test_quickstart_shows_the_commands_it_runs(mvit, tmp_path, monkeypatch):
    """The walk itself is minutes long; here with a demo set and a training that are as small as can be."""
    from mvit.data import demo

    made = demo.make
    monkeypatch.setattr(demo, "make", lambda folder: made(folder, train=8, val=8, size=32))
    short = tmp_path / "short.toml"
    short.write_text('[model]\nname = "mvit_test_4x32"\n[train]\nepochs = 1\nbatch = 4\nworkers = 0\n')
    monkeypatch.setattr("mvit.recipes.recipe.path_of", lambda name: short)
    out, times = tmp_path / "quickstart", []
    for n in (1, 2):
        code, printed, err = mvit("quickstart", "--out", out)
        assert code == 0, err
        assert (out / f"run-{n}" / "report.html").is_file()
        assert f"$ mvit probe {out / f'run-{n}'} {out / 'demo'}" in printed
        assert "YOUR_FOLDER" in printed
        times.append((out / "demo/val/grow/0000.mp4").stat().st_mtime_ns)
    assert times[0] == times[1], "a complete demo set is reused"
