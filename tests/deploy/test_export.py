"""Exported files say what the run says that they are from, by themselves; what is off is not written."""

import json
import resource
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import exports
import mvit
from mvit import cli
from mvit.data.views import read_views
from mvit.deploy import graph, onnx_file
from mvit.deploy.described import METADATA
from mvit.deploy.export import SUFFIXES, export
from mvit.deploy.predictor import load

ROOT = Path(__file__).parents[2]
BATCHES = (1, 2, 5)


@pytest.fixture(scope="module")
def needed(library) -> None:
    for module in ("onnx", "onnxscript", "onnxruntime", "openvino"):
        library(module, "export")


@pytest.fixture(scope="module")
def clips(videos) -> np.ndarray:
    paths = sorted(videos.glob("*/*.mp4"))[:10]
    return np.concatenate([read_views(path, exports.PREPROCESSING, clips=1) for path in paths])


@pytest.fixture(scope="module")
def onnx(needed, run) -> Path:
    assert "the same first class on 9 of 9" in export(run, "onnx")
    return run / "model.onnx"


def differences(model, path: Path, clips: np.ndarray) -> float:
    expected = model.logits(clips)
    found = mvit.load(path)
    return max(
        float(np.abs(found.logits(clips[at : at + size]) - expected[at : at + size]).max() / np.abs(expected).max())
        for size in BATCHES
        for at in range(0, len(clips), size)
    )


def says_the_same(model, path: Path, videos: Path, within: float) -> None:
    found = mvit.load(path)
    for name in ("classes", "preprocessing", "views", "scoring", "protocol"):
        assert getattr(found, name) == getattr(model, name)
    video = videos / "up" / "1.mp4"
    assert found.predict(video) == pytest.approx(model.predict(video), abs=within)


def test_onnx_says_what_the_run_says_in_any_batch(onnx, run, videos, clips):
    model = load(run, device="cpu")
    assert np.ptp(model.logits(clips).argmax(axis=1)) > 0, "another class is first in another clip"
    assert differences(model, onnx, clips) < 1e-5
    says_the_same(model, onnx, videos, 1e-5)


def test_onnx_holds_what_it_needs_and_nothing_of_this_machine(onnx, run):
    import onnx as library

    file = library.load(onnx)
    library.checker.check_model(file)
    assert "ScatterND" not in {node.op_type for node in file.graph.node}
    assert file.opset_import[0].version == graph.OPSET
    (said,) = (entry.value for entry in file.metadata_props if entry.key == METADATA)
    assert json.loads(said) == json.loads((run / "model.json").read_text())
    for path in {str(ROOT), sys.prefix, str(Path(torch.__file__).parent)}:
        assert path.encode() not in onnx.read_bytes()


@pytest.mark.parametrize("to", ["onnx", "openvino", "torch"])
def test_a_file_of_a_fixed_batch_takes_so_many_clips_and_no_other_number(to, needed, run, videos, clips, tmp_path):
    path = tmp_path / f"model{SUFFIXES[to]}"
    assert "on 10 clips in batches of 4: " in export(run, to, path, batch=4, data=videos)
    if to == "torch":
        module = torch.export.load(path).module()
        assert module(torch.from_numpy(clips[:4])).shape == (4, len(exports.CLASSES))
        with pytest.raises(Exception, match="4"):
            module(torch.from_numpy(clips[:2]))
        return
    found, model = mvit.load(path), load(run, device="cpu")
    taken = found.session.get_inputs()[0].shape if to == "onnx" else list(found.compiled.input(0).shape)
    assert taken == [4, 3, 4, 32, 32]
    assert differences(model, path, clips) < 1e-5
    says_the_same(model, path, videos, 1e-3)


def test_openvino_says_what_the_run_says_in_any_batch(needed, run, videos, clips, tmp_path):
    export(run, "openvino", tmp_path / "model.xml")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.bin", "model.xml"]
    model = load(run, device="cpu")
    assert differences(model, tmp_path / "model.xml", clips) < 1e-5
    says_the_same(model, tmp_path / "model.xml", videos, 1e-3)
    (tmp_path / "model.bin").unlink()
    with pytest.raises(FileNotFoundError, match=r"model\.bin does not exist"):
        mvit.load(tmp_path / "model.xml")


def test_a_program_of_torch_says_what_the_run_says_and_is_not_opened_unasked(run, clips, tmp_path):
    path = tmp_path / "model.pt2"
    export(run, "torch", path)
    said = {graph.MODEL_JSON: ""}
    program = torch.export.load(path, extra_files=said)
    assert json.loads(said[graph.MODEL_JSON]) == json.loads((run / "model.json").read_text())
    expected, module = load(run, device="cpu").logits(clips), program.module()
    for size in BATCHES:
        with torch.inference_mode():
            found = module(torch.from_numpy(clips[:size])).numpy()
        np.testing.assert_allclose(found, expected[:size], rtol=0, atol=1e-5 * np.abs(expected).max())
    assert str(ROOT).encode() not in path.read_bytes()
    with pytest.raises(ValueError, match="opening one executes what is in it"):
        mvit.load(path)


def test_relative_positions_and_residual_pooling_leave_no_scatter(needed, tmp_path):
    import onnx as library

    model = exports.small(
        positions="none", relative_positions="grid", residual_pooling=True, class_token=False, pool_every_query=True
    )
    path = tmp_path / "model.onnx"
    description = {"classes": exports.CLASSES, "preprocessing": exports.PREPROCESSING.to_dict(), "views": [1, 1]}
    graph.write_onnx(graph.traced(model, exports.PREPROCESSING), json.dumps(description), path)
    assert "ScatterND" not in {node.op_type for node in library.load(path).graph.node}
    clips = np.random.default_rng(0).normal(size=(5, 3, 4, 32, 32)).astype(np.float32)
    with torch.inference_mode():
        expected = model(torch.from_numpy(clips)).numpy()
    for size in BATCHES:
        found = onnx_file.load(path).logits(clips[:size])
        np.testing.assert_allclose(found, expected[:size], rtol=0, atol=1e-5 * np.abs(expected).max())


def test_int8_is_small_and_says_the_same_of_a_clip_whatever_is_beside_it(needed, onnx, videos, clips, tmp_path):
    run, path = exports.write_run(tmp_path / "run", videos, lead=30), tmp_path / "model.onnx"
    assert "videos that the run held out" in export(run, "onnx", path, int8=True)
    assert path.stat().st_size < 0.6 * onnx.stat().st_size
    found = mvit.load(path)
    together = found.logits(clips)
    alone = np.concatenate([found.logits(clip) for clip in np.split(clips, len(clips))])
    np.testing.assert_allclose(together, alone, rtol=0, atol=1e-5 * np.abs(together).max())
    expected = load(run, device="cpu").logits(clips)
    off = np.abs(together - expected).max() / np.abs(expected).max()
    assert 1e-4 < off < 0.5
    assert found.classes == tuple(exports.CLASSES)


@pytest.mark.parametrize(("int8", "said"), [(False, "is off by more than"), (True, "names another class on")])
def test_what_is_off_leaves_nothing_behind(int8, said, needed, run, tmp_path, monkeypatch):
    opened = onnx_file.load

    def reversed_logits(path: Path, **how):
        found = opened(path, **how)
        monkeypatch.setattr(type(found), "logits", lambda self, clips: -load(run, device="cpu").logits(clips))
        return found

    monkeypatch.setattr(onnx_file, "load", reversed_logits)
    with pytest.raises(ValueError, match=f"nothing was written: .*{said}"):
        export(run, "onnx", tmp_path / "out" / "model.onnx", int8=int8)
    assert not (tmp_path / "out").exists()


def test_a_model_that_no_onnx_file_holds_is_refused(needed, run, tmp_path, monkeypatch):
    monkeypatch.setattr(graph, "MOST_BYTES", 1000)
    with pytest.raises(ValueError, match=r"GB of weights, and an ONNX file holds .* export it --to torch"):
        export(run, "onnx", tmp_path / "out" / "model.onnx")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("to", ["onnx", "openvino", "torch"])
def test_a_full_disk_is_said_of_the_file_and_nothing_is_left(to, needed, run, tmp_path):
    path = tmp_path / to / f"model{SUFFIXES[to]}"
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
    try:
        with pytest.raises(OSError, match=r"File too large: .*model\."):
            export(run, to, path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not path.parent.exists()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"to": "tflite"}, "--to is 'tflite': expected one of onnx, openvino, torch"),
        ({"to": "openvino", "int8": True}, "--int8 is written as ONNX, not as openvino"),
        ({"to": "onnx", "out": Path("model.xml")}, "ends in .onnx"),
        ({"to": "onnx", "batch": 0}, "--batch is 0: it is 1 or more"),
        ({"to": "transformers", "batch": 2}, "transformers takes any number"),
        ({"to": "onnx", "out": Path(__file__).with_name("taken.onnx")}, "does not say which videos it held out"),
    ],
)
def test_what_cannot_be_is_refused_in_a_sentence(options, said, tmp_path):
    with pytest.raises(ValueError, match=said):
        export(exports.write_run(tmp_path / "run"), **options)


def test_too_few_videos_are_refused_and_what_is_there_stays(run, tmp_path):
    few = exports.write_videos(tmp_path / "few", each=1)
    (few / "up" / "bad.mp4").write_text("no video")
    with pytest.raises(ValueError, match=r"only 3 of 4 videos of .*few can be read \(.*bad\.mp4: .*5 clips or more"):
        export(run, "torch", tmp_path / "model.pt2", data=few)
    (tmp_path / "there.onnx").write_text("kept")
    with pytest.raises(FileExistsError, match="exists already"):
        export(run, "onnx", tmp_path / "there.onnx")
    assert (tmp_path / "there.onnx").read_text() == "kept"


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_model_of_another_library_is_exported_or_refused(needed, library, videos, tmp_path):
    from mvit import weights
    from mvit.baselines.sizes import BaselineConfig

    config = BaselineConfig(
        baseline="video_swin", clip=(4, 32, 32), depths=(1, 1, 1, 1), width=8, heads=(1, 1, 2, 2), patch=(2, 4, 4),
        num_classes=3,
    )  # fmt: skip
    run = exports.write_run(tmp_path / "run", videos, config=config.to_dict())
    weights.write(run, weights.build(config).state_dict(), json.loads((run / "model.json").read_text()))
    assert "the same first class on 9 of 9" in export(run, "onnx")


# ---- by the commands -----------------------------------------------------------------------------------------------

WITHOUT_TORCH = """
import sys

class Without:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "torchvision", "safetensors", "PIL", "matplotlib"):
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Without())
from mvit import cli
run, videos, out = sys.argv[1:]
for words in (
    ["predict", run, f"{videos}/up/1.mp4", "--json"],
    ["evaluate", run, videos, "--out", f"{out}/result.json"],
    ["probe", run, videos, "--orders", "1", "--out", f"{out}/probe.json"],
):
    assert cli.main(words) == 0, words
"""


def test_files_are_predicted_evaluated_and_probed_without_torch(onnx, run, videos, tmp_path, capsys):
    import subprocess

    words = [sys.executable, "-W", "error", "-c", WITHOUT_TORCH, str(onnx), str(videos), str(tmp_path)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=110)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout.splitlines()[0])
    assert said["scores"] == pytest.approx(load(run, device="cpu").predict(videos / "up" / "1.mp4"), abs=1e-5)
    assert cli.main(["evaluate", str(run), str(videos), "--out", str(tmp_path / "ours.json")]) == 0
    ours, its = (json.loads((tmp_path / name).read_text()) for name in ("ours.json", "result.json"))
    assert its == ours
    assert its["videos"] == 9, "those that the run held out"
    assert json.loads((tmp_path / "probe.json").read_text())["videos"] == 9


def test_the_command_exports_and_files_are_compared_and_have_a_folder_of_their_own(onnx, run, videos, tmp_path, capsys):
    out = tmp_path / "named.onnx"
    assert cli.main(["export", str(run), "--out", str(out)]) == 0
    said = capsys.readouterr().out
    assert said.startswith(f"Wrote {out} (")
    assert "in batches of 1, 2 and 5: largest difference" in said
    assert cli.main(["compare", str(run), str(onnx), str(videos), "--runs", "0", "--out", str(tmp_path / "both")]) == 0
    models = json.loads((tmp_path / "both" / "comparison.json").read_text())["models"]
    assert models["run"]["top1"] == models["run/model.onnx"]["top1"]
    assert cli.main(["evaluate", str(onnx), str(videos)]) == 0
    assert (run / "model-onnx" / "result.json").is_file()
    assert not (run / "result.json").exists()


def test_data_of_other_classes_and_what_a_file_cannot_do_are_refused(onnx, run, tmp_path, capsys):
    other = exports.write_videos(tmp_path / "other", each=1, classes=["down", "left"])
    for words, said in (
        (["evaluate", str(onnx), str(other)], "'down', which the model lacks"),
        (["probe", str(onnx), str(other)], "'down', which the model lacks"),
        (
            ["compare", str(run), str(onnx), str(other), "--out", str(tmp_path / "both")],
            "'down', which the model lacks",
        ),
        (["explain", str(onnx), str(other / "left" / "0.mp4")], "is an exported file, which gives scores and no more"),
        (["export", str(onnx)], "is an exported file, which gives scores and no more"),
    ):
        assert cli.main(words) == 2
        error = capsys.readouterr().err.strip()
        assert said in error
        assert len(error.splitlines()) == 1
    assert not (tmp_path / "both").exists()
