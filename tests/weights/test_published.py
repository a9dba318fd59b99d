"""The table of published weights: well formed, documented, and equal to what torchvision says of its own."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from mvit.model.mvit import MViT
from mvit.model.presets import get_config
from mvit.weights import hub, published
from mvit.weights.infer import infer_config
from mvit.weights.published import DATA_SETS, PUBLISHED, SOURCES, published_for

ROOT = Path(__file__).parents[2]


def test_names_are_unique_per_preset():
    names = [(entry.preset, entry.name) for entry in PUBLISHED]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("entry", PUBLISHED, ids=lambda entry: f"{entry.preset}-{entry.name}")
def test_the_table_is_well_formed(entry):
    preset = get_config(entry.preset)
    data, source, *_ = entry.name.split("_")
    assert data in DATA_SETS
    assert source in SOURCES
    assert entry.url.startswith("https://")
    assert all(10 < figure <= 100 for figure in entry.accuracy)
    assert list(entry.accuracy) == sorted(entry.accuracy)
    config = entry.config(preset)
    assert config.num_classes == entry.data.classes
    preprocessing = entry.protocol.preprocessing
    assert (preprocessing.sampling.frames, preprocessing.crop, preprocessing.crop) == config.clip
    assert entry.sha256 or source not in ("torchvision", "mmaction2")
    page = (ROOT / "docs/reproduce.md").read_text(encoding="utf-8").splitlines()
    (row,) = [line for line in page if line.startswith(f"| `mvit fetch {entry.preset} {entry.name}` |")]
    figures = " / ".join(f"{figure:g}" for figure in entry.accuracy)
    assert f"| {figures or 'none published'} | {entry.protocol} | {'not yet' if figures else '-'} |" in row


BY_NAME = {entry.config(get_config(entry.preset)): f"{entry.preset}-{entry.name}" for entry in PUBLISHED}


@pytest.mark.parametrize("config", BY_NAME, ids=BY_NAME.values())
def test_by_name_a_model_is_what_its_tensors_are_taken_for(config):
    with torch.device("meta"):
        inferred, _ = infer_config(MViT(config).state_dict())
    trained = ("drop_path", "head_dropout", "init")
    assert inferred == replace(config, **{name: getattr(inferred, name) for name in trained})


def test_in_clips_no_queries_are_added_to_the_class_token_s_whatever_a_model_starts_from():
    entry = published_for("mvitv2_l_image")["in21k_mvit"]
    assert entry.config(get_config("mvitv2_l_image")).residual_class_token
    clips = get_config("mvitv2_l_40x3")
    assert entry.config(clips) == replace(clips, num_classes=19168)


def test_torchvision_s_own_facts():
    from torchvision.models.video import MViT_V1_B_Weights, MViT_V2_S_Weights

    for preset, weights in (("mvit_b_16x4", MViT_V1_B_Weights), ("mvitv2_s_16x4", MViT_V2_S_Weights)):
        theirs = weights.KINETICS400_V1
        ours = published.published_for(preset)["k400_torchvision"]
        assert ours.url == theirs.url
        assert ours.accuracy == tuple(theirs.meta["_metrics"]["Kinetics-400"].values())
        assert hub.class_names(ours) == tuple(theirs.meta["categories"])
        transforms, preprocessing = theirs.transforms(), ours.protocol.preprocessing
        assert transforms.crop_size == [preprocessing.crop] * 2
        assert transforms.resize_size == [preprocessing.short_side]
        assert transforms.mean == list(preprocessing.mean)
        assert transforms.std == list(preprocessing.std)


def test_classes_of_imagenet_have_different_names():
    entry = published.published_for("mvitv2_t_image")["in1k_mvit"]
    assert len(set(hub.class_names(entry))) == 1000
