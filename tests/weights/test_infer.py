"""The configuration from names and shapes, from an official file's cfg, and what is assumed without one."""

from dataclasses import replace

import pytest
import torch

from mvit import create_model
from mvit.model.presets import get_config
from mvit.weights import dialects, slowfast
from mvit.weights.infer import infer_config
from mvit.weights.read import CheckpointError, check, read
from mvit.weights.write import write_dialect

TRAINED = {"drop_path": 0.0, "head_dropout": 0.0, "init": "official"}

FAMILIES = (
    "v1 clips",
    "v1 clips, joint",
    "v1 clips, max",
    "v1 clips, kernels of stride + 1",
    "v1 clips, 24 layers, 8 frames, 160 pixels",
    "v1 images",
    "v1 images, separate",
    "v1 images, max",
    "v2 clips",
    "v2 clips, 8 frames, 160 pixels",
    "v2 clips, odd grids",
    "v2 images",
    "v2 images, class token",
    "v2 images, widened in the MLP",
    "reversible clips",
    "reversible images",
    "reversible images, columnar",
    "columnar",
)


def official(path, model, **content):
    torch.save({"model_state": dialects.to_dialect(model.state_dict(), model.config, "official"), **content}, path)


@pytest.mark.parametrize("family", FAMILIES)
def test_published_families_without_cfg(family, families, random, logits, tmp_path):
    model = random(families[family])
    official(tmp_path / "m.pyth", model)
    config, _, report = read(tmp_path / "m.pyth")
    assert report.assumed
    assert "assumed: " in str(report)
    assert replace(config, **TRAINED) == model.config
    assert torch.equal(logits(create_model(config, weights=tmp_path / "m.pyth")), logits(model))


@pytest.mark.parametrize(
    ("name", "cannot_be_told"),
    [
        ("mvit_b_16x4", {}),
        ("mvit_b_32x3", {}),
        ("mvit_b_64x3", {}),
        ("mvit_b_24_32x3", {}),
        ("mvit_b_16_image", {}),
        ("mvit_b_24_wide_320_image", {}),
        ("mvitv2_t_image", {}),
        ("mvitv2_l_image", {}),
        ("mvitv2_h_image", {}),
        ("mvitv2_s_16x4", {}),
        ("mvitv2_l_40x3", {}),
        ("vit_b_8x8", {}),
        ("rev_mvit_b_16x4", {}),
        ("rev_mvit_b_16_image", {}),
    ],
)
def test_presets_by_their_shapes_alone(name, cannot_be_told):
    wanted = replace(get_config(name), **TRAINED)
    with torch.device("meta"):
        state = create_model(wanted).state_dict()
    config, assumed = infer_config(state)
    assert replace(config, **TRAINED, **cannot_be_told) == wanted
    assert any(line.startswith("stem_stride") for line in assumed)


@pytest.mark.parametrize("style", ["block", "flow"])
def test_what_the_file_s_cfg_says_is_not_assumed(style, families, random, logits, tmp_path):
    fields = {
        "pooling": "average",
        "heads": (2, 2, 4, 8),
        "stride_kv": ((1, 4, 4), (1, 4, 4), (1, 2, 2), (1, 1, 1)),
        "stride_q": ((1, 1, 1), (1, 2, 2), (1, 2, 2), (2, 1, 1)),
        "residual_pooling": True,
    }
    model = random(replace(families["v1 clips"], **fields))
    cfg = slowfast.dump(model.config)
    if style == "block":
        cfg = BLOCK_STYLE
    official(tmp_path / "m.pyth", model, cfg=cfg)
    config, _, report = read(tmp_path / "m.pyth")
    assert config == model.config
    assert not report.assumed
    assert torch.equal(logits(create_model(config, weights=tmp_path / "m.pyth")), logits(model))


BLOCK_STYLE = """
BN:
  USE_PRECISE_STATS: false
DATA:
  NUM_FRAMES: 4
  MEAN:
  - 0.45
  - 0.45
  - 0.45
  PATH_TO_DATA_DIR: ''
  TEST_CROP_SIZE: 64
  TRAIN_CROP_SIZE: 64  # pixels
MODEL:
  DROPOUT_RATE: 0.0
  LOSS_FUNC: soft_cross_entropy
MVIT:
  CLS_EMBED_ON: true
  DEPTH: 6
  DROPPATH_RATE: 0.0
  DIM_MUL:
  - - 1
    - 2.0
  - - 3
    - 2.0
  - - 5
    - 2.0
  HEAD_MUL:
  - [3, 2.0]
  - [5, 2.0]
  MODE: avg
  NUM_HEADS: 2
  PATCH_2D: false
  PATCH_KERNEL: [3, 7, 7]
  PATCH_PADDING:
  - 1
  - 3
  - 3
  PATCH_STRIDE: [2, 4,
    4]
  POOL_KVQ_KERNEL:
  - 3
  - 3
  - 3
  POOL_KV_STRIDE: [[0, 1, 4, 4], [1, 1, 4, 4], [2, 1, 4, 4],
    [3, 1, 2, 2], [4, 1, 2, 2], [5, 1, 1, 1]]
  POOL_KV_STRIDE_ADAPTIVE: null
  POOL_Q_STRIDE:
  - - 1
    - 1
    - 2
    - 2
  - - 3
    - 1
    - 2
    - 2
  - - 5
    - 2
    - 1
    - 1
  RESIDUAL_POOLING: true
  SEP_POS_EMBED: true
NUM_GPUS: 8
"""


def test_the_adaptive_stride_of_the_cfg(families, random, tmp_path):
    model = random(replace(families["v1 clips"], stride_kv=((1, 4, 4), (1, 2, 2), (1, 1, 1), (1, 1, 1))))
    official(tmp_path / "m.pyth", model, cfg="MVIT:\n  POOL_KV_STRIDE_ADAPTIVE: [1, 4, 4]\n")
    config, _, report = read(tmp_path / "m.pyth")
    assert config.stride_kv == model.config.stride_kv
    assert not any("stride_kv" in line for line in report.assumed)
    assert any("stride_q" in line for line in report.assumed)


@pytest.mark.parametrize(
    ("cfg", "match"),
    [
        ("MVIT:\n  POOL_Q_STRIDE: [[1, 2]]\n", "MVIT.POOL_Q_STRIDE"),
        ("MVIT:\n  PATCH_STRIDE: 4\n", "MVIT.PATCH_STRIDE"),
        ("MVIT:\n  NUM_HEADS: many\n", "MVIT.HEAD_MUL"),
        ("MVIT:\n  NUM_HEADS: 1\n  HEAD_MUL: [3]\n", "MVIT.HEAD_MUL"),
        ("MVIT:\n  POOL_FIRST: true\n", "MVIT.POOL_FIRST"),
        ("MVIT:\n  MODE: conv_unshared\n", "'conv_unshared' as MVIT.MODE"),
        ("MVIT:\n  USE_MEAN_POOLING: true\n", "MVIT.USE_MEAN_POOLING"),
        ("MVIT:\n  DROPPATH_RATE: much\n", "drop_path is 'much'"),
        ("MVIT:\n  POOL_Q_STRIDE: 5\n", "its tensors and its cfg make no model"),
        ('MVIT:\n  MODE: ["max"]\n', "its tensors and its cfg make no model"),
        ("MVIT:\n  NUM_HEADS: 1\n  HEAD_MUL: [[1, 1e999]]\n", "its tensors and its cfg make no model"),
        pytest.param(f"MVIT:\n  MODE: {'[' * 100_000}\n", "its tensors and its cfg make no model", id="deep"),
    ],
)
def test_a_cfg_that_cannot_be_followed_is_refused(cfg, match, families, random, tmp_path):
    official(tmp_path / "m.pyth", random(families["v1 clips"]), cfg=cfg)
    with pytest.raises(CheckpointError, match=match):
        read(tmp_path / "m.pyth")


@pytest.mark.parametrize("named", [False, True])
def test_mean_pooling_without_a_class_token_is_another_model(named, families, random, tmp_path):
    """Its mean is taken before the norm, where a model without a class token has it after."""
    model = random(families["v2 images"])
    official(tmp_path / "m.pyth", model, cfg="MVIT:\n  USE_MEAN_POOLING: true\n")
    with pytest.raises(CheckpointError, match=r"MVIT\.USE_MEAN_POOLING"):
        read(tmp_path / "m.pyth", model.config if named else None)


@pytest.mark.parametrize(
    ("cfg", "match"),
    [
        ("RES_PATH: max", "'max' as MVIT.REV.RES_PATH, and this package knows 'conv' only"),
        ("PRE_Q_FUSION: max", "'max' as MVIT.REV.PRE_Q_FUSION"),
        ("BUFFER_LAYERS:\n    - 1\n    - 3", r"\[1, 3\] as MVIT.REV.BUFFER_LAYERS"),
    ],
)
def test_reversible_models_of_another_kind_are_refused(cfg, match, families, random, tmp_path):
    model = random(families["reversible clips"])
    official(tmp_path / "m.pyth", model, cfg=f"MVIT:\n  REV:\n    {cfg}\n  DEPTH: 8\n")
    for config in (None, *([] if "LAYERS" in cfg else [model.config])):  # of those, a configuration knows
        with pytest.raises(CheckpointError, match=match):
            read(tmp_path / "m.pyth", config)


def test_a_reversible_model_whose_streams_end_as_one_is_refused(families, random, tmp_path):
    model = random(families["reversible clips"])
    theirs = dialects.to_dialect(model.state_dict(), model.config, "official")
    narrow = {name: theirs[name][..., :64] for name in ("norm.weight", "norm.bias", "head.projection.weight")}
    torch.save(theirs | narrow, tmp_path / "m.pyth")
    with pytest.raises(CheckpointError, match="not as wide as two streams"):
        read(tmp_path / "m.pyth")


@pytest.mark.parametrize(("name", "tensors"), [("rev_mvit_b_16x4", 295), ("rev_mvit_b_16_image", 380)])
def test_reversible_presets_have_the_official_number_of_tensors(name, tensors):
    wanted = get_config(name)
    with torch.device("meta"):
        state = create_model(wanted).state_dict()
    theirs = dialects.to_dialect(state, wanted, "official")
    assert len(theirs) == tensors
    assert dialects.to_ours(theirs, "official")[0].keys() == state.keys()


def test_pools_left_out_of_the_last_blocks(families, random, logits, tmp_path):
    """As a released file of MViT-B 16x4 was reported to be (facebookresearch/SlowFast, issues 456 and 475)."""
    kernels = ((3, 3, 3), (3, 3, 3), (3, 3, 3), (1, 1, 1))
    model = random(replace(families["v1 clips"], kernel_kv=kernels))
    write_dialect(tmp_path / "m.pth", model.state_dict(), model.config, "torchvision")
    config, _, _ = read(tmp_path / "m.pth")
    assert config.kernel_kv == kernels
    assert torch.equal(logits(create_model(config, weights=tmp_path / "m.pth")), logits(model))


def test_positions_in_space_alone_and_none(families, random):
    for positions, clip in (("space", (16, 64, 64)), ("none", (16, 224, 224))):
        config, assumed = infer_config(random(replace(families["v1 clips"], positions=positions)).state_dict())
        assert (config.positions, config.clip) == (positions, clip)
        assert any(line.startswith("clip of 16 frames") for line in assumed)


def test_positions_that_are_not_square(families, random):
    with pytest.raises(ValueError, match="not square: name the model"):
        infer_config(random(replace(families["v1 clips"], clip=(4, 64, 96))).state_dict())
    with pytest.raises(ValueError, match="do not show how many frames"):
        infer_config(random(replace(families["v1 clips"], positions="joint", clip=(4, 64, 68))).state_dict())


def test_config_overrides_what_would_be_inferred(families, random, logits, tmp_path):
    model = random(replace(families["v1 clips"], stride_kv=((1, 2, 2),) * 4))
    write_dialect(tmp_path / "m.pth", model.state_dict(), model.config, "torchvision")
    config, state, report = read(tmp_path / "m.pth", config=model.config)
    assert config is model.config
    assert not report.assumed
    assert torch.equal(logits(create_model(config, weights=tmp_path / "m.pth")), logits(model))
    with pytest.raises(CheckpointError, match=r"norm\.bias is \(3,\)"):
        check(tmp_path, state | {"norm.bias": torch.zeros(3)}, config)
