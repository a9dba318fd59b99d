"""Models side by side from a command line: from their files, on data, and in a report."""

import json
import shutil
from pathlib import Path

import pytest

from mvit.studies import compare


@pytest.fixture
def other(run, tmp_path) -> Path:
    """A copy of the run whose first video is called otherwise."""
    copy = shutil.copytree(run, tmp_path / "other")
    lines = (copy / "scores.csv").read_text().splitlines()
    first = lines[1].split(",")
    header = lines[0].split(",")
    place = header.index(first[1])
    called = place if first[3] == "0" else (4 if place != 4 else 5)
    first[2:] = [
        header[called],
        str(1 - int(first[3])),
        *("0.8" if n == called else "0.1" for n in range(4, len(first))),
    ]
    (copy / "scores.csv").write_text("\n".join([lines[0], ",".join(first), *lines[2:]]) + "\n")
    return copy


def test_runs_are_compared_from_their_files(run, other, mvit, tmp_path):
    out = tmp_path / "compared"
    code, told, err = mvit("compare", run, other, "--runs", 1, "--out", out)
    assert code == 0, err
    record = json.loads((out / "comparison.json").read_text())
    (pair,) = record["pairs"]
    assert pair["only_first"] + pair["only_second"] == 1
    assert set(record["models"]) == {"first", "other"}
    few = record["units"] < 10
    assert ("are rough, and rather too narrow" in told) == few
    for model in record["models"].values():
        assert model["parameters"] > 0
        assert model["gmac_per_video"] == pytest.approx(model["gmac_per_view"] * model["views"][0] * model["views"][1])
        assert model["clips_per_second"]["median"] > 0
        assert model["memory_bytes"] > 0
    assert "McNemar p 1.000" in told
    assert "MiB: memory that one clip takes beside the model" in told
    page = (out / "comparison.html").read_text()
    assert page.count("<svg") == 2
    assert "first – other" in page


def test_runs_are_compared_on_data_under_the_same_views(run, other, videos, mvit, tmp_path):
    code, told, err = mvit("compare", run, other, videos, "--views", "2x1", "--runs", 0, "--out", tmp_path / "on")
    assert code == 0, err
    record = json.loads((tmp_path / "on" / "comparison.json").read_text())
    (pair,) = record["pairs"]
    assert pair["difference"] == 0  # the files of both say the same now that both look at the videos
    assert record["videos"] == len((run / "scores.csv").read_text().splitlines()) - 1
    assert "2x1 views" in told


def test_models_of_other_classes_are_refused_and_leave_no_folder(run, videos, mvit, tmp_path):
    strange = shutil.copytree(run, tmp_path / "strange")
    description = json.loads((strange / "model.json").read_text())
    description["classes"][0] = "nobody's"
    (strange / "model.json").write_text(json.dumps(description))
    code, _, err = mvit("compare", run, strange, videos, "--out", tmp_path / "out")
    assert (code, "do not name the same classes" in err) == (2, True)
    assert not (tmp_path / "out").exists()


def test_what_order_is_worth_is_told_of_the_videos_that_are_compared(other, videos, write_videos, mvit, tmp_path):
    strangers, out = write_videos(tmp_path / "strangers", each=2), tmp_path / "compared"
    (other / "probe.json").unlink(missing_ok=True)
    run = shutil.copytree(other, tmp_path / "first")
    legend = (
        "order: points of top-1 lost when the frames of these videos are shuffled, as mvit probe found by its own views"
    )

    def compared(*args) -> list[float | None]:
        code, told, err = mvit("compare", run, other, *args, "--runs", 0, "--out", out)
        assert code == 0, err
        models = json.loads((out / "comparison.json").read_text())["models"]
        drops = [models[name]["order_drop"] for name in ("first", "other")]
        assert (legend in told) == any(drop is not None for drop in drops)
        assert (legend in (out / "comparison.html").read_text()) == (legend in told)
        return drops

    assert mvit("probe", other, videos, "--orders", 1)[0] == 0
    drop = json.loads((other / "probe.json").read_text())["drops"]["shuffled"]
    assert compared() == compared(videos) == [None, drop]
    assert compared(strangers) == [None, None]
    assert mvit("probe", other, strangers, "--orders", 1)[0] == 0
    drop = json.loads((other / "on-strangers" / "probe.json").read_text())["drops"]["shuffled"]
    assert compared(strangers) == [None, drop]


def test_a_report_of_several_runs_draws_their_differences(run, other, mvit, tmp_path):
    code, _, err = mvit("report", run, other, "--out", tmp_path / "report.html")
    assert code == 0, err
    page = (tmp_path / "report.html").read_text()
    assert "<h2>Differences</h2>" in page
    assert "GMAC of a video" in page
    result = json.loads((other / "result.json").read_text())
    (other / "result.json").write_text(json.dumps(result | {"protocol": "9x9 views"}))
    code, _, err = mvit("report", run, other, "--out", tmp_path / "report.html")
    assert code == 0
    assert "no differences are drawn: first and other were not measured alike" in err
    assert "<h2>Differences</h2>" not in (tmp_path / "report.html").read_text()


def test_a_run_that_cannot_be_written_to_has_its_page_elsewhere(other, mvit, tmp_path):
    (other / "calibration.json").unlink()
    (other / "calibration.json").mkdir()
    code, _, err = mvit("report", other, "--out", tmp_path / "page.html")
    assert code == 0, err
    assert "calibration is on the page, and in no file: " in err
    assert str(other / "calibration.json") in err
    assert "The mean log loss is" in (tmp_path / "page.html").read_text()


def test_what_cannot_be_compared_is_refused(run, other, videos, refused, tmp_path):
    result = json.loads((other / "result.json").read_text())
    (other / "result.json").write_text(json.dumps(result | {"protocol": "9x9 views"}))
    assert "against 9x9 views. Give the data too" in refused("compare", run, other, "--out", tmp_path / "out")
    two = "compare needs two models or more, and"
    assert f"{two} there is none: mvit compare RUN... [DATA]" in refused("compare")
    assert f"{two} {run} is one: " in refused("compare", run)
    assert f"{two} {run} is one, as {videos} is taken for data: " in refused("compare", run, videos)
    again = run.parent / "." / run.name / ".." / run.name
    assert f"{again} is given twice" in refused("compare", run, other, again)
    assert "none is given" in refused("compare", run, "--views", "2x1")
    exported = run / "model.safetensors"
    assert f"{exported} is a file, which keeps no scores: give the data too" in refused("compare", run, exported)
    assert "0 for not at all, but it is -1" in refused("compare", run, other, "--runs", -1, "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_where_nothing_can_be_written_nothing_is_measured(run, other, refused, tmp_path, monkeypatch):
    (tmp_path / "note.txt").touch()
    monkeypatch.setattr(compare, "costs", None)
    assert "note.txt" in refused("compare", run, other, "--out", tmp_path / "note.txt" / "out")
