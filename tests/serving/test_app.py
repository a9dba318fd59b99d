"""What stands in front of every address."""

import asyncio
from types import SimpleNamespace

from mvit.serving.metrics import Metrics


def test_who_takes_nothing_of_the_answer_is_left(library, monkeypatch):
    library("starlette", "serve")
    from mvit.serving import app

    monkeypatch.setattr(app, "ANSWER_SECONDS", 0.05)
    metrics = Metrics()

    async def talk(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise AssertionError("somebody took it")

    async def take_nothing(message):
        await asyncio.Event().wait()

    guard = app._Guard(talk, SimpleNamespace(metrics=metrics), {"/segments"})
    asyncio.run(guard({"path": "/segments"}, None, take_nothing))
    assert 'mvit_requests_total{path="/segments",status="gone"} 1\n' in metrics.text()


def test_a_fault_is_told_to_the_log_and_not_to_who_asked(library, capsys):
    library("starlette", "serve")
    from mvit.serving import app

    metrics = Metrics()

    async def fail(scope, receive, send):
        raise RuntimeError("ours")

    asyncio.run(app._Guard(fail, SimpleNamespace(metrics=metrics), set())({"path": "/../secret"}, None, None))
    assert "RuntimeError: ours" in capsys.readouterr().err
    assert "secret" not in metrics.text()
    assert 'path="other"' in metrics.text()
