"""Memory of the loader's processes over epochs of a large index, and beside it that of the same index as Python lists.

    python benchmarks/loader_memory.py --out benchmarks/results/data-index-memory.json

Every epoch draws every entry once, in shuffled order, from worker processes; nothing is decoded, so that the figures
are those of the index. Linux only.
"""

import argparse
import json
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from mvit.data import loader as loading
from mvit.data.clips import Clips, Draw, Drawn
from mvit.data.dataset import Sample
from mvit.data.sampling import ClipSampling
from mvit.data.transforms import Augmentation
from mvit.data.views import Preprocessing
from mvit.files import require_writable
from mvit.provenance import provenance, write

CLASSES = tuple(f"class_{number:03d}" for number in range(400))
PREPROCESSING = Preprocessing(sampling=ClipSampling(frames=1, spacing=1), short_side=1, crop=1)


class Touched(Clips):
    """Looks every entry up and decodes nothing."""

    def __getitem__(self, index: Draw) -> Drawn:
        """A black clip of one pixel."""
        path, label = self.entries[index[1]]
        return torch.zeros(self.shape, dtype=torch.uint8), label, path, ""


class Listed(Touched):
    """The same with a list of Python objects."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.entries: Any = _List(self.entries)


class _List(list[Any]):
    bytes = 0

    def share(self) -> None:
        """Nothing: every process gets its copy."""


def samples(entries: int) -> Iterator[Sample]:
    """Entries with paths as long as those of Kinetics."""
    for number in range(entries):
        label = CLASSES[number % len(CLASSES)]
        yield Sample(Path(f"/data/kinetics/train/{label}/{number:011d}_000010_000020.mp4"), label)


def memory(pid: int) -> dict[str, int]:
    """Bytes of a process: its own pages, and its part of those that it shares."""
    with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as lines:
        kib = {name: int(rest.split()[0]) for name, _, rest in (line.partition(":") for line in list(lines)[1:])}
    return {"own": 1024 * (kib["Private_Clean"] + kib["Private_Dirty"]), "with_its_part_of_shared": 1024 * kib["Pss"]}


def run(kind: type[Clips], entries: int, epochs: int, workers: int) -> dict[str, Any]:
    """Memory of each worker after each epoch."""
    loading.Clips = kind
    listed = list(samples(entries))
    loader = loading.TrainLoader(listed, CLASSES, PREPROCESSING, Augmentation(), batch=256, seed=0, workers=workers)
    after = []
    for epoch in range(epochs):
        drawn = sum(len(batch.labels) for batch in loader.epoch(epoch))
        assert drawn == entries
        after.append([memory(worker.pid) for worker in loader._loader._iterator._workers])
        print(
            f"{kind.__name__}, epoch {epoch + 1}: {[round(each['own'] / 2**20, 1) for each in after[-1]]} MiB",
            flush=True,
        )
    growth = max(last["own"] - first["own"] for first, last in zip(after[0], after[-1], strict=True))
    return {"index_bytes": loader.clips.entries.bytes, "bytes_after_epochs": after, "own_growth_bytes": growth}


def main() -> None:
    """Measure both and write the record."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--entries", type=int, default=300_000)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    if options.out:
        require_writable(options.out)
    record = {
        "command": shlex.join(["python", *sys.argv]),
        **provenance("cpu"),
        "entries": options.entries,
        "epochs": options.epochs,
        "workers": options.workers,
        "mapped": run(Touched, options.entries, options.epochs, options.workers),
        "lists": run(Listed, options.entries, options.epochs, options.workers),
    }
    if options.out:
        write(record, options.out)
        print(f"Wrote {options.out}")
    else:
        print(json.dumps(record))


if __name__ == "__main__":
    main()
