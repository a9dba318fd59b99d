"""CSV and JSON Lines to samples and back; parts of videos; whatever a stranger wrote is a listing or one sentence."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mvit.data import dataset
from mvit.data.manifests import read_manifest, write_manifest
from mvit.data.samples import Sample
from mvit.data.sampling import Part
from trees import table, tree, videos


def test_json_lines_say_what_a_csv_says(tmp_path: Path):
    tree(tmp_path, "1.mp4", "2.mp4", "é, 3.mp4")
    lines = [
        {"path": "1.mp4", "label": "wave", "group": "anna", "split": "train"},
        {"path": "2.mp4", "label": "clap", "group": None, "split": "train", "start": 1, "end": 2.5},
        {"path": str(tmp_path / "é, 3.mp4"), "label": "wave", "split": "val", "start": None, "end": 2},
    ]
    found = read_manifest(table(tmp_path / "x.jsonl", *map(json.dumps, lines)))
    rows = ["path,label,group,split,start,end", "1.mp4,wave,anna,train,,", "2.mp4,clap,,train,1,2.5"]
    assert found.parts == read_manifest(table(tmp_path / "x.csv", *rows, '"é, 3.mp4",wave,,val,,2.0')).parts
    assert found.parts["train"][1] == Sample(tmp_path / "2.mp4", "clap", None, Part(1, 2.5))
    assert found.parts["val"][0].part == Part(0, 2)


def test_one_video_may_be_listed_in_parts_and_each_has_a_name(tmp_path: Path):
    tree(tmp_path, "1.mp4")
    rows = ["path,label,start,end", "1.mp4,a,,2", "1.mp4,a,2,4.25", "1.mp4,b,4.25,", "1.mp4,b,,"]
    (samples,) = read_manifest(table(tmp_path / "x.csv", *rows)).parts.values()
    assert [sample.id.name for sample in samples] == ["1.mp4#t=0,2", "1.mp4#t=2,4.25", "1.mp4#t=4.25,", "1.mp4"]


def test_labels_may_be_several_in_json_lines(tmp_path: Path):
    tree(tmp_path, "1.mp4", "2.mp4", "3.mp4")
    lines = [
        '{"path": "1.mp4", "label": ["a", "b", "a"]}',
        '{"path": "2.mp4", "label": []}',
        '{"path": "3.mp4", "label": "b"}',
    ]
    (samples,) = read_manifest(table(tmp_path / "x.jsonl", *lines)).parts.values()
    assert [sample.labels for sample in samples] == [("a", "b"), (), ("b",)]
    listing = dataset.pool(tmp_path / "x.jsonl")
    assert listing.multi_label
    assert listing.classes == ("a", "b")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("1.mp4", r"line 2 is no JSON: extra data at character 2"),
        ("[" * 100_000, r"line 2 is no JSON that can be read: it is nested too deeply"),
        ('{"path": ' + "1" * 5_000 + "}", r"line 2 is no JSON that can be read: a number is too long"),
        ("[1]", r"line 2 is no JSON object with a path and a label"),
        ('{"label": "a"}', r"line 2 has no path"),
        ('{"path": "1.mp4"}', r"line 2 has no label"),
        ('{"path": "1.mp4", "labels": ["a"]}', r"line 2 has labels, but the name is label, also for a list"),
        ('{"path": "1.mp4", "label": ["a", " "]}', r"line 2 has no label"),
        ('{"path": "1.mp4", "label": 3}', r"line 2 has a label that is no text: '3'"),
        ('{"path": ["1.mp4"], "label": "a"}', r"line 2 has a path that is no text"),
        ('{"path": "\\ud800", "label": "a"}', r"line 2 has a path that no name can be: '\\ud800'"),
        ('{"path": "1.mp4", "label": "a\\u0000"}', r"line 2 has a label that no name can be: 'a\\x00'"),
        ('{"path": "1.mp4", "label": "a", "start": true}', r"line 2 has start 'True', but seconds are due"),
        ('{"path": "1.mp4", "label": "a", "end": NaN}', r"line 2: a part must start at 0 s or later and end after"),
        ('{"path": "1.mp4", "label": "a", "end": 1e999}', r"line 2: a part must start at 0 s or later and end after"),
        ('{"path": "1.mp4", "label": "a", "start": -1}', r"line 2: a part must start at 0 s or later and end after"),
    ],
)
def test_bad_json_lines_get_one_sentence(tmp_path: Path, line: str, message: str):
    tree(tmp_path, "0.mp4", "1.mp4")
    with pytest.raises(ValueError, match=message) as caught:
        dataset.find(table(tmp_path / "x.jsonl", '{"path": "0.mp4", "label": "a"}', line))
    assert "\n" not in str(caught.value)


parts = st.one_of(
    st.none(),
    st.tuples(st.floats(0, 1e5), st.one_of(st.none(), st.floats(0.001, 1e4))).map(
        lambda times: Part(times[0], None if times[1] is None else times[0] + times[1])
    ),
)
words = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=8).map(str.strip).filter(bool)


@given(st.lists(st.tuples(words, st.one_of(st.none(), words), parts), min_size=1, max_size=8), st.booleans())
def test_what_is_written_is_read_again(tmp_path_factory, items, lines):
    samples = [Sample(Path(f"/x/{n}.mp4"), label, group, part) for n, (label, group, part) in enumerate(items)]
    path = tmp_path_factory.getbasetemp() / ("again.jsonl" if lines else "again.csv")
    path.write_text(write_manifest([("train", samples)], frozenset(), lines=lines), encoding="utf-8", newline="")
    again = read_manifest(path, anywhere=True).parts["train"]
    assert [sample.id for sample in again] == [sample.id for sample in samples]
    assert [(sample.labels, sample.group) for sample in again] == [(s.labels, s.group) for s in samples]


keys = st.sampled_from(["path", "label", "group", "split", "start", "end", "missing", "x"])
values = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.sampled_from(["1.mp4", "train", "val"])
    ),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=4,
)


@given(st.lists(st.dictionaries(keys, values), max_size=4), st.binary(max_size=40))
def test_any_objects_are_a_listing_or_one_sentence(tmp_path_factory, objects, tail):
    folder = tree(tmp_path_factory.getbasetemp() / "objects", "1.mp4")
    text = "".join(json.dumps(item) + "\n" for item in objects)
    (folder / "x.jsonl").write_bytes(text.encode() + tail)
    said = ""
    try:
        dataset.find(folder / "x.jsonl")
    except ValueError as error:
        said = str(error)
    assert "\n" not in said


def test_what_is_known_to_be_missing_is_not_learned_from_and_a_run_can_go_on(tmp_path):
    tree(tmp_path, *videos(8, "v"))
    rows = [f"v/{number}.mp4,{'ab'[number % 2]},{'1' if number > 7 else '0'}" for number in range(12)]
    listing = dataset.find(table(tmp_path / "list.csv", "path,label,missing", *rows))
    assert all(sample.path.exists() for sample in listing.train)
    gone = sum(not sample.path.exists() for sample in listing.val)
    assert f"{4 - gone} listed videos of train are known to be missing, and left out" in listing.notes
    (tmp_path / "split.csv").write_text(dataset.split_table(listing), encoding="utf-8", newline="")
    again = dataset.read_split(tmp_path / "split.csv")
    assert (again.train, again.val, again.missing) == (listing.train, listing.val, listing.missing)
    table(tmp_path / "list.csv", "path,label,missing", "v/0.mp4,a,0", "v/absent.mp4,b,0")
    with pytest.raises(ValueError, match="names 1 file that does not exist"):
        dataset.find(tmp_path / "list.csv")
    table(tmp_path / "list.csv", "path,label,missing", "v/0.mp4,a,", "v/absent.mp4,b,perhaps")
    with pytest.raises(ValueError, match="line 3 has missing 'perhaps', but must have 1 or nothing"):
        dataset.find(tmp_path / "list.csv")
