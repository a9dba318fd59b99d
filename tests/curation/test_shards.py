"""Shards: the same bytes each time, the same frames as the files, nothing outside of them; after a kill it goes on."""

import errno
import hashlib
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mvit.curation import shards
from mvit.data import members, video
from mvit.data.dataset import Sample, find, find_all, parts_of, read_split, split_table
from mvit.data.loader import TrainLoader
from mvit.data.order import evaluated
from mvit.data.sampling import ClipSampling
from mvit.data.scan import scan
from mvit.data.transforms import Augmentation
from mvit.data.video import UnreadableVideo, Video
from mvit.data.views import Preprocessing


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Nine small videos and a file that is none, in two classes, of three people, with a CSV."""
    root = tmp_path_factory.mktemp("files")
    rows = ["path,label,group"]
    for n in range(9):
        frames = np.full((10, 20, 24, 3), 25 * n, np.uint8) + np.arange(10, dtype=np.uint8)[:, None, None, None]
        name = f"{'ab'[n % 2]}/clip {n}.of.nine.mp4"
        (root / name).parent.mkdir(exist_ok=True)
        video.write(root / name, frames)
        rows.append(f"{name},{'ab'[n % 2]},p{n % 3}")
    (root / "a" / "bad.mp4").write_text("no video")
    (root / "all.csv").write_text("\n".join([*rows, "a/bad.mp4,a,"]))
    return root


@pytest.fixture
def made(folder, tmp_path) -> Path:
    out = tmp_path / "shards"
    shards.write(parts_of(folder / "all.csv"), out, count=4)
    return out


def test_parts_of_videos_and_several_classes_are_kept(folder, tmp_path):
    lines = [
        {"path": "a/clip 0.of.nine.mp4", "label": ["a", "b"], "start": 0.1, "end": 0.25},
        {"path": "a/clip 0.of.nine.mp4", "label": "a", "start": 0.2},
        {"path": "b/clip 1.of.nine.mp4", "label": []},
    ]
    (folder / "parts.jsonl").write_text("\n".join(map(json.dumps, lines)))
    shards.write(parts_of(folder / "parts.jsonl"), tmp_path / "shards", count=2)
    (ours,), (theirs,) = parts_of(tmp_path / "shards").values(), parts_of(folder / "parts.jsonl").values()
    assert [(s.labels, s.part) for s in ours] == [(s.labels, s.part) for s in theirs]
    assert ours[0].labels == ("a", "b")
    assert ours[0].part.end == 0.25


def contents(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(out.iterdir())}


def test_a_folder_of_shards_is_a_data_set(folder, made):
    tars = ["all-000000.tar", "all-000001.tar", "all-000002.tar"]
    assert sorted(contents(made)) == sorted([*tars, *(name.replace(".tar", ".json") for name in tars), "shards.json"])
    index = json.loads((made / "shards.json").read_text())
    assert (index["videos"], index["classes"]) == (10, ["a", "b"])
    assert [(shard["file"], shard["videos"]) for shard in index["shards"]] == list(zip(tars, (4, 4, 2), strict=True))
    for shard in index["shards"]:
        assert hashlib.sha256((made / shard["file"]).read_bytes()).hexdigest() == shard["sha256"]
    (ours,), (theirs,) = parts_of(made).values(), parts_of(folder / "all.csv").values()
    assert [(sample.label, sample.group) for sample in ours] == [(sample.label, sample.group) for sample in theirs]
    assert ours[0].path.name == "000000000-clip_0_of_nine.mp4"
    from_shards, from_files = find(made, seed=1), find(folder / "all.csv", seed=1)
    assert [s.path.name[:9] for s in from_shards.val] == [f"{theirs.index(s):09d}" for s in from_files.val]


def test_videos_read_as_from_their_files(folder, made):
    (ours,), (theirs,) = parts_of(made).values(), parts_of(folder / "all.csv").values()
    for ours_, theirs_ in zip(ours[:-1], theirs[:-1], strict=True):
        with Video(ours_.path) as inside, Video(theirs_.path) as outside:
            assert inside.facts == outside.facts
            assert np.array_equal(inside.read([7, 2]), outside.read([7, 2]))
    found = scan(ours)
    assert found.unreadable == {ours[-1].path: scan(theirs).unreadable[theirs[-1].path]}


def test_training_on_shards_is_training_on_the_files(folder, made):
    """Clip by clip, for one rank and for two, in this process and in others."""
    preprocessing = Preprocessing(sampling=ClipSampling(frames=4, spacing=2), short_side=16, crop=16)

    def epoch(data: Path, **options) -> list[tuple[str, int]]:
        (samples,) = parts_of(data).values()
        loader = TrainLoader(
            samples, ("a", "b"), preprocessing, Augmentation(), **{"batch": 4, "seed": 0, "workers": 0} | options
        )
        batches = list(loader.epoch(3))
        return [
            (clip.numpy().tobytes(), label)
            for b in batches
            for clip, label in zip(b.clips, b.labels.tolist(), strict=True)
        ]

    files = epoch(folder / "all.csv")
    assert len(files) == 9
    assert epoch(made) == epoch(made, workers=2) == files
    ranks = [epoch(made, rank=rank, ranks=2) for rank in (0, 1)]
    assert sorted(ranks[0] + ranks[1]) == sorted(epoch(folder / "all.csv", whole=True))


def test_evaluation_sees_every_video_once(made):
    samples = find_all(made)
    for ranks in (1, 2, 3, 11):
        seen = [samples[index].path for rank in range(ranks) for index in evaluated(len(samples), rank, ranks)]
        assert sorted(seen) == sorted(sample.path for sample in samples)


def test_the_same_videos_give_the_same_bytes(folder, made, tmp_path):
    shutil.copytree(folder, tmp_path / "elsewhere")
    again = tmp_path / "again"
    shards.write(parts_of(tmp_path / "elsewhere" / "all.csv"), again, count=4)
    assert contents(again) == contents(made)
    before = {path: path.stat().st_mtime_ns for path in made.glob("*.tar")}
    shards.write(parts_of(folder / "all.csv"), made, count=4)
    assert {path: path.stat().st_mtime_ns for path in made.glob("*.tar")} == before


def test_shards_end_before_they_are_too_large(folder, tmp_path):
    parts = parts_of(folder / "all.csv")
    index = shards.write(parts, tmp_path / "by-size", size=20_000)
    assert len(index["shards"]) > 2
    assert all(shard["bytes"] <= 20_000 for shard in index["shards"])
    assert {shard["videos"] for shard in shards.write(parts, tmp_path / "tiny", size=1)["shards"]} == {1}


KILLED = """
import os, signal, sys
from pathlib import Path
from mvit.curation import shards
from mvit.data.dataset import parts_of
original = shards._header
def header(name, size):
    if name.startswith(sys.argv[3]):
        os.kill(os.getpid(), signal.SIGKILL)
    return original(name, size)
shards._header = header
shards.write(parts_of(Path(sys.argv[1])), Path(sys.argv[2]), count=4)
"""


def test_after_a_kill_it_goes_on(folder, made, tmp_path):
    out = tmp_path / "killed"
    with tarfile.open(made / "all-000001.tar") as tar:
        third = tar.getnames()[2]
    program = [sys.executable, "-c", KILLED, str(folder / "all.csv"), str(out), third]
    assert (
        subprocess.run(program, env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}).returncode
        == -signal.SIGKILL
    )
    assert not (out / "shards.json").exists()
    with pytest.raises(ValueError, match="killed holds shards that are not all written"):
        find(out)
    first = (out / "all-000000.tar").stat().st_mtime_ns
    shards.write(parts_of(folder / "all.csv"), out, count=4)
    assert (out / "all-000000.tar").stat().st_mtime_ns == first
    assert contents(out) == contents(made)


def test_a_full_disk_is_named_and_leaves_nothing_half_written(folder, tmp_path, monkeypatch):
    def full(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    out = tmp_path / "full"
    monkeypatch.setattr(shards, "_header", lambda *_: full(0))
    with pytest.raises(OSError, match="No space left on device") as caught:
        shards.write(parts_of(folder / "all.csv"), out, count=4)
    assert caught.value.filename == str(out / "all-000000.tar")
    assert [path.name for path in out.iterdir()] == ["unfinished.json"]


def test_a_video_that_changes_meanwhile_is_named(folder, tmp_path, monkeypatch):
    shutil.copytree(folder, tmp_path / "files")
    parts = parts_of(tmp_path / "files" / "all.csv")
    original = shards._begin

    def meddle(*arguments):
        original(*arguments)
        (tmp_path / "files" / "a" / "bad.mp4").write_text("longer than before")

    monkeypatch.setattr(shards, "_begin", meddle)
    with pytest.raises(ValueError, match=r"bad\.mp4 has changed while shards were written"):
        shards.write(parts, tmp_path / "out", count=100)


def test_shards_are_made_of_shards_too(made, tmp_path):
    again = tmp_path / "again"
    shards.write(parts_of(made), again, count=7)
    (ours,), (theirs,) = parts_of(again).values(), parts_of(made).values()
    assert [(sample.label, sample.group) for sample in ours] == [(sample.label, sample.group) for sample in theirs]
    for one, two in zip(ours, theirs, strict=True):
        first, second = members.opened(one.path), members.opened(two.path)
        assert first is not None
        assert second is not None
        with first, second:
            assert first.read() == second.read() != b""


def test_what_is_there_is_not_overwritten(folder, made, tmp_path):
    parts = parts_of(folder / "all.csv")
    with pytest.raises(ValueError, match="shards of other videos, or of another size"):
        shards.write(parts, made, count=5)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("")
    with pytest.raises(ValueError, match="exists already and holds no shards"):
        shards.write(parts, tmp_path / "mine", count=5)
    os.mkfifo(tmp_path / "pipe.mp4")
    with pytest.raises(ValueError, match=r"pipe\.mp4 is no regular file"):
        shards.write({"all": (Sample(tmp_path / "pipe.mp4", "a"),)}, tmp_path / "out", count=5)


def test_the_name_of_a_part_is_no_member(made):
    (samples,) = parts_of(made).values()
    path = samples[0].path
    assert members.located(path)
    with pytest.raises(UnreadableVideo, match="not a directory"):
        Video(path.with_name(f"{path.name}#t=0,1"))


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_webdataset_reads_them(made, library):
    webdataset = library("webdataset", "peers")
    urls = [str(path) for path in sorted(made.glob("*.tar"))]
    seen = list(webdataset.WebDataset(urls, shardshuffle=False).decode())
    assert len(seen) == 10
    assert {tuple(sorted(key for key in sample if key[0] != "_")) for sample in seen} == {("json", "mp4")}
    assert {sample["json"]["label"] for sample in seen} == {"a", "b"}


def test_a_run_knows_its_shards_again(made, tmp_path):
    listing = find(made, seed=1)
    (tmp_path / "split.csv").write_text(split_table(listing), encoding="utf-8", newline="")
    again = read_split(tmp_path / "split.csv")
    assert {sample.path.resolve() for sample in again.train} == {sample.path.resolve() for sample in listing.train}
    (made / "all-000001.tar").unlink()
    with pytest.raises(ValueError, match="names 4 files that do not exist"):
        read_split(tmp_path / "split.csv")


@given(st.lists(st.tuples(st.sampled_from([0, 1, 2]), st.integers(-5, 60), st.integers(0, 40)), max_size=12))
def test_a_window_is_a_file_of_its_own(moves):
    content = bytes(range(200))
    with tempfile.TemporaryFile(buffering=0) as file:
        file.write(content)
        ours, theirs = io.BufferedReader(members._Window(file, 50, 40), 16), io.BytesIO(content[50:90])
        for whence, offset, count in moves:
            if (0, theirs.tell(), 40)[whence] + offset >= 0:
                assert ours.seek(offset, whence) == theirs.seek(offset, whence)
            assert ours.read(count) == theirs.read(count)
            assert ours.tell() == theirs.tell()
        ours.detach()


def test_what_cannot_be_put_into_shards_is_said(folder, tmp_path):
    rows = ["path,label,split,missing", f"{folder}/a/clip 0.of.nine.mp4,a,train,", "gone.mp4,a,val,1"]
    (tmp_path / "list.csv").write_text("\n".join(rows))
    said: list[str] = []
    assert list(parts_of(tmp_path / "list.csv", say=said.append)) == ["train"]
    assert said == ["1 video is known to be missing, left out, and counted in no figure"]
    (tmp_path / "frames").mkdir()
    for name in ("1.png", "2.png"):
        (tmp_path / "frames" / name).touch()
    with pytest.raises(ValueError, match=r"frames is a folder of frames, and cannot be put into a shard: leave it out"):
        shards.write({"all": [Sample(tmp_path / "frames", "a")]}, tmp_path / "out")
    with pytest.raises(ValueError, match="no video to be put into shards"):
        shards.write({}, tmp_path / "out")
    assert not (tmp_path / "out").exists()


# ---- shards from strangers -------------------------------------------------------------------------------------------


def test_a_shard_that_is_not_what_the_index_says_is_read_nowhere(made):
    samples = parts_of(made)["all"]
    place = members.located(samples[0].path)
    assert place is not None
    shifted = [
        place.shard / f"{place.offset + 512}+{place.bytes}" / place.name,
        place.shard / f"{place.offset + 1}+{place.bytes}" / place.name,
        place.shard / f"0+{place.bytes}" / place.name,
        place.shard / f"{place.offset}+{place.bytes - 1}" / place.name,
        place.shard / f"{place.offset}+{10**14}" / place.name,
        place.shard / f"{10**14}+{place.bytes}" / place.name,
        place.shard / f"{place.offset}+{place.bytes}" / "other.mp4",
    ]
    for path in shifted:
        with pytest.raises(UnreadableVideo, match="its shard holds another file there"):
            Video(path)
    for path in (made / "x.tar" / "512+9" / "a.mp4", place.shard / "nine" / "a.mp4", place.shard / "a.mp4"):
        with pytest.raises((FileNotFoundError, UnreadableVideo), match=r"there is no file|not a directory"):
            Video(path)


def test_a_link_in_a_shard_is_not_followed(tmp_path):
    (tmp_path / "secret.mp4").write_bytes(b"secret")
    with tarfile.open(tmp_path / "all-000000.tar", "w") as tar:
        header = tarfile.TarInfo("a.mp4")
        header.type, header.linkname, header.size = tarfile.SYMTYPE, str(tmp_path / "secret.mp4"), 0
        tar.addfile(header)
    with pytest.raises(UnreadableVideo, match="its shard holds another file there"):
        Video(tmp_path / "all-000000.tar" / "512+0" / "a.mp4")


def change(out: Path, name: str, edit) -> None:
    content = json.loads((out / name).read_text())
    (out / name).write_text(json.dumps(edit(content) or content))


@pytest.mark.parametrize(
    ("name", "edit", "said"),
    [
        ("shards.json", lambda c: c.update(version=2), "version 2, which this mvit does not know"),
        ("shards.json", lambda c: c["shards"][0].update(file="../all-000000.tar"), r"names the shard '\.\./all"),
        ("shards.json", lambda c: c["shards"][0].update(file="/etc/all-000000.tar"), "names the shard '/etc"),
        ("shards.json", lambda c: c["shards"][0].update(file="odd-000000.tar"), "is not there"),
        ("shards.json", lambda c: c["shards"][0].update(bytes=7), "but shards.json says 7"),
        ("shards.json", lambda c: c["shards"][0].update(videos=7), "lists 4 videos, but shards.json says 7"),
        ("shards.json", lambda c: c["shards"][0].update(bytes=float("inf")), "but shards.json says inf"),
        ("shards.json", lambda c: c["shards"][0].update(videos="many"), "but shards.json says many"),
        ("shards.json", lambda c: c.update(shards=[]), "lists no videos"),
        ("shards.json", lambda c: c.update(shards=[3]), "is no index of shards"),
        ("shards.json", lambda c: ["a"], "is no index of shards"),
        ("all-000001.json", lambda c: c["videos"][0].__setitem__(1, 10**9), "which is no video in all-000001.tar"),
        ("all-000001.json", lambda c: c["videos"][0].__setitem__(1, -512), "which is no video in"),
        ("all-000001.json", lambda c: c["videos"][0].__setitem__(3, "../x.mp4"), "which is no video in"),
        ("all-000001.json", lambda c: c["videos"][0].__setitem__(3, ".."), "which is no video in"),
        ("all-000001.json", lambda c: c["videos"][0].__setitem__(4, 3), "which is no video in"),
        ("all-000001.json", lambda c: c["videos"].__setitem__(0, [1, 2]), "which is no video"),
        ("all-000001.json", lambda c: c["videos"].__setitem__(0, c["videos"][1]), "lists 1 video more than once"),
        ("all-000001.json", lambda c: c["videos"][0].__setitem__(4, "a\ud800"), "a label that no name can be"),
        ("all-000001.json", lambda c: c["videos"][0].__setitem__(5, "a\0"), "a group that no name can be"),
    ],
)
def test_a_strangers_index_is_checked(made, name, edit, said):
    change(made, name, edit)
    with pytest.raises(ValueError, match=said) as caught:
        find(made)
    assert "\n" not in str(caught.value)


def test_a_folder_that_was_not_copied_whole_is_named(made):
    (made / "all-000001.json").write_text("{")
    with pytest.raises(ValueError, match=r"all-000001\.json is no JSON: copy it again"):
        find(made)
    (made / "all-000001.json").unlink()
    os.mkfifo(made / "all-000001.json")  # opening it would wait for ever
    with pytest.raises(ValueError, match=r"all-000001\.json is missing"):
        find(made)
    (made / "all-000001.json").unlink()
    with pytest.raises(ValueError, match=r"all-000001\.json is missing"):
        find(made)
