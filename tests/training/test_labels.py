"""Videos of several classes at once: learned, judged by mAP, predicted; and mixtures that are refused."""

import csv
import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mvit
from mvit import cli
from mvit.data import video
from mvit.data.dataset import find
from mvit.recipes.recipe import load
from mvit.training import judge, loop

COLOURS = {"blue": 2, "red": 0}
COMBINATIONS = [(), ("blue",), ("red",), ("blue", "red")]
RECIPE = (
    "model.name=mvit_test_4x32",
    "data.views=[2, 3]",
    "data.aggregate=max",
    "augment.scale=[0.5, 1.0]",
    "optim.lr=8e-3",
    "optim.mixup=0.2",
    "optim.cutmix=1.0",
    "optim.cutmix_odds=0.3",
    "train.epochs=16",
    "train.evaluate_every=8",
    "train.batch=8",
    "train.workers=0",
    "train.device=cpu",
    "train.precision=float32",
)


def write_table(table: Path, rows: list[dict[str, Any]]) -> Path:
    table.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return table


@pytest.fixture(scope="module")
def rows(tmp_path_factory) -> list[dict[str, Any]]:
    """Videos that are blue, red, both or neither: 6 of each to learn from, 3 to judge by; 8 frames of 40x32."""
    folder, rng, made = tmp_path_factory.mktemp("videos"), np.random.default_rng(0), []
    for number, colours in itertools.product(range(9), COMBINATIONS):
        frames = rng.normal(60, 25, (8, 32, 40, 3))
        frames[..., [COLOURS[name] for name in colours]] += 120
        path = folder / f"{'-'.join(colours) or 'grey'}-{number}.mp4"
        video.write(path, np.clip(frames, 0, 255).astype(np.uint8))
        label: Any = colours[0] if len(colours) == 1 else list(colours)
        made.append({"path": str(path), "label": label, "split": "val" if number > 5 else "train"})
    return made


@pytest.fixture(scope="module")
def table(rows, tmp_path_factory) -> Path:
    return write_table(tmp_path_factory.mktemp("table") / "colours.jsonl", rows)


@pytest.fixture(scope="module")
def said() -> list[str]:
    return []


@pytest.fixture(scope="module")
def run(table, said, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "run"
    return loop.train(load(None, RECIPE), find(table), out, echo=said.append)


def metrics(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def scores_of(table: Path) -> dict[str, list[float]]:
    with table.open(newline="") as file:
        return {row["path"]: [float(row[name]) for name in COLOURS] for row in csv.DictReader(file)}


def test_both_properties_are_learned_and_judged_by_map(run, said):
    result = json.loads((run / "result.json").read_text())
    assert result["map"] > 0.9 > result["chance"] == pytest.approx(0.5)
    assert result["map_interval"][0] > 0.5
    assert (result["videos"], result["map_classes"], result["classes"]) == (12, 2, ["blue", "red"])
    assert said[-1].startswith(f"mAP {100 * result['map']:.1f} % [")
    assert "(2x3 views, max, 4 segments, short side 37, crop 32; 12 of 12 videos), the last epoch" in said[-1]
    for path, scores in scores_of(run / "scores.csv").items():
        assert [name for name, score in zip(COLOURS, scores, strict=True) if score > 0.5] == [
            name for name in COLOURS if name in Path(path).name
        ]
    assert any("2 classes, of which a video has 0 to 2, each learned by itself, 24 videos" in line for line in said)
    first, *_, last = metrics(run)
    assert last["loss"] < 0.8 * first["loss"]
    assert [line["epoch"] for line in metrics(run) if "val_map" in line] == [8, 16]
    assert last["train_hit1"] > 0.4  # a fourth of the clips is of no class, and no answer is right
    assert not [name for line in metrics(run) for name in line if "top1" in name]


def test_evaluation_and_prediction_give_the_same_sigmoids(run, table, tmp_path, capsys):
    written = scores_of(run / "scores.csv")
    assert max(sum(scores) for scores in written.values()) > 1.2  # no softmax
    predictor = mvit.load(run)
    for path, scores in written.items():
        predicted = predictor.predict(path)
        assert [predicted[name] for name in COLOURS] == pytest.approx(scores, abs=1e-5)
    assert cli.main(["evaluate", str(run), str(table), "--out", str(tmp_path)]) == 0
    assert "mAP " in capsys.readouterr().out
    again = scores_of(tmp_path / "scores.csv")
    assert all(again[path] == pytest.approx(scores, abs=1e-5) for path, scores in written.items())
    assert cli.main(["predict", str(run), next(iter(written))]) == 0
    assert "(sigmoids: of several classes at once)" in capsys.readouterr().out
    assert cli.main(["predict", str(run), next(iter(written)), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["activation"] == "sigmoid"


def test_the_run_folder_says_what_was_given(run, table):
    description = json.loads((run / "model.json").read_text())
    assert (description["multi_label"], description["aggregate"]) == (True, "max")
    assert description["protocol"].startswith("2x3 views, max, ")
    assert not (run / "split.csv").exists()
    again, listing = find(run / "split.jsonl"), find(table)
    assert (again.classes, again.train, again.val) == (listing.classes, listing.train, listing.val)


def test_a_run_that_was_stopped_ends_at_the_same_scores(run, table, tmp_path):
    stopped = tmp_path / "run"

    def hear(line: str) -> None:
        if line.startswith("epoch 9/"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        loop.train(load(None, RECIPE), find(table), stopped, echo=hear)
    loop.train(load(None, RECIPE), find(table), stopped, resume=True, echo=lambda line: None)
    assert scores_of(stopped / "scores.csv") == scores_of(run / "scores.csv")
    assert [line["loss"] for line in metrics(stopped)] == [line["loss"] for line in metrics(run)]


def test_other_labels_do_not_go_on(run, rows, tmp_path):
    changed = [row | {"label": ["blue", "red"]} if n == 0 else row for n, row in enumerate(rows)]
    with pytest.raises(ValueError, match="was started with another train"):
        loop.train(load(None, RECIPE), find(write_table(tmp_path / "x.jsonl", changed)), run, resume=True)


def test_the_best_epoch_is_chosen_by_map(table, tmp_path):
    recipe = load(None, [*RECIPE, "train.epochs=4", "train.evaluate_every=1", "train.holdout=0.3"])
    said: list[str] = []
    run = loop.train(recipe, find(table), tmp_path / "run", echo=said.append)
    seen = [line["holdout_map"] for line in metrics(run)]
    best = max(range(4), key=lambda place: (seen[place], place)) + 1
    assert said[-1].endswith(f", epoch {best}, the best on the holdout")


def test_a_model_that_learned_nothing_is_said_to_be_no_better_than_equal_scores():
    assert judge.no_better_than({"map": 0.26, "chance": 0.25}, ()) is None
    said = judge.no_better_than({"map": 0.25, "chance": 0.25}, ())
    assert said == "the same scores for every video would have an mAP of 25.0%"


def test_unreadable_videos_are_counted_as_never_found(rows, tmp_path):
    broken = tmp_path / "broken.mp4"
    broken.write_text("no video")
    listed = [*rows, {"path": str(broken), "label": ["blue", "red"], "split": "val"}]
    recipe = load(None, [*RECIPE, "train.epochs=1", "train.evaluate_every=1"])
    said: list[str] = []
    run = loop.train(recipe, find(write_table(tmp_path / "x.jsonl", listed)), tmp_path / "run", echo=said.append)
    result = json.loads((run / "result.json").read_text())
    assert (result["videos"], result["listed"]) == (12, 13)
    assert result["map_unreadable_wrong"] == pytest.approx(result["map"] * 6 / 7)  # six of each class can be read
    assert "% with 1 unreadable counted wrong" in "\n".join(said)


# ---- what is refused -------------------------------------------------------------------------------------------------


def test_a_val_of_one_class_each_is_no_val_of_several(rows, tmp_path):
    several = write_table(tmp_path / "train.jsonl", [{"path": r["path"], "label": r["label"]} for r in rows[:24]])
    one = write_table(tmp_path / "val.jsonl", [{"path": r["path"], "label": "red"} for r in rows[24:]])
    for train, val, said in (
        (several, one, r"train \(.*\) has videos of several classes or of none, but val \(.*\) gives each video one"),
        (one, several, r"val \(.*\) has videos of several classes or of none, but train \(.*\) gives each video one"),
    ):
        with pytest.raises(ValueError, match=said):
            find(train, val=val)


def test_a_val_of_no_class_at_all_is_refused_before_anything_is_written(rows, tmp_path):
    bare = [row | ({"label": []} if row["split"] == "val" else {}) for row in rows]
    listing = find(write_table(tmp_path / "x.jsonl", bare))
    with pytest.raises(ValueError, match="no video of val is of any class: there is nothing to judge by"):
        loop.train(load(None, RECIPE), listing, tmp_path / "run", echo=lambda line: None)
    assert not (tmp_path / "run").exists()


def test_a_val_of_which_nothing_readable_is_of_any_class_is_refused(rows, tmp_path):
    (broken := tmp_path / "broken.mp4").write_text("no video")
    bare = [row for row in rows if row["split"] == "train" or row["label"] == []]
    listing = find(write_table(tmp_path / "x.jsonl", [*bare, {"path": str(broken), "label": "red", "split": "val"}]))
    with pytest.raises(ValueError, match="no video of 1 with a class in val can be read, so there is"):
        loop.train(load(None, RECIPE), listing, tmp_path / "run", echo=lambda line: None)


def test_a_model_of_several_classes_is_not_judged_on_one_each(run, rows, tmp_path, capsys):
    one = write_table(tmp_path / "one.jsonl", [{"path": r["path"], "label": "red"} for r in rows])
    for command in ("evaluate", "probe"):
        assert cli.main([command, str(run), str(one)]) == 2
        said = capsys.readouterr().err
        assert "are of one class each, but those that the model learned from of several classes or of none" in said
