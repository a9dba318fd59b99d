"""One process at a time in a folder or a file: a lock that the system takes from its holder when that process ends."""

import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from mvit import files

try:
    import fcntl
except ImportError:  # Windows has none, and nothing is locked there
    fcntl = None

LOCK = "lock"


@contextmanager
def locked(folder: Path, name: str = LOCK) -> Iterator[None]:
    """Hold a folder by a file in it; it is made for it if need be, and gone again if nothing else came into it.

    Raises ``ValueError`` that names the process which holds it.
    """
    path = folder / name
    if fcntl is None:
        yield
        return
    with files.blaming(path):
        made = not folder.exists()
        folder.mkdir(parents=True, exist_ok=True)
        handle = _taken(path)
    try:
        os.truncate(handle, 0)
        os.write(handle, json.dumps({"process": os.getpid(), "host": socket.gethostname()}).encode())
        yield
    finally:
        path.unlink(missing_ok=True)
        os.close(handle)
        if made and folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()


def lock(file: IO[bytes], path: Path) -> None:
    """Hold an open file until it is closed; raises ``ValueError`` where another process does."""
    if fcntl is None:
        return
    with files.blaming(path):
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ValueError(
                f"{path} is in use by another process: wait for it to end, or name another file with --out"
            ) from None


def _taken(path: Path) -> int:
    """A handle of the file, locked; one that its holder has just removed is no lock any more, and made again."""
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        assert fcntl is not None
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with suppress(FileNotFoundError):
                if os.path.samestat(path.stat(), os.fstat(handle)):
                    return handle
        except BlockingIOError:
            raise ValueError(
                f"{path.parent} is in use{_holder(handle)}: wait for it to end, or choose another folder with --out"
            ) from None
        os.close(handle)


def _holder(handle: int) -> str:
    try:
        known = json.loads(os.pread(handle, 1000, 0))
        return f" by process {known['process']} on {known['host']}"
    except (ValueError, KeyError, TypeError):  # it has the lock and has not yet said its name
        return ""
    finally:
        os.close(handle)
