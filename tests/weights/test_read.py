"""Files whose tensors are no weights, and sentences about what is wrong with a file."""

import json
import warnings

import pytest
import torch

from mvit import cli, create_model
from mvit.model.presets import get_config
from mvit.weights import dialects
from mvit.weights.read import CheckpointError, describe, read
from mvit.weights.write import write, write_dialect

TEST = "mvit_test_4x32"


@pytest.fixture(scope="module")
def good():
    model = create_model(TEST)
    return dialects.to_dialect(model.state_dict(), model.config, "torchvision")


@pytest.mark.parametrize(
    ("spoil", "match"),
    [
        (torch.Tensor.to_sparse, "is sparse"),
        (lambda tensor: tensor.to("meta"), "has a shape but no data"),
        (lambda tensor: tensor.to(torch.complex64), "holds complex64"),
        (torch.Tensor.long, "holds int64"),
        (torch.Tensor.bool, "holds bool"),
        (lambda tensor: torch.zeros(1).expand(tensor.shape), "has 12,800 numbers of which the file holds 1,"),
    ],
)
def test_tensors_that_are_no_weights(spoil, match, good, tmp_path, capsys):
    path = tmp_path / "a.pth"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # sparse tensors are in beta
        torch.save(good | {"head.1.weight": spoil(good["head.1.weight"])}, path)
    for command in (["info", str(path)], ["convert", str(path), str(tmp_path / "out"), "--to", "official"]):
        assert cli.main(command) == 2
        said = capsys.readouterr().err
        assert f"head.1.weight {match}" in said
        assert len(said.splitlines()) == 1
    assert list(tmp_path.iterdir()) == [path]


def test_weights_that_are_not_finite_are_reported(good, tmp_path, capsys):
    path = tmp_path / "a.pth"
    torch.save(good | {"norm.bias": torch.full_like(good["norm.bias"], torch.nan)}, path)
    report = read(path, get_config(TEST))[2]
    assert report.not_finite == ["norm.bias"]
    assert "not finite: norm.bias" in str(report)
    assert cli.main(["info", str(path)]) == 0
    assert "norm.bias" in capsys.readouterr().out
    with pytest.warns(UserWarning, match=r"not finite: norm\.bias"):
        create_model(TEST, weights=path)


def test_files_that_hold_no_weights_are_called_what_they_are(tmp_path, capsys):
    for name, said in (
        ("a.onnx", "is an exported file, which gives scores and no more: name the run folder here"),
        ("a.xml", "is an exported file"),
        ("config.json", "is JSON, and holds no weights: name a run folder, its model.safetensors or a checkpoint"),
    ):
        (tmp_path / name).write_text("<xml>" if name == "a.xml" else "{}")
        for reader in (read, describe):
            with pytest.raises(CheckpointError, match=said):
                reader(tmp_path / name)
        assert cli.main(["info", str(tmp_path / name)]) == 2
        assert said in capsys.readouterr().err


def test_a_web_page_is_one_under_any_name(tmp_path):
    for name in ("a.pth", "a.safetensors"):
        (tmp_path / name).write_text("\n <!DOCTYPE html><html></html>")
        with pytest.raises(CheckpointError, match="web page"):
            read(tmp_path / name)


@pytest.mark.parametrize(
    "content",
    [b"abseiling\nrunning\n", b"epoch,loss\n1,2\n", b"start,end\n", b"running\n", b"RIFF\x24\x10\0\0AVI LIST"],
    ids=["classes", "log", "times", "actions", "AVI"],
)
def test_a_file_of_another_kind_is_no_checkpoint(content, tmp_path):
    (tmp_path / "a.pth").write_bytes(content)
    with pytest.raises(CheckpointError, match="cannot be read as a torch checkpoint: it is none"):
        read(tmp_path / "a.pth")


def test_what_differs_is_named_without_nothings(good, tmp_path):
    path = tmp_path / "a.pth"
    torch.save(good | {"ema.foo": torch.zeros(1)}, path)
    with pytest.raises(CheckpointError, match=r"model: it has ema\.foo beside$"):
        read(path)
    torch.save({name: tensor for name, tensor in good.items() if name != "norm.bias"}, path)
    with pytest.raises(CheckpointError, match=r"model: it lacks norm\.bias$"):
        read(path)
    torch.save({}, path)
    with pytest.raises(CheckpointError, match="holds no tensors"):
        read(path)


@pytest.mark.parametrize("cfg", ["{{{ not yaml", 7, {"MVIT": {"DEPTH": 2}}, "NUM_GPUS: 8"])
def test_a_cfg_that_says_nothing_is_said(cfg, tmp_path):
    model = create_model(TEST)
    state = dialects.to_dialect(model.state_dict(), model.config, "official")
    torch.save({"model_state": state, "cfg": cfg}, tmp_path / "a.pyth")
    assert "nothing from its cfg" in read(tmp_path / "a.pyth")[2].assumed[0]
    torch.save({"model_state": state}, tmp_path / "a.pyth")
    assert not any("cfg" in line for line in read(tmp_path / "a.pyth")[2].assumed)


@pytest.mark.parametrize("depths", [[0], "ab", 3, None, [1, "a"], [[1]], {"a": 1}])
def test_a_bad_field_in_model_json_names_the_file(depths, tmp_path):
    model = create_model(TEST)
    write(tmp_path, model.state_dict(), {"config": model.config.to_dict() | {"depths": depths}})
    with pytest.raises(CheckpointError, match=r"model\.json does not describe a model: "):
        read(tmp_path)


def test_refusals_come_without_the_library_s_warnings(tmp_path, recwarn):
    torch.save({"model_state": {"x": warnings.WarningMessage}}, tmp_path / "a.pth")
    with pytest.raises(CheckpointError, match="not executed"):
        read(tmp_path / "a.pth")
    assert not recwarn.list


def test_a_typo_in_inflate_is_refused_also_without_weights():
    with pytest.raises(ValueError, match="choose one of centre"):
        create_model(TEST, inflate="center")


def test_info_says_whose_names_and_what_is_assumed(good, tmp_path, capsys):
    torch.save(good, tmp_path / "a.pth")
    assert cli.main(["info", str(tmp_path / "a.pth")]) == 0
    out = capsys.readouterr().out
    assert "clip            4x32x32" in out
    assert "; stride_kv" in out
    model = create_model(TEST)
    write_dialect(tmp_path / "b.pyth", model.state_dict(), model.config, "official")
    assert cli.main(["info", str(tmp_path / "b.pyth")]) == 0
    assert "assumed" not in capsys.readouterr().out
    assert json.loads(json.dumps(model.config.to_dict()))
