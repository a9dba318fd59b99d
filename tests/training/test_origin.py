"""A run folder says where its run comes from: when, machine, versions, commit, and data that are known again."""

import json
import shutil
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
import torch

import mvit
from mvit import provenance
from mvit.data.dataset import Listing, Sample, find
from mvit.data.sampling import Part
from mvit.training import loop
from mvit.training.origin import changes, fingerprint


def test_a_run_says_where_it_comes_from(finished: Path, listing: Listing, videos: Path):
    origin = json.loads((finished / "run.json").read_text(encoding="utf-8"))
    begun = datetime.fromisoformat(origin["begun"])
    assert begun.tzinfo is not None
    assert begun <= datetime.now(UTC)
    assert origin["commit"] == provenance.commit()
    environment = origin["environment"]
    assert environment["hardware"]["device"] == "cpu"
    assert environment["hardware"]["threads"] == torch.get_num_threads()
    assert environment["versions"].keys() >= {"python", "torchvision", "av", "ffmpeg", "numpy"}
    assert environment["versions"]["torch"] == torch.__version__
    assert environment["versions"]["mvit"] == mvit.__version__
    assert origin["data"] == fingerprint(listing)
    assert origin["data"]["folder"] == str(videos)
    assert {key: origin["data"][key] for key in ("classes", "train", "val")} == {"classes": 3, "train": 18, "val": 6}


def test_the_same_data_elsewhere_is_known_again(videos: Path, listing: Listing, tmp_path: Path):
    moved = shutil.copytree(videos, tmp_path / "moved")
    there = fingerprint(find(moved))
    assert there["folder"] == str(moved)
    assert there["sha256"] == fingerprint(listing)["sha256"]
    shuffled = replace(listing, train=listing.train[::-1])
    assert fingerprint(shuffled)["sha256"] == fingerprint(listing)["sha256"]


def test_any_change_of_the_data_shows(videos: Path, listing: Listing, tmp_path: Path):
    first, *rest = listing.train
    grown = tmp_path / "grown"
    shutil.copytree(videos, grown)
    with next((grown / "train" / "dark").glob("*.mp4")).open("ab") as file:
        file.write(b"\0")
    listings = [
        listing,
        find(grown),
        replace(listing, train=tuple(rest)),
        replace(listing, train=tuple(rest), val=(*listing.val, first)),
        replace(listing, train=(Sample(first.path, "dark"), *rest)),
        replace(listing, train=(Sample(first.path, first.labels, None, Part(0.0, 0.1)), *rest)),
        replace(listing, train=(Sample(first.path.with_name("gone.mp4"), first.labels), *rest)),
    ]
    assert len({fingerprint(one)["sha256"] for one in listings}) == len(listings)


def test_going_on_says_what_has_changed(finished: Path, recipe, listing: Listing, tmp_path: Path):
    run = tmp_path / "run"
    shutil.copytree(finished, run)
    origin = json.loads((run / "run.json").read_text(encoding="utf-8"))
    assert changes(run / "run.json", origin) == []
    origin["environment"]["versions"]["torch"] = "1.0"
    origin["environment"]["hardware"] |= {"threads": 64, "load": 9.0}
    origin["data"]["sha256"] = "0" * 64
    (run / "run.json").write_text(json.dumps(origin), encoding="utf-8")
    said: list[str] = []
    loop.train(recipe, listing, run, resume=True, echo=said.append)
    (warning,) = (line for line in said if "videos have changed since" in line)
    (note,) = (line for line in said if line.startswith("note: since the run began"))
    assert warning.startswith("warning: ")
    assert f"changed: torch 1.0 -> {torch.__version__}, threads 64 -> {torch.get_num_threads()};" in note


def test_a_damaged_file_is_refused_and_a_missing_one_says_nothing(finished: Path, tmp_path: Path):
    now = json.loads((finished / "run.json").read_text(encoding="utf-8"))
    assert changes(tmp_path / "run.json", now) == []
    for content in ("{", "[]", '{"environment": 3}', '{"data": {}}', '{"environment": {"hardware": []}}'):
        (tmp_path / "run.json").write_text(content, encoding="utf-8")
        with pytest.raises(ValueError, match=r"run\.json is damaged"):
            changes(tmp_path / "run.json", now)
