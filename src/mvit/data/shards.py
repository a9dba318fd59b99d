"""Writes a data set as shards: tar files of some hundred megabytes, as WebDataset lays them out, with an index.

A folder of shards holds SPLIT-NUMBER.tar, beside each a list of its videos (SPLIT-NUMBER.json: number, offset, bytes,
name, class or classes, group, source, and seconds of a part), and `shards.json`, written last. In a tar each video
stands as it is, with a JSON object of the same name behind it, in an order shuffled once, so that readers that stream
meet mixed classes.
"""

import hashlib
import io
import json
import os
import re
import secrets
import tarfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np

from mvit.data.dataset import Sample
from mvit.data.members import BLOCK, INDEX, MAX_BYTES, UNFINISHED, located, opened, size_and_change

CHUNK = 2**20


@dataclass(frozen=True)
class _Video:
    """A video to copy: its number in its part, where it stood, its size and time of change, its name in a shard."""

    number: int
    sample: Sample
    source: str
    size: int
    changed: int
    name: str

    @property
    def label(self) -> str | list[str]:
        """Its class, or all of them where it is of several."""
        return self.sample.labels[0] if len(self.sample.labels) == 1 else list(self.sample.labels)

    @property
    def entry(self) -> list[Any]:
        """What the list of a shard says of it, but for its place."""
        part = self.sample.part
        seconds = (part.start, part.end) if part else ()
        return [self.size, self.name, self.label, self.sample.group, self.source, *seconds]

    @property
    def about(self) -> bytes:
        """The JSON object behind it."""
        facts = {"label": self.label, "group": self.sample.group, "source": self.source, "number": self.number}
        facts |= {"start": self.sample.part.start, "end": self.sample.part.end} if self.sample.part else {}
        return json.dumps(facts, ensure_ascii=False).encode("utf-8", "surrogateescape")

    @property
    def room(self) -> int:
        """Bytes that it takes in a tar, with its JSON and both headers."""
        return sum(BLOCK + -(-size // BLOCK) * BLOCK for size in (self.size, len(self.about)))


def write(
    parts: Mapping[str, Sequence[Sample]],
    out: Path,
    *,
    size: int | None = None,
    count: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Write the videos of each part into shards of at most `size` bytes (at least one video) or `count` videos.

    The same videos give the same bytes. After a kill the same call goes on behind the last whole shard. Returns what
    stands in `shards.json`. Raises ValueError where `out` holds anything else, or a video is no regular file or changes
    meanwhile, and OSError naming a file that cannot be read or written.
    """
    root = Path(os.path.commonpath([sample.path.parent for samples in parts.values() for sample in samples]))
    plan = {
        f"{part}-{number:06d}": videos
        for part, samples in parts.items()
        for number, videos in enumerate(_divided(_shuffled(_videos(samples, root)), size, count))
    }
    _begin(out, plan)
    total, done, shards = sum(map(len, plan.values())), 0, []
    for name, videos in plan.items():
        shard = _kept(out / f"{name}.tar", videos) or _written(out / f"{name}.tar", videos)
        done += len(videos)
        shards.append(shard)
        if progress is not None:
            progress(done, total)
    classes = sorted({label for samples in parts.values() for sample in samples for label in sample.labels})
    index = {"format": "mvit shards", "version": 1, "videos": total, "classes": classes, "plan": _digest(plan)}
    index["shards"] = shards
    _write_json(out / INDEX, index)
    for left in (out / UNFINISHED, *filter(_ours, out.iterdir())):
        left.unlink(missing_ok=True)
    return index


def _videos(samples: Sequence[Sample], root: Path) -> Iterator[_Video]:
    for number, sample in enumerate(samples):
        size, changed = _size_and_change(sample.path)
        if size > MAX_BYTES:
            raise ValueError(f"{sample.path} has {size:,} bytes, more than the {MAX_BYTES:,} of a plain tar")
        # WebDataset takes what stands before the first dot as the key that a video and its JSON share.
        stem = re.sub(r"[^A-Za-z0-9_-]+", "_", sample.path.stem)[:60]
        suffix = re.sub(r"[^a-z0-9]", "", sample.path.suffix.lower())[:10] or "bin"
        name = f"{number:09d}-{stem}.{suffix}"
        yield _Video(number, sample, os.path.relpath(sample.path, root), size, changed, name)


def _size_and_change(path: Path) -> tuple[int, int]:
    """Bytes and time of change of a file, or of a video in another shard."""
    found = size_and_change(path)
    if located(path) is None and not path.is_file():
        what = "a folder of pictures" if path.is_dir() else "no regular file"
        raise ValueError(f"{path} is {what}: shards hold videos and images that are one file each, as they are")
    return found


def _shuffled(videos: Iterator[_Video]) -> list[_Video]:
    listed = list(videos)
    return [listed[place] for place in np.random.default_rng(0).permutation(len(listed))]


def _divided(videos: Sequence[_Video], size: int | None, count: int | None) -> Iterator[list[_Video]]:
    shard: list[_Video] = []
    room = tarfile.RECORDSIZE  # the end of a tar
    for video in videos:
        full = len(shard) == count or (size is not None and room + video.room > size)
        if shard and full:
            yield shard
            shard, room = [], tarfile.RECORDSIZE
        shard.append(video)
        room += video.room
    if shard:
        yield shard


def _begin(out: Path, plan: Mapping[str, Sequence[_Video]]) -> None:
    """Make the folder, or find that it is an unfinished one of the same plan."""
    if out.exists() and (not out.is_dir() or any(not _ours(path) for path in out.iterdir())):
        before = next((out / name for name in (INDEX, UNFINISHED) if (out / name).is_file()), None)
        if before is None:
            raise ValueError(f"{out} exists already and holds no shards: choose another folder")
        if _said(before).get("plan") != _digest(plan):
            raise ValueError(
                f"{out} holds shards of other videos, or of another size: choose another folder, or delete it"
            )
    out.mkdir(parents=True, exist_ok=True)
    if not (out / INDEX).exists():
        _write_json(out / UNFINISHED, {"plan": _digest(plan)})


def _ours(path: Path) -> bool:
    """Whether a kill left this behind in the middle of writing."""
    return path.name.startswith(".mvit-") and path.suffix == ".tmp"


def _digest(plan: Mapping[str, Sequence[_Video]]) -> str:
    facts = [
        (name, [(video.name, video.size, video.changed, video.about.decode("utf-8", "replace")) for video in videos])
        for name, videos in plan.items()
    ]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def _kept(tar: Path, videos: Sequence[_Video]) -> dict[str, Any] | None:
    """What is known of a shard that an earlier call has written whole: its list comes after it."""
    said = _said(tar.with_suffix(".json"))
    if said.get("plan") != _digest({tar.stem: videos}) or not tar.is_file() or tar.stat().st_size != said["bytes"]:
        return None
    return _summary(said)


def _written(tar: Path, videos: Sequence[_Video]) -> dict[str, Any]:
    places = []
    with _replacing(tar) as file:
        digest = _Digest(file)
        with tarfile.open(fileobj=cast(Any, digest), mode="w|", format=tarfile.USTAR_FORMAT, bufsize=CHUNK) as shard:
            for video in videos:
                places.append(shard.offset + BLOCK)
                with _reading(video) as content:
                    shard.addfile(_header(video.name, video.size), content)
                shard.addfile(_header(f"{Path(video.name).stem}.json", len(video.about)), io.BytesIO(video.about))
    said = {
        "file": tar.name,
        "bytes": tar.stat().st_size,
        "sha256": digest.value.hexdigest(),
        "plan": _digest({tar.stem: videos}),
        "videos": [[video.number, place, *video.entry] for video, place in zip(videos, places, strict=True)],
    }
    _write_json(tar.with_suffix(".json"), said)
    return _summary(said)


def _summary(said: Mapping[str, Any]) -> dict[str, Any]:
    return {"file": said["file"], "videos": len(said["videos"]), "bytes": said["bytes"], "sha256": said["sha256"]}


@contextmanager
def _reading(video: _Video) -> Iterator[BinaryIO]:
    path = video.sample.path
    with opened(path) or path.open("rb") as content:
        if _size_and_change(path) != (video.size, video.changed):
            raise ValueError(f"{path} has changed while shards were written: leave the videos alone, and start again")
        try:
            yield content
        except OSError as error:
            if str(error) != "unexpected end of data":  # tarfile's; anything else is the disk's
                raise
            raise ValueError(f"{path} became shorter while it was copied: start again") from error


def _header(name: str, size: int) -> tarfile.TarInfo:
    """The header of a member: nothing in it hangs on who writes it, or when."""
    header = tarfile.TarInfo(name)
    header.size, header.mode = size, 0o644
    return header


class _Digest:
    """A file to write to, and the digest of all that went into it."""

    def __init__(self, file: BinaryIO) -> None:
        self.file, self.value = file, hashlib.sha256()

    def write(self, data: bytes) -> int:
        self.value.update(data)
        return self.file.write(data)


@contextmanager
def _replacing(path: Path) -> Iterator[BinaryIO]:
    """A new file that takes the place of `path` once all of it is on the disk."""
    temporary = path.with_name(f".mvit-{secrets.token_hex(8)}.tmp")
    try:
        with temporary.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        if error.errno is None or error.filename not in (None, str(temporary)):
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error
    finally:
        temporary.unlink(missing_ok=True)


def _write_json(path: Path, content: Any) -> None:
    with _replacing(path) as file:
        file.write((json.dumps(content, indent=0) + "\n").encode())


def _said(path: Path) -> dict[str, Any]:
    """What a JSON file of ours says; nothing where it is missing or no longer whole."""
    try:
        said = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return {}
    return said if isinstance(said, dict) else {}
