"""TensorBoard shows what metrics.jsonl holds, once for each step, also of a run that was stopped and went on."""

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest

from mvit.training import events, loop

STEPS_AN_EPOCH = 5


def record(epoch: int, **more: Any) -> dict[str, Any]:
    return {"epoch": epoch, "step": STEPS_AN_EPOCH * epoch, "loss": 1 / epoch, "val_top1": None} | more


def drawn(folder: Path, library: Any) -> dict[str, list[tuple[int, float]]]:
    """Steps and values by name, as TensorBoard's own reader gives them."""
    reader = library("tensorboard.backend.event_processing.event_accumulator", "logs").EventAccumulator(str(folder))
    reader.Reload()
    return {tag: [(event.step, event.value) for event in reader.Scalars(tag)] for tag in reader.Tags()["scalars"]}


def write(metrics: Path, *epochs: int, **more: Any) -> None:
    """What a process does that goes on after the epoch before the first of these."""
    with events.plotting(metrics, STEPS_AN_EPOCH * (epochs[0] - 1)) as plot:
        for epoch in epochs:
            with metrics.open("a", encoding="utf-8") as lines:
                lines.write(json.dumps(record(epoch, **more)) + "\n")
            plot.add(record(epoch, **more))


def test_a_run_that_goes_on_draws_no_step_twice(tmp_path: Path, library: Any):
    library("tensorboard", "logs")
    metrics = tmp_path / "metrics.jsonl"
    write(metrics, 1, 2, 3, lr=0.1)
    write(metrics, 3, 4, lr=0.2)  # killed after the third epoch's record, before its checkpoint
    found = drawn(tmp_path / events.FOLDER, library)
    assert found.keys() == {"loss", "lr"}
    assert [step for step, _ in found["loss"]] == [5, 10, 15, 20]
    assert [value for _, value in found["lr"]] == pytest.approx([0.1, 0.1, 0.2, 0.2])


def test_a_run_that_goes_on_draws_what_was_not_drawn_before(tmp_path: Path, library: Any):
    library("tensorboard", "logs")
    metrics = tmp_path / "metrics.jsonl"
    metrics.write_text("".join(json.dumps(record(epoch)) + "\n" for epoch in (1, 2)), encoding="utf-8")
    write(metrics, 3)
    assert [step for step, _ in drawn(tmp_path / events.FOLDER, library)["loss"]] == [5, 10, 15]


def test_what_was_drawn_before_a_run_went_back_is_taken_back_at_once(tmp_path: Path, library: Any):
    library("tensorboard", "logs")
    with events.plotting(tmp_path / "metrics.jsonl", 0) as plot:
        for epoch in (1, 2, 3):
            plot.add(record(epoch, lr=0.1))
        plot.forget_after(STEPS_AN_EPOCH)
        assert drawn(tmp_path / events.FOLDER, library)["lr"] == [(5, pytest.approx(0.1))]
        for epoch in (2, 3):
            plot.add(record(epoch, lr=0.2))
    found = drawn(tmp_path / events.FOLDER, library)["lr"]
    assert found == [(5, pytest.approx(0.1)), (10, pytest.approx(0.2)), (15, pytest.approx(0.2))]


def test_a_training_draws_its_metrics_and_is_the_same_run(tmp_path, finished, recipe, listing, library):
    library("tensorboard", "logs")
    run = loop.train(recipe, listing, tmp_path / "run", tensorboard=True, echo=lambda _: None)
    metrics = [json.loads(line) for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    found = drawn(run / events.FOLDER, library)
    assert found.keys() == metrics[0].keys() - {"epoch", "step"}
    for name, points in found.items():
        assert [step for step, _ in points] == [line["step"] for line in metrics]
        assert [value for _, value in points] == pytest.approx([line[name] for line in metrics])
    assert (run / "model.safetensors").read_bytes() == (finished / "model.safetensors").read_bytes()
    assert not (finished / events.FOLDER).exists()


def test_without_the_package_a_sentence_names_the_extra(monkeypatch, tmp_path, recipe, listing):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"tensorboard, which is not installed here: pip install 'mvit\[logs\]'"):
        loop.train(recipe, listing, tmp_path / "run", tensorboard=True)
    assert not (tmp_path / "run").exists()
