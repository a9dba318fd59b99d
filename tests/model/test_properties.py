"""What holds of every model there is, on random configurations, sizes and weights, in float64."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from mvit.model.attention import MultiscaleAttention
from mvit.model.config import MViTConfig
from mvit.model.mvit import MViT
from strategies import CLIPS, any_kind

SEEDS = st.integers(0, 999)


def random_model(config, seed):
    torch.manual_seed(seed)
    model = MViT(config).double().eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return model


def random_clips(clip, batch=1):
    return torch.randn(batch, 3, *clip, dtype=torch.float64)


@given(config=any_kind(), clip=CLIPS, seed=SEEDS, batch=st.integers(1, 2))
def test_grids_are_ceilings_and_channels_the_configuration_s(config, clip, seed, batch):
    model, clips = random_model(config, seed), random_clips(clip, batch)
    with torch.no_grad():
        logits, pyramid = model(clips), model.features(clips)
    assert logits.shape == (batch, config.num_classes)
    assert logits.isfinite().all()
    grid, channels = config.grid_of(clip), config.widths
    if config.widen_in == "mlp":
        channels = (*channels[1:], channels[-1])
    for feature, stride, width in zip(pyramid, config.stride_q, channels, strict=True):
        grid = tuple(-(-size // step) for size, step in zip(grid, stride, strict=True))
        assert feature.shape == (batch, width * (1 if config.reversible == "none" else 2), *grid)


@given(config=any_kind(), clip=CLIPS, seed=SEEDS)
def test_fused_attention_is_the_explicit_one(config, clip, seed):
    model, clips = random_model(config, seed), random_clips(clip)
    with torch.no_grad():
        fused = model(clips)
        for module in model.modules():
            if isinstance(module, MultiscaleAttention):
                module.fused = False
        torch.testing.assert_close(model(clips), fused, rtol=1e-9, atol=1e-9)


@given(config=any_kind(), clip=CLIPS, seed=SEEDS)
def test_a_configuration_and_a_state_dict_make_the_model_again(config, clip, seed):
    model, clips = random_model(config, seed), random_clips(clip)
    again = MViT(MViTConfig.from_dict(config.to_dict())).double().eval()
    again.load_state_dict(model.state_dict(), strict=True)
    with torch.no_grad():
        assert torch.equal(again(clips), model(clips))
