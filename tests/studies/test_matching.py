"""Sizes that are found by measuring: how the search goes on, what it keeps, and what it refuses."""

import json
from dataclasses import replace
from math import inf
from pathlib import Path
from types import SimpleNamespace

import pytest

from mvit.data.samples import Listing, Sample
from mvit.recipes import recipe as recipes
from mvit.studies import costs, execution, findings, matching, planning, summary
from mvit.studies.sweep import SETTINGS, Matching, Sweep
from mvit.training import loop
from studied import DECLARED, declare

SMALL = ("model.name=mvit_tiny_16x64", "train.batch=2", "train.device=cpu", "train.precision=float32")
CLIP = ("data.frames=8", "data.crop=48", "data.short_side=48")


@pytest.fixture
def plan(tmp_path):
    """Of videos that are nowhere, as nothing is trained."""
    train, val = ((Sample(Path(f"/{part}/{label}.mp4"), (label,)) for label in "ab") for part in ("train", "val"))
    listing = Listing(("a", "b"), tuple(train), tuple(val), "")
    base = recipes.load(None, (*SMALL, *CLIP))

    def planned(matching: Matching | None, *names: str) -> Sweep:
        folder = tmp_path / "sweep"
        return planning.planned(names or ("multiscale",), base, Path("videos"), listing, folder, 2, matching=matching)

    return planned


def takes(factors: dict[str, float], power: float = 1.0):
    """A machine on which a variant takes so many times what its multiply-adds say, to a power."""

    def measured(sweep: Sweep, by: str) -> dict[str, float]:
        macs = {task.name: task.cost.macs for task in sweep.tasks}
        return {name: factors.get(name, 1.0) * (macs[name] / macs["base"]) ** power for name in macs}

    return measured


FACTORS = {"multiscale-columnar": 0.6, "multiscale-columnar-kv-pooled": 1.0, "multiscale-merged": 1.5}


@pytest.mark.parametrize("power", [1.0, 0.7])
def test_each_size_is_found_at_which_a_step_takes_as_much(plan, monkeypatch, power):
    monkeypatch.setattr(costs, "of_reference", takes(FACTORS, power))
    sweep = matching.matched(plan, "time")
    taken = takes(FACTORS, power)(sweep, "time")
    assert all(abs(value - 1) <= 0.1 for value in taken.values())
    macs = {task.name: task.cost.macs for task in sweep.tasks}
    assert macs["multiscale-columnar"] > 1.3 * macs["base"]
    assert macs["multiscale-merged"] < 0.8 * macs["base"]
    assert sweep.matching.shares["multiscale-columnar-kv-pooled"] == 1.0, "what fits at once is left alone"
    planned = summary.plan(sweep).splitlines()
    first = planned.index("sizes that are not the base's, stage by stage, of this search, and not kept:")
    for line, name in zip(planned[first + 1 :], FACTORS, strict=False):
        model = next(task.recipe.model_config(2) for task in sweep.tasks if task.name == name)
        depths, widths, heads = (" ".join(map(str, numbers)) for numbers in (model.depths, model.widths, model.heads))
        assert line == f"  {name}: depths {depths}, widths {widths}, heads {heads}"


def test_what_was_found_is_kept_for_the_folder(plan, monkeypatch):
    monkeypatch.setattr(costs, "of_reference", takes(FACTORS))
    monkeypatch.setattr(loop, "train", lambda *given, **named: None)
    found = matching.matched(plan, "memory")
    execution.carry_out(found, echo=lambda line: None)
    written = json.loads((found.folder / SETTINGS).read_text(encoding="utf-8"))["match"]
    assert written["by"] == "memory"
    assert written["shares"] == dict(found.matching.shares)

    monkeypatch.setattr(costs, "of_reference", lambda *given: pytest.fail("measured again"))
    again = matching.matched(plan, "memory")
    assert [task.recipe for task in again.tasks] == [task.recipe for task in found.tasks]
    with pytest.raises(ValueError, match="was begun with --match memory, and this is without --match"):
        plan(None)
    with pytest.raises(ValueError, match="was begun with --match memory, and this is with --match time"):
        matching.matched(plan, "time")
    table = summary.describe(findings.record(again))
    assert "matched by memory of a training step, measured, within 10% of the reference's" in table
    assert "(reference: multiscale, matched by memory)" in table


def test_a_variant_of_two_studies_has_one_size_and_one_run(plan, monkeypatch):
    monkeypatch.setattr(costs, "of_reference", takes(FACTORS))
    alike = replace(
        DECLARED["controls"], variants={name: DECLARED["controls"].variants[name] for name in ("mvit", "columnar")}
    )
    declare(monkeypatch, {"controls": alike, "multiscale": DECLARED["multiscale"]})
    for asked in (("controls", "multiscale"), ("multiscale", "controls")):
        sweep = matching.matched(lambda found, asked=asked: plan(found, *asked), "time")
        columnar = {task.name: task.recipe for task in sweep.tasks if task.variant == "columnar"}
        assert len(columnar) == 1
        assert set(columnar) == {"controls-columnar"}, "of the study that comes first in the table"
        assert list(sweep.matching.shares) == list(
            dict.fromkeys(task.name for task in sweep.tasks if task.declared.size)
        )


def test_a_size_that_does_not_come_near_is_refused(plan, monkeypatch):
    def stubborn(sweep: Sweep, by: str) -> dict[str, float]:
        return {task.name: 1.0 if task.name == "base" else 3.0 for task in sweep.tasks}

    monkeypatch.setattr(costs, "of_reference", stubborn)
    with pytest.raises(ValueError, match="does not come within 10% of its reference's time: the nearest"):
        matching.matched(plan, "time")


def test_a_plan_says_which_size_was_found_by_cost_and_where_none_is(plan):
    assert "\nsizes that are not the base's, stage by stage:\n  multiscale-columnar: depths " in summary.plan(
        plan(None)
    )
    told = summary.plan(plan(None, "positions"))
    assert "\nsizes: every variant has the base's\n" in told
    told = summary.plan(plan(None, "factorial"))
    assert told.count("\n  factorial-columnar-") == 4, "sizes that arithmetic finds, and no search, are said too"
    assert "\n  factorial-multiscale-" not in told


def test_studies_without_a_size_are_refused(plan):
    with pytest.raises(
        ValueError,
        match="no variant of the study positions has a size to be found: leave out --match",
    ):
        matching.matched(lambda found: plan(found, "positions"), "time")


def test_shares_go_to_the_middle_of_what_was_too_small_and_too_large():
    assert matching._next([(1.0, 2.0)]) == 0.5
    assert matching._next([(1.0, 1.05)]) == 1.0
    assert matching._next([(1.0, 16.0), (1 / 16, 0.2), (0.3, 1.5)]) == pytest.approx((0.3 / 16) ** 0.5)


def test_a_step_is_measured_over_the_references(plan, monkeypatch):
    monkeypatch.setattr(costs, "MATCHING_ROUNDS", 2)
    sweep = plan(Matching("time", shares={"multiscale-columnar": 3.0}))
    sweep = replace(sweep, tasks=tuple(task for task in sweep.tasks if task.variant in ("multiscale", "columnar")))
    taken = costs.of_reference(sweep, "time")
    assert taken.keys() == {"base", "multiscale-columnar"}
    assert taken["base"] == 1.0
    assert taken["multiscale-columnar"] > 0

    bytes_of = {"base": 100, "multiscale-columnar": 250}
    monkeypatch.setattr(costs, "footprint", lambda case: SimpleNamespace(total=bytes_of[case.name]))
    assert costs.of_reference(sweep, "memory") == {"base": 1.0, "multiscale-columnar": 2.5}
    monkeypatch.setattr(costs, "footprint", lambda case: SimpleNamespace(total=1) if case.name == "base" else None)
    assert costs.of_reference(sweep, "memory")["multiscale-columnar"] == inf, "memory did not suffice"
    monkeypatch.setattr(costs, "footprint", lambda case: None if case.name == "base" else SimpleNamespace(total=1))
    with pytest.raises(ValueError, match="a step of base does not fit into the memory here"):
        costs.of_reference(sweep, "memory")
