"""Which part holds training back, told from rates; and what is measured of videos that cannot all be read."""

import json

import numpy as np
import pytest

from mvit.data import video
from mvit.data.dataset import find
from mvit.recipes.recipe import load
from mvit.studies.feeding import describe, measure, verdict

SMALL = ("model.name=mvit_test_4x32", "train.workers=0", "data.spacing=2", "train.batch=4", "train.device=cpu")


def record(decode: float, augment: float, model: float, wait: float, workers: int = 2, cores: int = 8) -> dict:
    rate = lambda value: {"median": value, "low": value, "high": value}  # noqa: E731
    rates = {"decode": rate(decode), "augment": rate(augment), "model": rate(model)}
    return {
        "clips_per_second": rates | {"loader": 40.0, "together": 38.0},
        "data_wait": wait,
        "workers": workers,
        "cores": cores,
        "device": "cuda",
        "augment": {"on": "workers"},
        "short_side": 256,
        "videos_larger": 0.75,
    }


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ((20, 100, 38, 0.02), "The limit is the model: 40 clips/s can be had where it takes 38. More processes or"),
        ((20, 100, 190, 0.8), "The limit is decoding, 83% of the work on a clip before the model (the rest is augm"),
        ((20, 100, 190, 0.8, 2, 16), "Try train.workers=10 (2 now), or smaller videos"),
        ((100, 20, 190, 0.8), "The limit is augmentation, 83% of the work on a clip before the model (the rest is dec"),
        ((20, 100, 190, 0.8, 8), "All 8 processors that this job may use decode already"),
        ((20, 100, 190, 0.8), "75% of the videos looked at have a short side of more."),
    ],
)
def test_the_limit_follows_from_the_rates(parts, said):
    assert said in verdict(record(*parts))


def test_a_data_set_is_measured_and_described(tmp_path):
    for name in "ab":
        (tmp_path / name).mkdir()
        for n in range(3):
            frames = np.random.default_rng(n).integers(0, 255, (8, 48, 64, 3), dtype=np.uint8)
            video.write(tmp_path / name / f"{n}.mp4", frames)
    (tmp_path / "a" / "bad.mp4").write_text("no video")
    recipe = load(None, SMALL)
    steps: list[tuple[int, int]] = []
    found = measure(find(tmp_path), recipe, rounds=2, seconds=0.1, progress=lambda done, of: steps.append((done, of)))
    assert steps == [(number, 5) for number in range(1, 6)]
    assert [len(times) for times in found["seconds_per_clip"].values()] == [2, 2, 2]
    assert found["videos_larger"] == 1
    assert all(path.endswith("bad.mp4") for path in found["unreadable"])
    assert 0 <= found["data_wait"] <= 1
    assert min(found["clips_per_second"][name] for name in ("loader", "together")) > 0
    lines = describe(found).splitlines()
    assert lines[0].startswith("clips of 4x32x32 from 5 videos, ")
    assert lines[-1] == verdict(found)


def test_clips_of_one_decode_share_it_and_the_device_augments(tmp_path):
    for n in range(4):
        video.write(tmp_path / f"{n}.mp4", np.random.default_rng(n).integers(0, 255, (8, 48, 64, 3), dtype=np.uint8))
    (tmp_path / "list.csv").write_text("path,label\n" + "".join(f"{n}.mp4,{'ab'[n % 2]}\n" for n in range(4)))
    several = (*SMALL, "augment.copies=2", 'augment.on="device"')
    recipe = load(None, several)
    found = measure(find(tmp_path / "list.csv"), recipe, rounds=1, seconds=0.1)
    assert found["clips_per_round"] == 32
    rates = found["clips_per_second"]
    assert rates["decode_and_augment"] == rates["decode"]
    assert "clips/s of one process, augmentation where the model is" in describe(found)
    waiting = found | {"data_wait": 0.9}
    assert verdict(waiting).startswith("The limit is decoding, all that is done before the device. ")


def test_parts_of_one_unreadable_video_are_not_asked_for_for_ever(tmp_path):
    for name in ("bad", "worse"):
        (tmp_path / f"{name}.mp4").write_text("no video")
    rows = [f"{name}.mp4,{name},{start},{start + 1}" for name in ("bad", "worse") for start in range(3)]
    (tmp_path / "list.csv").write_text("path,label,start,end\n" + "\n".join(rows))
    recipe = load(None, (*SMALL, "data.val_fraction=0.3"))
    with pytest.raises(ValueError, match=r"no video of 6 can be read; the first is .*mp4#t="):
        measure(find(tmp_path / "list.csv"), recipe, rounds=1, seconds=0.1)


def test_videos_of_several_classes_are_measured_too(tmp_path):
    for n in range(5):
        video.write(tmp_path / f"{n}.mp4", np.full((8, 40, 40, 3), 40 * n, dtype=np.uint8))
    rows = [{"path": f"{n}.mp4", "label": label} for n, label in enumerate((["a", "b"], [], "a", "b", ["b", "a"]))]
    (tmp_path / "list.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = measure(find(tmp_path / "list.jsonl"), load(None, SMALL), rounds=1, seconds=0.1)
    assert min(found["clips_per_second"][name] for name in ("loader", "together")) > 0


def test_what_cannot_be_measured_is_said(tmp_path):
    (tmp_path / "a").mkdir()
    for n in range(4):
        (tmp_path / "a" / f"{n}.mp4").write_text("no video")
    recipe = load(None, SMALL)
    with pytest.raises(ValueError, match="no video of 3 can be read; the first is"):
        measure(find(tmp_path), recipe, rounds=1, seconds=0.1)
    with pytest.raises(ValueError, match="rounds is 0"):
        measure(find(tmp_path), recipe, rounds=0, seconds=0.1)
