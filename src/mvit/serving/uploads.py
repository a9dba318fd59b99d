"""A request's body, in a file without a name that ends with it; refused as soon as it is too large, or too slow."""

import asyncio
import contextlib
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any, BinaryIO, cast

from mvit.serving.bounds import BODY_GRACE_SECONDS, BYTES_A_SECOND, Bounds
from mvit.serving.refusal import Refusal

TYPES = ("video/", "image/", "application/octet-stream")
AT_ONCE = 2**20  # bytes that are written at once, by a thread: disks may be slow

Receive = Callable[[], Awaitable[Any]]


class Gone(Exception):  # noqa: N818 (nobody's fault)
    """Whoever asked has left."""


@contextlib.asynccontextmanager
async def received(receive: Receive, headers: Mapping[str, str], bounds: Bounds) -> AsyncIterator[BinaryIO]:
    """The body of a request as an open file; raises ``Refusal``, and ``Gone`` where it breaks off."""
    _check(headers, bounds)
    with contextlib.ExitStack() as stack:
        try:
            # On Linux it never has a name, so nothing of it can be left over, whatever ends this process.
            file = cast(BinaryIO, stack.enter_context(tempfile.TemporaryFile()))
            size = 0
            async for piece in _pieces(receive, bounds):
                size += len(piece)
                await asyncio.to_thread(file.write, piece)
            await asyncio.to_thread(file.flush)
        except OSError:
            raise Refusal(503, "there is no room for it at the moment: send it again later") from None
        if not size:
            raise Refusal(400, "the body is empty: send the bytes of one video or image")
        yield file


def _check(headers: Mapping[str, str], bounds: Bounds) -> None:
    kind = headers.get("content-type", TYPES[-1]).lower()
    if not kind.startswith(TYPES):
        raise Refusal(
            415,
            "send the bytes of one video or image and nothing else, with a content-type of video/*, image/* or "
            "application/octet-stream",
        )
    if headers.get("content-encoding", "identity").lower() != "identity":
        raise Refusal(415, "send the bytes as they are, without a content-encoding")
    length = headers.get("content-length", "0")
    if not (length.isascii() and length.isdecimal()):
        raise Refusal(400, "its content-length is no number")
    if int(length) > bounds.bytes:
        raise _too_large(bounds)


async def _pieces(receive: Receive, bounds: Bounds) -> AsyncIterator[bytes]:
    began, size, held, more = time.monotonic(), 0, bytearray(), True
    while more:
        due = began + BODY_GRACE_SECONDS + size / BYTES_A_SECOND
        try:
            async with asyncio.timeout(max(due - time.monotonic(), 0)):
                message = await receive()
        except TimeoutError:
            raise Refusal(408, "the body came too slowly, so it was not waited for: send it faster") from None
        if message["type"] == "http.disconnect":
            raise Gone
        piece, more = message.get("body", b""), message.get("more_body", False)
        size += len(piece)
        if size > bounds.bytes:
            raise _too_large(bounds)
        held += piece
        if len(held) >= AT_ONCE or not more:
            yield bytes(held)
            held.clear()


def _too_large(bounds: Bounds) -> Refusal:
    return Refusal(413, f"it is larger than the {bounds.bytes:,} bytes allowed: send a shorter or smaller video")
