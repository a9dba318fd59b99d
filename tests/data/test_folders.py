"""Folders of numbered images as videos, and not where they are classes of images."""

from pathlib import Path

import pytest

from mvit.data import dataset
from trees import names, tree


def frames(folder: str, count: int = 3, name: str = "img_{:05}.jpg") -> list[str]:
    return [f"{folder}/{name.format(number)}" for number in range(1, count + 1)]


def test_class_folders_of_frame_folders_are_videos(tmp_path: Path):
    tree(tmp_path, *(file for n in range(4) for label in "ab" for file in frames(f"{label}/{label}{n}")))
    listing = dataset.find(tmp_path)
    assert listing.classes == ("a", "b")
    assert len(listing.train) + len(listing.val) == 8
    assert all(sample.path.is_dir() for sample in listing.train)
    assert any(
        "8 folders of numbered images in" in note and "are read as videos: a/a0" in note for note in listing.notes
    )


def test_parts_of_classes_of_frame_folders(tmp_path: Path):
    tree(tmp_path, *frames("train/a/x", name="{}.png"), *frames("train/b/y"), *frames("val/a/z"))
    listing = dataset.find(tmp_path)
    assert (names(listing.train), names(listing.val)) == (["x", "y"], ["z"])
    assert "train and val as they stand" in listing.how


@pytest.mark.parametrize("root", ["", "train/"])
def test_classes_of_numbered_images_stay_images(tmp_path: Path, root: str):
    tree(tmp_path, *frames(f"{root}a"), *frames(f"{root}b", 5), "val/a/img_7.jpg" if root else "a/other.jpg")
    listing = dataset.find(tmp_path)
    assert listing.classes == ("a", "b")
    assert all(sample.path.suffix == ".jpg" for sample in (*listing.train, *listing.val))
    assert not any("read as videos" in note for note in listing.notes)


@pytest.mark.parametrize(
    "files",
    [
        ["1.jpg"],  # one image is no video
        ["1.jpg", "2.jpg", "notes.txt"],
        ["1.jpg", "2.jpg", "cover.jpg"],
        ["1.jpg", "x2.jpg"],
        ["1.jpg", "01.jpg"],
        ["1.jpg", "2.jpg", "more/1.jpg"],
        ["1.mp4", "2.mp4"],
        ["1.bmp", "2.bmp"],  # which no reader opens as a video
    ],
)
def test_what_is_no_video_of_frames_is_left_out(tmp_path: Path, files: list[str]):
    tree(tmp_path, *(f"a/odd/{file}" for file in files), *frames("a/good"), *frames("b/fine"))
    listing = dataset.find(tmp_path)
    assert names(listing.train) == ["good", "fine"]
    assert any("inside class folders" in note and "a/odd" in note for note in listing.notes)


def test_images_beside_a_class_s_own_are_no_videos(tmp_path: Path):
    listing = dataset.find(tree(tmp_path, "a/1.mp4", *frames("a/thumbnails"), "b/2.mp4"))
    assert names(listing.train) == ["1.mp4", "2.mp4"]


def test_a_folder_too_high_is_not_taken_for_videos(tmp_path: Path):
    tree(tmp_path / "one", *frames("images/cat"), *frames("images/dog"))
    with pytest.raises(ValueError, match=r"one has no class folders with videos, but .*/images has: give that folder"):
        dataset.find(tmp_path / "one")
    tree(
        tmp_path / "two",
        *(file for part in ("Training", "Testing") for pet in ("cat", "dog") for file in frames(f"{part}/{pet}")),
    )
    with pytest.raises(
        ValueError, match=r"holds Testing, Training, and each of them cat, dog: .* rename .* to train and val"
    ):
        dataset.find(tmp_path / "two")
    tree(tmp_path / "three", *frames("train/001"), *frames("train/002"), *frames("bus/001"))
    with pytest.raises(ValueError, match=r"three/train may be a class of videos .* as bus is, or a part"):
        dataset.find(tmp_path / "three")


def test_numbered_frame_folders_may_be_called_alike_in_every_class(tmp_path: Path):
    tree(tmp_path, *(file for label in "ab" for n in ("001", "002") for file in frames(f"{label}/{n}")))
    assert len(dataset.find(tmp_path).train) == 2


def test_a_manifest_may_name_frame_folders(tmp_path: Path):
    tree(tmp_path, *frames("x/1"), *frames("x/2"))
    (tmp_path / "list.csv").write_text("path,label\nx/1,a\nx/2,b\n")
    assert names(dataset.find(tmp_path / "list.csv").train) == ["1", "2"]


def test_images_of_a_folder_with_tables_beside_are_classes(shared: Path):
    images = shared / "data" / "images"
    listing = dataset.find(images / "images")
    assert (len(listing.classes), len(listing.train) + len(listing.val)) == (10, 888)
    assert not any("read as videos" in note for note in listing.notes)
    with pytest.raises(ValueError, match=r"but train\.csv, val\.csv: give the table"):
        dataset.find(images)


def test_links_that_lead_to_themselves_are_no_folders(tmp_path: Path):
    tree(tmp_path, *frames("a/x"), *frames("b/y"))
    for name in ("loop", "a/loop", "a/x/.loop"):
        (tmp_path / name).symlink_to(tmp_path / name)
    (tmp_path / "a" / "up").symlink_to(tmp_path)
    assert names(dataset.find(tmp_path).train) == ["x", "y"]
