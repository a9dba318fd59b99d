"""What is twice in a data set: the same content, nearly the same pictures, the same source on both sides of a split.

Nearly the same: the grey levels of first, middle and last frame in 8 x 8 parts each, less their mean, correlate by at
least `SIMILAR`, and so by at least `DETAIL` does what a middle frame of 16 x 16 parts has beyond that. Re-encoding,
resizing, brightness and contrast leave them so; cutting and other frame rates of quick movements do not.
"""

import hashlib
import os
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np

from mvit.data.dataset import Listing, Sample
from mvit.data.look import COARSE, COARSE_BYTES, FINE, THUMBNAIL_BYTES, Look
from mvit.data.members import opened
from mvit.data.numbered import in_order

SIMILAR = 0.97
"""Docs/data.md says on what this was chosen, as the next."""
DETAIL = 0.7
FLAT = 3.0
"""Standard deviation in grey levels below which pictures are too much of one colour to be compared."""

_COARSE = 23  # dimensions that most pairs are told apart by
_ROWS, _COLUMNS = 512, 8192  # of pairs compared at once
_FEW = 0.01  # share of pairs to be compared in full that is gathered rather than multiplied out


@dataclass(frozen=True)
class Pair:
    """Two samples that are the same source, content or picture; the `kind` says which, `similarity` how far."""

    kind: str
    one: Sample
    other: Sample
    similarity: float = 1.0


@dataclass(frozen=True)
class Copies:
    """Pairs of a sample in train with one in val (leaks), and of two in one part (twice): for each the nearest one."""

    leaks: tuple[Pair, ...]
    twice: tuple[Pair, ...]
    groups: tuple[str, ...]
    """Groups that have samples in both parts."""
    flat: int
    """Files whose pictures are too much of one colour to be compared."""


def find_copies(
    listing: Listing,
    looks: Mapping[Path, Look],
    *,
    similar: float = SIMILAR,
    progress: Callable[[int, int], None] | None = None,
) -> Copies:
    """Compare every readable file with every other one, by content and by pictures.

    Raises ValueError for a similarity that is none.
    """
    if not 0.5 <= similar <= 1:
        raise ValueError(f"the similarity from which videos count as copies is {similar}: give 0.5 to 1, such as 0.97")
    train, val = _readable(listing.train, looks), _readable(listing.val, looks)
    samples = [*train, *val]
    of_val = np.arange(len(samples)) >= len(train)
    first = _same_content(samples, looks)
    vectors, details, flat = describe([looks[sample.path].thumbnail for sample in samples])

    leaks: dict[int, Pair] = {}
    twice: dict[int, Pair] = {}
    by_content: dict[int, dict[bool, int]] = defaultdict(dict)
    for number, origin in enumerate(first):
        mine, known = bool(of_val[number]), by_content[origin]
        if mine in known and samples[known[mine]].path != samples[number].path:  # those are parts of one video
            twice[number] = Pair("same content", samples[known[mine]], samples[number])
        if mine and False in known:
            leaks[number] = Pair("same content", samples[known[False]], samples[number])
        known.setdefault(mine, number)
    for number, other, likeness in nearest(vectors, of_val, similar, details, progress):
        pairs = leaks if of_val[other] != of_val[number] else twice
        if number not in pairs and first[number] != first[other]:
            pairs[number] = Pair("nearly the same", samples[other], samples[number], likeness)

    groups = {sample.group for sample in listing.train} & {sample.group for sample in listing.val} - {None}
    return Copies(_sorted(leaks), _sorted(twice), tuple(sorted(map(str, groups))), int(flat.sum()))


def nearest(
    vectors: np.ndarray,
    of_val: np.ndarray,
    similar: float,
    details: np.ndarray | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Iterator[tuple[int, int, float]]:
    """(row, most similar row before it, cosine) within train, within val, and of val's rows the one in train.

    `vectors` (N, D) float32 are of length 1, or 0 where they are to be passed over; rows of val come last. Only cosines
    of at least `similar` are given, where there are `details` of those whose details have one of at least `DETAIL`. All
    pairs are compared, by a bound in few dimensions first: with a the part in them and r the length of the rest,
    cosine <= a.a' + r r' (Cauchy and Schwarz).
    """
    coarse = _bounds(vectors)
    split = int((~of_val).sum())
    ranges = [(0, split, 0, split), (split, len(vectors), split, len(vectors)), (split, len(vectors), 0, split)]
    blocks = [
        (row, min(row + _ROWS, bottom), left, right, (left, right) == (top, bottom))
        for top, bottom, left, right in ranges
        for row in range(top, bottom, _ROWS)
    ]
    for done, (top, bottom, left, right, within) in enumerate(blocks, start=1):
        best, which = np.full(bottom - top, similar, np.float32), np.full(bottom - top, -1)
        for start in range(left, min(right, bottom) if within else right, _COLUMNS):
            end = min(start + _COLUMNS, right)
            rows, columns, cosines = _alike(vectors, coarse, (top, bottom), (start, end), similar)
            if details is not None:
                fine = _cosines(details, top + rows, start + columns) >= DETAIL
                rows, columns, cosines = rows[fine], columns[fine], cosines[fine]
            if within:
                before = columns + start < rows + top
                rows, columns, cosines = rows[before], columns[before], cosines[before]
            order = np.argsort(cosines, kind="stable")  # of one row, the most similar is written last
            better = order[cosines[order] >= best[rows[order]]]
            best[rows[better]], which[rows[better]] = cosines[better], columns[better] + start
        for row in np.flatnonzero(which >= 0):
            yield top + int(row), int(which[row]), float(min(best[row], 1.0))
        if progress is not None:
            progress(done, len(blocks))


def _alike(
    vectors: np.ndarray, coarse: np.ndarray, rows: tuple[int, int], columns: tuple[int, int], similar: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows, columns (from the start of the block) and cosines of the pairs of a block that are similar."""
    (top, bottom), (left, right) = rows, columns
    near = coarse[top:bottom] @ coarse[left:right].T >= similar - 1e-5
    if near.mean() > _FEW:
        cosines = vectors[top:bottom] @ vectors[left:right].T
        row, column = np.nonzero(cosines >= similar)
        return row, column, cosines[row, column]
    row, column = np.nonzero(near)
    exact = _cosines(vectors, top + row, left + column)
    kept = exact >= similar
    return row[kept], column[kept], exact[kept]


def _cosines(vectors: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Of pairs of rows, some thousands at a time."""
    pieces = [slice(start, start + 2**14) for start in range(0, len(rows), 2**14)]
    found = [np.einsum("nd,nd->n", vectors[rows[piece]], vectors[columns[piece]]) for piece in pieces]
    return np.concatenate([np.empty(0, np.float32), *found])


def _bounds(vectors: np.ndarray) -> np.ndarray:
    """Each vector's part in the directions in which they differ most, and the length of the rest: (N, 24)."""
    some = vectors[:: max(1, len(vectors) // 20_000)].astype(np.float64)
    _, directions = np.linalg.eigh(some.T @ some)
    part = vectors @ directions[:, -_COARSE:].astype(np.float32)
    rest = np.sqrt(np.clip((vectors**2).sum(axis=1) - (part**2).sum(axis=1), 0, None))
    return np.concatenate([part, rest[:, None]], axis=1)


def describe(thumbnails: Sequence[bytes]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of thumbnails, (N, 192) and (N, 256) of length 1: grey levels less their mean, and detail; and which are flat.

    Those are too much of one colour, and their vectors are 0.
    """
    levels = np.frombuffer(b"".join(thumbnails), np.uint8).reshape(len(thumbnails), THUMBNAIL_BYTES).astype(np.float32)
    vectors, fine = levels[:, :COARSE_BYTES], levels[:, COARSE_BYTES:].reshape(-1, FINE, FINE)
    vectors = vectors - vectors.mean(axis=1, keepdims=True)
    flat = vectors.std(axis=1) < FLAT
    ratio = FINE // COARSE
    blocks = fine.reshape(-1, COARSE, ratio, COARSE, ratio).mean(axis=(2, 4))
    details = (fine - blocks.repeat(ratio, axis=1).repeat(ratio, axis=2)).reshape(len(fine), FINE**2)
    for rows in (vectors, details):
        rows /= np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-6)
    vectors[flat] = 0
    return vectors, details, flat


def _same_content(samples: Sequence[Sample], looks: Mapping[Path, Look]) -> list[int]:
    """For each sample the first with the same bytes; only files of one size and one look are read."""
    alike: dict[tuple[int, bytes], list[int]] = defaultdict(list)
    for number, sample in enumerate(samples):
        seen = looks[sample.path]
        alike[seen.size_bytes, seen.thumbnail].append(number)
    first = list(range(len(samples)))
    for numbers in alike.values():
        known: dict[bytes, int] = {}
        for number in numbers if len(numbers) > 1 else ():
            try:
                first[number] = known.setdefault(_content(samples[number].path), number)
            except (OSError, ValueError):  # gone, or another one, since it was looked at
                continue
    return first


def _content(path: Path) -> bytes:
    """A digest of a file, a video in a shard, or the frames of a folder."""
    pictures = [path / name for name in in_order(os.listdir(path))] if path.is_dir() else [path]
    digests = []
    for picture in pictures:
        with opened(picture) or picture.open("rb") as file:
            digests.append(hashlib.file_digest(cast(Any, file), "sha256").digest())
    return b"".join(digests)


def _readable(samples: Sequence[Sample], looks: Mapping[Path, Look]) -> list[Sample]:
    """One sample of each file that can be read, whatever parts of it are listed."""
    once = {sample.path: sample for sample in reversed(samples)}
    readable = {path for path, look in looks.items() if look.facts is not None}
    return [once[path] for path in dict.fromkeys(sample.path for sample in samples) if path in readable]


def _sorted(pairs: Mapping[int, Pair]) -> tuple[Pair, ...]:
    return tuple(pairs[number] for number in sorted(pairs))
