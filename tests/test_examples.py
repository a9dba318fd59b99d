"""The examples run as they stand, and print what they promise."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import faults
import numpy as np
import pytest

import exports
import mvit
from mvit.data import video
from mvit.model.presets import get_config, list_models

EXAMPLES = Path(__file__).parents[1] / "examples"


@pytest.fixture(scope="module")
def videos(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("videos")
    rng = np.random.default_rng(3)
    for name in ("rise", "fall"):
        (folder / name).mkdir()
        for n in range(5):
            frames = rng.integers(0, 255, (2, 6, 6, 3), dtype=np.uint8).repeat(5, 0).repeat(6, 1).repeat(6, 2)
            video.write(folder / name / f"{n}.mp4", frames)
    return folder


def example(name: str):
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.main


def test_every_example_is_run_here_and_listed():
    names = {path.stem for path in EXAMPLES.glob("*.py")}
    here = Path(__file__).read_text(encoding="utf-8")
    listed = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    assert not {name for name in names if f'example("{name}")' not in here or f"({name}.py)" not in listed}


def test_frames_of_views(videos, capsys):
    example("frames_of_views")(str(videos / "rise" / "0.mp4"), 4, 2, 3)
    out = capsys.readouterr().out
    assert out.startswith("10 frames")
    assert out.count("clip") == 4
    assert "0% of a clip's frames are padding" in out


def test_training_the_pyramid_and_how_far_attention_reaches(videos, tmp_path, capsys):
    run = tmp_path / "run"
    small = ("model.name=mvit_test_4x32", "train.epochs=1", "train.batch=4", "train.workers=0", "data.spacing=2")
    example("train_in_python")(str(videos), str(run), *small)
    assert "the model says" in capsys.readouterr().out.splitlines()[-1]
    example("pyramid")(str(run), str(videos / "rise" / "0.mp4"))
    assert [line.split()[2:6] for line in capsys.readouterr().out.splitlines()] == [
        ["32", "channels", "on", "2x8x8"],  # widened in the last MLP of the stage
        ["32", "channels", "on", "2x4x4"],
    ]
    columnar = tmp_path / "columnar"
    pools = [f"model.{field}=[[1,1,1]]" for field in ("stride_q", "kernel_q", "stride_kv", "kernel_kv")]
    one_stage = ("model.depths=[2]", "model.widths=[16]", "model.heads=[1]", *pools)
    example("train_in_python")(str(videos), str(columnar), *small, *one_stage)
    capsys.readouterr()
    example("attention_distance")(str(tmp_path / "reach.svg"), f"{run},{columnar}", str(videos / "rise" / "0.mp4"))
    assert [line.split(":")[0] for line in capsys.readouterr().out.splitlines()] == ["run", "columnar"]
    figure = (tmp_path / "reach.svg").read_text(encoding="utf-8")
    assert figure.count("in space: pixels") == figure.count("in time: frames") == 2


def test_vectors_to_search_and_to_learn_from(videos, tmp_path, capsys, monkeypatch):
    run = tmp_path / "run"
    small = ("model.name=mvit_test_4x32", "train.epochs=1", "train.batch=4", "train.workers=0", "data.spacing=2")
    example("train_in_python")(str(videos), str(run), *small)
    capsys.readouterr()
    one, same = videos / "rise" / "0.mp4", videos / "fall" / "same.mp4"
    same.write_bytes(one.read_bytes())
    try:
        example("find_alike")(str(run), str(one), str(videos), 3)
        first, *others = capsys.readouterr().out.splitlines()
    finally:
        same.unlink()
    assert first.split() == ["1.000", str(same)]
    assert len(others) == 2
    assert float(others[0].split()[0]) < 1
    monkeypatch.chdir(videos)
    example("find_alike")(str(run), "rise/0.mp4", str(videos))
    assert str(one) not in capsys.readouterr().out
    (tmp_path / "bad.mp4").write_text("no video")
    with pytest.raises(ValueError, match=r"bad\.mp4 cannot be read"):
        example("find_alike")(str(run), str(tmp_path / "bad.mp4"), str(videos))
    assert capsys.readouterr().out == ""
    example("linear_probe")(str(run), str(videos))
    assert "of 2 held-out videos are right" in capsys.readouterr().out


def test_boxes_on_the_pyramid(capsys):
    example("boxes")(30)
    *steps, last = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in steps] == ["step 10", "step 20", "step 30"]
    right, _, boxes, *_ = last.split()
    assert boxes == "200"
    assert int(right) > 180


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.filterwarnings("default")  # Ray's own
def test_training_on_ray(library, tmp_path, request):
    """Two processes that Ray starts learn what two others learn, to the last bit."""
    library("ray.train", "scale")
    request.addfinalizer(library("ray", "scale").shutdown)
    videos = faults.write_videos(tmp_path / "videos")
    run = tmp_path / "run"
    recipe = ("model.name=mvit_test_4x32", *faults.RECIPE, "train.workers=0")
    example("train_on_ray")(str(videos), str(run), "2", *recipe)
    assert json.loads((run / "run.json").read_text(encoding="utf-8"))["processes"] == 2
    assert faults.digests(run) == faults.undisturbed(videos, tmp_path / "undisturbed", 2, "ddp")


ASK_GRADIO = """
import json, runpy, sys
example, run, *files = sys.argv[1:]
page = runpy.run_path(example)["main"](run)  # as example("gradio_app"), in a process that Gradio may warn in
for file in files:
    try:
        print(json.dumps(page.fn(file)))
    except Exception as error:
        print(error)
"""


def test_a_page_by_gradio(tmp_path):
    path = EXAMPLES / "gradio_app.py"
    compile(path.read_text(encoding="utf-8"), path, "exec")
    if importlib.util.find_spec("gradio") is None:
        pytest.skip("Gradio is no dependency: pip install gradio")
    run, videos = exports.write_run(tmp_path / "run"), exports.write_videos(tmp_path / "videos", each=1)
    (tmp_path / "noise.mp4").write_bytes(b"noise")
    files = [videos / "up" / "0.mp4", tmp_path / "noise.mp4"]
    command = [sys.executable, "-c", ASK_GRADIO, path, run, *files]
    scores, refused = subprocess.check_output(command, text=True).splitlines()[-2:]
    assert json.loads(scores) == pytest.approx(mvit.load(run).predict(files[0]))
    assert "the video cannot be read" in refused


def test_count_what_if(capsys):
    example("count_what_if")("mvit_tiny_16x64")
    first, *rest = capsys.readouterr().out.splitlines()
    assert first.split()[:2] == ["1,968,816", "parameters"]
    assert len(rest) == 3
    for name in list_models():
        example("count_what_if")(name)
        said = [line.split(maxsplit=4)[-1] for line in capsys.readouterr().out.splitlines()]
        assert ("half the frames" in said) == (get_config(name).clip[0] > 1)
        assert ("one joint table of positions" in said) == (get_config(name).positions == "separate")
