"""What a scan found, in lines for a person and in tables for programs."""

import csv
import io
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from mvit import files
from mvit.curation.copies import Copies, Pair
from mvit.data.dataset import Listing, Sample
from mvit.data.scan import Scan

INDEX, BAD, LEAKS, TWICE = "index.csv", "bad.csv", "leaks.csv", "twice.csv"
"""Every file; those that cannot be read or end early; copies across the split; copies within one part of it."""
NAMED = 5  # pairs of a kind in the lines for a person


def totals(found: Scan) -> list[str]:
    """How long, how large and of what kinds the files are, and which of them end early, in a few lines."""
    looks = [look for look in found.looks.values() if look.facts is not None]
    if not looks:
        return []
    seconds = [look.facts.duration_seconds for look in looks if look.facts is not None]
    kinds = Counter(f"{look.codec} in {look.container.split(',')[0]}" for look in looks)
    turned = sum(bool(look.rotation_degrees or look.mirrored) for look in looks)
    lines = [
        f"in all {_hours(sum(seconds))}, {min(seconds):.3g} to {max(seconds):,.4g} s each; "
        f"{sum(look.size_bytes for look in looks) / 1e9:,.3g} GB",
        "kinds: " + ", ".join(f"{kind} ({count:,})" for kind, count in kinds.most_common()),
    ]
    if turned:
        lines.append(f"{turned:,} are stored turned or mirrored, and are turned upright when read")
    if found.short:
        lines.append(f"{len(found.short):,} end before their header says (they are used as far as they go):")
        lines += _some([f"{path}: {short}" for path, short in found.short.items()])
    return lines


def told(copies: Copies) -> list[str]:
    """What is on both sides of the split, and what is twice in one part, in lines."""
    lines = []
    if copies.groups:
        lines.append(f"leak: {len(copies.groups):,} groups are in train and in val: {', '.join(copies.groups[:NAMED])}")
    for kind in ("same content", "nearly the same"):
        leaks = [pair for pair in copies.leaks if pair.kind == kind]
        if leaks:
            lines.append(f"leak: {len(leaks):,} videos of val are in train too ({kind}):")
            lines += _some([f"{pair.other.path} is {pair.one.path}{_likeness(pair)}" for pair in leaks])
    for kind in ("same content", "nearly the same"):
        twice = [pair for pair in copies.twice if pair.kind == kind]
        if twice:
            apart = sum(pair.one.labels != pair.other.labels for pair in twice)
            labels = f", {apart:,} of them under another label" if apart else ""
            lines.append(f"{len(twice):,} videos are twice in one part ({kind}){labels}")
    if not copies.leaks and not copies.groups:
        lines.append("no video of val is in train, by group, by content or by its pictures")
    if copies.flat:
        lines.append(f"{copies.flat:,} files are of nearly one colour where they begin, halve and end: not compared")
    return lines


def write(out: Path, listing: Listing, found: Scan, copies: Copies) -> list[Path]:
    """Write the tables into a folder, each whole or not at all; gives their paths. What is empty has its header."""
    parts = [("train", sample) for sample in listing.train] + [("val", sample) for sample in listing.val]
    tables = {
        INDEX: _table(
            "path,part,label,group,state,frames,fps,duration_seconds,width,height,rotation_degrees,mirrored,"
            "container,codec,size_bytes",
            (_row(part, sample, found) for part, sample in parts),
        ),
        BAD: _table(
            "path,part,label,state,reason",
            (
                [sample.id, part, _labels(sample), state, reason]
                for part, sample in parts
                for state, reason in [_state(sample, found)]
                if state != "good"
            ),
        ),
        LEAKS: _table(
            "kind,similarity,train,val,train_label,val_label",
            [
                *(["same group", "", group, group, "", ""] for group in copies.groups),
                *(_pair(pair) for pair in copies.leaks),
            ],
        ),
        TWICE: _table("kind,similarity,one,other,label,other_label", map(_pair, copies.twice)),
    }
    for name, text in tables.items():
        files.write_text(out / name, text)
    return [out / name for name in tables]


def _state(sample: Sample, found: Scan) -> tuple[str, str]:
    if sample.id in found.unreadable:
        return "unreadable", found.unreadable[sample.id]
    short = found.looks[sample.path].short
    return ("short", short) if short else ("good", "")


def _row(part: str, sample: Sample, found: Scan) -> list[Any]:
    look = found.looks[sample.path]
    head = [sample.id, part, _labels(sample), sample.group or "", _state(sample, found)[0]]
    if look.facts is None:
        return [*head, *[""] * 9, look.size_bytes or ""]
    facts = found.facts.get(sample.id, look.facts)
    return [
        *head,
        *(facts.frames, f"{facts.fps:.6g}", f"{facts.duration_seconds:.6g}", facts.width, facts.height),
        *(look.rotation_degrees, int(look.mirrored), look.container, look.codec, look.size_bytes),
    ]


def _pair(pair: Pair) -> list[Any]:
    return [
        *(pair.kind, f"{pair.similarity:.4f}", pair.one.path, pair.other.path),
        *(_labels(pair.one), _labels(pair.other)),
    ]


def _labels(sample: Sample) -> str:
    return "|".join(sample.labels)


def _likeness(pair: Pair) -> str:
    return f" ({pair.similarity:.3f})" if pair.similarity < 1 else ""


def _table(header: str, rows: Iterable[Sequence[Any]]) -> str:
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(header.split(","))
    table.writerows(rows)
    return text.getvalue()


def _some(lines: Sequence[str]) -> list[str]:
    more = [f"  and {len(lines) - NAMED:,} more"] if len(lines) > NAMED else []
    return [*(f"  {line}" for line in lines[:NAMED]), *more]


def _hours(seconds: float) -> str:
    return f"{seconds / 3600:,.1f} h" if seconds >= 3600 else f"{seconds / 60:.1f} min"
