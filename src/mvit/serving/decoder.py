"""Has videos decoded by processes that may crash, hang or be killed, each alone."""

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from typing import BinaryIO

import numpy as np

from mvit.deploy.answers import BATCH
from mvit.serving.refusal import Refusal
from mvit.serving.wire import ERROR, FACTS, HEAD, MOST_TEXT, NOT_ALLOWED, ORDER, STATUS, VIEWS, Facts, Order

MOST_WORDS = 300
STATUS_SECONDS = 5.0
PROGRAM = "mvit.serving.decoding"


class DecoderFault(Exception):  # noqa: N818 (ours, unlike a Refusal)
    """A decoder ended by an error of ours; its traceback is in the server's log."""


class Decoder:
    """The program that starts decoding processes; a new one where it is gone."""

    def __init__(self) -> None:
        self.replaced = 0
        self._start()

    @property
    def pid(self) -> int:
        """Of the program."""
        return self._program.pid

    @contextlib.asynccontextmanager
    async def decoding(self, video: BinaryIO, order: Order) -> AsyncIterator["Decoding"]:
        """A process that decodes one video, killed when this is left."""
        with contextlib.ExitStack() as stack:
            try:
                ours, told = self._begin(video, stack)
            except OSError:  # too many processes or open files
                raise Refusal(503, "nothing more can be decoded at the moment: send it again later") from None
            text = order.to_json()
            with contextlib.suppress(OSError):  # one that is gone is noticed when it should answer
                await asyncio.get_running_loop().sock_sendall(ours, HEAD.pack(ORDER, len(text)) + text)
            yield Decoding(ours, told, order)

    def _begin(self, video: BinaryIO, stack: contextlib.ExitStack) -> tuple[socket.socket, socket.socket]:
        """Sockets on which a new process answers, and on which is told how it ended."""
        (ours, theirs), (told, status) = socket.socketpair(), socket.socketpair()
        for mine in (ours, told):
            stack.enter_context(mine).setblocking(False)
        with theirs, status:
            files = [video.fileno(), theirs.fileno(), status.fileno()]
            try:
                socket.send_fds(self._orders, [b"."], files)
            except OSError:
                self._orders.close()
                self._program.kill()
                self._program.wait()
                self._start()
                self.replaced += 1
                socket.send_fds(self._orders, [b"."], files)
        return ours, told

    def close(self) -> None:
        """End the program, and with it all that decodes."""
        self._orders.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._program.wait(STATUS_SECONDS)
            return
        self._program.kill()
        self._program.wait()

    def _start(self) -> None:
        self._orders, theirs = socket.socketpair()
        self._orders.setblocking(False)
        paths = os.pathsep.join(os.path.abspath(path) for path in sys.path if path)
        # Nothing else of the environment: there may be secrets in it.
        environment = {"PYTHONPATH": paths, "OPENBLAS_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
        with theirs:
            self._program = subprocess.Popen(
                [sys.executable, "-m", PROGRAM, str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                cwd="/",
                env=environment,
                start_new_session=True,  # Ctrl-C is the server's to hear
            )


class Decoding:
    """What comes of one video: its facts, then its views; every message is looked at before it is believed."""

    def __init__(self, connection: socket.socket, told: socket.socket, order: Order) -> None:
        self._connection, self._told, self._order = connection, told, order
        self.seconds = 0.0
        """That were waited for the process so far."""

    async def facts(self) -> Facts:
        """What is known of the video before its views; raises ``Refusal`` where it cannot be decoded."""
        kind, length = await self._head()
        if kind != FACTS:
            raise self._strange()
        try:
            return Facts.from_json(await self._bytes(length))
        except ValueError:
            raise self._strange() from None

    async def views(self) -> AsyncIterator[np.ndarray]:
        """The views of the video, or of its next window: float32 (N, 3, T, crop, crop), a batch at a time.

        The others wait in the memory of the process, which is bounded.
        """
        kind, length = await self._head()
        left, shape = self._order.views, self._order.shape
        if kind != VIEWS or length != 4 * left * int(np.prod(shape)):
            raise self._strange()
        while left:
            piece = np.empty((min(left, BATCH), *shape), np.float32)
            await self._fill(piece.data.cast("B"))
            left -= len(piece)
            yield piece

    async def _head(self) -> tuple[bytes, int]:
        kind, length = HEAD.unpack(await self._bytes(HEAD.size))
        if kind != VIEWS and length > MOST_TEXT:
            raise self._strange()
        if kind in (ERROR, NOT_ALLOWED):
            words = (await self._bytes(length)).decode("utf-8", "replace")
            reason = "".join(letter if letter.isprintable() else " " for letter in words)[:MOST_WORDS]
            raise Refusal(415 if kind == NOT_ALLOWED else 422, f"this cannot be read as a video or image: {reason}")
        return kind, length

    async def _bytes(self, length: int) -> bytes:
        content = bytearray(length)
        await self._fill(memoryview(content))
        return bytes(content)

    async def _fill(self, content: memoryview) -> None:
        loop, began = asyncio.get_running_loop(), time.monotonic()
        try:
            async with asyncio.timeout(max(self._order.seconds - self.seconds, 0)):
                while content:
                    came = await loop.sock_recv_into(self._connection, content)
                    if not came:
                        raise await self._ended()
                    content = content[came:]
        except TimeoutError:
            raise self._too_long() from None
        except ConnectionError:
            raise await self._ended() from None
        finally:
            self.seconds += time.monotonic() - began

    async def _ended(self) -> Exception:
        """Why nothing comes any more."""
        code = None
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(STATUS_SECONDS):
                told = await asyncio.get_running_loop().sock_recv(self._told, STATUS.size)
                code = STATUS.unpack(told)[0] if len(told) == STATUS.size else None
        if code is None or code == -signal.SIGKILL:
            return Refusal(503, "the process that decoded it was ended from outside: send it again")
        if code == -signal.SIGXCPU:
            return self._too_long()
        if code < 0:
            return Refusal(422, "decoding it crashed: it is damaged, or made to do so")
        if code == 0:
            return self._strange()
        return DecoderFault(f"a decoder ended with exit code {code}")

    def _too_long(self) -> Refusal:
        return Refusal(422, f"decoding it takes longer than the {self._order.seconds:g} s allowed")

    def _strange(self) -> Refusal:
        return Refusal(422, "decoding it gave something else than views: it is damaged, or made to do so")
