"""Whole published configurations, of which only shapes are needed: what official files show with and without a cfg.

Their logits, and those of every dialect at another size, are in slow tests, at the published depths and sizes.
"""

import json
import re
from dataclasses import replace

import pytest
import torch

from mvit import create_model
from mvit.model.mvit import MViT
from mvit.model.presets import get_config
from mvit.weights import dialects, fit, read, slowfast
from mvit.weights.infer import infer_config
from mvit.weights.write import write_dialect

B_16X4, B_24, IMAGE = (get_config(name) for name in ("mvit_b_16x4", "mvit_b_24_32x3", "mvit_b_16_image"))
V2_S = get_config("mvitv2_s_16x4")
TRAINED_ALIKE = {"drop_path": 0.0, "head_dropout": 0.0}

# Without MVIT.POOL_KVQ_KERNEL the official code takes stride + 1, as its MVIT_B_32x3_CONV.yaml does.
ONE_MORE = {
    "kernel_q": ((1, 1, 1), *((1, 3, 3),) * 3),
    "kernel_kv": ((1, 9, 9), (1, 5, 5), (1, 3, 3), (1, 1, 1)),
}
ONE_MORE_IMAGE = ONE_MORE | {"kernel_kv": ((1, 5, 5), (1, 3, 3), (1, 1, 1), (1, 1, 1))}
DEPTH_24 = {"depths": B_24.depths, "drop_path": 0.3}
SMALL = {"clip": (8, 160, 160)}

OFFICIAL = {
    "MViT-B 16x4, max": replace(B_16X4, pooling="max", **ONE_MORE),
    "MViT-B 16x4": B_16X4,
    "MViT-B 32x3": get_config("mvit_b_32x3"),
    "MViT-B-24 32x3": B_24,
    "MViT-B-24 32x3, kernels of stride + 1": replace(B_24, **ONE_MORE),
    "MViT-B-24 32x3, max": replace(B_24, pooling="max", **ONE_MORE),
    "MViT-B, 8 frames of 160": replace(B_16X4, **SMALL),
    "MViT-B, 8 frames of 160, max": replace(B_16X4, pooling="max", **ONE_MORE, **SMALL),
    "MViT-B-24, 8 frames of 160, max": replace(B_24, pooling="max", **ONE_MORE, **SMALL),
    "MViT-B, 8 frames of 160, joint": replace(B_16X4, positions="joint", **SMALL),
    "MViT-B-16 image": IMAGE,
    "MViT-B-16 image, max": replace(IMAGE, pooling="max", **ONE_MORE_IMAGE),
    "MViT-B-24 image, max": replace(IMAGE, pooling="max", **ONE_MORE_IMAGE, **DEPTH_24),
    "MViTv2-T image": get_config("mvitv2_t_image"),
    "MViTv2-B image": get_config("mvitv2_b_image"),
    "MViTv2-S 16x4": V2_S,
    "MViTv2-S, 8 frames of 160": replace(V2_S, **SMALL),
    "MViTv2-B 32x3": get_config("mvitv2_b_32x3"),
    "MViTv2-L 40x3": get_config("mvitv2_l_40x3"),
}


def shapes(config):
    with torch.device("meta"):
        return MViT(config).state_dict()


def as_saved(config):
    """The cfg as official files hold it: every list a block of lines, and what its models do not read around it."""
    adaptive = list(config.stride_kv[0])
    text = slowfast.dump(config).replace("POOL_KV_STRIDE_ADAPTIVE: null", f"POOL_KV_STRIDE_ADAPTIVE: {adaptive}")
    lines = ["AUG:", "  AA_TYPE: rand-m7-n4-mstd0.5-inc1", "  ENABLE: true"]
    for line in text.splitlines():
        key, _, value = line.partition(": ")
        indent = re.match(" *", line)[0]
        entries = json.loads(value) if value.startswith("[") else None
        if not entries:
            lines.append(line.replace('"', ""))
            continue
        lines.append(f"{key}:")
        for entry in entries:
            first, *others = entry if isinstance(entry, list) else [entry]
            lines.append(f"{indent}- - {first}" if isinstance(entry, list) else f"{indent}- {first}")
            lines.extend(f"{indent}  - {other}" for other in others)
    return "\n".join([*lines, "NUM_GPUS: 8", "SOLVER:", "  BASE_LR: 0.0001", "  STEPS: []"])


def as_released(config):
    """The lines of the released configurations, which leave out what is the official code's default."""
    first = config.kernel_kv[0]
    image = config.clip[0] == 1
    stem = {key: list(getattr(config, f"stem_{key}")[int(image) :]) for key in ("kernel", "stride", "padding")}
    begins = [index for index, block in enumerate(config.blocks()) if index and block.is_first_of_stage]
    queries = range(sum(config.depths)) if config.pool_every_query else begins
    relative = config.relative_positions != "none"
    lines = [
        f"DATA:\n  NUM_FRAMES: {config.clip[0]}\n  TRAIN_CROP_SIZE: {config.clip[1]}\n  TEST_CROP_SIZE: 256",
        f"MVIT:\n  PATCH_2D: {image}\n  CLS_EMBED_ON: {config.class_token}",
        *(f"  PATCH_{key.upper()}: ({', '.join(map(str, value))})" for key, value in stem.items()),
        f'  DEPTH: 16\n  EMBED_DIM: {config.widths[0]}\n  NUM_HEADS: {config.heads[0]}\n  MODE: "{config.pooling}"',
        f"  DEPTH: {sum(config.depths)}\n  DROPPATH_RATE: {config.drop_path}",
        *(f"  {key}_MUL: {[[index, 2.0] for index in begins]}" for key in ("DIM", "HEAD")),
        f"  POOL_KV_STRIDE_ADAPTIVE: {list(config.stride_kv[0])}",
        f"  POOL_Q_STRIDE: {[[index, 1, *((2, 2) if index in begins else (1, 1))] for index in queries]}",
        f"  POOL_KVQ_KERNEL: {list(first)}" if first[1] == 3 else "",
        f"  REL_POS_SPATIAL: {relative}\n  RESIDUAL_POOLING: {config.residual_pooling}  # as in v2",
        f"MODEL:\n  NUM_CLASSES: {config.num_classes}\n  DROPOUT_RATE: {config.head_dropout}",
    ]
    return "\n".join(line for line in lines if line)


@pytest.mark.parametrize("cfg", [None, slowfast.dump, as_saved, as_released])
@pytest.mark.parametrize("name", OFFICIAL)
def test_an_official_file_shows_its_whole_configuration(name, cfg):
    config = OFFICIAL[name]
    ours, _ = dialects.to_ours(dialects.to_dialect(shapes(config), config, "official"), "official")
    inferred, assumed = infer_config(ours, slowfast.parse(cfg(config)) if cfg else None)
    if cfg:
        assert inferred == config
        left_out = config.pooling == "max" and cfg is as_released
        assert assumed == (["kernels of pools their stride + 1"] if left_out else [])
        return
    assert replace(inferred, **TRAINED_ALIKE) == replace(config, **TRAINED_ALIKE)
    told = " ".join(assumed)
    assert all(word in told for word in ("stem_stride", "stem_padding", "stride_q", "stride_kv", "drop_path"))
    assert ("pooling max" in told) == ("kernels of pools their stride + 1" in told) == (config.pooling == "max")
    unpooled = config.pooling == "max" or config.kernel_kv[-1] == (1, 1, 1)  # no tensor as wide as a head
    assert ("heads 1, 2, 4, 8, each 96 channels wide" in told) == unpooled
    assert ("residual_pooling" in told) == config.residual_pooling


def test_the_released_configuration_of_24_layers_has_its_number_of_parameters():
    config = OFFICIAL["MViT-B-24 32x3, kernels of stride + 1"]
    assert sum(tensor.numel() for tensor in shapes(config).values()) == 53_115_280


MMACTION2 = {
    "mvitv2_s_16x4": {"width": 96, "heads": 1, "depth": 16, "begins": (1, 3, 14)},
    "mvitv2_b_32x3": {"width": 96, "heads": 1, "depth": 24, "begins": (2, 5, 21)},
    "mvitv2_l_40x3": {"width": 144, "heads": 2, "depth": 48, "begins": (2, 8, 44)},
}


def table_of_mmaction2(classes, clip, width, heads, depth, begins):
    """Names and shapes of mmaction2 1.2.0, which no longer installs: its backbones small, base and large."""
    t, size = clip[0] // 2, clip[1] // 4
    table = {"backbone.cls_token": (1, 1, width)}

    def add(name, *shape, bias=True):
        table[f"{name}.weight"] = shape
        if bias:
            table[f"{name}.bias"] = shape[:1]

    add("backbone.patch_embed.projection", width, 3, 3, 7, 7)
    stride_kv = 8
    for index in range(depth):
        block, stride_q, entering = f"backbone.blocks.{index}", 1, width
        if index in begins:
            heads, width, stride_q, stride_kv = heads * 2, width * 2, 2, max(stride_kv // 2, 1)
            add(f"{block}.proj", width, entering)
        rows = 2 * max(size // stride_q, size // stride_kv) - 1
        for axis, length in (("h", rows), ("w", rows), ("t", 2 * t - 1)):
            table[f"{block}.attn.rel_pos_{axis}"] = (length, width // heads)
        add(f"{block}.norm1", entering)
        add(f"{block}.attn.qkv", 3 * width, entering)
        add(f"{block}.attn.proj", width, width)
        for part in "qkv":
            add(f"{block}.attn.pool_{part}", width // heads, 1, 3, 3, 3, bias=False)
            add(f"{block}.attn.norm_{part}", width // heads)
        add(f"{block}.norm2", width)
        add(f"{block}.mlp.fc1", 4 * width, width)
        add(f"{block}.mlp.fc2", width, 4 * width)
        size //= stride_q
    add("backbone.norm3", width)
    add("cls_head.fc_cls", classes, width)
    return table


@pytest.mark.parametrize("name", MMACTION2)
def test_names_and_shapes_are_mmaction2_s(name):
    config = get_config(name)
    theirs = dialects.to_dialect(shapes(config), config, "mmaction2")
    table = table_of_mmaction2(config.num_classes, config.clip, **MMACTION2[name])
    assert {key: tuple(tensor.shape) for key, tensor in theirs.items()} == table
    with torch.device("meta"):
        state = {key: torch.empty(shape) for key, shape in table.items()}
    assert dialects.recognised(state) == "mmaction2"
    ours, _ = dialects.to_ours(state, "mmaction2")
    assert replace(infer_config(ours)[0], **TRAINED_ALIKE) == replace(config, **TRAINED_ALIKE)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", OFFICIAL)
def test_logits_of_official_files_with_and_without_cfg(name, random, logits, tmp_path):
    """At the published depth and size, and a twelfth of the width, which no shape's reading depends on."""
    config = OFFICIAL[name]
    config = replace(config, widths=tuple(width // 12 for width in config.widths), num_classes=5)
    model = random(config)
    expected = logits(model)
    theirs = dialects.to_dialect(model.state_dict(), config, "official")
    for cfg in (None, as_saved, as_released):
        torch.save({"model_state": theirs, **({"cfg": cfg(config)} if cfg else {})}, tmp_path / "m.pyth")
        inferred, state, _ = read(tmp_path / "m.pyth")
        assert replace(inferred, **TRAINED_ALIKE) == replace(config, **TRAINED_ALIKE)
        assert all(torch.equal(state[key], tensor) for key, tensor in model.state_dict().items())
    assert torch.equal(logits(create_model(inferred, weights=tmp_path / "m.pyth")), expected)


SIZES = {
    ("official", "mvit_b_16x4"): 2,
    ("official", "mvitv2_s_16x4"): 3 * 16,
    ("official", "mvit_b_16_image"): 1,
    ("official", "rev_mvit_b_16x4"): 2,
    ("torchvision", "mvit_b_16x4"): 2,
    ("torchvision", "mvitv2_s_16x4"): 3 * 16,
    ("pytorchvideo", "mvit_b_16x4"): 2,
    ("pytorchvideo-head", "mvit_b_16x4"): 2,
    ("timm", "mvitv2_t_image"): 2 * 10,
    ("mmaction2", "mvitv2_s_16x4"): 3 * 16,
}
"""Tensors that another size changes: tables of positions in space and time, relative ones in every block."""


@pytest.mark.slow
@pytest.mark.parametrize(("dialect", "name"), SIZES)
def test_full_size_weights_load_at_other_sizes(dialect, name, random, logits, tmp_path):
    """Trained at 16x224: the same at 32x256, and at 8x112, where the logits are those of the old model there."""
    model = random(get_config(name))
    write_dialect(tmp_path / "m.pth", model.state_dict(), model.config, dialect)
    image = model.config.clip[0] == 1
    for frames, size in ((32, 256), (8, 112)):
        clip = (1 if image else frames, size, size)
        config = replace(read(tmp_path / "m.pth")[0], clip=clip)
        with pytest.warns(UserWarning, match="resized: "):
            other = create_model(config, weights=tmp_path / "m.pth")
        _, state, report = read(tmp_path / "m.pth", config=config)
        fit(other, state, report)
        assert len(report.resized) == SIZES[dialect, name]
        assert len(report.loaded) == len(model.state_dict())
        assert not report.reinitialised
        same = set(report.loaded) - {line.split()[0] for line in report.resized}
        assert all(torch.equal(other.state_dict()[key], model.state_dict()[key]) for key in same)
    clips = torch.randn(1, 3, *clip)
    expected = logits(model, clips)
    assert (logits(other, clips) - expected).abs().max() <= 1e-5 * expected.abs().max()
