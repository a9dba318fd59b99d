"""Runs on videos of several classes at once: their page, the table of runs, and files that do not hold together."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from mvit import overview
from mvit.analysis.report import report
from mvit.data.dataset import Sample
from mvit.evaluation import evaluate, probes
from mvit.evaluation.findings import summary
from mvit.evaluation.metrics import sigmoid
from mvit.evaluation.scoring import Scoring
from probed import alike

CLASSES = ("drink", "read", "sit")
PROTOCOL = "10x3 views, max, 16 segments, short side 73, crop 64"


@pytest.fixture
def run(made, tmp_path) -> Path:
    """A copy of the files of a run, to be changed."""
    return shutil.copytree(made, tmp_path / made.name)


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """The files of a run on forty videos, one of them of no class, and two that are not readable."""
    folder, rng = tmp_path_factory.mktemp("runs") / "charades-1", np.random.default_rng(0)
    labels = rng.random((40, 3)) < 0.4
    labels[0], labels[1] = False, True
    logits = rng.normal(size=(40, 3)) + 2 * labels - 1
    samples = [
        Sample(Path(f"videos/{n}.mp4"), tuple(name for name, own in zip(CLASSES, row, strict=True) if own))
        for n, row in enumerate(labels)
    ]
    lost = (Sample(Path("videos/broken.mp4"), ("sit",)), Sample(Path("videos/gone.mp4"), ()))
    outcome = evaluate.Evaluation(
        classes=CLASSES,
        samples=tuple(samples),
        scores=sigmoid(logits),
        unreadable={sample.id: "it is empty" for sample in lost},
        left_out=lost,
        listed=42,
        protocol=PROTOCOL,
        scoring=Scoring(multi_label=True, aggregate="max"),
    )
    evaluate.write(outcome, folder)
    shown = sigmoid(logits[:, None] * np.array([1, 0.8, 0, 0.2, 0.1])[:, None] + 0.1 * rng.normal(size=(40, 5, 3)))
    found = summary(alike(shown), labels, CLASSES)
    probes.write(
        found | {"orders": 2, "seed": 0, "not_asked": {}, "listed": 40, "unreadable": {}, "protocol": PROTOCOL}, folder
    )
    lines = [
        {
            "epoch": n,
            "lr": 1e-3,
            "loss": 0.7 / n,
            "train_hit1": 0.4,
            "val_map": 0.3 + n / 10,
            "data_wait": 0.1,
            "seconds": 9,
        }
        for n in (1, 2, 3)
    ]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (folder / "recipe.toml").write_text('[model]\nname = "mvit_tiny_16x64"\n[train]\nepochs = 3\nseed = 0\n')
    return folder


def text_of(*runs: Path) -> str:
    page = report(runs, runs[0].parent / "report.html").read_text(encoding="utf-8")
    return " ".join(re.sub(r"<style>.*?</style>|<[^>]*>", " ", page, flags=re.DOTALL).replace("\xa0", " ").split())


def test_the_page_says_what_the_files_say(run):
    result, probe = (json.loads((run / name).read_text()) for name in ("result.json", "probe.json"))
    text = text_of(run)
    assert result["headline"] in text
    assert probe["meaning"] in text
    assert f"{100 * result['map']:.1f} % mAP, 95 % interval over videos" in text
    assert f"hit@1 {100 * result['hit1']:.1f} % equal scores {100 * result['chance']:.1f} %" in text
    assert "classes that have videos 3 of 3 videos 40 of 42" in text
    assert f"unreadable counted as wrong {100 * result['map_unreadable_wrong']:.1f} %" in text
    assert "Hit@1 of train, the share with the highest score in one of their classes, is over clips" in text
    assert "mAP by the order in which the frames of a clip are shown" in text
    for name in CLASSES:
        figures = result["per_class"][name]
        shares = f"{100 * figures['average_precision']:.1f} % {100 * figures['support'] / 40:.1f} %"
        assert f"{name} {figures['support']} {shares}" in text
    assert "Confusions" not in text
    assert "Top-1" not in text


def test_worst_mistakes_name_all_classes_of_a_video(run):
    table = text_of(run).split("Worst mistakes")[1].split("Unreadable videos")[0]
    assert "Videos whose highest score is of none of their classes" in table
    assert re.search(r"videos/0\.mp4 – \w+ 0\.\d{3} –", table)  # of no class
    assert not re.search(r"videos/1\.mp4", table)  # of all
    rows = (run / "scores.csv").read_text().splitlines()[1:]
    assert table.count("videos/") == sum(",0,0." in row for row in rows)


def test_the_table_of_runs_has_map(run, make_run):
    make_run(run.parent / "gestures-1", ("grab", "tap"))
    (rows, _), result = overview.find([run.parent]), json.loads((run / "result.json").read_text())
    row = next(row for row in rows if row.name == "charades-1")
    assert (row.map, row.map_interval, row.top1, row.last_map) == (result["map"], result["map_interval"], None, 0.6)
    head, *lines = overview.table(rows).splitlines()
    assert re.search(r"top-1 % +mAP % +95 %", head)
    low, high = result["map_interval"]
    assert f"{100 * result['map']:.1f}  [{100 * low:.1f}, {100 * high:.1f}]  10x3" in "\n".join(lines)
    (run / "result.json").unlink()
    (line,) = overview.table(overview.find([run])[0]).splitlines()[1:]
    assert "60.0" in line
    assert "on the way" in line


def test_runs_of_both_kinds_stand_side_by_side_and_are_not_taken_as_alike(run, make_run):
    text = text_of(run, make_run(run.parent / "gestures-1", ("grab", "tap")))
    assert "mAP or Top-1 with its 95 % interval" in text
    assert "Some of these runs are judged by mAP" in text
    alone = text_of(run, run)
    assert "run seed mAP [95 %] mean class" in alone
    assert "judged by mAP" not in alone


@pytest.mark.parametrize(
    ("file", "change", "message"),
    [
        ("result.json", {"map_interval": [0.1]}, "map_interval is no pair"),
        ("result.json", {"hit1": None}, "hit1 is a NoneType"),
        ("result.json", {"per_class": {"drink": {"support": 1}}}, "has no 'average_precision'"),
        ("result.json", {"classes": ["drink"]}, "do not fit"),
        ("probe.json", {"reversed": {}}, "reversed has no 'map'"),
    ],
)
def test_files_that_do_not_hold_together_are_refused(run, file, change, message):
    path = run / file
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(ValueError, match=re.escape(message)):
        report([run], run / "report.html")


def test_scores_of_labels_that_are_no_class_are_refused(run):
    (run / "scores.csv").write_text('path,labels,predicted,correct,drink,read,sit\na.mp4,"[""fly""]",sit,0,0,0,1\n')
    with pytest.raises(ValueError, match=r"scores\.csv was not written by this version of mvit: 'fly'"):
        report([run], run / "report.html")
