"""A run folder says where its run comes from: when, machine, versions, commit, and data that are known again."""

import json
import shutil
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import torch

import mvit
from mvit import provenance
from mvit.data.dataset import Listing, Sample, find
from mvit.data.sampling import Part
from mvit.training.origin import fingerprint


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
