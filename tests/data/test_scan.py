"""Every file is opened before use: reasons for the bad ones, facts of the good ones, in processes that may die."""

import operator
import os
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from mvit.data import video
from mvit.data.dataset import Listing, Sample
from mvit.data.processes import in_processes
from mvit.data.sampling import ClipSampling
from mvit.data.scan import FEW, Scan, scan, summary
from mvit.data.video import VideoFacts


def clip(path: Path, frames: int = 6, height: int = 16, width: int = 24) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(frames)
    video.write(path, rng.integers(0, 256, (frames, height, width, 3), dtype=np.uint8), fps=10)
    return path


def test_good_files_have_facts_and_bad_ones_reasons(tmp_path):
    good = clip(tmp_path / "good.mp4")
    text = tmp_path / "text.mp4"
    text.write_text("no video")
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(good.read_bytes()[:300])
    empty = tmp_path / "empty.mp4"
    empty.touch()
    gone = tmp_path / "gone.mp4"
    samples = [Sample(path, "a") for path in (text, good, cut, empty, gone, good)]
    told: list[tuple[int, int]] = []
    found = scan(samples, progress=lambda done, total: told.append((done, total)))
    facts = found.facts[good]
    assert (facts.frames, facts.width, facts.height) == (6, 24, 16)
    assert facts.fps == pytest.approx(10)
    assert set(found.unreadable) == {text, cut, empty, gone}
    assert all(found.unreadable.values())
    assert "empty" in found.unreadable[empty]
    assert told == [(number, 5) for number in range(1, 6)]
    assert [sample.path for sample in found.readable(samples)] == [good, good]


def test_nothing_readable_is_an_error_in_one_sentence(tmp_path):
    samples = [Sample(tmp_path / f"{index}.mp4", "a") for index in range(3)]
    for sample in samples:
        sample.path.write_text("text renamed")
    found = scan(samples)
    with pytest.raises(ValueError, match=r"no video of 3 can be read; the first is .*0\.mp4: \w+"):
        found.readable(samples)
    assert found.readable([]) == ()


def test_many_files_are_scanned_in_processes_with_the_same_outcome(tmp_path):
    good = [clip(tmp_path / f"{index}.mp4", frames=1 + index % 7) for index in range(FEW + 3)]
    bad = tmp_path / "bad.mp4"
    bad.write_bytes(os.urandom(100))
    samples = [Sample(path, "a") for path in (*good[:5], bad, *good[5:])]
    found = scan(samples, workers=2)
    assert list(found.facts) == good
    assert [facts.frames for facts in found.facts.values()] == [1 + index % 7 for index in range(FEW + 3)]
    assert list(found.unreadable) == [bad]


def test_what_kills_its_process_is_named_and_the_rest_is_scanned():
    calls = [partial(abs, -number) for number in range(40)]
    calls[7] = calls[30] = os.abort
    outcomes = list(in_processes(operator.call, calls, 2))
    assert [call for call, _ in outcomes] == calls
    crashed = [number for number, (_, outcome) in enumerate(outcomes) if isinstance(outcome, str)]
    assert crashed == [7, 30]
    assert outcomes[7][1] == "the decoder crashed on it, or its process was killed"
    assert [outcome for _, outcome in outcomes if not isinstance(outcome, str)] == [
        number for number in range(40) if number not in crashed
    ]


def test_processes_that_die_at_once_stop_the_scan():
    with pytest.raises(RuntimeError, match="die at once: memory may be too small"):
        list(in_processes(operator.call, [os.abort] * 3, 1))


def test_summary_tells_what_there_is(tmp_path):
    train = [Sample(tmp_path / f"{index}.mp4", "ab"[index % 3 == 0], "p") for index in range(6)]
    val = [Sample(tmp_path / f"v{index}.mp4", "ab"[index]) for index in range(2)]
    listing = Listing(("a", "b"), tuple(train), tuple(val), "as they stand")
    facts = {sample.path: VideoFacts(8 + 4 * index, 30.0, 1.0, 64, 48) for index, sample in enumerate(train)}
    facts[val[0].path] = VideoFacts(32, 25.0, 1.0, 32, 32)
    lines = "\n".join(summary(listing, Scan(facts, {val[1].path: "it is empty"}), ClipSampling(frames=16, spacing=1)))
    assert "2 classes: 6 videos in train, 2 in val" in lines
    assert "train: 2 (b) to 4 (a) videos a class" in lines
    assert "val: 1 video a class" in lines
    assert "frames a video: 8 to 32, median 20" in lines
    assert "frames a second: 30 (6), 25 (1)" in lines
    assert "pixels: 64x48 (6), 32x32 (1)" in lines
    assert f"padding: {(8 + 4) / 16 / 7:.1%} of the frames" in lines
    assert "(2 of 7 videos)" in lines
    assert "1 of 8 files cannot be read" in lines
    assert f"{val[1].path}: it is empty" in lines


def test_summary_advises_where_much_is_padding_and_says_where_nothing_is():
    sample = Sample(Path("x.mp4"), "a")
    listing = Listing(("a",), (sample,), (), "")
    found = Scan({sample.path: VideoFacts(20, 30.0, 1.0, 64, 48)})
    assert any("20 frames or fewer" in line for line in summary(listing, found, ClipSampling(frames=16, spacing=4)))
    assert "every clip fits into its video" in summary(listing, found, ClipSampling(frames=16, spacing=1))


def test_images_are_called_images_and_one_frame_is_advised():
    facts = {Path(f"{n}.jpg"): VideoFacts(1, 25.0, 0.04, 64, 48) for n in range(3)}
    listing = Listing(("a",), tuple(Sample(path, "a") for path in facts), (), "made up")
    lines = summary(listing, Scan(facts), ClipSampling(frames=16, mode="segments"))
    assert "images of 64x48 pixels" in lines
    assert any("set data.frames=1" in line for line in lines)
    assert not any("frames a second" in line for line in lines)
    assert not any("data.frames" in line for line in summary(listing, Scan(facts), ClipSampling(frames=1)))


def test_odd_videos_are_read_or_named_and_nothing_else(shared):
    folder = shared / "data" / "odd_videos" / "files"
    damaged = {"invalid-bitstream.webm", "sample_audio_only.mp4", "truncated_60pct.mp4"}
    small = [path for path in sorted(folder.iterdir()) if path.stat().st_size < 50_000 or path.name in damaged]
    found = scan([Sample(path, "odd") for path in small], workers=2)
    assert set(found.facts) | set(found.unreadable) == set(small)
    assert damaged <= {path.name for path in found.unreadable}
    assert len(found.facts) > len(small) / 2
