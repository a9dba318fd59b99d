"""The program that decodes, but what some bodies begin with makes it hang, crash, lie or take too much."""

import os
import signal
import sys
import time
from pathlib import Path

from mvit.serving import decoding
from mvit.serving.wire import ERROR, FACTS, VIEWS, Facts


def _odd(path, order):
    word = path.open("rb").read(500).split()
    kind = word[0] if word else b""
    if kind == b"HANG":
        time.sleep(1000)
    if kind == b"SLOW":
        time.sleep(float(word[1]))
    if kind == b"CRASH":
        os.kill(os.getpid(), signal.SIGSEGV)
    if kind == b"FAULT":
        raise RuntimeError("a fault of ours")
    if kind in LIES:
        yield from LIES[kind]
        return
    if kind == b"BEGUN":
        yield from LATER[:2]
        time.sleep(1000)
    yield from LATER if kind == b"LATER" else _real_messages(path, order)


_FACTS = Facts(1.0, (0.0,), (0.0, 0.0, 1.0, 1.0)).to_json()
_WINDOW = memoryview(bytes(4 * 3 * 3 * 4 * 32 * 32))  # of 3 views
LATER = [(FACTS, memoryview(_FACTS)), (VIEWS, _WINDOW), (ERROR, memoryview(b"its data are damaged\nfrom here on"))]
LIES = {
    b"LIE1": [(VIEWS, memoryview(b"1234"))],
    b"LIE2": [(FACTS, memoryview(b"{not json"))],
    b"LIE3": [(FACTS, memoryview(_FACTS.replace(b"1.0", b"NaN")))],
    b"LIE4": [(FACTS, memoryview(b" " * 2**20))],
    b"LIE5": [(FACTS, memoryview(_FACTS)), (VIEWS, memoryview(b"\xff" * 4))],
    b"LIE6": [(FACTS, memoryview(_FACTS)), (VIEWS, memoryview(b"\xff" * (3 * 4 * 3 * 4 * 32 * 32)))],  # no numbers
    b"LIE7": [(FACTS, memoryview(_FACTS))],
    b"LIE8": [(b"?", memoryview(b"")), (b"?", memoryview(b""))],
    b"LIE9": [(FACTS, memoryview(b"[" * 60_000))],
}
_real_messages, _Video = decoding._messages, decoding.Video


def _opened(path, **more):
    word = path.open("rb").read(500).split()
    if word[0] == b"MEMORY":
        return b"x" * 2**31
    if word[0] == b"WRITE":
        return Path(word[1].decode()).write_bytes(b"x")
    return _Video(path, **more)


decoding._messages, decoding.Video = _odd, _opened

if __name__ == "__main__":
    decoding.main(int(sys.argv[1]))
