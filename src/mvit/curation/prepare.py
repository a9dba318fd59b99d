"""A data set made small and quick to read, once: every video and image of a folder or a table, with its labels."""

import csv
import io
import os
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal

from mvit import files
from mvit.curation import tables as listed
from mvit.curation.journal import Journal
from mvit.curation.transcode import CRF, KEY_FRAME_EVERY, Made, Unverified, resize, transcode
from mvit.data.folders import read_folder
from mvit.data.members import is_folder, size_and_change
from mvit.data.numbered import is_picture
from mvit.data.opening import why
from mvit.data.processes import in_processes
from mvit.data.resources import available_cores
from mvit.data.samples import IMAGE_EXTENSIONS, VIDEO_EXTENSIONS, Found, counted, named
from mvit.data.video import UnreadableVideo

JOURNAL, BAD = ".mvit-prepared.jsonl", "bad.csv"
"""What was made of which file and with which settings; the sources that cannot be read or made."""
TABLES = (".csv", *listed.JSON_LINES)
FORMAT = 1
"""Raised when the same settings give other files."""


@dataclass(frozen=True)
class Settings:
    """How files are made; all that are in one folder are made alike. None: as the source has it."""

    short_side: int | None = 256
    fps: float | None = None
    codec: Literal["h264", "hevc"] = "h264"
    crf: int | None = None
    enlarge: bool = False
    key_frame_every: int = KEY_FRAME_EVERY

    def __post_init__(self) -> None:
        if self.codec not in CRF:
            raise ValueError(f"the codec {self.codec!r} is not offered: choose one of {', '.join(CRF)}")
        if self.short_side is not None and not 16 <= self.short_side <= 8192:
            raise ValueError(f"a short side of {self.short_side} pixels makes no sense: give 16 to 8192, such as 256")
        if self.fps is not None and not 0 < self.fps <= 1000:
            raise ValueError(f"{self.fps} frames a second make no sense: give more than 0, to 1000")
        if self.crf is not None and not 0 <= self.crf <= 51:
            raise ValueError(f"crf is {self.crf}: give 0 (the best) to 51 (the smallest files)")
        if self.key_frame_every < 1:
            raise ValueError(f"a key frame every {self.key_frame_every} frames makes no sense: give 1 or more")


@dataclass(frozen=True)
class Done:
    """A source as it was (size, time of its last change) and what was made of it, or why nothing was."""

    size_bytes: int
    mtime_ns: int
    to: str
    made: Made | None
    reason: str = ""


@dataclass
class Prepared:
    """What came of it: files made now, found made, and not made, each of these with its reason."""

    made: int = 0
    kept: int = 0
    bad: dict[Path, str] = field(default_factory=dict)
    bytes_before: int = 0
    bytes_after: int = 0
    tables: list[Path] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def prepare(
    data: Path,
    out: Path,
    settings: Settings | None = None,
    *,
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Prepared:
    """Make every video and image of a folder, or of a table, anew in another folder, on `workers` processes.

    Places below the folder stay as they are, and with them the labels; names end in .mp4 (images: .jpg or .png). The
    table (CSV, JSON Lines), or those beside the videos, are written anew with the new paths, without the rows of what
    could not be made; published lists become one list.csv (or .jsonl).
    What is there already of the same source (by size and time of its last change) stays; what is there of sources that
    this call has not stays too, and is noted. Of a video of pictures of which one cannot be made, none stays. Raises
    ValueError for settings other than those that the folder was made with, FileNotFoundError, OSError.
    """
    settings = settings or Settings()
    data, out = Path(os.path.abspath(data)), Path(os.path.abspath(out))
    root, sources, tables, others = _found(data, out)
    lists, trouble = _published(data)
    if not sources:
        raise ValueError(f"{data} holds no video and no image, by extension (.mp4, .avi, .mov, .mkv, .webm, .jpg ...)")
    journal = _journal(out, settings)
    names = _names(root, sources)
    result = Prepared(notes=[journal.trouble] if journal.trouble else [])
    if others and lists is None:
        first = named(path.relative_to(root) for path in others)
        result.notes.append(f"left, as no video, image or table with paths: {counted(len(others), 'file')}, {first}")
    result.notes += trouble

    todo: list[Path] = []
    for source in sources:
        before = journal.entries.get(names[source])
        if before is not None and before.made is not None and _is_done(source, out, before):
            result.kept += 1
        else:
            todo.append(source)
    _clear(out)
    work = partial(_make, out=out, settings=settings)
    items = [(source, names[source]) for source in todo]
    try:
        cores = min(available_cores() if workers is None else workers, len(todo))
        outcomes = in_processes(work, items, cores, most_at_once=1) if items else ()
        for number, ((source, _), outcome) in enumerate(outcomes, start=1):
            done = Done(0, 0, names[source], None, outcome) if isinstance(outcome, str) else outcome
            journal.put(names[source], done)
            result.made += done.made is not None
            if progress is not None:
                progress(result.kept + number, len(sources))
    finally:
        journal.close()

    outcome = {source: journal.entries[names[source]] for source in sources}
    result.bad = {source: done.reason for source, done in outcome.items() if done.made is None}
    removed = _remove_spoiled(root, tables, lists, out, names, result)
    for source, done in outcome.items():
        if done.made is not None and source not in removed:
            result.bytes_before += done.size_bytes
            result.bytes_after += done.made.size_bytes
    _note_left_over(journal, out, names, result)
    renamed = _renaming(names, root, out, result.bad)
    for table in tables:
        inside = table.relative_to(root) if table.is_relative_to(root) else Path(table.name)
        result.tables.append(out / inside)
        _note_lost(out / inside, listed.rewrite(table, out / inside, renamed), out, result)
    if lists is not None:
        result.notes += lists.notes
        table, lost = listed.write_published(lists, root, out, renamed)
        result.tables.append(table)
        _note_lost(table, lost, out, result)
    _list_bad(out / BAD, result.bad)
    return result


def _found(data: Path, out: Path) -> tuple[Path, list[Path], list[Path], list[Path]]:
    """The folder that places are counted from, the sources, the tables to write anew, and what is passed over."""
    if not data.exists():
        raise FileNotFoundError(
            f"{data} does not exist: give a folder of videos, a CSV (path,label or more columns), or JSON Lines"
        )
    if out == data or (data.is_dir() and out.is_relative_to(data)):
        raise ValueError(f"{out} is the data itself or lies in it: choose a folder outside of {data}")
    if is_folder(data):
        raise ValueError(f"{data} is a folder of shards: prepare the videos that it was made of, and shard them then")
    if data.is_dir():
        here = sorted(_walk(data))
        media = [path for path in here if path.suffix.lower() in VIDEO_EXTENSIONS | IMAGE_EXTENSIONS]
        tables = [path for path in here if path.suffix.lower() in TABLES and listed.names_files(path)]
        taken = {*media, *tables}
        others = [path for path in here if path not in taken]
        return data, media, tables, others
    if not listed.names_files(data):
        raise ValueError(
            f"{data} is no folder, no CSV whose first line names a column path, and no JSON Lines with such a key: "
            "of a data set with lists of its own, give the folder"
        )
    sources = [file for row in listed.rows(data) for file in _files(row.source)]
    missing = [source for source in sources if not source.is_file()]
    if missing:
        gone = counted(len(missing), "file that does", "files that do")
        raise ValueError(f"{data} names {gone} not exist, of {len(sources)}: first {missing[0]}")
    folder = data.parent
    if not all(source.is_relative_to(folder) for source in sources):
        folder = Path(os.path.commonpath([source.parent for source in sources]))
    return folder, list(dict.fromkeys(sources)), [data], []


def _files(source: Path) -> list[Path]:
    """A file that a table lists, or the pictures of a folder of frames that it lists."""
    if not source.is_dir():
        return [source]
    return [source / name for name in sorted(filter(is_picture, os.listdir(source)))] or [source]


def _walk(folder: Path) -> Iterator[Path]:
    """All files that are not hidden; links to folders are followed, but not to one that the way there leads through."""
    for here, folders, names in os.walk(folder, followlinks=True):
        folders[:] = [name for name in folders if name[0] != "." and not _leads_back(Path(here, name), folder)]
        yield from (Path(here, name) for name in names if not name.startswith("."))


def _leads_back(path: Path, folder: Path) -> bool:
    if not path.is_symlink():
        return False
    target = path.resolve()
    through = [place for place in path.parents if place.is_relative_to(folder)]
    return any(place.resolve().is_relative_to(target) for place in through)


def _journal(out: Path, settings: Settings) -> Journal[Done]:
    header = {"mvit_prepared": FORMAT, **asdict(settings)}
    if out.exists() and not out.is_dir():
        raise ValueError(f"{out} is a file: name a folder")
    journal = Journal(out / JOURNAL, header, _parse, _dump)
    if journal.found is not None and journal.found != header:
        changed = [
            f"{key}: {journal.found.get(key)} there, {header.get(key)} now"
            for key in {**journal.found, **header}
            if journal.found.get(key) != header.get(key)
        ]
        raise ValueError(f"{out} was made with other settings ({'; '.join(changed)}): choose another folder")
    if journal.found is None and not journal.path.exists() and out.exists() and any(out.iterdir()):
        raise ValueError(f"{out} holds files that were not made here: choose an empty or a new folder")
    return journal


def _names(root: Path, sources: list[Path]) -> dict[Path, str]:
    """Where each source goes, from the new folder on; those that only their extension tells apart keep it."""
    wanted = {source: _renamed(source.relative_to(root)) for source in sources}
    taken = Counter(str(path).casefold() for path in wanted.values())
    names = {}
    for source, path in wanted.items():
        if taken[str(path).casefold()] > 1 and path.suffix != source.suffix:
            path = path.with_name(source.name + path.suffix)
        names[source] = path.as_posix()
    twice = [name for name, count in Counter(names.values()).items() if count > 1]
    if twice:
        raise ValueError(
            f"several files of {root} would become {twice[0]}: rename them, so that more than that differs"
        )
    return names


def _renamed(place: Path) -> Path:
    suffix = place.suffix.lower()
    if suffix in VIDEO_EXTENSIONS:
        return place.with_suffix(".mp4")
    if suffix not in IMAGE_EXTENSIONS:  # a table may name any file; what ends in .png would be an image from then on
        return place.with_name(f"{place.name}.mp4")
    return place if suffix in (".jpg", ".jpeg", ".png") else place.with_suffix(".png")


def _clear(out: Path) -> None:
    """Remove what calls that were killed had begun to write."""
    for here, _, names in os.walk(out):
        for name in names:
            if files.left_by_a_kill(Path(here, name)):
                Path(here, name).unlink(missing_ok=True)


def _is_done(source: Path, out: Path, done: Done) -> bool:
    try:
        same = size_and_change(source) == (done.size_bytes, done.mtime_ns)
        return same and done.made is not None and (out / done.to).stat().st_size == done.made.size_bytes
    except OSError:
        return False


def _make(item: tuple[Path, str], out: Path, settings: Settings) -> Done:
    """Make one file; errors of the source are told, those of the new folder (full, not writable) are raised."""
    source, to = item
    done = _made(source, to, out, settings)
    if done.made is None:
        (out / to).unlink(missing_ok=True)  # made of the same source when it was another
    return done


def _made(source: Path, to: str, out: Path, settings: Settings) -> Done:
    try:
        size, changed = size_and_change(source)
    except OSError as error:
        return Done(0, 0, to, None, why(error))
    try:
        if source.suffix.lower() in IMAGE_EXTENSIONS:
            made = resize(source, out / to, short_side=settings.short_side, enlarge=settings.enlarge)
        else:
            made = transcode(source, out / to, **asdict(settings))
        reason = ""
    except (UnreadableVideo, Unverified) as error:
        made, reason = None, error.reason if isinstance(error, UnreadableVideo) else str(error)
    except FileNotFoundError:
        made, reason = None, "it is gone"
    return Done(size, changed, to, made, reason)


def _note_left_over(journal: Journal[Done], out: Path, names: dict[Path, str], result: Prepared) -> None:
    """Tell of what earlier calls made of sources that are not among these: another table's, or moved or removed since.

    Which of the two nothing says.
    """
    gone = journal.entries.keys() - set(names.values())
    if left := sorted(name for name in gone if journal.entries[name].made and (out / name).exists()):
        result.notes.append(
            f"{out} also holds {counted(len(left), 'file')} made by an earlier call of sources that are not among "
            f"these {len(names):,} ({named(left)}): if their sources were moved or removed, remove them too, or they "
            "are learned from"
        )


def _remove_spoiled(
    root: Path, tables: list[Path], lists: Found | None, out: Path, names: dict[Path, str], result: Prepared
) -> set[Path]:
    """Remove what was made of videos of pictures of which one is bad: without it they would be other videos."""
    beside_bad = {source.parent for source in result.bad if is_picture(source.name)}
    spoiled = beside_bad & _videos_of_pictures(root, tables, lists) if beside_bad else set()
    removed = {source for source in names if source.parent in spoiled and is_picture(source.name)} - result.bad.keys()
    for source in removed:
        (out / names[source]).unlink(missing_ok=True)
    if spoiled:
        videos = counted(len(spoiled), "video")
        result.notes.append(
            f"nothing is left of {videos} of pictures, as some of these could not be made "
            f"({named(sorted(path.relative_to(root) for path in spoiled))}); see {out / BAD}"
        )
    return removed


def _videos_of_pictures(root: Path, tables: list[Path], lists: Found | None) -> set[Path]:
    """The folders that are videos, as the tables or else the places say."""
    found = {row.source for table in tables for row in listed.rows(table)}
    for samples in lists.parts.values() if lists else ():
        found |= {sample.path for sample in samples}
    if not found:
        try:
            found = {sample.path for samples in read_folder(root).parts.values() for sample in samples}
        except ValueError:  # no data set, but a folder of many: which of its folders are videos nothing says
            return set()
    return {path for path in found if path.is_dir()}


def _renaming(names: dict[Path, str], root: Path, out: Path, bad: dict[Path, str]) -> listed.Renamed:
    """What became of a file, or of a folder of pictures: that is whole, or it is none."""
    spoiled = {source.parent for source in bad}
    folders = {source.parent for source in names if source.suffix.lower() in IMAGE_EXTENSIONS} - spoiled

    def renamed(source: Path) -> Path | None:
        if source in names:
            return None if source in bad else out / names[source]
        return out / source.relative_to(root) if source in folders else None

    return renamed


def _note_lost(table: Path, lost: list[Path], out: Path, result: Prepared) -> None:
    bad = {*result.bad, *(source.parent for source in result.bad)}
    unmade = sum(source in bad for source in lost)
    if unmade:
        result.notes.append(
            f"left out of {table}, as their files could not be made: {counted(unmade, 'row')}; see {out / BAD}"
        )
    if strange := len(lost) - unmade:
        result.notes.append(f"{table} is without {counted(strange, 'row')} of files that do not exist or lie elsewhere")


def _published(data: Path) -> tuple[Found | None, list[str]]:
    try:
        return listed.published(data), []
    except ValueError as error:
        return None, [f"published lists were left as they are: {error}"]


def _list_bad(table: Path, bad: dict[Path, str]) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["path", "reason"])
    writer.writerows(bad.items())
    if bad or table.exists():
        files.write_text(table, text.getvalue())


def _dump(done: Done) -> dict[str, Any]:
    return asdict(done)


def _parse(values: dict[str, Any]) -> Done:
    made = values.pop("made")
    return Done(**values, made=None if made is None else Made(**made))
