"""What was seen of the files of a data set, kept on disk: the next look at them is at those that have changed only."""

import base64
import hashlib
import os
import re
from collections.abc import Iterator, MutableMapping
from importlib.metadata import version
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import mvit
from mvit.curation.journal import Journal
from mvit.data.look import THUMBNAIL_BYTES, Look
from mvit.data.opening import why
from mvit.data.video import VideoFacts

FORMAT = 1
"""Raised when a look finds other things in the same file."""


def place(data: Path) -> Path:
    """Where the index of a data set belongs: `mvit/index` in XDG_CACHE_HOME or ~/.cache; data may be read-only."""
    cache = os.environ.get("XDG_CACHE_HOME", "")
    root = Path(cache) if Path(cache).is_absolute() else Path.home() / ".cache"
    whole = str(data.resolve())
    digest = hashlib.sha256(os.fsencode(whole)).hexdigest()[:16]
    name = re.sub(r"[^A-Za-z0-9-]+", "_", data.resolve().stem)[:40]
    return root / "mvit" / "index" / f"{name}-{digest}.jsonl"


class Index(MutableMapping[Path, Look]):
    """What was seen of files, by path, in one file; a context manager. `data.scan.scan` reads it and adds to it.

    It grows look by look, so a scan that is killed goes on where it was. `notes` says where it was damaged, made by
    another version or cannot be written: looks are then made again, now or the next time.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.notes = path, list[str]()
        made_by = {"mvit_index": FORMAT, "mvit": mvit.__version__, "PyAV": version("av")}  # their verdicts differ
        self._looks: dict[str, Look] = {}
        self._journal: Journal[Look] | None = None
        try:
            self._journal = Journal(path, made_by, _parse, _dump)
        except OSError as error:
            self._give_up(error)
            return
        self._looks = self._journal.entries
        if self._journal.trouble:
            self.notes.append(self._journal.trouble)

    def _give_up(self, error: OSError) -> None:
        self._journal = None
        self.notes.append(
            f"what was seen of the videos cannot be kept in {self.path} ({why(error)}), so "
            "the next start looks at all of them again: set XDG_CACHE_HOME to a folder that can be written"
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._journal is not None:
            self._journal.close()

    def __getitem__(self, path: Path) -> Look:
        return self._looks[str(path)]

    def __setitem__(self, path: Path, look: Look) -> None:
        self._looks[str(path)] = look
        try:
            if self._journal is not None:
                self._journal.put(str(path), look)
        except OSError as error:
            self._give_up(error)

    def __delitem__(self, path: Path) -> None:
        raise TypeError("what was seen is not forgotten: delete the file")

    def __iter__(self) -> Iterator[Path]:
        return map(Path, self._looks)

    def __len__(self) -> int:
        return len(self._looks)


_TYPES = {
    "size_bytes": int,
    "mtime_ns": int,
    "reason": str,
    "container": str,
    "codec": str,
    "rotation_degrees": int,
    "mirrored": bool,
    "short": str,
}
_FACTS = {"frames": int, "fps": float, "duration_seconds": float, "width": int, "height": int}


def _dump(look: Look) -> dict[str, Any]:
    values: dict[str, Any] = {name: getattr(look, name) for name in _TYPES}
    if look.facts is not None:
        values["facts"] = [getattr(look.facts, name) for name in _FACTS]
        values["thumbnail"] = base64.b64encode(look.thumbnail).decode()
    return values


def _parse(values: dict[str, Any]) -> Look:
    plain = {name: _checked(values[name], kind) for name, kind in _TYPES.items()}
    if "facts" not in values:
        return Look(**plain)
    numbers = [_checked(value, kind) for value, kind in zip(values["facts"], _FACTS.values(), strict=True)]
    thumbnail = base64.b64decode(values["thumbnail"], validate=True)
    if len(thumbnail) != THUMBNAIL_BYTES:
        raise ValueError(f"a thumbnail of {len(thumbnail)} bytes")
    return Look(**plain, facts=VideoFacts(*numbers), thumbnail=thumbnail)


def _checked(value: Any, kind: type) -> Any:
    if type(value) is not kind:
        raise TypeError(f"{value!r} is no {kind.__name__}")
    return value
