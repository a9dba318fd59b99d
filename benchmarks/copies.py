"""From which likeness on two videos should count as copies: what copies reach, and what different videos reach.

python benchmarks/copies.py RECORD.json train.csv ...

The tables name the source of each video in a column group. Different videos are all pairs of different groups; copies
are made of about 40 videos, evenly spread over each table, by `mvit prepare`'s encoder in the ways named below.
"""

import argparse
import shlex
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from mvit.curation.copies import DETAIL, SIMILAR, describe
from mvit.curation.transcode import Made, transcode
from mvit.data.dataset import find_all
from mvit.data.look import look
from mvit.data.video import probe
from mvit.files import require_writable
from mvit.provenance import provenance, write

WAYS: dict[str, Callable[[Path, Path], Made]] = {
    "crf 40": lambda source, to: transcode(source, to, crf=40),
    "half the size, crf 35": lambda source, to: transcode(source, to, short_side=_half(source), crf=35),
    "HEVC, crf 30": lambda source, to: transcode(source, to, codec="hevc", crf=30),
    "two thirds of the rate": lambda source, to: transcode(source, to, fps=probe(source).fps * 2 / 3),
}
COPIED = 40


def _half(source: Path) -> int:
    facts = probe(source)
    return max(24, min(facts.width, facts.height) // 4 * 2)


def likeness_of(one: bytes, other: bytes) -> tuple[float, float]:
    """How alike two thumbnails are: in grey levels, in detail."""
    vectors, details, _ = describe([one, other])
    return float(vectors[0] @ vectors[1]), float(details[0] @ details[1])


def of_table(table: Path) -> dict[str, Any]:
    """The likenesses of one table's videos and of their copies."""
    samples = find_all(table, part="all")
    thumbnails = [look(sample.path).thumbnail for sample in samples]
    vectors, details, _ = describe(thumbnails)
    groups = np.array([sample.group or str(number) for number, sample in enumerate(samples)])
    rows, columns = np.triu_indices(len(samples), 1)
    likeness = (vectors @ vectors.T)[rows, columns]
    apart = groups[rows] != groups[columns]
    detail = (details @ details.T)[rows, columns]
    found_alike = (likeness >= SIMILAR) & (detail >= DETAIL)
    other = likeness[apart]
    found: dict[str, Any] = {
        "table": f"{table.parent.name}/{table.name}",
        "videos": len(samples),
        "pairs_of_different_groups": len(other),
        "most_alike_of_different_groups": sorted(other.tolist())[-5:],
        "pairs_of_one_group": len(likeness) - len(other),
        "pairs_of_one_group_found": int((found_alike & ~apart).sum()),
        "pairs_of_different_groups_found": int((found_alike & apart).sum()),
        "pairs_of_different_groups_found_without_detail": int((other >= SIMILAR).sum()),
        "copies": {},
    }
    chosen = range(0, len(samples), max(1, len(samples) // COPIED))
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "copy.mp4"
        for way, make in WAYS.items():
            alike = []
            for number in chosen:
                make(samples[number].path, copy)
                alike.append(likeness_of(look(copy).thumbnail, thumbnails[number]))
            found["copies"][way] = sorted(alike)
    return found


def main(record: Path, tables: list[Path]) -> None:
    """Measure each table, print what came out, and write the record."""
    require_writable(record)
    results = [of_table(table) for table in tables]
    content = {"command": shlex.join(["python", *sys.argv]), "similar": SIMILAR, "detail": DETAIL, "tables": results}
    write({**content, **provenance("cpu")}, record)
    for result in results:
        print(f"{result['table']}: {result['videos']:,} videos")
        print(
            f"  most alike of different groups {result['most_alike_of_different_groups'][-1]:.3f}; from {SIMILAR} on:"
        )
        for kind in ("different_groups", "one_group"):
            print(f"  {result[f'pairs_of_{kind}_found']} of {result[f'pairs_of_{kind}']:,} pairs of {kind}")
        for way, pairs in result["copies"].items():
            alike, detail = np.array(pairs).T
            share = np.mean((alike >= SIMILAR) & (detail >= DETAIL))
            print(f"  {way}: {share:.0%} of {len(pairs)} found; lowest {alike.min():.3f}, in detail {detail.min():.3f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("record", type=Path)
    parser.add_argument("tables", type=Path, nargs="+")
    main(**vars(parser.parse_args()))
