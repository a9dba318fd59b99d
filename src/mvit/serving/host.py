"""A server from its start to its end: what is wrong is said before it is there, and what is begun is finished."""

import asyncio
import contextlib
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings
from granian.server.embed import Server

from mvit.data.samples import counted
from mvit.deploy.described import EXPORTED, Described
from mvit.deploy.opened import load
from mvit.evaluation.evaluate import checked
from mvit.evaluation.scoring import checked_logits
from mvit.serving.app import application
from mvit.serving.bounds import CONNECTIONS, HEADER_BYTES, HEADER_SECONDS, LAST_SECONDS, STOP_SECONDS, Bounds
from mvit.serving.decoder import Decoder
from mvit.serving.service import Explain, Service

Say = Callable[[str], None]


def serve(model: Path, host: str, port: int, bounds: Bounds, say: Say) -> int:
    """Serve a model until SIGTERM or Ctrl-C comes; returns the signal, after which nothing more should be run.

    Granian's threads may still be in their last steps, in which the end of Python would abort the process: leave it by
    ``os._exit``. Raises ``ValueError`` for an address that cannot be had, and what ``deploy.opened.load`` does.
    """
    if sys.platform != "linux":
        raise ValueError(f"videos of strangers are decoded under limits that Linux sets, and this is {sys.platform}")
    address, port = _free(host, port)  # said before the model is loaded, which takes seconds
    with contextlib.closing(Decoder()) as decoder:  # which gets ready meanwhile
        predictor = load(model)
        _require_names(predictor.classes)
        _warm_up(predictor)
        service = Service(predictor, _name(model), bounds, decoder, _explanation(predictor, model))
        return asyncio.run(_until_told(service, host, address, port, say))


def _free(host: str, port: int) -> tuple[str, int]:
    """The address of a host, and the port, or any free one for 0; raises ``ValueError`` where it cannot be had."""
    if not 0 <= port < 2**16:
        raise ValueError(f"--port is {port}: it is 0 (any that is free) to 65535")
    try:
        family, kind, _, _, place = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        with socket.socket(family, kind) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(place)
            return probe.getsockname()[:2]
    except (OSError, UnicodeError) as why:
        reason = getattr(why, "strerror", None) or str(why)
        raise ValueError(f"{host} port {port} cannot be had: {reason.lower()}; give another --host or --port") from why


def _require_names(classes: tuple[str, ...]) -> None:
    for name in classes:
        try:
            name.encode()
        except UnicodeEncodeError as why:
            raise ValueError(f"the class {name!r} is no UTF-8, as answers are: train with another name") from why


def _warm_up(model: Described) -> None:
    """Have the model do once what it does the first time.

    Raises ``ValueError`` where it gives no numbers, or not one for each class.
    """
    frames, crop = model.preprocessing.sampling.frames, model.preprocessing.crop
    logits = checked_logits(model.logits(np.zeros((1, 3, frames, crop, crop), np.float32)), 1)
    checked(model.scoring.scores(logits), model.classes)


def _name(model: Path) -> str:
    path = model.resolve()
    own, dash, kind = path.stem.partition("-")  # export names a file model.onnx, or model-int8.onnx
    exported = f"{path.parent.name}{dash}{kind}" if own == "model" and path.parent.name else path.stem
    name = exported if path.suffix in EXPORTED else path.parent.name if path.is_file() else path.name
    return name.encode("utf-8", "replace").decode()


def _explanation(predictor: Described, model: Path) -> Explain | None:
    if model.suffix in EXPORTED:
        return None
    from mvit.deploy.predictor import Predictor
    from mvit.explanation.heat import heat_of

    assert isinstance(predictor, Predictor)
    return heat_of(predictor)


async def _listening(address: str, port: int, serving: asyncio.Task) -> None:
    """Wait until connections are taken, which begins in a thread of Granian's; raises what it failed with."""
    while not serving.done():
        try:
            _, writer = await asyncio.open_connection(address, port)
        except OSError:
            await asyncio.sleep(0.02)
            continue
        writer.close()
        await writer.wait_closed()
        return
    serving.result()


async def _until_told(service: Service, host: str, address: str, port: int, say: Say) -> int:
    app = application(service)
    server = Server(
        app,
        address,
        port,
        interface=Interfaces.ASGINL,
        http=HTTPModes.http1,
        http1_settings=HTTP1Settings(header_read_timeout=1000 * HEADER_SECONDS, max_buffer_size=HEADER_BYTES),
        websockets=False,
        backlog=CONNECTIONS,
        backpressure=CONNECTIONS,
        log_enabled=False,
    )
    told: asyncio.Queue[int] = asyncio.Queue()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, told.put_nowait, number)
    serving = loop.create_task(server.serve())
    await _listening(address, port, serving)
    shown = f"[{host}]" if ":" in host else host
    say(f"serving {service.name}: {counted(len(service.model.classes), 'class', 'classes')}, {service.model.protocol}")
    say(f"allowed: {service.bounds}")
    say(f"http://{shown}:{port}/ answers until Ctrl-C or SIGTERM")
    number = await told.get()
    service.stopping = True
    if number == signal.SIGTERM:
        asking = counted(service.queue, "request is", "requests are")
        say(f"asked to end: {asking} being finished, for {STOP_SECONDS:g} s at most")
        await _while(lambda: bool(app.asking) and told.empty(), STOP_SECONDS)  # a second signal ends it at once
    service.end()
    await _while(lambda: bool(app.asking), LAST_SECONDS)
    server.stop()
    await _while(lambda: not serving.done(), LAST_SECONDS)
    return number


async def _while(condition: Callable[[], bool], seconds: float) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            while condition():
                await asyncio.sleep(0.02)
