"""Probes of ONNX files and of a torchvision model, for which no run folder is needed."""

import json
import shutil
import sys
import warnings
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from linear import CLASSES, DESCRIPTION, PREPROCESSING, described, linear, write_linear
from mvit import cli
from mvit.data import video
from mvit.data.dataset import find_all
from mvit.deploy.onnx_file import load
from mvit.evaluation.evaluate import evaluate, result
from mvit.evaluation.probes import probe


@pytest.fixture(scope="module")
def videos(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("videos")
    rng = np.random.default_rng(0)
    for name in CLASSES:
        (folder / name).mkdir()
        for n in range(2):
            frames = rng.integers(0, 255, (4, 12, 10, 3), dtype=np.uint8).repeat(4, 0).repeat(4, 1).repeat(5, 2)
            video.write(folder / name / f"{n}.mp4", frames)
    return folder


@pytest.fixture(scope="module")
def model():
    """A Video Swin of torchvision with next to no width, and random weights."""
    from torchvision.models.video import SwinTransformer3d

    torch.manual_seed(0)
    made = SwinTransformer3d(
        patch_size=[2, 4, 4], embed_dim=12, depths=[1, 1], num_heads=[1, 2], window_size=[2, 4, 4], num_classes=3
    )
    return made.eval()


@pytest.fixture(scope="module")
def exported(library, tmp_path_factory) -> Path:
    """``linear`` as an ONNX file."""
    library("onnxruntime", "export")
    return write_linear(library("onnx", "export"), tmp_path_factory.mktemp("onnx") / "model.onnx", "batch")


def figures(path: Path) -> dict:
    return json.loads(path.read_text())


@torch.inference_mode()
def logits(model: torch.nn.Module, clips: np.ndarray) -> np.ndarray:
    return model(torch.from_numpy(clips)).numpy()


def test_an_onnx_file_is_probed_as_what_it_was_made_from(exported, videos, tmp_path, capsys):
    out = tmp_path / "found.json"
    assert cli.main(["probe", str(exported), str(videos), "--orders", "2", "--seed", "3", "--out", str(out)]) == 0
    found = probe(linear, find_all(videos, CLASSES), CLASSES, PREPROCESSING, orders=2, seed=3)
    assert figures(out) == json.loads(json.dumps(found))
    assert "not asked: shuffled after the stem: the model does not let" in capsys.readouterr().out


@pytest.mark.parametrize("batch", ["batch", 1, 2, 5])
def test_files_of_so_many_clips_and_of_any_number_give_logits(batch, library, tmp_path):
    library("onnxruntime", "export")
    classifier = load(write_linear(library("onnx", "export"), tmp_path / "model.onnx", batch))
    clips = np.random.default_rng(0).normal(size=(3, 3, 8, 32, 32)).astype(np.float32)
    np.testing.assert_allclose(classifier.logits(clips), linear(clips), rtol=1e-4, atol=1e-4)
    assert (classifier.classes, classifier.preprocessing, classifier.views) == (tuple(CLASSES), PREPROCESSING, (2, 1))


def test_a_torchvision_model_is_probed(model, videos):
    samples = find_all(videos, CLASSES)
    found = probe(partial(logits, model), samples, CLASSES, PREPROCESSING, orders=1)
    evaluated = result(evaluate(partial(logits, model), samples, CLASSES, PREPROCESSING, clips=1))
    assert found["ordered"]["top1"] == evaluated["top1"]
    assert found["videos"] == 6


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_torchvision_model_exported_by_torch_is_probed_alike(model, videos, library, tmp_path):
    for needed in ("onnxruntime", "onnxscript"):
        library(needed, "export")
    path, batch = tmp_path / "model.onnx", torch.export.Dim("batch", min=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the exporter about itself
        program = torch.onnx.export(
            model, (torch.zeros(2, 3, 8, 32, 32),), dynamo=True, dynamic_shapes=({0: batch},), verbose=False
        )
    assert program is not None
    program.save(path)
    found, out = probe(partial(logits, model), find_all(videos, CLASSES), CLASSES, PREPROCESSING), tmp_path / "a.json"
    assert cli.main(["probe", str(described(path, DESCRIPTION)), str(videos), "--out", str(out)]) == 0
    assert {name: figures(out)[name]["top1"] for name in found["disorders"]} == {
        name: found[name]["top1"] for name in found["disorders"]
    }


@pytest.mark.parametrize(
    ("description", "message"),
    [
        (None, "names no classes and no preprocessing"),
        ("{", "is no JSON"),
        ("[]", "is no JSON object"),
        ({"classes": CLASSES}, "has no 'preprocessing': export it again"),
        (DESCRIPTION | {"views": [0, 1]}, r"is damaged: views are clips and crops.* not \[0, 1\]"),
        pytest.param("[" * 200_000, "is no JSON", id="deep"),
        (
            DESCRIPTION | {"classes": ["open", "shut", "open"]},
            "classes are names, each another one, not .*'open', 'shut'",
        ),
        (DESCRIPTION | {"classes": [1, 2, 3]}, r"classes are names, each another one, not '\(1, 2, 3\)'"),
        (DESCRIPTION | {"classes": CLASSES[:2]}, r"gives \['batch', 3\], but its metadata names 2 classes"),
        (DESCRIPTION | {"preprocessing": PREPROCESSING.to_dict() | {"crop": 24}}, r"clips are \[3, 8, 24, 24\]"),
    ],
)
def test_a_file_that_does_not_say_how_it_is_used_is_refused(description, message, exported, tmp_path):
    path = described(Path(shutil.copy(exported, tmp_path / "model.onnx")), description)
    with pytest.raises(ValueError, match=message):
        load(path)


def test_what_is_no_onnx_file_is_refused(library, tmp_path):
    library("onnxruntime", "export")
    with pytest.raises(FileNotFoundError, match="does not exist"):
        load(tmp_path / "gone.onnx")
    (tmp_path / "text.onnx").write_text("no model")
    with pytest.raises(
        ValueError, match=r"text\.onnx is no ONNX file that ONNX Runtime reads: Protobuf parsing failed$"
    ):
        load(tmp_path / "text.onnx")


def test_a_file_that_breaks_while_it_computes_is_said_to(library, exported, tmp_path, capfd):
    library("onnxruntime", "export")
    onnx = library("onnx", "export")
    file = onnx.load(exported)
    pick = onnx.helper.make_node("Gather", ["logits", "place"], ["chosen"], axis=1)
    file.graph.node.append(pick)
    file.graph.initializer.append(onnx.numpy_helper.from_array(np.array([0, 1, 2**40]), "place"))
    file.graph.output[0].name = "chosen"
    onnx.save(file, tmp_path / "broken.onnx")
    with pytest.raises(ValueError, match=r"broken\.onnx cannot be computed by ONNX Runtime: .*out of data bounds"):
        load(tmp_path / "broken.onnx").logits(np.zeros((1, 3, 8, 32, 32), np.float32))
    (tmp_path / "name.onnx").write_bytes(exported.read_bytes().replace(b"Flatten", b"Fl\xe9tten"))
    with pytest.raises(ValueError, match=r"name\.onnx is no ONNX file"):
        load(tmp_path / "name.onnx")
    assert capfd.readouterr() == ("", "")


def test_without_onnx_runtime_it_is_said_what_to_install(monkeypatch, tmp_path):
    (tmp_path / "model.onnx").write_text("")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ValueError, match=r"pip install 'mvit\[export\]'"):
        load(tmp_path / "model.onnx")
