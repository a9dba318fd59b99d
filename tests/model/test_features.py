"""The pyramid alone: what is said of its levels is what they are, for every preset."""

from collections import OrderedDict
from dataclasses import replace

import pytest
import torch
from torchvision.ops import FeaturePyramidNetwork

import mvit
from mvit.model.config import MViTConfig
from mvit.model.features import feature_info
from mvit.model.presets import get_config

SMALL = "mvit_test_4x32"
OTHERS = {
    "merging": {"widen_in": "merging", "width_skip": "normalised", "pool_every_query": False},
    "reversible": {"reversible": "mlp", "widen_in": "attention", "class_token": False, "depths": (2, 2)},
}


def levels(config: MViTConfig) -> list[torch.Size]:
    """Shapes of what the model really gives, computed without memory."""
    with torch.device("meta"):
        model = mvit.create_model(config, features_only=True)
        return [level.shape for level in model(torch.empty(2, 3, *config.clip))]


def agrees(config: MViTConfig) -> None:
    config = replace(config, depths=tuple(min(depth, 2) for depth in config.depths))  # the same levels, sooner
    info, shapes = feature_info(config), levels(config)
    assert [shape[1] for shape in shapes] == info.channels()
    for shape, stride in zip(shapes, info.strides, strict=True):
        expected = [-(-size // step) for size, step in zip(config.clip, stride, strict=True)]
        assert list(shape[2:]) == expected


@pytest.mark.parametrize("name", mvit.list_models())
def test_what_is_said_of_a_presets_levels_is_so(name):
    agrees(get_config(name))


@pytest.mark.parametrize("fields", OTHERS.values(), ids=OTHERS)
def test_and_of_other_ways_to_widen(fields):
    agrees(replace(get_config(SMALL), **fields))


def test_published_reductions():
    info = feature_info(get_config("mvit_b_16x4"))
    assert info.channels() == [192, 384, 768, 768]
    assert info.reduction() == [4, 8, 16, 32]
    assert info.strides == ((2, 4, 4), (2, 8, 8), (2, 16, 16), (2, 32, 32))
    config = replace(get_config(SMALL), stem_stride=(2, 4, 8))
    with pytest.raises(ValueError, match=r"differ between rows and columns: take \.strides"):
        feature_info(config).reduction()


def test_it_gives_what_the_model_gives_and_every_parameter_learns():
    torch.manual_seed(0)
    whole = mvit.create_model(SMALL).eval()
    torch.manual_seed(0)
    model = mvit.create_model(SMALL, features_only=True).eval()
    clips = torch.randn(2, 3, *whole.config.clip)
    for level, expected in zip(model(clips), whole.features(clips), strict=True):
        torch.testing.assert_close(level, expected, rtol=0, atol=0)
    sum(level.sum() for level in model(clips)).backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_a_feature_pyramid_network_is_built_on_what_it_says():
    model = mvit.create_model(SMALL, features_only=True)
    network = FeaturePyramidNetwork(model.feature_info.channels(), 8)
    of_frames = OrderedDict((str(n), level.mean(dim=2)) for n, level in enumerate(model(torch.randn(1, 3, 4, 32, 32))))
    found = network(of_frames)
    assert [level.shape[2] for level in found.values()] == [32 // step for step in model.feature_info.reduction()]


def test_weights_come_first(tmp_path):
    whole = mvit.create_model(SMALL, num_classes=3)
    mvit.weights.write(tmp_path / "run", whole.state_dict(), {"config": whole.config.to_dict()})
    model = mvit.create_model(SMALL, num_classes=3, weights=tmp_path / "run", features_only=True)
    assert not model.training
    torch.testing.assert_close(model.model.stem.weight, whole.stem.weight, rtol=0, atol=0)


def test_levels_are_chosen_from_the_list():
    with pytest.raises(ValueError, match="there is no out_indices: features_only gives every level, so choose"):
        mvit.create_model(SMALL, features_only=True, out_indices=(1, 2))
