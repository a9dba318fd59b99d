"""A program that decodes strangers' videos, each in a process of its own; it imports no torch.

    python -m mvit.serving.decoding SOCKET

It has imported all that decoding needs and then does nothing but fork: over its socket (a number) come, for each video,
three open files: the video, a socket on which one process answers (``wire``), and one for how that process ended. A
process lives for one video, so one that a video has taken over sees no other. When the server closes the last of the
three, the process is killed; when it closes the program's own socket, the program ends.
"""

import contextlib
import ctypes
import os
import resource
import select
import signal
import socket
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from mvit.data.opening import NotAllowed, UnreadableVideo, why
from mvit.data.video import Video, scaled_size
from mvit.data.views import clip_indices, crop_corners, views_in, views_of
from mvit.deploy.windows import pictures
from mvit.serving.wire import ERROR, FACTS, HEAD, MOST_TEXT, NOT_ALLOWED, ORDER, STATUS, VIEWS, Facts, Order

MEMORY_BYTES = 2**30
"""That a video may take beside its views."""
_LIBC, _PR_SET_PDEATHSIG = ctypes.CDLL(None), 1
"""By which Linux ends a process when the one that started it does."""
GRACE_SECONDS = 2
"""Of processor time beyond the limit on the clock, before the system ends a process."""


def main(number: int) -> None:
    """Fork a process for each video that comes over a socket, until that is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all of a terminal; the server says when it ends
    orders = socket.socket(fileno=number)
    wake, woken = os.pipe()
    for end in (wake, woken):
        os.set_blocking(end, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)  # or nothing is written to the pipe
    signal.set_wakeup_fd(woken)
    running: dict[int, socket.socket] = {}
    while True:
        watch = select.poll()
        watch.register(orders, select.POLLIN)
        watch.register(wake, select.POLLIN)
        for status in running.values():
            watch.register(status, 0)  # tells of hanging up alone
        ready = dict(watch.poll())
        for pid, status in running.items():
            if status.fileno() in ready:
                os.kill(pid, signal.SIGKILL)
        if wake in ready:
            _drain(wake)
        _bury(running)
        if orders.fileno() in ready:
            _, files, _, _ = socket.recv_fds(orders, 1, 3)
            if len(files) != 3:
                break
            video, answer, status = files
            if (pid := os.fork()) == 0:
                _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
                signal.set_wakeup_fd(-1)
                for other in (orders.fileno(), wake, woken, status, *(each.fileno() for each in running.values())):
                    os.close(other)
                _answer(video, socket.socket(fileno=answer))
            os.close(video)
            os.close(answer)
            running[pid] = socket.socket(fileno=status)
    for pid in running:
        os.kill(pid, signal.SIGKILL)


def _drain(pipe: int) -> None:
    with contextlib.suppress(BlockingIOError):
        while os.read(pipe, 512):
            pass


def _bury(running: dict[int, socket.socket]) -> None:
    """Say how processes ended that have."""
    for pid in list(running):
        ended, how = os.waitpid(pid, os.WNOHANG)
        if ended:
            with running.pop(pid) as status, contextlib.suppress(OSError):
                status.sendall(STATUS.pack(os.waitstatus_to_exitcode(how)))


# ---- in a process of its own ---------------------------------------------------------------------------------------


def _answer(video: int, server: socket.socket) -> None:
    """Take an order, do it, and end this process."""
    code = 1
    try:
        kind, length = HEAD.unpack(_exactly(server, HEAD.size))
        assert kind == ORDER
        order = Order.from_json(_exactly(server, length))
        _confine(order)
        for kind, content in _messages(Path(f"/dev/fd/{video}"), order):
            server.sendall(HEAD.pack(kind, len(content)))
            server.sendall(content)
        code = 0
    except (BrokenPipeError, ConnectionResetError):
        pass  # nobody wants to know any more
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def _confine(order: Order) -> None:
    """Have the system end this process where it takes more memory or time than one video is worth."""
    views = 4 * order.views * int(np.prod(order.shape))
    memory = _memory() + MEMORY_BYTES + views
    for what, most in (
        (resource.RLIMIT_AS, memory),
        (resource.RLIMIT_CPU, int(order.seconds) + GRACE_SECONDS),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, 0),
    ):
        resource.setrlimit(what, (most, most))


def _memory() -> int:
    """Bytes of addresses that this process has already."""
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0]) * resource.getpagesize()


def _messages(path: Path, order: Order) -> Iterator[tuple[bytes, memoryview]]:
    try:
        with Video(path, limits=order.limits) as video:
            yield from _views(video, order)
    except (UnreadableVideo, OSError) as error:
        kind = NOT_ALLOWED if isinstance(error, NotAllowed) else ERROR
        yield kind, memoryview(why(error).encode()[:MOST_TEXT])
    except MemoryError:
        yield ERROR, memoryview(b"it takes more memory than is allowed")


def _views(video: Video, order: Order) -> Iterator[tuple[bytes, memoryview]]:
    preprocessing = order.preprocessing
    if order.windowing is None:
        indices = clip_indices(video, preprocessing, order.clips)[0]
        views = views_in(video, preprocessing, clips=order.clips, crops=order.crops)
        times = video.times[indices]
        yield FACTS, _facts(video, order, tuple(times.tolist()))
        yield VIEWS, views.data.cast("B")
        return
    yield FACTS, _facts(video, order, ())
    if order.windowing.at_most(video.duration_seconds) > order.most_windows:
        return  # the server says so
    for shown in pictures(video, order.windowing.over(video.duration_seconds), preprocessing, order.clips):
        yield VIEWS, views_of(shown, preprocessing, order.crops).data.cast("B")


def _facts(video: Video, order: Order, times: tuple[float, ...]) -> memoryview:
    known, size = video.facts, order.preprocessing.crop
    width, height = scaled_size(known.width, known.height, order.preprocessing.short_side)
    top, left = crop_corners(height, width, size, order.crops)[0]
    crop = (left / width, top / height, (left + size) / width, (top + size) / height)
    return memoryview(Facts(video.duration_seconds, times, crop).to_json())


def _exactly(connection: socket.socket, length: int) -> bytes:
    content = b""
    while len(content) < length:
        more = connection.recv(length - len(content))
        if not more:
            raise ConnectionResetError
        content += more
    return content


if __name__ == "__main__":
    main(int(sys.argv[1]))
