"""A file of JSON lines that grows entry by entry, and holds them all whenever its writer is killed."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO, Generic, TypeVar

from mvit import files

Entry = TypeVar("Entry")


class Journal(Generic[Entry]):
    """Entries by name on disk: a header that says what they are, then a line for each; of one name the last holds.

    `entries` are those found, none where the header is not the one given or a line is damaged: `found` is then the
    header that stands there (None: none can be read), `trouble` a sentence about it, and the next `put` makes the file
    anew. A last line that a kill cut short is passed over. `parse` raises ValueError, TypeError or KeyError for what is
    no entry. Raises OSError naming the file.
    """

    def __init__(
        self,
        path: Path,
        header: Mapping[str, Any],
        parse: Callable[[dict[str, Any]], Entry],
        dump: Callable[[Entry], dict[str, Any]],
    ) -> None:
        self.path, self.header = path, dict(header)
        self._parse, self._dump = parse, dump
        self.entries: dict[str, Entry] = {}
        self.found: dict[str, Any] | None = None
        self.trouble = ""
        self._whole = False  # whether lines can be added to what is on the disk
        self._file: BinaryIO | None = None
        if path.exists():
            self._read()

    def put(self, name: str, entry: Entry) -> None:
        """Add an entry, or put it in the place of the one of that name; it is on the disk before this returns."""
        self.entries[name] = entry
        if self._file is None:
            if not self._whole:
                lines = [json.dumps(self.header), *(self._line(*item) for item in self.entries.items())]
                files.write_text(self.path, "".join(f"{line}\n" for line in lines))
                self._whole = True
                return
            with files.blaming(self.path):
                self._file = self.path.open("ab", buffering=0)
        with files.blaming(self.path):
            self._file.write(f"{self._line(name, entry)}\n".encode())

    def close(self) -> None:
        """Let go of the file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _line(self, name: str, entry: Entry) -> str:
        return json.dumps({"name": name, **self._dump(entry)})  # ASCII, whatever the names

    def _read(self) -> None:
        with files.blaming(self.path), self.path.open("rb") as file:
            number = 0
            try:
                for number, line in enumerate(file, start=1):
                    if not line.endswith(b"\n"):
                        return  # killed while it was written; what follows is written anew
                    values = json.loads(line)
                    if number > 1:
                        name = str(values.pop("name"))
                        self.entries[name] = self._parse(values)
                        continue
                    self.found = values if isinstance(values, dict) else None
                    if values != self.header:
                        self.trouble = f"{self.path} was made otherwise than it would be now: it is made anew"
                        return
            except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
                self.entries = {}
                self.trouble = f"{self.path} is damaged in line {number}: it is made anew"
                return
        self._whole = self.found is not None
