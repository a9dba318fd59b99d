"""Sweeps in which all variants are pre-trained alike, and have a learning rate each by the same tuning."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from levels import write_levels
from mvit.data.dataset import Listing, find
from mvit.distributed.interruption import Interrupted
from mvit.evaluation.evaluate import RESULT_FILE
from mvit.recipes import recipe as recipes
from mvit.recipes.recipe import Recipe
from mvit.studies import execution, findings, planning, summary, sweep
from mvit.studies.ablations import Study, Variant
from mvit.training import loop
from mvit.training.course import Course
from mvit.training.faults import DivergedError
from studied import DECLARED, declare

OVERRIDES = (
    "model.name=mvit_test_4x32",
    "data.views=[1, 1]",
    "data.val_fraction=0.25",
    "train.epochs=1",
    "train.batch=6",
    "train.workers=0",
    "train.device=cpu",
    "train.precision=float32",
)
RATES = (1e-3, 2e-3)


def made(folder: Path, *levels: int) -> Path:
    """A class for each level of brightness."""
    return write_levels(folder, {str(level): level for level in levels}, {"train": 4, "val": 2}, seed=sum(levels))


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made(tmp_path_factory.mktemp("videos"), 80, 170)


@pytest.fixture(scope="module")
def others(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of other classes, and more of them."""
    return made(tmp_path_factory.mktemp("others"), 50, 125, 200)


@pytest.fixture(scope="module")
def listing(videos: Path) -> Listing:
    return find(videos)


@pytest.fixture
def base() -> Recipe:
    return recipes.load(None, OVERRIDES)


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    variants = {"separate": Variant(), "none": DECLARED["positions"].variants["none"]}
    small = Study(question="?", reference="separate", variants=variants, matched=True)
    data = replace(DECLARED["data"], variants={"100-percent": Variant(), "50-percent": Variant(train_share=0.5)})
    declare(monkeypatch, {"small": small, "data": data})


def quiet(line: str) -> None:
    """What a sweep says is heard by nobody."""


def test_variants_are_pre_trained_tuned_and_trained_and_go_on_where_they_were_stopped(
    base, videos, listing, others, tmp_path, monkeypatch
):
    def planned() -> sweep.Sweep:
        before = (others, find(others))
        return planning.planned(["small"], base, videos, listing, tmp_path / "out", 2, rates=RATES, pretrain=before)

    ended, end_epoch = [], Course.end_epoch

    def stop(course: Course) -> None:
        ended.append(0)
        if len(ended) in (3, 7, 11):  # in the tuning and the runs of what comes before, and in the tuning here
            raise Interrupted
        end_epoch(course)

    monkeypatch.setattr(Course, "end_epoch", stop)
    for _ in range(3):
        with pytest.raises(KeyboardInterrupt):
            execution.carry_out(planned(), echo=quiet)
    chosen, said = planned(), list[str]()
    assert execution.carry_out(chosen, echo=said.append) == {}
    assert "run 1 of 16, pretraining/tuning/0.001/base-0: done before" in said
    assert any(line.startswith("run 16 of 16, small-none-1: begins") for line in said)

    before = chosen.pretraining
    assert before is not None
    _, none = chosen.tasks
    start = before.recipe(before.tasks[1], 1)
    assert (start.model.weights, start.optim.lr, start.train.seed) == ("", before.chosen(before.tasks[1]), 1)
    first = loop.train(start, before.listing, tmp_path / "first", echo=quiet)
    whole = replace(start, model=replace(start.model, weights=str(first)))
    whole = replace(whole, optim=replace(whole.optim, lr=chosen.chosen(none)))
    last = loop.train(whole, listing, tmp_path / "last", echo=quiet)
    for by_hand, run in ((first, before.run(before.tasks[1], 1)), (last, chosen.run(none, 1))):
        ours = (run.folder / "model.safetensors").read_bytes()
        assert ours == (by_hand / "model.safetensors").read_bytes(), run.folder

    learned, judged = set(), set()
    for tried in chosen.tuning.values():
        assert tried.seeds == (0,)
        split = find(tried.run(none, 0).split)
        learned |= {sample.id for sample in split.train}
        judged |= {sample.id for sample in split.val}
    assert not learned & judged
    assert learned | judged == {sample.id for sample in listing.train}, "val is not looked at"

    found = findings.record(chosen)
    assert found["complete"]
    assert found["pretraining"]["data"]["path"] == str(others)
    row = found["studies"]["small"]["variants"]["none"]
    assert row["pretraining"]["runs"] == ["pretraining/small-none-0", "pretraining/small-none-1"]
    assert row["tuning"]["chosen"] == recipes.load(chosen.run(none, 0).recipe).optim.lr
    assert set(row["tuning"]["tried"]) == {"0.001", "0.002"}
    table = summary.describe(found)
    assert f"starts from its variant's of the same seed on {others}: 12 videos, 3 classes" in table
    assert "lr: the best of 0.001 0.002 by one run each with seed 0, judged on 2 videos held out of train" in table
    where = tmp_path / "out"
    planned = summary.plan(chosen).splitlines()
    assert planned[-7:-5] == [f"16 runs in {where}, 16 of them done", f"  2 in {where / 'pretraining/tuning/0.001'}"]
    assert planned[-3:] == [f"  2 in {where / 'tuning/0.001'}", f"  2 in {where / 'tuning/0.002'}", f"  4 in {where}"]

    begun = tmp_path / "begun"
    begun.mkdir()
    (begun / sweep.SETTINGS).write_bytes((tmp_path / "out" / sweep.SETTINGS).read_bytes())
    assert planning.planned(["small"], base, videos, listing, begun, 2).folder == begun, "it was killed as it began"
    for wanted, message in (
        ({}, "was begun with --pretrain .*, and this is without --pretrain"),
        ({"pretrain": (others, find(others))}, "with --rates 0.001 0.002, and this is without --rates"),
    ):
        with pytest.raises(ValueError, match=message):
            planning.planned(["small"], base, videos, listing, tmp_path / "out", 2, **wanted)


def test_each_variant_has_the_rate_that_does_best_on_videos_held_out_of_train(
    base, videos, listing, others, tmp_path, monkeypatch
):
    """Training is left out: what a rate comes to is said here."""
    come_to = {"base": {1e-3: 0.5, 2e-3: 0.75, 4e-3: 0.75}, "small-none": {1e-3: 0.25, 2e-3: 0.5, 4e-3: 0.9}}
    rates, trained = {}, []

    def train(recipe, listing, out, **options):
        name = out.name.rpartition("-")[0]
        if out.parent.parent.name == "tuning" and (name, recipe.optim.lr) == ("small-none", 4e-3):
            raise DivergedError("it diverged")
        trained.append(out.name)
        rates[out] = recipe.optim.lr
        out.mkdir(parents=True)
        (out / RESULT_FILE).write_text(json.dumps({"top1": come_to[name][recipe.optim.lr], "protocol": "?"}))
        (out / "metrics.jsonl").write_text(json.dumps({"clips_per_second": 1.0}) + "\n")

    monkeypatch.setattr(execution.loop, "train", train)
    chosen = planning.planned(["small"], base, videos, listing, tmp_path / "out", 2, rates=(4e-3, 1e-3, 2e-3))
    diverged = execution.carry_out(chosen, echo=quiet)
    assert diverged == {"tuning/0.004/small-none-0": "it diverged"}
    assert {rates[chosen.run(task, seed).folder] for task, seed in chosen.runs()} == {2e-3}, "of equal ones the lowest"
    assert len(trained) == 9
    found = findings.record(chosen, diverged)
    assert found["studies"]["small"]["variants"]["none"]["tuning"]["tried"] == {"0.001": 0.25, "0.002": 0.5}
    table = summary.describe(found)
    assert "-none: 25.0 at 0.001, 50.0 at 0.002" in table
    assert "tuning/0.004/small-none-0 came to no result" in table

    monkeypatch.setattr(execution.loop, "train", lambda *a, **o: (_ for _ in ()).throw(DivergedError("it diverged")))
    never = planning.planned(["small"], base, videos, listing, tmp_path / "never", 2, rates=RATES)
    assert execution.carry_out(never, echo=quiet)["small-none-1"] == "it learned at none of the learning rates"
    before = (others, find(others))
    never = planning.planned(["small"], base, videos, listing, tmp_path / "unbegun", 2, pretrain=before)
    assert "pretraining/small-none-1 to start from" in execution.carry_out(never, echo=quiet)["small-none-1"]


def test_parts_of_the_videos_are_learned_from_after_the_same_pre_training(base, videos, listing, others, tmp_path):
    before = (others, find(others))
    chosen = planning.planned(["data"], base, videos, listing, tmp_path / "out", 2, rates=RATES, pretrain=before)
    whole, half = chosen.tasks
    assert chosen.pretraining is not None
    assert chosen.start(half) is not None
    assert {chosen.start(task).name for task in (whole, half)} == {"base"}
    assert len(chosen.pretraining.runs()) == 2
    tried = chosen.tuning[1e-3]
    assert (len(tried.videos(whole, 0).train), len(tried.videos(half, 0).train)) == (6, 4)
    assert tried.videos(half, 0).val == tried.videos(whole, 0).val
    assert tried.tasks[1].recipe.train.epochs == 2
    assert not (tmp_path / "out").exists()


def test_what_would_not_be_fair_is_refused(base, videos, listing, others, tmp_path):
    def refused(**wanted):
        return planning.planned(["small"], base, videos, listing, tmp_path / "out", 2, **wanted)

    for rates in ((1e-3,), (1e-3, 1e-3)):
        with pytest.raises(ValueError, match="name two or more with --rates, each once"):
            refused(rates=rates)
    with pytest.raises(ValueError, match=r"optim.lr is -1"):
        refused(rates=(-1.0, 1e-3))
    other = find(others)
    with pytest.raises(ValueError, match="what has learned from them cannot be judged by them"):
        refused(pretrain=(others, replace(other, train=(*other.train, listing.val[0]))))
    with pytest.raises(ValueError, match=r"no video of .* is held out"):
        refused(pretrain=(others, replace(other, val=())))
    one_each = replace(listing, train=(listing.train[0], listing.train[-1]))
    with pytest.raises(ValueError, match=r"can be held out without emptying a class: leave out --rates"):
        planning.planned(["small"], base, videos, one_each, tmp_path / "out", 2, rates=RATES)


@pytest.mark.slow
def test_other_libraries_models_are_pre_trained_and_tuned_like_ours(
    videos, listing, others, tmp_path, monkeypatch, library
):
    names = {"timesformer": "transformers", "video-swin": "torchvision"}
    for module in names.values():
        library(module, "baselines")
    controls = DECLARED["controls"]
    some = replace(controls, variants={name: controls.variants[name] for name in ("mvit", *names)})
    declare(monkeypatch, {"controls": some})
    recipe = recipes.load(
        recipes.path_of("study"), [override for override in OVERRIDES if not override.startswith("model.name")]
    )
    before = (others, find(others))
    chosen = planning.planned(["controls"], recipe, videos, listing, tmp_path / "out", 2, rates=RATES, pretrain=before)
    assert execution.carry_out(chosen, echo=quiet) == {}
    for task in chosen.tasks:
        weights = recipes.load(chosen.run(task, 1).recipe).model.weights
        assert weights == str(tmp_path / "out" / "pretraining" / f"{task.name}-1")
    rows = findings.record(chosen)["studies"]["controls"]["variants"]
    assert {len(row["tuning"]["tried"]) for row in rows.values()} == {2}
