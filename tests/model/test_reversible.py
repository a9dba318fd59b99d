"""Reversible models against the same model run plainly: values, gradients, random state, memory."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mvit import create_model
from mvit.model.mvit import MViT
from mvit.model.reversible import ReversibleBlock, TransitionBlock
from strategies import CLIPS, configurations

REVERSIBLE = {"widen_in": "attention", "class_token": False, "reversible": "average"}


def plainly(x, grid, blocks):
    for block in blocks:
        x, grid = block(x, grid)
    return x


def gradients(model, clips, seed):
    torch.manual_seed(seed)
    model.zero_grad()
    output = model(clips)
    output.square().sum().backward()
    grads = {name: parameter.grad for name, parameter in model.named_parameters() if parameter.requires_grad}
    grads = {name: torch.zeros(()) if grad is None else grad.clone() for name, grad in grads.items()}
    return output.detach(), grads, torch.get_rng_state()


@given(
    config=configurations(kind="reversible"),
    clip=CLIPS,
    drop_path=st.sampled_from([0.0, 0.5]),
    seed=st.integers(0, 999),
)
def test_gradients_are_those_of_the_plain_run(config, clip, drop_path, seed):
    """In float64, with stochastic depth, and the random state is left the same."""
    torch.manual_seed(seed)
    model = MViT(replace(config, drop_path=drop_path)).double().train()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    clips = torch.randn(2, 3, *clip, dtype=torch.float64)
    output, grads, state = gradients(model, clips, seed)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mvit.model.mvit.run_reversibly", plainly)
        expected, expected_grads, expected_state = gradients(model, clips, seed)
    assert torch.equal(output, expected)
    scale = max(1.0, *(grad.abs().max().item() for grad in expected_grads.values()))
    for name, grad in expected_grads.items():
        torch.testing.assert_close(grads[name], grad, rtol=1e-6, atol=1e-8 * scale, msg=name)
    assert torch.equal(state, expected_state)


def test_frozen_parameters_get_no_gradient_and_the_others_theirs():
    model = create_model("mvit_test_4x32", num_classes=3, depths=(2, 2), **REVERSIBLE).train()
    for name, parameter in model.named_parameters():
        parameter.requires_grad_("attn" not in name)
    model(torch.randn(2, 3, 4, 32, 32)).sum().backward()
    for name, parameter in model.named_parameters():
        assert (parameter.grad is None) == ("attn" in name), name


def kept_bytes(depth):
    model = create_model("mvit_test_4x32", num_classes=3, depths=(depth, 1), **REVERSIBLE).train()
    parameters = {parameter.data_ptr() for parameter in model.parameters()}
    kept = {}

    def pack(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in parameters:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        output = model(torch.randn(2, 3, 4, 32, 32))
    assert output.requires_grad
    return sum(kept.values())


def test_depth_costs_no_memory():
    assert kept_bytes(12) == kept_bytes(2)


def test_bfloat16_autocast_is_replayed():
    torch.manual_seed(0)
    model = create_model("mvit_test_4x32", num_classes=3, depths=(2, 2), **REVERSIBLE).train()
    clips = torch.randn(2, 3, 4, 32, 32)
    with torch.autocast("cpu", torch.bfloat16):
        loss = model(clips).float().square().sum()
    loss.backward()
    mixed = {name: parameter.grad for name, parameter in model.named_parameters()}
    model.zero_grad()
    model(clips).square().sum().backward()
    for name, parameter in model.named_parameters():
        assert mixed[name].dtype == torch.float32
        if parameter.grad.norm() > 1e-4:
            assert torch.cosine_similarity(mixed[name].flatten(), parameter.grad.flatten(), dim=0) > 0.98, name


def test_one_block_is_undone_exactly():
    block = create_model("mvit_test_4x32", depths=(1, 1), **REVERSIBLE).double().blocks[0]
    assert isinstance(block, ReversibleBlock)
    grid = (2, 4, 4)
    x = torch.randn(2, 32, 32, dtype=torch.float64)
    first, second = block(x, grid)[0].chunk(2, dim=-1)
    second = second - block.g(first, None)
    first = first - block.f(second, grid, None)
    torch.testing.assert_close(torch.cat([first, second], dim=-1), x)


@pytest.mark.parametrize("fusion", ["average", "mlp"])
def test_a_stage_begins_as_in_the_official_code(fusion):
    """StageTransitionBlock of facebookresearch/SlowFast, whose fusing MLP is a residual one, written out."""
    model = create_model("mvit_test_4x32", depths=(1, 2), **REVERSIBLE | {"reversible": fusion}).double().eval()
    block, grid = model.blocks[1], (2, 8, 8)
    assert isinstance(block, TransitionBlock)
    for parameter in block.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    x = torch.randn(2, 128, 32, dtype=torch.float64)
    if fusion == "mlp":
        fused = block.fuse.fc2(torch.nn.functional.gelu(block.fuse.fc1(x))) + x
    else:
        fused = (x[..., :16] + x[..., 16:]) / 2
    skip = block.proj(fused) if block.proj else fused
    heads = skip.unflatten(1, grid).permute(0, 4, 1, 2, 3).unflatten(1, (2, 16)).flatten(0, 1)  # (B*h, d, T, H, W)
    pooled = torch.nn.functional.conv3d(heads, block.attn.pool_q.weight, None, (1, 2, 2), 1, groups=16)
    pooled = block.attn.pool_q.norm(pooled.flatten(2).mT).unflatten(0, (2, 2)).transpose(1, 2).flatten(2)
    expected = pooled + block.attn(block.norm1(fused), grid)[0]
    expected = expected + block.mlp(block.norm2(expected))
    torch.testing.assert_close(block(x, grid)[0], torch.cat([expected, expected], dim=-1))


def test_a_reversible_model_must_widen_in_attention():
    with pytest.raises(ValueError, match="reversible blocks keep width"):
        create_model("mvit_test_4x32", reversible="mlp")
