"""Folders and CSV files to samples, and the split: trees of empty files suffice, since nothing is decoded here."""

import os
from collections import Counter
from pathlib import Path

import pytest

from mvit.data import dataset
from mvit.data.dataset import Sample
from trees import names, table, tree, videos


def test_class_folders_are_split_by_class(tmp_path):
    listing = dataset.find(tree(tmp_path, *videos(10, "wave"), *videos(5, "clap"), "jump/a.JPG", "jump/b.webm"))
    assert listing.classes == ("clap", "jump", "wave")
    assert Counter(sample.label for sample in listing.val) == {"wave": 2, "clap": 1, "jump": 1}
    assert len(listing.train) == 13
    assert all(sample.path.is_absolute() and sample.path.parent.name == sample.label for sample in listing.train)
    assert "4 of 17 videos held out by seed 0" in listing.how
    assert dataset.find(tmp_path) == listing
    assert dataset.find(tmp_path, seed=1) != listing


def test_three_classes_of_one_video_train_without_val(tmp_path):
    listing = dataset.find(tree(tmp_path, "a/x.mp4", "b/x.mp4", "c/x.mp4"))
    assert (len(listing.train), len(listing.val)) == (3, 0)
    assert any("nothing is held out" in note for note in listing.notes)


def test_one_class_is_allowed_and_remarked(tmp_path):
    listing = dataset.find(tree(tmp_path, *videos(4, "wave")))
    assert listing.classes == ("wave",)
    assert any("one class only (wave)" in note for note in listing.notes)


@pytest.mark.parametrize("name", ["val", "validation", "test"])
def test_split_folders_are_taken_as_they_stand(tmp_path, name):
    tree(tmp_path, *videos(3, "train/a"), *videos(2, "train/b"), f"{name}/a/x.mp4")
    listing = dataset.find(tmp_path)
    assert (len(listing.train), names(listing.val)) == (5, ["x.mp4"])
    assert f"train and {name} as they stand" in listing.how
    assert any("no video in val: b" in note for note in listing.notes)


def test_test_folder_beside_val_stays_out_of_training(tmp_path):
    listing = dataset.find(tree(tmp_path, "train/a/1.mp4", "val/a/2.mp4", "test/a/3.mp4"))
    assert (names(listing.train), names(listing.val)) == (["1.mp4"], ["2.mp4"])
    assert any(note.startswith("test is not used in training") for note in listing.notes)
    assert names(dataset.find_all(tmp_path)) == ["2.mp4"]
    assert sorted(names(dataset.find_all(tmp_path, part="all"))) == ["1.mp4", "2.mp4", "3.mp4"]


def test_a_class_may_be_called_train(tmp_path):
    assert dataset.find(tree(tmp_path, *videos(2, "train"), *videos(2, "bus"))).classes == ("bus", "train")


def test_what_is_left_out_is_named_and_counted(tmp_path):
    tree(
        tmp_path,
        *videos(2, "a"),
        "a/notes.txt",
        "a/._0.mp4",
        "a/1.tif",
        "a/old/x.mp4",
        "empty/readme.md",
        "loose.mp4",
        ".git/x",
    )
    listing = dataset.find(tmp_path)
    assert len(listing.train) + len(listing.val) == 2
    notes = "\n".join(listing.notes)
    assert "left out: 1 folder that hold no video themselves" in notes
    assert "empty" in notes
    assert "a/old" in notes
    assert "left out: 4 files" in notes
    assert "a/._0.mp4" in notes
    assert "a/notes.txt" in notes
    assert "loose.mp4" in notes
    assert ".git" not in notes


def test_csv_paths_are_relative_to_it_and_may_be_quoted(tmp_path):
    tree(tmp_path / "data", "clips/a, b.mp4", "clips/été.mp4")
    path = table(
        tmp_path / "data" / "list.csv", "Path, label ,group", '"clips/a, b.mp4",wave,anna', "", "clips/été.mp4,clap,"
    )
    absolute = table(
        tmp_path / "other.csv", "label,path", f"wave,{tmp_path / 'data/clips/été.mp4'}", encoding="utf-8-sig"
    )
    assert dataset.find_all(path) == (
        Sample(tmp_path / "data/clips/a, b.mp4", "wave", "anna"),
        Sample(tmp_path / "data/clips/été.mp4", "clap", None),
    )
    assert dataset.find_all(absolute) == (Sample(tmp_path / "data/clips/été.mp4", "wave", None),)


def test_second_csv_is_val(tmp_path):
    tree(tmp_path, "1.mp4", "2.mp4", "3.mp4")
    train = table(tmp_path / "train.csv", "path,label,group", "1.mp4,a,anna", "2.mp4,b,bert")
    val = table(tmp_path / "val.csv", "path,label,group", "3.mp4,a,anna")
    listing = dataset.find(train, val=val)
    assert (names(listing.train), names(listing.val)) == (["1.mp4", "2.mp4"], ["3.mp4"])
    assert any("1 group is in train and in val (anna)" in note for note in listing.notes)
    table(val, "path,label", "3.mp4,c")
    with pytest.raises(ValueError, match=r"class 'c', which train lacks .* train has a, b"):
        dataset.find(train, val=val)
    table(val, "path,label", "2.mp4,b")
    with pytest.raises(ValueError, match=r"1 video is in train and in val .*2\.mp4"):
        dataset.find(train, val=val)
    table(val, "path,label,start,end", "2.mp4,b,0,1", "3.mp4,a,,")
    assert any(
        "1 video is in train and in val, whole or in parts" in note for note in dataset.find(train, val=val).notes
    )


def test_a_path_that_goes_up_gives_the_videos_their_one_name(tmp_path, monkeypatch):
    tree(tmp_path / "data", "a/1.mp4", "a/2.mp4", "b/3.mp4")
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    up = Path("../data")
    assert dataset.find_all(up, part="all") == dataset.find_all(tmp_path / "data", part="all")
    train = table(tmp_path / "train.csv", "path,label", "data/a/1.mp4,a", "data/b/3.mp4,b")
    with pytest.raises(ValueError, match="2 videos are in train and in val"):
        dataset.find(train, val=up)
    (tmp_path / "here" / "link").symlink_to(tmp_path / "data" / "a")
    tree(tmp_path / "here", "b/4.mp4")
    linked = dataset.find_all(Path("link/.."), part="all")
    assert names(linked) == ["1.mp4", "2.mp4", "3.mp4"], "up from where the link leads to"


def test_unused_columns_are_remarked(tmp_path):
    tree(tmp_path, "1.mp4", "2.mp4")
    listing = dataset.find(table(tmp_path / "x.csv", "path,label,fps", "1.mp4,a,30", "2.mp4,a,25"))
    assert any("x.csv: columns not used: fps" in note for note in listing.notes)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["path;label", "1.mp4;a"], r"has no header: its first line is 'path;label', but must be path,label"),
        (["path,class", "1.mp4,a"], r"has no column label: its first line must be path,label"),
        (["1.mp4,a"], r"has no header: its first line is '1\.mp4,a', but must be path,label"),
        (["path label", "1.mp4 a"], r"has no header: its first line is 'path label'"),
        (["path,label"], r"has a header but no video"),
        (["path,label", "1.mp4,a", "2.mp4"], r"line 3 has 1 fields, but the header has 2"),
        (["path,label", "1.mp4,"], r"line 2 has no label"),
        (["path,label", "1.mp4,a", "./1.mp4,b"], r"lists '\./1\.mp4' twice, in lines 2 and 3"),
        (["path,label", "1.mp4,a", "x.mp4,a", "y.mp4,b"], r"names 2 files that do not exist, of 3 .*x\.mp4, .*y\.mp4"),
        (
            ["path,label,start,end", "1.mp4,a,3,1"],
            r"line 2: a part must start at 0 s or later and end after that, got 3,1",
        ),
        (["path,label,start,end", "1.mp4,a,,1m"], r"line 2 has end '1m', but seconds are due, such as 12\.5"),
        (
            ["path,label,start,end", "1.mp4,a,1,2", "1.mp4,b,1.0,2"],
            r"lists this part of '1\.mp4' twice, in lines 2 and 3",
        ),
        (["path,label,split", "1.mp4,a,train", "x.mp4,b,"], r"line 3 has no split, but other lines have"),
        (["path,label", "a\0.mp4,a"], r"line 2 has a path that no name can be: 'a\\x00\.mp4'"),
        (["path,label,split", "1.mp4,a,dev"], r"line 2 has split 'dev', but must have train or val"),
        (["path,label,split", "1.mp4,a,val"], r"has val but no train"),
        (["path,label", '"1.mp4,a'], r"cannot be read as a CSV"),
    ],
)
def test_bad_csv_gets_one_sentence(tmp_path, lines, message):
    tree(tmp_path, "1.mp4")
    with pytest.raises(ValueError, match=message) as caught:
        dataset.find(table(tmp_path / "list.csv", *lines))
    assert "\n" not in str(caught.value)
    assert "list.csv" in str(caught.value)


def test_empty_and_foreign_csv_get_one_sentence(tmp_path):
    (tmp_path / "empty.csv").touch()
    with pytest.raises(ValueError, match=r"empty\.csv is empty: its first line must be path,label"):
        dataset.find(tmp_path / "empty.csv")
    (tmp_path / "latin.csv").write_bytes("path,label\nété.mp4,a\n".encode("latin-1"))
    with pytest.raises(ValueError, match=r"latin\.csv cannot be read as a CSV in UTF-8"):
        dataset.find(tmp_path / "latin.csv")


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ([], r"holds no videos: it must hold a folder for each class"),
        (["1.mp4", "2.mp4"], r"holds 2 videos but no class folders"),
        (["a/x.txt", "b/y.txt"], r"holds 2 folders \(a, b\) without a video or an image"),
        (["train.csv", "videos/a/x.mp4"], r"but train\.csv: give the table"),
        (["videos/a/x.mp4"], r"but .*/videos has: give that folder"),
        (["val/a/x.mp4"], r"has val but no train"),
    ],
)
def test_folder_without_classes_gets_one_sentence(tmp_path, files, message):
    with pytest.raises(ValueError, match=message) as caught:
        dataset.find(tree(tmp_path, *files))
    assert "\n" not in str(caught.value)


def test_wrong_places_get_one_sentence(tmp_path):
    tree(tmp_path, "a/x.mp4", "train/a/1.mp4", "val/a/2.mp4")
    with pytest.raises(FileNotFoundError, match="nowhere does not exist"):
        dataset.find(tmp_path / "nowhere")
    with pytest.raises(ValueError, match=r"x\.mp4 is a single file"):
        dataset.find(tmp_path / "a/x.mp4")
    with pytest.raises(ValueError, match="holds its own val"):
        dataset.find(tmp_path, val=tmp_path / "val")
    with pytest.raises(ValueError, match="between 0 and 1"):
        dataset.find(tmp_path / "train", val_fraction=1.0)


def test_names_that_are_not_utf8_are_refused(tmp_path):
    tree(tmp_path, "a/1.mp4")
    (tmp_path / "a" / os.fsdecode(b"caf\xe9.mp4")).touch()
    with pytest.raises(ValueError, match=r"a holds '.*', a name that is not in UTF-8: rename it"):
        dataset.find(tmp_path)


def test_strange_but_lawful_names_survive_the_split_file(tmp_path):
    tree(tmp_path, "a, b/ 1.mp4", 'a, b/"2".mp4', "a, b/10.30\u202fAM.mp4", "c\nd/x .webm", "c\nd/été.MP4")
    listing = dataset.find(tmp_path)
    (tmp_path / "split.csv").write_text(dataset.split_table(listing), encoding="utf-8", newline="")
    again = dataset.read_split(tmp_path / "split.csv")
    assert (again.classes, again.train, again.val) == (listing.classes, listing.train, listing.val)


def test_labels_unknown_to_the_model_are_named_with_its_own(tmp_path):
    tree(tmp_path, "wave/1.mp4", "clap/1.mp4")
    assert len(dataset.find_all(tmp_path, ("clap", "jump", "wave"))) == 2
    with pytest.raises(ValueError, match=r"class 'wave', which the model lacks .* the model has clap, jump"):
        dataset.find_all(tmp_path, ("clap", "jump"))


def test_split_file_round_trips_and_can_be_evaluated_on(tmp_path):
    tree(tmp_path, *videos(8, "a"), *videos(8, "b, c"))
    lines = [f'"{label}/{index}.mp4","{label}",p{index}' for label in ("a", "b, c") for index in range(8)]
    listing = dataset.find(table(tmp_path / "list.csv", "path,label,group", *lines))
    (tmp_path / "split.csv").write_text(dataset.split_table(listing), encoding="utf-8", newline="")
    again = dataset.read_split(tmp_path / "split.csv")
    assert (again.classes, again.train, again.val) == (listing.classes, listing.train, listing.val)
    assert dataset.find_all(tmp_path / "split.csv") == listing.val
    listing.val[0].path.unlink()
    with pytest.raises(ValueError, match="names 1 file that does not exist"):
        dataset.read_split(tmp_path / "split.csv")


def test_split_file_that_holds_nothing_out_stays_so(tmp_path):
    listing = dataset.find(tree(tmp_path, *videos(1, "a"), *videos(1, "b")))
    (tmp_path / "split.csv").write_text(dataset.split_table(listing), encoding="utf-8", newline="")
    again = dataset.read_split(tmp_path / "split.csv")
    assert (again.train, again.val) == (listing.train, ())
    assert dataset.find_all(tmp_path / "split.csv") == listing.train
