"""`mvit explain` as people type it."""

import json

from mvit.data import video
from mvit.explanation.gallery import folder_for


def test_explain_draws_into_the_run_folder(run, videos, mvit, monkeypatch):
    path = videos / "wait" / "0.mp4"
    code, out, err = mvit("explain", run, path)
    assert code == 0, err
    folder = run / "explained" / "0"
    facts = json.loads((folder / "explanation.json").read_text(encoding="utf-8"))
    assert f"{path}: {facts['predicted']} {facts['score']:.1%}  (1x1 views" in out
    assert f"Wrote {', '.join(facts['files'])} in {folder}" in out
    assert len(video.read(folder / "overlay.mp4")) == 4
    monkeypatch.chdir(path.parent)
    code, _, err = mvit("explain", run / "model.safetensors", path.name, "--block", 1, "--head", 1, "--target", "wait")
    assert code == 0, err
    known = json.loads((folder / "explanation.json").read_text(encoding="utf-8"))
    assert (known["class_map"]["class"], known["video"]) == ("wait", str(path))
    assert [each.name for each in folder.parent.iterdir()] == ["0"]
    (folder / "explanation.json").write_text(json.dumps(facts | {"video": "/another/0.mp4"}), encoding="utf-8")
    code, out, err = mvit("explain", run, path)
    assert code == 0, err
    assert f"in {folder.parent / '0-2'}" in out


def test_videos_of_one_name_have_folders_of_their_own(tmp_path):
    first, second, third = (tmp_path / name / "0.mp4" for name in ("wait", "jump", "run"))
    home = tmp_path / "explained"
    assert folder_for(first, tmp_path) == home / "0"
    for folder, content in (
        ("0", json.dumps({"video": str(first)})),
        ("0-2", "{"),
        ("0-3", json.dumps({"video": str(second)})),
    ):
        (home / folder).mkdir(parents=True)
        (home / folder / "explanation.json").write_text(content)
    (tmp_path / "linked").symlink_to(second.parent)
    assert folder_for(first, tmp_path) == home / "0"
    assert folder_for(tmp_path / "linked" / "0.mp4", tmp_path) == home / "0-3"
    assert folder_for(third, tmp_path) == home / "0-4"


def test_explain_says_in_a_sentence_what_is_not_there(run, videos, refused, tmp_path):
    path, broken = videos / "wait" / "0.mp4", tmp_path / "broken.mp4"
    broken.write_text("this is a text file")
    assert str(broken) in refused("explain", run, broken)
    assert "nowhere.mp4" in refused("explain", run, tmp_path / "nowhere.mp4")
    assert "did you mean 'wait'?" in refused("explain", run, path, "--target", "wiat")
    assert "stages 1 to 2" in refused("explain", run, path, "--stage", 0)
    assert "blocks 0 to 1" in refused("explain", run, path, "--block", 7)
    assert "heads 0 to 1" in refused("explain", run, path, "--block", 1, "--head", 2)
    assert "--block" in refused("explain", run, path, "--head", 1)
    assert str(tmp_path) in refused("explain", tmp_path, path)
    assert str(broken) in refused("explain", run, path, "--out", broken)


def test_complexity_draws_where_the_computation_goes(mvit, refused, tmp_path):
    out = tmp_path / "a.svg"
    code, _, err = mvit("complexity", "mvit_test_4x32", "--clip", "4x32x32", "--plot", out)
    assert code == 0, err
    assert f"Wrote {out}" in err
    assert "by block" in out.read_text(encoding="utf-8")
    assert "swin_t is counted as a whole" in refused(
        "complexity", "swin_t", "--clip", "1x64x64", "--plot", tmp_path / "b.svg"
    )
