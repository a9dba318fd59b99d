"""The run folder: what a run was given, what it left out, what it measured; refused where it would be overwritten."""

import csv
import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mvit import files
from mvit.data.dataset import Listing, Sample, read_split, split_file, split_table
from mvit.distributed.lock import LOCK
from mvit.recipes import recipe as recipes
from mvit.recipes.recipe import Recipe
from mvit.weights import hub

MACHINE_KEYS = ("train.workers", "train.memory", "train.max_bad", "train.timeout_seconds", "train.parallel")
"""What may change when a run goes on, as no weight depends on it (on ``parallel`` its last bits)."""

UNREADABLE = "unreadable.csv"
UNREADABLE_COLUMNS = ("path", "reason", "found_in")


@dataclass(frozen=True)
class Run:
    """Files of one training run, by name."""

    folder: Path

    @property
    def checkpoints(self) -> Path:
        """Where checkpoints are."""
        return self.folder / "checkpoints"

    @property
    def recipe(self) -> Path:
        """The resolved recipe."""
        return self.folder / "recipe.toml"

    @property
    def split(self) -> Path:
        """Which videos were train, which val."""
        return split_file(self.folder)

    @property
    def metrics(self) -> Path:
        """A line of JSON for each epoch."""
        return self.folder / "metrics.jsonl"

    @property
    def skipped(self) -> Path:
        """A line of JSON for each step that was not taken, and for each time that the run went back."""
        return self.folder / "skipped.jsonl"

    @property
    def origin(self) -> Path:
        """Where it comes from: when it began, machine, versions, commit, fingerprint of the data."""
        return self.folder / "run.json"

    @property
    def known(self) -> dict[str, Any]:
        """What ``origin`` holds; nothing of a run that earlier versions began. Raises ``ValueError`` where damaged."""
        if not self.origin.is_file():
            return {}
        try:
            return dict(json.loads(self.origin.read_text(encoding="utf-8")))
        except (ValueError, TypeError) as why:
            raise ValueError(f"{self.origin} is damaged ({why!r}): put it back as it was, or take it away") from why

    def is_of(self, run_id: str | None) -> bool:
        """Whether a run has begun here by this id."""
        return self.recipe.is_file() and run_id is not None and self.known.get("id") == run_id

    def require_new(self) -> None:
        """Raise ``ValueError`` where something stands already."""
        if self.folder.exists() and not only_listed_unreadable(self.folder):
            hint = "go on with it by --resume, or " if self.recipe.is_file() else ""
            raise ValueError(f"{self.folder} exists already: {hint}choose another folder with --out")

    def require_same(self, recipe: Recipe, listing: Listing) -> None:
        """Raise ``ValueError`` unless the run was started with this recipe and these videos."""
        if not self.recipe.is_file():
            raise ValueError(f"{self.folder} is no run to go on with: it has no {self.recipe.name}")
        changes = recipes.differences(rooted(recipes.load(self.recipe)), rooted(recipe))
        changes = [change for change in changes if not change.startswith(MACHINE_KEYS)]
        if changes:
            raise ValueError(
                f"{self.folder} was started with another recipe ({'; '.join(changes)}): "
                "go on with the same one, or start a new run with another --out"
            )
        before = read_split(self.split)
        for part, was, now in (("train", before.train, listing.train), ("val", before.val, listing.val)):
            old, new = (list(map(_standing, samples)) for samples in (was, now))
            if old != new:  # also in order and groups: what a batch holds and what is held out hang on them
                strange = {path for path, *_ in old} ^ {path for path, *_ in new}
                example = f", {min(strange)} is in one only" if strange else ", in another order, class or group"
                raise ValueError(
                    f"{self.folder} was started with another {part} ({len(was)} videos, now {len(now)}{example}): "
                    f"go on with those of {self.split.name}, or start a new run with another --out"
                )

    def create(
        self, recipe: Recipe, listing: Listing, unreadable: Mapping[Path, str], origin: Mapping[str, Any]
    ) -> None:
        """Write down what the run starts from; the recipe comes last, so where it stands the rest does."""
        self.folder.mkdir(parents=True, exist_ok=True)
        files.write_text(split_file(self.folder, listing.multi_label), split_table(listing))
        self.list_unreadable(unreadable)
        files.write_text(self.origin, json.dumps(origin, indent=1, ensure_ascii=False) + "\n")
        files.write_text(self.recipe, recipes.dumps(recipe))

    @property
    def unreadable(self) -> Path:
        """The videos that were left out, with the reason; there where there are any."""
        return self.folder / UNREADABLE

    def list_unreadable(self, unreadable: Mapping[Path, str]) -> None:
        """Write down what the scan found, also where the run then does not begin."""
        with files.blaming(self.unreadable):
            self.unreadable.unlink(missing_ok=True)
            if unreadable:
                self.folder.mkdir(parents=True, exist_ok=True)
        for path, reason in unreadable.items():
            self.leave_out(path, reason, found_in="scan")

    def leave_out(self, path: Path | str, reason: str, *, found_in: str) -> None:
        """Add a video to unreadable.csv; ``found_in`` is "scan" or "training"."""
        table = self.unreadable
        fresh = not table.exists()
        with files.blaming(table), table.open("a", encoding="utf-8", errors="surrogateescape", newline="") as file:
            writer = csv.writer(file)
            if fresh:
                writer.writerow(UNREADABLE_COLUMNS)
            writer.writerow([path, reason, found_in])

    def left_out(self, found_in: str | None = None) -> dict[Path, str]:
        """What stands in unreadable.csv: reasons by path."""
        return {Path(path): reason for path, reason, found in self._unreadable_rows() if found_in in (None, found)}

    def spell_left_out(self, listing: Listing) -> None:
        """Name the videos of unreadable.csv as a listing does that leads to the same ones by other paths."""
        rows, samples = self._unreadable_rows(), (*listing.train, *listing.val)
        if not rows or {Path(path) for path, *_ in rows} <= {sample.id for sample in samples}:
            return
        known = {Path(path).resolve(): about for path, *about in reversed(rows)}  # what was found first stands
        text = io.StringIO()
        writer = csv.writer(text)
        writer.writerow(UNREADABLE_COLUMNS)
        for sample in samples:
            if about := known.get(sample.id.resolve()):
                writer.writerow([sample.id, *about])
        files.write_text(self.unreadable, text.getvalue())

    def _unreadable_rows(self) -> list[tuple[str, str, str]]:
        if not self.unreadable.exists():
            return []
        with self.unreadable.open(encoding="utf-8", errors="surrogateescape", newline="") as file:
            return [(row["path"], row["reason"], row["found_in"]) for row in csv.DictReader(file)]

    def append(self, path: Path, record: Mapping[str, Any]) -> None:
        """Add a line of JSON to a file, and have it on its way to the disk."""
        with files.blaming(path), path.open("a", encoding="utf-8", errors="surrogateescape") as lines:
            lines.write(json.dumps(record, ensure_ascii=False) + "\n")
            lines.flush()

    def forget_after(self, epochs: int) -> None:
        """Drop metrics of later epochs, which a run that goes on from its checkpoint measures again."""
        if not self.metrics.exists():
            return
        kept = [line for line, record in _records(self.metrics) if record["epoch"] <= epochs]
        files.write_text(self.metrics, "".join(f"{line}\n" for line in kept))

    def forget_skipped(self, step: tuple[int, int], rollbacks: int) -> None:
        """Drop what a run that goes on from this step (epoch and batch, from 0 on) comes upon again.

        It has gone back so many times before; later times, and what followed on them, are to come once more.
        """
        if not self.skipped.exists():
            return
        kept, times = list[str](), 0
        for line, record in _records(self.skipped):
            times += "went_back_to" in record
            if times > rollbacks:
                break
            past = times < rollbacks or "went_back_to" in record
            if past or (record["epoch"] - 1, record["batch"]) < step:
                kept.append(line)
        files.write_text(self.skipped, "".join(f"{line}\n" for line in kept))


def rooted(recipe: Recipe) -> Recipe:
    """The recipe with a path to weights made absolute, as it is meant from whatever folder it is read later."""
    weights = recipe.model.weights
    try:
        if not weights or hub.named(recipe.model.name, weights) is not None:
            return recipe
    except ValueError:  # neither a name nor there: said where it is read, and a run that goes on reads it no more
        return recipe
    return replace(recipe, model=replace(recipe.model, weights=str(Path(weights).absolute())))


def only_listed_unreadable(folder: Path) -> bool:
    """Whether a folder holds nothing, or the list of a run that did not begin for the videos on it."""
    return folder.is_dir() and all(path.name in (UNREADABLE, LOCK) for path in folder.iterdir())


def _standing(sample: Sample) -> tuple[Path, tuple[str, ...], str]:
    """What a run goes by of a sample; a CSV keeps no blanks around the name of a group."""
    return sample.id.resolve(), sample.labels, (sample.group or "").strip()


def _records(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """The lines of a file of JSON lines, but for one that a kill cut short, each with what it holds."""
    text = path.read_text(encoding="utf-8", errors="surrogateescape")
    for line in text.split("\n"):  # splitlines() would part names that hold U+2028
        try:
            yield line, json.loads(line)
        except ValueError:
            continue
