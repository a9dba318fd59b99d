"""What a run comes from besides its recipe: machine, versions, commit, and a fingerprint of its data."""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mvit import provenance
from mvit.data import members
from mvit.data.dataset import Listing, Sample


def origin(listing: Listing, device: str, processes: int = 1, run_id: str | None = None) -> dict[str, Any]:
    """What run.json holds of where a run comes from; ``device`` is the kind it computes on, such as "cpu".

    ``run_id`` is by what its processes know it again when they are started anew.
    """
    return {
        "id": run_id,
        "processes": processes,
        "begun": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": provenance.commit(),
        "environment": provenance.environment(device),
        "data": fingerprint(listing),
    }


def changes(file: Path, now: Mapping[str, Any]) -> list[str]:
    """What is no more as it was when the run began, in sentences; ``file`` is what ``origin`` was written to then.

    Nothing is known of a run without that file, as earlier versions began it. Raises ``ValueError`` for a damaged one.
    """
    if not file.is_file():
        return []
    try:
        before = json.loads(file.read_text(encoding="utf-8"))
        facts = [_bearing_on_bits(facts) for facts in (before, now)]
        digests = [facts["data"]["sha256"] for facts in (before, now)]
    except (ValueError, LookupError, TypeError, AttributeError) as why:
        raise ValueError(f"{file} is damaged ({why!r}): put it back as it was, or take it away") from why
    said = []
    if digests[0] != digests[1]:
        said.append(
            "warning: videos have changed since the run began, as their sizes in bytes show: what is learned from here "
            "on is learned from others"
        )
    was, is_now = facts
    differing = [f"{name} {was.get(name)} -> {is_now.get(name)}" for name in is_now if was.get(name) != is_now[name]]
    if differing:
        said.append(
            f"note: since the run began, this has changed: {', '.join(differing)}; the last bits of what is learned "
            "may be others for it"
        )
    return said


def _bearing_on_bits(known: Mapping[str, Any]) -> dict[str, Any]:
    environment = known["environment"]
    hardware = {name: environment["hardware"].get(name) for name in ("processor", "capability", "threads", "gpu")}
    return {
        "commit": known["commit"],
        "processes": known.get("processes", 1),
        **environment["versions"],
        **hardware,
    }


def fingerprint(listing: Listing) -> dict[str, Any]:
    """The folder that holds all videos, how many there are, and a sha256 by which the same data is known again.

    It is over part (train or val), path below that folder, part of the video, bytes and classes of every video, in the
    order of these lines: the same wherever the folder is moved to, another one where a video comes, goes, changes its
    size or its class. No video is read.
    """
    samples = [("train", sample) for sample in listing.train] + [("val", sample) for sample in listing.val]
    folder = Path(os.path.commonpath([sample.path.parent for _, sample in samples]))
    digest = hashlib.sha256("".join(sorted(_lines(samples, folder))).encode())
    return {
        "folder": str(folder),
        "classes": len(listing.classes),
        "train": len(listing.train),
        "val": len(listing.val),
        "sha256": digest.hexdigest(),
    }


def _lines(samples: list[tuple[str, Sample]], folder: Path) -> Iterator[str]:
    for part, sample in samples:
        try:
            size, _ = members.size_and_change(sample.path)
        except OSError:  # listed and not there: its lack is part of what the data is
            size = None
        yield json.dumps([part, sample.id.relative_to(folder).as_posix(), size, *sample.labels]) + "\n"
