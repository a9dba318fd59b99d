"""What a server stands: attacks, more requests than it can answer, and ten minutes of everything; each a record.

    python benchmarks/serving.py attacks | load | soak [--count N] [--seconds S] [--seed N] [--out FILE]

A real server of a small model that has learned nothing, on a free port of this machine and nowhere else. `attacks`:
requests that mean harm one after the other, and `--count` videos changed by chance. `load`: half, once, twice and ten
times the requests that it can answer, `--seconds` each, the server on half of the cores and its clients on the others,
so that what they cost is not taken from it. `soak`: good and bad requests from several clients, for as
many seconds. All the while `/health` is asked ten times a second, and memory and open files are looked at.
"""

import argparse
import asyncio
import contextlib
import json
import os
import random
import re
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
RESULTS = HERE / "results"
sys.path.append(str(HERE.parent / "tests"))

import reader  # noqa: E402 (beside this program)
from watched import Watch  # noqa: E402 (beside this program)

from served import Served  # noqa: E402 (of the tests)

RATES = (0.5, 1.0, 2.0, 10.0)
LIMIT_SECONDS = 120.0
"""For one answer."""
QUIET_SECONDS = 10.0
CLIENTS = 4
ACCEPTED = re.compile(r"200|4\d\d|503|closed")
Answer = tuple[str, bytes]
"""A status, or "closed", and a body."""


async def ask(port: int, request: bytes, *, dribble: int = 0) -> Answer:
    """Send bytes, and so many more, one a second, and read until the server has answered or closed."""
    said = b""
    try:
        into, out = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return "not connected", b""
    reading = asyncio.ensure_future(into.read())
    async with asyncio.timeout(LIMIT_SECONDS):
        with contextlib.suppress(OSError):  # it closes while it is being told things
            for piece in (request, *(b"x" * dribble)):
                out.write(piece if isinstance(piece, bytes) else bytes([piece]))
                await out.drain()
                if dribble:
                    await asyncio.wait({reading}, timeout=1.0)
                    if reading.done():
                        break
        with contextlib.suppress(OSError):
            said = await reading
    out.close()
    with contextlib.suppress(OSError):
        await out.wait_closed()
    head, _, body = said.partition(b"\r\n\r\n")
    words = head.split(b" ", 2)
    return (words[1].decode(), body) if len(words) > 1 else ("closed", b"")


def post(path: str, body: bytes, *more: str) -> bytes:
    """A request with a body, after which the connection is closed."""
    lines = [f"POST {path} HTTP/1.1", "host: x", f"content-length: {len(body)}", "connection: close", *more]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


# ---- attacks -------------------------------------------------------------------------------------------------------


async def attacks(served: Served, folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Each attack with what it was answered, and what the changed videos were."""
    import hostile

    clip = good(folder)
    (folder / "hostile").mkdir()
    files = [path for path in hostile.attacks(folder / "hostile") if path.is_file() and not path.is_symlink()]
    with Watch(served) as watch:
        rows = await attacked(served.port, clip, files)
        rows["changed videos"] = await changed(served.port, folder, options.count, options.seed)
    works = (await ask(served.port, post("/predict", clip)))[0] == "200"
    bad = sorted(name for name, row in rows.items() if not all(map(ACCEPTED.fullmatch, row["answers"])))
    return {"accepted_all": not bad, "not_accepted": bad, "works_after": works} | watch.facts() | {"attacks": rows}


async def attacked(port: int, clip: bytes, files: list[Path]) -> dict[str, Any]:
    """Each attack by its name: how often which status came, and after how long the last."""
    rows: dict[str, Any] = {}

    async def row(name: str, *asked: Awaitable[Answer]) -> None:
        began = time.perf_counter()
        statuses = Counter(status for status, _ in await asyncio.gather(*asked))
        rows[name] = {"answers": dict(statuses), "seconds": round(time.perf_counter() - began, 2)}
        print(name, rows[name], file=sys.stderr)

    def say(request: bytes, times: int = 1, dribble: int = 0) -> list[Awaitable[Answer]]:
        return [ask(port, request, dribble=dribble) for _ in range(times)]

    head = b"POST /predict HTTP/1.1\r\nhost: x\r\n"
    chunk = b"100000\r\n" + b"x" * 2**20 + b"\r\n"
    await row("400 MB by length", *say(head + b"content-length: 400000000\r\n\r\n"))
    await row("400 MB in chunks", *say(head + b"transfer-encoding: chunked\r\n\r\n" + chunk * 400))
    await row("a length that lies", *say(head + b"content-length: 10\r\n\r\n" + b"x" * 1000))
    await row("two lengths", *say(head + b"content-length: 5\r\ncontent-length: 6\r\n\r\nhello!"))
    both = b"content-length: 4\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
    await row("a length and chunks", *say(head + both))
    await row("slow headers", *say(b"GET /health HTTP/1.1\r\nx: ", times=200, dribble=100))
    await row("slow bodies", *say(head + b"content-length: 100\r\n\r\n", times=50, dribble=100))
    await row("garbage", *say(random.Random(0).randbytes(10_000) + b"\r\n\r\n", times=20))
    await row("1 MB of header", *say(b"GET /health HTTP/1.1\r\nhost: x\r\nx: " + b"y" * 2**20 + b"\r\n\r\n"))
    await row("many headers", *say(b"GET /health HTTP/1.1\r\n" + b"a: b\r\n" * 1000 + b"\r\n"))
    paths = (
        "/../../etc/passwd",
        "/%2e%2e/%2e%2e/etc/passwd",
        "/page.js/../../app.py",
        "//etc/passwd",
        "/\\..\\x",
        "/%00",
    )
    for path in paths:
        await row(f"GET {path}", *say(f"GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n".encode()))
    for name in ("views", "top", "window", "stride", "target"):
        for address in ("/predict", "/segments", "/explain"):
            await row(f"{name}=../../etc/passwd to {address}", *say(post(f"{address}?{name}=../../etc/passwd", clip)))
    await row("a name", *say(post("/predict", clip, 'content-disposition: form-data; filename="../../etc/passwd"')))
    await row("another type", *say(post("/predict", clip, "content-type: application/json")))
    await row("a form", *say(post("/predict", clip, "content-type: multipart/form-data; boundary=x")))
    await row("another method", *say(b"DELETE /predict HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"))
    await row("a protocol that is none", *say(b"GET / HTTP/9.9\r\n\r\n"))
    await row("HTTP/2", *say(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"))
    await row("TLS", *say(bytes.fromhex("1603010200010001fc0303") + bytes(500)))
    await row("200 idle connections", *say(b"", times=200))
    for path in files:
        await row(path.name, *say(post("/predict", path.read_bytes())), *say(post("/segments", path.read_bytes())))
    return rows


async def changed(port: int, folder: Path, count: int, seed: int) -> dict[str, Any]:
    """Videos changed by chance, a few at a time, to every address that takes one."""
    draw = random.Random(seed)
    (folder / "sources").mkdir()
    contents = [path.read_bytes() for path in reader.write_sources(folder / "sources")]
    paths = ("/predict", "/segments?window=0.5&stride=0.5", "/explain")
    requests = [
        post(draw.choice(paths), reader.changed(draw.choice(contents), draw.choice(contents), draw))
        for _ in range(count)
    ]
    statuses: Counter[str] = Counter()
    not_json: list[int] = []

    async def client(numbers: list[int]) -> None:
        for number in numbers:
            status, body = await ask(port, requests[number])
            statuses[status] += 1
            if status != "closed" and not strict(body):
                not_json.append(number)

    began = time.perf_counter()
    await asyncio.gather(*(client(list(range(start, count, CLIENTS))) for start in range(CLIENTS)))
    seconds = round(time.perf_counter() - began, 1)
    return {"answers": dict(statuses), "videos": count, "not_json": not_json, "seconds": seconds}


def strict(body: bytes) -> bool:
    """Whether a body is JSON, or lines of it (in chunks), without what is no number."""

    def refuse(word: str) -> None:
        raise ValueError(word)

    lines = [line for line in body.splitlines() if line.startswith(b"{")]
    try:
        return bool(lines) and all(isinstance(json.loads(line, parse_constant=refuse), dict) for line in lines)
    except ValueError:
        return False


def good(folder: Path) -> bytes:
    """The bytes of a clip of two seconds."""
    import numpy as np

    from mvit.data import video

    noise = np.random.default_rng(0).integers(0, 255, (60, 12, 16, 3), dtype=np.uint8).repeat(10, 1).repeat(10, 2)
    video.write(folder / "good.mp4", noise)
    return (folder / "good.mp4").read_bytes()


# ---- load ----------------------------------------------------------------------------------------------------------


async def load(served: Served, folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Requests at several rates, whether earlier ones are answered or not; then how soon all is well again."""
    port, request = served.port, post("/predict", good(folder))
    alone = [await timed(port, request) for _ in range(10)]

    async def client(end: float) -> int:
        done = 0
        while time.perf_counter() < end:
            done += (await ask(port, request))[0] == "200"
        return done

    end = time.perf_counter() + options.seconds
    capacity = sum(await asyncio.gather(*(client(end) for _ in range(CLIENTS)))) / options.seconds
    rows = []
    for rate in RATES:
        with Watch(served) as watch:
            began, under_way, queue = time.perf_counter(), [], []
            for number in range(int(rate * capacity * options.seconds)):
                await asyncio.sleep(max(began + number / (rate * capacity) - time.perf_counter(), 0))
                under_way.append(asyncio.ensure_future(timed(port, request)))
                if number % 10 == 0:
                    queue.append(json.loads((await ask(port, HEALTH))[1])["queue"])
            sent = time.perf_counter() - began
            recovered = await recovery(port, request, 3 * statistics.median(seconds for _, seconds in alone))
            answers = await asyncio.gather(*under_way)
        accepted = sorted(seconds for status, seconds in answers if status == "200")
        rows.append(
            {
                "times_capacity": rate,
                "offered_a_second": round(len(answers) / sent, 2),
                "answered_a_second": round(len(accepted) / (sent + recovered), 2),
                "answers": dict(Counter(status for status, _ in answers)),
                "seconds_p50": round(statistics.median(accepted), 3),
                "seconds_p99": round(accepted[int(0.99 * (len(accepted) - 1))], 3),
                "queue_most": max(queue),
                "recovered_after_seconds": recovered,
            }
            | watch.facts()
        )
        print(rows[-1], file=sys.stderr)
    return {"capacity_a_second": round(capacity, 2), "alone_seconds": [round(s, 4) for _, s in alone], "rates": rows}


HEALTH = b"GET /health HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"


async def timed(port: int, request: bytes) -> tuple[str, float]:
    """A status and how long it took."""
    began = time.perf_counter()
    return (await ask(port, request))[0], time.perf_counter() - began


async def recovery(port: int, request: bytes, due_seconds: float) -> float:
    """Seconds from the last of too many requests until one is answered that came as fast as it should."""
    began = time.perf_counter()
    while True:
        status, seconds = await timed(port, request)
        if status == "200" and seconds <= due_seconds:
            return round(time.perf_counter() - began, 2)
        await asyncio.sleep(0.1)


# ---- soak ----------------------------------------------------------------------------------------------------------


async def soak(served: Served, folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Good and bad requests for a while; memory and open files of the first tenth beside those of the last."""
    port, clip = served.port, good(folder)
    (folder / "sources").mkdir()
    broken = reader.changed(next(iter(reader.write_sources(folder / "sources"))).read_bytes(), b"", random.Random(3))
    requests: list[bytes] = [
        *(
            post(path, clip)
            for path in ("/predict", "/segments?window=1&stride=0.5", "/explain", "/predict?views=10x3")
        ),
        *(post(path, broken) for path in ("/predict", "/segments")),
        post("/predict", b"garbage"),
        post("/predict?views=none", clip),
        b"GET /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n",
        b"POST /predict HTTP/1.1\r\nhost: x\r\ncontent-length: 200000000\r\n\r\n",
    ]
    statuses: Counter[str] = Counter()

    async def client(seed: int, end: float) -> None:
        draw = random.Random(seed)
        while time.perf_counter() < end:
            if draw.random() < 0.1:  # leaves without waiting for the answer
                with contextlib.suppress(OSError):
                    _, out = await asyncio.open_connection("127.0.0.1", port)
                    out.write(requests[0])
                    await asyncio.sleep(draw.random() / 10)
                    out.close()
                    await out.wait_closed()
                statuses["left"] += 1
            else:
                statuses[(await ask(port, draw.choice(requests)))[0]] += 1

    await asyncio.gather(*(client(seed, time.perf_counter() + 10) for seed in range(CLIENTS)))  # until all is loaded
    with Watch(served) as watch:
        end = time.perf_counter() + options.seconds
        await asyncio.gather(*(client(seed, end) for seed in range(CLIENTS)))
    return {"seconds": options.seconds, "answers": dict(statuses)} | watch.facts() | watch.tenths()


MEASURES: dict[str, Callable[[Served, Path, argparse.Namespace], Awaitable[dict[str, Any]]]] = {
    "attacks": attacks,
    "load": load,
    "soak": soak,
}


def cores(*, apart: bool) -> tuple[set[int], set[int]]:
    """The processor's cores that the clients run on, and the server's."""
    numbers = sorted(os.sched_getaffinity(0))
    half = len(numbers) // 2
    return (set(numbers[:half]), set(numbers[half:])) if apart and half else (set(numbers), set(numbers))


def main() -> None:
    """Measure one thing and write its record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=MEASURES)
    parser.add_argument("--count", type=int, default=2000, help="videos changed by chance")
    parser.add_argument("--seconds", type=float, default=None, help="20 of load at each rate, 600 of soak")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=None)
    options = parser.parse_args()
    options.seconds = options.seconds or {"attacks": 0.0, "load": 20.0, "soak": 600.0}[options.what]
    from exports import write_run
    from mvit import provenance

    record = {"command": " ".join(["python", "benchmarks/serving.py", *sys.argv[1:]])}
    record |= provenance.provenance("cpu", ["av", "numpy"]) | {"seed": options.seed}
    mine, its = cores(apart=options.what == "load")
    record |= {"cores_of_clients": sorted(mine), "cores_of_server": sorted(its)}
    with tempfile.TemporaryDirectory() as place:
        folder, temporary = Path(place) / "client", Path(place) / "server"
        folder.mkdir(), temporary.mkdir()
        os.environ["TMPDIR"] = str(temporary)  # of the server: what it leaves behind is seen
        run = write_run(Path(place) / "run")
        os.sched_setaffinity(0, its)
        with Served(run) as served:
            os.sched_setaffinity(0, mine)
            with Watch(served) as quiet:  # what this machine makes of it when nobody else asks
                time.sleep(QUIET_SECONDS)
            found = {"quiet": quiet.facts()}
            found |= asyncio.run(MEASURES[options.what](served, folder, options))
            found |= {"alive": served.process.poll() is None}
            code, said = served.end()
        found |= {
            "files_left": sorted(path.name for path in temporary.iterdir()),
            "exit_code": code,
            "said": said[-20:],
        }
    out = options.out or RESULTS / f"serving-{options.what}.json"
    provenance.write(record | found, out)
    print(json.dumps({name: value for name, value in found.items() if name != "attacks"}, indent=1))


if __name__ == "__main__":
    main()
