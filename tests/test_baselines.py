"""Other people's models under their names; where a library is missing, what to install."""

import importlib.util
from dataclasses import replace

import pytest
import torch

from mvit import baselines
from mvit.analysis.complexity import complexity
from mvit.analysis.counter import count
from mvit.baselines import BASELINES
from mvit.model.presets import PRESETS, get_config


@pytest.mark.parametrize(
    ("name", "parameters", "gmac"),
    [("vgg16", 138_357_544, 15.47), ("swin_t", 28_288_354, 4.49), ("video_swin_t", 28_158_070, 88.06)],
)
def test_counts_of_models_that_torchvision_builds(name, parameters, gmac):
    """torchvision's own figures; those of Video Swin are counted with LayerNorms."""
    counted = count(lambda: baselines.create(name), BASELINES[name].clip)
    assert counted.parameters == parameters
    assert min(abs(macs / 1e9 / gmac - 1) for macs in (counted.macs, counted.macs_with_norms)) < 1e-3


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # what the libraries warn of is theirs
@pytest.mark.parametrize("name", [name for name in BASELINES if name.partition("_")[2] in PRESETS])
def test_a_preset_by_another_library_costs_what_ours_does(name, library):
    library(BASELINES[name].library, "baselines")
    config = get_config(name.partition("_")[2])
    if name == "pytorchvideo_mvit_b_16_image":  # the one that differs: its positions are a table for each axis
        config = replace(config, positions="separate")
    ours = complexity(config)
    counted = count(lambda: baselines.create(name), BASELINES[name].clip)
    assert (counted.parameters, counted.macs) == (ours.parameters, ours.macs)


def test_an_image_model_takes_clips_of_one_frame():
    model = baselines.create("resnet50").eval()
    with torch.no_grad():
        images = torch.randn(2, 3, 64, 64)
        assert torch.equal(model(images[:, :, None]), model.model(images))
    with pytest.raises(ValueError, match="clips have 2 frames"):
        model(torch.zeros(1, 3, 2, 64, 64))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # what the libraries warn of is theirs
@pytest.mark.parametrize("name", BASELINES)
def test_every_baseline_goes_from_a_clip_to_logits(name, library):
    library(BASELINES[name].library, "baselines")
    with torch.device("meta"):
        model = baselines.create(name).eval()
        with torch.no_grad():
            logits = model(torch.empty(2, 3, *BASELINES[name].clip))
    assert logits.shape == (2, 1000 if BASELINES[name].clip[0] == 1 else 400)


def test_an_unknown_baseline_names_all():
    with pytest.raises(ValueError, match=r"no baseline is called 'swin_x': there are .*swin_t"):
        baselines.create("swin_x")


def test_a_missing_library_says_what_to_install(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"deit_b is built by timm, which is not installed: pip install 'mvit\[bas"):
        baselines.create("deit_b")
