"""Models of any origin on the same videos: ours beside torchvision's, what they cost, and the page about them."""

import json
import re
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from torchvision import models

from compared import of_ours
from mvit.analysis.comparison import cells, section
from mvit.data import video
from mvit.data.dataset import Sample
from mvit.data.sampling import ClipSampling
from mvit.data.views import Preprocessing
from mvit.evaluation.comparison import compare
from mvit.evaluation.scoring import Scoring
from mvit.studies import footprint
from mvit.studies.compare import Contender, costs, describe, on_data, recorded

CLASSES = ("bright", "dark")
SMALL = Preprocessing(sampling=ClipSampling(frames=4, mode="segments"), short_side=32, crop=32)


@pytest.fixture(scope="module")
def samples(tmp_path_factory) -> list[Sample]:
    folder = tmp_path_factory.mktemp("light")
    found = []
    for number in range(8):
        label = CLASSES[number % 2]
        path = folder / f"{number}.mp4"
        video.write(path, np.full((6, 32, 36, 3), 200 if label == "bright" else 50, dtype=np.uint8))
        found.append(Sample(path, label, f"person{number // 2}"))
    return found


def of_torchvision() -> partial:
    """An image model of torchvision on the middle frame of a clip, as a function of numpy arrays."""
    torch.manual_seed(0)
    model = models.squeezenet1_1(num_classes=2).eval()
    return partial(_middle_frame, model)


def _middle_frame(model: torch.nn.Module, clips: np.ndarray) -> np.ndarray:
    with torch.inference_mode():
        return model(torch.from_numpy(clips[:, :, clips.shape[2] // 2])).numpy()


def by_brightness(clips: np.ndarray) -> np.ndarray:
    light = clips.mean(axis=(1, 2, 3, 4))
    return np.stack([light, -light], axis=1)


def text_of(page: str) -> str:
    return " ".join(re.sub(r"<[^>]*>", " ", page).replace("\xa0", " ").split())


def contender(name: str, predict, **fields) -> Contender:
    return Contender(name=name, predict=predict, **{"classes": CLASSES, "preprocessing": SMALL, **fields})


def test_ours_and_a_torchvision_model_are_compared_by_function(samples):
    ours = contender("ours", of_ours(), parameters=1_000_000, macs=2_000_000_000, load=of_ours)
    theirs = contender("theirs", of_torchvision())
    rule = contender("rule", by_brightness)
    found = on_data([rule, ours, theirs], samples, (2, 1))
    assert (found["videos"], found["groups"], found["listed"]) == (8, 4, 8)
    assert found["models"]["rule"]["top1"] == 1.0
    for pair in found["pairs"]:
        first, second = (found["models"][pair[which]]["top1"] for which in ("first", "second"))
        assert pair["difference"] == pytest.approx(first - second)
    cost = costs([rule, ours, theirs], (2, 1), runs=2)
    assert cost["models"]["ours"]["gmac_per_view"] == 2.0
    assert cost["models"]["ours"]["gmac_per_video"] == 4.0
    assert cost["models"]["theirs"]["gmac_per_view"] is None
    assert {name: len(times) for name, times in cost["measured"]["milliseconds"].items()} == dict.fromkeys(
        ("rule", "ours", "theirs"), 2
    )
    assert cost["models"]["ours"]["memory_bytes"] > 0
    assert "memory_bytes" not in cost["models"]["theirs"]  # nothing says how it is made in another process
    record = recorded(found, cost, "cpu")
    assert json.loads(json.dumps(record))["models"]["rule"]["protocol"] == found["protocol"]
    told = describe(record)
    assert "2x1 views" in told
    assert "\nclips/s: median and quartiles\n" in told
    assert told.count(", corrected for 3 pairs (Holm) ") == 3
    pair = {**on_data([rule, ours], samples, (2, 1)), "models": {n: record["models"][n] for n in ("rule", "ours")}}
    assert "(Holm)" not in describe(pair), "one pair alone needs no correction"
    assert re.search(r"rule - ours: \+\d+\.\d points \[.*\].*, right alone \d : 0, McNemar p", told)
    page = section(record)
    assert page.count("<svg") == 2  # against GMAC, that of ours alone, and against time
    assert "GMAC of a video" in page
    assert "over 4 groups" in page
    assert "Multiply-adds are not known of rule, theirs." in page


def test_an_interval_that_is_not_drawn_is_said_to_be_none_of_draws():
    groups = [f"person{n // 15}" for n in range(60)]
    right = {"one": np.arange(60) % 2 > 0, "same": np.arange(60) % 2 > 0, "most": np.arange(60) % 15 > 0}
    record = {"listed": 60, "protocol": "1x1 views", **compare(right, groups)}
    told, page = describe(record), text_of(section(record))
    said = "the bound for 60 videos, each by itself, as none differs"
    assert f"one - same: +0.0 points [-6.0, +6.0] (exact: {said}), right alone 0 : 0" in told
    assert told.count(said) == 1
    assert "-6.0 to +6.0, exact" in page
    assert f"Exact: {said}." in page
    assert (
        "Intervals by drawing 4 groups with replacement, for both alike. So few make intervals rather too narrow."
        in page
    )
    del right["most"]
    page = text_of(section({**record, **compare(right, groups)}))
    assert "by drawing" not in page
    assert "too narrow" not in page.split("Differences of top-1")[1]
    (one_group,) = compare({"one": right["one"], "none": np.zeros(60, dtype=bool)}, ["ann"] * 60)["pairs"]
    assert one_group["method"] == "trials"
    page = text_of(section({**record, **compare({"one": right["one"], "none": np.zeros(60, bool)}, ["ann"] * 60)}))
    assert "Trials: 1 group counting as so many, as all differ alike." in page
    assert "by drawing" not in page


@pytest.mark.parametrize(("rate", "said"), [(3391.33, "3,391"), (99.96, "100"), (6.0054, "6.01"), (0.0421, "0.0421")])
def test_speeds_are_written_out(rate, said):
    model = {
        "top1": 0.5,
        "top1_interval": (0.4, 0.6),
        "clips_per_second": dict.fromkeys(("median", "low", "high"), rate),
    }
    assert cells(model)["clips/s"] == f"{said} [{said}, {said}]"


def test_where_memory_cannot_be_read_the_rest_is_measured(samples, tmp_path, monkeypatch):
    monkeypatch.setattr(footprint, "CLEAR_REFS", tmp_path / "clear_refs")
    rule = contender("rule", by_brightness, load=of_ours)
    record = recorded(on_data([rule], samples, (1, 1)), costs([rule], (1, 1), runs=1), "cpu")
    assert record["models"]["rule"]["clips_per_second"]["median"] > 0
    said = f"measured, as memory on a CPU is read by {tmp_path / 'clear_refs'}, which is not there"
    assert f"MiB: not {said}" in describe(record)
    assert f"MiB are not {said}" in section(record)


def test_what_is_not_measured_is_no_column(samples):
    rule = contender("rule", by_brightness)
    record = recorded(on_data([rule], samples, (1, 1)), costs([rule], (1, 1), runs=0), "cpu")
    assert "clips/s" not in describe(record)
    assert "McNemar" not in describe(record)
    assert "<svg" not in section(record)


def test_a_video_that_one_could_not_read_counts_for_none(samples, tmp_path):
    broken = Sample(Path(tmp_path / "broken.mp4"), "dark")
    broken.path.write_text("no video")
    found = on_data([contender("rule", by_brightness)], [*samples, broken], (1, 1))
    assert (found["videos"], found["listed"]) == (8, 9)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"classes": ("bright", "dim")}, "compared: other lacks 'dark' \\(1 such\\), rule lacks 'dim' \\(1 such\\)$"),
        ({"name": "rule"}, "two models are called rule"),
        ({"scoring": Scoring(multi_label=True)}, "several classes at once"),
    ],
)
def test_what_cannot_be_compared_is_refused_before_anything_runs(fields, message):
    def never(clips: np.ndarray) -> np.ndarray:
        raise AssertionError

    other = Contender(**{"name": "other", "predict": never, "classes": CLASSES, "preprocessing": SMALL, **fields})
    with pytest.raises(ValueError, match=message):
        on_data([contender("rule", never), other], [], (1, 1))
