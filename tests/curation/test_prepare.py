"""Prepared sets hold the same videos, smaller: every frame, time stamp and label, or the reason why not."""

import csv
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import av
import numpy as np
import pytest

from mvit.curation import prepare as preparing
from mvit.curation.prepare import BAD, JOURNAL, Settings, prepare
from mvit.curation.tables import write_published
from mvit.curation.transcode import Unverified, resize, transcode
from mvit.data import video
from mvit.data.dataset import find
from mvit.data.manifests import read_manifest
from mvit.data.samples import Found, Sample
from mvit.data.video import UnreadableVideo, Video
from pictures import moving, save_picture


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make files in this process, which is sooner where they are few."""
    monkeypatch.setattr(preparing, "in_processes", lambda work, items, *_, **__: ((item, work(item)) for item in items))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Two classes of two videos, an image, a broken file, a table and other files."""
    folder = tmp_path / "data"
    for name in ("a", "b"):
        (folder / name).mkdir(parents=True)
        for number in range(2):
            video.write(folder / name / f"{number}.mp4", moving(6 + number), fps=12)
    (folder / "a" / "0.mp4").rename(folder / "a" / "1.MOV")  # beside a/1.mp4
    (folder / "b" / "broken.avi").write_text("no video")
    with av.open(str(folder / "a" / "still.jpg"), "w", format="mjpeg") as container:
        stream = container.add_stream("mjpeg")
        stream.height, stream.width, stream.pix_fmt = 48, 64, "yuvj420p"
        container.mux(stream.encode(av.VideoFrame.from_ndarray(moving(1)[0], format="rgb24")))
        container.mux(stream.encode(None))
    (folder / "list.csv").write_text("label,path,note\nx,a/1.MOV,n\ny,./b/0.mp4,\ny,b/broken.avi,m\n", encoding="utf-8")
    (folder / "list.txt").write_text("not for us")
    return folder


SMALL = Settings(short_side=32)


def test_places_labels_and_tables_are_kept(data: Path, tmp_path: Path, here: None):
    out = tmp_path / "out"
    told: list[tuple[int, int]] = []
    done = prepare(data, out, SMALL, progress=lambda *at: told.append(at))
    assert (done.made, done.kept, list(done.bad)) == (5, 0, [data / "b" / "broken.avi"])
    assert told == [(number, 6) for number in range(1, 7)]
    files = sorted(str(path.relative_to(out)) for path in out.rglob("*") if path.is_file())
    names = ["a/1.MOV.mp4", "a/1.mp4", "a/still.jpg", "b/0.mp4", "b/1.mp4", BAD, "list.csv"]
    assert files == sorted([JOURNAL, *names])
    assert [video.probe(out / name).frames for name in names[:5]] == [6, 7, 1, 6, 7]
    assert {(video.probe(out / name).width, video.probe(out / name).height) for name in names[:5]} == {(42, 32)}
    with (out / "list.csv").open(encoding="utf-8", newline="") as file:
        assert list(csv.reader(file)) == [["label", "path", "note"], ["x", "a/1.MOV.mp4", "n"], ["y", "b/0.mp4", ""]]
    assert any("could not be made: 1 row;" in note for note in done.notes)
    assert any("or table with paths: 1 file, list.txt" in note for note in done.notes)
    assert "broken.avi" in (out / BAD).read_text()
    assert [sample.label for sample in find(out, val_fraction=0.4).train]
    assert find(out / "list.csv", val_fraction=0.4).classes == ("x", "y")


def test_nothing_grows_unless_asked_to(tmp_path: Path, data: Path):
    still, clip = data / "a" / "still.jpg", data / "b" / "0.mp4"
    assert resize(still, tmp_path / "new.jpg", short_side=256).height == 48
    assert (tmp_path / "new.jpg").read_bytes() == still.read_bytes()
    assert transcode(clip, tmp_path / "new.mp4", short_side=256).height == 48
    assert resize(still, tmp_path / "new.png", short_side=96, enlarge=True).height == 96
    assert transcode(clip, tmp_path / "new.mp4", short_side=96, enlarge=True).height == 96


def test_what_is_done_stays_and_what_changed_is_made_again(data: Path, tmp_path: Path, here: None):
    out = tmp_path / "out"
    prepare(data, out, SMALL)
    changed, lost = data / "b" / "1.mp4", out / "a" / "1.mp4"
    video.write(changed, moving(9))
    lost.unlink()
    (data / "b" / "broken.avi").unlink()
    before = (out / "b" / "0.mp4").stat().st_mtime_ns
    (out / "b" / ".mvit-0123.tmp").write_text("half")
    again = prepare(data, out, SMALL)
    assert (again.made, again.kept, again.bad) == (2, 3, {})
    assert video.probe(out / "b" / "1.mp4").frames == 9
    assert lost.exists()
    assert (out / "b" / "0.mp4").stat().st_mtime_ns == before
    assert not list(out.rglob(".mvit-*.tmp"))
    assert len((out / BAD).read_text().splitlines()) == 1


def test_what_earlier_calls_made_of_other_sources_is_told_and_of_spoiled_ones_removed(
    data: Path, tmp_path: Path, here: None
):
    out = tmp_path / "out"
    prepare(data, out, SMALL)
    (data / "a" / "1.mp4").rename(data / "b" / "moved.mp4")
    (data / "b" / "1.mp4").write_text("no video any more")
    (data / "b" / "0.mp4").unlink()
    (data / "b" / "0.mp4").symlink_to("nowhere")
    again = prepare(data, out, SMALL)
    assert [path.name for path in again.bad] == ["0.mp4", "1.mp4", "broken.avi"]
    assert [path.name for path in (out / "b").iterdir()] == ["moved.mp4"]
    (told,) = (note for note in again.notes if "made by an earlier call" in note)
    assert (
        f"{out} also holds 1 file made by an earlier call of sources that are not among these 6 (a/1.MOV.mp4)" in told
    )
    (out / "a" / "1.MOV.mp4").unlink()
    assert not [note for note in prepare(data, out, SMALL).notes if "made by an earlier call" in note]


def test_files_without_the_name_of_a_video_become_videos(data: Path, tmp_path: Path, here: None):
    (data / "b" / "0.mp4").rename(data / "b" / "0")
    (data / "b" / "1.mp4").rename(data / "b" / "1.y4m")
    table = data / "odd.csv"
    table.write_text("path,label\nb/0,x\nb/1.y4m,y\n", encoding="utf-8")
    out = tmp_path / "out"
    assert prepare(table, out, SMALL).made == 2
    assert (out / "odd.csv").read_text().split() == ["path,label", "b/0.mp4,x", "b/1.y4m.mp4,y"]
    assert [video.probe(out / "b" / name).frames for name in ("0.mp4", "1.y4m.mp4")] == [6, 7]


def test_linked_folders_are_followed_and_loops_are_not(data: Path, tmp_path: Path, here: None):
    linked = tmp_path / "linked"
    (linked / "a").mkdir(parents=True)
    (linked / "b").symlink_to(data / "b")
    (linked / "a" / "loop").symlink_to(linked)
    (linked / "a" / "one.mp4").symlink_to(data / "a" / "1.mp4")
    done = prepare(linked, tmp_path / "out", SMALL)
    made = sorted(str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*.mp4"))
    assert made == ["a/one.mp4", "b/0.mp4", "b/1.mp4"]
    assert len(done.bad) == 1


def test_folders_that_link_to_each_other_are_walked_once_each_way(tmp_path: Path):
    for one, other in (("a", "b"), ("b", "a")):
        (tmp_path / one).mkdir()
        (tmp_path / one / "clip.mp4").touch()
        (tmp_path / one / "other").symlink_to(tmp_path / other)
    found = sorted(path.relative_to(tmp_path).as_posix() for path in preparing._walk(tmp_path))
    assert found == ["a/clip.mp4", "a/other/clip.mp4", "b/clip.mp4", "b/other/clip.mp4"]


def test_a_damaged_journal_is_named_and_everything_made_again(data: Path, tmp_path: Path, here: None):
    out = tmp_path / "out"
    prepare(data, out, SMALL)
    lines = (out / JOURNAL).read_text().splitlines()
    (out / JOURNAL).write_text("\n".join([lines[0], "{}", *lines[2:]]) + "\n")
    again = prepare(data, out, SMALL)
    assert again.made == 5
    assert any("damaged in line 2" in note for note in again.notes)
    assert prepare(data, out, SMALL).kept == 5


def test_other_settings_and_foreign_folders_are_refused(data: Path, tmp_path: Path, here: None):
    out = tmp_path / "out"
    prepare(data, out, SMALL)
    with pytest.raises(ValueError, match=r"other settings .short_side: 32 there, 40 now.: choose another folder"):
        prepare(data, out, Settings(short_side=40))
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "thesis.txt").touch()
    with pytest.raises(ValueError, match="not made here"):
        prepare(data, foreign, SMALL)
    for inside in (data, data / "small"):
        with pytest.raises(ValueError, match="choose a folder outside of"):
            prepare(data, inside, SMALL)
    with pytest.raises(FileNotFoundError, match="does not exist"):
        prepare(tmp_path / "gone", out, SMALL)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="holds no video and no image"):
        prepare(tmp_path / "empty", out, SMALL)


@pytest.mark.parametrize(
    ("field", "value"),
    [("short_side", 4), ("fps", 0), ("fps", float("nan")), ("crf", 52), ("codec", "vp9"), ("key_frame_every", 0)],
)
def test_settings_that_make_no_sense_are_refused(field: str, value: object):
    with pytest.raises(ValueError, match=str(value)):
        Settings(**{field: value})


def test_a_table_may_name_files_anywhere_and_none_leaves_the_new_folder(data: Path, tmp_path: Path, here: None):
    lists = tmp_path / "lists"
    lists.mkdir()
    table = lists / "train.csv"
    table.write_text(f"path,label\n../data/a/1.mp4,x\n{data}/b/0.mp4,y\n", encoding="utf-8")
    out = tmp_path / "deep" / "out"
    done = prepare(table, out, SMALL)
    assert done.tables == [out / "train.csv"]
    assert (out / "train.csv").read_text().splitlines() == ["path,label", "a/1.mp4,x", "b/0.mp4,y"]
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()].count("deep") == 1
    assert {path.relative_to(out).as_posix() for path in out.rglob("*.mp4")} == {"a/1.mp4", "b/0.mp4"}


def test_json_lines_are_written_anew_too(data: Path, tmp_path: Path, here: None):
    lines = (
        '{"path": "a/1.mp4", "label": ["x", "ü"], "start": 0.1}',
        '{"path": "a/1.MOV", "label": "y", "who": {"is": 1}}',
        '{"path": "b/broken.avi", "label": "y"}',
    )
    (data / "parts.jsonl").write_text("\n".join(lines) + "\n\n", encoding="utf-8")
    done = prepare(data, tmp_path / "out", SMALL)
    assert done.tables == [tmp_path / "out" / "list.csv", tmp_path / "out" / "parts.jsonl"]
    assert done.tables[1].read_text(encoding="utf-8").splitlines() == [
        lines[0],
        '{"path": "a/1.MOV.mp4", "label": "y", "who": {"is": 1}}',
    ]
    alone = prepare(data / "parts.jsonl", tmp_path / "alone", SMALL)
    assert (alone.made, len(alone.bad)) == (2, 1)


def test_published_lists_become_a_manifest_and_what_is_held_out_stays_counted(data: Path, tmp_path: Path, here: None):
    root = tmp_path / "ucf"
    for name, source in (
        ("v_A_g01_c01", "a/1.mp4"),
        ("v_A_g02_c01", "b/0.mp4"),
        ("v_A_g03_c01", "b/broken.avi"),
        ("v_A_g04_c01", "b/broken.avi"),
    ):
        (root / "UCF-101" / "A").mkdir(parents=True, exist_ok=True)
        shutil.copy(data / source, root / "UCF-101" / "A" / f"{name}.avi")
    (root / "classInd.txt").write_text("1 A\n")
    (root / "trainlist01.txt").write_text("A/v_A_g01_c01.avi 1\nA/v_A_g03_c01.avi 1\n")
    (root / "testlist01.txt").write_text("A/v_A_g02_c01.avi\nA/v_A_g04_c01.avi\n")
    out = tmp_path / "out"
    done = prepare(root, out, SMALL)
    assert done.tables == [out / "list.csv"]
    rows = (out / "list.csv").read_text().split()
    assert rows == [
        "path,label,group,split,missing",
        "UCF-101/A/v_A_g01_c01.mp4,A,v_A_g01,train,",
        "UCF-101/A/v_A_g02_c01.mp4,A,v_A_g02,test,",
        "UCF-101/A/v_A_g04_c01.avi,A,v_A_g04,test,1",
    ]
    listing = find(out / "list.csv")
    assert (len(listing.train), len(listing.val), len(listing.missing)) == (1, 2, 1)


def test_published_lists_of_one_class_or_none_a_video_become_json_lines(tmp_path: Path):
    found = Found({"train": [Sample(tmp_path / "1.mp4", "a"), Sample(tmp_path / "2.mp4", ())]})
    table, lost = write_published(found, tmp_path, tmp_path / "out", lambda source: tmp_path / "out" / source.name)
    assert (table.name, lost) == ("list.jsonl", [])
    assert [sample.labels for sample in read_manifest(table, anywhere=True).parts["train"]] == [("a",), ()]


def test_a_folder_of_pictures_is_whole_in_a_table_or_not_in_it(data: Path, tmp_path: Path, here: None):
    for name in ("whole", "spoiled"):
        (data / "frames" / name).mkdir(parents=True)
        for number in (1, 2):
            shutil.copy(data / "a" / "still.jpg", data / "frames" / name / f"{number}.jpg")
    (data / "frames" / "spoiled" / "2.jpg").write_text("no picture")
    table = data / "frames.csv"
    table.write_text("path,label\nframes/whole,x\nframes/spoiled,y\n")
    done = prepare(table, tmp_path / "out", SMALL)
    assert (tmp_path / "out" / "frames.csv").read_text().split() == ["path,label", "frames/whole,x"]
    assert any("could not be made: 1 row;" in note for note in done.notes)


def test_what_is_not_what_was_meant_never_takes_the_name(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    target = tmp_path / "new.mp4"
    real = Video.read

    def short(self: Video, *args: object, **kwargs: object) -> np.ndarray:
        if self.path.name.startswith(".mvit-"):
            raise UnreadableVideo(self.path, "made up")
        return real(self, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(Video, "read", short)
        with pytest.raises(Unverified, match=r"new\.mp4 cannot be read again: made up"):
            transcode(data / "a" / "1.mp4", target)
    assert not [*tmp_path.glob("*new*"), *tmp_path.glob(".mvit-*")]
    with pytest.raises(UnreadableVideo):
        transcode(data / "b" / "broken.avi", target)
    assert not [*tmp_path.glob("*new*"), *tmp_path.glob(".mvit-*")]


def test_a_call_that_is_killed_is_gone_on_with(shared: Path, tmp_path: Path):
    data, out = tmp_path / "data", tmp_path / "out"
    for path in sorted((shared / "data" / "gestures" / "videos").rglob("*.mp4"))[::60]:
        (data / path.parent.name).mkdir(parents=True, exist_ok=True)
        shutil.copy(path, data / path.parent.name)
    command = [sys.executable, "-m", "mvit", "prepare", str(data), str(out), "--short-side", "32", "--workers", "2"]
    process = subprocess.Popen(command, start_new_session=True)
    while process.poll() is None and len(list(out.rglob("*.mp4"))) < 5:
        time.sleep(0.01)
    process.kill()  # it alone: the processes that decode must leave by themselves
    process.wait()
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and _group_lives(process.pid):
        time.sleep(0.1)
    assert not _group_lives(process.pid)
    there = {path: path.stat().st_mtime_ns for path in out.rglob("*.mp4")}
    assert 5 <= len(there) < 40
    for path in there:
        assert video.probe(path).frames == 32  # whatever has a name is whole
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=True)
    kept = int(done.stdout.split(" there already")[0].split(", ")[1].replace(",", ""))
    assert kept >= len(there) - 4  # those under way when it was killed are made again
    assert sum(path.stat().st_mtime_ns == at for path, at in there.items()) >= kept
    assert len(list(out.rglob("*.mp4"))) == 40
    assert not list(out.rglob(".mvit-*.tmp"))


def _group_lives(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def test_the_command_says_what_it_did(data: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]):
    from mvit import cli

    assert cli.main(["prepare", str(data), str(tmp_path / "out"), "--short-side", "32", "--workers", "1"]) == 0
    out = capfd.readouterr().out
    assert "5 files made, 0 there already, 1 could not be made" in out
    assert f"Next: mvit train {tmp_path / 'out' / 'list.csv'}" in out
    assert cli.main(["prepare", str(data), str(tmp_path / "out"), "--short-side", "40"]) == 2
    assert "short_side: 32 there, 40 now" in capfd.readouterr().err


def test_tables_of_folders_of_frames_are_kept(tmp_path: Path, here: None):
    data = tmp_path / "data"
    for name in ("x", "y", "bad"):
        for number, picture in enumerate(moving(3)):
            save_picture(data / "frames" / name / f"{number}.jpg", picture)
    (data / "frames" / "bad" / "1.jpg").write_text("no picture")
    table = data / "list.csv"
    table.write_text("path,label\nframes/x,a\nframes/y,b\nframes/bad,b\n", encoding="utf-8")
    for given, out in ((table, tmp_path / "one"), (data, tmp_path / "other")):
        done = prepare(given, out, SMALL)
        assert (done.made, list(done.bad)) == (8, [data / "frames" / "bad" / "1.jpg"])
        assert (out / "list.csv").read_text() == "path,label\nframes/x,a\nframes/y,b\n"
        assert any("could not be made: 1 row;" in note for note in done.notes)
        assert video.probe(out / "frames" / "x") == video.VideoFacts(3, 30.0, 0.1, 42, 32)


def test_a_damaged_picture_spoils_a_video_of_pictures_but_no_class_of_images(tmp_path: Path, here: None):
    for place in ("videos/wave/one", "videos/wave/two", "videos/clap/three", "images/wave", "images/clap"):
        for number, picture in enumerate(moving(3)):
            save_picture(tmp_path / place / f"{number}.png", picture)
        if place not in ("videos/wave/two", "videos/clap/three"):
            (tmp_path / place / "1.png").write_text("no picture")
    for _ in range(2):
        done = prepare(tmp_path / "videos", tmp_path / "frames", SMALL)
        assert [sample.path.name for sample in find(tmp_path / "frames").train] == ["three", "two"]
        assert not list((tmp_path / "frames" / "wave" / "one").iterdir())
        assert any("nothing is left of 1 video of pictures" in note and "(wave/one)" in note for note in done.notes)
        assert done.bytes_after == sum(path.stat().st_size for path in (tmp_path / "frames").rglob("*.png"))
    prepare(tmp_path / "images", tmp_path / "stills", SMALL)
    assert len(list((tmp_path / "stills").rglob("*.png"))) == 4


def test_a_folder_of_shards_is_refused_in_words(tmp_path: Path):
    (tmp_path / "shards.json").write_text("{}")
    with pytest.raises(ValueError, match="is a folder of shards: prepare the videos that it was made of"):
        prepare(tmp_path, tmp_path.parent / "out")
