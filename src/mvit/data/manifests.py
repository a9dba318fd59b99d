"""Tables of samples: CSV with a header, and JSON Lines with the same keys; they may be a stranger's."""

import csv
import io
import json
import os
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from sys import intern
from typing import Any

from mvit.data import members
from mvit.data.folders import Shelves
from mvit.data.samples import HEADER, HELD_OUT, JSON_LINES, Found, Sample, counted, named, printable
from mvit.data.sampling import Part

COLUMNS = ("path", "label", "group", "split", "start", "end", "missing")
Row = tuple[int, dict[str, Any]]  # the number of its line, and values by column


def is_manifest(header: Sequence[str]) -> bool:
    """Whether a first line names the columns of a manifest."""
    return {"path", "label"} <= {name.strip().lower() for name in header}


def read_manifest(table: Path, *, anywhere: bool = False) -> Found:
    """The samples of a CSV or JSON Lines file, paths relative to it; raises ValueError in one sentence.

    With `anywhere` no file need be there. Otherwise only those that the table itself says are missing need not.
    """
    notes: list[str] = []
    found = Found(defaultdict(list), notes)
    rows = _json_lines(table, notes) if table.suffix.lower() in JSON_LINES else _csv(table, notes)
    lines: dict[object, int] = {}
    absent: list[str] = []
    shelves, folder = Shelves(), str(table.parent)
    unsplit = 0
    for line, values in rows:
        where = f"{table}, line {line}"
        sample, part = _sample(values, folder, where)
        if part == "all":
            unsplit = line
        place = str(sample.path)
        key = place if sample.part is None else (place, sample.part)
        if lines.setdefault(key, line) != line:
            what = "this part of " if sample.part else ""
            raise ValueError(
                f"{table} lists {what}{printable(values['path'])} twice, in lines {lines[key]} and {line}: "
                "keep one of them"
            )
        found.parts[part].append(sample)
        # Asked for by itself where the file system takes other spellings of a name for the same (case, accents).
        if not anywhere and not (shelves.hold(place) or os.path.exists(place) or members.exists(sample.path)):
            if _is_missing(values.get("missing", ""), where):
                found.missing.add(sample.id)
            else:
                absent.append(place)
    if not lines:
        raise ValueError(f"{table} has a header but no video: a line for each video must follow")
    if unsplit and len(found.parts) > 1:
        raise ValueError(f"{table}, line {unsplit} has no split, but other lines have: give it train or val")
    if absent:
        files = counted(len(absent), "file that does", "files that do")
        raise ValueError(
            f"{table} names {files} not exist, of {len(lines):,} (paths are relative to the table): {named(absent)}"
        )
    found.parts = dict(found.parts)
    if not unsplit and not set(found.parts) & set(HELD_OUT):
        found.parts["val"] = []  # a split that holds nothing out is not made anew
    return found


def write_manifest(
    parts: Iterable[tuple[str, Iterable[Sample]]],
    missing: frozenset[Path],
    *,
    lines: bool,
    beside: Path | None = None,
) -> str:
    """The text of a manifest from samples by part; JSON Lines where `lines`, else CSV.

    Paths are absolute, or relative to the folder `beside`.
    Labels that are several need JSON Lines. Columns that would be empty (start, end, missing) are left out of a CSV.
    """
    rows = [(name, sample) for name, samples in parts for sample in samples]

    def place(path: Path) -> str:
        return os.path.abspath(path) if beside is None else Path(os.path.relpath(path, beside)).as_posix()

    text = io.StringIO()
    if lines:
        for name, sample in rows:
            label = sample.labels[0] if len(sample.labels) == 1 else list(sample.labels)
            part = (None, None) if sample.part is None else (sample.part.start, sample.part.end)
            values = (place(sample.path), label, sample.group, name, *part, sample.id in missing or None)
            record = {key: value for key, value in zip(COLUMNS, values, strict=True) if value is not None}
            text.write(json.dumps(record, ensure_ascii=False) + "\n")
        return text.getvalue()
    parted = any(sample.part is not None for _, sample in rows)
    header = [*COLUMNS[:4], *(COLUMNS[4:6] if parted else ()), *(COLUMNS[6:] if missing else ())]
    writer = csv.writer(text)
    writer.writerow(header)
    for name, sample in rows:
        row: list[Any] = [place(sample.path), sample.label, sample.group or "", name]
        if parted:
            start, end = str(sample.part).split(",") if sample.part else ("", "")
            row += [start, end]
        if missing:
            row.append("1" if sample.id in missing else "")
        writer.writerow(row)
    return text.getvalue()


# ---- rows ----------------------------------------------------------------------------------------------------------


def csv_rows(table: Path) -> Iterator[tuple[int, list[str]]]:
    """The rows of a CSV that are not empty, with their lines; raises ValueError where it is none in UTF-8."""
    try:
        with open(table, encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, strict=True, skipinitialspace=True)
            for row in reader:
                if row:
                    yield reader.line_num, row
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{table} cannot be read as a CSV in UTF-8: {error}") from error


def text_lines(table: Path) -> Iterator[tuple[int, str]]:
    """The lines of a text that are not blank, with their numbers; raises ValueError where it is not in UTF-8."""
    try:
        with open(table, encoding="utf-8-sig") as file:
            for number, line in enumerate(file, start=1):
                if line.strip():
                    yield number, line.rstrip("\n")
    except UnicodeDecodeError as error:
        raise ValueError(f"{table} cannot be read as text in UTF-8: {error}") from error


def parsed(text: str, where: str) -> Any:
    """A JSON text as Python's values; raises ValueError naming where it stands."""
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"{where} is no JSON: {error.msg.lower()} at character {error.pos + 1}") from error
    except (ValueError, RecursionError) as error:  # a number of thousands of digits
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else "a number is too long"
        raise ValueError(f"{where} is no JSON that can be read: {reason}") from error


def usable(text: str, what: str, where: str) -> str:
    """A text that can be the name of a file or a class; raises ValueError for NUL and halves of surrogate pairs."""
    if not text.isprintable() and ("\0" in text or any("\ud800" <= letter <= "\udfff" for letter in text)):
        raise ValueError(f"{where} has a {what} that no name can be: {printable(text)}")
    return text


def _csv(table: Path, notes: list[str]) -> Iterator[Row]:
    rows = csv_rows(table)
    first = next(rows, None)
    if first is None:
        raise ValueError(f"{table} is empty: its first line must be {HEADER}, then follows a line for each video")
    header = [name.strip().lower() for name in first[1]]
    if "path" in header and "label" not in header:
        raise ValueError(f"{table} has no column label: its first line must be {HEADER}, separated by commas")
    if not is_manifest(header) or len(set(header)) < len(header):
        said = printable(",".join(first[1]))
        raise ValueError(f"{table} has no header: its first line is {said}, but must be {HEADER}")
    _note_unused(table, header, notes)
    for line, row in rows:
        if len(row) != len(header):
            raise ValueError(f"{table}, line {line} has {len(row)} fields, but the header has {len(header)}")
        yield line, {name: text if name == "path" else text.strip() for name, text in zip(header, row, strict=True)}


def _json_lines(table: Path, notes: list[str]) -> Iterator[Row]:
    keys: dict[str, None] = {}
    for number, line in text_lines(table):
        where = f"{table}, line {number}"
        values = parsed(line, where)
        if not isinstance(values, dict):
            raise ValueError(f"{where} is no JSON object with a path and a label")
        for key in values:
            keys.setdefault(key)
        yield number, {key: value for key, value in values.items() if value is not None}
    if not keys:
        raise ValueError(f"{table} is empty: each line must be a JSON object with a path and a label")
    _note_unused(table, keys, notes)


def _note_unused(table: Path, header: Iterable[str], notes: list[str]) -> None:
    others = [name for name in header if name not in COLUMNS]
    if others:
        notes.append(f"{table.name}: columns not used: {named(others)}")


def _sample(values: dict[str, Any], folder: str, where: str) -> tuple[Sample, str]:
    path, group, part = _text(values, "path", where), _text(values, "group", where), _text(values, "split", where)
    if not path:
        raise ValueError(f"{where} has no path")
    part = part or "all"
    if part not in ("all", "train", *HELD_OUT):
        raise ValueError(f"{where} has split {printable(part)}, but must have train or val")
    if "labels" in values and "label" not in values:
        raise ValueError(f"{where} has labels, but the name is label, also for a list of several classes")
    place = Path(os.path.normpath(os.path.join(folder, usable(path, "path", where))))
    source = intern(usable(group, "group", where)) if group else None
    return Sample(place, _labels(values.get("label", ""), where), source, _part(values, where)), part


def _text(values: dict[str, Any], name: str, where: str) -> str:
    value = values.get(name, "")
    if not isinstance(value, str):
        raise ValueError(f"{where} has a {name} that is no text: {printable(str(value))}")
    return value


def _labels(label: Any, where: str) -> tuple[str, ...]:
    labels = label if isinstance(label, list) else [label]
    for name in labels:
        if not isinstance(name, str):
            raise ValueError(f"{where} has a label that is no text: {printable(str(name))}")
        if not name.strip():
            raise ValueError(f"{where} has no label")
    return tuple(dict.fromkeys(intern(usable(name.strip(), "label", where)) for name in labels))


def _is_missing(value: Any, where: str) -> bool:
    if value in ("", "0", "1", 0, 1):  # and so True and False
        return value in ("1", 1)
    raise ValueError(f"{where} has missing {printable(str(value))}, but must have 1 or nothing")


def _part(values: dict[str, Any], where: str) -> Part | None:
    start = _seconds(values["start"], "start", where) if "start" in values else None
    end = _seconds(values["end"], "end", where) if "end" in values else None
    if start is None and end is None:
        return None
    try:
        return Part(start or 0.0, end)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None


def _seconds(value: Any, name: str, where: str) -> float | None:
    if value == "":
        return None
    try:
        if isinstance(value, str | int | float) and not isinstance(value, bool):
            return float(value)
    except (ValueError, OverflowError):
        pass
    raise ValueError(f"{where} has {name} {printable(str(value))}, but seconds are due, such as 12.5")
