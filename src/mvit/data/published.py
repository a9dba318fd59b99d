"""The data sets that are known as they are published, each by a declaration, and how one is recognised."""

import re
from collections.abc import Iterator
from itertools import product
from pathlib import Path

from mvit.data.lists import Format, Names, read_lists
from mvit.data.samples import HELD_OUT, MEDIA_EXTENSIONS, Found, named

ANNOTATIONS = ("", "annotations", "labels", "lists")
PARTS: dict[str, str | None] = {
    "train": "train",
    "val": "val",
    "validate": "val",
    "validation": "val",
    "test": "test",
}

FORMATS = (
    # https://github.com/cvdfoundation/kinetics-dataset
    Format(
        title="Kinetics",
        lists=r".*\.csv",
        folders=ANNOTATIONS,
        rows="csv",
        columns=("label", "youtube_id", "time_start", "time_end", "split"),
        parts=PARTS,
        part="split",
        labels="label",
        videos=tuple(
            f"{part}{label}{{youtube_id}}_{{time_start:0>6}}_{{time_end:0>6}}.{extension}"
            for extension, part, label in product(
                ("mp4", "mkv", "webm"),
                ("{part_name}/", "{split}/", "", "videos/", "videos/{part_name}/", "videos_{part_name}/"),
                ("{label}/", "{label_folder}/", ""),
            )
        ),
        shrinks=True,
    ),
    # Goyal et al., The "something something" video database, ICCV 2017; version 2.
    Format(
        title="Something-Something v2",
        lists=r"(?:something-something-v2-)?(?P<part>train|validation|test)\.json",
        folders=ANNOTATIONS,
        rows="json",
        columns=("id", "template"),
        parts=PARTS,
        labels="template",
        brackets=True,
        names=Names(files=("labels.json", "something-something-v2-labels.json"), needed=True),
        videos=tuple(
            f"{folder}{{id}}.{extension}"
            for extension, folder in product(("webm", "mp4"), ("20bn-something-something-v2/", "videos/", ""))
        ),
        hint="Something-Something is usually seen in segments over the whole video: data.sampling=segments",
    ),
    # Sigurdsson et al., Hollywood in homes, ECCV 2016.
    Format(
        title="Charades",
        lists=r"Charades_v1_(?P<part>train|test)\.csv",
        folders=("", "Charades", "annotations"),
        rows="csv",
        columns=("id", "subject", "actions"),
        parts=PARTS,
        labels="actions",
        codes=r"(?P<code>c\d{3}) [\d.]+ [\d.]+",
        codes_whole=r"(?:c\d{3} [\d.]+ [\d.]+(?:;|$))*",
        names=Names(files=("Charades_v1_classes.txt",), entry=r"^(?P<code>c\d{3}) (?P<name>.*\S)", needed=True),
        group="{subject}",
        videos=tuple(f"{folder}{{id}}.mp4" for folder in ("Charades_v1_480/", "Charades_v1/", "videos/", "")),
        hint="a video of Charades has the classes of all its actions; the times of actions are not used",
    ),
    # Soomro et al., UCF101, 2012. A group is one source, of which clips must not be in train and in test.
    Format(
        title="UCF101",
        lists=r"(?P<part>train|test)list(?P<split>\d\d)\.txt",
        folders=("", "ucfTrainTestlist", "annotations"),
        rows=r"(?P<stem>(?P<label>[^/]+)/[^/]+)\.avi(?: \d+)?\s*",
        parts=PARTS,
        labels="label",
        names=Names(files=("classInd.txt",), entry=r"^\d+ (?P<code>(?P<name>\S+))"),
        group=r"(?P<group>[^/]+_g\d+)_c\d+\.[^./]+$",
        videos=tuple(
            f"{folder}{{stem}}.{extension}"
            for extension, folder in product(("avi", "mp4"), ("UCF-101/", "UCF101/", "videos/", ""))
        ),
    ),
    # Kuehne et al., HMDB: a large video database for human motion recognition, ICCV 2011.
    Format(
        title="HMDB51",
        lists=r"(?P<label>.+)_test_split(?P<split>[123])\.txt",
        folders=("", "testTrainMulti_7030_splits", "test_train_splits", "annotations"),
        rows=r"(?P<name>\S.*)\.avi (?P<part>[012])\s*",
        parts={"0": None, "1": "train", "2": "test"},
        labels="label",
        videos=tuple(
            f"{folder}{{label}}/{{name}}.{extension}"
            for extension, folder in product(("avi", "mp4"), ("hmdb51_org/", "hmdb51/", "videos/", ""))
        ),
    ),
    # Those of SlowFast, of ImageNet in many projects, and of others; last, as it asks for little.
    Format(
        title="lists of paths and class numbers",
        lists=r"(?:(?:.*[_.-])?(?P<part>train|validation|val|test)(?:[_.-].*)?|.*)\.(?:csv|txt|list)",
        folders=ANNOTATIONS,
        rows=r"(?P<path>\S.*?)[ ,\t](?P<label>0|[1-9]\d*)\s*",
        parts=PARTS | {"": "all"},
        labels="label",
        names=Names(files=("classes.txt", "labels.txt", "class_names.txt")),
        videos=tuple(f"{folder}{{path}}" for folder in ("", "{part_name}/", "videos/", "images/", "data/")),
    ),
)
PEEKED = 2**16  # characters at the beginning of a list that are looked at


def read_published(data: Path) -> Found | None:
    """The samples of a published data set from its folder or one of its lists; None where it is none that is known.

    A list stands for itself, or, where there are several splits, for its split. Raises ValueError in one sentence.
    """
    for form in FORMATS:
        chosen = _in_folder(form, data) if data.is_dir() else _by_file(form, data)
        if chosen:
            found = read_lists(form, *chosen)
            if data.is_file() and len(parts := [part for part, samples in found.parts.items() if samples]) == 1:
                found.parts = {"all": found.parts[parts[0]]}
            return found
    return None


def contradiction(lists: Found, folders: Found) -> Path | None:
    """A video that the folders of a data set give and its lists do not, or not with that class and part.

    None where there is none. Where the lists' classes are called otherwise, it is one that they leave out while they
    name others of the same folders.
    """
    said = {sample.path: (part, sample) for part, samples in lists.parts.items() for sample in samples}
    known = {_as_folder(label) for _, sample in said.values() for label in sample.labels}
    there = [(part, sample) for part, samples in folders.parts.items() for sample in samples]
    if not any(_as_folder(sample.label) in known for _, sample in there):
        # One folder that holds all videos, or one for each part, is no class.
        several = len({sample.label for _, sample in there} - {"train", *HELD_OUT}) > 1
        left_out = [sample.path for _, sample in there if sample.path not in said]
        return left_out[0] if several and 0 < len(left_out) < len(there) else None
    for part, sample in there:
        listed_part, listed = said.get(sample.path, ("", None))
        if listed is None or _as_folder(sample.label) not in map(_as_folder, listed.labels):
            return sample.path
        if part != "all" and (part == "train") != (listed_part == "train"):
            return sample.path
    return None


def _as_folder(label: str) -> str:
    return label.replace(" ", "_")


def _in_folder(form: Format, data: Path) -> tuple[list[Path], Path] | None:
    places = [(list(_lists(form, data / folder)), data / folder) for folder in form.folders]
    places = [(files, folder) for files, folder in places if any(_fits(form, file, unasked=True) for file in files)]
    if len(places) > 1:
        raise ValueError(f"{data} holds lists of {form.title} in {named(folder for _, folder in places)}: give one")
    if not places:
        return None
    files = places[0][0]
    splits = sorted({_field(form, file, "split") or "" for file in files})
    if len(splits) > 1:
        raise ValueError(
            f"{data} holds {form.title} in {len(splits)} splits ({named(splits)}): give a list of the one meant, "
            f"such as {files[0]}"
        )
    above = data.name in form.folders
    return files, data.parent if above else data


def _by_file(form: Format, file: Path) -> tuple[list[Path], Path] | None:
    if not re.fullmatch(form.lists, file.name) or not _fits(form, file):
        return None
    split = _field(form, file, "split")
    files = [file]
    if split is not None:
        files = [other for other in _lists(form, file.parent) if _field(form, other, "split") == split]
    return files, file.parent.parent if file.parent.name in form.folders else file.parent


def _lists(form: Format, folder: Path) -> Iterator[Path]:
    """The list files of a format in a folder; those whose part nothing says are none. JSON is taken by its name."""
    said_by_name = "?P<part>" in form.lists
    for file in sorted(folder.iterdir()) if folder.is_dir() else ():
        named_well = re.fullmatch(form.lists, file.name) and (not said_by_name or _field(form, file, "part"))
        if named_well and file.is_file() and (form.rows == "json" or _fits(form, file, unasked=True)):
            yield file


def _field(form: Format, file: Path, name: str) -> str | None:
    match = re.fullmatch(form.lists, file.name)
    return match.groupdict().get(name) if match else None


def _fits(form: Format, file: Path, *, unasked: bool = False) -> bool:
    """Whether a list file begins as those of this format do.

    One that is found `unasked` beside other files must look the part: have labels, and paths that are to be seen as
    such, which "epoch 1" is not.
    """
    with open(file, encoding="utf-8-sig", errors="replace") as text:
        if form.rows == "json":
            begins = text.read(PEEKED).lstrip()
            return begins.startswith("[") and all(
                f'"{name}"' in begins for name in form.columns if unasked or name != form.labels
            )
        first = next((line for line in iter(lambda: text.readline(PEEKED), "") if line.strip()), "")
    if form.rows == "csv":
        header = {name.strip().strip('"') for name in first.split(",")}
        return set(form.columns) - {form.labels} <= header
    match = re.fullmatch(form.rows, first.rstrip("\n"))
    if match is None or not unasked or "path" not in match.groupdict():
        return match is not None
    return "/" in match["path"] or Path(match["path"]).suffix.lower() in MEDIA_EXTENSIONS
