"""Full-size models of other libraries with random weights: the same logits here, and their own weights back.

The libraries come with the extra ``peers``; `make test-all` installs it.
"""

import json
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import nn

from mvit import create_model
from mvit.model.presets import get_config
from mvit.weights import dialects, read
from mvit.weights.published import published_for
from mvit.weights.write import write_dialect

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

_CLASS_TOKEN = {"class_token": True, "residual_class_token": True, "widen_in": "attention"}
MODELS = {
    "torchvision mvit_v1_b": get_config("mvit_b_16x4"),
    "torchvision mvit_v2_s": get_config("mvitv2_s_16x4"),
    "pytorchvideo mvit_base_16x4": get_config("mvit_b_16x4"),
    "pytorchvideo mvit_base_32x3": get_config("mvit_b_32x3"),
    "pytorchvideo mvit_base_16": replace(get_config("mvit_b_16_image"), positions="separate"),
    "timm mvitv2_tiny": get_config("mvitv2_t_image"),
    "timm mvitv2_small": get_config("mvitv2_s_image"),
    "timm mvitv2_base": get_config("mvitv2_b_image"),
    "timm mvitv2_large": get_config("mvitv2_l_image"),
    "timm mvitv2_small_cls": replace(get_config("mvitv2_s_image"), **_CLASS_TOKEN),
    "timm mvitv2_base_cls": published_for("mvitv2_b_image")["in21k_timm"].config(get_config("mvitv2_b_image")),
    "timm mvitv2_large_cls": published_for("mvitv2_l_image")["in21k_timm"].config(get_config("mvitv2_l_image")),
}
"""mvitv2_huge_cls is left out: its 0.7 billion parameters, held four times over, are more than test machines have, and
it differs from large_cls in numbers only."""


@pytest.fixture
def peer_of(library) -> Callable[[str, str], nn.Module]:
    """Makes a model of another library."""

    def make(name_of_library: str, name: str) -> nn.Module:
        if name_of_library == "timm":
            return library("timm", "peers").create_model(name)
        module = {
            "torchvision": "torchvision.models.video",
            "pytorchvideo": "pytorchvideo.models.hub.vision_transformers",
        }[name_of_library]
        return getattr(library(module, "peers"), name)()

    return make


def shaken(peer: nn.Module) -> nn.Module:
    """Random weights of which none has a special value, small enough for logits of the usual size."""
    with torch.no_grad():
        for name, parameter in sorted(peer.named_parameters()):
            noise = torch.randn_like(parameter)
            if parameter.ndim >= 2 and name.endswith("weight"):
                parameter.copy_(noise / parameter[0].numel() ** 0.5)
            elif name.endswith("weight"):
                parameter.copy_(1 + 0.1 * noise)
            else:
                parameter.copy_(0.1 * noise)
    return peer.eval()


@pytest.mark.parametrize("named", MODELS)
@pytest.mark.filterwarnings("ignore")  # what the libraries warn of is theirs
def test_logits_are_the_peer_s_and_its_weights_come_back(named, peer_of, tmp_path):
    library, name = named.split()
    peer = shaken(peer_of(library, name))
    theirs = {key: tensor.clone() for key, tensor in peer.state_dict().items()}
    torch.save(theirs, tmp_path / "theirs.pth")

    config, ours, report = read(tmp_path / "theirs.pth")
    assert report.dialect == library
    trained_alike = {"drop_path": 0.0, "head_dropout": 0.0, "num_classes": ours["head.bias"].numel()}
    assert replace(config, **trained_alike) == replace(MODELS[named], **trained_alike)
    model = create_model(config, weights=tmp_path / "theirs.pth")
    clip = torch.randn(1, 3, *config.clip)
    image = library == "timm" or name == "mvit_base_16"
    with torch.no_grad():
        expected = peer(clip[:, :, 0] if image else clip)
        logits = model(clip)
    # The pools of pytorchvideo 0.1.5 norm with an eps of 1e-5, where its later code has 1e-6: alike to 7e-7 otherwise.
    off = ((logits - expected).abs().max() / expected.abs().max()).item()
    print(json.dumps({"peer": named, "parameters": sum(t.numel() for t in ours.values()), "largest difference": off}))
    assert off <= 1e-5

    write_dialect(tmp_path / "back.pth", model.state_dict(), config, library)
    back = torch.load(tmp_path / "back.pth", weights_only=True)
    back = back.get("model_state", back)
    assert back.keys() == theirs.keys()
    assert all(torch.equal(back[key], tensor) for key, tensor in theirs.items())
    with torch.no_grad():
        for parameter in peer.parameters():
            parameter.zero_()
    peer.load_state_dict(back, strict=True)
    with torch.no_grad():
        assert torch.equal(peer(clip[:, :, 0] if image else clip), expected)


def test_a_peer_runs_what_was_made_here(peer_of):
    """The other direction: a model of ours, through torchvision's names, in torchvision's code."""
    ours = shaken(create_model("mvit_b_16x4"))
    peer = peer_of("torchvision", "mvit_v1_b").eval()
    peer.load_state_dict(dialects.to_dialect(ours.state_dict(), ours.config, "torchvision"), strict=True)
    clip = torch.randn(1, 3, 16, 224, 224)
    with torch.no_grad():
        expected = ours(clip)
        assert (peer(clip) - expected).abs().max() <= 1e-5 * expected.abs().max()
