"""Prepared sets hold the same videos, smaller: every frame, time stamp and label, or the reason why not."""

import csv
import os
import shutil
import subprocess
import sys
import time
from fractions import Fraction
from pathlib import Path
from typing import Literal

import av
import numpy as np
import pytest

from mvit.curation import prepare as preparing
from mvit.curation.prepare import BAD, JOURNAL, Settings, prepare
from mvit.curation.transcode import Unverified, resize, transcode
from mvit.data import video
from mvit.data.dataset import find
from mvit.data.video import UnreadableVideo, Video
from pictures import save_picture


def moving(frames: int = 10, height: int = 48, width: int = 64) -> np.ndarray:
    """A bright square that moves to the right on a dark gradient."""
    pictures = np.tile(np.linspace(20, 90, width).astype(np.uint8)[None, None, :, None], (frames, height, 1, 3))
    for number, picture in enumerate(pictures):
        left = number * (width - 16) // max(frames - 1, 1)
        picture[16:32, left : left + 16] = 220
    return pictures


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


def test_pictures_and_times_are_those_of_the_source(tmp_path: Path):
    source = tmp_path / "source.mkv"
    shown = [0, 3, 4, 9, 20, 21, 30, 50, 51, 60]
    with av.open(str(source), "w") as container:
        stream = container.add_stream("libx264", rate=30, options={"crf": "1"})
        stream.height, stream.width, stream.pix_fmt = 48, 64, "yuv420p"
        stream.time_base = stream.codec_context.time_base = Fraction(1, 30)
        for number, picture in zip(shown, moving(), strict=True):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, 30)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    for codec in ("h264", "hevc"):
        made = transcode(source, tmp_path / "new.mp4", short_side=24, codec=codec, crf=4, key_frame_every=3)
        assert (made.frames, made.width, made.height) == (10, 32, 24)
        with Video(source) as before, Video(tmp_path / "new.mp4") as after:
            np.testing.assert_allclose(after.times, before.times, atol=1e-3)
            difference = after.read().astype(int) - before.read(short_side=24)
        assert np.abs(difference).mean() < 3
    transcode(source, tmp_path / "new.mp4", fps=15)
    with Video(tmp_path / "new.mp4") as after:
        np.testing.assert_allclose(after.times, np.arange(after.frames) / 15, atol=1e-4)
        assert after.frames == round(video.probe(source).duration_seconds * 15)


def test_nothing_grows_unless_asked_to(tmp_path: Path, data: Path):
    still, clip = data / "a" / "still.jpg", data / "b" / "0.mp4"
    assert resize(still, tmp_path / "new.jpg", short_side=256).height == 48
    assert (tmp_path / "new.jpg").read_bytes() == still.read_bytes()
    assert transcode(clip, tmp_path / "new.mp4", short_side=256).height == 48
    assert resize(still, tmp_path / "new.png", short_side=96, enlarge=True).height == 96
    assert transcode(clip, tmp_path / "new.mp4", short_side=96, enlarge=True).height == 96


@pytest.mark.parametrize("codec", ["h264", "hevc"])
@pytest.mark.parametrize("frames", [1, 2, 3, 4, 5, 6])
def test_short_videos_are_made_too(tmp_path: Path, codec: Literal["h264", "hevc"], frames: int):
    video.write(tmp_path / "source.mp4", moving(frames))
    assert transcode(tmp_path / "source.mp4", tmp_path / "new.mp4", codec=codec).frames == frames


def test_key_frames_come_as_often_as_meant(tmp_path: Path):
    video.write(tmp_path / "source.mp4", moving(50))
    transcode(tmp_path / "source.mp4", tmp_path / "new.mp4", key_frame_every=12)
    with av.open(str(tmp_path / "new.mp4")) as container:
        keys = [number for number, packet in enumerate(p for p in container.demux() if p.size) if packet.is_keyframe]
    assert max(np.diff([*keys, 50])) <= 12


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


def test_a_folder_of_shards_is_refused_in_words(tmp_path: Path):
    (tmp_path / "shards.json").write_text("{}")
    with pytest.raises(ValueError, match="is a folder of shards: prepare the videos that it was made of"):
        prepare(tmp_path, tmp_path.parent / "out")
