"""Copies are found whatever was done to them, others are not, and the quick way gives what the plain one gives."""

import shutil
from dataclasses import replace
from pathlib import Path

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from mvit.curation import shards
from mvit.curation.copies import find_copies, nearest
from mvit.data import video
from mvit.data.dataset import Listing, Sample, find
from mvit.data.scan import scan
from pictures import save_picture


def moving(seed: int, frames: int = 12, height: int = 64, width: int = 96) -> np.ndarray:
    """Smooth patterns that drift, unlike those of any other seed."""
    rng = np.random.default_rng(seed)
    y, x, t = np.mgrid[0:height, 0:width, 0:frames]
    waves = sum(
        np.sin(2 * np.pi * (a * x / width + b * y / height + c * t / frames) + phase)
        for a, b, c, phase in rng.uniform(-3, 3, (6, 4))
    )
    grey = 128 + 110 * waves / np.abs(waves).max()
    return np.repeat(grey.transpose(2, 0, 1)[..., None], 3, axis=3).astype(np.uint8)


@pytest.fixture(scope="module")
def listing(tmp_path_factory: pytest.TempPathFactory) -> Listing:
    """Eight videos in train; in val others, and copies: byte for byte, smaller and worse, brighter, cut to grey."""
    folder = tmp_path_factory.mktemp("copies")

    def sample(name: str, label: str = "x", group: str | None = None) -> Sample:
        return Sample(folder / f"{name}.mp4", label, group)

    train = [sample(f"t{n}", group="shared" if n == 7 else f"g{n}") for n in range(8)]
    for number, one in enumerate(train):
        video.write(one.path, moving(number))
    val = [sample("new", group="shared"), sample("same"), sample("small"), sample("bright"), sample("black")]
    video.write(val[0].path, moving(100))
    shutil.copy(train[2].path, val[1].path)
    video.write(val[2].path, video.read(train[3].path, short_side=32), crf=28)
    video.write(val[3].path, (moving(4) * 0.7 + 60).astype(np.uint8), fps=12)
    video.write(val[4].path, np.zeros((12, 64, 96, 3), np.uint8))
    twice = [sample("again", label="y"), sample("dark")]
    shutil.copy(train[0].path, twice[0].path)
    video.write(twice[1].path, np.full((12, 64, 96, 3), 2, np.uint8))
    return Listing(("x", "y"), (*train, *twice), tuple(val), "made up")


def test_copies_are_named_with_what_they_are_copies_of(listing: Listing):
    found = find_copies(listing, scan((*listing.train, *listing.val)).looks)
    leaks = {(pair.other.path.stem, pair.one.path.stem, pair.kind) for pair in found.leaks}
    assert leaks == {
        ("same", "t2", "same content"),
        ("small", "t3", "nearly the same"),
        ("bright", "t4", "nearly the same"),
    }
    assert [(pair.other.path.stem, pair.one.path.stem, pair.one.label, pair.other.label) for pair in found.twice] == [
        ("again", "t0", "x", "y")
    ]
    assert found.groups == ("shared",)
    assert found.flat == 2


def test_every_copy_in_val_of_one_in_train_is_a_leak(listing: Listing, tmp_path: Path):
    val = [Sample(tmp_path / f"{number}.mp4", "x") for number in range(3)]
    for sample in val:
        shutil.copy(listing.train[0].path, sample.path)
    found = find_copies(replace(listing, val=tuple(val)), scan((*listing.train[:1], *val)).looks)
    assert [pair.other for pair in found.leaks] == val
    assert [pair.other for pair in found.twice] == val[1:]


@pytest.mark.parametrize("similar", [0.0, 1.1, float("nan")])
def test_a_similarity_that_is_none_is_refused(listing: Listing, similar: float):
    with pytest.raises(ValueError, match=r"give 0\.5 to 1"):
        find_copies(listing, {}, similar=similar)


def test_nothing_and_one_file_have_no_copies(listing: Listing):
    assert find_copies(listing, {}).leaks == ()
    looks = scan(listing.train[:1]).looks
    assert find_copies(listing, looks).twice == ()


@given(
    st.integers(0, 2**32 - 1),
    st.integers(0, 40),
    st.integers(0, 40),
    st.sampled_from([0.02, 0.2, 2.0]),
    st.sampled_from([0.9, 0.97, 1.0]),
)
def test_the_bound_passes_over_no_pair(seed: int, train: int, val: int, spread: float, similar: float):
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(5, 192))
    vectors = centres[rng.integers(0, 5, train + val)] + spread * rng.normal(size=(train + val, 192))
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    of_val = np.arange(train + val) >= train
    cosines = vectors @ vectors.T
    expected = {}
    for row in range(train + val):
        for start, end in ((0, min(row, train)), (train, row)) if row >= train else ((0, row),):
            if end > start and cosines[row, start:end].max() >= similar + 1e-5:
                expected[row, start >= train] = cosines[row, start:end].max()
    found = {(row, other >= train): cosine for row, other, cosine in nearest(vectors, of_val, similar)}
    assert expected.keys() <= found.keys()
    for key, cosine in found.items():
        assert cosine >= similar - 1e-5
        assert cosine == pytest.approx(expected.get(key, similar), abs=2e-5)


def test_blocks_give_what_one_block_gives(monkeypatch: pytest.MonkeyPatch):
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(8, 192))[rng.integers(0, 8, 120)] + 0.1 * rng.normal(size=(120, 192))
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    of_val = np.arange(120) >= 90
    told: list[tuple[int, int]] = []
    whole = {(row, other) for row, other, _ in nearest(vectors, of_val, 0.97)}
    monkeypatch.setattr("mvit.curation.copies._ROWS", 7)
    monkeypatch.setattr("mvit.curation.copies._COLUMNS", 11)
    monkeypatch.setattr("mvit.curation.copies._FEW", 1.0)
    pieces = {(row, other) for row, other, _ in nearest(vectors, of_val, 0.97, progress=lambda *at: told.append(at))}
    assert pieces == whole
    assert len(whole) > 100
    assert told[-1][0] == told[-1][1]


def test_real_videos_are_no_copies_of_each_other(shared: Path):
    rows = sorted((shared / "data" / "gestures" / "videos").rglob("*.mp4"))[::24]
    listing = Listing(("x",), tuple(Sample(path, "x") for path in rows), (), "")
    assert find_copies(listing, scan(listing.train, workers=2).looks).twice == ()


def test_the_same_content_is_found_in_shards_and_in_folders_of_frames(listing: Listing, tmp_path: Path):
    for name in ("one", "other", "third"):
        for number, picture in enumerate(moving(20, 4)):
            save_picture(tmp_path / name / f"{number}.png", picture)
    save_picture(tmp_path / "third" / "1.png", moving(21, 1)[0])  # which no look sees
    samples = [Sample(tmp_path / name, "x") for name in ("one", "other", "third")]
    found = find_copies(Listing(("x",), tuple(samples), (), ""), scan(samples).looks)
    kinds = [(pair.other.path.name, pair.kind) for pair in found.twice]
    assert kinds == [("other", "same content"), ("third", "nearly the same")]

    shards.write({"train": listing.train[:3], "val": (listing.val[1],)}, tmp_path / "shards")
    packed = find(tmp_path / "shards")
    found = find_copies(packed, scan((*packed.train, *packed.val)).looks)
    assert [(pair.kind, pair.other.path.name) for pair in found.leaks] == [("same content", packed.val[0].path.name)]


def test_what_is_gone_since_it_was_looked_at_stops_nothing(listing: Listing, tmp_path: Path):
    for name in ("one", "other", "third"):
        shutil.copy(listing.train[0].path, tmp_path / f"{name}.mp4")
    samples = tuple(Sample(tmp_path / f"{name}.mp4", "x") for name in ("one", "other", "third"))
    looks = scan(samples).looks
    samples[1].path.unlink()
    found = find_copies(Listing(("x",), samples, (), ""), looks)
    assert {(pair.other.path.stem, pair.kind) for pair in found.twice} == {
        ("other", "nearly the same"),
        ("third", "same content"),
    }
