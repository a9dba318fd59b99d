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
from mvit.data.pictures import FOLDER
from mvit.data.samples import counted
from mvit.data.scan import Scan

INDEX, BAD, LEAKS, TWICE = "index.csv", "bad.csv", "leaks.csv", "twice.csv"
"""Every file; those that cannot be read or end early; copies across the split; copies within one part of it."""
NAMED = 5  # pairs of a kind in the lines for a person


def totals(found: Scan) -> list[str]:
    """How long, how large and of what kinds the files are, and which of them end early, in a few lines."""
    looks = [look for look in found.looks.values() if look.facts is not None]
    if not looks:
        return []
    # A picture lasts no time, and the bytes of a folder of pictures would have to be asked of each of them.
    seconds = [look.facts.duration_seconds for look in looks if look.facts is not None and look.facts.frames > 1]
    folders = sum(look.container == FOLDER for look in looks)
    unknown = f" without the {folders:,} folders of pictures" if folders else ""
    kinds = Counter(f"{look.codec} in {look.container.split(',')[0]}" for look in looks)
    turned = sum(bool(look.rotation_degrees or look.mirrored) for look in looks)
    lines = [
        f"in all {_lasting(seconds)}{_bytes(sum(look.size_bytes for look in looks if look.container != FOLDER))}"
        f"{unknown}",
        "kinds: " + ", ".join(f"{kind} ({count:,})" for kind, count in kinds.most_common()),
    ]
    if turned:
        lines.append(f"{counted(turned, 'is', 'are')} stored turned or mirrored, and made upright when read")
    if found.short:
        lines.append(
            f"{counted(len(found.short), 'ends before its header says', 'end before their headers say')} "
            "(what came of them is used):"
        )
        lines += _some([f"{path}: {short}" for path, short in found.short.items()])
    return lines


def told(copies: Copies) -> list[str]:
    """What is on both sides of the split, and what is twice in one part, in lines."""
    lines = []
    if copies.groups:
        more = ", ..." if len(copies.groups) > NAMED else ""
        lines.append(
            f"leak: {counted(len(copies.groups), 'group is', 'groups are')} in train and in val: "
            f"{', '.join(copies.groups[:NAMED])}{more}"
        )
    for kind in ("same content", "nearly the same"):
        leaks = [pair for pair in copies.leaks if pair.kind == kind]
        if leaks:
            lines.append(f"leak: {counted(len(leaks), 'video of val is', 'videos of val are')} in train too ({kind}):")
            lines += _some([f"{pair.other.path} is {pair.one.path}{_likeness(pair)}" for pair in leaks])
    for kind in ("same content", "nearly the same"):
        twice = [pair for pair in copies.twice if pair.kind == kind]
        if twice:
            apart = sum(pair.one.labels != pair.other.labels for pair in twice)
            labels = f", {apart:,} of them under another label" if apart else ""
            lines.append(
                f"{counted(len(twice), 'video is', 'videos are')} twice in one part ({kind}){labels}; --out lists them"
            )
    if copies.leaks or copies.groups:
        lines.append(
            "what is in train and in val makes results too good: take it out of one of them, or give what belongs "
            "together one group and hold out anew (mvit split)"
        )
    else:
        lines.append("no video of val is in train, by group, by content or by its pictures")
    if copies.flat:
        lines.append(
            f"{counted(copies.flat, 'file is', 'files are')} of nearly one colour where they begin, halve and end: "
            "not compared"
        )
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
        *(look.rotation_degrees, int(look.mirrored), look.container, look.codec),
        "" if look.container == FOLDER else look.size_bytes,
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


def _lasting(seconds: Sequence[float]) -> str:
    if not seconds:
        return ""
    total, low, high = sum(seconds), f"{min(seconds):,.3g}", f"{max(seconds):,.3g}"
    whole = f"{total / 3600:,.1f} h" if total >= 3600 else f"{total / 60:.1f} min"
    return f"{whole}, {low if low == high else f'{low} to {high}'} s each; "


def _bytes(size: int) -> str:
    return f"{size / 1e9:,.4g} GB" if size >= 1e9 else f"{size / 1e6:,.3g} MB"
