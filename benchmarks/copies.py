"""From which likeness on two videos should count as copies: what copies reach, and what different videos reach.

python benchmarks/copies.py RECORD.json train.csv ...

The tables name the source of each video in a column group. Different videos are all pairs of different groups; copies
are made of about 80 videos, evenly spread over each table, by `mvit prepare`'s encoder in the ways named below.
"""

import itertools
import shlex
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from mvit.curation.copies import SIMILAR
from mvit.curation.transcode import Made, transcode
from mvit.data.dataset import find_all
from mvit.data.look import look
from mvit.data.video import probe
from mvit.studies.provenance import provenance, require_writable, write

WAYS: dict[str, Callable[[Path, Path], Made]] = {
    "crf 40": lambda source, to: transcode(source, to, crf=40),
    "half the size, crf 35": lambda source, to: transcode(source, to, short_side=_half(source), crf=35),
    "HEVC, crf 30": lambda source, to: transcode(source, to, codec="hevc", crf=30),
    "two thirds of the rate": lambda source, to: transcode(source, to, fps=probe(source).fps * 2 / 3),
}
COPIED = 80


def _half(source: Path) -> int:
    facts = probe(source)
    return max(24, min(facts.width, facts.height) // 4 * 2)


def vector(path: Path) -> np.ndarray:
    """What of a video is compared: the grey levels of its thumbnail, less their mean, of length 1."""
    levels = np.frombuffer(look(path).thumbnail, np.uint8).astype(np.float64)
    levels -= levels.mean()
    return levels / np.linalg.norm(levels)


def of_table(table: Path) -> dict[str, Any]:
    """The likenesses of one table's videos and of their copies."""
    samples = find_all(table, part="all")
    vectors = np.stack([vector(sample.path) for sample in samples])
    groups = np.array([sample.group or str(number) for number, sample in enumerate(samples)])
    rows, columns = np.triu_indices(len(samples), 1)
    likeness = (vectors @ vectors.T)[rows, columns]
    other = likeness[groups[rows] != groups[columns]]
    found: dict[str, Any] = {
        "table": f"{table.parent.name}/{table.name}",
        "videos": len(samples),
        "pairs_of_different_groups": len(other),
        "most_alike_of_different_groups": sorted(other.tolist())[-5:],
        "pairs_of_one_group": len(likeness) - len(other),
        "pairs_of_one_group_found": int((likeness >= SIMILAR).sum() - (other >= SIMILAR).sum()),
        "pairs_of_different_groups_found": int((other >= SIMILAR).sum()),
        "copies": {},
    }
    chosen = range(0, len(samples), max(1, len(samples) // COPIED))
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "copy.mp4"
        for way, make in WAYS.items():
            alike = []
            for number in chosen:
                make(samples[number].path, copy)
                alike.append(float(vector(copy) @ vectors[number]))
            found["copies"][way] = sorted(alike)
    return found


def main(record: Path, tables: list[Path]) -> None:
    """Measure each table, print what came out, and write the record."""
    require_writable(record)
    results = [of_table(table) for table in tables]
    content = {"command": shlex.join(["python", *sys.argv]), "similar": SIMILAR, "tables": results}
    write({**content, **provenance("cpu")}, record)
    for result in results:
        print(f"{result['table']}: {result['videos']:,} videos")
        print(
            f"  most alike of different groups {result['most_alike_of_different_groups'][-1]:.3f}; from {SIMILAR} on:"
        )
        for kind in ("different_groups", "one_group"):
            print(f"  {result[f'pairs_of_{kind}_found']} of {result[f'pairs_of_{kind}']:,} pairs of {kind}")
        for way, alike in result["copies"].items():
            share = np.mean(np.array(alike) >= SIMILAR)
            low = ", ".join(f"{value:.3f}" for value in itertools.islice(alike, 2))
            print(f"  {way}: {share:.0%} of {len(alike)} found; lowest {low}, median {np.median(alike):.3f}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), [Path(name) for name in sys.argv[2:]])
