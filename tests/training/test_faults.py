"""Numbers that are not finite: put in on purpose at chosen steps, found, skipped, written down, gone back from."""

import json
import shutil
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

from mvit import create_model
from mvit.commandline import users_fault
from mvit.data.dataset import Listing, find
from mvit.data.order import Order
from mvit.evaluation import evaluate as evaluation
from mvit.evaluation.scoring import NotFiniteError
from mvit.recipes.recipe import Recipe
from mvit.training import checkpoint, course, loop, mixing
from mvit.training.course import MEASURED, Course
from mvit.training.events import Plot
from mvit.training.faults import DivergedError, first_not_finite
from mvit.training.run import Run

Step = tuple[int, int]  # epoch and batch, from 0 on


def silent(_: str) -> None:
    pass


# ---- where it was first ----------------------------------------------------------------------------------------------


def with_weight(model: torch.nn.Module, name: str, value: float) -> None:
    with torch.no_grad():
        model.get_parameter(name).view(-1)[0] = value


def without_end_at_zero(x: torch.Tensor) -> torch.Tensor:
    return (x * 0).sqrt() * 0 + x.detach()  # finite itself, with a gradient of 0 * inf


BREAKS: dict[str, Callable[[Any], object]] = {
    "the output of blocks.1.mlp.fc1": lambda model: with_weight(model, "blocks.1.mlp.fc1.weight", float("inf")),
    "the output of stem": lambda model: with_weight(model, "stem.bias", float("nan")),
    "the gradient of the output of norm": lambda model: model.dropout.register_forward_hook(
        lambda module, inputs, output: without_end_at_zero(output)
    ),
    "the gradient of stem.weight": lambda model: model.stem.weight.register_hook(lambda gradient: gradient / 0),
}


@pytest.mark.parametrize("words", [*BREAKS, "the loss", None])
@pytest.mark.parametrize("recomputed", [(), (0, 1)])
def test_what_was_not_finite_first_is_named(words: str | None, recomputed: tuple[int, ...]):
    model = create_model("mvit_test_4x32", num_classes=3)
    model.checkpoint(recomputed, elementwise=not recomputed)
    BREAKS.get(words or "", lambda _: None)(model)
    hooks = [len(module._forward_hooks) for module in model.modules()]
    factor = float("nan") if words == "the loss" else 1.0
    clips = torch.randn(2, 3, 4, 32, 32)
    assert first_not_finite(model, (model(clip).sum() * factor for clip in clips.split(1))) == words
    assert [len(module._forward_hooks) for module in model.modules()] == hooks


def test_a_reversible_model_is_looked_through():
    model = create_model("mvit_test_4x32", num_classes=3, reversible="mlp", widen_in="attention")
    clips = torch.randn(2, 3, 4, 32, 32)
    assert first_not_finite(model, (model(clips).sum() for _ in range(1))) is None
    with_weight(model, "head.weight", float("inf"))
    assert first_not_finite(model, (model(clips).sum() for _ in range(1))) == "the output of head"


# ---- in a run --------------------------------------------------------------------------------------------------------


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Breaks the loss, or the gradient of the head, in these steps, each time that they are computed."""
    at: list[Step] = []

    def breaking(*steps: Step, gradient: bool = False) -> None:
        real_learn, real_loss = Course.learn, mixing.loss

        def learn(self: Course, batch: Any) -> None:
            at[:] = [(self.position.epoch, self.position.batch)]
            real_learn(self, batch)

        def loss(logits: torch.Tensor, *args: Any) -> torch.Tensor:
            if at[0] not in steps:
                return real_loss(logits, *args)
            if not gradient:
                return real_loss(logits, *args) * float("nan")
            logits.register_hook(lambda grad: grad * float("inf"))
            return real_loss(logits, *args)

        monkeypatch.setattr(Course, "learn", learn)
        monkeypatch.setattr(mixing, "loss", loss)

    return breaking


def skipped(run: Path) -> list[dict[str, Any]]:
    lines = (run / "skipped.jsonl").read_text("utf-8", "surrogateescape").split("\n")[:-1]
    return [json.loads(line) for line in lines]


def metrics(run: Path) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    return [{name: value for name, value in line.items() if name not in MEASURED} for line in lines]


def weights(run: Path) -> dict[str, torch.Tensor]:
    return safetensors.torch.load_file(run / "model.safetensors")


def assert_same(run: Path, other: Path) -> None:
    assert metrics(run) == metrics(other)
    one, two = weights(run), weights(other)
    assert all(torch.equal(one[name], two[name]) for name in two)


@pytest.mark.parametrize("gradient", [False, True], ids=["nan in the loss", "inf in a gradient"])
def test_a_step_that_is_not_finite_is_skipped_counted_and_written_down(
    tmp_path: Path, recipe: Recipe, listing: Listing, finished: Path, broken: Callable[..., None], gradient: bool
):
    broken((1, 2), gradient=gradient)
    run = loop.train(recipe, listing, tmp_path / "run", echo=silent)
    assert [line["skipped"] for line in metrics(run)] == [0, 1, 0, 0]
    assert metrics(run)[0] == metrics(finished)[0]
    (line,) = skipped(run)
    assert (line["epoch"], line["batch"]) == (2, 2)
    assert line["lr"] == metrics(finished)[1]["lr"]
    assert line["first_not_finite"] == ("the gradient of the output of dropout" if gradient else "the loss")
    assert (line["loss"] == "nan") is not gradient
    assert line["norm"] == "nan"
    assert 1 < float(line["weights_norm"]) < 100
    assert len(line["videos"]) == len(line["labels"]) == 2  # the last batch of eighteen in eights
    assert {Path(name).parent.name for name in line["videos"]} == set(line["labels"])
    assert set(line["videos"]) <= {str(sample.id) for sample in listing.train}


def test_many_in_a_row_have_the_run_go_back_leave_them_out_and_learn_at_half_the_rate(
    tmp_path: Path,
    recipe: Recipe,
    listing: Listing,
    finished: Path,
    broken: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(course, "MOST_SKIPPED_IN_A_ROW", 3)
    broken((1, 2), (2, 0), (2, 1))
    said, restored, real = list[str](), list[dict[str, torch.Tensor]](), Course.roll_back

    def watched(self: Course, *args: Any) -> None:
        real(self, *args)
        restored.append({name: tensor.clone() for name, tensor in self.pupil.tensors().items()})
        saved = checkpoint.load(self.run.checkpoints / "00000004")  # after the first epoch of three steps
        assert saved.tensors.keys() == restored[0].keys()
        assert all(torch.equal(restored[0][name], tensor) for name, tensor in saved.tensors.items())

    monkeypatch.setattr(Course, "roll_back", watched)
    run = loop.train(recipe, listing, tmp_path / "run", echo=said.append)
    assert len(restored) == 1
    (warning,) = [line for line in said if line.startswith("warning: 3 steps in a row")]
    assert "not finite first: the loss" in warning
    assert warning.endswith(
        "going back to epoch 2, of which 0 of 3 steps are done, leaving out what was skipped (3 steps), "
        "and learning at 0.5 times the rate"
    )
    last = skipped(run)[-1]
    assert warning.startswith(f"warning: {last.pop('why')}: going back")
    assert last == {"went_back_to": {"epoch": 2, "batch": 0}, "lr_factor": 0.5}
    assert [line["epoch"] for line in metrics(run)] == [1, 2, 3, 4]
    assert [line["skipped"] for line in metrics(run)] == [0, 1, 2, 0]
    for line, undisturbed, factor in zip(metrics(run), metrics(finished), (1, 0.5, 0.5, 0.5), strict=True):
        assert line["lr"] == undisturbed["lr"] * factor


@pytest.mark.parametrize("stop", [(1, 8), (2, 2), (3, 1)], ids=["before", "in the row", "after going back"])
def test_a_run_that_is_stopped_goes_back_to_the_same_place(
    tmp_path: Path,
    recipe: Recipe,
    listing: Listing,
    broken: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
    stop: Step,
):
    """Nine steps an epoch, and so many signals that the last two checkpoints are all of one epoch."""
    recipe = replace(recipe, train=replace(recipe.train, batch=2, evaluate_every=4))
    monkeypatch.setattr(course, "MOST_SKIPPED_IN_A_ROW", 4)
    broken((1, 6), (1, 7), (2, 1), (2, 2), (2, 3), (2, 4))
    loop.train(recipe, listing, tmp_path / "undisturbed", echo=silent)
    assert metrics(tmp_path / "undisturbed")[-1]["lr"] < metrics(tmp_path / "undisturbed")[0]["lr"]
    assert [line["skipped"] for line in metrics(tmp_path / "undisturbed")] == [0, 2, 4, 0]
    real, run = Course.learn, tmp_path / "run"
    signals = [stop, (stop[0], stop[1] + 1)] if stop[1] < 8 else [(1, 5), (1, 6), (1, 7), stop]

    def interrupted(self: Course, batch: Any) -> None:
        if signals and (self.position.epoch, self.position.batch) == signals[0]:
            signals.pop(0)
            signal.raise_signal(signal.SIGINT)
        real(self, batch)

    monkeypatch.setattr(Course, "learn", interrupted)
    expected = len(signals)
    for attempt in range(expected):
        with pytest.raises(KeyboardInterrupt):
            loop.train(recipe, listing, run, resume=attempt > 0, echo=silent)
    loop.train(recipe, listing, run, resume=True, echo=silent)
    assert not signals
    assert_same(run, tmp_path / "undisturbed")


def test_a_run_that_stopped_for_its_videos_goes_back_to_the_same_place(
    tmp_path: Path,
    recipe: Recipe,
    videos: Path,
    broken: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
):
    """It is saved where the third epoch begins, two epochs after the last checkpoint to go back to."""
    monkeypatch.setattr(course, "MOST_SKIPPED_IN_A_ROW", 2)
    recipe = replace(recipe, train=replace(recipe.train, evaluate_every=4, checkpoint_every=4, max_bad=0.2))
    strict = replace(recipe, train=replace(recipe.train, max_bad=0.0))
    broken((0, 2), (2, 1), (2, 2))
    first = Order(samples=18, batch=8, seed=recipe.train.seed, rank=0, ranks=1, whole=False)
    lost = first.share(first.epoch(2), 0)[0]

    def train(folder: Path, recipe: Recipe, resume: bool = False) -> Path:
        listing = find(folder / "videos")

        def hear(line: str) -> None:
            if line.startswith("epoch 2/"):
                listing.train[lost].path.write_text("gone")

        return loop.train(recipe, listing, folder / "run", resume=resume, echo=hear)

    for name in ("undisturbed", "stopped"):
        shutil.copytree(videos, tmp_path / name / "videos")
    undisturbed, stopped = train(tmp_path / "undisturbed", recipe), tmp_path / "stopped" / "run"
    with pytest.raises(ValueError, match="1 of 18 training videos"):
        train(tmp_path / "stopped", strict)
    assert [path.name for path in sorted((stopped / "checkpoints").iterdir())] == ["00000000", "00000008"]
    train(tmp_path / "stopped", recipe, resume=True)
    assert [line["skipped"] for line in metrics(stopped)] == [1, 0, 2, 0]
    assert_same(stopped, undisturbed)


@pytest.mark.parametrize("every", [1, 3], ids=["the first epoch was the best", "none was evaluated"])
def test_going_back_forgets_a_best_epoch_whose_line_is_replaced(
    tmp_path: Path,
    recipe: Recipe,
    listing: Listing,
    broken: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
    every: int,
):
    """The second epoch is the best, but no checkpoint to go back to was written after it when the third fails."""
    monkeypatch.setattr(course, "MOST_SKIPPED_IN_A_ROW", 2)
    recipe = replace(recipe, train=replace(recipe.train, holdout=0.25, checkpoint_every=every, epochs=4))
    broken((1, 1), (2, 0))
    run, said, real = tmp_path / "run", list[str](), evaluation.result
    judged, written = list[float](), list[dict[str, torch.Tensor]]()

    def dictated(outcome: evaluation.Evaluation) -> dict[str, Any]:
        if outcome.samples[0].path.parts[-3] == "val":
            return real(outcome)
        if judged:
            written.append(weights(run))
        judged.append([0.5, 0.9, 0.4, 0.3, 0.4, 0.3][len(judged)])
        return {"top1": judged[-1], "unreadable": {}}

    monkeypatch.setattr(evaluation, "result", dictated)
    drawn = list[int]()
    monkeypatch.setattr(Plot, "add", lambda _, record: drawn.append(record["step"]))
    monkeypatch.setattr(Plot, "forget_after", lambda _, step: drawn.__delitem__(slice(step // 2, None)))
    loop.train(recipe, listing, run, echo=said.append)
    assert drawn == [2, 4, 6, 8]
    assert len(judged) == {1: 5, 3: 6}[every]
    best = {1: 1, 3: 3}[every]
    assert said[-1].endswith(f"epoch {best}, the best on the holdout")
    lines = {line["epoch"]: line["holdout_top1"] for line in metrics(run)}
    assert lines == ({1: 0.5, 2: 0.4, 3: 0.3, 4: 0.4} if every == 1 else {1: 0.4, 2: 0.3, 3: 0.4, 4: 0.3})
    assert lines[best] == max(lines.values())
    for model in written[:2]:  # what stood there when the second epoch was judged, and when the next one was
        assert all(torch.equal(weights(run)[name], tensor) for name, tensor in model.items()) is (every == 1)


@pytest.mark.parametrize("in_the_middle", [False, True])
def test_a_run_that_an_earlier_version_began_goes_back_to_where_it_went_on(
    tmp_path: Path,
    in_the_middle: bool,
    recipe: Recipe,
    listing: Listing,
    finished: Path,
    broken: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
):
    """Its checkpoints know of no good one, and none from before the first step is there."""
    monkeypatch.setattr(course, "MOST_SKIPPED_IN_A_ROW", 2)
    run, said = tmp_path / "run", list[str]()
    shutil.copytree(finished, run)
    saved = checkpoint.load(run / "checkpoints" / "00000012")
    middle = {"epoch": 2, "batch": 2} if in_the_middle else {}
    later = ("moved", "norms", "norm_max", "good", "suspects", "rollbacks", "left_out")
    shutil.rmtree(run / "checkpoints")
    known = {name: value for name, value in saved.meta.items() if name not in later} | middle
    checkpoint.save(run / "checkpoints", saved.serial - 2 * in_the_middle, saved.tensors, known)
    broken((3, 0), (2, 2) if in_the_middle else (3, 1))
    loop.train(recipe, listing, run, resume=True, echo=said.append)
    where = "epoch 3, of which 2 of 3" if in_the_middle else "epoch 4, of which 0 of 3"
    assert any(f"going back to {where} steps are done" in line for line in said)
    assert [line["skipped"] for line in metrics(run)] == ([0, 0, 1, 1] if in_the_middle else [0, 0, 0, 2])


def test_only_steps_that_are_done_again_are_dropped_from_skipped(tmp_path: Path):
    run = Run(tmp_path)
    before = [{"epoch": 1, "batch": 2}, {"epoch": 3, "batch": 0}, {"went_back_to": {"epoch": 1, "batch": 0}}]
    names = {"videos": ["a\u2028b.mp4", "c\x85d.mp4", "no UTF-8: \udcff.mp4"]}
    since = [{"epoch": 1, "batch": 2} | names, {"epoch": 2, "batch": 1}]
    for times, step, kept in [
        (1, (1, 1), [*before, since[0]]),
        (1, (1, 2), [*before, *since]),
        (1, (0, 0), before),
        (0, (2, 0), before[:1]),
        (0, (0, 2), []),
    ]:
        run.skipped.unlink(missing_ok=True)
        for record in (*before, *since):
            run.append(run.skipped, record)
        with run.skipped.open("a", encoding="utf-8") as file:
            file.write('{"epoch": 1, "ba')  # killed while it was written
        run.forget_skipped(step, times)
        assert skipped(tmp_path) == kept


def test_scores_that_are_not_finite_have_the_run_go_back_and_at_last_stop(
    tmp_path: Path, recipe: Recipe, listing: Listing
):
    """The weights are huge, but finite, and the epochs too short for a row of skipped steps."""
    optim = replace(recipe.optim, lr=1e12, clip_norm=None)
    wild = replace(recipe, optim=optim, train=replace(recipe.train, holdout=0.25))
    run, said = tmp_path / "run", list[str]()
    words = r"the scores of holdout after epoch 1 are not finite \(.*\), also after going back .* at 0.5 times the rate"
    for resume in (False, True):
        with pytest.raises(DivergedError, match=words) as why:
            loop.train(wild, listing, run, resume=resume, echo=said.append)
        assert "lower optim.lr" in users_fault(why.value)
    first, *_ = (line for line in said if line.startswith("warning: the scores"))
    assert "going back to epoch 1, of which 0 of 2 steps are done" in first
    assert any("went_back_to" in line for line in skipped(run))
    assert not (run / "metrics.jsonl").exists()
    assert not (run / "model.safetensors").exists()


def test_after_scores_that_are_not_finite_a_run_goes_on_from_the_last_good_epoch(
    tmp_path: Path, recipe: Recipe, listing: Listing, finished: Path, monkeypatch: pytest.MonkeyPatch
):
    real, evaluations = evaluation.score, list[None]()

    def once(*args: Any, **more: Any) -> Any:
        evaluations.append(None)
        if len(evaluations) == 3:
            raise NotFiniteError("no numbers")
        return real(*args, **more)

    monkeypatch.setattr(evaluation, "score", once)
    run, said = tmp_path / "run", list[str]()
    loop.train(recipe, listing, run, echo=said.append)
    (line,) = skipped(run)
    assert line["went_back_to"] == {"epoch": 3, "batch": 0}
    assert "the scores of val after epoch 3 are not finite" in line["why"]
    assert metrics(run)[:2] == metrics(finished)[:2]
    assert [line["epoch"] for line in metrics(run)] == [1, 2, 3, 4]
    assert [line["lr"] for line in metrics(run)[2:]] == [line["lr"] / 2 for line in metrics(finished)[2:]]


def test_the_second_time_the_run_stops_with_the_reason(
    tmp_path: Path, recipe: Recipe, listing: Listing, broken: Callable[..., None], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(course, "MOST_SKIPPED_IN_A_ROW", 3)
    broken(*((epoch, batch) for epoch in (1, 2) for batch in range(3)))
    run = tmp_path / "run"
    for resume in (False, True):  # it is the same reason when it goes on
        with pytest.raises(DivergedError, match=r"3 steps in a row .* \(epoch 3, .* not finite first: the loss") as why:
            loop.train(recipe, listing, run, resume=resume, echo=silent)
        assert "also after going back and learning at 0.5 times the rate: lower optim.lr" in users_fault(why.value)
    steps = [(line["epoch"], line["batch"]) for line in skipped(run) if "epoch" in line]
    assert steps == [(epoch, batch) for epoch in (2, 3) for batch in range(3)], "each once, also those done again"
    saved = checkpoint.load_latest(run / "checkpoints", silent)
    assert saved is not None
    assert (saved.meta["epoch"], saved.meta["rollbacks"]) == (2, 1)
    assert all(tensor.isfinite().all() for tensor in saved.tensors.values())
