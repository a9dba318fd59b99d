"""Time and memory of a sweep's variants: measured once, side by side, and told beside the reference's."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from mvit.data.samples import Listing, Sample
from mvit.model.config import MViTConfig
from mvit.recipes import recipe as recipes
from mvit.recipes.recipe import Recipe
from mvit.studies import costs, findings, planning, summary, sweep
from mvit.studies.ablations import Study, Variant
from studied import DECLARED, declare

SMALL = ("model.name=mvit_test_4x32", "train.batch=2", "train.device=cpu", "train.precision=float32")


def deeper(base: MViTConfig) -> MViTConfig:
    return replace(base, depths=(2, 2))


@pytest.fixture
def base() -> Recipe:
    return recipes.load(None, SMALL)


def planned(base: Recipe, folder: Path, *names: str) -> sweep.Sweep:
    """Of videos that are nowhere, as nothing is trained."""
    train, val = ((Sample(Path(f"/{part}/{label}.mp4"), (label,)) for label in "ab") for part in ("train", "val"))
    listing = Listing(("a", "b"), tuple(train), tuple(val), "")
    return planning.planned(names, base, Path("videos"), listing, folder, 2)


def test_steps_are_measured_once_and_told_beside_the_references(base, tmp_path, monkeypatch):
    both = {"small": Variant(), "deeper": Variant(change=deeper)}
    studies = {
        "depths": Study(question="?", reference="small", variants=both),
        "positions": DECLARED["positions"],
    }
    declare(monkeypatch, studies)
    chosen = planned(base, tmp_path, "depths")
    costs.measure(chosen, rounds=3)
    file = tmp_path / costs.MEASURED
    record = json.loads(file.read_text(encoding="utf-8"))
    assert {name: len(times) for name, times in record["milliseconds"].items()} == {"base": 3, "depths-deeper": 3}
    weights = {name: memory["weights"] for name, memory in record["memory_bytes"].items()}
    assert weights == {task.name: 4 * task.cost.parameters for task in chosen.tasks}
    assert record["sizes"]["depths-deeper"]["depths"] == [2, 2]

    before = file.stat().st_mtime_ns
    costs.measure(chosen, rounds=5)
    assert file.stat().st_mtime_ns == before, "what is measured is kept"
    with pytest.raises(ValueError, match="steps in fp16 are not measured"):
        costs.measure(replace(chosen, base=recipes.load(None, (*SMALL[:3], "train.precision=fp16"))))
    found = findings.record(chosen)
    row = found["studies"]["depths"]["variants"]["deeper"]["step"]
    own, other = (record["memory_bytes"][name]["total"] for name in ("depths-deeper", "base"))
    assert row["memory_times_reference"] == own / other
    assert min(row["milliseconds"].values()) > 0
    table = summary.describe(found)
    assert "time, memory: of a training step of 2 clips" in table
    assert f"{own / other:.2f}" in table

    other_study = planned(base, tmp_path / "other", "depths", "positions")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / costs.MEASURED).write_text(file.read_text())
    assert findings.record(other_study)["studies"]["positions"]["variants"]["joint"]["step"] is None
    measured = []
    monkeypatch.setattr(costs, "footprint", lambda case: measured.append(case.name))
    costs.measure(other_study, rounds=1)
    assert set(measured) == {"base", "depths-deeper", "positions-none", "positions-space", "positions-joint"}


def test_a_ratio_is_taken_round_by_round():
    times = {"one": [10.0, 20.0, 40.0], "two": [20.0, 40.0, 80.0]}
    memory = {"one": {"total": 100}, "two": None}
    found = costs.beside({"milliseconds": times, "memory_bytes": memory}, "two", "one")
    assert found is not None
    assert found["times_reference"] == {"median": 2.0, "low": 2.0, "high": 2.0}
    assert found["memory_times_reference"] is None
    assert costs.beside({"milliseconds": times, "memory_bytes": memory}, "three", "one") is None
