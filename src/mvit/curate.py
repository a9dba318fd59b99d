"""The commands about data sets, thin as those of ``cli``, which lists them."""

from pathlib import Path

from mvit.commandline import DONE, progress_bar


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
    with Index(index or place(data)) as seen, progress_bar("scanning") as progress:
        found = look_at((*listing.train, *listing.val), workers=workers, progress=progress, seen=seen)
    with progress_bar("comparing") as progress:
        copies = find_copies(listing, found.looks, similar=similar, progress=progress)
    notes = [f"note: {note}" for note in (*listing.notes, *seen.notes)]
    print("\n".join([listing.how, *notes, *summary(listing, found), *survey.totals(found), *survey.told(copies)]))
    if out is not None:
        print(f"Wrote {', '.join(map(str, survey.write(out, listing, found, copies)))}")
    return DONE
