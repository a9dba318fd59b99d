"""What is refused: with which status, in one sentence that tells nothing of the inside, and before it costs much."""

import contextlib
import io
import json
import random
import re
import socket
import time
from pathlib import Path

import av
import numpy as np
import pytest
import reader
from PIL import Image

import hostile
from mvit.data import video
from mvit.data.limits import STRANGERS
from served import GRACE_SECONDS, Served

SENTENCE = re.compile(r"[^\n]{10,400}")


def refused(answer, status: int) -> str:
    assert answer.status == status, answer
    assert set(answer.json) == {"error"}
    sentence = answer.json["error"]
    assert SENTENCE.fullmatch(sentence)
    assert not re.search(r"/proc|/dev|/tmp|mvit\.|\.py|Traceback", sentence)
    return sentence


def raw(server: Served, request: bytes, *, half_closed: bool = False) -> bytes:
    """What a server says to bytes, until it closes; with ``half_closed`` it is told that no more will come."""
    said = b""
    with server.connect() as connection, contextlib.suppress(OSError):  # it may close while it is being told things
        connection.sendall(request)
        if half_closed:
            connection.shutdown(socket.SHUT_WR)
        while came := connection.recv(2**16):
            said += came
    return said


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/predict?views=0x1", "views is not clips x crops"),
        ("/predict?views=11x1", "views is not"),
        ("/predict?views=5x2", "views is not"),
        ("/predict?views=5x1%0a", "views is not"),
        ("/predict?top=0", "top is not a number of classes, from 1 to 99,999"),
        ("/predict?top=1&top=2", "top is given twice"),
        ("/predict?tpo=1", "only views, top"),
        ("/segments?views=1x1", "only window, stride, top"),
        ("/explain?top=1", "no such parameter here, only target"),
        ("/segments?window=1&stride=2", "the stride no longer than the window"),
        ("/segments?stride=0", "0.001 s or more"),
        ("/segments?stride=nan", "stride is not seconds"),
        ("/segments?window=1e9", "window is not seconds"),
        ("/explain?target=", "target is not"),
    ],
)
def test_questions_that_are_none(path, words, server, clip):
    assert words in refused(server.ask("POST", path, clip.read_bytes()), 400)


def test_a_class_that_is_not_there(server, clip):
    assert "no class" in refused(server.ask("POST", "/explain?target=../../etc/passwd", clip.read_bytes()), 404)


@pytest.mark.parametrize(
    "path",
    ["/nowhere", "/../../etc/passwd", "/%2e%2e/%2e%2e/etc/passwd", "/page.js/../../app.py", "/index.html", "/predict/"],
)
def test_nothing_else_is_at_an_address(path, server):
    refused(server.ask("GET", path), 404)


def test_other_methods(server):
    for method, path in [("GET", "/predict"), ("DELETE", "/model"), ("PUT", "/segments"), ("POST", "/health")]:
        answer = server.ask(method, path)
        assert refused(answer, 405) == f"this address answers to {answer.headers['allow']} alone"


def test_other_kinds_of_bodies(server, clip):
    kinds = ["multipart/form-data; boundary=x", "application/json", "text/plain", "application/x-www-form-urlencoded"]
    for kind in kinds:
        assert "video/*" in refused(server.ask("POST", "/predict", clip.read_bytes(), kind), 415)
    refused(server.ask("POST", "/predict", clip.read_bytes(), content_encoding="gzip"), 415)
    for kind in ("application/octet-stream", "image/jpeg", "VIDEO/MP4", None):
        assert server.ask("POST", "/predict", clip.read_bytes(), kind).status == 200


def test_a_body_that_is_too_large_by_its_length(server):
    request = b"POST /predict HTTP/1.1\r\nhost: a\r\ncontent-length: 400000000\r\n\r\n"
    with server.connect() as connection:
        connection.sendall(request)
        assert connection.recv(100).startswith(b"HTTP/1.1 413 ")  # before a byte of it came


def test_a_body_that_is_too_large_when_it_is_there(server):
    with server.connect() as connection:
        connection.sendall(b"POST /predict HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n")
        chunk = b"10000\r\n" + b"x" * 2**16 + b"\r\n"
        sent = 0
        try:
            for _ in range(2000):
                connection.sendall(chunk)
                sent += 2**16
        except ConnectionError:
            pass
        assert sent < 50_000_000  # what lay in buffers when it closed


def test_bodies_that_are_none(server):
    refused(server.ask("POST", "/predict", b""), 400)
    refused(server.ask("POST", "/predict"), 400)
    header = b"POST /predict HTTP/1.1\r\nhost: a\r\ncontent-length: "
    assert raw(server, header + b"1000\r\n\r\nshort", half_closed=True).startswith(b"HTTP/1.1 400")
    two = header + b"5\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
    assert raw(server, two).startswith((b"HTTP/1.1 400", b"HTTP/1.1 422"))


@pytest.mark.parametrize("body", [b"x", b"garbage" * 1000])
def test_what_is_no_video(body, server):
    assert "cannot be read as a video or image" in refused(server.ask("POST", "/predict", body), 422)
    refused(server.ask("POST", "/segments", body), 422)
    refused(server.ask("POST", "/explain", body), 422)


def test_a_format_that_is_not_allowed_is_not_called_damaged(server, clip):
    """And the sentence and the page of docs name those that are."""
    docs = (Path(__file__).parents[2] / "docs/serve.md").read_text(encoding="utf-8")
    listed = re.search(r"its format is one of(.+?)\(", docs, re.DOTALL)
    assert listed
    formats = re.findall(r"\b(?!and\b)[a-z0-9]+", listed[1])
    assert set(formats) == {name.removesuffix("_pipe") for name in STRANGERS.formats}
    moving = io.BytesIO()
    Image.new("RGB", (32, 32)).save(moving, "gif")
    for body in (moving.getvalue(), b"ffconcat version 1.0\nfile /etc/passwd\n"):
        for path in ("/predict", "/segments", "/explain"):
            sentence = refused(server.ask("POST", path, body), 415)
            assert sentence.endswith(f"its format is not among those allowed: {', '.join(formats)}")
    cut = clip.read_bytes()[:-500]
    assert "damaged" in refused(server.ask("POST", "/predict", cut), 422)


def test_a_picture_of_too_many_pixels_is_told_how_many_there_may_be(server):
    photograph, large = io.BytesIO(), io.BytesIO()
    Image.new("RGB", (4032, 3024)).save(photograph, "jpeg")
    assert server.ask("POST", "/predict", photograph.getvalue()).status == 200
    Image.new("RGB", (4200, 3024)).save(large, "jpeg")
    assert "more than 12,582,912 pixels" in refused(server.ask("POST", "/predict", large.getvalue()), 422)


def test_a_codec_that_is_not_allowed_is_not_called_damaged(server):
    file = io.BytesIO()
    with av.open(file, "w", format="matroska") as container:
        stream = container.add_stream("ffv1", rate=10)
        stream.width, stream.height, stream.pix_fmt = 32, 32, "yuv420p"
        container.mux([*stream.encode(av.VideoFrame(32, 32, "yuv420p")), *stream.encode(None)])
    sentence = refused(server.ask("POST", "/predict", file.getvalue()), 415)
    assert sentence.endswith(f"its codec (ffv1) is not among those allowed: {', '.join(STRANGERS.codecs)}")


def test_videos_that_mean_harm(server, tmp_path):
    for path in hostile.attacks(tmp_path):
        if path.is_file() and not path.is_symlink() and path.stat().st_size < 2_000_000:
            answer = server.ask("POST", "/predict", path.read_bytes())
            refused(answer, 415 if path.stem == "concat" else 422)


def test_videos_changed_by_chance(server, clip):
    draw, content, statuses = random.Random(0), clip.read_bytes(), set()
    for path in ("/predict", "/segments", "/explain"):
        for _ in range(10):
            answer = server.ask("POST", path, reader.changed(content, content, draw))
            statuses.add(answer.status)
            assert all(isinstance(line, dict) for line in answer.lines)
    assert statuses == {200, 415, 422}
    assert server.process.poll() is None


def test_windows_without_end(server, tmp_path):
    video.write(tmp_path / "long.mp4", np.zeros((13, 32, 32, 3), np.uint8), fps=1)
    asked = "/segments?window=0.5&stride=0.001"
    assert "10,000 windows" in refused(server.ask("POST", asked, (tmp_path / "long.mp4").read_bytes()), 422)


def test_headers_that_are_none(server):
    assert raw(server, b"\x00\x01\x02garbage\r\n\r\n").startswith(b"HTTP/1.1 400")
    large = b"GET /health HTTP/1.1\r\nhost: a\r\nx: " + b"a" * 1_000_000
    assert raw(server, large)[:12] in (b"HTTP/1.1 431", b"")
    assert server.ask("GET", "/health").status == 200


def test_headers_and_bodies_that_do_not_come(server):
    header, body = server.connect(), server.connect()
    with header, body:
        began = time.monotonic()
        header.sendall(b"GET /health HTTP/1.1\r\nhost: a\r\n")
        body.sendall(b"POST /predict HTTP/1.1\r\nhost: a\r\ncontent-length: 100\r\n\r\nslow")
        assert header.recv(1000) == b""
        said = body.recv(10_000)
        assert said.startswith(b"HTTP/1.1 408 ")
        assert json.loads(said.partition(b"\r\n\r\n")[2])["error"].startswith("the body came too slowly")
        assert time.monotonic() - began >= GRACE_SECONDS
    assert server.ask("GET", "/health").json["queue"] == 0
