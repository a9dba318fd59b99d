"""The card says what there is to know, with denominators, in metadata that the hub's own library reads."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

import exports
from mvit import cli
from mvit.sharing.card import MANY_CLASSES, card
from mvit.sharing.licences import SCRATCH, Origin
from mvit.sharing.parcel import Told, packed, told


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    videos = exports.write_videos(tmp_path_factory.mktemp("videos"))
    run = exports.write_run(tmp_path_factory.mktemp("runs") / "run")
    rows = [
        f"{path},{path.parent.name},person {path.stem},{'train' if path.stem in '01' else 'val'}"
        for path in sorted(videos.glob("*/*.mp4"))
    ]
    (run / "split.csv").write_text("\n".join(["path,label,group,split", *rows]) + "\n")
    (run / "recipe.toml").write_text(
        '[model]\nname = "mvit_test_4x32"\nweights = ""\n[train]\nepochs = 3\nbatch = 2\nseed = 1\n'
    )
    assert cli.main(["evaluate", str(run), str(videos)]) == 0
    assert cli.main(["probe", str(run), str(videos), "--orders", "2"]) == 0
    return run


@pytest.fixture
def hub(library):
    return library("huggingface_hub", "hub")


def test_its_metadata_are_those_of_the_hub(hub, run):
    data = hub.ModelCard(
        card("me/ways", told(run), Origin(kind="pulled", words="", licence="mit", repository="a/b"))
    ).data
    assert (data.license, data.library_name, data.pipeline_tag) == ("mit", "mvit", "video-classification")
    assert data.base_model == "a/b"
    result = json.loads((run / "result.json").read_text())
    (found,) = data.eval_results
    assert (found.metric_type, found.metric_value) == ("accuracy", round(result["top1"], 4))
    assert found.metric_args["videos"] == 6
    assert found.metric_args["protocol"] == result["protocol"]
    assert found.metric_args["interval_95"] == [round(bound, 4) for bound in result["top1_interval"]]


def test_it_says_what_there_is_to_know(hub, run):
    text = card("me/ways", told(run), SCRATCH)
    result, probe = (json.loads((run / name).read_text()) for name in ("result.json", "probe.json"))
    for said in (
        "# ways\n",
        "that tells 3 classes of videos apart",
        "| learned from | 6 | 2 |\n| held out | 6 | 2 |\n",
        f"**{result['headline']}**",
        f"| left | 2 | {100 * result['per_class']['left']['recall']:.1f} % [",
        probe["meaning"],
        "3 of 3 classes were judged on fewer than 30 videos",
        "The held-out videos are of 2 groups alone.",
        "Its owner has stated none: ask them",
        "3 epochs in batches of 2, seed 1",
        "mvit pull me/ways --out model",
    ):
        assert said in text
    assert "person" not in text.replace("the videos of one person", "").replace("people", "")
    assert ".mp4" not in text.replace('"video.mp4"', "")


def test_what_could_not_be_read_is_not_what_it_learned_from(run, tmp_path):
    shutil.copytree(run, tmp_path / "run")
    listed = (run / "split.csv").read_text().splitlines()
    first, second, *_ = [line.split(",")[0] for line in listed if line.endswith("train")]
    (tmp_path / "linked").symlink_to(Path(first).parent)  # it went on by another path
    first = tmp_path / "linked" / Path(first).name
    rows = [f"{first},no video,scan", f"{second},no frame,training"]
    (tmp_path / "run" / "unreadable.csv").write_text("\n".join(["path,reason,found_in", *rows]) + "\n")
    assert told(tmp_path / "run").parts == {"train": (5, 2), "val": (6, 2)}


def test_what_is_not_there_is_said(hub, tmp_path):
    run = exports.write_run(tmp_path / "run")
    text = card("me/ways", told(run), Origin(kind="published", words="from K", licence="apache-2.0"))
    assert "It was not evaluated." in text
    assert "It was not asked." in text
    assert "How many videos it learned from is not recorded." in text
    assert "apache-2.0, inherited: the weights were trained from K" in text
    assert hub.ModelCard(text).data.eval_results is None
    files = packed(run, told(run), text, with_names=True)
    assert "result.json" not in files
    assert "split.csv" not in files


def test_images_are_called_so(hub, tmp_path):
    run = exports.write_run(tmp_path / "run", config=exports.small(clip=(1, 32, 32)).config.to_dict())
    known = told(run)
    text = card("me/ways", known, SCRATCH)
    assert "classes of images apart" in text
    assert "images of 32x32 pixels" in text
    assert "order of frames" not in text
    assert 'classify = pipeline("video-classification", model="me/ways", trust_remote_code=True)' in text
    assert 'print(classify("image.jpg"))' in text
    assert "video" not in text.replace("video-classification", "")
    assert hub.ModelCard(text).data.pipeline_tag == "image-classification"


@pytest.mark.parametrize(("device", "said"), [("cpu", "- mvit 1, torch 2\n"), ("cuda", "- mvit 1, torch 2, cuda 13\n")])
def test_versions_are_of_what_it_was_made_with(device, said, hub, run):
    known = told(run)
    environment = {"hardware": {"device": device}, "versions": {"mvit": "1", "torch": "2", "cuda": "13"}}
    assert card("me/ways", replace(known, run={"environment": environment}), SCRATCH).endswith(said)


def test_several_classes_and_many(hub, run):
    known = told(run)
    names = [f"cl|ass {n}" for n in range(MANY_CLASSES)]
    per_class = {name: {"average_precision": 0.5, "support": 40} for name in names}
    result = {
        "map": 0.25,
        "map_interval": (0.2, 0.3),
        "headline": "mAP 25 %",
        "videos": 9,
        "listed": 10,
        "protocol": "p",
        "unreadable": {"video 1": ""},
        "per_class": per_class,
    }
    text = card("me/ways", Told(**(vars(known) | {"result": result})), SCRATCH)
    assert "| cl\\|ass 0 | 40 | 50.0 % |" in text
    assert "1 held-out videos could not be read" in text
    assert "fewer than 30" not in text
    assert hub.ModelCard(text).data.eval_results[0].metric_type == "mean_average_precision"
    per_class["one more"] = {"average_precision": None, "support": 0}
    assert "| cl" not in card("me/ways", Told(**(vars(known) | {"result": result})), SCRATCH)
