"""Models on the same videos: differences with intervals over groups, McNemar, Holm, and what cannot be compared."""

import json
from pathlib import Path

import numpy as np
import pytest

from mvit.data.dataset import Sample
from mvit.evaluation.comparison import compare, of_saved
from mvit.evaluation.evaluate import Evaluation, write
from mvit.evaluation.statistics import difference_interval, holm, mcnemar, mean_interval, units


def evaluated(folder: Path, right: str, labels: str = "", *, protocol: str = "1x1 views", classes: str = "ab") -> Path:
    """A run on videos of class a, unless labels say else; the letters of ``right`` say which are right ("1")."""
    labels = labels or "a" * len(right)
    scores = [
        [0.9 if (name == label) == (hit == "1") else 0.1 for name in classes]
        for hit, label in zip(right, labels, strict=True)
    ]
    samples = tuple(Sample(Path(f"/v/{place}.mp4"), label) for place, label in enumerate(labels))
    outcome = Evaluation(
        classes=tuple(classes),
        samples=samples,
        scores=np.array(scores),
        unreadable={},
        left_out=(),
        listed=len(samples),
        protocol=protocol,
    )
    write(outcome, folder)
    return folder


def test_a_comparison_by_the_statistics_it_is_made_of():
    rng = np.random.default_rng(0)
    groups = [f"person{n % 12}" for n in range(240)]
    right = {name: rng.random(240) < share for name, share in (("good", 0.8), ("fair", 0.7), ("poor", 0.4))}
    found = compare(right, groups)
    assert (found["videos"], found["groups"], found["units"]) == (240, 12, 12)
    for name, own in right.items():
        assert found["models"][name] == {"top1": own.mean(), "top1_interval": mean_interval(own, units(groups))}
    names = [(pair["first"], pair["second"]) for pair in found["pairs"]]
    assert names == [("good", "fair"), ("good", "poor"), ("fair", "poor")]
    for pair in found["pairs"]:
        one, other = right[pair["first"]], right[pair["second"]]
        assert pair["difference"] == pytest.approx(one.mean() - other.mean())
        assert pair["difference_interval"] == difference_interval(one, other, units(groups))
        assert pair["method"] == "bootstrap"
        assert pair["only_first"] - pair["only_second"] == one.sum() - other.sum()
        assert pair["p"] == mcnemar(one, other)
    assert [pair["p_corrected"] for pair in found["pairs"]] == holm([pair["p"] for pair in found["pairs"]])
    assert min(pair["p_corrected"] for pair in found["pairs"]) == 3 * min(pair["p"] for pair in found["pairs"])


def test_saved_runs_are_compared_video_by_video(tmp_path):
    first, second = evaluated(tmp_path / "a", "1110"), evaluated(tmp_path / "b", "1000")
    lines = (second / "scores.csv").read_text().splitlines()
    (second / "scores.csv").write_text("\n".join([lines[0], *reversed(lines[1:])]) + "\n")  # in another order
    rows = ("/v/0.mp4,a,ann,val", "/v/1.mp4,a,ann,val", "/v/2.mp4,a,bob,val", "/v/3.mp4,a,bob,val")
    (second / "split.csv").write_text("\n".join(["path,label,group,split", *rows]))  # the first does not say
    found = of_saved({"first": first, "second": second})
    (pair,) = found["pairs"]
    assert (pair["difference"], pair["only_first"], pair["only_second"]) == (0.5, 2, 0)
    assert (found["groups"], found["protocol"], found["listed"]) == (2, "1x1 views", 4)
    assert json.loads(json.dumps(found))["models"]["second"]["top1"] == 0.25


def test_one_model_alone_has_no_pairs(tmp_path):
    found = of_saved({"only": evaluated(tmp_path / "a", "10")})
    assert found["pairs"] == []
    assert found["models"]["only"]["top1"] == 0.5


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"protocol": "2x3 views"}, "1x1 views against 2x3 views"),
        ({"right": "10101"}, r"scores of /v/4.mp4 \(1 such\)"),
        ({"labels": "aaba"}, r"/v/2.mp4 is 'a' in the one and 'b' in the other \(1 such\)"),
    ],
)
def test_what_was_not_measured_alike_is_refused(other, message, tmp_path):
    first = evaluated(tmp_path / "first", "1010")
    second = evaluated(tmp_path / "second", **{"right": "1010", **other})
    with pytest.raises(ValueError, match=f"first and second were not measured alike: .*{message}.*mvit compare RUN"):
        of_saved({"first": first, "second": second})


def test_runs_of_different_classes_are_not_sent_to_data_that_could_not_help(tmp_path):
    few = evaluated(tmp_path / "few", "10")
    many = evaluated(tmp_path / "many", "10", classes="abcd", protocol="2x3 views")
    for runs in ({"few": few, "many": many}, {"many": many, "few": few}):
        with pytest.raises(ValueError, match=r"cannot be compared: few lacks 'c' \(2 such\)$"):
            of_saved(runs)
