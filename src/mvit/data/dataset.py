"""A data set, whatever it is given as: what is learned from, and what is held out to judge by."""

import os
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Literal

from mvit.data import members
from mvit.data.folders import read_folder
from mvit.data.manifests import csv_rows, is_manifest, read_manifest, usable, write_manifest
from mvit.data.published import contradiction, read_published
from mvit.data.samples import (
    HEADER,
    HELD_OUT,
    JSON_LINES,
    MEDIA_EXTENSIONS,
    Found,
    Listing,
    Sample,
    counted,
    medium_of,
    multi_label,
    named,
)
from mvit.data.splits import split

__all__ = [
    "Listing",
    "Sample",
    "find",
    "find_all",
    "parts_of",
    "pool",
    "read_split",
    "split",
    "split_file",
    "split_table",
]

ASKED = f"a folder with a folder for each class, a CSV ({HEADER}), JSON Lines, or the lists of a published data set"


def find(data: Path, *, val: Path | None = None, val_fraction: float = 0.2, seed: int = 0) -> Listing:
    """Find the training and held-out samples of a folder, a manifest (CSV, JSON Lines) or a published data set.

    `val` names a second one. Where nothing is held out, `val_fraction` of the samples is, by `split`. Paths are
    absolute, classes sorted. Raises ValueError or FileNotFoundError in one sentence.
    """
    data = Path(data)
    found = _look(data)
    notes, missing = found.notes, found.missing
    train = found.parts.get("train", found.parts.get("all", []))
    held_out = next((name for name in HELD_OUT if name in found.parts), None)
    if not train:
        raise ValueError(f"{data} has {held_out} but no train: there is nothing to learn from")
    if val is not None:
        if held_out and found.parts[held_out]:
            raise ValueError(f"{data} holds its own {held_out}, and {val} was given as val too: leave one of them out")
        other = _look(Path(val))
        notes += other.notes
        missing |= other.missing
        kept, tested = train, _evaluated(other)
        if multi_label(train) != multi_label(tested):
            several, one = (("train", data), ("val", val))[:: 1 if multi_label(train) else -1]
            raise ValueError(
                f"{several[0]} ({several[1]}) has videos of several classes or of none, but {one[0]} ({one[1]}) gives "
                "each video one: list all classes of each video there, or both parts in one table with a column split"
            )
        how = f"train is {data}, val is {val}"
    elif held_out:
        kept, tested = train, found.parts[held_out]
        how = f"train and {held_out} as they stand in {data}"
        unused = [name for name in HELD_OUT if name in found.parts and name != held_out]
        notes += [f"{name} is not used in training: evaluate on it by its own path" for name in unused]
    else:
        kept, tested = split(train, val_fraction, seed)
        groups = {sample.group for sample in train if sample.group is not None}
        medium = medium_of(train)
        of = f"{len(train)} {medium}" + (f", whole groups of {len(groups)}," if groups else "")
        how = f"{len(tested)} of {of} held out by seed {seed}, about {val_fraction:.0%} of each class"
        if not tested:
            how = f"none of {len(train)} {medium} can be held out without emptying a class"
        elif not groups:
            notes.append(
                "no groups are known, so parts of one recording may be on both sides of the split: "
                "a CSV with a group column keeps them together"
            )
    if gone := sum(sample.id in missing for sample in kept) if missing else 0:
        kept = [sample for sample in kept if sample.id not in missing]
        notes.append(f"{gone:,} listed videos of train are known to be missing, and left out")
    classes = tuple(sorted({label for sample in kept for label in sample.labels}))
    if not classes:
        raise ValueError(f"{data} has no labels: there is nothing to learn")
    _check_labels(tested, classes, "train")
    notes += _check_apart(kept, tested) + _remarks(classes, tested, multi_label(kept))
    known = missing & {sample.id for sample in tested} if missing else frozenset()
    return Listing(classes, tuple(kept), tuple(tested), how, tuple(notes), frozenset(known))


def find_all(
    data: Path,
    classes: Sequence[str] | None = None,
    part: Literal["val", "all"] = "val",
    say: Callable[[str], None] = lambda note: None,
    several: bool | None = None,
) -> tuple[Sample, ...]:
    """Find the samples to evaluate on: the held-out part of `data`, or everything where nothing is held out.

    `part` "all" asks for everything in any case; `say` is told what was read and left out. Raises ValueError where a
    label is not among `classes`, and where `several` says otherwise than the data set whether its videos are of several
    classes at once.
    """
    found = _look(Path(data))
    for note in found.notes:
        say(note)
    samples = _evaluated(found) if part == "val" else [sample for part in found.parts.values() for sample in part]
    if classes is not None:
        _check_labels(samples, classes, "the model")
    if several is not None and several != multi_label(sample for part in found.parts.values() for sample in part):
        here, learned = ("one class each", "several classes or of none")[:: 1 if several else -1]
        raise ValueError(
            f"the videos of {data} are of {here}, but those that the model learned from of {learned}: "
            "evaluate it on videos listed as those were"
        )
    return tuple(samples)


def pool(data: Path) -> Listing:
    """All samples of a data set that are there, as one part to be split anew, with what is to be said of them."""
    found = _look(Path(data))
    samples = tuple(sample for part in found.parts.values() for sample in part if sample.id not in found.missing)
    parts = [name for name, part in found.parts.items() if part]
    how = f"{counted(len(samples), 'video')} of {data}"
    how += f", its {' and '.join(parts)} together" if len(parts) > 1 else ""
    classes = tuple(sorted({label for sample in samples for label in sample.labels}))
    return Listing(classes, samples, (), how, tuple(found.notes))


def split_table(listing: Listing) -> str:
    """A listing as a manifest of absolute paths with splits: CSV, or JSON Lines where a video has several labels."""
    parts = [("train", listing.train), ("val", listing.val)]
    return write_manifest(parts, listing.missing, lines=listing.multi_label)


def split_file(folder: Path, several: bool | None = None) -> Path:
    """Where a folder has the manifest of `split_table`; where it is to be, for `several` labels a video or one each."""
    lines = folder / "split.jsonl"
    return lines if several or (several is None and lines.is_file()) else lines.with_suffix(".csv")


def read_split(path: Path) -> Listing:
    """Read what `split_table` gave; files that are gone since raise a ValueError."""
    return find(path)


def parts_of(data: Path, say: Callable[[str], None] = lambda note: None) -> dict[str, tuple[Sample, ...]]:
    """The samples that are there by part as they stand: "all" where a data set is not split, else "train", "val" ...

    `say` is told what was read and left out.
    """
    found = _look(Path(data))
    for note in found.notes:
        say(note)
    if found.missing:
        say(f"{_are(len(found.missing))} known to be missing, left out, and counted in no figure")
    there = {part: tuple(s for s in samples if s.id not in found.missing) for part, samples in found.parts.items()}
    return {part: samples for part, samples in there.items() if samples}


def _look(data: Path) -> Found:
    if not data.exists():
        raise FileNotFoundError(f"{data} does not exist: give {ASKED}")
    path = Path(os.path.abspath(data))  # without "..", as manifests have their paths, or one video has two names
    if not (path.exists() and path.samefile(data)):  # "link/..": not the folder that the link lies in
        path = data.resolve()
    if members.is_folder(path):
        return _read_shards(path)
    if path.is_dir():
        return _read_folder(path)
    if path.suffix.lower() in MEDIA_EXTENSIONS:
        raise ValueError(f"{data} is a single file: give {ASKED}")
    if not path.is_file():
        raise ValueError(f"{data} is neither a file nor a folder: give {ASKED}")
    if path.suffix.lower() not in JSON_LINES:
        first = next(csv_rows(path), (0, [""]))[1] if path.suffix.lower() == ".csv" else []
        found = None if is_manifest(first) else read_published(path)
        if found is not None:
            return found
    return read_manifest(path)


def _read_shards(folder: Path) -> Found:
    where = str(folder / members.INDEX)
    parts = {
        part: [
            Sample(
                entry.member.path,
                tuple(usable(label, "label", where) for label in entry.labels),
                entry.group and usable(entry.group, "group", where),
                entry.part,
            )
            for entry in entries
        ]
        for part, entries in members.read_index(folder).items()
    }
    for samples in parts.values():
        twice = [path for path, count in Counter(sample.id for sample in samples).items() if count > 1]
        if twice:
            videos = counted(len(twice), "video")
            raise ValueError(f"{where} lists {videos} more than once ({named(twice, 1)}): copy it again")
    if not any(parts.values()):
        raise ValueError(f"{folder / members.INDEX} lists no videos")
    if strange := set(parts) - {"all", "train", *HELD_OUT}:
        raise ValueError(f"{folder / members.INDEX} has shards of {named(sorted(strange))}: they must be train or val")
    return Found(parts)


def _read_folder(path: Path) -> Found:
    try:
        published = read_published(path)
    except ValueError as error:
        if not _has_classes(path):
            raise
        raise ValueError(f"{error}. Or move the lists away, for the folders of classes in {path} to be read") from error
    if published is None:
        return read_folder(path)
    try:
        folders = read_folder(path)
    except ValueError:
        return published
    if differing := contradiction(published, folders):
        raise ValueError(
            f"{path} holds lists ({published.notes[0]}) and folders of classes that say another thing of "
            f"{named([differing])}: for the lists give one of them (another by --val), for the folders give those of "
            "train (those of val by --val) or move the lists"
        )
    return published


def _has_classes(path: Path) -> bool:
    try:
        return bool(read_folder(path).parts)
    except ValueError:
        return False


def _evaluated(found: Found) -> list[Sample]:
    return next(found.parts[name] for name in (*HELD_OUT, "all", "train") if found.parts.get(name))


def _check_labels(samples: Iterable[Sample], classes: Sequence[str], owner: str) -> None:
    known = set(classes)
    strange = {label: sample.path for sample in samples for label in sample.labels if label not in known}
    if strange:
        label, path = next(iter(strange.items()))
        raise ValueError(
            f"{named([path])} is of class {label!r}, which {owner} lacks ({len(strange)} such: "
            f"{named(sorted(strange))}; {owner} has {named(classes)})"
        )


def _check_apart(train: Iterable[Sample], val: Iterable[Sample]) -> list[str]:
    train, val = list(train), list(val)
    both = sorted({sample.id for sample in train} & {sample.id for sample in val})
    if both:
        raise ValueError(f"{_are(len(both))} in train and in val ({named(both)}): leave out of one what is in both")
    notes = []
    parted = any(sample.part for sample in (*train, *val))
    shared = sorted({sample.path for sample in train} & {sample.path for sample in val}) if parted else []
    if shared:
        notes.append(
            f"{_are(len(shared))} in train and in val, whole or in parts ({named(shared)}): val is easier for that"
        )
    groups = {sample.group for sample in train} & {sample.group for sample in val} - {None}
    if groups:
        are = counted(len(groups), "group is", "groups are")
        notes.append(f"{are} in train and in val ({named(sorted(map(str, groups)))}): val is easier for that")
    return notes


def _are(videos: int) -> str:
    return counted(videos, "video is", "videos are")


def _remarks(classes: Sequence[str], val: Sequence[Sample], several: bool) -> list[str]:
    absent = sorted(set(classes) - {label for sample in val for label in sample.labels})
    remarks = []
    if len(classes) == 1 and not several:
        remarks.append(f"there is one class only ({classes[0]}): every answer will be that class, and right")
    if not val:
        remarks.append("nothing is held out, so nothing can be said of how good the model is")
    elif absent:
        remarks.append(f"{counted(len(absent), 'class has', 'classes have')} no video in val: {named(absent)}")
    return remarks
