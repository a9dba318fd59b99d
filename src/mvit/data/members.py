"""A video inside a shard (a tar file): named by a path, opened as a window of the shard, listed by the shards' index.

Its path is SHARD.tar/OFFSET+BYTES/NAME, so that everything that names videos by paths names these too, and opening one
needs no look at the rest of the shard. Nothing is ever unpacked to disk.
"""

import errno
import hashlib
import io
import json
import os
import re
import stat
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

from mvit.data import numbered
from mvit.data.sampling import Part

INDEX = "shards.json"
UNFINISHED = "unfinished.json"  # until the index is written
BLOCK = tarfile.BLOCKSIZE
MAX_BYTES = 8 * 2**30 - 1  # of a video: what the header of a plain tar can say
MAX_INDEX_BYTES = 2**28  # of a list of videos: two million of them
SHARD = re.compile(r"([a-z]+)-\d{6}\.tar")
NAME = re.compile(r"[\w.-]{1,99}", re.ASCII)
_WHERE = re.compile(r"(\d{1,15})\+(\d{1,15})", re.ASCII)


@dataclass(frozen=True)
class Member:
    """Where in which shard a video lies, in bytes, and what it is called there."""

    shard: Path
    offset: int
    bytes: int
    name: str

    @property
    def path(self) -> Path:
        """The path that names it."""
        return self.shard / f"{self.offset}+{self.bytes}" / self.name


@dataclass(frozen=True)
class Entry:
    """A video as the index lists it: its number among those of its split, where it lies, and what the sample says."""

    number: int
    member: Member
    labels: tuple[str, ...]
    group: str | None
    part: Part | None


def is_folder(folder: Path) -> bool:
    """Whether shards are there, finished or not."""
    return any((folder / name).is_file() for name in (INDEX, UNFINISHED))


def located(path: Path) -> Member | None:
    """What a path names in a shard; None where it names no member of a file."""
    where = _WHERE.fullmatch(path.parent.name)
    shard = path.parent.parent
    if where is None or shard.suffix != ".tar" or not NAME.fullmatch(path.name) or not shard.is_file():
        return None
    return Member(shard, int(where[1]), int(where[2]), path.name)


def exists(path: Path) -> bool:
    """Whether there is such a file, or such a place in a shard."""
    member = located(path)
    return path.is_file() if member is None else member.offset + member.bytes <= member.shard.stat().st_size


def size_and_change(path: Path) -> tuple[int, int]:
    """Bytes of a file or a member, and when it, or the member's shard, was last changed, in nanoseconds.

    A folder of pictures is changed when one of them is, which shows in no time of its own: of it, the bytes of all
    pictures and a number that is another one then. Raises OSError where it is not there.
    """
    member = located(path)
    facts = (path if member is None else member.shard).stat()
    if stat.S_ISDIR(facts.st_mode):
        return _size_and_change_of_pictures(path)
    return facts.st_size if member is None else member.bytes, facts.st_mtime_ns


def _size_and_change_of_pictures(folder: Path) -> tuple[int, int]:
    size, digest = 0, hashlib.sha256()
    for name in sorted(filter(numbered.is_picture, os.listdir(folder))):
        try:
            facts = os.stat(folder / name)
        except OSError:  # a link to what is not there: the video says so when it is read
            digest.update(f"{name!r} ".encode())
            continue
        size += facts.st_size
        digest.update(f"{name!r} {facts.st_size} {facts.st_mtime_ns} ".encode())
    return size, int.from_bytes(digest.digest()[:7])


def opened(path: Path) -> BinaryIO | None:
    """A member of a shard as a file of its own; None for any other path. Raises OSError where it is not there."""
    member = located(path)
    if member is None:
        return None
    file = member.shard.open("rb", buffering=0)
    try:
        _check(file, member)
    except BaseException:
        file.close()
        raise
    return cast(BinaryIO, io.BufferedReader(_Window(file, member.offset, member.bytes), 2**16))


def _check(file: BinaryIO, member: Member) -> None:
    """The header before a member must name it: an index that is older than its shard would give any bytes."""
    changed = OSError(errno.EBADMSG, "its shard holds another file there: the shard is damaged or newer than its index")
    end = member.offset + member.bytes
    if member.offset < BLOCK or member.offset % BLOCK or end > os.fstat(file.fileno()).st_size:
        raise changed
    file.seek(member.offset - BLOCK)
    try:
        header = tarfile.TarInfo.frombuf(file.read(BLOCK), "utf-8", "surrogateescape")
    except tarfile.HeaderError as error:
        raise changed from error
    if not header.isreg() or (header.name, header.size) != (member.name, member.bytes):
        raise changed


class _Window(io.RawIOBase):
    """Part of a file, as if it were all of it."""

    def __init__(self, file: BinaryIO, start: int, size: int) -> None:
        super().__init__()
        self._file, self._start, self._size, self._place = file, start, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer)[: max(0, self._size - self._place)]
        self._file.seek(self._start + self._place)
        read = cast(io.RawIOBase, self._file).readinto(view) or 0
        self._place += read
        return read

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._place, io.SEEK_END: self._size}[whence]
        if base + offset < 0:
            raise OSError(errno.EINVAL, "cannot seek to before the start")
        self._place = base + offset
        return self._place

    def tell(self) -> int:
        return self._place

    def close(self) -> None:
        self._file.close()
        super().close()


def read_index(folder: Path) -> dict[str, list[Entry]]:
    """The videos of a folder of shards by part, each part in the order of its numbers.

    The folder may come from a stranger: nothing outside of it is named, and every member lies within its shard. Raises
    ValueError where the index is not one, or a shard is missing or of another size.
    """
    if not (folder / INDEX).is_file():
        raise ValueError(f"{folder} holds shards that are not all written: the same `mvit shard` goes on with them")
    index = _json(folder / INDEX)
    parts: dict[str, list[Entry]] = {}
    try:
        if index["version"] != 1:
            raise ValueError(f"{folder / INDEX} is of version {index['version']!r}, which this mvit does not know")
        for shard in index["shards"]:
            name, count, size = str(shard["file"]), shard["videos"], shard["bytes"]
            part = SHARD.fullmatch(name)
            if part is None:
                raise ValueError(f"{folder / INDEX} names the shard {name[:80]!r}: it must be such as train-000000.tar")
            tar = folder / name
            if not tar.is_file() or tar.stat().st_size != size:
                found = f"has {tar.stat().st_size} bytes" if tar.is_file() else "is not there"
                raise ValueError(f"{tar} {found}, but {INDEX} says {str(size)[:80]}: copy it again, whole")
            listed = _json(tar.with_suffix(".json"))["videos"]
            if len(listed) != count:
                raise ValueError(
                    f"{tar.with_suffix('.json')} lists {len(listed)} videos, but {INDEX} says {str(count)[:80]}: "
                    "copy both again"
                )
            parts.setdefault(part[1], []).extend(_entry(tar, size, values) for values in listed)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{folder / INDEX} or a list beside it is no index of shards ({error!r})") from error
    return {part: sorted(entries, key=lambda entry: entry.number) for part, entries in parts.items()}


def _entry(tar: Path, size: int, values: Any) -> Entry:
    if not isinstance(values, list) or len(values) < 6:
        raise ValueError(f"{tar.with_suffix('.json')} lists {str(values)[:80]}, which is no video")
    number, offset, bytes_, name, label, group, *rest = values
    labels = tuple(label) if isinstance(label, list) else (label,)
    times = rest[1:3]
    whole = all(type(value) is int and value >= 0 for value in (number, offset, bytes_))
    named = all(isinstance(value, str) for value in (name, *labels)) and isinstance(group, str | None)
    if not whole or not named or offset + bytes_ > size or not NAME.fullmatch(name) or name in (".", ".."):
        raise ValueError(f"{tar.with_suffix('.json')} lists {str(values)[:80]}, which is no video in {tar.name}")
    try:
        part = Part(*times) if times else None
    except (TypeError, ValueError) as error:
        raise ValueError(f"{tar.with_suffix('.json')} lists a part of {name} that is none: {error}") from error
    return Entry(number, Member(tar, offset, bytes_, name), labels, group, part)


def _json(path: Path) -> Any:
    if not path.is_file():
        raise ValueError(f"{path} is missing: copy the folder of shards again, with every file")
    if path.stat().st_size > MAX_INDEX_BYTES:
        raise ValueError(f"{path} has more than {MAX_INDEX_BYTES:,} bytes, and is no list that `mvit shard` wrote")
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is no JSON: copy it again, whole") from error
