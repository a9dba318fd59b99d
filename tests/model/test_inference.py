"""The copy for inference computes what the model does, on random configurations and in every type there is."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mvit.model.inference import PackedLinear
from mvit.model.mvit import MViT
from mvit.model.presets import get_config
from strategies import CLIPS, any_kind

CLIP = (4, 64, 64)


def model_of(name="mvit_b_16x4"):
    torch.manual_seed(0)
    return MViT(replace(get_config(name), depths=(1, 1, 1, 1), clip=CLIP, num_classes=5))


@given(config=any_kind(), clip=CLIPS, seed=st.integers(0, 999))
def test_packing_changes_nothing_but_rounding(config, clip, seed):
    torch.manual_seed(seed)
    model = MViT(config).eval()
    clips = torch.randn(2, 3, *clip)
    with torch.inference_mode():
        exact = model.double()(clips.double())
        fast = model.float().optimize_for_inference()
        torch.testing.assert_close(fast(clips).double(), exact, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["mvit_b_16x4", "mvitv2_s_16x4", "rev_mvit_b_16x4"])
def test_every_linear_layer_is_packed(name):
    fast = model_of(name).optimize_for_inference()
    kinds = [type(module) for module in fast.modules()]
    assert torch.nn.Linear not in kinds
    assert PackedLinear in kinds


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float16])
def test_halves_stay_as_near_as_the_model_s_own(kind):
    model = model_of().eval()
    clips = torch.randn(1, 3, *CLIP)
    with torch.inference_mode():
        exact = model(clips)
        own = model.to(kind)(clips.to(kind))
        fast = model.optimize_for_inference()(clips.to(kind))
    assert fast.dtype == kind
    assert (fast - exact).abs().max() <= 2 * (own - exact).abs().max() + 1e-3 * exact.abs().max()


def test_float64_is_left_as_it_is():
    model, clips = model_of().double().eval(), torch.randn(1, 3, *CLIP, dtype=torch.float64)
    with torch.inference_mode():
        assert torch.equal(model.optimize_for_inference()(clips), model(clips))


def test_the_model_itself_goes_on_training():
    model = model_of().train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    fast = model.optimize_for_inference()
    assert model.training
    assert not fast.training
    assert not any(parameter.requires_grad for parameter in fast.parameters())
    model(torch.randn(1, 3, *CLIP)).sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_a_packed_model_is_not_packed_again():
    fast = MViT(get_config("mvit_test_4x32")).optimize_for_inference()
    with pytest.raises(ValueError, match="already"):
        fast.optimize_for_inference()
