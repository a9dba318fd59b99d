"""The commands about data sets, thin as those of ``cli``, which lists them."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from mvit.commandline import DONE


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
        data: folder of videos and images, however deep, with the CSVs beside them, or one CSV
        out: folder for the new files; an earlier call with the same settings is gone on with
        short_side: pixels; larger frames are scaled to it
        fps: frames a second; every frame with its own time stamp if not given
        codec: h264, or hevc (smaller, slower to read)
        crf: quality, 0 (the best) to 51; 20 for h264 and 24 for hevc if not given
        enlarge: scale smaller frames too
        workers: processes; as many as there are usable cores if not given
    """
    from mvit.curation import prepare as preparing

    if workers is not None and workers < 1:
        raise ValueError(f"--workers is {workers}: give at least 1")
    settings = preparing.Settings(short_side=short_side, fps=fps, codec=codec, crf=crf, enlarge=enlarge)
    with _progress("prepared") as progress:
        done = preparing.prepare(data, out, settings, workers=workers, progress=progress)
    print(
        f"{done.made:,} files made, {done.kept:,} there already, {len(done.bad):,} could not be made; "
        f"{done.bytes_before / 1e6:,.4g} MB became {done.bytes_after / 1e6:,.4g} MB"
    )
    for note in done.notes:
        print(f"note: {note}")
    if done.bad:
        print(f"{len(done.bad):,} files could not be made, listed with the reasons in {out / preparing.BAD}")
    tables = {table.stem: table for table in done.tables}
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
