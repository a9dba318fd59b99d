"""What is frozen has no gradients and no dropped paths; what is not learns as before."""

import copy

import pytest
import torch

from mvit import create_model

V2 = {"positions": "none", "relative_positions": "grid", "residual_pooling": True, "widen_in": "attention"}
REVERSIBLE = {"class_token": False, "widen_in": "attention", "depths": (2, 2)}
MODELS = {
    "v1": {},
    "v1 without class token": {"class_token": False, "positions": "joint"},
    "v2": V2,
    "reversible by an MLP": REVERSIBLE | {"reversible": "mlp"},
    "reversible by average": REVERSIBLE | {"reversible": "average"},
}
CLIPS = (2, 3, 4, 32, 32)


def made(fields):
    return create_model("mvit_test_4x32", num_classes=3, **{"drop_path": 0.5, "head_dropout": 0.5} | fields)


def gradients(model, clips):
    model.train()
    torch.manual_seed(1)
    model(clips).square().sum().backward()
    return {name: parameter.grad for name, parameter in model.named_parameters()}


@pytest.mark.parametrize("again", [False, True], ids=["kept", "computed again"])
@pytest.mark.parametrize("fields", MODELS.values(), ids=MODELS)
def test_only_what_is_not_frozen_has_gradients_and_they_are_the_same(fields, again):
    model = made(fields | {"drop_path": 0.0})  # or freezing would change what is dropped
    twin = copy.deepcopy(model)
    if again:
        model.checkpoint(elementwise=True)
    clips = torch.randn(CLIPS)
    model.freeze(1)
    found, whole = gradients(model, clips), gradients(twin, clips)
    for name, gradient in found.items():
        frozen = name.startswith(("stem.", "positions.", "class_token", "blocks.0."))
        assert (gradient is None) is frozen, name
        if not frozen:
            torch.testing.assert_close(gradient, whole[name])


@pytest.mark.parametrize("fields", MODELS.values(), ids=MODELS)
def test_a_linear_probe_trains_the_head_alone(fields):
    model = made(fields)
    model.freeze("all")
    found = gradients(model, torch.randn(CLIPS))
    assert {name for name, gradient in found.items() if gradient is not None} == {"head.weight", "head.bias"}


def test_what_is_frozen_drops_nothing_in_training_and_the_head_still_does():
    model = made({"depths": (1, 3)})
    clips = torch.randn(CLIPS)
    model.freeze("all")
    model.train()
    assert model.dropout.training
    assert not any(module.training for block in model.blocks for module in block.modules())
    model.dropout.p = 0.0
    trained = model(clips)
    assert torch.equal(trained, model.eval()(clips))


def test_each_call_replaces_the_last():
    model = made({}).train()
    model.freeze("all")
    model.freeze(0)
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert all(module.training for module in model.modules())
    copied = copy.deepcopy(model)
    copied.freeze(1)
    assert copied.blocks[1].training
    assert not copied.train().blocks[0].training
    assert model.train().blocks[0].training


def test_more_blocks_than_there_are_are_refused():
    with pytest.raises(ValueError, match="3 blocks cannot be frozen: the model has 2"):
        made({}).freeze(3)
