"""Which videos there are, what each is called, and which are held out: folders and CSV files to samples."""

import csv
import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np

from mvit.data import members

VIDEO_EXTENSIONS = frozenset(
    f".{name}"
    for name in ("mp4", "m4v", "mov", "avi", "mkv", "webm", "mpg", "mpeg", "ts", "mts", "m2ts", "flv", "wmv", "asf")
) | {".ogv", ".3gp", ".3g2", ".gif"}
IMAGE_EXTENSIONS = frozenset((".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff"))
MEDIA_EXTENSIONS = VIDEO_EXTENSIONS | IMAGE_EXTENSIONS
HELD_OUT_FOLDERS = ("val", "validation", "test")  # the first that exists is val
HEADER = "path,label or path,label,group"
COLUMNS = ("path", "label", "group", "split")


@dataclass(frozen=True)
class Sample:
    """One video (or image) with its class name and, where known, the person or source it comes from."""

    path: Path
    label: str
    group: str | None = None


@dataclass(frozen=True)
class Listing:
    """A data set in two parts; `how` says how they came to be, `notes` what the user should know of them."""

    classes: tuple[str, ...]
    train: tuple[Sample, ...]
    val: tuple[Sample, ...]
    how: str
    notes: tuple[str, ...] = field(default=(), compare=False)


@dataclass
class _Found:
    """What stands in one folder or CSV: samples by part ("all" where it is not split), and what was left out."""

    parts: dict[str, list[Sample]]
    notes: list[str]


def find(data: Path, *, val: Path | None = None, val_fraction: float = 0.2, seed: int = 0) -> Listing:
    """Find the training and held-out samples of a folder of classes, a folder with train/ and val/, or a CSV.

    `val` names a second folder or CSV. Where nothing is held out, `val_fraction` of the samples is, by `split`.
    Paths are absolute, classes sorted. Raises ValueError or FileNotFoundError in one sentence.
    """
    data = Path(data)
    found = _look(data)
    notes = found.notes
    train = found.parts.get("train", found.parts.get("all", []))
    held_out = next((name for name in HELD_OUT_FOLDERS if name in found.parts), None)
    if not train:
        raise ValueError(f"{data} has {held_out} but no train: there is nothing to learn from")
    if val is not None:
        if held_out:
            raise ValueError(f"{data} holds its own {held_out}, and {val} was given as val too: leave one of them out")
        other = _look(Path(val))
        notes += other.notes
        kept, tested = train, _evaluated(other)
        how = f"train is {data}, val is {val}"
    elif held_out:
        kept, tested = train, found.parts[held_out]
        how = f"train and {held_out} as they stand in {data}"
        unused = [name for name in HELD_OUT_FOLDERS if name in found.parts and name != held_out]
        notes += [f"{name} is not used in training: evaluate on it by its own path" for name in unused]
    else:
        kept, tested = split(train, val_fraction, seed)
        groups = {sample.group for sample in train if sample.group is not None}
        by = f"whole groups of {len(groups)}" if groups else "videos"
        how = f"{len(tested)} of {len(train)} held out by seed {seed}, about {val_fraction:.0%} of each class, {by}"
        if not groups:
            notes.append(
                "no groups are known, so parts of one recording may be on both sides of the split: "
                "a CSV with a group column keeps them together"
            )
    classes = tuple(sorted({sample.label for sample in kept}))
    _check_labels(tested, classes, "train")
    notes += _check_apart(kept, tested) + _remarks(classes, tested)
    return Listing(classes, tuple(kept), tuple(tested), how, tuple(notes))


def find_all(
    data: Path, classes: Sequence[str] | None = None, part: Literal["val", "all"] = "val"
) -> tuple[Sample, ...]:
    """Find the samples to evaluate on: the held-out part of `data`, or everything where nothing is held out.

    `part` "all" asks for everything in any case. Raises ValueError where a label is not among `classes`.
    """
    found = _look(Path(data))
    samples = _evaluated(found) if part == "val" else [sample for part in found.parts.values() for sample in part]
    if classes is not None:
        _check_labels(samples, classes, "the model")
    return tuple(samples)


def parts_of(data: Path) -> dict[str, tuple[Sample, ...]]:
    """The samples of a data set by part as they stand in it: "all" where it is not split, else "train", "val" ..."""
    return {part: tuple(samples) for part, samples in _look(Path(data)).parts.items() if samples}


def split(samples: Sequence[Sample], fraction: float, seed: int) -> tuple[tuple[Sample, ...], tuple[Sample, ...]]:
    """Hold out about `fraction` of every class, whole groups together, and never the last sample of a class.

    A sample without a group is a group of its own. Groups are taken in an order drawn from `seed`, each if it brings
    the held-out counts nearer to their targets (squared distance over target, so that rare classes weigh the same).
    """
    if not 0 < fraction < 1:
        raise ValueError(f"the share of videos to hold out is {fraction}, but must lie between 0 and 1")
    groups: dict[object, list[int]] = defaultdict(list)
    for index, sample in enumerate(samples):
        groups[index if sample.group is None else sample.group].append(index)
    total = Counter(sample.label for sample in samples)
    target = {label: max(1.0, fraction * count) for label, count in total.items()}
    members = list(groups.values())
    counts = [Counter(samples[index].label for index in group) for group in members]
    order = np.random.default_rng(seed).permutation(len(members)).tolist()
    held: Counter[str] = Counter()
    taken: set[int] = set()

    def gain(group: int) -> float:
        if any(held[label] + count >= total[label] for label, count in counts[group].items()):
            return -np.inf
        return sum(
            ((held[label] - target[label]) ** 2 - (held[label] + count - target[label]) ** 2) / target[label]
            for label, count in counts[group].items()
        )

    for group in order:
        if gain(group) > 0:
            held += counts[group]
            taken.add(group)
    for label in sorted(total):  # groups larger than the target: rather too many held out than none
        able = [group for group in order if label in counts[group] and gain(group) > -np.inf]
        if not held[label] and able:
            group = max(able, key=gain)
            held += counts[group]
            taken.add(group)
    held_out = {index for group in taken for index in members[group]}
    kept = tuple(sample for index, sample in enumerate(samples) if index not in held_out)
    return kept, tuple(sample for index, sample in enumerate(samples) if index in held_out)


def write_split(path: Path, listing: Listing) -> None:
    """Write a listing as a CSV with the columns path (absolute), label, group and split."""
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for part, samples in (("train", listing.train), ("val", listing.val)):
            for sample in samples:
                writer.writerow([os.path.abspath(sample.path), sample.label, sample.group or "", part])


def read_split(path: Path) -> Listing:
    """Read what `write_split` wrote; files that are gone since raise a ValueError."""
    return find(path)


def _look(data: Path) -> _Found:
    if not data.exists():
        raise FileNotFoundError(
            f"{data} does not exist: give a folder with a folder for each class, or a CSV ({HEADER})"
        )
    path = Path(os.path.abspath(data))
    if members.is_folder(path):
        return _read_shards(path)
    if path.is_dir():
        return _read_folder(path)
    if path.suffix.lower() in MEDIA_EXTENSIONS:
        raise ValueError(
            f"{data} is a single file: give the folder that holds a folder for each class, or a CSV ({HEADER})"
        )
    return _read_csv(path)


def _read_shards(folder: Path) -> _Found:
    parts = {
        part: [Sample(entry.member.path, entry.label, entry.group) for entry in entries]
        for part, entries in members.read_index(folder).items()
    }
    if not any(parts.values()):
        raise ValueError(f"{folder / members.INDEX} lists no videos")
    if strange := set(parts) - {"all", "train", *HELD_OUT_FOLDERS}:
        raise ValueError(f"{folder / members.INDEX} has shards of {_names(sorted(strange))}: they must be train or val")
    return _Found(parts, [])


def _evaluated(found: _Found) -> list[Sample]:
    return next(found.parts[name] for name in (*HELD_OUT_FOLDERS, "all", "train") if found.parts.get(name))


def _read_folder(root: Path) -> _Found:
    # A folder "train" of class folders is a split; a folder "train" of videos is a class (car, bus, train).
    inside = {
        folder.name: _list(folder) for folder in _list(root).folders if folder.name in ("train", *HELD_OUT_FOLDERS)
    }
    splits = [name for name, here in inside.items() if any(_list(folder).media for folder in here.folders)]
    notes: list[str] = []
    if splits:
        parts = {name: _read_classes(root / name, notes) for name in splits}
        beside = [folder for folder in _list(root).folders if folder.name not in splits]
        notes += _left_out(beside, "folder", "beside " + " and ".join(splits))
    else:
        parts = {"all": _read_classes(root, notes)}
    if not any(parts.values()):
        raise ValueError(_why_nothing(root))
    return _Found(parts, notes)


def _read_classes(root: Path, notes: list[str]) -> list[Sample]:
    samples, empty, deeper, others = [], [], [], []
    here = _list(root)
    for folder in here.folders:
        inside = _list(folder)
        samples += [Sample(path, folder.name.strip()) for path in inside.media]
        others += inside.others
        deeper += [inner for inner in inside.folders if _list(inner).media]
        if not inside.media:
            empty.append(folder)
    notes += _left_out(empty, "folder", "that hold no video themselves")
    notes += _left_out(deeper, "folder", "inside class folders, where videos are not looked for")
    notes += _left_out(here.media, "video", "outside the class folders")
    notes += _left_out(others, "file", "that are hidden or have no extension of a video or an image")
    return samples


@dataclass
class _Folder:
    """What one folder holds, sorted; hidden folders are not in it."""

    folders: list[Path] = field(default_factory=list)
    media: list[Path] = field(default_factory=list)
    others: list[Path] = field(default_factory=list)


def _list(folder: Path) -> _Folder:
    found = _Folder()
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        path, hidden = Path(entry.path), entry.name.startswith(".")
        if any("\udc80" <= letter <= "\udcff" for letter in entry.name):  # how Python shows bytes that are no UTF-8
            raise ValueError(f"{folder} holds {entry.name!r}, a name that is not in UTF-8: rename it")
        if entry.is_dir():
            if not hidden:
                found.folders.append(path)
        elif path.suffix.lower() in MEDIA_EXTENSIONS and not hidden:
            found.media.append(path)
        else:
            found.others.append(path)
    return found


def _why_nothing(root: Path) -> str:
    here = _list(root)
    tables = [path.name for path in here.others if path.suffix.lower() == ".csv"]
    deeper = [folder for folder in here.folders if any(_list(inner).media for inner in _list(folder).folders)]
    if tables:
        return f"{root} has no class folders with videos, but {_names(tables)}: give the CSV (a second one by --val)"
    if deeper:
        return f"{root} has no class folders with videos, but {deeper[0]} has: give that folder"
    if here.media:
        return (
            f"{root} holds {len(here.media)} videos but no class folders: put each video into a folder named after its "
            f"class, or list them in a CSV ({HEADER})"
        )
    if here.folders:
        names = _names(folder.name for folder in here.folders)
        return (
            f"{root} holds {len(here.folders)} folders ({names}) without a video or an image in them, "
            "by extension (.mp4, .avi, .mov, .mkv, .webm, .jpg, .png ...)"
        )
    return f"{root} holds no videos: it must hold a folder for each class, with the videos of that class in it"


def _read_csv(table: Path) -> _Found:
    try:
        with open(table, encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, strict=True, skipinitialspace=True)
            rows = [(reader.line_num, row) for row in reader if row]
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{table} cannot be read as a CSV in UTF-8: {error}") from error
    if not rows:
        raise ValueError(f"{table} is empty: its first line must be {HEADER}, then follows a line for each video")
    header = [name.strip().lower() for name in rows[0][1]]
    if "path" not in header or "label" not in header or len(set(header)) < len(header):
        raise ValueError(
            f"{table} has no header: its first line is {','.join(rows[0][1])[:80]!r}, but must be {HEADER}"
        )
    if {"start", "end"} & set(header):
        raise ValueError(f"{table} names parts of videos (start, end), which cannot be read: cut the videos first")
    others = [name for name in header if name not in COLUMNS]
    notes = [f"{table.name}: columns not used: {_names(others)}"] if others else []
    parts: dict[str, list[Sample]] = defaultdict(list)
    lines: dict[Path, int] = {}
    for line, row in rows[1:]:
        if len(row) != len(header):
            raise ValueError(f"{table}, line {line} has {len(row)} fields, but the header has {len(header)}")
        values = {name: value if name == "path" else value.strip() for name, value in zip(header, row, strict=True)}
        if not values["path"] or not values["label"]:
            raise ValueError(f"{table}, line {line} has no {'label' if values['path'] else 'path'}")
        part = values.get("split", "all")
        if part not in ("all", "train", *HELD_OUT_FOLDERS):
            raise ValueError(f"{table}, line {line} has split {part!r}, but must have train or val")
        path = Path(os.path.normpath(table.parent / values["path"]))
        if path in lines:
            raise ValueError(
                f"{table} lists {values['path']} twice, in lines {lines[path]} and {line}: keep one of them"
            )
        lines[path] = line
        parts[part].append(Sample(path, values["label"], values.get("group") or None))
    if not parts:
        raise ValueError(f"{table} has a header but no video: a line for each video must follow")
    missing = [str(path) for path in lines if not members.exists(path)]
    if missing:
        raise ValueError(
            f"{table} names {len(missing)} files that do not exist, of {len(lines)} (paths are relative to the CSV): "
            f"{_names(missing)}"
        )
    if "split" in header and not set(parts) & set(HELD_OUT_FOLDERS):
        parts["val"] = []  # a split that holds nothing out is not made anew
    return _Found(dict(parts), notes)


def _check_labels(samples: Iterable[Sample], classes: Sequence[str], owner: str) -> None:
    known = set(classes)
    strange = {sample.label: sample.path for sample in samples if sample.label not in known}
    if strange:
        label, path = next(iter(strange.items()))
        raise ValueError(
            f"{path} is of class {label!r}, which {owner} lacks ({len(strange)} such: {_names(sorted(strange))}; "
            f"{owner} has {_names(classes)})"
        )


def _check_apart(train: Iterable[Sample], val: Iterable[Sample]) -> list[str]:
    train, val = list(train), list(val)
    both = sorted({sample.path for sample in train} & {sample.path for sample in val})
    if both:
        raise ValueError(
            f"{len(both)} videos are in train and in val ({_names(map(str, both))}): leave them out of one"
        )
    groups = {sample.group for sample in train} & {sample.group for sample in val} - {None}
    if groups:
        return [
            f"{len(groups)} groups are in train and in val ({_names(sorted(map(str, groups)))}): val is easier for that"
        ]
    return []


def _remarks(classes: Sequence[str], val: Sequence[Sample]) -> list[str]:
    absent = sorted(set(classes) - {sample.label for sample in val})
    remarks = []
    if len(classes) == 1:
        remarks.append(f"there is one class only ({classes[0]}): every answer will be that class, and right")
    if not val:
        remarks.append("no video is held out, so nothing can be said of how good the model is")
    elif absent:
        remarks.append(f"{len(absent)} classes have no video in val: {_names(absent)}")
    return remarks


def _left_out(paths: Sequence[Path], kind: str, where: str) -> list[str]:
    if not paths:
        return []
    names = _names(f"{path.parent.name}/{path.name}" for path in paths)
    return [f"left out: {len(paths)} {kind}{'s' if len(paths) > 1 else ''} {where}: {names}"]


def _names(names: Iterable[str], most: int = 5) -> str:
    names = list(names)
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
