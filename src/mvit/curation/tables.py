"""Tables of a data set, written anew where its files were made anew: CSVs, JSON Lines, lists as they are published."""

import csv
import io
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from mvit import files
from mvit.data.manifests import parsed, text_lines, write_manifest
from mvit.data.published import read_published
from mvit.data.samples import HELD_OUT, JSON_LINES, Found, multi_label

Renamed = Callable[[Path], Path | None]
"""From a source to what was made of it, or None where nothing was."""


@dataclass(frozen=True)
class Row:
    """One row of a table: the file it names, and its text with another path in that one's place."""

    source: Path
    text: Callable[[str], str]


def names_files(table: Path) -> bool:
    """Whether a file is a CSV with a column path, or JSON Lines with such a key."""
    try:
        if table.suffix.lower() in JSON_LINES:
            values = next((parsed(line, "") for _, line in text_lines(table)), None)
            return isinstance(values, dict) and "path" in values
        with table.open(encoding="utf-8-sig", newline="") as file:
            return "path" in [name.strip().lower() for name in next(csv.reader(file), [])]
    except (ValueError, csv.Error):
        return False


def rows(table: Path) -> Iterator[Row]:
    """The rows of a table, paths relative to it; raises ValueError for what is none."""
    if table.suffix.lower() in JSON_LINES:
        for number, line in text_lines(table):
            values = parsed(line, f"{table}, line {number}")
            if not isinstance(values, dict) or not isinstance(values.get("path"), str):
                raise ValueError(f"{table}, line {number} is no JSON object with a path")
            yield Row(_source(table, values["path"]), lambda path, values=values: _line(values | {"path": path}))
        return
    with table.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file, strict=True, skipinitialspace=True)
        try:
            column = [name.strip().lower() for name in next(reader)].index("path")
            for row in reader:
                if len(row) > column:
                    yield Row(
                        _source(table, row[column]),
                        lambda path, row=row: _csv_line([*row[:column], path, *row[column + 1 :]]),
                    )
        except (csv.Error, UnicodeDecodeError) as error:
            raise ValueError(f"{table} cannot be read as a CSV in UTF-8: {error}") from error


def rewrite(table: Path, target: Path, renamed: Renamed) -> list[Path]:
    """Write a table anew, every column kept, paths from its new place on; gives the files whose rows are not in it."""
    lines, lost = [], []
    if table.suffix.lower() not in JSON_LINES:
        with table.open(encoding="utf-8-sig", newline="") as file:
            lines.append(_csv_line(next(csv.reader(file, skipinitialspace=True))))
    for row in rows(table):
        new = renamed(row.source)
        if new is None:
            lost.append(row.source)
        else:
            lines.append(row.text(Path(os.path.relpath(new, target.parent)).as_posix()))
    files.write_text(target, "".join(lines))
    return lost


def published(data: Path) -> Found | None:
    """What the published lists in a folder say, or None where it holds none; raises ValueError where they are wrong."""
    return read_published(data) if data.is_dir() else None


def write_published(found: Found, data: Path, out: Path, renamed: Renamed) -> tuple[Path, list[Path]]:
    """Write what published lists say as one manifest, list.csv or list.jsonl; gives the files that were not made.

    Those of train are left out; those that are held out stay listed as missing, to be counted as wrong.
    """
    parts, missing, lost = [], set(), []
    for name, samples in found.parts.items():
        kept = []
        for sample in samples:
            new = renamed(sample.path)
            if new is None:
                if sample.id not in found.missing:
                    lost.append(sample.path)
                if name not in HELD_OUT:
                    continue
                new = Path(os.path.normpath(out / os.path.relpath(sample.path, data)))
                missing.add(new)
            kept.append(replace(sample, path=new))
        parts.append((name, kept))
    lines = multi_label(sample for _, kept in parts for sample in kept)
    target = out / f"list.{'jsonl' if lines else 'csv'}"
    files.write_text(target, write_manifest(parts, frozenset(missing), lines=lines, beside=out))
    return target, lost


def _source(table: Path, path: str) -> Path:
    return Path(os.path.normpath(table.parent / path))


def _line(values: dict[str, object]) -> str:
    return json.dumps(values, ensure_ascii=False) + "\n"


def _csv_line(row: list[str]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(row)
    return text.getvalue()
