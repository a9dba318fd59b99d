"""A run goes to a hub on this machine and comes back the same; what a stranger puts there is looked at first."""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import exports
import hubs
import mvit
from mvit import cli
from mvit.sharing import hugging_face
from mvit.weights.read import CheckpointError

MINE = "me/three-ways"
# Of huggingface_hub's own call of its HTTP library, where a hub takes large files by the older of its two ways.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")


@pytest.fixture(scope="module")
def videos(tmp_path_factory) -> Path:
    return exports.write_videos(tmp_path_factory.mktemp("videos"))


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory, videos) -> Path:
    run = exports.write_run(tmp_path_factory.mktemp("evaluated") / "run", videos)
    (run / "recipe.toml").write_text('[model]\nname = "mvit_test_4x32"\nweights = ""\n')
    assert cli.main(["evaluate", str(run), str(videos)]) == 0
    return run


@pytest.fixture
def run(tmp_path, evaluated) -> Path:
    return Path(shutil.copytree(evaluated, tmp_path / "run"))


@pytest.fixture
def hub(library, monkeypatch, tmp_path):
    library("huggingface_hub", "hub")
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with hubs.Hub() as server:
        # The library reads its variables once, when it is imported.
        for name, value in {
            "ENDPOINT": server.url,
            "HUGGINGFACE_CO_URL_TEMPLATE": f"{server.url}/{{repo_id}}/resolve/{{revision}}/{{filename}}",
            "HF_HUB_CACHE": str(tmp_path / "cache"),
            "HF_HUB_DISABLE_XET": True,
            "HF_HUB_OFFLINE": False,
            "HF_TOKEN_PATH": str(tmp_path / "no token"),
        }.items():
            monkeypatch.setattr(f"huggingface_hub.constants.{name}", value)
        monkeypatch.setenv("HF_TOKEN", hubs.TOKEN)
        monkeypatch.setenv("HF_HUB_DISABLE_PROGRESS_BARS", "1")
        yield server


def pushed(run: Path, *options: str) -> int:
    return cli.main(["push", str(run), MINE, "--licence", "apache-2.0", *options])


def pulled(folder: Path, *options: str, repository: str = MINE) -> int:
    return cli.main(["pull", repository, "--out", str(folder), *options])


def test_a_run_comes_back_as_it_went(hub, run, videos, tmp_path, capsys):
    assert pushed(run) == 0
    commit = hub.branches[MINE]["main"]
    assert f"Pushed: {hub.url}/{MINE}/commit/{commit}\n" in capsys.readouterr().out
    assert not hub.private[MINE]
    assert ("PUT", f"/lfs/{hashlib.sha256((run / 'model.safetensors').read_bytes()).hexdigest()}") in hub.requests

    back = tmp_path / "back"
    assert pulled(back) == 0
    out = capsys.readouterr().out
    assert f"at commit {commit}" in out
    assert "licence: apache-2.0\n" in out
    assert "left there: 'config.json', 'modeling_mvit.py', 'video_preprocessor_config.json'\n" in out
    names = {"README.md", "model.json", "model.safetensors", "result.json"}
    assert {path.name for path in back.iterdir()} == names | {"pulled.json"}
    for name in ("model.json", "model.safetensors"):
        assert (back / name).read_bytes() == (run / name).read_bytes()
    known = json.loads((back / "pulled.json").read_text())
    assert (known["repository"], known["commit"], known["licence"]) == (MINE, commit, "apache-2.0")
    for name in names:
        digest = hashlib.sha256((back / name).read_bytes()).hexdigest()
        assert known["sha256"][name] == digest
        assert f"{digest}  {name}\n" in out

    video = videos / "up" / "1.mp4"
    assert mvit.load(back, device="cpu").predict(video) == mvit.load(run, device="cpu").predict(video)
    assert cli.main(["info", str(back)]) == 0
    assert json.loads((run / "result.json").read_text())["headline"] in capsys.readouterr().out
    assert cli.main(["evaluate", str(back), str(videos), "--out", str(tmp_path / "again.json")]) == 0


def test_no_name_of_a_file_leaves_unless_asked(hub, run, videos):
    broken = videos / "up" / "3.mp4"
    whole = broken.read_bytes()
    try:
        broken.write_bytes(b"nothing that can be decoded")
        assert cli.main(["evaluate", str(run), str(videos)]) == 0
    finally:
        broken.write_bytes(whole)
    assert str(broken) in (run / "result.json").read_text()
    assert pushed(run) == 0
    for name, content in hub.held(MINE).items():
        assert b".mp4" not in content.replace(b'"video.mp4"', b""), name
        assert str(videos).encode() not in content, name
    assert len(json.loads(hub.held(MINE)["result.json"])["unreadable"]) == 1
    assert b"1 held-out videos could not be read" in hub.held(MINE)["README.md"]
    assert pushed(run, "--with-names") == 0
    assert {"scores.csv", "split.csv"} <= hub.held(MINE).keys()
    assert pushed(run) == 0, "and they are taken away again"
    assert not {"scores.csv", "split.csv"} & hub.held(MINE).keys()


def test_what_would_be_sent_is_shown_and_nothing_is(hub, run, capsys, monkeypatch):
    monkeypatch.delenv("HF_TOKEN")
    assert cli.main(["push", "--dry-run", str(run), MINE, "--private", "--licence", "apache-2.0"]) == 0
    out = capsys.readouterr().out
    assert f"to {hub.url}/{MINE}, private, branch main, in one commit:\n" in out
    size = (run / "model.safetensors").stat().st_size
    assert f"{size:>15,} bytes  model.safetensors\n" in out
    assert "licence: apache-2.0 (trained from scratch" in out
    assert "# three-ways\n" in out
    assert out.endswith("Nothing was sent.\n")
    assert hub.requests == []


def test_private_ones_and_branches(hub, run, tmp_path, capsys, monkeypatch):
    assert pushed(run, "--private", "--revision", "trial") == 0
    assert hub.private[MINE]
    assert hub.held(MINE).keys() == {".gitattributes"}
    first = hub.branches[MINE]["trial"]
    (run / "result.json").unlink()
    assert pushed(run, "--private", "--revision", "trial") == 0
    assert "result.json" in hub.files[first]
    assert "result.json" not in hub.held(MINE, "trial"), "what the model before it was judged to be goes with it"
    assert pulled(tmp_path / "first", "--revision", first) == 0
    assert json.loads((tmp_path / "first" / "pulled.json").read_text())["commit"] == first
    assert (tmp_path / "first" / "result.json").is_file()
    assert pulled(tmp_path / "last", "--revision", "trial") == 0
    assert not (tmp_path / "last" / "result.json").exists()
    capsys.readouterr()
    assert pulled(tmp_path / "no", "--revision", "other") == 2
    assert capsys.readouterr().err == (
        f"mvit: {MINE} has no revision 'other': leave --revision out, or name another branch, tag or commit\n"
    )
    monkeypatch.delenv("HF_TOKEN")
    assert pulled(tmp_path / "no", "--revision", "trial") == 2
    assert f"there is no {MINE} at {hub.url} for whoever asks here" in capsys.readouterr().err
    assert not (tmp_path / "no").exists()


def test_a_public_one_is_not_made_private_by_asking(hub, run, capsys):
    assert pushed(run) == 0
    before = dict(hub.held(MINE))
    assert pushed(run, "--private") == 2
    assert "is there already, and public" in capsys.readouterr().err
    assert hub.held(MINE) == before


@pytest.mark.parametrize(
    ("refuses", "said"),
    [
        ({"/api/repos/create": 403}, "the hub answered 403 about me/three-ways.*take a token that may do so"),
        ({"/preupload/": 500}, "the hub answered 500 about me/three-ways"),
        ({"/lfs/": 403}, "the hub answered 403 about me/three-ways"),
        ({"/lfs/": None}, "cannot be reached for me/three-ways .*disconnected"),
        ({"/commit/": 413}, "the hub answered 413 about me/three-ways.*the test says so"),
    ],
)
def test_what_the_hub_refuses_is_said_in_a_sentence(hub, run, refuses, said, capsys, monkeypatch):
    monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", lambda seconds: None)
    hub.refuses = refuses
    assert pushed(run) == 2
    *_, line = capsys.readouterr().err.splitlines()  # behind the bars of what was sent
    assert line.startswith("mvit: ")
    assert re.search(said, line), line
    assert MINE not in hub.branches or "model.json" not in hub.held(MINE)


@pytest.mark.parametrize(
    ("where", "status", "said"),
    [
        (
            "/api/models",
            404,
            r"404 about me/three-ways \(the test says so\): look at its name and at --revision, and log",
        ),
        (
            "/resolve/",
            404,
            "404 about me/three-ways: look at its name and at --revision, and log in by hf auth login if",
        ),
        ("/resolve/", 403, "403 about me/three-ways: take a token that may do so"),
    ],
)
def test_what_is_not_there_is_said_without_addresses(hub, run, tmp_path, where, status, said, capsys):
    assert pushed(run) == 0
    capsys.readouterr()
    hub.refuses = {where: status}
    assert pulled(tmp_path / "no") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert re.match(f"mvit: the hub answered {said}", line), line
    assert "http" not in line
    assert not (tmp_path / "no").exists()


def test_nobody_logged_in(hub, run, capsys, monkeypatch):
    monkeypatch.delenv("HF_TOKEN")
    assert pushed(run) == 2
    assert "nobody is logged in to the hub here" in capsys.readouterr().err
    assert hub.requests == []


def test_without_the_library_it_says_what_to_install(run, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    for command in (lambda: pushed(run), lambda: pulled(tmp_path / "no")):
        assert command() == 2
        assert "pip install 'mvit[hub]'" in capsys.readouterr().err


def test_no_hub_at_all(hub, run, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    assert pulled(tmp_path / "no") == 2
    assert "http://127.0.0.1:9 cannot be reached for me/three-ways" in capsys.readouterr().err
    assert not (tmp_path / "no").exists()


def test_a_model_that_is_not_whole_is_not_sent(hub, run, capsys):
    weights = (run / "model.safetensors").read_bytes()
    (run / "model.safetensors").write_bytes(weights[:-8])
    assert pushed(run) == 2
    assert "cannot be read as safetensors" in capsys.readouterr().err
    assert hub.requests == []


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("result.json", "{}"),
        ("result.json", '{"a": ' + "[" * 100_000),
        ("probe.json", "{}"),
        ("run.json", '{"environment": 3}'),
    ],
    ids=["no result", "deep", "no probe", "no run"],
)
def test_files_that_others_wrote_are_no_fault(hub, run, name, content, capsys):
    (run / name).write_text(content)
    assert cli.main(["push", str(run), MINE, "--dry-run"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert re.search("files that no command here wrote|is damaged", line), line


@pytest.mark.parametrize("name", ["model", "a/b/c", "/x", "me/", "../up", "me/na me", "https://hub/me/x"])
def test_names_that_are_none(hub, name, tmp_path, capsys):
    assert pulled(tmp_path / "no", repository=name) == 2
    assert "is no repository on the hub: name it OWNER/NAME" in capsys.readouterr().err
    assert hub.requests == []


def strangers(hub, run: Path, **changes) -> dict[str, bytes]:
    """A repository with the files of a run, of which model.json is changed."""
    contents = {name: (run / name).read_bytes() for name in ("model.safetensors", "model.json")}
    described = json.loads(contents["model.json"])
    for key, value in changes.items():
        (described["config"] if key in described["config"] else described)[key] = value
    contents["model.json"] = json.dumps(described).encode()
    hub.put("them/model", contents)
    return contents


def test_no_code_and_no_pickle_is_fetched(hub, run, tmp_path):
    contents = strangers(hub, run)
    hub.put("them/model", contents | {"evil.py": b"1/0", "pytorch_model.bin": b"\x80", "../up.json": b"{}"})
    assert pulled(tmp_path / "it", repository="them/model") == 0
    asked = {path.rpartition("/")[2] for method, path in hub.requests if "/resolve/" in path}
    assert asked == {"model.safetensors", "model.json"}
    assert {path.name for path in (tmp_path / "it").iterdir()} == asked | {"pulled.json"}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"classes": ["left", "right"]}, "names 2 classes for 3 outputs"),
        ({"classes": ["left", "right", "\x1b[2J"]}, "has a class '\\\\x1b\\[2J', which cannot be printed"),
        ({"depths": [1, 10**9]}, "tensors for 1,000,000,001 blocks"),
        ({"widths": [2**22, 2**23]}, "does not fit the model that it seems to be"),
        ({"views": [10**6, 3]}, "asks for .* numbers of one video"),
        ({"views": "many"}, "is damaged"),
        ({"views": [float("inf"), 1]}, "is damaged"),
        ({"views": [1, 2]}, "crops 1 or 3"),
        ({"widths": [2**31, 2**32]}, "no tensor can be as large"),
        ({"clip": [10**30, 32, 32]}, "no tensor can be as large"),
        ({"preprocessing": {}}, "is damaged"),
        ({"format": 99}, "has format 99"),
    ],
)
def test_what_a_stranger_describes_is_looked_at(hub, run, tmp_path, changes, said, capsys):
    strangers(hub, run, **changes)
    assert pulled(tmp_path / "it", repository="them/model") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert re.search(said, line), line
    assert ".mvit-pull" not in line
    assert {path.name for path in tmp_path.iterdir()} == {"run", "cache"}


def test_a_description_that_nests_without_end(hub, run, tmp_path, capsys):
    hub.put("them/model", strangers(hub, run) | {"model.json": b"[" * 10**6})
    assert pulled(tmp_path / "it", repository="them/model") == 2
    assert "them/model/model.json is not JSON" in capsys.readouterr().err


def test_sizes_are_looked_at_before_anything_is_fetched(hub, run, tmp_path, capsys, monkeypatch):
    strangers(hub, run)
    monkeypatch.setattr(hugging_face, "PULLED", dict(hugging_face.PULLED) | {"model.json": 100})
    assert pulled(tmp_path / "it", repository="them/model") == 2
    assert "and 100 are the most that such a file may have: nothing was fetched" in capsys.readouterr().err
    assert not [path for _, path in hub.requests if "/resolve/" in path]


def test_a_file_that_is_not_what_the_hub_says(hub, run, tmp_path, capsys):
    strangers(hub, run)
    assert pulled(tmp_path / "it", repository="them/model") == 0
    (cached,) = (tmp_path / "cache").rglob("snapshots/*/model.safetensors")
    content = bytearray(cached.read_bytes())
    content[-1] ^= 1
    cached.resolve().write_bytes(content)
    capsys.readouterr()
    assert pulled(tmp_path / "again", repository="them/model") == 2
    assert "model.safetensors is not what the hub says that it holds" in capsys.readouterr().err
    assert not (tmp_path / "again").exists()


def test_a_repository_without_a_model_of_ours(hub, tmp_path, capsys):
    hub.put("them/other", {"config.json": b"{}", "model.safetensors": b""})
    assert pulled(tmp_path / "it", repository="them/other") == 2
    assert "them/other holds no model that mvit made: it has no model.json" in capsys.readouterr().err


def test_what_is_there_stays(hub, run, tmp_path, capsys):
    assert pulled(run) == 2
    assert "exists already: name another folder with --out" in capsys.readouterr().err
    assert hub.requests == []


def test_a_checkpoint_in_other_names_is_no_run(run, hub):
    (run / "model.safetensors").rename(run / "other.safetensors")
    with pytest.raises((CheckpointError, FileNotFoundError)):
        hugging_face.parcel(run, MINE, private=False, branch=None, licence="mit", with_names=False)


WHOLE_WAY = """
import json, sys
from mvit import cli
run, back, video = sys.argv[1:]
assert cli.main(["push", run, "me/ways", "--licence", "mit"]) == 0
assert cli.main(["pull", "me/ways", "--out", back]) == 0
from transformers import pipeline
classify = pipeline("video-classification", model="me/ways", trust_remote_code=True, device="cpu")
print(json.dumps(classify(video)))
"""


@pytest.mark.slow
def test_the_whole_way_in_a_process_of_its_own_and_transformers_from_the_hub(library, run, videos, tmp_path):
    library("transformers", "baselines")
    library("huggingface_hub", "hub")
    video = videos / "up" / "1.mp4"
    with hubs.Hub() as server:
        environment = {name: value for name, value in os.environ.items() if "proxy" not in name.lower()}
        environment |= {"HF_ENDPOINT": server.url, "HF_HOME": str(tmp_path / "home"), "HF_TOKEN": hubs.TOKEN}
        environment |= {"HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}
        command = [sys.executable, "-c", WHOLE_WAY, str(run), str(tmp_path / "back"), str(video)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=110)
    assert done.returncode == 0, done.stderr
    found = {row["label"]: row["score"] for row in json.loads(done.stdout.splitlines()[-1])}
    assert found == pytest.approx(mvit.load(tmp_path / "back", device="cpu").predict(video), abs=1e-5)
