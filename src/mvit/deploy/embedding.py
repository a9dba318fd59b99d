"""What a model knows of videos before it names them, in files: vectors of videos or clips, and dense features."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np

from mvit import files
from mvit.data.samples import Sample
from mvit.deploy.answers import BATCH, in_batches
from mvit.deploy.predictor import Predictor
from mvit.deploy.told import arrow, require_unicode, row
from mvit.evaluation.evaluate import decoded

Of = Literal["video", "clip"]
FORMS = (".npy", ".parquet")
TABLE = ".csv"
HEADER = ("row", "video", "clip")


@dataclass(kw_only=True)
class Vectors:
    """Rows of features, and which clip of which video each is of; a row of the mean of all has no clip."""

    rows: list[np.ndarray] = field(default_factory=list)
    videos: list[str] = field(default_factory=list)
    clips: list[int | None] = field(default_factory=list)


def embedded(
    predictor: Predictor, samples: Iterable[Sample], views: tuple[int, int] | None = None, *, batch: int = BATCH
) -> Iterator[tuple[Sample, np.ndarray | str]]:
    """The vectors of each video's views, (clips * crops, channels), clip by clip, or why it has none; in order."""
    clips, crops = views or predictor.views
    yield from in_batches(predictor.vectors, decoded(samples, predictor.preprocessing, clips, crops), batch)


def collect(sample: Sample, vectors: np.ndarray, of: Of, crops: int, into: Vectors) -> None:
    """Add a video's vectors: their mean, or the mean over crops of each clip."""
    by_clip = vectors.reshape(-1, crops, vectors.shape[1]).mean(axis=1)
    rows = by_clip if of == "clip" else by_clip.mean(axis=0, keepdims=True)
    into.rows += list(rows)
    into.videos += [str(sample.id)] * len(rows)
    into.clips += list(range(len(rows))) if of == "clip" else [None]


def require_writable(path: Path, samples: Sequence[Sample]) -> None:
    """Raise before the work what would stop the writing after it: no known form, a library that is missing, a name.

    ``ValueError``, also for a table of something else where that of the rows would be; ``OSError`` for a place where
    no file can be.
    """
    if path.suffix not in FORMS:
        raise ValueError(f"{path} is no file of vectors: end its name in {' or '.join(FORMS)}")
    if path.suffix == ".parquet":
        arrow()
        require_unicode(sample.id for sample in samples)
    files.require_writable(path)
    table = path.with_suffix(TABLE)
    if path.suffix == ".npy" and table.exists() and not _is_of_rows(table):
        raise ValueError(
            f"{table} is no table of vectors, and the one of {path} would be written over it: name another file with "
            "--out"
        )


def _is_of_rows(table: Path) -> bool:
    """Whether a file is such a table as ``write`` writes beside vectors."""
    first = row(HEADER).encode()
    with files.blaming(table), table.open("rb") as file:
        return file.read(len(first) + 1) == first + b"\n"


def write(vectors: Vectors, path: Path, facts: dict[str, str]) -> list[Path]:
    """Write vectors as float32, and give the files: NAME.npy (rows, channels) with NAME.csv of what its rows are of.

    NAME.parquet has a row each with ``video``, ``clip`` and ``vector``, and the facts in the metadata of its schema.
    """
    matrix = np.stack(vectors.rows).astype(np.float32)
    if path.suffix == ".parquet":
        _write_parquet(matrix, vectors, path, facts)
        return [path]
    table = path.with_suffix(TABLE)
    pairs = zip(vectors.videos, vectors.clips, strict=True)
    lines = [row([number, video, "" if clip is None else clip]) for number, (video, clip) in enumerate(pairs)]
    with files.folder_of(path), files.replacing(path) as temporary, temporary.open("wb") as file:
        np.save(file, matrix, allow_pickle=False)
        table.unlink(missing_ok=True)  # a kill must not leave it beside rows that it is not of
    files.write_text(table, "\n".join([row(HEADER), *lines, ""]))
    return [path, table]


def _write_parquet(matrix: np.ndarray, vectors: Vectors, path: Path, facts: dict[str, str]) -> None:
    pyarrow = arrow()
    from pyarrow import parquet

    flat = pyarrow.array(matrix.ravel())
    columns = {
        "video": pyarrow.array(vectors.videos, pyarrow.string()),
        "clip": pyarrow.array(vectors.clips, pyarrow.int32()),
        "vector": pyarrow.FixedSizeListArray.from_arrays(flat, matrix.shape[1]),
    }
    with files.folder_of(path), files.replacing(path) as temporary:
        parquet.write_table(pyarrow.table(columns).replace_schema_metadata(facts), temporary)


# ---- dense ---------------------------------------------------------------------------------------------------------


def write_dense(
    predictor: Predictor,
    samples: Sequence[Sample],
    folder: Path,
    views: tuple[int, int] | None = None,
    *,
    batch: int = BATCH,
) -> Iterator[tuple[Sample, Path | str]]:
    """Write what every stage gives of each video into a file of a folder, and give it, or why there is none.

    NUMBER-NAME.npz, by the place among the samples and the video's name, holds ``video`` and ``stage1``, ``stage2``,
    ...: (clips * crops, C, T', H', W') float32, clip by clip. Raises ``ValueError`` for a folder that holds anything.
    """
    if folder.exists() and any(folder.iterdir()):
        raise ValueError(f"{folder} is not empty: name another folder with --out")
    with files.blaming(folder):
        folder.mkdir(parents=True, exist_ok=True)
    clips, crops = views or predictor.views
    videos = decoded(samples, predictor.preprocessing, clips, crops)
    for number, (sample, found) in enumerate(videos):
        if isinstance(found, str):
            yield sample, found
            continue
        pieces = [predictor.pyramids(found[first : first + batch]) for first in range(0, len(found), batch)]
        levels = map(np.concatenate, zip(*pieces, strict=True))
        stages = {f"stage{stage}": level for stage, level in enumerate(levels, start=1)}
        path = folder / f"{number:06d}-{sample.path.stem}.npz"
        with files.replacing(path) as temporary, temporary.open("wb") as file:
            np.savez(file, allow_pickle=False, video=np.array(str(sample.id)), **stages)
        yield sample, path
