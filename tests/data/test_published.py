"""Published data sets, each as its authors lay it out: recognised, said so, read to the classes and paths they mean."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mvit.data import dataset
from trees import names, table, tree

KINETICS = "label,youtube_id,time_start,time_end,split"


def kinetics(root: Path) -> None:
    rows = [f"riding a bike,vid{n:08},{10 * n},{10 * n + 10},train" for n in range(8)]
    table(root / "train.csv", KINETICS, *rows, '"dancing ballet",--ab-c_d123,49,59,train')
    table(
        root / "validate.csv", KINETICS, "riding a bike,val00000001,0,10,validate", "dancing ballet,gone,5,15,validate"
    )
    tree(root, *(f"train/riding a bike/vid{n:08}_{10 * n:06}_{10 * n + 10:06}.mp4" for n in range(7)))
    tree(root, "train/dancing ballet/--ab-c_d123_000049_000059.mp4", "val/riding_a_bike/val00000001_000000_000010.mkv")


def something(root: Path) -> None:
    labels = root / "labels"
    labels.mkdir(parents=True)
    (labels / "labels.json").write_text('{"Holding something": "0", "Putting something on a surface": "1"}')
    entries = [
        {"id": "1", "label": "putting a cup on a surface", "template": "Putting [something] on a surface"},
        {"id": "2", "label": "holding a pen", "template": "Holding [something]", "placeholders": ["a pen"]},
    ]
    (labels / "train.json").write_text(json.dumps(entries))
    (labels / "validation.json").write_text(json.dumps([{**entries[0], "id": "3"}]))
    (labels / "test.json").write_text(json.dumps([{"id": "4"}]))
    tree(root, *(f"20bn-something-something-v2/{n}.webm" for n in range(1, 5)))


def charades(root: Path) -> None:
    table(
        root / "Charades_v1_classes.txt", "c000 Holding some clothes", "c092 Sitting on sofa/couch", "c147 Taking a cup"
    )
    header = "id,subject,scene,script,actions,length"
    table(
        root / "Charades_v1_train.csv",
        header,
        'YSKX3,HR43,Bedroom,"A person, sits.",c092 11.90 21.20;c147 0.00 12.60;c092 30.00 32.00,33.00',
        "46GP8,HR43,Kitchen,Nothing.,,20.0",
    )
    table(root / "Charades_v1_test.csv", header, "ABCDE,QWER,Hall,x,c147 0.00 5.00,10.0")
    tree(root, *(f"Charades_v1_480/{name}.mp4" for name in ("YSKX3", "46GP8", "ABCDE")))


def ucf(root: Path) -> None:
    lists = root / "ucfTrainTestlist"
    table(lists / "classInd.txt", "1 ApplyEyeMakeup", "2 YoYo")
    clip = "{0}/v_{0}_g{1:02}_c01.avi".format
    for number in (1, 2):
        train = [
            f"{clip(name, group)} {index}" for index, name in ((1, "ApplyEyeMakeup"), (2, "YoYo")) for group in (8, 9)
        ]
        table(lists / f"trainlist0{number}.txt", *train)
        table(lists / f"testlist0{number}.txt", clip("ApplyEyeMakeup", 1), clip("YoYo", number))
    tree(root / "UCF-101", *(clip(name, group) for name in ("ApplyEyeMakeup", "YoYo") for group in (1, 2, 8, 9)))


def hmdb(root: Path) -> None:
    for name in ("brush_hair", "wave"):
        for number in (1, 2):
            lines = [f"{name}_{n}_u_nm.avi {n % 3} " for n in range(6)]
            table(root / "testTrainMulti_7030_splits" / f"{name}_test_split{number}.txt", *lines)
        tree(root, *(f"hmdb51_org/{name}/{name}_{n}_u_nm.avi" for n in range(6)))


def paths(root: Path) -> None:
    table(root / "train.csv", "videos/a b.mp4 0", "videos/c.mp4 1")
    table(root / "val.csv", "videos/d.mp4 1")
    table(root / "classes.txt", "running", "jumping")
    tree(root, "videos/a b.mp4", "videos/c.mp4", "videos/d.mp4")


def imagenet(root: Path) -> None:
    table(root / "train.txt", "n01440764/n01440764_10026.JPEG 0", "n01443537/n01443537_2.JPEG 1")
    table(root / "val.txt", "ILSVRC2012_val_00000001.JPEG 1")
    tree(root, "train/n01440764/n01440764_10026.JPEG", "train/n01443537/n01443537_2.JPEG")
    tree(root, "val/ILSVRC2012_val_00000001.JPEG")


@pytest.mark.parametrize(
    ("make", "given", "title", "counts", "classes"),
    [
        (kinetics, "", "Kinetics", (8, 2), ("dancing ballet", "riding a bike")),
        (something, "", "Something-Something v2", (2, 1), ("Holding something", "Putting something on a surface")),
        (
            something,
            "labels",
            "Something-Something v2",
            (2, 1),
            ("Holding something", "Putting something on a surface"),
        ),
        (ucf, "ucfTrainTestlist/trainlist01.txt", "UCF101", (4, 2), ("ApplyEyeMakeup", "YoYo")),
        (ucf, "ucfTrainTestlist/testlist02.txt", "UCF101", (4, 2), ("ApplyEyeMakeup", "YoYo")),
        (hmdb, "testTrainMulti_7030_splits/wave_test_split2.txt", "HMDB51", (4, 4), ("brush_hair", "wave")),
        (paths, "", "lists of paths and class numbers", (2, 1), ("jumping", "running")),
        (imagenet, "", "lists of paths and class numbers", (2, 1), ("0", "1")),
    ],
)
def test_each_is_recognised_and_said(
    tmp_path: Path, make: Callable[[Path], None], given: str, title: str, counts: tuple[int, int], classes: tuple
):
    make(tmp_path)
    listing = dataset.find(tmp_path / given)
    assert listing.notes[0].startswith(f"read as {title} (")
    assert (len(listing.train), len(listing.val)) == counts
    assert listing.classes == classes
    there = [sample for sample in (*listing.train, *listing.val) if sample.id not in listing.missing]
    assert all(sample.path.is_file() for sample in there)


def test_kinetics_that_has_shrunk_is_counted_and_its_val_stays_whole(tmp_path: Path):
    kinetics(tmp_path)
    listing = dataset.find(tmp_path)
    assert "2 of 11 listed videos are not there (1 of 9 in train, 1 of 2 in val): " in "\n".join(listing.notes)
    assert names(listing.val) == ["val00000001_000000_000010.mkv", "gone_000005_000015.mp4"]
    assert listing.missing == {listing.val[1].id}
    assert len(dataset.find_all(tmp_path)) == 2
    (tmp_path / "split.csv").write_text(dataset.split_table(listing), encoding="utf-8", newline="")
    assert dataset.read_split(tmp_path / "split.csv").missing == listing.missing
    assert len(dataset.pool(tmp_path).train) == 9
    for path in (tmp_path / "train").rglob("*.mp4"):
        path.unlink()
    with pytest.raises(
        ValueError, match=r"10 of 11 listed videos of Kinetics are not there, .* put them there, or a link"
    ):
        dataset.find(tmp_path)


def test_kinetics_by_its_lists(tmp_path: Path):
    kinetics(tmp_path)
    listing = dataset.find(tmp_path / "train.csv", val=tmp_path / "validate.csv")
    assert (len(listing.train), len(listing.val), len(listing.missing)) == (8, 2, 1)
    table(tmp_path / "test.csv", "youtube_id,time_start,time_end,split", "vid,0,10,test")
    assert any("test.csv has no labels: 1 video is left out" in note for note in dataset.find(tmp_path).notes)


def test_something_says_how_it_is_usually_seen(tmp_path: Path):
    something(tmp_path)
    notes = "\n".join(dataset.find(tmp_path).notes)
    assert "data.sampling=segments" in notes
    assert "test.json has no labels: 1 video is left out" in notes
    (tmp_path / "labels/labels.json").write_text('{"Holding something": "0"}')
    with pytest.raises(
        ValueError, match=r"train\.json, entry 1 is of class 'Putting something on a surface', .* none of"
    ):
        dataset.find(tmp_path)


def test_other_json_is_not_taken_for_lists(tmp_path: Path):
    tree(tmp_path, "a/1.mp4", "a/2.mp4", "b/3.mp4", "b/4.mp4")
    (tmp_path / "train.json").write_text('{"images": [{"id": 1}]}')
    assert dataset.find(tmp_path).classes == ("a", "b")
    with pytest.raises(ValueError, match=r"train\.json has no header"):
        dataset.find(tmp_path / "train.json")


def test_charades_has_several_classes_a_video(tmp_path: Path):
    charades(tmp_path)
    listing = dataset.find(tmp_path)
    assert listing.multi_label
    assert [sample.labels for sample in listing.train] == [("Sitting on sofa/couch", "Taking a cup"), ()]
    assert [sample.group for sample in listing.train] == ["HR43", "HR43"]
    with pytest.raises(ValueError, match=r"YSKX3\.mp4 is of 2 classes, where one is due"):
        _ = listing.train[0].label


def test_ucf_has_sources_as_groups_and_one_split_must_be_meant(tmp_path: Path):
    ucf(tmp_path)
    assert dataset.find(tmp_path / "ucfTrainTestlist/trainlist01.txt").train[0].group == "v_ApplyEyeMakeup_g08"
    with pytest.raises(ValueError, match=r"holds UCF101 in 2 splits \(01, 02\): give a list of the one meant, such as"):
        dataset.find(tmp_path)


def test_hmdb_leaves_out_what_its_split_does_not_use(tmp_path: Path):
    hmdb(tmp_path)
    listing = dataset.find(tmp_path / "testTrainMulti_7030_splits/wave_test_split1.txt")
    assert "4 videos are in the list, but not in this split" in listing.notes


def test_numbers_are_the_names_where_there_are_none(tmp_path: Path):
    paths(tmp_path)
    (tmp_path / "classes.txt").unlink()
    listing = dataset.find(tmp_path / "train.csv", val=tmp_path / "val.csv")
    assert listing.classes == ("0", "1")
    assert any("classes are called by their numbers: classes.txt beside the list" in note for note in listing.notes)
    table(tmp_path / "classes.txt", "running")
    with pytest.raises(ValueError, match=r"train\.csv, line 2 is of class '1', which is none of the 1 of classes\.txt"):
        dataset.find(tmp_path)


def test_folders_and_lists_of_the_same_classes_are_not_guessed_between(tmp_path: Path):
    ucf(tmp_path)
    for path in list((tmp_path / "UCF-101").iterdir()):
        path.rename(tmp_path / path.name)
    for clip in list(tmp_path.glob("*/*_g02_*")):
        clip.unlink()
    for path in (tmp_path / "ucfTrainTestlist").glob("*02.txt"):
        path.unlink()
    assert dataset.find(tmp_path).notes[0].startswith("read as UCF101")
    tree(tmp_path, "YoYo/extra.avi")
    message = r"holds lists \(read as UCF101 .*\) and folders of classes that say another thing of .*extra\.avi: for"
    with pytest.raises(ValueError, match=message):
        dataset.find(tmp_path)


@pytest.mark.parametrize(
    ("make", "file", "text", "message"),
    [
        (
            kinetics,
            "train.csv",
            f"{KINETICS}\na,b,0,10,dev\n",
            r"train\.csv, line 2 is of part 'dev', which Kinetics has not",
        ),
        (kinetics, "train.csv", f"{KINETICS}\na,b,0\n", r"line 2 has 3 fields, but the header has 5"),
        (
            kinetics,
            "train.csv",
            f"{KINETICS}\n" + 2 * "riding a bike,vid00000000,0,10,train\n",
            r"line 3 lists .* again",
        ),
        (something, "labels/train.json", "{", r"train\.json is no JSON"),
        (something, "labels/train.json", "[" * 100_000, r"train\.json is no JSON that can be read: it is nested"),
        (something, "labels/train.json", '[{"template": "a"}]', r"train\.json, entry 1 has no id"),
        (something, "labels/labels.json", "[]", r"labels\.json holds no object"),
        (
            charades,
            "Charades_v1_train.csv",
            "id,subject,actions\na,b,c1 x\n",
            r"line 2 has actions 'c1 x', which Charades does",
        ),
        (charades, "Charades_v1_classes.txt", "c000\n", r"line 1 is 'c000', but must be a code and a class"),
        (
            paths,
            "train.csv",
            "a.mp4 0\nb.mp4 one\n",
            r"line 2 is 'b\.mp4 one', which lists of paths .* does not write so",
        ),
        (
            paths,
            "train.csv",
            "videos/x.mp4 0\n",
            r"1 of 2 listed videos of .* are not there, such as x\.mp4: they are looked",
        ),
    ],
)
def test_bad_lists_get_one_sentence(tmp_path: Path, make: Callable[[Path], None], file: str, text: str, message: str):
    make(tmp_path)
    (tmp_path / file).write_text(text)
    with pytest.raises(ValueError, match=message) as caught:
        dataset.find(tmp_path)
    assert "\n" not in str(caught.value)


HEADS = [
    b"",
    b"path,label\n",
    b"path,label,start,end\n",
    f"{KINETICS}\n".encode(),
    b"id,subject,actions\n",
    b'[{"id":',
    b"a 0\n",
]
FILES = [
    "x.csv",
    "x.jsonl",
    "x.txt",
    "train.json",
    "Charades_v1_train.csv",
    "trainlist01.txt",
    "wave_test_split1.txt",
    "train.csv",
]


@given(st.sampled_from(FILES), st.sampled_from(HEADS), st.one_of(st.binary(max_size=200), st.text().map(str.encode)))
def test_any_bytes_are_a_listing_or_one_sentence(tmp_path_factory, name: str, head: bytes, content: bytes):
    folder = tmp_path_factory.getbasetemp() / "fuzz"
    for file in folder.glob("*"):
        os.unlink(file)
    table(folder / "Charades_v1_classes.txt", "c000 x")
    table(folder / "labels.json", '{"x": 0}')
    (folder / name).write_bytes(head + content)
    for place in (folder / name, folder):
        said = ""
        try:
            dataset.find(place)
        except ValueError as error:
            said = str(error)
        assert "\n" not in said


CLASSES = [f"{label}/{number}.mp4" for label in ("cat", "dog") for number in range(5)]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("train_log.txt", "epoch 1\nepoch 2\n"),
        ("test.txt", "version 2\n"),
        ("train.csv", "1,2\n3,4\n"),
        ("train.csv", "epoch,loss\n1,2\n"),
        ("classes.txt", "cat 0\ndog 1\n"),
        ("labels.json", '{"cat": "0", "dog": "1"}'),
        ("train.json", '[{"id": 1, "name": "x"}]'),
        ("labels/train.csv", "0001,3\n"),
    ],
)
def test_files_that_lie_about_in_class_folders_are_no_lists(tmp_path, name, text):
    table(tree(tmp_path, *CLASSES) / name, text)
    listing = dataset.find(tmp_path)
    assert (listing.classes, len(listing.train) + len(listing.val)) == (("cat", "dog"), 10)


def test_a_list_that_leaves_out_much_of_the_class_folders_around_it_is_not_chosen_silently(tmp_path):
    table(tree(tmp_path, *CLASSES) / "train.txt", "cat/0.mp4 0", "dog/0.mp4 1")
    with pytest.raises(ValueError, match=r"folders of classes that say another thing of .*cat/1\.mp4"):
        dataset.find(tmp_path)
    table(tmp_path / "train.txt", "/elsewhere/0.mp4 0")
    with pytest.raises(ValueError, match=r"not there, .* Or move the lists away, for the folders of classes in"):
        dataset.find(tmp_path)
