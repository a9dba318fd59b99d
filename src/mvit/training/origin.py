"""What a run comes from besides its recipe: machine, versions, commit, and a fingerprint of its data."""

import hashlib
import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mvit import provenance
from mvit.data import members
from mvit.data.dataset import Listing, Sample


def origin(listing: Listing, device: str) -> dict[str, Any]:
    """What run.json holds of where a run comes from; ``device`` is the kind it computes on, such as "cpu"."""
    return {
        "begun": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": provenance.commit(),
        "environment": provenance.environment(device),
        "data": fingerprint(listing),
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
