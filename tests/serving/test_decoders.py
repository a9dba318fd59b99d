"""Decoders that are killed, crash, hang, lie or take too much fail their own request, and no other."""

import contextlib
import http.client
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from odd_decoding import LIES
from served import STARTS_WITHIN, Answer, Served

ENDED = {"error": "the server ended before the answer was there: send it again later"}
ODD = "from mvit.serving import decoder; decoder.PROGRAM = 'odd_decoding'"


@pytest.fixture(scope="module")
def odd(library, run) -> Iterator[Served]:
    """A server whose decoders do odd things, and may take 5 seconds for it."""
    library("granian", "serve")
    with Served(run, "--max-seconds", "5s", "--queue", "3", before=ODD) as served:
        yield served


class Asking(threading.Thread):
    """A request that is under way."""

    def __init__(self, served: Served, path: str, body: bytes) -> None:
        super().__init__(daemon=True)
        self.served, self.path, self.body = served, path, body
        self.start()

    def run(self) -> None:
        with contextlib.suppress(OSError, http.client.HTTPException):  # the server may end
            self.found = self.served.ask("POST", self.path, self.body)

    def answer(self) -> Answer:
        self.join(STARTS_WITHIN)
        return self.found


def until(condition) -> None:
    for _ in range(1000):
        if condition():
            return
        time.sleep(0.02)
    raise AssertionError("it did not come to that")


def works(served: Served, clip: Path) -> bool:
    return served.ask("POST", "/predict", clip.read_bytes()).status == 200


def test_one_that_is_killed_fails_its_request_alone(odd, clip):
    asking = Asking(odd, "/predict", b"HANG")
    until(odd.decoders)
    assert works(odd, clip)
    (pid, *_) = odd.decoders()
    os.kill(pid, signal.SIGKILL)
    answer = asking.answer()
    assert (answer.status, answer.headers["retry-after"]) == (503, "2")
    assert answer.json == {"error": "the process that decoded it was ended from outside: send it again"}
    assert works(odd, clip)


def test_the_program_that_starts_them_is_replaced_when_it_is_killed_with_them(odd, clip):
    asking = Asking(odd, "/predict", b"HANG")
    until(odd.decoders)
    (program,) = odd.children()
    left = odd.decoders()
    before = odd.metric("mvit_decoders_replaced_total")
    os.kill(program, signal.SIGKILL)
    assert asking.answer().status == 503
    until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in left))
    assert works(odd, clip)
    assert odd.metric("mvit_decoders_replaced_total") == before + 1
    assert odd.children() != [program]


def test_one_that_hangs_is_ended(odd, clip):
    assert odd.ask("POST", "/predict", b"HANG").json == {"error": "decoding it takes longer than the 5 s allowed"}
    until(lambda: not odd.decoders())
    stopped = Asking(odd, "/predict", b"HANG")
    until(odd.decoders)
    os.kill(odd.decoders()[0], signal.SIGSTOP)
    assert stopped.answer().status == 422
    until(lambda: not odd.decoders())
    assert works(odd, clip)


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        (b"CRASH", 422, "decoding it crashed"),
        (b"MEMORY", 422, "it takes more memory than is allowed"),
        (b"FAULT", 500, "a fault of the server"),
        *((lie, 422, "something else than views") for lie in LIES if lie != b"LIE6"),
        (b"LIE6", 422, "scores of it are no numbers"),
    ],
)
def test_one_that_does_what_it_should_not_is_not_believed(body, status, words, odd, clip):
    answer = odd.ask("POST", "/predict", body)
    assert answer.status == status
    assert words in answer.json["error"]
    assert works(odd, clip)


def test_one_cannot_write_a_file(odd, tmp_path):
    path = tmp_path / "written"
    answer = odd.ask("POST", "/predict", b"WRITE " + bytes(path))
    assert answer.status == 422
    assert path.read_bytes() == b""


def test_what_breaks_off_ends_with_an_error_line(odd):
    answer = odd.ask("POST", "/segments?window=0.2&stride=0.2&top=1", b"LATER")
    assert answer.status == 200
    first, last = answer.lines
    assert (first["start"], first["end"], len(first["scores"])) == (0, 0.2, 1)
    why = "this cannot be read as a video or image: its data are damaged from here on"
    assert last == {"error": why, "status": 422}


def test_who_leaves_is_not_decoded_for_any_longer(odd, clip):
    decoded = 'mvit_seconds_count{stage="decoding"}'
    before = odd.metric(decoded)
    connection = odd.connect()
    connection.sendall(b"POST /predict HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\n\r\nHANG")
    until(odd.decoders)
    connection.close()
    until(lambda: not odd.decoders())
    until(lambda: odd.ask("GET", "/health").json["queue"] == 0)
    assert odd.metric('mvit_requests_total{path="/predict",status="400"}') == 1
    assert odd.metric(decoded) == before + 1, "what was decoded for it counts"


def test_a_full_queue_says_when_to_come_again_and_health_answers(odd, clip):
    waiting = [Asking(odd, "/predict", b"SLOW 2 ") for _ in range(3)]
    until(lambda: odd.ask("GET", "/health").json["queue"] == 3)
    refused = odd.ask("POST", "/predict", clip.read_bytes())
    assert (refused.status, refused.headers["retry-after"]) == (503, "2")
    assert refused.json == {"error": "all 3 places are taken: send it again later"}
    assert odd.ask("GET", "/health").json == {"status": "ok", "queue": 3, "capacity": 3}
    assert {each.answer().status for each in waiting} == {422}  # the slow are no videos
    assert works(odd, clip)


def test_what_is_begun_is_finished_before_the_end(library, run, clip):
    library("granian", "serve")
    with Served(run, before=ODD) as served:
        asking = Asking(served, "/segments", b"SLOW 2 ")
        until(served.decoders)
        os.kill(served.process.pid, signal.SIGTERM)
        until(lambda: served.ask("GET", "/health").status == 503)
        assert served.ask("GET", "/health").json["status"] == "stopping"
        assert served.ask("POST", "/predict", clip.read_bytes()).status == 503
        assert asking.answer().status == 422
        served.process.wait(STARTS_WITHIN)
        assert served.end() == (0, ["mvit: asked to end: 1 request is being finished, for 30 s at most"])


def test_ctrl_c_ends_it_at_once_and_tells_who_waits(library, run):
    library("granian", "serve")
    with Served(run, before=ODD) as served:
        waiting, begun = (
            Asking(served, "/predict", b"HANG"),
            Asking(served, "/segments?window=0.2&stride=0.2", b"BEGUN"),
        )
        with served.connect() as sending:
            sending.sendall(b"POST /explain HTTP/1.1\r\nhost: a\r\ncontent-length: 100\r\n\r\nslow")
            until(lambda: len(served.decoders()) == 2 and served.ask("GET", "/health").json["queue"] == 3)
            until(lambda: served.metric("mvit_clips_total"))
            processes = [*served.children(), *served.decoders()]
            assert served.end(signal.SIGINT) == (130, ["mvit: interrupted"])
            assert sending.recv(100).startswith(b"HTTP/1.1 503 ")
    answer = waiting.answer()
    assert (answer.status, answer.headers["retry-after"]) == (503, "2")
    assert answer.json == ENDED
    first, last = begun.answer().lines
    assert (first["end"], last) == (0.2, ENDED | {"status": 503})
    until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in processes))


def test_what_is_not_finished_in_time_is_refused_when_it_ends(library, run):
    library("granian", "serve")
    with Served(run, before=f"{ODD}; from mvit.serving import host; host.STOP_SECONDS = 0.2") as served:
        asking = Asking(served, "/predict", b"HANG")
        until(served.decoders)
        assert served.end()[0] == 0
        answer = asking.answer()
        assert (answer.status, answer.json) == (503, ENDED)
