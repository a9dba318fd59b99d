"""Every dialect: its names, there and back bit for bit, recognised whatever wraps it, and what it cannot express."""

import re
from dataclasses import replace

import pytest
import torch

from mvit import create_model
from mvit.weights import dialects
from mvit.weights.limits import refusals
from mvit.weights.read import CheckpointError, read
from mvit.weights.write import write, write_dialect

SPOKEN = {
    "official": (
        "v1 clips",
        "v1 clips, joint",
        "v1 clips, max",
        "v1 clips, kernels of stride + 1",
        "v1 images",
        "v1 images, max",
        "v2 clips",
        "v2 clips, odd grids",
        "v2 images",
        "v2 images, class token",
        "v2 images, widened in the MLP",
        "reversible clips",
        "reversible images",
        "reversible images, columnar",
        "columnar",
    ),
    "torchvision": ("v1 clips", "v1 clips, kernels of stride + 1", "v1 images, separate", "v2 clips"),
    "pytorchvideo": ("v1 clips", "v1 clips, joint", "v1 clips, max", "v1 images, separate"),
    "pytorchvideo-head": ("v1 clips", "v1 images, separate"),
    "timm": ("v2 images", "v2 images, class token", "v2 images, widened in the MLP"),
    "mmaction2": ("v2 clips", "v2 clips, 8 frames, 160 pixels"),
}
CASES = [(dialect, family) for dialect, families in SPOKEN.items() for family in families]


@pytest.mark.parametrize(("dialect", "family"), CASES)
def test_there_and_back_bit_for_bit(dialect, family, families, random, logits, tmp_path):
    model = random(families[family])
    state = model.state_dict()
    path = tmp_path / "theirs.pth"
    write_dialect(path, state, model.config, dialect)
    config, again, report = read(path)
    trained_alike = {"drop_path": 0.0, "head_dropout": 0.0}
    assert replace(config, **trained_alike) == model.config
    assert report.dialect == dialect
    assert again.keys() == state.keys()
    assert all(torch.equal(again[name], tensor) for name, tensor in state.items())
    theirs, back = (dialects.to_dialect(tensors, model.config, dialect) for tensors in (state, again))
    assert all(torch.equal(back[name], tensor) for name, tensor in theirs.items())
    assert torch.equal(logits(create_model(config, weights=path)), logits(model))
    assert bool(report.assumed) == (dialect != "official")  # which alone comes with its configuration
    assert [path.name for path in tmp_path.iterdir()] == ["theirs.pth"]


@pytest.mark.parametrize("dialect", SPOKEN)
def test_safetensors_in_any_names(dialect, families, random, tmp_path):
    model = random(families[SPOKEN[dialect][0]])
    write_dialect(tmp_path / "model.safetensors", model.state_dict(), model.config, dialect)
    config, state, report = read(tmp_path / "model.safetensors")
    assert report.dialect == dialect
    assert bool(report.assumed) == (dialect != "official")
    assert replace(config, drop_path=0.0, head_dropout=0.0) == model.config
    assert all(torch.equal(state[name], tensor) for name, tensor in model.state_dict().items())


NAMES = {
    "official": (
        "v2 clips",
        """cls_token patch_embed.proj.weight blocks.0.attn.qkv.weight blocks.0.attn.pool_k.weight
        blocks.0.attn.norm_k.bias blocks.0.attn.rel_pos_t blocks.0.attn.proj.bias blocks.1.proj.weight
        blocks.0.mlp.fc2.weight norm.weight head.projection.bias""",
    ),
    "torchvision": (
        "v1 clips",
        """conv_proj.bias pos_encoding.class_token pos_encoding.spatial_pos pos_encoding.temporal_pos
        pos_encoding.class_pos blocks.0.attn.qkv.bias blocks.0.attn.pool_k.pool.weight blocks.0.project.weight
        blocks.0.attn.pool_k.norm_act.0.weight blocks.0.attn.project.0.weight blocks.0.mlp.0.weight blocks.0.mlp.3.bias
        norm.bias head.1.weight""",
    ),
    "official, reversible": (
        "reversible images",
        """pos_embed patch_embed.proj.bias rev_backbone.layers.0.F.norm.weight rev_backbone.layers.1.F.attn.q.weight
        rev_backbone.layers.1.F.attn.pool_q.weight rev_backbone.layers.1.F.attn.norm_q.bias
        rev_backbone.layers.0.F.attn.norm_k.weight rev_backbone.layers.2.F.attn.proj.weight
        rev_backbone.layers.2.G.norm.bias rev_backbone.layers.2.G.mlp.fc1.weight
        rev_backbone.layers.3.pre_q_fuse.fuse_fn.fc2.weight norm.weight head.projection.weight""",
    ),
    "official, reversible clips": (
        "reversible clips",
        """pos_embed_temporal rev_backbone.layers.0.F.attn.qkv.weight rev_backbone.layers.1.res_proj.bias""",
    ),
    "pytorchvideo-head": (
        "v1 clips",
        """patch_embed.patch_model.weight cls_positional_encoding.cls_token cls_positional_encoding.pos_embed_spatial
        cls_positional_encoding.pos_embed_class cls_positional_encoding.pos_embed_temporal blocks.0.attn.q.weight
        blocks.0.attn.pool_k.weight blocks.0.attn._attention_pool_k.pool.weight
        blocks.0.attn._attention_pool_k.norm.bias blocks.0.attn.norm_k.bias blocks.0.proj.bias norm_embed.weight
        head.proj.weight""",
    ),
    "timm": (
        "v2 images, widened in the MLP",
        """patch_embed.proj.weight stages.1.blocks.1.attn.qkv.weight stages.0.blocks.0.shortcut_proj_mlp.weight
        stages.2.blocks.1.attn.pool_q.weight stages.0.blocks.0.attn.norm_v.weight stages.3.blocks.0.attn.rel_pos_h
        norm.weight head.fc.weight""",
    ),
    "mmaction2": (
        "v2 clips",
        """backbone.patch_embed.projection.weight backbone.cls_token backbone.blocks.5.attn.qkv.weight
        backbone.blocks.5.attn.pool_q.weight backbone.blocks.5.attn.norm_q.weight backbone.blocks.5.attn.rel_pos_t
        backbone.blocks.5.mlp.fc1.bias backbone.blocks.1.proj.weight backbone.norm3.weight cls_head.fc_cls.weight""",
    ),
}


@pytest.mark.parametrize("dialect", NAMES)
def test_names_and_shapes_are_theirs(dialect, families, random):
    family, names = NAMES[dialect]
    dialect = dialect.split(",")[0]
    model = random(families[family])
    theirs = dialects.to_dialect(model.state_dict(), model.config, dialect)
    assert not set(names.split()) - set(theirs)
    axes = {name: tensor.ndim for name, tensor in theirs.items()}
    if dialect == "torchvision":
        assert (axes["pos_encoding.class_token"], axes["pos_encoding.spatial_pos"]) == (1, 2)
    if dialect == "timm":
        assert axes["patch_embed.proj.weight"] == axes["stages.0.blocks.0.attn.pool_q.weight"] == 4


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: {"model_state": {f"module.{name}": tensor for name, tensor in state.items()}, "epoch": 3},
        lambda state: {"state_dict": {f"model.{name}": tensor for name, tensor in state.items()}},
        lambda state: {"model": {f"module.model.{name}": tensor for name, tensor in state.items()}},
        lambda state: {"model": {"state_dict": {f"module.backbone.{name}": tensor for name, tensor in state.items()}}},
    ],
)
@pytest.mark.parametrize("dialect", SPOKEN)
def test_what_wraps_a_model_is_taken_off(dialect, wrap, families, random, tmp_path):
    model = random(families[SPOKEN[dialect][0]])
    torch.save(wrap(dialects.to_dialect(model.state_dict(), model.config, dialect)), tmp_path / "theirs.pth")
    _, state, report = read(tmp_path / "theirs.pth", config=model.config)
    assert report.dialect == dialect
    assert all(torch.equal(state[name], tensor) for name, tensor in model.state_dict().items())


def test_a_second_name_of_a_tensor_is_left_out_and_must_be_the_same(families, random, tmp_path):
    model = random(families["v1 clips"])
    theirs = dialects.to_dialect(model.state_dict(), model.config, "pytorchvideo-head")
    torch.save(theirs, tmp_path / "theirs.pth")
    report = read(tmp_path / "theirs.pth")[2]
    assert len(report.ignored) == 3 * sum(".attn.pool_" in name for name in theirs if name.endswith(".weight"))
    assert "blocks.*.attn._attention_pool_k.pool.weight x 6" in str(report)
    alias = "blocks.2.attn._attention_pool_k.norm.bias"
    torch.save(theirs | {alias: theirs[alias] + 1}, tmp_path / "theirs.pth")
    with pytest.raises(CheckpointError, match=re.escape(f"{alias} is not the same as blocks.2.attn.norm_k.bias")):
        read(tmp_path / "theirs.pth")


def test_official_files_may_have_split_projections_and_two_dimensional_pools(families, random, tmp_path):
    model = random(families["v2 images"])
    theirs = dialects.to_dialect(model.state_dict(), model.config, "official")
    split = {name: tensor for name, tensor in theirs.items() if ".qkv." not in name}
    split |= {name: tensor for name, tensor in model.state_dict().items() if re.search(r"attn\.[qkv]\.", name)}
    split = {name: tensor.squeeze(2) if ".pool_" in name else tensor for name, tensor in split.items()}
    torch.save(split, tmp_path / "theirs.pyth")
    _, state, _ = read(tmp_path / "theirs.pyth")
    assert all(torch.equal(state[name], tensor) for name, tensor in model.state_dict().items())


@pytest.mark.parametrize("dialect", SPOKEN)
def test_missing_extra_and_wrong_tensors_are_named(dialect, families, random, tmp_path):
    model = random(families[SPOKEN[dialect][0]])
    whole = dialects.to_dialect(model.state_dict(), model.config, dialect)

    def refused(state, match):
        torch.save(state, tmp_path / "bad.pth")
        with pytest.raises(CheckpointError, match=match):
            read(tmp_path / "bad.pth")

    names = (
        {ours: theirs for theirs in whole for ours in dialects.to_ours({theirs: whole[theirs]}, dialect)[0]}
        if dialect not in ("timm", "pytorchvideo-head")
        else {}
    )
    for name in ("norm.weight", "head.weight", "stem.weight", "blocks.3.norm1.bias", "blocks.3.attn.q.weight"):
        if name in names:
            refused({k: v for k, v in whole.items() if k != names[name]}, re.escape(name))
    refused(whole | {"spare": torch.zeros(1)}, "spare")
    refused(whole | {"blocks.1.gamma_1": torch.zeros(1)}, "gamma_1")
    for name, tensor in whole.items():
        if "norm2" in name or "mlp" in name:
            refused(whole | {name: tensor[..., 1:]}, r"does not fit the model that it seems to be: blocks\.0\.")
            break
    refused({"x": torch.zeros(1)}, "names that are known")


REFUSED = {
    "official": [
        ({"positions": "space"}, "positions in space alone"),
        ({"width_skip": "raw"}, "its width_skip is raw, where only skips of the norm's output exist"),
        ({"width_skip": "none"}, "its width_skip is none"),
        ({"widen_in": "merging"}, "its grid coarsens by patch merging"),
        ({"clip": (4, 64, 96)}, "64x96"),
        ({"clip": (4, 66, 66)}, "rounds? down"),
        ({"kernel_kv": ((1, 3, 3), (3, 3, 3), (3, 3, 3), (3, 3, 3))}, "different kernels"),
        ({"padding_kv": ((0, 0, 0),) * 4}, "padded"),
        ({"residual_pooling": True, "residual_class_token": True}, "a clip's class token"),
        (
            {"relative_positions": "grid", "stride_kv": ((2, 8, 8), (2, 4, 4), (2, 2, 2), (1, 1, 1))},
            "pools over time",
        ),
        ({"relative_positions": "grid", "clip": (4, 72, 72)}, "odd grids"),
        ({"reversible": "average", "widen_in": "attention"}, "reversible and has a class token"),
        ({"reversible": "average", "widen_in": "attention", "class_token": False}, "there would be one stream"),
    ],
    "torchvision": [
        ({"pooling": "max"}, "pooling is max"),
        ({"width_skip": "raw"}, "its width_skip is raw"),
        ({"widen_in": "merging"}, "patch merging"),
        ({"class_token": False}, "no class token"),
        ({"positions": "joint"}, "positions are joint"),
        ({"qkv_bias": False}, "have no bias"),
        ({"reversible": "average", "widen_in": "attention"}, "it is reversible"),
        ({"positions": "none", "relative_positions": "grid", "clip": (1, 64, 64)}, "made for images"),
    ],
    "pytorchvideo": [
        ({"residual_pooling": True}, "an MViTv2"),
        ({"positions": "none"}, "no positions"),
        ({"widen_in": "merging"}, "patch merging"),
    ],
    "timm": [
        ({}, "not images"),
        ({}, "separate"),
        ({}, "have one kernel"),
        ({"residual_pooling": True}, "not added"),
        ({"widen_in": "merging"}, "patch merging"),
    ],
    "mmaction2": [
        ({"pooling": "average"}, "pooling is average"),
        ({"widen_in": "merging"}, "patch merging"),
        ({}, "separate"),
        ({"heads": (1, 1, 1, 1)}, "four stages"),
        ({"stride_kv": ((1, 4, 4),) * 4}, "do not halve"),
        ({"residual_pooling": True, "residual_class_token": True}, "its class token"),
        ({"relative_positions": "grid", "clip": (1, 64, 64)}, "made for images"),
    ],
}


@pytest.mark.parametrize(
    ("dialect", "fields", "why"), [(dialect, *case) for dialect, cases in REFUSED.items() for case in cases]
)
def test_a_model_that_a_dialect_cannot_express_is_refused(dialect, fields, why, families, random, tmp_path):
    model = random(replace(families["v1 clips"], **fields))
    assert any(re.search(why, reason) for reason in refusals(model.config, dialect))
    with pytest.raises(ValueError, match=why):
        write_dialect(tmp_path / "out.pth", model.state_dict(), model.config, dialect)
    assert not list(tmp_path.iterdir())
    assert not refusals(model.config, "mvit")


@pytest.mark.parametrize("fields", [{"width_skip": "raw"}, {"width_skip": "none"}, {"widen_in": "merging"}])
def test_a_model_that_no_dialect_expresses_is_written_and_read_in_our_names(fields, families, random, tmp_path):
    model = random(replace(families["v1 clips"], **fields))
    write(tmp_path / "run", model.state_dict(), {"config": model.config.to_dict()})
    config, state, report = read(tmp_path / "run")
    assert (config, report.assumed) == (model.config, [])
    assert all(torch.equal(state[name], tensor) for name, tensor in model.state_dict().items())
    for dialect in SPOKEN:
        with pytest.raises(ValueError, match=f"cannot be written in the names of {dialect}: "):
            write_dialect(tmp_path / "out.pth", state, config, dialect)
