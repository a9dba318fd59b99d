"""What a data set consists of: samples, each with its classes, and listings of them in two parts."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from mvit.data.sampling import Part

VIDEO_EXTENSIONS = frozenset(
    f".{name}"
    for name in ("mp4", "m4v", "mov", "avi", "mkv", "webm", "mpg", "mpeg", "ts", "mts", "m2ts", "flv", "wmv", "asf")
) | {".ogv", ".3gp", ".3g2", ".gif"}
IMAGE_EXTENSIONS = frozenset((".jpg", ".jpeg", ".png", ".bmp", ".webp"))
MEDIA_EXTENSIONS = VIDEO_EXTENSIONS | IMAGE_EXTENSIONS
JSON_LINES = (".jsonl", ".ndjson")
HELD_OUT = ("val", "validation", "test")  # parts of a data set that are not learned from; the first that exists is val
Medium = Literal["images", "videos"]
HEADER = "path,label or path,label,group"
OF_A_PART = "#t="


@dataclass(frozen=True, slots=True, init=False)
class Sample:
    """One video or image, or a part of a video, with its class and, where known, the person or source it comes from.

    In a data set whose videos are of several classes at once, `labels` are any number of them.
    """

    path: Path
    labels: tuple[str, ...]
    group: str | None
    part: Part | None

    def __init__(
        self, path: Path, labels: str | tuple[str, ...], group: str | None = None, part: Part | None = None
    ) -> None:
        names = (labels,) if isinstance(labels, str) else labels
        for name, value in (("path", path), ("labels", names), ("group", group), ("part", part)):
            object.__setattr__(self, name, value)

    @property
    def label(self) -> str:
        """The one class; raises ValueError where there are several, or none."""
        if len(self.labels) != 1:
            raise ValueError(f"{self.id} is of {len(self.labels)} classes, where one is due")
        return self.labels[0]

    @property
    def drawn_with(self) -> str | None:
        """What tells samples that are not independent: the group or, without one, the video that this is a part of."""
        return self.group if self.group is not None or self.part is None else str(self.path)

    @property
    def id(self) -> Path:
        """What no other sample of a listing has: the path, of a part with its seconds (clip.mp4#t=2.5,10)."""
        return self.path if self.part is None else Path(f"{self.path}{OF_A_PART}{self.part}")


def path_and_part(sample_id: str) -> tuple[Path, Part | None]:
    """What a ``Sample.id`` was made from; raises ValueError for seconds that are no numbers or no part."""
    path, joint, seconds = sample_id.rpartition(OF_A_PART)
    start, comma, end = seconds.partition(",")
    if not joint or not comma:
        return Path(sample_id), None
    try:
        part = Part(float(start), float(end) if end else None)
    except ValueError as error:
        raise ValueError(f"{sample_id} names no part of a video: give seconds, as in clip.mp4#t=2.5,10") from error
    return Path(path), part


@dataclass(frozen=True)
class Listing:
    """A data set in two parts; `how` says how they came to be, `notes` what the user should know of them.

    `missing` are those of val that are listed but known not to be there: they stay in val, to be counted.
    """

    classes: tuple[str, ...]
    train: tuple[Sample, ...]
    val: tuple[Sample, ...]
    how: str
    notes: tuple[str, ...] = field(default=(), compare=False)
    missing: frozenset[Path] = frozenset()

    @property
    def multi_label(self) -> bool:
        """Whether samples may be of several classes at once."""
        return multi_label((*self.train, *self.val))


@dataclass
class Found:
    """What stands in one folder or table: samples by part ("all" where it is not split), and what is to be said."""

    parts: dict[str, list[Sample]]
    notes: list[str] = field(default_factory=list)
    missing: set[Path] = field(default_factory=set)


def multi_label(samples: Iterable[Sample]) -> bool:
    """Whether samples are of any number of classes, as one of several, or none, shows."""
    return any(len(sample.labels) != 1 for sample in samples)


def medium_of(samples: Iterable[Sample]) -> Medium:
    """What samples are called: images where all of them are files of images."""
    return "images" if all(sample.path.suffix.lower() in IMAGE_EXTENSIONS for sample in samples) else "videos"


def counted(number: float, one: str, many: str | None = None) -> str:
    """A number with its noun: ``1 epoch``, ``30 epochs``."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def counted_units(units: int, groups: int) -> str:
    """What figures are over, videos in no group being units of their own: ``2 groups and 8 videos without one``."""
    if not groups:
        return counted(units, "video")
    alone = units - groups
    return counted(groups, "group") + (f" and {counted(alone, 'video')} without one" if alone else "")


def named(names: Iterable[object], most: int = 5) -> str:
    """The first few names, and how many more there are, on one line."""
    texts = list(map(str, names))
    shown = [text if text.isprintable() else repr(text) for text in texts[:most]]
    return ", ".join(shown) + (f" and {len(texts) - most:,} more" if len(texts) > most else "")


def printable(text: str, most: int = 80) -> str:
    """What stands in a file of a stranger, quoted and cut short for a sentence."""
    return repr(text if len(text) <= most else f"{text[:most]}...")
