"""Exported files are served as runs are, and without torch."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from linear import CLASSES, DESCRIPTION, PREPROCESSING, linear, write_linear
from mvit.data import video
from mvit.data.views import read_views
from mvit.deploy.described import METADATA
from mvit.evaluation.scoring import SINGLE, by_name, score_views
from served import Served

WITHOUT_TORCH = """
class Hidden:
    def find_spec(self, name, *_):
        if name.partition(".")[0] in ("torch", "torchvision"):
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Hidden())
"""


@pytest.fixture(scope="module")
def clip(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    frames = np.random.default_rng(3).integers(0, 255, (4, 12, 10, 3), dtype=np.uint8)
    video.write(path, frames.repeat(4, 0).repeat(4, 1).repeat(5, 2))
    return path


def written(kind: str, library, folder: Path) -> Path:
    path = write_linear(library("onnx", "export"), folder / "linear.onnx", "batch")
    library("onnxruntime", "export")
    if kind == "openvino":
        openvino = library("openvino", "export")
        model = openvino.Core().read_model(path)
        model.set_rt_info(json.dumps(DESCRIPTION), [METADATA])
        path = path.with_suffix(".xml")
        openvino.save_model(model, path, compress_to_fp16=False)
    return path


@pytest.mark.parametrize("classes", [CLASSES[:2], [*CLASSES, "ajar"]])
def test_a_file_of_any_number_of_classes_gives_as_many_as_it_names(classes, library):
    library("granian", "serve")
    from mvit.serving import host

    model = SimpleNamespace(classes=classes, preprocessing=PREPROCESSING, scoring=SINGLE, logits=linear)
    with pytest.raises(ValueError, match=f"3 scores, but there are {len(classes)} classes"):
        host._warm_up(model)


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("doors/model.onnx", "doors"),
        ("doors/model-int8.onnx", "doors-int8"),
        ("doors/model.xml", "doors"),
        ("doors/models.onnx", "models"),
        ("doors/ajar-2.onnx", "ajar-2"),
        ("/model.onnx", "model"),
    ],
)
def test_a_file_that_export_named_is_called_after_its_folder(path, name, library, tmp_path):
    library("granian", "serve")
    from mvit.serving import host

    assert host._name(tmp_path / path) == name


@pytest.mark.parametrize("kind", ["onnx", "openvino"])
def test_it_is_served_without_torch(kind, library, clip, tmp_path):
    library("granian", "serve")
    with Served(written(kind, library, tmp_path), before=WITHOUT_TORCH) as served:
        facts = served.ask("GET", "/model").json
        assert (facts["name"], facts["classes"], facts["explains"]) == ("linear", CLASSES, False)
        answer = served.ask("POST", "/predict", clip.read_bytes())
        expected = by_name(score_views(linear, read_views(clip, PREPROCESSING, clips=2), SINGLE), CLASSES)
        assert list(answer.json["scores"]) == list(expected)
        np.testing.assert_allclose([*answer.json["scores"].values()], [*expected.values()], atol=1e-5)
        assert "segments" in served.ask("POST", "/segments", clip.read_bytes()).lines[-1]
        assert "/explain" not in served.ask("GET", "/openapi.json").json["paths"]
        refused = served.ask("POST", "/explain", clip.read_bytes())
        assert (refused.status, refused.json) == (
            404,
            {"error": "this model is not one that can be explained: serve the run folder of an MViT"},
        )
        assert served.end()[0] == 0
