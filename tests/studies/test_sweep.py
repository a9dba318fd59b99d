"""Studies carried out on real files: what is run, kept, gone on with and refused, and what is found."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from levels import write_levels
from mvit.cli import main
from mvit.commandline import USERS_INPUT
from mvit.data import demo
from mvit.data.dataset import Listing, find
from mvit.data.samples import Sample
from mvit.distributed.interruption import Interrupted
from mvit.recipes import recipe as recipes
from mvit.recipes.recipe import Recipe
from mvit.studies import ablations, costs, execution, findings, footprint, planning, summary, sweep
from mvit.studies.ablations import Printed, Study, Variant
from mvit.studies.spread import contrast
from mvit.training.course import Course
from mvit.training.faults import DivergedError
from studied import DECLARED, declare

OVERRIDES = (
    "model.name=mvit_test_4x32",
    "data.views=[1, 1]",
    "train.epochs=2",
    "train.batch=6",
    "train.workers=0",
    "train.device=cpu",
    "train.precision=float32",
)


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """train/ and val/ with the classes bright and dark: 6 and 3 videos each."""
    levels = {"bright": 170, "dark": 80}
    return write_levels(tmp_path_factory.mktemp("videos"), levels, {"train": 6, "val": 3})


@pytest.fixture(scope="module")
def listing(videos: Path) -> Listing:
    return find(videos)


@pytest.fixture
def base() -> Recipe:
    return recipes.load(None, OVERRIDES)


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """A study of two variants, the second printed at 2 points less, and one of parts of the videos."""
    variants = {
        "separate": Variant(printed=Printed(top1=77.2)),
        "none": DECLARED["positions"].variants["none"],
    }
    small = Study(question="?", reference="separate", variants=variants, matched=True)
    data = replace(DECLARED["data"], variants={"100-percent": Variant(), "50-percent": Variant(train_share=0.5)})
    declare(monkeypatch, {"small": small, "data": data})


def planned(base: Recipe, videos: Path, listing: Listing, folder: Path, *names: str, seeds: int = 2) -> sweep.Sweep:
    return planning.planned(names or ("small",), base, videos, listing, folder, seeds)


def quiet(line: str) -> None:
    """What a sweep says is heard by nobody."""


def test_a_sweep_that_was_stopped_goes_on_and_ends_as_one_that_was_not(base, videos, listing, tmp_path, monkeypatch):
    whole = planned(base, videos, listing, tmp_path / "whole", "small", "data")
    assert execution.carry_out(whole, echo=quiet) == {}
    names = {"base", "small-none", "data-50-percent"}
    assert {path.name for path in whole.folder.iterdir() if path.is_dir()} == {
        f"{n}-{s}" for n in names for s in (0, 1)
    }

    stopped = planned(base, videos, listing, tmp_path / "stopped", "small", "data")
    done, end_epoch = [], Course.end_epoch

    def stop(course: Course) -> None:
        if len(done) == 3:  # the second of six runs has learned an epoch and half of another
            done.append(0)
            raise Interrupted
        done.append(0)
        end_epoch(course)

    monkeypatch.setattr(Course, "end_epoch", stop)
    said: list[str] = []
    with pytest.raises(KeyboardInterrupt):
        execution.carry_out(stopped, echo=said.append)
    assert said[-1].endswith("and saved: the same command goes on"), "that of the sweep, which has no --resume"
    assert [stopped.is_done(*one) for one in stopped.runs()] == [True, False, False, False, False, False]
    first = stopped.folder / "base-0" / "model.safetensors"
    before = first.stat().st_mtime_ns
    said.clear()
    execution.carry_out(planned(base, videos, listing, stopped.folder, "small", "data"), echo=said.append)
    assert first.stat().st_mtime_ns == before
    assert said[0] == "run 1 of 6, base-0: done before"
    assert any("small-none-0: going on" in line for line in said)
    assert any(line.endswith("for all that is left") for line in said), (
        "what is left is estimated after the first whole run"
    )
    for task, seed in whole.runs():
        ours, theirs = (each.run(task, seed).folder / "model.safetensors" for each in (whole, stopped))
        assert ours.read_bytes() == theirs.read_bytes(), ours

    findings.probe(whole, orders=2)
    found = findings.record(whole)
    rows = found["studies"]["small"]["variants"]
    top1 = {
        name: [json.loads((whole.folder / f"{name}-{seed}" / "result.json").read_text())["top1"] for seed in (0, 1)]
        for name in ("base", "small-none")
    }
    assert found["complete"]
    assert rows["none"]["top1"]["values"] == top1["small-none"]
    expected = contrast([100 * value for value in top1["small-none"]], [100 * value for value in top1["base"]])
    assert rows["none"]["difference"] == expected.to_dict()
    assert rows["separate"]["difference"] is None
    assert rows["none"]["printed_difference"] == -1.4
    assert len(rows["none"]["shuffled"]["values"]) == 2
    assert rows["none"]["gmac"] > 0
    assert (found["seeds"], found["data"]["val"], found["metric"]) == ([0, 1], 6, "top1")
    half = json.loads((whole.folder / "data-50-percent-1" / "metrics.jsonl").read_text().splitlines()[-1])
    assert (half["epoch"], half["step"]) == (4, 4), "half the videos, twice the epochs"
    assert "paper" in summary.describe(found)
    found["studies"], row = {"small": found["studies"]["small"]}, rows["none"]
    for low, high, resolvable, said in (
        (None, None, None, "-20.0 in every pair, no interval"),
        (-50.0, 10.0, 9.0, "-20.0 [-50.0, +10.0] not resolvable"),
        (-30.0, -10.0, 9.0, "-20.0 [-30.0, -10.0]"),
    ):
        row["difference"] |= {
            "mean": -20.0,
            "low": low,
            "high": high,
            "resolvable": resolvable,
            "resolved": high == -10,
        }
        table = summary.describe(found)
        assert re.search(rf"{re.escape(said)}  ", table)
        assert ("no interval: all pairs differ alike" in table) == (low is None)
    assert "(of 1)" not in table
    row["pairs"], row["shuffled"] = 1, {"mean": 0.5, "values": [0.5]}
    table = summary.describe(found)
    assert "-20.0 [-30.0, -10.0] (of 1)" in table
    assert "50.0 (of 1)  2" in table
    with pytest.raises(ValueError, match=r"begun with another recipe \(train.epochs: 2 -> 3\)"):
        planned(replace(base, train=replace(base.train, epochs=3)), videos, listing, whole.folder)


def test_a_variant_that_diverges_is_named_and_left_out(base, videos, listing, tmp_path, monkeypatch):
    chosen = planned(base, videos, listing, tmp_path / "sweep")
    train = execution.loop.train

    def diverge(recipe, listing, out, **options):
        if out.name == "small-none-1":
            raise DivergedError("it diverged")
        return train(recipe, listing, out, **options)

    monkeypatch.setattr(execution.loop, "train", diverge)
    diverged = execution.carry_out(chosen, echo=quiet)
    assert diverged == {"small-none-1": "it diverged"}
    found = findings.record(chosen, diverged)
    assert not found["complete"]
    row = found["studies"]["small"]["variants"]["none"]
    assert (len(row["top1"]["values"]), row["difference"]) == (1, None)
    assert "small-none-1 came to no result, and is left out: it diverged" in summary.describe(found)


def test_a_plan_writes_nothing(base, videos, listing, tmp_path):
    told = summary.plan(planned(base, videos, listing, tmp_path / "sweep"))
    assert "4 runs in" in told
    assert "NOT COMPLETE" not in told, "there is nothing yet that could be"
    assert "paper: top-1 printed" in told
    for column in ("ours", "difference", "resolves", "(of k)"):
        assert f"\n{column}: " not in told, "what is no column is not explained"
    assert not (tmp_path / "sweep").exists()


def test_variants_may_be_named(base, videos, listing, tmp_path, monkeypatch):
    declare(monkeypatch, DECLARED)

    def names(*studies: str, only: tuple[str, ...]) -> list[str]:
        return [
            task.name for task in planning.planned(studies, base, videos, listing, tmp_path / "out", 2, only=only).tasks
        ]

    assert names("positions", only=("joint",)) == ["base", "positions-joint"]
    assert names("positions", "kv-stride", only=("none",)) == ["base", "positions-none", "base", "kv-stride-none"]
    with pytest.raises(ValueError, match="no variant is called 'jiont': did you mean 'joint'"):
        names("positions", only=("none", "jiont"))
    with pytest.raises(ValueError, match="no variant of the study kv-stride: beside adaptive there are none, fixed"):
        names("positions", "kv-stride", only=("joint",))


NONE = DECLARED["positions"].variants["none"]
AGAIN = Study(
    question="?",
    reference="all",
    variants={
        "all": Variant(),
        "all-again": Variant(),
        "none-again": NONE,
        "half-again": Variant(train_share=0.5),
        "half-and-none": replace(NONE, train_share=0.5),
    },
)


def test_variants_that_come_to_the_same_share_their_runs(base, videos, listing, tmp_path, monkeypatch):
    declare(monkeypatch, {**ablations.STUDIES, "again": AGAIN})
    both = planned(base, videos, listing, tmp_path, "small", "data", "again")
    assert [task.name for task in both.tasks] == [
        *("base", "small-none", "base", "data-50-percent"),
        *("base", "base", "small-none", "data-50-percent", "again-half-and-none"),
    ]
    assert len(both.runs()) == 2 * 4
    said = summary.plan(both)
    assert "again-none-again is the same as small-none, and has its runs" in said
    assert "again-all-again is the same as base, and has its runs" in said
    assert "again-all is" not in said, "that of the reference goes unsaid"
    assert findings.record(both)["protocol"].startswith(
        "each variant trained from scratch by the same recipe on the same videos (data: parts of them; again: parts of "
        "them) with every seed;"
    )
    turned = planned(base, videos, listing, tmp_path, "again", "data", "small")
    assert [task.name for task in turned.tasks] == [
        task.name for task in (*both.tasks[4:], *both.tasks[2:4], *both.tasks[:2])
    ]


def test_runs_that_stand_are_those_of_all_variants_that_come_to_the_same(base, videos, listing, tmp_path, monkeypatch):
    declare(monkeypatch, {**ablations.STUDIES, "again": AGAIN})
    alone = planned(base, videos, listing, tmp_path / "none", "again")
    assert [task.name for task in alone.tasks[2:]] == [f"again-{name}" for name in list(AGAIN.variants)[2:]]
    (tmp_path / sweep.RECIPE).write_text(recipes.dumps(base))
    for task, seed in ((alone.tasks[2], 0), (alone.tasks[3], 1)):
        recipe = replace(task.recipe, train=replace(task.recipe.train, seed=seed, workers=7))
        (tmp_path / f"{task.name}-{seed}").mkdir()
        (tmp_path / f"{task.name}-{seed}" / sweep.RECIPE).write_text(recipes.dumps(recipe))
    every = planned(base, videos, listing, tmp_path, "small", "data", "again")
    own = [task.name for task in alone.tasks]
    assert [task.name for task in every.tasks] == ["base", "again-none-again", "base", "again-half-again", *own]


def test_a_study_of_nothing_but_the_base_is_refused(base, videos, listing, tmp_path, monkeypatch):
    declare(monkeypatch, {"alike": replace(AGAIN, variants={"all": Variant(), "the-same": Variant()})})
    with pytest.raises(ValueError, match="all variants of the study alike are the same"):
        planned(base, videos, listing, tmp_path, "alike")


@pytest.mark.parametrize(("count", "batch", "epochs"), [(12, 6, 4), (12, 5, 3), (7, 16, 2), (100, 6, 4)])
def test_parts_of_the_videos_take_as_many_steps(base, videos, listing, tmp_path, count, batch, epochs):
    """12 videos are 3 steps of 5, their half 2: half as many epochs more; 7 and 4 are one step of 16 either way."""
    train = tuple(Sample(Path(f"{n}.mp4"), ("bright", "dark")[n % 2]) for n in range(count))
    recipe = replace(base, train=replace(base.train, batch=batch))
    half = planned(recipe, videos, replace(listing, train=train), tmp_path, "data").tasks[1].recipe.train
    assert half.epochs == epochs
    kept = sum(-(-each // 2) for each in (-(-count // 2), count // 2))
    assert half.epochs * -(-kept // batch) == pytest.approx(2 * -(-count // batch), abs=-(-kept // batch) / 2)


def test_what_cannot_be_is_refused(base, videos, listing, tmp_path):
    def refused(recipe: Recipe = base, names: tuple[str, ...] = ("small",), there: Listing = listing, seeds: int = 2):
        return planning.planned(names, recipe, videos, there, tmp_path / "sweep", seeds)

    for names, message in (
        (("smal",), "did you mean 'small'"),
        (("small", "data.frames=8"), "data.frames=8 stands behind --study or --only and is taken for a name"),
        ((), "at least one study"),
        (("small",) * 2, "each once"),
    ):
        with pytest.raises(ValueError, match=message):
            refused(names=names)
    with pytest.raises(ValueError, match=r"^1 seed shows no spread: take at least 2, and 5"):
        refused(seeds=1)
    with pytest.raises(ValueError, match=r"no video of .* is held out"):
        refused(there=replace(listing, val=()))
    with pytest.raises(ValueError, match="start from scratch"):
        refused(replace(base, model=replace(base.model, weights="run")))
    with pytest.raises(ValueError, match="differ between variants"):
        refused(replace(base, train=replace(base.train, batch="auto")))
    (tmp_path / "sweep").mkdir()
    (tmp_path / "sweep" / "thesis.txt").touch()
    with pytest.raises(ValueError, match="something else than a sweep"):
        refused()
    (tmp_path / "sweep" / "recipe.toml").write_text(recipes.dumps(base))
    (tmp_path / "sweep" / "run.json").write_text("{}")
    with pytest.raises(ValueError, match="sweep is a run, and a sweep is a folder of runs"):
        refused()


def test_images_are_not_asked_about_time(videos, listing, base, monkeypatch):
    timed = replace(DECLARED["positions"])
    declare(monkeypatch, {"positions": timed})
    image = recipes.load(None, [*OVERRIDES, "data.frames=1"])
    with pytest.raises(ValueError, match="asks about time"):
        planning.planned(["positions"], image, videos, listing, Path("nowhere"), 2)


def test_videos_are_not_asked_what_is_of_images(videos, listing, base, monkeypatch):
    declare(monkeypatch, {"image-controls": DECLARED["image-controls"]})
    with pytest.raises(ValueError, match=r"of images, and clips here have 4 frames: for images take --recipe images"):
        planning.planned(["image-controls"], base, videos, listing, Path("nowhere"), 2)


def test_objects_of_other_sizes_are_planted_in_sets_like_the_one_given(base, tmp_path, monkeypatch, videos, listing):
    planted = Study(question="?", reference="1", variants={"1": Variant(), "0.5": Variant(object_size=0.5)})
    declare(monkeypatch, {"object-size": planted})
    with pytest.raises(ValueError, match="is no demo set"):
        planning.planned(["object-size"], base, videos, listing, tmp_path / "sweep", 2)
    data = demo.make(tmp_path / "demo", train=8, val=8, size=32, seed=3)
    chosen = planning.planned(["object-size"], base, data, find(data), tmp_path / "sweep", 2)
    small = next(task for task in chosen.tasks if task.variant == "0.5")
    made = chosen.videos(small, 0, quiet)
    assert {sample.path.parents[2].name for sample in made.train} == {"demo-0.5"}
    assert demo.settings_of(tmp_path / "sweep" / "demo-0.5") == demo.settings_of(data) | {"object_size": 0.5}


def test_the_command_says_what_is_wrong_in_a_sentence(videos, capsys):
    assert main(["ablate", str(videos), "--study", "positon"]) == USERS_INPUT
    assert "no study is called 'positon'" in capsys.readouterr().err


def test_images_are_not_probed_after_all_was_trained(videos, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(execution, "carry_out", None)
    options = ("--recipe", "scratch", "--study", "data", "--probe", "--out", str(tmp_path / "sweep"))
    assert main(["ablate", str(videos), *OVERRIDES, "data.frames=1", *options]) == USERS_INPUT
    assert "--probe asks what the order of frames is worth, and images have none" in capsys.readouterr().err


def test_what_cannot_be_measured_is_said_before_anything_is_trained(videos, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(footprint, "STATUS", tmp_path / "status")
    monkeypatch.setattr(execution, "carry_out", None)
    options = ("--recipe", "scratch", "--study", "small", "--measure", "--out", str(tmp_path / "sweep"))
    assert main(["ablate", str(videos), *OVERRIDES, *options]) == USERS_INPUT
    assert f"memory on a CPU is read by {tmp_path / 'status'}, which is not there" in capsys.readouterr().err
    monkeypatch.setattr(costs, "_is_measured", lambda chosen, sweep: True)
    with pytest.raises(TypeError, match="'NoneType'"):  # it goes on to the trainings
        main(["ablate", str(videos), *OVERRIDES, *options])
