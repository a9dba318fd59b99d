"""Weights in a model that they were not made for: other sizes, other classes, images' weights for clips."""

import re
from dataclasses import replace

import pytest
import torch

from mvit import create_model
from mvit.weights import CheckpointError, fit, read, write
from mvit.weights.write import write_dialect

CASES = [
    ("official", "v1 clips"),
    ("official", "v1 clips, joint"),
    ("official", "v1 images"),
    ("official", "v2 clips"),
    ("torchvision", "v1 clips"),
    ("torchvision", "v2 clips"),
    ("pytorchvideo", "v1 clips"),
    ("pytorchvideo-head", "v1 clips"),
    ("timm", "v2 images"),
    ("mmaction2", "v2 clips"),
]


@pytest.mark.parametrize("clip", [(16, 96, 96), (4, 32, 32)])
@pytest.mark.parametrize(("dialect", "family"), CASES)
def test_another_size_is_resized_and_reported(dialect, family, clip, families, random, logits, tmp_path):
    image = families[family].clip[0] == 1
    model = random(families[family] if image else replace(families[family], clip=(8, 64, 64)))
    frames = 1 if image else clip[0]
    config = replace(model.config, clip=(frames, *clip[1:]))
    write_dialect(tmp_path / "m.pth", model.state_dict(), model.config, dialect)
    with pytest.warns(UserWarning, match="resized"):
        other = create_model(config, weights=tmp_path / "m.pth")
    resized = {name for name, tensor in model.state_dict().items() if tensor.shape != other.state_dict()[name].shape}
    assert resized
    report = fit(create_model(config), *read(tmp_path / "m.pth", config=config)[1:])
    assert {line.split()[0] for line in report.resized} == resized
    assert not report.reinitialised
    assert not report.differing
    clips = torch.randn(1, 3, *config.clip)
    torch.testing.assert_close(logits(other, clips), logits(model, clips), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("how", ["centre", "repeat", "mean"])
@pytest.mark.parametrize(("images", "clips"), [("v1 images", "v1 clips"), ("v2 images", "v2 clips")])
def test_images_weights_in_a_model_for_clips(how, images, clips, families, random, tmp_path):
    image = random(families[images])
    write_dialect(tmp_path / "m.pyth", image.state_dict(), image.config, "official")
    config = families[clips]
    with pytest.raises(CheckpointError, match=r"lacks|say what becomes of it"):
        create_model(config, weights=tmp_path / "m.pyth")
    with pytest.warns(UserWarning, match=f"1 to 3 frames, {how}"):
        model = create_model(config, weights=tmp_path / "m.pyth", inflate=how)
    old, new = image.stem.weight, model.stem.weight
    assert torch.allclose(new.sum(2), old.sum(2) * (3 if how == "repeat" else 1), atol=1e-6)
    assert torch.equal(new[:, :, 1], old[:, :, 0] / (3 if how == "mean" else 1))
    assert bool(new[:, :, 0].any()) == (how != "centre")
    pools = (image.blocks[1].attn.pool_k.weight, model.blocks[1].attn.pool_k.weight)
    assert torch.allclose(pools[1].sum(2), pools[0].sum(2) * (3 if how == "repeat" else 1), atol=1e-6)
    if clips == "v1 clips":
        joint = image.state_dict()["positions.joint"]
        assert torch.equal(model.positions.spatial, joint[:, 1:])
        assert torch.equal(model.positions.class_position, joint[:, :1])
        assert not model.positions.temporal.any()
    _, state, report = read(tmp_path / "m.pyth", config=config)
    assert not report.differing
    fit(create_model(config), state, report, how)
    new_names = {line.split()[0] for line in report.reinitialised}
    v2 = {"class_token"} | {f"blocks.{n}.attn.relative.time" for n in range(6)}
    assert new_names == (v2 if clips == "v2 clips" else set())


@pytest.mark.parametrize(
    ("dialect", "field", "value"),
    [
        ("mvit", "width_skip", "raw"),
        ("mvit", "stride_kv", ((1, 2, 2),) * 4),
        ("official", "stride_kv", ((1, 2, 2),) * 4),
        ("official", "residual_pooling", True),
    ],
)
def test_what_no_tensor_shows_and_the_file_says_otherwise_is_told(dialect, field, value, families, random, tmp_path):
    ours = families["v1 clips"]
    theirs = replace(ours, **{field: value})
    if dialect == "mvit":
        path = tmp_path
        write(path, random(theirs).state_dict(), {"config": theirs.to_dict()})
    else:
        path = tmp_path / "m.pyth"
        write_dialect(path, random(theirs).state_dict(), theirs, dialect)
    said = f"said otherwise by the file: {field} {value}, not {getattr(ours, field)}"
    with pytest.warns(UserWarning, match=re.escape(said) + "$"):
        create_model(ours, weights=path)
    create_model(theirs, weights=path, drop_path=0.1, head_dropout=0.1, init="torch")  # which is no other model


def test_a_model_that_is_written_in_other_words_is_no_other(families, random, recwarn, tmp_path):
    ours = families["v2 clips"]
    written_out = replace(ours, padding_q=tuple(tuple(k // 2 for k in kernel) for kernel in ours.kernel_q))
    write(tmp_path / "a", random(written_out).state_dict(), {"config": written_out.to_dict()})
    single = replace(ours, depths=(1,) * ours.stages, pool_every_query=True)
    write_dialect(tmp_path / "b.pyth", random(single).state_dict(), single, "official")
    create_model(ours, weights=tmp_path / "a")
    create_model(single, weights=tmp_path / "b.pyth")
    assert not [str(each.message) for each in recwarn]


def test_kernels_of_images_want_a_word_before_they_span_time(families, random, tmp_path):
    image = random(families["v1 images, separate"])
    write_dialect(tmp_path / "m.pth", image.state_dict(), image.config, "pytorchvideo")
    with pytest.raises(CheckpointError, match=r"stem\.weight spans 1 frame, the model's 3; .* inflate='centre' or"):
        create_model(families["v1 clips"], weights=tmp_path / "m.pth")
    with pytest.raises(ValueError, match="inflate is 'center'"):
        create_model(families["v1 clips"], weights=tmp_path / "m.pth", inflate="center")


def test_a_head_of_another_width_is_no_other_classes(families, random, tmp_path):
    model = random(families["v1 clips"])
    write_dialect(tmp_path / "m.pth", model.state_dict(), model.config, "torchvision")
    _, state, report = read(tmp_path / "m.pth", config=model.config)
    with pytest.raises(CheckpointError, match=r"head\.weight is \(5, 63\)"):
        fit(model, state | {"head.weight": state["head.weight"][:, 1:]}, report)
