"""Files written whole or not at all, and what the system says against it told with the name of the file."""

import errno
import os
import re
import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A new file to write to, which takes the place of ``path`` once all is on the disk, and is gone after an error.

    It lies in the same folder, under a name that nothing there has. Raises ``OSError`` naming ``path``, also for what
    the system says through a library.
    """
    temporary = path.with_name(f".mvit-{secrets.token_hex(8)}.tmp")
    with blaming(path):
        try:
            temporary.open("xb").close()
            mode = temporary.stat().st_mode
            yield temporary
            temporary.chmod(mode)  # safetensors writes a file that its owner alone can read
            with temporary.open("rb") as file:
                os.fsync(file.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


def left_by_a_kill(path: Path) -> bool:
    """Whether a file is one that `replacing` had begun."""
    return path.name.startswith(".mvit-") and path.suffix == ".tmp"


def require_writable(path: Path) -> None:
    """Raise ``OSError`` naming a file that long work will end in, where none could be written; makes nothing."""

    def is_there(parent: Path) -> bool:
        try:
            parent.lstat()
        except (FileNotFoundError, NotADirectoryError):
            return False
        return True

    with blaming(path):
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        folder = next(parent for parent in path.absolute().parents if is_there(parent))
        if not folder.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
        for name in path.absolute().relative_to(folder).parts:
            is_there(folder / name)  # raises for names that are too long
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b".")  # an empty file has room on a full disk, too


@contextmanager
def folder_of(path: Path) -> Iterator[None]:
    """Have the folder of a file, made where it is not there; after an error what was made is gone, if nothing is in it.

    Raises ``OSError`` naming ``path``.
    """
    with blaming(path):
        missing = [parent for parent in path.parents if not parent.exists()]
        with suppress(FileExistsError):  # of what is no folder: what is written there says so
            path.parent.mkdir(parents=True, exist_ok=True)
    try:
        yield
    except BaseException:
        with suppress(OSError):
            for parent in missing:
                parent.rmdir()
        raise


def json_of(out: Path, name: str) -> Path:
    """The file that ``out`` says: itself where it is named *.json, and else the one of this name in that folder."""
    return out if out.suffix == ".json" else out / name


def write_text(path: Path, text: str) -> None:
    """Write a text file so that no reader ever sees half of it; file names that are no UTF-8 keep their bytes."""
    with folder_of(path), replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="surrogateescape", newline="")


@contextmanager
def blaming(path: Path) -> Iterator[None]:
    """Have errors of the system name ``path``: those of writing name no file, or one that nobody has asked for."""
    try:
        yield
    except Exception as error:
        said = _said_by_the_system(error)
        if said is None:
            raise
        raise OSError(*said, str(path)) from error


def _said_by_the_system(error: BaseException) -> tuple[int, str] | None:
    """Number and words of a system's error, which torch hides in a context and safetensors in a sentence."""
    if isinstance(error, OSError):
        return None if error.errno is None else (error.errno, error.strerror or os.strerror(error.errno))
    if isinstance(error, RuntimeError) and error.__context__ is not None:
        return _said_by_the_system(error.__context__)
    found = re.search(r"(?:\(os error |Os \{ code: )(\d+)", str(error))  # the second is safetensors 0.5's
    return (int(found[1]), os.strerror(int(found[1]))) if found else None
