"""What is answered to which address: Starlette's routes, in front of them what holds for all of them."""

import asyncio
import json
import time
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, BinaryIO

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mvit.serving import openapi
from mvit.serving.bounds import ANSWER_GRACE_SECONDS, BYTES_A_SECOND
from mvit.serving.questions import Question, asked
from mvit.serving.refusal import Refusal
from mvit.serving.service import Service
from mvit.serving.uploads import Gone, received

WEB = files("mvit.serving") / "web"
PAGE = {"/" if file.name == "index.html" else f"/{file.name}": file.name for file in WEB.iterdir()}
TYPES = {"html": "text/html", "js": "text/javascript", "css": "text/css", "svg": "image/svg+xml"}
LINES = "application/x-ndjson"
HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
    "media-src 'self' blob:; connect-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "permissions-policy": "camera=(self), microphone=()",
    "cache-control": "no-cache",
}
SENTENCES = {404: "there is nothing at this address", 405: "this address answers to {Allow} alone"}
LEFT = "the connection was closed before the answer was there"
FAULT = "a fault of the server, which its log tells of"


def application(service: Service) -> "Guard":
    """The application of a service."""

    def error(status: int, sentence: str, headers: dict[str, str] | None = None) -> Response:
        return _json({"error": sentence}, status, headers)

    async def refused(request: Request, why: Exception) -> Response:
        assert isinstance(why, Refusal)
        return error(why.status, why.sentence, why.headers)

    async def known(request: Request, why: Exception) -> Response:
        assert isinstance(why, HTTPException)
        headers = dict(why.headers or {})
        sentence = SENTENCES.get(why.status_code, "this cannot be done").format_map(headers)
        return error(why.status_code, sentence, headers)

    async def fault(request: Request, why: Exception) -> Response:
        return error(500, FAULT)

    async def health(request: Request) -> Response:
        status = "stopping" if service.stopping else "ok"
        answer = {"status": status, "queue": service.queue, "capacity": service.bounds.queue}
        return _json(answer, 503 if service.stopping else 200)

    async def model(request: Request) -> Response:
        return _json(service.facts)

    async def metrics(request: Request) -> Response:
        text = service.metrics.text(
            mvit_queue=service.queue,
            mvit_queue_capacity=service.bounds.queue,
            mvit_batches_total=service.batcher.batches,
            mvit_clips_total=service.batcher.clips,
            mvit_decoders_replaced_total=service.decoder.replaced,
        )
        return PlainTextResponse(text, media_type="text/plain; version=0.0.4")

    async def described(request: Request) -> Response:
        return _json(openapi.description(service.facts))

    routes = [
        *(Route(path, _file(name)) for path, name in PAGE.items()),
        Route("/model", model),
        Route("/health", health),
        Route("/metrics", metrics),
        Route("/openapi.json", described),
        Route("/predict", _Whole(service, ("views", "top"), service.predict), methods=["POST"]),
        Route("/explain", _Whole(service, ("target",), service.explain), methods=["POST"]),
        Route("/segments", _Streamed(service, ("window", "stride", "top"), service.segments), methods=["POST"]),
    ]
    handlers: Any = {Refusal: refused, HTTPException: known, Exception: fault}
    app = Starlette(routes=routes, exception_handlers=handlers)
    app.router.redirect_slashes = False
    return Guard(app, service, {route.path for route in routes})


def _json(answer: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """Strict JSON: Starlette's own refuses what is no number, too."""
    return JSONResponse(answer, status, headers)


def _file(name: str) -> Callable[[Request], Awaitable[Response]]:
    content = WEB / name

    async def answer(request: Request) -> Response:
        if not content.is_file():
            raise HTTPException(404)
        return Response(content.read_bytes(), media_type=TYPES[name.rpartition(".")[2]])

    return answer


@dataclass
class _Whole:
    """An address that takes a video and gives one answer."""

    service: Service
    offered: tuple[str, ...]
    answer: Callable[[BinaryIO, Question], Coroutine[Any, Any, dict[str, Any]]]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        question = asked(request.query_params.multi_items(), self.offered)
        try:
            async with self.service.place(), received(receive, request.headers, self.service.bounds) as video:
                answer = await _while_there(receive, self.answer(video, question))
        except Gone:
            raise Refusal(400, LEFT) from None
        await _json(answer)(scope, receive, send)


@dataclass
class _Streamed:
    """An address that takes a video and gives a line after the other."""

    service: Service
    offered: tuple[str, ...]
    answer: Callable[[BinaryIO, Question], AsyncIterator[dict[str, Any]]]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        question = asked(request.query_params.multi_items(), self.offered)
        begun = False

        async def told(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            async with self.service.place(), received(receive, request.headers, self.service.bounds) as video:
                await _while_there(receive, self._stream(self.answer(video, question), told))
        except Gone:
            if begun:
                raise
            raise Refusal(400, LEFT) from None
        except Exception as why:  # what cannot be begun is refused with its status
            if not begun:
                raise
            if not isinstance(why, Refusal):
                traceback.print_exc()
            refusal = why if isinstance(why, Refusal) else Refusal(500, FAULT)
            error = {"error": refusal.sentence, "status": refusal.status}
            await send({"type": "http.response.body", "body": _line(error), "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _stream(self, lines: Any, send: Send) -> None:
        try:
            line: Any = await anext(lines)
            headers = [(b"content-type", LINES.encode())]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            while line is not None:
                await send({"type": "http.response.body", "body": _line(line), "more_body": True})
                line = await anext(lines, None)
        finally:
            await lines.aclose()


def _line(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, allow_nan=False).encode() + b"\n"


async def _while_there(receive: Receive, work: Coroutine[Any, Any, Any]) -> Any:
    """What comes of work, which is given up where nobody waits for it any more: then raises ``Gone``."""

    async def left() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

    working, leaving = asyncio.ensure_future(work), asyncio.ensure_future(left())
    try:
        await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise Gone
        return working.result()
    finally:
        for task in (working, leaving):
            task.cancel()
        await asyncio.gather(working, leaving, return_exceptions=True)


@dataclass
class Guard:
    """In front of everything: headers, counts, and an end to those who take their answer too slowly."""

    app: ASGIApp
    service: Service
    paths: set[str]
    asking: int = 0
    """Requests that are not yet answered to the end."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        status, waited, taken = "gone", 0.0, 0

        async def guarded(message: Message) -> None:
            nonlocal status, waited, taken
            if message["type"] == "http.response.start":
                status = str(message["status"])
                message["headers"] = [
                    *message.get("headers", ()),
                    *((name.encode(), value.encode()) for name, value in HEADERS.items()),
                ]
            taken += len(message.get("body", b""))
            began = time.monotonic()
            try:
                async with asyncio.timeout(max(ANSWER_GRACE_SECONDS + taken / BYTES_A_SECOND - waited, 0)):
                    await send(message)
            except TimeoutError:
                raise Gone from None
            waited += time.monotonic() - began

        self.asking += 1
        try:
            await self.app(scope, receive, guarded)
        except Gone:
            status = "gone"
        except Exception:  # Starlette has answered 500, and raises it again for the log
            traceback.print_exc()
        finally:
            self.asking -= 1
            path = scope.get("path", "")
            self.service.metrics.answered(path if path in self.paths else "other", status)
