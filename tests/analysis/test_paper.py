"""The papers' tables: the published figures against ours, the claims, and what they are printed as."""

import csv
import io
import itertools
import json
import re

import pytest

from mvit.analysis import claims, labels, paper, published, scatter, tables
from mvit.analysis.complexity import complexity
from mvit.model.presets import PRESETS, get_config


@pytest.fixture(scope="module")
def ours():
    """The rows whose model is our own: what needs no other library."""
    only = {name: tuple(row for row in rows if row.config) for name, rows in published.TABLES.items()}
    patch = pytest.MonkeyPatch()
    patch.setattr(paper, "TABLES", only)
    yield paper.compare()
    patch.undo()


def test_ours_are_what_the_papers_print(ours):
    """Within 1 % but for rows with a note that says why; the released reversible image model has 39.7 M, not 39."""
    assert len(ours) == 26
    for each in ours:
        if not each.printed.note and each.printed.system != "rev-MViT-B":
            assert abs(each.parameters_percent) <= 1, each.printed.system
            assert abs(each.macs_percent) <= 1, each.printed.system


def test_every_preset_that_was_published_has_a_row(ours):
    configs = [each.printed.config for each in ours]
    for name in ("mvit_b_64x3", "mvit_b_24_wide_320_image", "mvitv2_l_40x3", "rev_mvit_b_16x4", "vit_b_8x8"):
        assert get_config(name) in configs


def test_rows_are_plain_and_whole(ours):
    rows = paper.rows(ours)
    assert json.loads(json.dumps(rows)) == rows
    mvit_b = next(row for row in rows if row["system"] == "MViT-B 16x4")
    assert (mvit_b["parameters"], mvit_b["printed_parameters"]) == (36_610_672, 36_600_000)
    assert mvit_b["macs_percent"] == pytest.approx(100 * (70.802 / 70.5 - 1), abs=0.01)
    read = list(csv.DictReader(io.StringIO(tables.as_csv(rows))))
    assert [row["system"] for row in read] == [row["system"] for row in rows]
    assert read[0]["macs"] == str(rows[0]["macs"])


def test_a_row_without_its_library_is_said_to_need_it(monkeypatch):
    row = next(row for row in published.IMAGES if row.baseline == "deit_b")
    monkeypatch.setattr(paper, "TABLES", {"Others on images": (row,)})
    monkeypatch.setattr("mvit.baselines.is_installed", lambda name: False)
    (compared,) = paper.compare()
    assert compared.counted is None
    assert compared.parameters_percent is None
    assert compared.note == "needs timm: pip install 'mvit[baselines]'"
    printed = paper.describe([compared])
    assert "DeiT-B" in printed
    assert compared.note in printed


def test_a_baseline_is_counted_beside_what_is_printed(monkeypatch):
    row = next(row for row in published.IMAGES if row.baseline == "swin_t")
    monkeypatch.setattr(paper, "TABLES", {"Others on images": (row,)})
    (compared,) = paper.compare()
    assert compared.counted.parameters == 28_288_354
    assert "Swin-T: parameters -2.5 %" in paper.describe([compared])


@pytest.mark.parametrize(
    ("cost", "low", "high", "verdict"),
    [
        (40.0, 5, 10, "does not hold"),
        (49.0, 5, 10, "holds"),
        (70.0, 5, 10, "holds"),
        (102.0, 5, 10, "holds"),
        (120.0, 5, 10, "holds, and more than is said"),
    ],
)
def test_verdicts(cost, low, high, verdict):
    figures = {("dear", "parameters"): cost, ("cheap", "parameters"): 10.0}
    assert claims.Ratio("", "dear", "cheap", "parameters", low, high).verdict(figures) == (cost / 10, verdict)
    assert claims.Ratio("", "dear", "other", "parameters", low, high).verdict(figures) == (None, "not counted")


def test_every_ratio_is_between_systems_that_have_rows():
    systems = {row.system for rows in published.TABLES.values() for row in rows}
    for ratio in claims.RATIOS:
        assert {ratio.dearer, ratio.cheaper} <= systems


def test_sayings_are_reckoned():
    holds = {saying.said: saying.reckon() for saying in claims.SAYINGS}
    assert holds["millions of space-time tokens"] == (False, "25,089 (16x4) to 100,353 (64x3)")
    assert holds["separate positions save parameters"] == (True, "2.1 M parameters fewer than a joint table")
    assert not holds["computation is roughly the same in every stage"][0]
    assert holds["computation is roughly the same in every block"][0]


def test_the_plot_shows_every_system_once_and_stays_in_its_frame(tmp_path):
    drawn = scatter.write(tmp_path / "plot.svg", ["swin_t"]).read_text(encoding="utf-8")
    assert drawn.startswith("<svg")
    for data in scatter.PANELS:
        names = [row.system for row in scatter.systems(data)]
        assert len(names) > 10
        for name in names:
            assert f">{name}</text>" in drawn
        rows = scatter.systems(data)
        assert 0 < sum(bool(row.pretraining) for row in rows) < len(rows)
    assert scatter.gmac_per_video(next(row for row in published.MVIT if row.system == "MViT-B 64x3")) == 455 * 9


def test_presets_and_others_stand_out_when_they_are_named(tmp_path):
    names = ["mvit_b_16x4", "mvit_b_16_image", "swin_t", "mvit_test_4x32", "runs/a"]
    drawn = scatter.write(tmp_path / "plot.svg", names).read_text(encoding="utf-8")
    assert re.findall(r'class="value[^>]*>([^<]+)<', drawn) == ["MViT-B 16x4", "MViT-B-16", "Swin-T"]
    assert scatter.check(tmp_path / "plot.svg", names) == ["mvit_test_4x32", "runs/a"]
    with pytest.raises(ValueError, match=r"ends in \.svg"):
        scatter.check(tmp_path / "plot.png", names)


@pytest.mark.parametrize("bold", [False, True])
def test_no_name_of_the_plot_hides_another_or_a_point(bold):
    for data in scatter.PANELS:
        points, boxes = scatter.layout(data, PRESETS if bold else (), 0.0)
        for index, box in enumerate(boxes):
            assert box[0] >= scatter.LEFT
            assert box[2] <= scatter.WIDTH
            assert not any(labels.overlap(box, other) for other in boxes[:index])
            assert not any(labels.overlap(box, (x - 3, y - 3, x + 3, y + 3)) for x, y in points)


def test_far_names_get_a_line():
    assert labels.line((0.0, 0.0), (9.0, -5.0, 30.0, 5.0)) is None
    start, end = labels.line((0.0, 0.0), (30.0, -5.0, 50.0, 5.0))
    assert (start, end) == ((labels.DOT, 0.0), (30.0, 0.0))
    points = [(50.0, 50.0), (52.0, 50.0), (50.0, 53.0)]
    boxes = labels.placed(points, [(40.0, 11.0)] * 3, (0.0, 0.0, 200.0, 200.0))
    assert not any(labels.overlap(*pair) for pair in itertools.combinations(boxes, 2))


def test_tables_hold_parts_that_sum_to_the_whole():
    rows = tables.rows("mvit_b_16x4", complexity(get_config("mvit_b_16x4"), views=(5, 1)))
    *parts, total = rows
    assert total["macs_per_video"] == 5 * total["macs"]
    assert total["macs_with_norms_per_video"] == 5 * total["macs_with_norms"]
    for column in ("parameters", "macs", "activations", "training_bytes"):
        by_block, by_stage = (
            sum(row[column] for row in parts if row["part"].startswith((kind, "stem", "head")))
            for kind in ("block", "stage")
        )
        assert by_block == by_stage == total[column]
    read = list(csv.DictReader(io.StringIO(tables.as_csv(rows))))
    assert len(read) == len(rows) == 1 + 16 + 4 + 1 + 1
    assert read[-1]["grid"] == "16x224x224"
