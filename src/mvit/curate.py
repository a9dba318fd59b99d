"""The commands about data sets, thin as those of ``cli``, which lists them."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from mvit.commandline import DONE

SHARD_SIZE = "512MB"


def split(
    data: Path,
    /,
    *,
    out: Path,
    val: float = 0.2,
    test: float = 0.0,
    folds: int = 0,
    by: Literal["group", "video"] = "group",
    group_pattern: str | None = None,
    seed: int = 0,
) -> int:
    """Write held-out parts or folds as manifests that the other commands read; seeded, by class and group.

    Args:
        data: as for train; parts that it has are put together and split anew
        out: folder for split.csv, or fold-1.csv and so on (.jsonl where videos are of several classes)
        val: share of the videos to hold out
        test: share to hold out beside that, for the very end
        folds: so many folds instead, each held out once; as many as there are groups leaves one group out each
        by: group keeps groups whole (videos without one stand alone), video deals them out one by one
        group_pattern: regular expression that finds the group in a file's name, such as 'person\\d+'
        seed: of the draw
    """
    from mvit import files
    from mvit.data import dataset, splits
    from mvit.data.manifests import write_manifest

    if folds and test:
        raise ValueError("--folds hold every video out once, so there is no --test beside them: leave one out")
    listing = dataset.pool(data)
    print(listing.how)
    for note in listing.notes:
        print(f"note: {note}")
    samples = splits.grouped(listing.train, group_pattern) if group_pattern is not None else listing.train
    known = any(sample.group is not None for sample in samples)
    if known and by == "video":
        print("note: groups are not kept together, so val is easier than videos of new groups would be")
    if not known:
        print(
            "note: no groups are known, so parts of one recording may fall apart: --group-pattern finds them in names"
        )
    parted = splits.partition(samples, val=val, test=test, folds_number=folds, whole_groups=by == "group", seed=seed)
    suffix = "jsonl" if listing.multi_label else "csv"
    names = [f"fold-{number}.{suffix}" for number in range(1, folds + 1)] or [f"split.{suffix}"]
    if there := [name for name in names if (out / name).exists()]:
        raise ValueError(f"{out / there[0]} exists already: choose another folder with --out")
    for name, part in zip(names, parted, strict=True):
        files.write_text(out / name, write_manifest(part.parts(), frozenset(), lines=listing.multi_label))
        print(f"Wrote {out / name}: {part}")
    print(f"Next: mvit train {out / names[0]}")
    return DONE


def shard(
    data: Path, out: Path, /, *, val: Path | None = None, size: str | None = None, count: int | None = None
) -> int:
    """Write a data set as tar files that WebDataset reads too, with an index; train and evaluate take the folder.

    Args:
        data: as for train
        out: folder for the shards; an unfinished one of the same data is gone on with
        val: held-out videos, as a second folder or CSV
        size: of a shard at most, such as 512MB
        count: videos in a shard, instead of a size
    """
    from mvit.analysis.budget import in_bytes
    from mvit.curation import shards
    from mvit.data.dataset import find, parts_of
    from mvit.data.samples import counted

    if size is not None and count is not None:
        raise ValueError("--size and --count both say where a shard ends: give one of them")
    if count is not None and count < 1:
        raise ValueError(f"--count is {count}: a shard holds at least 1 video")
    try:
        limit = in_bytes(size or SHARD_SIZE) if count is None else None
    except ValueError as error:
        raise ValueError(f"--size is {size!r}: give MB or GB, such as {SHARD_SIZE}") from error
    if val is None:
        parts = parts_of(data, say=lambda note: print(f"note: {note}"))
    else:
        listing = find(data, val=val)
        for note in listing.notes:
            print(f"note: {note}")
        there = tuple(sample for sample in listing.val if sample.id not in listing.missing)
        if left := len(listing.val) - len(there):
            videos = counted(left, "video")
            print(f"note: left out, and counted in no figure: {videos} of val known to be missing")
        parts = {"train": listing.train, "val": there}
    with _progress("packed", "videos") as progress:
        index = shards.write(parts, out, size=limit, count=count, progress=progress)
    written = sum(shard["bytes"] for shard in index["shards"])
    per_part = ", ".join(f"{len(samples):,} in {part}" for part, samples in parts.items())
    print(
        f"Wrote {out}: {counted(index['videos'], 'video')} ({per_part}) of {len(index['classes'])} classes in "
        f"{counted(len(index['shards']), 'shard')}, {written / 1e6:,.1f} MB. Next: mvit train {out}"
    )
    return DONE


def scan(
    data: Path,
    /,
    *,
    val: Path | None = None,
    out: Path | None = None,
    index: Path | None = None,
    similar: float = 0.97,
    workers: int | None = None,
) -> int:
    """Look at every video of a data set: what can be read, what there is, what is in train and in val.

    Args:
        data: as for train
        val: held-out videos, as a second folder or CSV
        out: folder for index.csv, bad.csv, leaks.csv and twice.csv
        index: file that keeps what was seen, so that only changed files are looked at again; in the cache folder of
            the user if not given, where train finds it too
        similar: likeness of first, middle and last frame from which two videos count as copies
        workers: processes; as many as there are usable cores if not given
    """
    from mvit.curation import survey
    from mvit.curation.copies import find_copies
    from mvit.curation.index import Index, place
    from mvit.data.dataset import find
    from mvit.data.scan import scan as look_at
    from mvit.data.scan import summary

    if workers is not None and workers < 1:
        raise ValueError(f"--workers is {workers}: give at least 1")
    listing = find(data, val=val)
    with Index(index or place(data)) as seen, _progress("looked at") as progress:
        found = look_at((*listing.train, *listing.val), workers=workers, progress=progress, seen=seen)
    with _progress("compared", "blocks") as progress:
        copies = find_copies(listing, found.looks, similar=similar, progress=progress)
    notes = [f"note: {note}" for note in (*listing.notes, *seen.notes)]
    print("\n".join([listing.how, *notes, *summary(listing, found), *survey.totals(found), *survey.told(copies)]))
    if out is not None:
        print(f"Wrote {', '.join(map(str, survey.write(out, listing, found, copies)))}")
    return DONE


def prepare(
    data: Path,
    out: Path,
    /,
    *,
    short_side: int = 256,
    fps: float | None = None,
    codec: Literal["h264", "hevc"] = "h264",
    crf: int | None = None,
    enlarge: bool = False,
    workers: int | None = None,
) -> int:
    """Make a data set small and quick to read, once: every video and image, under the same labels, verified.

    Args:
        data: folder of videos and images, however deep, with the tables beside them (CSV, JSON Lines, published
            lists), or one table
        out: folder for the new files; an earlier call with the same settings is gone on with
        short_side: pixels; larger frames are scaled to it
        fps: frames a second; every frame with its own time stamp if not given
        codec: h264, or hevc (smaller, slower to read)
        crf: quality, 0 (the best) to 51; 20 for h264 and 24 for hevc if not given
        enlarge: scale smaller frames too
        workers: processes; as many as there are usable cores if not given
    """
    from mvit.curation import prepare as preparing
    from mvit.data.samples import counted

    if workers is not None and workers < 1:
        raise ValueError(f"--workers is {workers}: give at least 1")
    settings = preparing.Settings(short_side=short_side, fps=fps, codec=codec, crf=crf, enlarge=enlarge)
    with _progress("prepared") as progress:
        done = preparing.prepare(data, out, settings, workers=workers, progress=progress)
    print(
        f"{counted(done.made, 'file')} made, {done.kept:,} there already, {len(done.bad):,} could not be made; "
        f"{done.bytes_before / 1e6:,.4g} MB became {done.bytes_after / 1e6:,.4g} MB"
    )
    for note in done.notes:
        print(f"note: {note}")
    if done.bad:
        print(f"What could not be made is listed with the reasons in {out / preparing.BAD}")
    tables = {table.stem: table for table in reversed(done.tables)}
    learned = tables.get("train", next(iter(done.tables), out))
    held_out = next((f" --val {tables[name]}" for name in ("val", "validation") if name in tables), "")
    print(f"Next: mvit train {learned}{held_out}")
    return DONE


@contextmanager
def _progress(doing: str, what: str = "files") -> Iterator[Callable[[int, int], None]]:
    """A line that says how many of how many are done, and how long the rest takes; gives what to tell it."""
    from mvit.training.progress import StatusLine, duration

    began: list[tuple[float, int]] = []

    def told(done: int, total: int) -> None:
        began[:] = began or [(time.monotonic(), done)]
        since, before = began[0]
        seconds = (time.monotonic() - since) / max(done - before, 1) * (total - done)
        left = f", {duration(seconds)} left" if done > before else ""
        status.show(lambda: f"{doing} {done:,} of {total:,} {what}{left}")

    with StatusLine(lambda line: print(line, file=sys.stderr, flush=True)) as status:
        yield told
