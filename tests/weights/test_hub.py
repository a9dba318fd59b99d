"""Downloads of published weights from a server in this process that can misbehave in every way a real one does."""

import hashlib
import io
import os
import threading
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import torch

import mvit
from mvit import cli
from mvit.data import video
from mvit.data.sampling import ClipSampling
from mvit.data.views import Preprocessing
from mvit.model.presets import get_config
from mvit.weights import dialects, hub, published
from mvit.weights.hub import DownloadError, download
from mvit.weights.published import Protocol, Published
from mvit.weights.read import CheckpointError

TEST = "mvit_test_4x32"
CONTENT = bytes(range(256)) * 8192
DIGEST = hashlib.sha256(CONTENT).hexdigest()


class Server(ThreadingHTTPServer):
    """One file and how it is served; ``ranges`` notes what each request asked for."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.content, self.kind, self.status, self.location = CONTENT, "application/octet-stream", 200, ""
        self.cut, self.answers_ranges, self.says_length, self.hold = None, True, True, threading.Event()
        self.changed = 1_600_000_000
        self.ranges = []
        self.hold.set()

    def handle_error(self, request, client_address):
        """A client that hangs up is part of the tests."""


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        server = self.server
        asked = self.headers.get("Range")
        server.ranges.append(asked)
        server.hold.wait(60)
        modified = formatdate(server.changed, usegmt=True)
        start = 0
        if asked and server.answers_ranges and self.headers["If-Range"] == modified:
            start = int(asked.removeprefix("bytes=").removesuffix("-"))
        body = server.content[start:]
        if start and not body:
            self.send_response(416)
            self.send_header("Content-Length", "0")
            return self.end_headers()
        self.send_response(206 if start else server.status)
        if server.location:
            self.send_header("Location", server.location)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(server.content) - 1}/{len(server.content)}")
        if server.says_length:
            self.send_header("Content-Length", str(len(body)))
        self.send_header("Content-Type", server.kind)
        self.send_header("Last-Modified", modified)
        self.end_headers()
        self.wfile.write(body[: server.cut])
        return None

    def log_message(self, format, *args):  # noqa: A002 (the name is http.server's)
        """Keep the tests' output clean."""


@pytest.fixture
def server(monkeypatch):
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(hub, "SCHEMES", ("https", "http"))
    server = Server()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield server
    server.hold.set()
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def url(server):
    return f"http://127.0.0.1:{server.server_port}/weights.pyth"


@pytest.fixture
def target(tmp_path):
    return tmp_path / "cache" / "weights.pyth"


def left(target):
    """What an attempt left in the cache, the empty lock aside."""
    return sorted(path.name for path in target.parent.iterdir() if not path.name.startswith("."))


@pytest.mark.parametrize("digest", ["", DIGEST[:8], DIGEST])
def test_a_download(server, url, target, digest, capsys):
    assert download(url, target, digest) == target
    assert target.read_bytes() == CONTENT
    assert left(target) == [target.name]
    assert capsys.readouterr().err == f"downloading {url} to {target}\n"


@pytest.mark.parametrize("answers_ranges", [True, False])
def test_a_download_cut_off_goes_on(server, url, target, answers_ranges):
    server.cut, server.answers_ranges = 1_500_000, answers_ranges
    with pytest.raises(DownloadError, match=r"ended after 1,500,000 of 2,097,152 bytes.*Run the command again, or put"):
        download(url, target, DIGEST)
    assert left(target) == ["weights.pyth.part"]
    server.cut = None
    download(url, target, DIGEST)
    assert server.ranges == [None, "bytes=1500000-"]
    assert target.read_bytes() == CONTENT
    assert left(target) == [target.name]


def test_a_file_that_changed_meanwhile_is_fetched_anew(server, url, target):
    server.cut = 1_000_000
    with pytest.raises(DownloadError):
        download(url, target)
    server.cut, server.content, server.changed = None, CONTENT[::-1], server.changed + 100
    assert download(url, target).read_bytes() == CONTENT[::-1]


def test_a_whole_part_takes_its_name_though_nothing_is_missing(server, url, target):
    target.parent.mkdir()
    part = target.with_name("weights.pyth.part")
    part.write_bytes(CONTENT)
    os.utime(part, (server.changed, server.changed))
    assert download(url, target).read_bytes() == CONTENT
    assert server.ranges == [f"bytes={len(CONTENT)}-", None]


def test_a_wrong_file_is_not_kept(server, url, target):
    with pytest.raises(DownloadError, match=rf"starts with {DIGEST[:8]} where 00000000 was published; it was deleted"):
        download(url, target, "00000000")
    assert left(target) == []


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"\n<!DOCTYPE html><html>virus scan</html>", "application/octet-stream"),
        (b"sign in", "text/html; charset=utf-8"),
    ],
)
def test_a_web_page_is_no_weights(server, url, target, content, kind):
    server.content, server.kind = content, kind
    with pytest.raises(DownloadError, match=r"web page.*put the file at .*weights\.pyth"):
        download(url, target)
    assert left(target) == []


def test_no_such_file(server, url, target):
    server.status = 404
    with pytest.raises(DownloadError, match=r"answered 404 Not Found"):
        download(url, target)
    assert left(target) == []


def test_no_network(server, url, target):
    server.shutdown()
    server.server_close()
    with pytest.raises(DownloadError, match=r"cannot be reached.*put the file at .*weights\.pyth"):
        download(url, target)
    assert left(target) == []


def test_a_server_that_falls_silent(server, url, target, monkeypatch):
    monkeypatch.setattr(hub, "TIMEOUT_SECONDS", 0.2)
    server.hold.clear()
    with pytest.raises(DownloadError, match="timed out"):
        download(url, target)
    assert left(target) == []


@pytest.mark.parametrize("says_length", [True, False])
def test_a_file_that_is_too_large(server, url, target, says_length, monkeypatch):
    monkeypatch.setattr(hub, "MOST_BYTES", 2**20)
    server.says_length = says_length
    with pytest.raises(DownloadError, match="larger than 1,048,576 bytes"):
        download(url, target, DIGEST)
    assert not target.exists()


def test_without_a_length_only_a_hash_tells_whether_a_file_is_whole(server, url, target):
    server.says_length = False
    with pytest.raises(DownloadError, match="does not say how long"):
        download(url, target)
    assert download(url, target, DIGEST).read_bytes() == CONTENT


def test_an_empty_answer(server, url, target):
    server.content = b""
    with pytest.raises(DownloadError, match="empty file"):
        download(url, target)
    assert not target.exists()


def test_only_https_unless_told(server, url, target, monkeypatch):
    server.status, server.location = 302, "ftp://127.0.0.1/weights.pyth"
    with pytest.raises(DownloadError, match=r"ftp://127\.0\.0\.1/weights\.pyth is not reached by https or http"):
        download(url, target)
    monkeypatch.setattr(hub, "SCHEMES", ("https",))
    with pytest.raises(DownloadError, match="is not reached by https"):
        download(url, target)
    assert len(server.ranges) == 1
    assert left(target) == []


def test_downloads_of_one_file_at_once_are_one(server, url, target):
    server.hold.clear()
    done = []
    threads = [threading.Thread(target=lambda: done.append(download(url, target, DIGEST))) for _ in range(4)]
    for thread in threads:
        thread.start()
    server.hold.set()
    for thread in threads:
        thread.join()
    assert done == [target] * 4
    assert server.ranges == [None]
    assert target.read_bytes() == CONTENT


# ---- names ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def entry(server, url, tmp_path, monkeypatch):
    """A small model that is published on the server, alone in the table, with an empty cache."""
    model = mvit.create_model(TEST, num_classes=400)
    file = io.BytesIO()
    torch.save({"model_state": dialects.to_dialect(model.state_dict(), model.config, "official")}, file)
    server.content = file.getvalue()
    preprocessing = Preprocessing(sampling=ClipSampling(frames=4, spacing=1), short_side=32, crop=32)
    entry = Published(TEST, "k400_slowfast", url, (50.0, 75.0), Protocol((2, 1), preprocessing), note="a note")
    monkeypatch.setattr(published, "PUBLISHED", (entry,))
    monkeypatch.setattr(torch.hub, "_hub_dir", None)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    return entry


def test_a_name_becomes_a_model_and_is_downloaded_once(entry, server, tmp_path):
    model = mvit.create_model(TEST, weights="k400")
    assert model.config.num_classes == 400
    file = tmp_path / "torch" / "hub" / "mvit" / f"{TEST}-k400_slowfast.pyth"
    assert file.read_bytes() == server.content
    again = mvit.create_model(TEST, weights="k400_slowfast")
    assert all(torch.equal(again.state_dict()[name], tensor) for name, tensor in model.state_dict().items())
    with pytest.warns(UserWarning, match="400 to 7 classes"):
        mvit.create_model(TEST, weights="k400", num_classes=7)
    assert server.ranges == [None]


def test_a_file_in_the_cache_is_verified(entry, server, monkeypatch):
    hashed = Published(TEST, "k400_torchvision", "https://example.org/m-00000000.pth", (), entry.protocol)
    assert hashed.sha256 == "00000000"
    path = hub.cached(hashed)
    path.parent.mkdir(parents=True)
    path.write_bytes(b"something else")
    with pytest.raises(
        DownloadError, match=r"is not the file that was published \(SHA-256 00000000\.\.\.\): delete it"
    ):
        hub.fetch(hashed)
    assert server.ranges == []


def test_a_file_that_does_not_fit_says_what_is_known_of_it(entry, server):
    file = io.BytesIO()
    model = mvit.create_model(TEST, num_classes=400, depths=(1, 2))
    torch.save({"model_state": dialects.to_dialect(model.state_dict(), model.config, "official")}, file)
    server.content = file.getvalue()
    with pytest.raises(CheckpointError, match=r"does not fit the model.*\(a note\)"):
        mvit.create_model(TEST, weights="k400")


def test_an_unknown_name_names_the_nearest_and_all(entry):
    with pytest.raises(ValueError, match=r"did you mean 'k400'\? There are k400, k400_slowfast"):
        mvit.create_model(TEST, weights="k4000")
    with pytest.raises(ValueError, match="no weights are published for mvit_s_16x4"):
        mvit.create_model("mvit_s_16x4", weights="k400")
    with pytest.raises(ValueError, match="only the weights of presets go by name"):
        mvit.create_model(get_config(TEST), weights="k400")
    with pytest.raises(FileNotFoundError, match=r"gone\.pyth does not exist"):
        mvit.create_model(TEST, weights="gone.pyth")


def test_a_name_wins_over_a_file_of_that_name(entry, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "k400").mkdir()
    assert hub.named(TEST, "k400") is entry
    assert hub.named(TEST, "./k400") is None
    assert hub.named(TEST, Path("k400")) is None


def test_weights_of_another_preset_go_by_both_names(entry):
    assert hub.named("mvit_b_64x3", f"{TEST}/k400") is entry
    assert hub.named(get_config(TEST), f"{TEST}/k400_slowfast") is entry
    assert hub.named("mvit_b_64x3", f"./{TEST}/k400") is hub.named("mvit_b_64x3", "runs/k400") is None
    with pytest.raises(ValueError, match=rf"{TEST} has no weights of that name: did you mean 'k400'"):
        hub.named("mvit_b_64x3", f"{TEST}/k4000")


# ---- commands ------------------------------------------------------------------------------------------------------


def test_fetch_makes_a_run_to_predict_with(entry, tmp_path, capsys):
    run = tmp_path / "run"
    assert cli.main(["fetch", TEST, "k400", "--out", str(run)]) == 0
    out = capsys.readouterr().out
    assert "top-1 50, top-5 75 (2x1 views, 4x1, short side 32, crop 32)" in out
    assert "Apache-2.0" in out
    predictor = mvit.load(run)
    assert predictor.classes[:2] == ("abseiling", "air drumming")
    assert predictor.views == (2, 1)
    assert cli.main(["fetch", TEST, "k400", "--out", str(run)]) == 2
    assert "exists already" in capsys.readouterr().err


def test_fetch_takes_other_names_of_the_classes(entry, tmp_path, capsys):
    names = tmp_path / "names.txt"
    names.write_text("\n".join(f"class {n}" for n in range(399)))
    command = ["fetch", TEST, "k400", "--out", str(tmp_path / "run"), "--classes", str(names)]
    assert cli.main(command) == 2
    assert "Kinetics-400 has 400 different classes, and the file holds 399 names" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
    names.write_text("\n".join(f"class {n}" for n in range(400)) + "\n", encoding="utf-8-sig")
    assert cli.main(command) == 0
    assert mvit.load(tmp_path / "run").classes[::399] == ("class 0", "class 399")


def test_classes_that_no_library_lists(entry, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(published, "PUBLISHED", (Published(TEST, "k600_slowfast", entry.url, (), entry.protocol),))
    assert cli.main(["fetch", TEST, "k600", "--out", str(tmp_path / "run")]) == 2
    assert "no library here lists the 600 classes of Kinetics-600" in capsys.readouterr().err


def test_a_download_that_fails_is_a_sentence_and_2(entry, server, tmp_path, capsys):
    server.status = 503
    assert cli.main(["fetch", TEST, "k400", "--out", str(tmp_path / "run")]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"mvit: {entry.url}: the server answered 503")
    assert error.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_training_refuses_an_unknown_name_before_it_reads_videos(entry, tmp_path, capsys):
    for name in ("a/1.mp4", "a/2.mp4", "b/1.mp4", "b/2.mp4"):
        (tmp_path / "data" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "data" / name).write_bytes(b"never looked at")
    command = ["train", str(tmp_path / "data"), "--model", TEST, "--out", str(tmp_path / "run")]
    assert cli.main([*command, "model.weights=k401"]) == 2
    assert "did you mean 'k400'" in capsys.readouterr().err


def test_training_starts_from_a_name(entry, tmp_path, capsys):
    for name in ("a/1.mp4", "a/2.mp4", "b/1.mp4", "b/2.mp4"):
        (tmp_path / "data" / name).parent.mkdir(parents=True, exist_ok=True)
        frames = np.full((8, 32, 32, 3), 80 if name.startswith("a") else 160, np.uint8)
        video.write(tmp_path / "data" / name, frames)
    settings = ("train.epochs=1", "train.batch=2", "train.workers=0", "data.spacing=1", "model.weights=k400")
    assert cli.main(["train", str(tmp_path / "data"), "--model", TEST, "--out", str(tmp_path / "run"), *settings]) == 0
    assert "400 to 2 classes" in capsys.readouterr().out


def test_info_lists_the_weights(entry, capsys):
    assert cli.main(["info", TEST]) == 0
    out = capsys.readouterr().out
    for said in ("k400_slowfast", "Kinetics-400, 400 classes", "75.0", "2x1 views", "Apache-2.0", entry.url, "a note"):
        assert said in out
