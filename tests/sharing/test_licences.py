"""A licence goes on with weights, through every run that started from another one."""

import json
from pathlib import Path

import pytest

import exports
from mvit.sharing.licences import PULLED_FILE, SCRATCH, UNKNOWN, origin_of, settled


def run_from(folder: Path, weights: str, preset: str = "mvit_test_4x32", **description) -> Path:
    exports.write_run(folder, **description)
    (folder / "recipe.toml").write_text(f"[model]\nname = {json.dumps(preset)}\nweights = {json.dumps(weights)}\n")
    return folder


def test_from_scratch_and_by_way_of_own_runs(tmp_path):
    first = run_from(tmp_path / "first", "")
    assert origin_of(first) == SCRATCH
    assert origin_of(first / "model.safetensors") == SCRATCH
    second = run_from(tmp_path / "second", str(first))
    assert origin_of(second).words == "from scratch, with no weights of others, by way of 1 earlier run"
    third = run_from(tmp_path / "third", str(second / "model.safetensors"))
    assert origin_of(third).words.endswith(", by way of 2 earlier runs")
    assert str(tmp_path) not in origin_of(third).words


def test_published_weights_by_name(tmp_path):
    found = origin_of(run_from(tmp_path / "run", "k400_torchvision", "mvit_b_16x4"))
    assert (found.kind, found.licence) == ("published", "bsd-3-clause")
    assert "mvit_b_16x4 k400_torchvision, trained on Kinetics-400" in found.words
    later = origin_of(run_from(tmp_path / "later", str(tmp_path / "run")))
    assert later.licence == "bsd-3-clause"
    assert later.words.endswith("by way of 1 earlier run")


def test_a_name_wins_over_a_folder_of_that_name_as_in_training(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run_from(tmp_path / "k400_torchvision", "")
    assert origin_of(run_from(tmp_path / "run", "k400_torchvision", "mvit_b_16x4")).licence == "bsd-3-clause"


def test_a_folder_of_published_weights(tmp_path):
    published = {"data": "Kinetics-400, 400 classes", "source": "someone", "licence": "Apache-2.0"}
    fetched = exports.write_run(tmp_path / "fetched", published=published)
    assert origin_of(fetched).licence == "apache-2.0"
    assert origin_of(run_from(tmp_path / "run", str(fetched))).licence == "apache-2.0"


@pytest.mark.parametrize("licence", ["cc-by-nc-4.0", None])
def test_pulled_weights(tmp_path, licence):
    pulled = exports.write_run(tmp_path / "pulled")
    known = {"repository": "them/model", "commit": "abc", "licence": licence, "sha256": {}}
    (pulled / PULLED_FILE).write_text(json.dumps(known))
    found = origin_of(run_from(tmp_path / "run", str(pulled)))
    assert (found.kind, found.licence, found.repository) == ("pulled", licence, "them/model")
    if licence is None:
        with pytest.raises(ValueError, match="nobody knows whether it may be given on: look it up"):
            settled(found, None)


def test_what_nobody_knows(tmp_path):
    bare = exports.write_run(tmp_path / "bare")
    gone = run_from(tmp_path / "gone", str(tmp_path / "nowhere.pyth"))
    beside = run_from(tmp_path / "beside", "base")
    circle = run_from(tmp_path / "circle", str(tmp_path / "circle"))
    for run in (bare, gone, beside, circle):
        assert origin_of(run) == UNKNOWN
    with pytest.raises(ValueError, match="of which no licence is recorded, so nobody knows"):
        settled(UNKNOWN, None)
    assert settled(UNKNOWN, "MIT").licence == "mit"


def test_where_a_relative_path_led_to_is_not_known(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run_from(tmp_path / "base", "")
    assert origin_of(run_from(tmp_path / "run", "base")) == UNKNOWN


def test_what_is_inherited_cannot_be_stated_otherwise(tmp_path):
    found = origin_of(run_from(tmp_path / "run", "k400_torchvision", "mvit_b_16x4"))
    assert settled(found, None) == settled(found, "BSD-3-Clause") == found
    with pytest.raises(ValueError, match=r"--licence is mit, but .* whose licence is bsd-3-clause and goes on with"):
        settled(found, "MIT")
    assert settled(SCRATCH, None).licence is None
    with pytest.raises(ValueError, match="is no identifier of a licence"):
        settled(SCRATCH, "all mine!")


def test_what_the_hub_has_no_identifier_for_cannot_be_stated():
    with pytest.raises(ValueError, match="--licence is 'foo', which is no identifier that the hub knows: give one of"):
        settled(SCRATCH, "foo")
    assert settled(SCRATCH, "OpenRAIL++").licence == "openrail++"


def test_what_is_inherited_needs_no_identifier_of_the_hub(tmp_path):
    pulled = exports.write_run(tmp_path / "pulled")
    known = {"repository": "them/model", "commit": "abc", "licence": "their-own-1.0", "sha256": {}}
    (pulled / PULLED_FILE).write_text(json.dumps(known))
    assert settled(origin_of(pulled), "their-own-1.0").licence == "their-own-1.0"


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("recipe.toml", "[model"),
        ("recipe.toml", "a = 1"),
        (PULLED_FILE, "[]"),
        (PULLED_FILE, '{"repository": "a/b", "commit": "c", "licence": 3}'),
    ],
)
def test_damaged_files_are_named(tmp_path, name, content):
    run = run_from(tmp_path / "run", "")
    (run / name).write_text(content)
    with pytest.raises(ValueError, match=f"{name} is damaged"):
        origin_of(run)
