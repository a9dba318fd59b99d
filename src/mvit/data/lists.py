"""Lists of videos as data sets publish them: what a declaration says of a format, and files read by it to samples."""

import os
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from sys import intern
from typing import Any, Literal

from mvit.data.folders import Shelves
from mvit.data.manifests import csv_rows, parsed, text_lines, usable
from mvit.data.samples import HELD_OUT, Found, Sample, counted, named, printable

MOST_MISSING = 0.5  # of a data set that shrinks: beyond that, the videos are elsewhere


@dataclass(frozen=True, kw_only=True)
class Names:
    """The file with the names of classes, and what stands in it."""

    files: tuple[str, ...]
    """Names that it may have, beside the list or in the folder above."""
    entry: str | None = None
    """A pattern of its lines, with `code` and `name`; None: a name a line, whose code is its number from 0."""
    needed: bool = False


@dataclass(frozen=True, kw_only=True)
class Format:
    """How one data set is published; every text is a pattern or a template over the fields of a row."""

    title: str
    lists: str
    """A pattern of the names of list files; its groups are fields, `split` the one of several splits."""
    folders: tuple[str, ...] = ("",)
    """Where list files lie in the folder of the data set."""
    rows: Literal["csv", "json"] | str
    """CSV with a header, a JSON list of objects, or the pattern of a line."""
    columns: tuple[str, ...] = ()
    """The fields that a CSV or the objects of a JSON list must have; that of the labels is missing in some tests."""
    parts: dict[str, str | None]
    """From what the lists call a part to train, val and test; "all" where they do not say; None: not used."""
    part: str = "part"
    """The field that says the part."""
    labels: str
    """The field that says the class."""
    codes: str | None = None
    """For several classes: the pattern of one in that field, with `code`; `codes_whole` of all of it."""
    codes_whole: str = ""
    brackets: bool = False
    """Whether a label is a template with the places of its objects in brackets."""
    names: Names | None = None
    group: str | None = None
    """The pattern of a group's name in the path; or the name of a field in braces."""
    videos: tuple[str, ...]
    """Where a video may be, from the folder of the data set on; the first that exists."""
    shrinks: bool = False
    """Whether videos vanish from where they are published, so that hardly anybody has all."""
    hint: str | None = None


@dataclass
class _Reading:
    """The counts of one reading."""

    without_label: Counter[str] = field(default_factory=Counter)
    unused: int = 0
    listed: Counter[str] = field(default_factory=Counter)
    absent: dict[str, list[Sample]] = field(default_factory=dict)


def read_lists(form: Format, files: Sequence[Path], root: Path) -> Found:
    """The samples of a published data set from its list files, with videos under `root`; raises ValueError."""
    found, reading = Found({}, [f"read as {form.title} ({named((file.name for file in files), 3)})"]), _Reading()
    names = _names(form, files[0])
    if form.names and names is None:
        found.notes.append(
            f"classes are called by their numbers: {form.names.files[0]} beside the list would name them"
        )
    locate = _locator(form, root)
    seen: dict[Path, tuple[Path, int]] = {}
    for file in files:
        named_by_file = _match(form.lists, file.name)
        for line, row in _rows(form, file, reading):
            where = f"{file}, line {line}" if form.rows != "json" else f"{file}, entry {line}"
            values = named_by_file | row
            said = values.get(form.part, "")
            if said not in form.parts:
                raise ValueError(f"{where} is of part {printable(said)}, which {form.title} has not")
            part = form.parts[said]
            if part is None:
                reading.unused += 1
                continue
            sample, there = _sample(form, values, names, locate, part, where)
            if sample.path in seen:
                first, number = seen[sample.path]
                raise ValueError(f"{where} lists {sample.path} again, after {first.name}, {number}: keep one of them")
            seen[sample.path] = (file, line)
            reading.listed[part] += 1
            if not there:
                reading.absent.setdefault(part, []).append(sample)
            if there or part != "train":
                found.parts.setdefault(part, []).append(sample)
    _account(form, found, reading, root)
    found.parts = {part: found.parts[part] for part in ("all", "train", *HELD_OUT) if part in found.parts}
    if not set(found.parts) & set(HELD_OUT) and "all" not in found.parts:
        found.parts["val"] = []
    return found


def _sample(
    form: Format,
    values: dict[str, str],
    names: dict[str, str] | None,
    locate: Callable[[dict[str, str]], tuple[str, bool]],
    part: str,
    where: str,
) -> tuple[Sample, bool]:
    labels = _labels(form, values, names, where)
    fields = values | {"part_name": part, "label": labels[0] if len(labels) == 1 else ""}
    path, there = locate({key: usable(value, key, where) for key, value in fields.items()})
    group = None
    if form.group is not None:
        group = form.group.format_map(values) if form.group[0] == "{" else _match(form.group, path).get("group")
    return Sample(Path(path), labels, intern(group) if group else None), there


def _labels(form: Format, values: dict[str, str], names: dict[str, str] | None, where: str) -> tuple[str, ...]:
    text = values.get(form.labels, "").strip()
    if form.codes is not None:
        if not re.fullmatch(form.codes_whole, text):
            raise ValueError(f"{where} has {form.labels} {printable(text)}, which {form.title} does not write so")
        codes = [match["code"] for match in re.finditer(form.codes, text)]
    else:
        codes = [text.translate({ord("["): None, ord("]"): None}) if form.brackets else text]
    if names is None:
        return tuple(dict.fromkeys(map(intern, codes)))
    strange = [code for code in codes if code not in names]
    if strange:
        assert form.names is not None
        raise ValueError(
            f"{where} is of class {printable(strange[0])}, which is none of the {len(names)} of {form.names.files[0]}"
        )
    return tuple(dict.fromkeys(names[code] for code in codes))


def _locator(form: Format, root: Path) -> Callable[[dict[str, str]], tuple[str, bool]]:
    """Where the video of a row is, and whether it is there; where the last one was is looked at first."""
    shelves, base = Shelves(), f"{root}/"
    order = list(form.videos)

    def locate(values: dict[str, str]) -> tuple[str, bool]:
        fields = values | {"label_folder": values["label"].replace(" ", "_")}
        for place, template in enumerate(order):
            path = template.format_map(fields)
            path = os.path.normpath(path if os.path.isabs(path) else base + path)
            if shelves.hold(path):
                if place:
                    order.insert(0, order.pop(place))
                return path, True
        return os.path.normpath(os.path.join(base, form.videos[0].format_map(fields))), False

    return locate


def _account(form: Format, found: Found, reading: _Reading, root: Path) -> None:
    """Say what is missing and what was left out, or refuse it."""
    listed, absent = sum(reading.listed.values()), sum(map(len, reading.absent.values()))
    if not listed:
        raise ValueError(f"{found.notes[0]}, but {'no video in it has a label' if reading.without_label else 'empty'}")
    share = max((len(absent) / reading.listed[part] for part, absent in reading.absent.items()), default=0.0)
    if absent and (not form.shrinks or share > MOST_MISSING):
        first = next(iter(reading.absent.values()))[0]
        places = dict.fromkeys(f"{root}/{template.partition('{')[0]}".rstrip("/") for template in form.videos)
        raise ValueError(
            f"{absent:,} of {listed:,} listed videos of {form.title} are not there, such as {first.path.name}: they "
            f"are looked for in {named(places, 8)}; put them there, or a link to where they are"
        )
    if absent:
        counts = ", ".join(
            f"{len(gone):,} of {reading.listed[part]:,} in {part}" for part, gone in reading.absent.items()
        )
        examples = named((sample.path.name for gone in reading.absent.values() for sample in gone), 3)
        found.notes.append(f"{absent:,} of {listed:,} listed videos are not there ({counts}): {examples}")
        if any(part != "train" for part in reading.absent):
            found.notes.append(
                "those that are not of train stay listed as unreadable, and are wrong where these are counted as wrong"
            )
        found.missing |= {sample.id for part, gone in reading.absent.items() if part != "train" for sample in gone}
    for name, count in reading.without_label.items():
        found.notes.append(f"{name} has no labels: {counted(count, 'video is', 'videos are')} left out")
    if reading.unused:
        found.notes.append(f"{counted(reading.unused, 'video is', 'videos are')} in the list, but not in this split")
    if form.hint:
        found.notes.append(form.hint)


# ---- rows and names ------------------------------------------------------------------------------------------------


def _rows(form: Format, file: Path, reading: _Reading) -> Iterator[tuple[int, dict[str, str]]]:
    if form.rows == "csv":
        rows = csv_rows(file)
        first = next(rows, (0, []))[1]
        header = [name.strip() for name in first]
        if lacking := [name for name in form.columns if name not in header]:
            if lacking == [form.labels]:
                reading.without_label[file.name] = sum(1 for _ in rows)
                return
            raise ValueError(f"{file} has no column {named(lacking)}, as {form.title} has")
        for line, row in rows:
            if len(row) != len(header):
                raise ValueError(f"{file}, line {line} has {len(row)} fields, but the header has {len(header)}")
            yield line, {name: text for name, text in zip(header, row, strict=True) if name in form.columns}
    elif form.rows == "json":
        entries = parsed(_text(file), str(file))
        if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
            raise ValueError(f"{file} holds no list of objects, as {form.title} has")
        for number, entry in enumerate(entries, start=1):
            values = {key: str(entry[key]) for key in form.columns if isinstance(entry.get(key), str | int)}
            if lacking := [name for name in form.columns if name not in values]:
                if lacking == [form.labels]:
                    reading.without_label[file.name] += 1
                    continue
                raise ValueError(f"{file}, entry {number} has no {named(lacking)}, as {form.title} has")
            yield number, values
    else:
        pattern = re.compile(form.rows)
        for number, line in text_lines(file):
            match = pattern.fullmatch(line)
            if match is None:
                raise ValueError(f"{file}, line {number} is {printable(line)}, which {form.title} does not write so")
            yield number, {key: value for key, value in match.groupdict().items() if value is not None}


def _names(form: Format, beside: Path) -> dict[str, str] | None:
    """Names of classes by code, from the file that the format has for them; None where there is none."""
    if form.names is None:
        return None
    places = [folder / name for folder in (beside.parent, beside.parent.parent) for name in form.names.files]
    file = next((place for place in places if place.is_file()), None)
    if file is None:
        if form.names.needed:
            raise ValueError(
                f"{form.title} names its classes in {form.names.files[0]}, which is not beside {beside}: put it there"
            )
        return None
    if file.suffix == ".json":
        entries = parsed(_text(file), str(file))
        if not isinstance(entries, dict):
            raise ValueError(f"{file} holds no object with the names of classes")
        names = {usable(name, "class", str(file)): intern(name) for name in entries}
    elif form.names.entry is None:
        names = {str(index): intern(line.strip()) for index, (_, line) in enumerate(text_lines(file))}
    else:
        names = {}
        for number, line in text_lines(file):
            values = _match(form.names.entry, line.strip())
            if not values:
                raise ValueError(f"{file}, line {number} is {printable(line)}, but must be a code and a class")
            names[values["code"]] = intern(values["name"])
    if len(set(names.values())) < len(names):
        twice = Counter(names.values()).most_common(1)[0][0]
        raise ValueError(f"{file} names the class {printable(twice)} twice")
    return names


def _text(file: Path) -> str:
    return "\n".join(line for _, line in text_lines(file))


def _match(pattern: str, text: str) -> dict[str, Any]:
    match = re.search(pattern, text)
    return {key: value for key, value in match.groupdict().items() if value is not None} if match else {}
