import math

import pytest
import torch

from mvit import create_model
from mvit.recipes.recipe import load
from mvit.training import optim

# FACTS of the paper's recipe for Kinetics: 1.6e-3 after 30 of 200 epochs, from and to 1.6e-5.
PAPER = {"steps": 200, "warmup_steps": 30, "start": 1.6e-5, "peak": 1.6e-3, "floor": 1.6e-5}


@pytest.mark.parametrize(
    ("epoch", "rate"),
    [
        (0, 1.6e-5),
        (15, (1.6e-3 + 1.6e-5) / 2),
        (30, 1.6e-3),
        (115, (1.6e-3 + 1.6e-5) / 2),
        (200, 1.6e-5),
        (30 + 170 / 3, 1.6e-5 + (1.6e-3 - 1.6e-5) * 0.75),
    ],
)
def test_the_learning_rate_is_the_papers(epoch: float, rate: float):
    assert optim.learning_rate(epoch, **PAPER) == pytest.approx(rate, rel=1e-12)


def test_without_warm_up_the_first_step_is_the_highest():
    rates = [optim.learning_rate(step, steps=10, warmup_steps=0, start=0.0, peak=1.0, floor=0.0) for step in range(11)]
    assert rates[0] == 1.0
    assert rates == sorted(rates, reverse=True)
    assert rates[-1] == pytest.approx(0.0, abs=1e-12)


def test_the_schedule_scales_with_the_batch_and_counts_steps():
    recipe = load(None, ["optim.lr=1e-3", "optim.reference_batch=64", "train.batch=16", "train.epochs=20"])
    schedule = optim.schedule(recipe, steps_per_epoch=50)
    assert (schedule.steps, schedule.warmup_steps) == (1000, 100)
    assert schedule.peak == pytest.approx(2.5e-4)
    assert schedule.rate(100) == pytest.approx(2.5e-4)
    assert schedule.rate(0) == schedule.floor == pytest.approx(2.5e-6)
    assert str(schedule) == (
        "20 epochs of 50 steps (1,000 in all), 16 clips a step, learning rate 0.00025 after 100 steps of warm-up, "
        "down to 2.5e-06"
    )
    assert not schedule.remarks()


def test_a_warm_up_in_epochs_and_from_a_rate_of_its_own():
    recipe = load(
        None,
        [
            *("optim.lr=2.5e-4", "optim.reference_batch=256", "optim.min_lr_ratio=0.004", "optim.warmup_lr=1e-8"),
            *("optim.warmup_epochs=70", "train.batch=2048", "train.epochs=300"),
        ],
    )
    schedule = optim.schedule(recipe, steps_per_epoch=10)
    assert schedule.warmup_steps == 700
    assert schedule.rate(0) == pytest.approx(8e-8)
    assert schedule.rate(350) == pytest.approx((8e-8 + 2e-3) / 2)
    assert schedule.rate(700) == pytest.approx(2e-3)
    assert schedule.rate(3000) == pytest.approx(8e-6)


@pytest.mark.parametrize("fraction", [0.0, 0.5, 0.99])
def test_a_run_of_one_step_has_a_rate(fraction: float):
    recipe = load(None, ["train.epochs=1", f"optim.warmup_fraction={fraction}"])
    schedule = optim.schedule(recipe, steps_per_epoch=1)
    assert schedule.rate(0) == schedule.peak
    assert "1 step is few" in schedule.remarks()[0]


@pytest.mark.parametrize("name", ["mvit_test_4x32", "mvit_b_16x4", "mvit_b_16_image", "vit_b_8x8"])
def test_vectors_and_biases_alone_are_not_decayed(name: str):
    with torch.device("meta"):
        model = create_model(name)
    decayed, free = optim.parameter_groups(model, 0.05)
    names = {parameter: name for name, parameter in model.named_parameters()}
    assert (decayed["weight_decay"], free["weight_decay"]) == (0.05, 0.0)
    assert all(parameter.ndim == 1 for parameter in free["params"])
    assert all(parameter.ndim > 1 for parameter in decayed["params"])
    kept = {names[parameter] for parameter in decayed["params"]}
    assert "class_token" in kept
    assert any(name.startswith("positions.") for name in kept)
    assert len(decayed["params"]) + len(free["params"]) == len(names)


def test_each_layer_has_its_share_of_the_learning_rate():
    model = create_model("mvit_tiny_16x64", num_classes=2)  # of 8 blocks
    groups = optim.parameter_groups(model, 0.05, layer_decay=0.5)
    names = {parameter: name for name, parameter in model.named_parameters()}
    shares = {names[parameter]: group["lr_share"] for group in groups for parameter in group["params"]}
    assert len(shares) == len(names)
    for name, share in shares.items():
        part, _, rest = name.partition(".")
        after = 8 - int(rest.partition(".")[0]) if part == "blocks" else 0 if part in ("norm", "head") else 9
        assert share == 0.5**after, name
    decays = {names[parameter]: group["weight_decay"] for group in groups for parameter in group["params"]}
    for group in optim.parameter_groups(model, 0.05):
        assert group["lr_share"] == 1.0
        assert {decays[names[parameter]] for parameter in group["params"]} == {group["weight_decay"]}
    optimizer = optim.optimizer(model, load(None, ["optim.layer_decay=0.5"]).optim)
    optim.set_rate(optimizer, 0.1)
    assert {group["lr"] for group in optimizer.param_groups} == {0.1 * 0.5**after for after in range(10)}


def test_what_is_frozen_has_no_state():
    model = create_model("mvit_test_4x32", num_classes=2)
    model.freeze("all")
    optimizer = optim.optimizer(model, load().optim)
    model.train()(torch.randn(2, 3, 4, 32, 32)).square().sum().backward()
    optimizer.step()
    assert {name.rpartition(".")[0] for name in optim.state_tensors(model, optimizer)} == {"head.weight", "head.bias"}


def test_sgd_is_that_with_nesterov_momentum():
    model = create_model("mvit_test_4x32", num_classes=2)
    optimizer = optim.optimizer(model, load(None, ["optim.name=sgd", "optim.weight_decay=0.01"]).optim)
    optim.set_rate(optimizer, 0.1)
    weight = model.head.weight
    expected, buffer = weight.detach().clone(), torch.zeros_like(weight)
    for step in range(3):
        gradient = torch.full_like(weight, step + 1.0)
        weight.grad = gradient.clone()
        optimizer.step()
        decayed = gradient + 0.01 * expected
        buffer = decayed if step == 0 else 0.9 * buffer + decayed
        expected = expected - 0.1 * (decayed + 0.9 * buffer)
        torch.testing.assert_close(weight.detach(), expected)


def test_the_average_forgets_the_first_weights_soon():
    assert optim.average_decay(0, 0.999) == 0.1
    assert optim.average_decay(90, 0.999) == pytest.approx(0.91)
    assert optim.average_decay(10**6, 0.999) == 0.999


def test_the_average_is_the_exponential_one():
    model = torch.nn.Linear(1, 1, bias=False)
    average = optim.weight_average(model, 0.5)
    expected = None
    for updates, value in enumerate([1.0, 2.0, 4.0, 8.0]):
        torch.nn.init.constant_(model.weight, value)
        average.update_parameters(model)
        decay = min(0.5, (1 + updates) / (10 + updates))
        expected = value if expected is None else decay * expected + (1 - decay) * value
    assert average.module.weight.item() == pytest.approx(expected)


@pytest.mark.parametrize("name", ["adamw", "sgd"])
def test_the_optimizers_state_survives_as_tensors(name: str):
    recipe = load(None, [f"optim.name={name}", "optim.layer_decay=0.7"]).optim
    torch.manual_seed(0)
    ours, theirs = (create_model("mvit_test_4x32", num_classes=2) for _ in range(2))
    theirs.load_state_dict(ours.state_dict())
    first, second = optim.optimizer(ours, recipe), optim.optimizer(theirs, recipe)
    clips = torch.randn(2, 3, 4, 32, 32)

    def step(model: torch.nn.Module, optimizer: torch.optim.Optimizer):
        optimizer.zero_grad()
        model(clips).square().sum().backward()
        optimizer.step()

    step(ours, first)
    theirs.load_state_dict(ours.state_dict())
    tensors = {name: tensor.clone() for name, tensor in optim.state_tensors(ours, first).items()}
    optim.load_state_tensors(theirs, second, tensors)
    step(ours, first)
    step(theirs, second)
    for (name, one), other in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        assert torch.equal(one, other), name
    state = {"adamw": "exp_avg", "sgd": "momentum_buffer"}[recipe.name]
    assert math.prod(tensors[f"class_token.{state}"].shape) == ours.class_token.numel()
