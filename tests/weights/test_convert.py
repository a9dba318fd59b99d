"""mvit convert: there and back bit for bit, and nothing written where it is refused."""

import os

import pytest
import torch

from mvit import cli, create_model
from mvit.weights import read, write
from mvit.weights.convert import convert
from mvit.weights.write import write_dialect


@pytest.mark.parametrize("to", ["official", "torchvision", "pytorchvideo", "pytorchvideo-head", "mvit"])
def test_round_trips_are_exact(to, families, random, tmp_path, capsys):
    model = random(families["v1 clips"])
    write(tmp_path / "ours", model.state_dict(), {"config": model.config.to_dict(), "classes": list("abcde")})
    assert cli.main(["convert", str(tmp_path / "ours"), str(tmp_path / "there"), "--to", to]) == 0
    printed = capsys.readouterr().out
    assert f"{len(model.state_dict())} tensors loaded" in printed
    assert f"Wrote {tmp_path / 'there'}" in printed
    assert cli.main(["convert", str(tmp_path / "there"), str(tmp_path / "back"), "--to", "mvit"]) == 0
    assert ("assumed" in capsys.readouterr().out) == (to not in ("official", "mvit"))
    _, state, _ = read(tmp_path / "back")
    assert all(torch.equal(state[name], tensor) for name, tensor in model.state_dict().items())
    assert torch.equal(create_model(model.config, weights=tmp_path / "back").head.weight, model.head.weight)


def test_half_precision_stays(families, random, tmp_path):
    model = random(families["v1 clips"]).half()
    write_dialect(tmp_path / "a.pth", model.state_dict(), model.config, "torchvision")
    convert(tmp_path / "a.pth", tmp_path / "b.pth", "pytorchvideo")
    assert {tensor.dtype for tensor in read(tmp_path / "b.pth")[1].values()} == {torch.float16}


class Gadget:
    """What a hostile pickle does: call something when it is loaded."""

    def __reduce__(self):
        return (open, ("executed", "w"))


def test_what_is_refused_says_why_and_writes_nothing(families, random, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    model = random(families["v1 clips"])
    write_dialect("good.pth", model.state_dict(), model.config, "torchvision")
    good = torch.load("good.pth", weights_only=True)
    whole = (tmp_path / "good.pth").read_bytes()
    torch.save({"model_state": {"x": Gadget()}}, "gadget.pth")
    torch.save({name: tensor for name, tensor in good.items() if name != "conv_proj.bias"}, "missing.pth")
    torch.save(good | {"spare": torch.zeros(1)}, "extra.pth")
    torch.save(good | {"norm.bias": torch.zeros(3)}, "wrong.pth")
    (tmp_path / "page.pth").write_text("<!DOCTYPE html><html></html>")
    (tmp_path / "half.pth").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "empty.pth").write_bytes(b"")
    (tmp_path / "empty.safetensors").write_bytes(b"")
    there = set(tmp_path.iterdir())
    for source, to, match in (
        ("gadget.pth", "mvit", "not executed"),
        ("missing.pth", "official", "lacks stem.bias"),
        ("extra.pth", "official", "has spare"),
        ("wrong.pth", "official", "norm.bias is (3,)"),
        ("page.pth", "official", "web page"),
        ("half.pth", "official", "cut short or damaged"),
        ("empty.pth", "official", "damaged"),
        ("empty.safetensors", "official", "cut short or damaged"),
        ("nowhere.pth", "official", "does not exist"),
        ("good.pth", "timm", "cannot be written in the names of timm: it is made for clips"),
        ("good.pth", "torchvison", "did you mean 'torchvision'?"),
    ):
        assert cli.main(["convert", source, "out", "--to", to]) == 2
        said = capsys.readouterr().err.strip()
        assert match in said
        assert len(said.splitlines()) == 1
        assert set(tmp_path.iterdir()) == there, source
    assert cli.main(["convert", "good.pth", "half.pth", "--to", "official"]) == 2
    assert "exists already" in capsys.readouterr().err
    assert cli.main(["convert", "good.pth", "none/out.pth", "--to", "official"]) == 2
    assert "no folder" in capsys.readouterr().err
    assert set(tmp_path.iterdir()) == there


def test_a_run_is_written_as_no_other_model_than_it_says(tmp_path, capsys):
    model = create_model("mvit_test_4x32", width_skip="raw")
    write(tmp_path / "run", model.state_dict(), {"config": model.config.to_dict()})
    command = ["convert", str(tmp_path / "run"), str(tmp_path / "out"), "--to", "mvit"]
    assert cli.main([*command, "--model", "mvit_test_4x32"]) == 2
    said = capsys.readouterr().err
    assert "describes itself, and as another model (width_skip raw, not normalised): leave out --model" in said
    assert len(said.splitlines()) == 1
    assert not (tmp_path / "out").exists()
    assert cli.main(command) == 0
    assert read(tmp_path / "out")[0] == model.config


def test_a_preset_says_what_shapes_do_not(tmp_path, capsys):
    model = create_model("mvit_test_4x32").eval()
    write(tmp_path / "ours", model.state_dict(), {"config": model.config.to_dict()})
    there, back = tmp_path / "there.pth", tmp_path / "back"
    assert cli.main(["convert", str(tmp_path / "ours"), str(there), "--to", "torchvision"]) == 0
    assert cli.main(["convert", str(there), str(back), "--to", "mvit", "--model", "mvit_test_4x32"]) == 0
    assert "assumed" not in capsys.readouterr().out
    assert read(back)[0] == model.config


def test_what_the_written_file_does_not_say_is_said(tmp_path, capsys):
    preset = "mvit_tiny_16x64"
    model = create_model(preset, num_classes=5)
    ours = tmp_path / "ours"
    write(ours, model.state_dict(), {"config": model.config.to_dict()})
    for to, lost in (("torchvision", True), ("pytorchvideo", True), ("pytorchvideo-head", True), ("official", False)):
        there = tmp_path / f"{to}.pth"
        assert cli.main(["convert", str(ours), str(there), "--to", to]) == 0
        said = capsys.readouterr().out.splitlines()[-1]
        assert said.startswith(f"{there} does not say " if lost else "Wrote "), said
        if lost:
            assert "stride_kv" in said
            assert f"--model {preset}" in said
            assert read(there)[0].stride_kv != model.config.stride_kv
    for known_by in (preset, str(ours)):
        back = tmp_path / f"back{len(known_by)}"
        command = ["convert", str(tmp_path / "torchvision.pth"), str(back), "--to", "mvit", "--model", known_by]
        assert cli.main(command) == 0
        assert read(back)[0] == model.config
    other = create_model(preset, clip=(16, 48, 48))
    write(tmp_path / "other", other.state_dict(), {"config": other.config.to_dict()})
    assert cli.main(["convert", str(tmp_path / "other"), str(tmp_path / "o.pth"), "--to", "torchvision"]) == 0
    assert f"--model {tmp_path / 'other'}" in capsys.readouterr().out


def test_a_published_model_says_all_of_itself(families, random, tmp_path):
    model = random(families["v1 clips"])
    write_dialect(tmp_path / "a.pth", model.state_dict(), model.config, "torchvision")
    assert not convert(tmp_path / "a.pth", tmp_path / "b.pth", "pytorchvideo").unsaid


def test_nothing_is_made_where_a_link_points_or_beside_no_folder(families, random, tmp_path, capsys):
    model = random(families["v1 clips"])
    write_dialect(tmp_path / "a.pth", model.state_dict(), model.config, "torchvision")
    (tmp_path / "link.pth").symlink_to(tmp_path / "gone.pth")
    for out, to, match in (
        ("link.pth", "official", "exists already"),
        ("none/out", "mvit", "no folder"),
        ("none/out.pth", "official", "no folder"),
    ):
        assert cli.main(["convert", str(tmp_path / "a.pth"), str(tmp_path / out), "--to", to]) == 2
        assert match in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.pth", "link.pth"]


@pytest.mark.parametrize(
    ("out", "to"), [("a.pth", "torchvision"), ("a.safetensors", "torchvision"), ("a.pyth", "official"), ("a", "mvit")]
)
def test_a_full_disk_is_told_in_a_sentence_and_leaves_nothing(out, to, families, random, tmp_path, capsys):
    limits = pytest.importorskip("resource")
    model = random(families["v1 clips"])
    write(tmp_path / "ours", model.state_dict(), {"config": model.config.to_dict()})
    before = limits.getrlimit(limits.RLIMIT_FSIZE)
    limits.setrlimit(limits.RLIMIT_FSIZE, (4096, before[1]))
    try:
        code = cli.main(["convert", str(tmp_path / "ours"), str(tmp_path / out), "--to", to])
    finally:
        limits.setrlimit(limits.RLIMIT_FSIZE, before)
    named = tmp_path / out / "model.safetensors" if to == "mvit" else tmp_path / out
    assert code == 2
    assert capsys.readouterr().err == f"mvit: {named}: File too large\n"
    assert [path.name for path in tmp_path.iterdir()] == ["ours"]
    assert cli.main(["convert", str(tmp_path / "ours"), str(tmp_path / out), "--to", to]) == 0
    assert named.stat().st_mode & 0o777 == 0o666 & ~_umask()


def _umask() -> int:
    now = os.umask(0)
    os.umask(now)
    return now


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_info_of_what_convert_wrote(suffix, families, random, tmp_path, capsys):
    model = random(families["v1 clips"])
    (tmp_path / "folder").mkdir()
    path = tmp_path / "folder" / f"model{suffix}"
    write_dialect(path, model.state_dict(), model.config, "torchvision")
    for name in [path, path.parent] if suffix == ".safetensors" else [path]:
        assert cli.main(["info", str(name)]) == 0
        assert "torchvision" in capsys.readouterr().out
