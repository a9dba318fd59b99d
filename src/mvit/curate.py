"""The commands about data sets, thin as those of ``cli``, which lists them."""

from pathlib import Path

from mvit.commandline import DONE, progress_bar

SHARD_SIZE = "512MB"


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
