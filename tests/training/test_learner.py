from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from alive import Alive
from mvit import create_model
from mvit.data.clips import Batch
from mvit.distributed.group import Ranks
from mvit.distributed.launch import Place
from mvit.recipes.recipe import Recipe, load
from mvit.recipes.sections import OptimRecipe
from mvit.training import mixing
from mvit.training.hardware import choose
from mvit.training.learner import Learner, Outcome, learner, predictor
from mvit.training.mixing import UNMIXED, Mix


def pupil(recipe: Recipe, accumulate: int = 1, **optim: object) -> Learner:
    torch.manual_seed(0)
    model = create_model("mvit_test_4x32", num_classes=3)
    recipe = replace(recipe, optim=replace(OptimRecipe(), **optim))
    return learner(model, recipe.optim, choose(recipe.train), recipe.data.preprocessing(), accumulate=accumulate)


def batch(count: int = 6) -> Batch:
    clips = torch.randint(0, 256, (count, 3, 4, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    return Batch(clips, torch.arange(count) % 3, [])


@pytest.fixture
def recipe() -> Recipe:
    return load(None, ["model.name=mvit_test_4x32", "train.device=cpu", "train.precision=float32"])


def test_a_step_is_the_textbooks(recipe: Recipe):
    """The same as AdamW by hand on the mean smoothed cross-entropy, gradients clipped."""
    ours = pupil(recipe, clip_norm=0.5, weight_decay=0.1)
    model = create_model("mvit_test_4x32", num_classes=3)
    model.load_state_dict(ours.model.state_dict())
    vectors = [parameter for parameter in model.parameters() if parameter.ndim == 1]
    others = [parameter for parameter in model.parameters() if parameter.ndim > 1]
    optimizer = torch.optim.AdamW([{"params": others, "weight_decay": 0.1}, {"params": vectors, "weight_decay": 0.0}])
    data = batch()
    for rate in (1e-3, 3e-4):
        outcome = ours.step(data, rate)
        loss = F.cross_entropy(model((data.clips / 255 - 0.45) / 0.225), data.labels, label_smoothing=0.1)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), 0.5)
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.step()
        optimizer.zero_grad()
        assert outcome.loss == pytest.approx(loss.item(), abs=1e-5)
        assert outcome.gradient_norm == pytest.approx(norm.item(), rel=1e-3)
        assert (outcome.clips, outcome.moved) == (6, True)
    for (name, one), other in zip(ours.model.named_parameters(), model.parameters(), strict=True):
        torch.testing.assert_close(one, other, atol=2e-4, rtol=1e-3, msg=name)


def test_a_step_that_is_not_finite_moves_nothing(recipe: Recipe):
    ours = pupil(recipe, ema_decay=0.9)
    ours.step(batch(), 1e-3)
    before = {name: tensor.clone() for name, tensor in ours.tensors().items()}
    with torch.no_grad():
        ours.model.head.bias[0] = float("inf")
    outcome = ours.step(batch(), 1e-3)
    assert not outcome.moved
    with torch.no_grad():
        ours.model.head.bias[0] = before["model/head.bias"][0]
    assert all(torch.equal(tensor, before[name]) for name, tensor in ours.tensors().items())
    assert ours.step(batch(), 1e-3).moved


class Normed(nn.Module):
    """What other libraries' models hold and ours do not: a norm that moves in the forward pass."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm, self.head = nn.Conv3d(3, 4, 4, stride=4), nn.BatchNorm3d(4), nn.Linear(4, 3)

    def forward(self, clips: torch.Tensor) -> torch.Tensor:
        return self.head(self.norm(self.stem(clips)).mean((2, 3, 4)))


def test_a_step_that_is_not_finite_leaves_the_statistics_of_batch_norms(recipe: Recipe):
    ours = learner(Normed(), OptimRecipe(), choose(recipe.train), recipe.data.preprocessing())
    ours.step(batch(), 1e-3)
    before = {name: tensor.clone() for name, tensor in ours.tensors().items()}
    with torch.no_grad():
        ours.model.stem.bias[0] = float("inf")
    assert not ours.step(batch(), 1e-3).moved
    assert ours.first_not_finite(batch()) == "the output of stem"
    with torch.no_grad():
        ours.model.stem.bias[0] = before["model/stem.bias"][0]
    assert all(torch.equal(tensor, before[name]) for name, tensor in ours.tensors().items())
    assert before["model/norm.num_batches_tracked"] == 1


def test_the_average_is_what_is_taught(recipe: Recipe):
    ours = pupil(recipe, ema_decay=0.99)
    for _ in range(3):
        ours.step(batch(), 1e-2)
    assert ours.taught is not ours.model
    assert not torch.equal(ours.taught.head.weight, ours.model.head.weight)
    plain = pupil(recipe)
    assert plain.taught is plain.model


def test_tensors_restore_another_learner(recipe: Recipe):
    ours, other = pupil(recipe, ema_decay=0.9), pupil(recipe, ema_decay=0.9)
    ours.step(batch(), 1e-2)
    other.restore({name: tensor.clone() for name, tensor in ours.tensors().items()})
    ours.step(batch(), 1e-2)
    other.step(batch(), 1e-2)
    for (name, one), two in zip(ours.tensors().items(), other.tensors().values(), strict=True):
        assert torch.equal(one, two), name


def test_a_mixed_step_is_that_on_mixed_clips_and_soft_labels(recipe: Recipe):
    data, mix = batch(), Mix(0.75, (0, 16, 8, 24))
    ours, plain = pupil(recipe), pupil(recipe)
    clips = (data.clips / 255 - 0.45) / 0.225
    logits = plain.model.train()(mixing.mixed(clips, clips.flip(0), mix))
    expected = F.cross_entropy(logits, mixing.targets(data.labels, data.labels.flip(0), 3, mix, 0.1)).item()
    assert ours.step(data, 1e-3, mix).loss == pytest.approx(expected, abs=1e-5)
    assert plain.step(data, 1e-3).loss != pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize("mix", [UNMIXED, Mix(0.7), Mix(0.75, (0, 16, 8, 24))], ids=["unmixed", "mixup", "cutmix"])
@pytest.mark.parametrize("pieces", [2, 3, 7, 99])
@pytest.mark.parametrize("several", [False, True], ids=["a label", "several labels"])
def test_a_batch_in_pieces_has_the_gradient_of_the_whole(recipe: Recipe, pieces: int, mix: Mix, several: bool):
    """Seven clips in pieces of four and three, of three and two, and of one: opposites are in other pieces."""
    given = batch(7)
    if several:
        given.labels = (torch.arange(21).view(7, 3) % 4 < 2).float()

    def computed(accumulate: int) -> tuple[list[float], list[torch.Tensor | None]]:
        ours = pupil(recipe, accumulate)
        ours.model.double()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Learner, "_normalised", lambda self, clips: clips.double() / 255)
            facts = ours._gradient(
                given.clips, given.labels.double() if several else given.labels, mix, len(given.labels)
            )
        return facts, [parameter.grad for parameter in ours.model.parameters()]

    (whole, gradients), (parts, sums) = computed(1), computed(pieces)
    assert parts == pytest.approx(whole, rel=1e-13)
    for one, other in zip(sums, gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-14)
    expected = pupil(recipe).step(given, 1e-3, mix)
    assert pupil(recipe, pieces).step(given, 1e-3, mix).loss == pytest.approx(expected.loss, rel=1e-6)


def test_pieces_take_the_memory_of_one(recipe: Recipe):
    def most(accumulate: int) -> int:
        ours = pupil(recipe, accumulate)
        ours.step(batch(16), 1e-3)  # with the optimiser's state
        with Alive() as alive:
            ours.step(batch(16), 1e-3)
        return alive.most

    assert most(8) < most(1) / 3


def fp16(recipe: Recipe) -> Learner:
    return pupil(replace(recipe, train=replace(recipe.train, precision="fp16")), ema_decay=0.9)


def test_fp16_finds_the_scale_of_its_loss_and_loses_no_batch(recipe: Recipe):
    ours, exact = fp16(recipe), pupil(recipe, ema_decay=0.9)
    ours.scaler.load_state_dict(ours.scaler.state_dict() | {"scale": 2.0**26})  # where gradients are infinite
    first, expected = ours.step(batch(), 1e-3), exact.step(batch(), 1e-3)
    assert first.moved
    assert 2**10 < ours.scaler.get_scale() < 2**26
    assert first.loss == pytest.approx(expected.loss, abs=5e-3)
    assert first.gradient_norm == pytest.approx(expected.gradient_norm, rel=2e-2)
    assert {tensor.dtype for tensor in ours.model.state_dict().values()} == {torch.float32}


def test_fp16_goes_on_with_the_scale_that_was_saved(recipe: Recipe):
    ours, other = fp16(recipe), fp16(recipe)
    ours.step(batch(), 1e-3)
    other.restore({name: tensor.clone() for name, tensor in ours.tensors().items()})
    assert other.scaler.state_dict() == ours.scaler.state_dict()
    ours.step(batch(), 1e-3)
    other.step(batch(), 1e-3)
    assert all(
        torch.equal(one, two) for one, two in zip(ours.tensors().values(), other.tensors().values(), strict=True)
    )
    assert ours.tensors()["scaler/_growth_tracker"] == 2


@pytest.mark.parametrize("where", ["loss", "gradient"])
def test_fp16_skips_what_no_scale_makes_finite_and_keeps_its_scale(
    recipe: Recipe, where: str, monkeypatch: pytest.MonkeyPatch
):
    ours = fp16(recipe)
    ours.step(batch(), 1e-3)
    before = {name: tensor.clone() for name, tensor in ours.tensors().items()}
    if where == "loss":
        real = mixing.loss
        monkeypatch.setattr(mixing, "loss", lambda *args: real(*args) * float("nan"))
        hook = None
    else:
        hook = ours.model.head.weight.register_hook(lambda gradient: gradient / 0)
    assert not ours.step(batch(), 1e-3).moved
    assert all(torch.equal(tensor, before[name]) for name, tensor in ours.tensors().items() if "growth" not in name)
    monkeypatch.undo()
    if hook is not None:
        hook.remove()
    assert ours.step(batch(), 1e-3).moved


@pytest.mark.slow  # a minute or two, for the compiler
@pytest.mark.timeout(600)
def test_a_compiled_step_is_the_same_and_leaves_names_as_they_are(recipe: Recipe):
    plain = pupil(recipe)
    torch.manual_seed(0)
    model = create_model("mvit_test_4x32", num_classes=3)
    compiled = learner(model, OptimRecipe(), choose(recipe.train), recipe.data.preprocessing(), compiled=True)
    assert compiled.tensors().keys() == plain.tensors().keys()
    for count in (6, 6, 4):  # the last batch of an epoch may be smaller
        one, other = compiled.step(batch(count), 1e-3), plain.step(batch(count), 1e-3)
        assert one.loss == pytest.approx(other.loss, rel=1e-4)
    assert compiled.tensors().keys() == plain.tensors().keys()


def test_what_is_compiled_is_the_forward_pass_of_a_step(recipe: Recipe, monkeypatch: pytest.MonkeyPatch):
    calls: list[int] = []
    monkeypatch.setattr(torch, "compile", lambda model: lambda clips: calls.append(len(clips)) or model(clips))
    model = create_model("mvit_test_4x32", num_classes=3)
    ours = learner(model, OptimRecipe(), choose(recipe.train), recipe.data.preprocessing(), accumulate=2, compiled=True)
    assert ours.model is model
    assert ours.step(batch(), 1e-3).moved
    assert calls == [3, 3]


def test_bf16_trains_float32_weights(recipe: Recipe):
    reduced = replace(recipe, train=replace(recipe.train, precision="bf16"))
    ours, exact = pupil(reduced), pupil(recipe)
    assert ours.step(batch(), 1e-3).loss == pytest.approx(exact.step(batch(), 1e-3).loss, abs=0.05)
    assert {tensor.dtype for tensor in ours.model.state_dict().values()} == {torch.float32}


def test_predictions_are_float32_numpy_and_exact_on_demand(recipe: Recipe):
    reduced = replace(recipe, train=replace(recipe.train, precision="bf16"))
    ours = pupil(reduced)
    clips = np.random.default_rng(0).normal(size=(2, 3, 4, 32, 32)).astype(np.float32)
    exact = predictor(ours.model, ours.hardware, exact=True)(clips)
    quick = predictor(ours.model, ours.hardware, exact=False)(clips)
    ours.model.eval()
    with torch.no_grad():
        assert exact == pytest.approx(ours.model(torch.from_numpy(clips)).numpy(), abs=1e-6)
    assert exact.dtype == quick.dtype == np.float32
    assert not np.array_equal(exact, quick)
    assert quick == pytest.approx(exact, abs=0.05)


def test_a_step_on_several_labels_is_that_of_binary_cross_entropy_in_float32(recipe: Recipe):
    data = batch()
    data.labels = (torch.arange(18).view(6, 3) % 4 < 2).float()
    for precision, tolerance in (("float32", 1e-5), ("bf16", 0.05)):
        ours = pupil(replace(recipe, train=replace(recipe.train, precision=precision)), label_smoothing=0.0)
        logits = pupil(recipe).model.train()((data.clips / 255 - 0.45) / 0.225)
        shares = logits.sigmoid()
        expected = -(data.labels * shares.log() + (1 - data.labels) * (1 - shares).log()).mean().item()
        outcome = ours.step(data, 1e-3)
        assert outcome.loss == pytest.approx(expected, abs=tolerance)
        assert (outcome.clips, outcome.moved) == (6, True)
    assert outcome.right == sum(bool(row[best]) for row, best in zip(data.labels, logits.argmax(dim=1), strict=True))


class Apart(Ranks):
    """Two ranks of which the other gives what it was told to; nothing is sent."""

    def __init__(self, rank: int, other: list[float]) -> None:
        super().__init__(Place(rank, 2))
        object.__setattr__(self, "other", other)

    def totals(self, values: Sequence[float]) -> list[float]:
        return [mine + theirs for mine, theirs in zip(values, self.other, strict=True)]


def gradient(one: Learner, data: Batch, together: int) -> tuple[list[torch.Tensor], Outcome]:
    """What a step gives its optimiser, which is kept from moving anything."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(one.optimizer, "step", lambda: None)
        patch.setattr(one.optimizer, "zero_grad", lambda: None)
        outcome = one.step(data, 1e-3, together=together)
    return [parameter.grad for parameter in one.model.parameters() if parameter.grad is not None], outcome


@pytest.mark.parametrize("sizes", [(3, 3), (5, 1), (6, 0)])
def test_unequal_parts_of_a_batch_weigh_by_their_clips(recipe: Recipe, sizes: tuple[int, int]):
    """The mean of the ranks' gradients is that of the whole batch, also where a video could not be read by one."""
    whole, data = pupil(recipe, clip_norm=None), batch(6)
    expected, outcome = gradient(whole, data, 6)
    first = Batch(data.clips[: sizes[0]], data.labels[: sizes[0]], [])
    second = Batch(data.clips[sizes[0] :], data.labels[sizes[0] :], [])
    parts = []
    for rank, part in enumerate((first, second)):
        one = pupil(recipe, clip_norm=None)
        one.ranks = Apart(rank, [0.0, 0.0])
        parts.append(gradient(one, part, 6))
    for mean, first_part, second_part in zip(expected, parts[0][0], parts[1][0], strict=True):
        torch.testing.assert_close((first_part + second_part) / 2, mean, rtol=1e-4, atol=1e-6)
    assert sum(part.loss for _, part in parts) == pytest.approx(outcome.loss, rel=1e-5)
    assert sum(part.right for _, part in parts) == outcome.right
    assert {part.clips for _, part in parts} == {6}


def test_a_loss_that_is_not_finite_on_another_rank_moves_nothing_here(recipe: Recipe):
    one = pupil(recipe)
    one.ranks = Apart(0, [float("nan"), 0.0])
    before = [parameter.clone() for parameter in one.model.parameters()]
    assert not one.step(batch(), 1e-3, together=12).moved
    assert all(torch.equal(was, now) for was, now in zip(before, one.model.parameters(), strict=True))
