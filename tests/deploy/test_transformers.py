"""A folder for transformers: its own pipeline gives the scores of evaluation, on files that were really decoded."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

import exports
import mvit
from mvit.deploy.export import export
from mvit.deploy.transformers_folder import CODE_FILE, TASK, texts
from mvit.evaluation.scoring import Scoring


@pytest.fixture(scope="module")
def transformers(library, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        # Where it keeps the code that a folder brings, and its word that it will ask nobody for anything.
        home = str(tmp_path_factory.mktemp("modules"))
        patch.setenv("HF_MODULES_CACHE", home)
        found = library("transformers", "baselines")
        patch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", home)
        patch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
        yield found


@pytest.fixture(scope="module")
def folder(transformers, run) -> Path:
    assert "the same first class on 9 of 9" in export(run, "transformers")
    return run / "transformers"


def opened(transformers, folder: Path):
    return transformers.pipeline(TASK, model=str(folder), device="cpu", trust_remote_code=True)


def said(answer: list[dict]) -> dict[str, float]:
    return {row["label"]: row["score"] for row in answer}


def test_the_pipeline_gives_the_scores_of_evaluation(transformers, folder, run, videos, caplog):
    pipeline, model = opened(transformers, folder), mvit.load(run, device="cpu")
    assert model.views == (3, 1)
    paths = [str(videos / name) for name in ("up/1.mp4", "left/2.mp4")]
    for path, answer in zip(paths, pipeline(paths), strict=True):
        expected = model.predict(path)
        assert list(said(answer)) == list(expected)
        assert said(answer) == pytest.approx(expected, abs=1e-5)
    assert len(pipeline(paths[0], top_k=2)) == 2
    assert "not supported" not in caplog.text


def test_the_two_steps_beneath_it_give_them_too(transformers, folder, run, videos):
    processor = transformers.AutoVideoProcessor.from_pretrained(folder, trust_remote_code=True)
    model = transformers.AutoModelForVideoClassification.from_pretrained(folder, trust_remote_code=True)
    paths = [videos / "up" / "1.mp4", videos / "left" / "2.mp4"]
    inputs = processor(paths)
    assert inputs["pixel_values"].shape == (2, 3, 4, 3, 32, 32)
    with torch.inference_mode():
        scores = model(**inputs).logits.softmax(dim=-1)
    for path, row in zip(paths, scores, strict=True):
        found = {model.config.id2label[place]: float(score) for place, score in enumerate(row)}
        assert found == pytest.approx(mvit.load(run, device="cpu").predict(path), abs=1e-5)


@pytest.mark.parametrize(
    "scoring",
    [Scoring(multi_label=several, aggregate=how) for several, how in ((True, "mean"), (False, "max"), (True, "max"))],
)
def test_other_ways_to_score_are_kept(transformers, videos, tmp_path, scoring):
    run = exports.write_run(tmp_path / "run", videos, sharpness=5, **scoring.to_dict())
    export(run, "transformers", tmp_path / "folder")
    path = videos / "up" / "1.mp4"
    expected = mvit.load(run, device="cpu").predict(path)
    assert abs(sum(expected.values()) - 1) > 1e-3, "scores that add up to 1 would tell nothing"
    assert said(opened(transformers, tmp_path / "folder")(str(path))) == pytest.approx(expected, abs=1e-5)


def test_frames_are_the_models_to_choose(transformers, folder, videos):
    processor = transformers.AutoVideoProcessor.from_pretrained(folder, trust_remote_code=True)
    path = videos / "up" / "1.mp4"
    assert processor(path, num_frames=4)["pixel_values"].shape[1:3] == (3, 4)
    with pytest.raises(ValueError, match="evaluated on 4 frames that it chooses itself"):
        processor(path, num_frames=8)
    with pytest.raises(ValueError, match=r"videos are paths of files.*not Tensor"):
        processor([torch.zeros(4, 3, 32, 32)])
    with pytest.raises(FileNotFoundError):
        processor("nowhere.mp4")


def test_what_is_there_stays_and_nothing_is_left_of_what_fails(transformers, folder, run, tmp_path):
    with pytest.raises(FileExistsError, match="transformers exists already"):
        export(run, "transformers")
    with pytest.raises(ValueError, match="reads a folder, without an ending"):
        export(run, "transformers", tmp_path / "model.onnx")
    assert list(tmp_path.iterdir()) == []
    assert sorted(path.name for path in folder.iterdir()) == [
        "config.json",
        "model.json",
        "model.safetensors",
        CODE_FILE,
        "video_preprocessor_config.json",
    ]
    for name in ("model.safetensors", "model.json"):
        assert (folder / name).read_bytes() == (run / name).read_bytes()


def test_another_librarys_model_is_refused():
    with pytest.raises(ValueError, match="video_swin, another library's model"):
        texts({"config": {"baseline": "video_swin"}})


def test_without_mvit_the_code_says_one_sentence(folder):
    program = (
        "import sys; sys.modules['mvit'] = None; sys.path.insert(0, sys.argv[1])\n"
        "try:\n    import modeling_mvit\nexcept ImportError as why:\n    print(why, why.__cause__)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(folder)], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout == "this model is computed by mvit, which is not installed here: pip install mvit None\n"


def test_without_the_library_it_says_what_to_install(run, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    monkeypatch.delitem(sys.modules, "mvit.deploy.transformers_classes", raising=False)
    with pytest.raises(ValueError, match=r"pip install 'mvit\[baselines\]'"):
        export(run, "transformers", tmp_path / "folder")
    assert list(tmp_path.iterdir()) == []
