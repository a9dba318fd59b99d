"""Checkpoints: the official code's answers, round trips, and files that must be refused."""

import json
import zlib
from dataclasses import replace

import numpy as np
import pytest
import torch

from mvit import create_model, weights
from mvit.model.presets import get_config
from mvit.weights import dialects
from mvit.weights.fit import fit
from mvit.weights.read import CheckpointError, LoadingReport, describe, read
from mvit.weights.write import write

TEST = "mvit_test_4x32"


def seeded(name, shape):
    """The reference folder's own recipe for a tensor's values."""
    rng = np.random.Generator(np.random.PCG64(zlib.crc32(name.encode())))
    n = rng.standard_normal(shape)
    last = name.rsplit(".", 1)[-1]
    if last == "weight" and len(shape) >= 2:
        n = n / np.sqrt(np.prod(shape[1:]))
    elif last == "weight":
        n = 1 + 0.1 * n
    else:
        n = (0.1 if last == "bias" else 0.2) * n
    return torch.from_numpy(n.astype(np.float32))


@pytest.mark.parametrize("name", ["mvit_b_16x4", "mvit_b_16_image", "mvitv2_s_16x4"])
def test_logits_are_the_official_code_s(name, shared, tmp_path):
    reference = json.loads((shared / "reference" / f"slowfast_{name}.json").read_text())
    state = {tensor: seeded(tensor, shape) for tensor, shape in reference["state_dict"].items()}
    path = tmp_path / "official.pyth"
    torch.save({"epoch": 200, "model_state": state, "optimizer_state": {}, "cfg": "NUM_GPUS: 8"}, path)

    config, ours, report = read(path)
    assert replace(config, drop_path=0.0, head_dropout=0.0) == replace(
        get_config(name), drop_path=0.0, head_dropout=0.0
    )
    assert report.dialect == "official"
    model = create_model(config, weights=path)
    clip = seeded("input", reference["input_shape"])
    clip = clip if clip.ndim == 5 else clip.unsqueeze(2)
    with torch.no_grad():
        logits = model(clip)[0].double()
    expected = torch.tensor(reference["logits"], dtype=torch.float64)
    assert (logits - expected).abs().max() <= 1e-4 * expected.abs().max()

    back = dialects.to_dialect(ours, config, "official")
    assert {name: list(tensor.shape) for name, tensor in back.items()} == reference["state_dict"]
    assert all(torch.equal(back[tensor], state[tensor]) for tensor in state)


def official_file(path, config=TEST, wrap=lambda state: {"model_state": state}, **fields):
    model = create_model(config, num_classes=5, **fields)
    torch.save(wrap(dialects.to_dialect(model.state_dict(), model.config, "official")), path)
    return model.eval()


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: state,
        lambda state: {"model_state": {f"module.{name}": tensor for name, tensor in state.items()}},
        lambda state: {"state_dict": {f"model.{name}": tensor for name, tensor in state.items()}},
    ],
)
def test_wrapped_official_files(wrap, tmp_path):
    model = official_file(tmp_path / "m.pyth", wrap=wrap)
    again = create_model(model.config, weights=tmp_path / "m.pyth")
    clip = torch.randn(1, 3, 4, 32, 32)
    with torch.no_grad():
        assert torch.equal(again(clip), model(clip))


def test_large_kernels_tell_their_stride(tmp_path):
    kernels = ((1, 9, 9), (1, 5, 5), (1, 3, 3), (1, 1, 1))
    fields = {"widths": (8, 16, 32, 64), "depths": (1, 2, 2, 1), "clip": (4, 64, 64), "init": "official"}
    official_file(tmp_path / "m.pyth", "mvit_b_16x4", kernel_kv=kernels, **fields)
    config, _, _ = read(tmp_path / "m.pyth")
    assert config.kernel_kv == kernels
    assert config.stride_kv == get_config("mvit_b_16x4").stride_kv


def test_a_run_s_files_come_back(tmp_path):
    model = create_model(TEST, num_classes=3).eval()
    write(tmp_path / "run", model.state_dict(), {"config": model.config.to_dict(), "classes": ["a", "b", "c"]})
    for path in (tmp_path / "run", tmp_path / "run" / "model.safetensors"):
        config, state, report = weights.read(path)
        assert config == model.config
        assert all(torch.equal(state[name], tensor) for name, tensor in model.state_dict().items())
        assert describe(path)["classes"] == ["a", "b", "c"]
    assert str(report).endswith(f"{len(state)} tensors loaded")
    assert sorted(file.name for file in (tmp_path / "run").iterdir()) == ["model.json", "model.safetensors"]


@pytest.mark.parametrize("there", [[], ["notes.txt"], ["model.safetensors"]])
def test_what_is_new_goes_again_where_a_description_cannot_be_written(there, tmp_path):
    limits = pytest.importorskip("resource")
    folder = tmp_path / "run"
    for name in there:
        folder.mkdir(exist_ok=True)
        (folder / name).write_bytes(b"")
    before = limits.getrlimit(limits.RLIMIT_FSIZE)
    limits.setrlimit(limits.RLIMIT_FSIZE, (4096, before[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            write(folder, {"norm.bias": torch.zeros(3)}, {"classes": ["a" * 8192]})
    finally:
        limits.setrlimit(limits.RLIMIT_FSIZE, before)
    assert sorted(path.name for path in tmp_path.rglob("*")) == sorted(["run", *there] if there else [])


def test_another_head_and_another_size_are_reported(tmp_path):
    model = create_model(TEST, num_classes=3)
    write(tmp_path, model.state_dict(), {"config": model.config.to_dict()})
    other = create_model(TEST, num_classes=7, clip=(8, 48, 40))
    _, state, report = read(tmp_path, config=other.config)
    fit(other, state, report)
    assert len(report.reinitialised) == 2
    assert "3 to 7 classes" in str(report)
    assert [line.split()[0] for line in report.resized] == ["positions.spatial", "positions.temporal"]
    assert torch.equal(other.blocks[0].mlp.fc1.weight, model.blocks[0].mlp.fc1.weight)
    with pytest.warns(UserWarning, match="3 to 7 classes"):
        create_model(TEST, num_classes=7, weights=tmp_path)


def test_a_model_that_does_not_fit_names_the_tensors(tmp_path):
    model = create_model(TEST)
    state = model.state_dict()
    extra = {**state, "spare": torch.zeros(1)}
    del extra["norm.bias"]
    with pytest.raises(CheckpointError, match=r"lacks norm\.bias and has spare"):
        fit(model, extra, LoadingReport(tmp_path, "mvit"))
    wrong = {**state, "norm.bias": torch.zeros(3)}
    with pytest.raises(CheckpointError, match=r"norm\.bias is \(3,\)"):
        fit(model, wrong, LoadingReport(tmp_path, "mvit"))


class Gadget:
    """What a hostile pickle does: call something when it is loaded."""

    def __reduce__(self):
        return (open, ("executed", "w"))


def test_hostile_and_broken_files_are_refused_in_a_sentence(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    good = tmp_path / "good.pyth"
    official_file(good)
    write(tmp_path / "run", create_model(TEST).state_dict(), {"config": get_config(TEST).to_dict()})
    whole = (tmp_path / "run" / "model.safetensors").read_bytes()

    def refused(name, content=None, match="cut short or damaged"):
        if content is not None:
            (tmp_path / name).write_bytes(content)
        with pytest.raises(CheckpointError, match=match):
            read(tmp_path / name)

    torch.save({"model_state": {"x": Gadget()}}, tmp_path / "gadget.pyth")
    refused("gadget.pyth", match="not executed")
    assert not (tmp_path / "executed").exists()
    refused("half.pyth", good.read_bytes()[: good.stat().st_size // 2])
    refused("empty.pyth", b"", match="damaged")
    refused("page.pyth", b"<!DOCTYPE html><html></html>", match="web page")
    torch.save([1, 2], tmp_path / "list.pyth")
    refused("list.pyth", match="no state dict")
    in_itself: dict[str, object] = {}
    in_itself["model"] = in_itself
    torch.save(in_itself, tmp_path / "in_itself.pyth")
    refused("in_itself.pyth", match="no state dict")
    torch.save({"stages.999999999999.blocks.0.x": torch.zeros(1)}, tmp_path / "stages.pyth")
    refused("stages.pyth", match="count 1,000,000,000,000 stages, and 1 of them have blocks")
    torch.save({"a": torch.zeros(1)}, tmp_path / "foreign.pyth")
    refused("foreign.pyth", match="names that are known")
    for cut in (0, 7, 100, len(whole) // 2, len(whole) - 1):
        refused("run/model.safetensors", whole[:cut])
    refused("run/model.safetensors", (2**40).to_bytes(8, "little") + b"{}")
    (tmp_path / "run" / "model.safetensors").write_bytes(whole)
    (tmp_path / "run" / "model.json").write_text("{")
    refused("run", match="not JSON")
    (tmp_path / "run" / "model.json").write_text('{"format": 99, "config": {}}')
    refused("run", match="format 99")
    with pytest.raises(FileNotFoundError, match="does not exist"):
        read(tmp_path / "nowhere")
    state = torch.load(good, weights_only=True)["model_state"]
    del state["norm.weight"], state["head.projection.weight"]
    torch.save(state, tmp_path / "headless.pyth")
    refused("headless.pyth", match="has no tensor")
