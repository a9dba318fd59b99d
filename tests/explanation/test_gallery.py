"""What is drawn of a model and a video: whole files, for models of every kind, whatever the classes are called."""

import json
import xml.etree.ElementTree as ET
from dataclasses import replace

import numpy as np
import pytest

from alive import MERGED
from lively import KINDS, lively
from mvit import create_model
from mvit.data import video
from mvit.data.sampling import ClipSampling
from mvit.data.views import Preprocessing
from mvit.deploy.predictor import Predictor
from mvit.explanation import pictures
from mvit.explanation.distance import Distance
from mvit.explanation.figures import reach
from mvit.explanation.gallery import Wish, draw
from mvit.explanation.pictures import Layer, overlaid
from pictures import save_picture

CLASSES = ("wave", "<b>bold</b> & a name that is longer than its column is wide", "rest")


@pytest.fixture
def clip(tmp_path):
    path = tmp_path / "a clip.mp4"
    video.write(path, np.random.default_rng(0).integers(0, 255, (9, 40, 48, 3), dtype=np.uint8), crf=0)
    return path


def predictor(kind: str) -> Predictor:
    model = lively(kind)[0].float()
    sampling = ClipSampling(frames=model.config.clip[0], spacing=2)
    preprocessing = Preprocessing(sampling=sampling, short_side=33, crop=33)
    return Predictor(model=model, classes=CLASSES, preprocessing=preprocessing, views=(1, 1))


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_model_is_drawn(kind, clip, tmp_path):
    looked = predictor(kind)
    facts = draw(looked, clip, tmp_path / "out", Wish(target=CLASSES[1], stage=1, block=1))
    expected = {"sheet.png", "distance.svg", "explanation.json"}
    expected |= set() if kind == "for images" else {"overlay.mp4"}
    expected.add("positions.svg")
    expected |= set() if kind in ("columnar", "v1 by max", "v1 by average") else {"kernels.svg"}
    assert {path.name for path in (tmp_path / "out").iterdir()} == expected == set(facts["files"])
    assert json.loads((tmp_path / "out" / "explanation.json").read_text(encoding="utf-8"))["score"] == facts["score"]
    scores = looked.predict(clip)
    assert facts["score"] == pytest.approx(max(scores.values()), abs=1e-6)
    assert facts["predicted"] == next(iter(scores))
    heads = looked.model.blocks[1].attn.heads
    assert video.read(tmp_path / "out" / "sheet.png").shape[1] > (3 + heads) * 144
    for figure in (tmp_path / "out").glob("*.svg"):
        ET.parse(figure)  # noqa: S314 (our own)
    if kind != "for images":
        assert len(video.read(tmp_path / "out" / "overlay.mp4")) == 4


def test_a_model_that_merges_patches_is_not_drawn_and_nothing_is_written(clip, tmp_path):
    looked = predictor("v1")
    looked = replace(looked, model=create_model("mvit_test_4x32", num_classes=3, **MERGED).eval())
    with pytest.raises(ValueError, match=r"merges patches .* 'mlp' or 'attention'"):
        draw(looked, clip, tmp_path / "out", Wish())
    assert not (tmp_path / "out").exists()


def test_the_same_is_drawn_again_and_stands_in_place_of_the_old(clip, tmp_path):
    looked = predictor("v1")
    draw(looked, clip, tmp_path / "out", Wish())
    first = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    draw(looked, clip, tmp_path / "out", Wish())
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == first


def test_frames_are_told_by_their_seconds_in_the_video(clip, tmp_path, monkeypatch):
    shown: list[float] = []
    monkeypatch.setattr(pictures, "write_sheet", lambda path, title, frames, layers, seconds: shown.extend(seconds))
    facts = draw(predictor("v1"), clip, tmp_path / "out", Wish())
    assert shown == facts["seconds"]
    labels = [
        pictures.moment(place, np.zeros((4, 1, 1, 3)), seconds) for place, seconds in ((0, shown), (3, [1e6] * 4))
    ]
    assert labels == ["frame 1, 0.00 s", "frame 4, 1000000 s"]
    assert pictures.moment(0, np.zeros((1, 1, 1, 3)), [2.5]) == "2.50 s", "of the one picture that is seen of a video"
    assert shown == pytest.approx([number / 30 for number in (0, 2, 4, 7)])  # 4 spread over the first 8 of 9


def test_an_image_is_a_clip_of_one_frame(tmp_path):
    save_picture(tmp_path / "a.png", np.full((40, 50, 3), 90, np.uint8))
    facts = draw(predictor("for images"), tmp_path / "a.png", tmp_path / "out", Wish())
    assert "overlay.mp4" not in facts["files"]
    assert facts["seconds"] is None
    (tmp_path / "numbered").mkdir()
    save_picture(tmp_path / "numbered" / "1.png", np.full((40, 50, 3), 90, np.uint8))
    facts = draw(predictor("v1"), tmp_path / "numbered", tmp_path / "of pictures", Wish())
    assert facts["seconds"] is None, "pictures hold no times"
    with pytest.raises(ValueError, match=r"is a folder, and this model looks at single images: name one image"):
        draw(predictor("for images"), tmp_path, tmp_path / "of a folder", Wish())
    assert not (tmp_path / "of a folder").exists()


def test_cells_that_nothing_reads_are_drawn_dark(clip, tmp_path, monkeypatch):
    monkeypatch.setitem(KINDS, "gaps", KINDS["columnar"] | {"stride_kv": ((1, 4, 4),)})
    drawn: list[Layer] = []
    monkeypatch.setattr(pictures, "write_sheet", lambda path, title, frames, layers, seconds: drawn.extend(layers))
    draw(predictor("gaps"), clip, tmp_path / "out", Wish(block=1, target="wave"))
    assert drawn[0].name.startswith("attention, rolled out")
    assert drawn[1].name == "class map of stage 1: wave"
    for layer in drawn:
        assert np.isfinite(layer.values).all()
    assert drawn[0].values.max() > 0
    assert (drawn[0].values == 0).any()


@pytest.mark.parametrize(
    ("wish", "said"),
    [
        (Wish(target="wafe"), "did you mean 'wave'"),
        (Wish(stage=3), "stage 3 does not exist: the model has stages 1 to 2"),
        (Wish(block=2), "block 2 does not exist: the model has blocks 0 to 1"),
        (Wish(block=1, head=2), "head 2 does not exist: block 1 has heads 0 to 1"),
        (Wish(head=0), "name one with --block"),
    ],
)
def test_what_is_not_there_is_refused_before_anything_is_written(wish, said, clip, tmp_path):
    with pytest.raises(ValueError, match=said):
        draw(predictor("v1"), clip, tmp_path / "out", wish)
    assert not (tmp_path / "out").exists()


def test_a_file_is_not_drawn_into(clip, tmp_path):
    (tmp_path / "out").write_text("mine")
    with pytest.raises(ValueError, match=r"out is a file: name a folder with --out"):
        draw(predictor("v1"), clip, tmp_path / "out", Wish())
    assert (tmp_path / "out").read_text() == "mine"


def test_an_overlay_is_brightest_where_the_map_is_highest():
    frames = np.full((1, 8, 8, 3), 100, np.uint8)
    values = np.zeros((1, 8, 8), np.float32)
    values[0, 2, 5], values[0, 2, 6] = 1.0, 0.5
    light = overlaid(frames, values).astype(int).sum(-1)[0]
    assert light[2, 5] > light[2, 6] > light[0, 0]
    even = Layer(name="a", unit="times", values=np.ones((1, 8, 8), np.float32))
    assert even.scale == "1 times everywhere"
    assert len(np.unique(overlaid(frames, even.values).reshape(-1, 3), axis=0)) == 1


def test_distances_of_several_models_stand_side_by_side_on_one_scale():
    def block(index, pixels, frames):
        even = {"even_pixels": 20.0, "even_frames": 3.0}
        return Distance(index=index, stage=index, pixels=pixels, frames=frames, **even)

    before, after = [block(0, (10.0, 30.0), (1.0, 2.0))], [block(0, (15.0, 5.0), (4.0, 1.0))]
    figure = reach(
        {"MViT": {"before": before, "after": after}, "ViT": {"before": before, "after": after}}, "of 2 clips"
    )
    root = ET.fromstring(figure)  # noqa: S314 (our own)
    space = "{http://www.w3.org/2000/svg}"
    rings = list(root.iter(f"{space}circle"))
    assert len(rings) == 2 * 2 * 2 * 2  # models, states, heads, space and time
    said = {ring.find(f"{space}title").text: float(ring.get("cy")) for ring in rings}
    assert said["block 0, head 1: 30.0"] < said["block 0, head 0: 15.0"] < said["block 0, head 1: 5.0"]
    assert "MViT, in time: frames" in {node.text for node in root.iter(f"{space}text")}
