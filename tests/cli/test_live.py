"""`mvit segment` and `mvit watch` as people type them."""

import json
import re
import signal
import subprocess
import sys

import numpy as np
import pytest

from mvit.data import video
from mvit.data.samples import counted
from mvit.data.video import Video


@pytest.fixture
def film(tmp_path):
    """Three seconds."""
    rng = np.random.default_rng(5)
    frames = rng.integers(0, 255, (30, 6, 8, 3), dtype=np.uint8).repeat(6, 1).repeat(6, 2)
    video.write(tmp_path / "film.mp4", frames, fps=10)
    return tmp_path / "film.mp4"


SHORT = ("--window", "1s", "--stride", "500ms")


def test_segment_writes_what_it_prints(run, film, mvit, tmp_path):
    outs = [tmp_path / "made" / f"found.{ending}" for ending in ("json", "csv", "srt", "vtt")]
    overlay = tmp_path / "drawn.mp4"
    chosen = ("--enter", 0.01, "--leave", 0.01)
    code, out, err = mvit("segment", run, film, *SHORT, *chosen, "--out", *outs, "--overlay", overlay)
    assert code == 0, err
    found = json.loads(outs[0].read_text(encoding="utf-8"))
    assert (found["window_seconds"], found["stride_seconds"], found["seconds"]) == (1, 0.5, 3)
    assert found["segments"][0]["start"] == 0
    assert found["segments"][-1]["end"] == 3
    assert sum(segment["windows"] for segment in found["segments"]) == 5
    lines = out.splitlines()
    assert [line.split()[-1] for line in lines[: len(found["segments"])]] == [s["label"] for s in found["segments"]]
    assert "This is windowed classification" in out
    assert f"Wrote {', '.join(map(str, [*outs, overlay]))}" in out
    assert outs[3].read_text(encoding="utf-8").startswith("WEBVTT\n")
    with Video(overlay) as drawn:
        assert drawn.frames == 30


def test_a_damaged_video_gives_what_is_before_the_damage(run, film, mvit, tmp_path):
    data = bytearray(film.read_bytes())
    start, end = data.index(b"mdat"), data.index(b"moov") - 4
    middle = (start + end) // 2
    data[middle:end] = bytes(end - middle)
    film.write_bytes(data)
    out = tmp_path / "found.json"
    code, _, err = mvit("segment", run, film, *SHORT, "--enter", 0.01, "--leave", 0.01, "--out", out)
    found = json.loads(out.read_text(encoding="utf-8"))
    assert code == 2
    assert found["damage"]
    assert 1 <= found["seconds"] < 3
    assert err.strip().endswith(f"of 5 windows, up to {found['seconds']:g} s, were classified")


def test_segment_refuses_in_a_sentence(run, film, refused, tmp_path):
    assert "'2 hours' is no time" in refused("segment", run, film, "--window", "2 hours")
    assert "the stride no longer than the window" in refused("segment", run, film, "--window", "1s", "--stride", "2s")
    assert "leave no more than enter" in refused("segment", run, film, "--enter", 0.2)
    assert "ends in none of .json, .csv, .srt, .vtt" in refused("segment", run, film, "--out", tmp_path / "found.txt")
    assert "give the overlay another name" in refused("segment", run, film, "--overlay", film)
    assert "does not end in .mp4" in refused("segment", run, film, "--overlay", tmp_path / "a.avi")
    (tmp_path / "note").touch()
    below = tmp_path / "note" / "a.mp4"
    assert f"{below}: Not a directory" in refused("segment", run, film, "--overlay", below)
    (tmp_path / "there.mp4").write_bytes(b"another")
    for command in ("segment", "watch"):
        again = refused(command, run, film, "--overlay", tmp_path / "there.mp4")
        assert again.endswith("there.mp4 exists already: name another file with --overlay")
    assert (tmp_path / "there.mp4").read_bytes() == b"another"
    assert "no file" in refused("segment", run, tmp_path / "nowhere.mp4")
    (tmp_path / "file").touch()
    assert "file/found.csv: Not a directory" in refused("segment", run, film, "--out", tmp_path / "file" / "found.csv")
    (tmp_path / "found.csv").mkdir()
    assert "found.csv: Is a directory" in refused("segment", run, film, "--out", tmp_path / "found.csv")


def test_watch_prints_an_object_a_line_and_the_summary_last(run, film, mvit):
    code, out, err = mvit("watch", run, film, *SHORT, "--json")
    assert code == 0, err
    *labels, last = map(json.loads, out.splitlines())
    summary = last["summary"]
    assert len(labels) == summary["windows_labelled"]
    assert summary["windows_labelled"] + summary["windows_skipped"] == 5
    assert summary["frames"] + summary["frames_dropped"] >= 30
    assert set(labels[0]["scores"]) == {"jump_left", "jump_right", "wait"}
    assert labels[0]["label"] == max(labels[0]["scores"], key=labels[0]["scores"].get)
    assert "windowed classification" in err
    assert f"{counted(summary['windows_labelled'], 'window')} labelled, {summary['windows_skipped']} left out" in err


def test_watch_refuses_in_a_sentence(run, film, mvit, refused, tmp_path):
    assert "no file" in refused("watch", run, tmp_path / "nowhere.mp4")
    assert "begins with ftp://" in refused("watch", run, "ftp://127.0.0.1/clip.mp4")
    (tmp_path / "text.mp4").write_text("no video")
    assert "cannot be read" in refused("watch", run, tmp_path / "text.mp4")
    missing = refused("watch", run, "/dev/video99", "--json")
    assert missing.startswith("mvit: /dev/video99 cannot be watched: there is no such camera")


def test_a_source_that_gave_nothing_has_no_summary(run, mvit):
    code, out, err = mvit("watch", run, "http://127.0.0.1:1/stream", "--json")
    assert (code, out) == (2, "")
    watching, refused = err.splitlines()
    assert watching.startswith("mvit: watching")
    assert refused.startswith("mvit: http://127.0.0.1:1/stream cannot be watched")


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 0)])
def test_a_watch_that_is_stopped_says_what_it_saw_and_has_drawn_it(sent, code, run, film, tmp_path):
    frames = video.read(film)
    video.write(film, np.concatenate([frames] * 20), fps=10)
    begin = (
        "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); "  # a background job ignores it
    )
    begin += "from mvit.cli import main; sys.exit(main())"
    drawn = tmp_path / "drawn.mp4"
    command = [sys.executable, "-c", begin, "watch", str(run), str(film), *SHORT, "--overlay", str(drawn)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert child.stdout.readline().startswith("00:00:00.000  00:00:01.000")
        child.send_signal(sent)
        _, err = child.communicate(timeout=60)
    assert child.returncode == code, err
    assert re.search("windows? labelled", err)
    assert f"mvit: wrote {drawn}\n" in err
    assert "Traceback" not in err
    with Video(drawn) as opened:
        assert 10 <= opened.frames < 600
        assert opened.read([opened.frames - 1])[0, -20:].min() < 60, "the label's strip"
    assert not list(tmp_path.glob(".mvit-*"))
