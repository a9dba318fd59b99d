"""Watches a server from a process of its own, which nothing that attacks it holds up: health, memory and open files.

    python benchmarks/watched.py PORT PID

Asks for health ten times a second until its input ends, and then writes what it saw as JSON.
"""

import contextlib
import http.client
import json
import os
import select
import statistics
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

from served import Served

TIMEOUT_SECONDS = 60.0


class Watch:
    """A server watched while this is entered."""

    def __init__(self, served: Served) -> None:
        self._command = [sys.executable, __file__, str(served.port), str(served.process.pid)]

    def __enter__(self) -> "Watch":
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
        self._process = subprocess.Popen(
            self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )
        assert self._process.stdout is not None
        self._process.stdout.readline()  # it has begun
        return self

    def __exit__(self, *_: object) -> None:
        self.seen = json.loads(self._process.communicate()[0])

    def facts(self) -> dict[str, Any]:
        """What was seen; memory is that of all processes together."""
        times = sorted(self.seen["health"])
        return {
            "health_asked": len(times),
            "health_unwell": self.seen["unwell"],
            "health_milliseconds_p50": round(1e3 * statistics.median(times), 2),
            "health_milliseconds_p99": round(1e3 * times[int(0.99 * (len(times) - 1))], 2),
            "health_milliseconds_most": round(1e3 * times[-1], 2),
            "memory_bytes_most": max(self.seen["memory"]),
            "files_most": max(self.seen["files"]),
        }

    def tenths(self) -> dict[str, int]:
        """Memory and open files of the server itself, on average over the first and the last tenth of the time."""
        tenth = max(len(self.seen["own"]) // 10, 1)
        spans = {"first": slice(tenth), "last": slice(-tenth, None)}
        return {
            f"{what}_{name}_tenth": round(statistics.mean(self.seen[kind][span]))
            for what, kind in (("memory_bytes", "own"), ("files", "files"))
            for name, span in spans.items()
        }


def main(port: int, server: int) -> None:
    """Watch until the input ends."""
    seen: dict[str, list] = {"health": [], "memory": [], "own": [], "files": []}
    unwell: Counter[str] = Counter()
    print("begun", flush=True)
    while not select.select([sys.stdin], [], [], 0.1)[0]:
        began = time.perf_counter()
        try:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_SECONDS)
            connection.request("GET", "/health")
            status = connection.getresponse().status
            connection.close()
        except (OSError, http.client.HTTPException) as error:
            unwell[type(error).__name__] += 1
            continue
        seen["health"].append(time.perf_counter() - began)
        if status != 200:
            unwell[str(status)] += 1
        with contextlib.suppress(OSError):
            programs = children(server)
            every = [server, *programs, *(one for program in programs for one in children(program))]
            memory = [resident(pid) for pid in every]
            files = len(os.listdir(f"/proc/{server}/fd"))
            for name, value in (("memory", sum(memory)), ("own", memory[0]), ("files", files)):
                seen[name].append(value)
    print(json.dumps(seen | {"unwell": unwell}))


def children(pid: int) -> list[int]:
    """The processes that a process has started."""
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()]


def resident(pid: int) -> int:
    """Bytes of memory that a process has, 0 of one that is gone."""
    try:
        pages = Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1]
    except OSError:
        return 0
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
