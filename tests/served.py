"""A real server in a process of its own, and clients that behave well or badly."""

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

PROGRAM = """
import ctypes, signal, sys
ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # it ends with the tests, whatever ends them
sys.path.append({here!r})
signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background of a shell ignores it
{before}
from mvit.cli import main
sys.exit(main())
"""
GRACE_SECONDS = 1.0
IMPATIENT = f"from mvit.serving import uploads; uploads.BODY_GRACE_SECONDS = {GRACE_SECONDS}"
"""What makes a server wait no longer for a body."""
STARTS_WITHIN = 100.0  # seconds, on a machine that is busy


@dataclass
class Answer:
    """Status, headers in small letters, and body."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def lines(self) -> list[Any]:
        return [json.loads(line) for line in self.body.splitlines()]


class Served:
    """``mvit serve`` on a free port; ``before`` is Python that its process runs first."""

    def __init__(self, model: Path, *options: str, before: str = "") -> None:
        program = PROGRAM.format(here=str(Path(__file__).parent), before=before)
        command = [sys.executable, "-c", program, "serve", str(model), "--port", "0", *options]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        self.said: list[str] = []
        self._ready = threading.Event()
        self._listening = threading.Thread(target=self._listen, daemon=True)
        self._listening.start()
        self._ready.wait(STARTS_WITHIN)
        begun = [found for line in self.said if (found := re.search(r"http://\S+:(\d+)/ answers", line))]
        if not begun:
            self.end(signal.SIGKILL)
            raise AssertionError(f"the server did not start: {self.said}")
        self.port, self.began = int(begun[0][1]), len(self.said)

    def _listen(self) -> None:
        assert self.process.stderr is not None
        with self.process.stderr as lines:
            for line in lines:
                self.said.append(line.rstrip())
                if "/ answers until" in line:
                    self._ready.set()
        self._ready.set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end(signal.SIGKILL)

    def ask(self, method: str, path: str, body: Any = None, kind: str | None = "video/mp4", **headers: str) -> Answer:
        """One request, by a connection of its own."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=STARTS_WITHIN)
        try:
            sent = {name.replace("_", "-"): value for name, value in headers.items()}
            if body is not None and kind is not None:
                sent["content-type"] = kind
            connection.request(method, path, body, sent, encode_chunked=hasattr(body, "__next__"))
            answer = connection.getresponse()
            told = {name.lower(): value for name, value in answer.getheaders()}
            return Answer(answer.status, told, answer.read())
        finally:
            connection.close()

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=STARTS_WITHIN)

    def children(self, pid: int | None = None) -> list[int]:
        """The processes that a process has started: of the server, the program that starts decoders."""
        pid = pid or self.process.pid
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]

    def decoders(self) -> list[int]:
        """Those that decode."""
        return [one for program in self.children() for one in self.children(program)]

    def metric(self, name: str) -> float:
        found = re.search(rf"^{re.escape(name)} (\S+)$", self.ask("GET", "/metrics").body.decode(), re.MULTILINE)
        assert found, name
        return float(found[1])

    def end(self, number: int = signal.SIGTERM) -> tuple[int, list[str]]:
        """Its exit code, and what it said since it began to answer."""
        if self.process.poll() is None:
            os.kill(self.process.pid, number)
        code = self.process.wait(STARTS_WITHIN)
        self._listening.join(STARTS_WITHIN)
        return code, self.said[getattr(self, "began", 0) :]
