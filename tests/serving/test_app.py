"""What stands in front of every address."""

import asyncio
import contextlib
from types import SimpleNamespace
from typing import Any

import pytest

from mvit.serving.bounds import Bounds
from mvit.serving.metrics import Metrics
from mvit.serving.refusal import Refusal
from mvit.serving.service import Service


def test_one_of_a_thing_is_one():
    bounds = Bounds(queue=1, frames=1, pixels=1)
    assert str(bounds) == "100 MB, 1 pixel, 1 frame and 60 s of decoding each, 1 request at once"
    model: Any = SimpleNamespace(logits=None)
    decoder: Any = None

    async def two_at_once() -> None:
        service = Service(model, "a model", bounds, decoder)
        async with service.place(), service.place():
            raise AssertionError("there is one place")

    with pytest.raises(Refusal) as refused:
        asyncio.run(two_at_once())
    assert refused.value.sentence == "the only place is taken: send it again later"


def test_who_takes_too_little_of_the_answer_is_left(library, monkeypatch, capsys):
    library("starlette", "serve")
    from mvit.serving import app

    monkeypatch.setattr(app, "ANSWER_GRACE_SECONDS", 0.05)
    metrics = Metrics()
    begun = {"type": "http.response.start", "status": 200, "headers": []}
    piece = {"type": "http.response.body", "body": b"x", "more_body": True}

    async def talk(scope, receive, send):
        await send(begun)
        for _ in range(1000):
            await send(piece)
        raise AssertionError("somebody took it")

    async def take_nothing(message):
        await asyncio.Event().wait()

    async def take_little(message):
        await asyncio.sleep(0.01)

    guard = app.Guard(talk, SimpleNamespace(metrics=metrics), {"/segments"})
    for take in (take_nothing, take_little):
        asyncio.run(guard({"path": "/segments"}, None, take))
    assert 'mvit_requests_total{path="/segments",status="gone"} 2\n' in metrics.text()
    assert capsys.readouterr().err == ""


def test_a_stream_that_nobody_takes_any_more_is_no_fault(library, monkeypatch, capsys):
    library("starlette", "serve")
    from mvit.serving import app

    monkeypatch.setattr(app, "ANSWER_GRACE_SECONDS", 0.05)
    metrics, sent, closed = Metrics(), [], []

    async def lines(video, question):
        try:
            while True:
                yield {"start": 0.0}
        finally:
            closed.append(True)

    service = SimpleNamespace(
        metrics=metrics, bounds=Bounds(), segments=lines, predict=None, explain=None, place=contextlib.nullcontext
    )
    body = iter([{"type": "http.request", "body": b"a video"}])

    async def receive():
        return next(body, None) or await asyncio.Event().wait()

    async def send(message):
        sent.append(message)
        if len(sent) == 3:
            await asyncio.Event().wait()

    scope = {"type": "http", "method": "POST", "path": "/segments", "query_string": b"", "headers": []}
    asyncio.run(app.application(service)(scope, receive, send))
    assert (len(sent), closed) == (3, [True])
    assert 'mvit_requests_total{path="/segments",status="gone"} 1\n' in metrics.text()
    assert capsys.readouterr().err == ""


def test_a_fault_is_told_to_the_log_and_not_to_who_asked(library, capsys):
    library("starlette", "serve")
    from mvit.serving import app

    metrics = Metrics()

    async def fail(scope, receive, send):
        raise RuntimeError("ours")

    asyncio.run(app.Guard(fail, SimpleNamespace(metrics=metrics), set())({"path": "/../secret"}, None, None))
    assert "RuntimeError: ours" in capsys.readouterr().err
    assert "secret" not in metrics.text()
    assert 'path="other"' in metrics.text()
