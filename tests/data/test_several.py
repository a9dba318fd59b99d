"""Clips and listings of videos that are of several classes at once."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from mvit.data import dataset, video
from mvit.data.dataset import Sample
from mvit.data.loader import TrainLoader
from mvit.data.sampling import ClipSampling
from mvit.data.transforms import Augmentation
from mvit.data.views import Preprocessing
from trees import table, tree

CLASSES = ("move_left", "move_right", "still")
PREPROCESSING = Preprocessing(sampling=ClipSampling(frames=4, spacing=2), short_side=16, crop=16)


@pytest.fixture(scope="module")
def samples(tmp_path_factory) -> tuple[Sample, ...]:
    """Seven videos, brighter to the right: of one class, of that and "still", of none, of one ..."""
    folder = tmp_path_factory.mktemp("videos")
    made = []
    for index in range(7):
        levels = 20 * index + np.arange(12)[:, None, None, None] + np.arange(24)[None, None, :, None]
        video.write(folder / f"{index}.mp4", np.broadcast_to(levels, (12, 20, 24, 3)).astype(np.uint8))
        own = CLASSES[index % 2]
        made.append(Sample(folder / f"{index}.mp4", [(own,), (own, "still"), ()][index % 3]))
    return tuple(made)


def make(samples, workers: int = 0, multi_label: bool = True, **augmentation) -> TrainLoader:
    settings = {"batch": 3, "seed": 3, "workers": workers, "multi_label": multi_label}
    return TrainLoader(samples, CLASSES, PREPROCESSING, Augmentation(**augmentation), **settings)


def test_clips_have_a_number_for_each_class(samples):
    single = [Sample(sample.path, "still") for sample in samples]
    labels = []
    for workers in (0, 2):
        hot, plain = make(samples, workers), make(single, multi_label=False)
        for batch, one in zip(hot.epoch(1), plain.epoch(1), strict=True):
            assert torch.equal(batch.clips, one.clips)
            assert (batch.labels.dtype, batch.labels.shape) == (torch.float32, (len(one.labels), 3))
            assert (batch.labels.sum(dim=1) == torch.tensor([len(names) for names in batch.named(CLASSES)])).all()
            assert one.named(CLASSES) == ["still"] * len(one.labels)
            labels.append(batch.labels)
    assert torch.equal(torch.cat(labels[:3]), torch.cat(labels[3:]))
    order = hot.order.epoch(1)
    still = torch.tensor([float("still" in samples[place].labels) for place in order])
    assert torch.equal(torch.cat(labels[:3])[:, 2], still)


def test_all_labels_of_a_mirrored_clip_are_mirrored(samples):
    loader = make([Sample(samples[0].path, ("move_left", "still"))], scale=(1.0, 1.0), ratio=(1.0, 1.0))
    seen = set()
    for epoch in range(12):
        (batch,) = loader.epoch(epoch)
        rises = bool(batch.clips[0, ..., -4:].float().mean() > batch.clips[0, ..., :4].float().mean())
        seen.add((rises, *batch.named(CLASSES)[0]))
    assert seen == {(True, "move_left", "still"), (False, "move_right", "still")}


def test_copies_of_a_video_have_its_labels(samples):
    loader = TrainLoader(
        samples[:2], CLASSES, PREPROCESSING, Augmentation(copies=2, flip="off"), batch=4, seed=0, workers=0,
        multi_label=True,
    )  # fmt: skip
    (batch,) = loader.epoch(0)
    named = batch.named(CLASSES)
    assert sorted(map(tuple, named)) == [("move_left",)] * 2 + [("move_right", "still")] * 2
    assert named[::2] == named[1::2]


def test_a_batch_without_a_readable_video_is_empty(tmp_path):
    (batch,) = make([Sample(tmp_path / "gone.mp4", ("still",))]).epoch(0)
    assert (batch.labels.shape, batch.named(CLASSES), len(batch.unreadable)) == ((0, 3), [], 1)


def test_several_classes_where_one_is_due_are_refused(samples):
    with pytest.raises(ValueError, match=r"1\.mp4 is of 2 classes, where one is due"):
        make(samples, multi_label=False)


# ---- listings --------------------------------------------------------------------------------------------------------


def lines(*labels: object, split: str = "") -> list[str]:
    rows = [{"path": f"{number}.mp4", "label": label} for number, label in enumerate(labels)]
    return [
        json.dumps(row | ({"split": split if row["path"] == "0.mp4" else "train"} if split else {})) for row in rows
    ]


def test_a_split_with_several_labels_round_trips_as_json_lines(tmp_path: Path):
    tree(tmp_path, *(f"{number}.mp4" for number in range(8)))
    listing = dataset.find(table(tmp_path / "x.jsonl", *lines(["b", "a"], [], "a", "b", "a", ["a", "b"], "b", [])))
    file = dataset.split_file(tmp_path, several=True)
    file.write_text(dataset.split_table(listing), encoding="utf-8")
    assert dataset.split_file(tmp_path) == file == tmp_path / "split.jsonl"
    again = dataset.read_split(file)
    assert (again.classes, again.train, again.val) == (listing.classes, listing.train, listing.val)
    assert dataset.split_file(tmp_path / "elsewhere").name == "split.csv"


def test_one_class_that_not_all_are_of_can_be_learned(tmp_path: Path):
    tree(tmp_path, "0.mp4", "1.mp4", "2.mp4")
    listing = dataset.find(table(tmp_path / "x.jsonl", *lines("a", [], "a", split="val")))
    assert listing.multi_label
    assert not [note for note in listing.notes if "one class only" in note]


def test_videos_to_judge_on_must_be_of_as_many_classes_as_those_learned_from(tmp_path: Path):
    tree(tmp_path, "0.mp4", "1.mp4")
    one = table(tmp_path / "one.jsonl", *lines("a", "b"))
    several = table(tmp_path / "several.jsonl", *lines("a", ["a", "b"], split="val"))
    assert len(dataset.find_all(one, ("a", "b"), several=False)) == 2
    # Held out by chance are videos of one class each; the data set is of several nevertheless.
    assert len(dataset.find_all(several, ("a", "b"), several=True)) == 1
    with pytest.raises(ValueError, match="are of one class each, but those that the model learned from of several"):
        dataset.find_all(one, ("a", "b"), several=True)
    with pytest.raises(
        ValueError, match="are of several classes or of none, but those that the model learned from of one"
    ):
        dataset.find_all(several, ("a", "b"), several=False)
