"""What is computed again gives the gradients of what is kept, and the same random numbers."""

import pytest
import torch

from alive import MERGED
from mvit import create_model

V2 = {"positions": "none", "relative_positions": "grid", "residual_pooling": True, "widen_in": "attention"}
REVERSIBLE = {"class_token": False, "widen_in": "attention", "depths": (2, 2)}
MODELS = {
    "v1": {},
    "v1 without class token": {"class_token": False},
    "v1 by max": {"pooling": "max"},
    "v2": V2,
    "v2 without class token": V2 | {"class_token": False, "pool_every_query": True},
    "v1, raw skip": {"width_skip": "raw"},
    "v1, no skip": {"width_skip": "none"},
    "v2, raw skip": V2 | {"width_skip": "raw"},
    "v2, no skip": V2 | {"width_skip": "none"},
    "merging": MERGED,
    "reversible by an MLP": REVERSIBLE | {"reversible": "mlp"},
    "reversible by average": REVERSIBLE | {"reversible": "average"},
}
PLANS = {
    "elementwise": ((), True),
    "the first block": ((0,), False),
    "all blocks": (None, False),
    "the last block, the rest elementwise": ((-1,), True),
}


def step(model, clips, *, autocast=False):
    """Logits, and the gradients of the clips and of every parameter, from a fixed seed."""
    torch.manual_seed(3)
    model.zero_grad()
    clips = clips.clone().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        logits = model(clips)
    (logits.float() if autocast else logits).square().sum().backward()
    drawn_after = torch.rand(3)
    return [logits.detach(), clips.grad, *(parameter.grad for parameter in model.parameters()), drawn_after]


def choose(model, plan):
    """A plan of the table for this model: indices from the end, None for all that can be."""
    blocks, elementwise = plan
    able = [i for i, block in enumerate(model.blocks) if hasattr(block, "checkpointed")]
    chosen = able if blocks is None else [able[i] for i in blocks if able]
    model.checkpoint(chosen, elementwise=elementwise)


@pytest.mark.parametrize("plan", PLANS.values(), ids=PLANS)
@pytest.mark.parametrize("fields", MODELS.values(), ids=MODELS)
def test_gradients_are_those_of_the_plain_pass(fields, plan):
    torch.manual_seed(0)
    model = create_model("mvit_test_4x32", **{"drop_path": 0.5, "head_dropout": 0.3} | fields).double().train()
    clips = torch.randn(3, 3, 6, 40, 56, dtype=torch.float64)
    plain = step(model, clips)
    choose(model, plan)
    for was, now in zip(plain, step(model, clips), strict=True):
        assert torch.equal(was, now)
    model.checkpoint()
    assert all(torch.equal(was, now) for was, now in zip(plain, step(model, clips), strict=True))


@pytest.mark.parametrize("plan", PLANS.values(), ids=PLANS)
@pytest.mark.parametrize("fields", [MODELS["v1"], MODELS["v2"]], ids=["v1", "v2"])
def test_the_same_under_autocast(fields, plan):
    torch.manual_seed(0)
    model = create_model("mvit_test_4x32", **{"drop_path": 0.5} | fields).train()
    clips = torch.randn(2, 3, 6, 40, 56)
    plain = step(model, clips, autocast=True)
    choose(model, plan)
    assert all(torch.equal(was, now) for was, now in zip(plain, step(model, clips, autocast=True), strict=True))


def test_second_gradients_pass_through():
    """A gradient penalty differentiates what was computed again."""
    model = create_model("mvit_test_4x32", pooling="max", class_token=False).double().eval()
    for block in model.blocks:
        block.attn.fused = False
    clips = torch.randn(1, 3, 4, 32, 32, dtype=torch.float64, requires_grad=True)

    def penalty():
        (gradient,) = torch.autograd.grad(model(clips).square().sum(), clips, create_graph=True)
        return torch.autograd.grad(gradient.square().sum(), model.blocks[0].mlp.fc1.weight)[0]

    plain = penalty()
    model.checkpoint(elementwise=True)
    torch.testing.assert_close(penalty(), plain, rtol=1e-12, atol=0)


def test_a_block_that_cannot_be_checkpointed_is_named():
    model = create_model("mvit_test_4x32", **REVERSIBLE | {"reversible": "mlp"})
    with pytest.raises(ValueError, match=r"block 0 cannot be checkpointed: the blocks that can are \[2\]"):
        model.checkpoint([0])
    with pytest.raises(ValueError, match=r"block 2 cannot be checkpointed: the blocks that can are \[0, 1\]"):
        create_model("mvit_test_4x32").checkpoint([1, 2])
    with pytest.raises(ValueError, match=r"blocks is 'all': expected some of \[0, 1\], in a list, which may be all"):
        create_model("mvit_test_4x32").checkpoint("all")


def test_a_compiled_step_has_no_graph_break():
    """Hooks would break the graph, so there are none while compiling."""
    model = create_model("mvit_test_4x32", positions="none", head_dropout=0.0).train()
    model.checkpoint(elementwise=True)
    clips = torch.randn(1, 3, 4, 32, 32)
    compiled = torch.compile(model, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(clips), model(clips))
