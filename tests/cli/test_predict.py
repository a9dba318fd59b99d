"""``mvit predict`` as people type it: many videos, forms of answers, files that are gone on with."""

import csv
import io
import json

import pytest


def answers(out: str) -> dict[str, dict]:
    return {said["video"]: said for said in map(json.loads, out.splitlines())}


def test_one_bad_video_does_not_stop_the_others(run, videos, mvit, tmp_path):
    bad = tmp_path / "bad.mp4"
    bad.write_text("not a video")
    good = videos / "wait" / "0.mp4"
    code, out, err = mvit("predict", run, bad, good, tmp_path / "gone.mp4", good)
    assert code == 0
    assert [line for line in out.splitlines() if not line.startswith(" ")] == [str(good)] * 2
    first, second, last = err.strip().splitlines()
    assert first.startswith(f"mvit: {bad} cannot be read: ")
    assert second == f"mvit: {tmp_path / 'gone.mp4'} cannot be read: there is no such file"
    assert last == "mvit: 2 of 4 videos could not be read"
    code, out, _ = mvit("predict", run, bad, tmp_path / "gone.mp4")
    assert (code, out) == (2, ""), "nothing could be done"
    code, out, err = mvit("predict", run, bad, good, "--json")
    assert code == 0
    assert answers(out)[str(bad)]["error"] in err


def test_a_folder_a_pattern_and_a_part(run, videos, mvit):
    code, out, err = mvit("predict", run, videos, "--json")
    assert (code, err) == (0, "")
    every = answers(out)
    assert sorted(every) == sorted(map(str, videos.glob("*/*.mp4")))
    code, out, _ = mvit("predict", run, videos / "w*" / "*.mp4", "--json")
    waits = answers(out)
    assert sorted(waits) == sorted(map(str, videos.glob("wait/*.mp4")))
    for video, said in waits.items():
        assert said["scores"] == pytest.approx(every[video]["scores"], abs=1e-6), "batches are of other videos"
    code, out, _ = mvit("predict", run, f"{videos / 'wait' / '0.mp4'}#t=0,0.1", "--json")
    assert code == 0
    assert list(answers(out)) == [f"{videos / 'wait' / '0.mp4'}#t=0,0.1"]


def test_the_table_has_the_scores_of_the_objects(run, videos, mvit):
    code, out, _ = mvit("predict", run, videos / "wait", "--csv")
    assert code == 0
    rows = list(csv.DictReader(io.StringIO(out)))
    _, out, _ = mvit("predict", run, videos / "wait", "--json")
    for row, said in zip(rows, answers(out).values(), strict=True):
        assert row["video"] == said["video"]
        assert row["predicted"] == next(iter(said["scores"]))
        assert {name: float(row[name]) for name in said["scores"]} == pytest.approx(said["scores"], abs=1e-6)
        assert (int(row["views"]), row["error"]) == (said["views"], "")


def test_views_are_those_that_are_asked_for(run, videos, mvit):
    clip = videos / "wait" / "0.mp4"

    def views(*options) -> tuple[int, str]:
        code, out, err = mvit("predict", run, clip, "--json", *options)
        assert code == 0, err
        said = answers(out)[str(clip)]
        return said["views"], said["protocol"]

    own = json.loads((run / "model.json").read_text())
    assert views() == (own["views"][0] * own["views"][1], own["protocol"])
    assert views("--views", "2x3")[0] == 6
    assert views("--fast")[0] == 1
    taken, told = views("--views", "auto")
    assert 2 <= taken <= 10
    assert told.startswith("2 to 10x")


def test_a_file_of_answers_is_gone_on_with(run, videos, mvit, tmp_path, refused):
    out = tmp_path / "answers.jsonl"
    _, told, _ = mvit("predict", run, videos, "--json")
    code, said, _ = mvit("predict", run, videos / "wait", "--out", out)
    assert (code, said) == (0, f"Wrote 6 answers to {out}\n")
    whole = out.read_bytes()
    out.write_bytes(whole[:-20])
    code, said, _ = mvit("predict", run, videos, "--out", out)
    assert (code, said) == (0, f"Wrote 13 answers to {out}, where 5 stood\n")
    ours, wanted = answers(out.read_text()), answers(told)
    assert list(ours)[:5] == list(answers(whole.decode()))[:5], "what stood still stands"
    assert {video: said["scores"] for video, said in ours.items()} == {
        video: pytest.approx(said["scores"], abs=1e-6) for video, said in wanted.items()
    }
    assert "predictions of another kind" in refused("predict", run, videos, "--fast", "--out", out)
    (tmp_path / "letter.txt").write_text("Dear all\n")
    assert "something else than predictions" in refused("predict", run, videos, "--out", tmp_path / "letter.txt")
    assert (tmp_path / "letter.txt").read_text() == "Dear all\n"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--top", 0), "--top is 0"),
        (("--batch", 0), "--batch 0"),
        (("--json", "--csv"), "choose one"),
        (("--fast", "--views", "5x1"), "choose one"),
        (("--views", "many"), "'many' is not clips x crops"),
    ],
)
def test_options_that_cannot_be(run, videos, refused, options, said):
    assert said in refused("predict", run, videos, *options)


def test_what_holds_no_video_is_said(run, refused, tmp_path):
    (tmp_path / "empty").mkdir()
    assert "holds no video" in refused("predict", run, tmp_path / "empty")
    assert "nothing fits the pattern" in refused("predict", run, tmp_path / "*.mp4")
    assert "at least one video" in refused("predict", run)
