"""Folders as data sets: a folder for each class, in it videos, images, or videos as folders of numbered images."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from mvit.data import numbered
from mvit.data.samples import HEADER, HELD_OUT, MEDIA_EXTENSIONS, Found, Sample, counted, named


@dataclass
class Folder:
    """The names of what one folder holds, sorted; hidden folders are not in it."""

    path: Path
    folders: list[str] = field(default_factory=list)
    media: list[str] = field(default_factory=list)
    others: list[str] = field(default_factory=list)

    def inner(self) -> Iterator["Folder"]:
        """The folders in it, each listed when its turn comes."""
        return (listed(self.path / name) for name in self.folders)

    def is_video(self) -> bool:
        """Whether it holds two or more pictures that `numbered` takes for a video, and nothing else."""
        if len(self.media) < 2 or self.folders or any(not name.startswith(".") for name in self.others):
            return False
        try:
            return len(numbered.in_order(self.media)) == len(self.media)
        except ValueError:
            return False


def listed(folder: Path) -> Folder:
    """List a folder; raises ValueError for names that are not in UTF-8."""
    found = Folder(folder)
    with os.scandir(folder) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            name, hidden = entry.name, entry.name.startswith(".")
            if any("\udc80" <= letter <= "\udcff" for letter in name):  # how Python shows bytes that are no UTF-8
                raise ValueError(f"{folder} holds {name!r}, a name that is not in UTF-8: rename it")
            if _is_folder(entry):
                if not hidden:
                    found.folders.append(name)
            else:
                (found.media if _extension(name) in MEDIA_EXTENSIONS and not hidden else found.others).append(name)
    return found


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads to itself
        return False


def _extension(name: str) -> str:
    return os.path.splitext(name)[1].lower()


class Shelves:
    """Whether files are there, for many at once: each folder is read once, instead of asking for each file."""

    def __init__(self) -> None:
        self._names = cache(self._list)

    def hold(self, path: str) -> bool:
        """Whether there is a file, or a folder (of frames), at a path."""
        folder, name = os.path.split(path)
        return name in self._names(folder)

    @staticmethod
    def _list(folder: str) -> frozenset[str]:
        try:
            with os.scandir(folder) as entries:
                return frozenset(
                    entry.name for entry in entries if not entry.is_symlink() or os.path.exists(entry.path)
                )
        except OSError:
            return frozenset()


def read_folder(root: Path) -> Found:
    """The samples of a folder of classes, or of one with train/ and val/; raises ValueError where there are none."""
    # A folder "train" of class folders is a split; a folder "train" of videos is a class (car, bus, train).
    here = listed(root)
    parts_there = [name for name in here.folders if name in ("train", *HELD_OUT)]
    splits = [name for name in parts_there if any(folder.media for folder in listed(root / name).inner())]
    if splits == ["train"] and all(folder.is_video() for folder in listed(root / "train").inner() if folder.media):
        beside = [name for name in here.folders if name != "train" and _holds_frame_folders(root / name)]
        if beside:
            raise ValueError(
                f"{root}/train may be a class of videos (folders of numbered images), as {named(beside)} is, or a part "
                "of the data: rename the class, or put the others under val/"
            )
    splits += [
        name
        for name in parts_there
        if name not in splits and any(_holds_frame_folders(folder.path) for folder in listed(root / name).inner())
    ]
    notes: list[str] = []
    if splits:
        parts = {name: _read_classes(root / name, notes) for name in parts_there if name in splits}
        beside = [root / name for name in here.folders if name not in splits]
        notes += _left_out(beside, "folder", "beside " + " and ".join(splits))
    else:
        parts = {"all": _read_classes(root, notes)}
        _require_classes(root, parts["all"])
    if not any(parts.values()):
        raise ValueError(_why_nothing(root))
    return Found(parts, notes)


def _read_classes(root: Path, notes: list[str]) -> list[Sample]:
    samples: list[Sample] = []
    videos: list[Path] = []
    empty, deeper, others = [], [], []
    here = listed(root)
    for folder in here.inner():
        # Beside videos or images of the class itself, a folder of images is something else: thumbnails, masks.
        frames = [] if folder.media else [inner.path for inner in folder.inner() if inner.is_video()]
        found = [folder.path / name for name in folder.media] or frames
        samples += [Sample(path, folder.path.name.strip()) for path in found]
        videos += frames
        others += [folder.path / name for name in folder.others]
        deeper += [inner.path for inner in folder.inner() if inner.media and not (frames and inner.is_video())]
        if not found:
            empty.append(folder.path)
    if videos:
        notes.append(
            f"{len(videos):,} folders of numbered images in {root.name} are read as videos: {_places(videos, 3)}"
        )
    notes += _left_out(empty, "folder", "that hold no video themselves")
    notes += _left_out(deeper, "folder", "inside class folders, where videos are not looked for")
    notes += _left_out([root / name for name in here.media], "video", "outside the class folders")
    notes += _left_out(others, "file", "that are hidden or have no extension of a video or an image")
    return samples


def _require_classes(root: Path, samples: Sequence[Sample]) -> None:
    """Refuse what is rather a folder too high: classes of images would each become a video of their folder's name."""
    videos = [sample for sample in samples if sample.path.parent.parent == root and sample.path.is_dir()]
    if not videos or len(videos) < len(samples):
        return
    names: dict[str, set[str]] = {}
    for sample in videos:
        names.setdefault(sample.label, set()).add(sample.path.name)
    first, *others = names.values()
    if not others:
        raise ValueError(_why_nothing(root))
    common = first.intersection(*others)
    if len(common) > 1 and not any(map(str.isdecimal, common)):
        raise ValueError(
            f"{root} holds {named(names)}, and each of them {named(sorted(common))}: if these are classes of images, "
            f"rename {named(names)} to train and val; if they are videos as folders of frames, give those of one class "
            "other names than those of another, or list them in a CSV"
        )


def _why_nothing(root: Path) -> str:
    here = listed(root)
    tables = [name for name in here.others if _extension(name) in (".csv", ".jsonl") and name[0] != "."]
    deeper = [folder.path for folder in here.inner() if any(inner.media for inner in folder.inner())]
    if tables:
        return f"{root} has no class folders with videos, but {named(tables)}: give the table (a second one by --val)"
    if deeper:
        return f"{root} has no class folders with videos, but {deeper[0]} has: give that folder"
    if here.media:
        return (
            f"{root} holds {counted(len(here.media), 'video')} but no class folders: put each video into a folder "
            f"named after its class, or list them in a CSV ({HEADER})"
        )
    if here.folders:
        return (
            f"{root} holds {len(here.folders)} folders ({named(here.folders)}) without a video or an image in them, "
            "by extension (.mp4, .avi, .mov, .mkv, .webm, .jpg, .png ...)"
        )
    return f"{root} holds no videos: it must hold a folder for each class, with the videos of that class in it"


def _holds_frame_folders(folder: Path) -> bool:
    return any(inner.is_video() for inner in listed(folder).inner())


def _left_out(paths: Sequence[Path], kind: str, where: str) -> list[str]:
    if not paths:
        return []
    return [f"left out: {len(paths)} {kind}{'s' if len(paths) > 1 else ''} {where}: {_places(paths)}"]


def _places(paths: Sequence[Path], most: int = 5) -> str:
    return named((f"{path.parent.name}/{path.name}" for path in paths), most)
