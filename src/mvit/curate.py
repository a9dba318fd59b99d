"""The commands about data sets, thin as those of ``cli``, which lists them."""

from pathlib import Path
from typing import Literal

from mvit.commandline import DONE, progress_bar

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
    from mvit.data import shards
    from mvit.data.dataset import find, parts_of

    if size is not None and count is not None:
        raise ValueError("--size and --count both say where a shard ends: give one of them")
    if count is not None and count < 1:
        raise ValueError(f"--count is {count}: a shard holds at least 1 video")
    limit = in_bytes(size or SHARD_SIZE) if count is None else None
    if val is None:
        parts = parts_of(data)
    else:
        listing = find(data, val=val)
        parts = {"train": listing.train, "val": listing.val}
    with progress_bar("writing shards") as progress:
        index = shards.write(parts, out, size=limit, count=count, progress=progress)
    written = sum(shard["bytes"] for shard in index["shards"])
    per_part = ", ".join(f"{len(samples):,} in {part}" for part, samples in parts.items())
    print(
        f"Wrote {out}: {index['videos']:,} videos ({per_part}) of {len(index['classes'])} classes in "
        f"{len(index['shards'])} shards, {written / 1e6:,.1f} MB. Next: mvit train {out}"
    )
    return DONE
