"""Which videos do what in a run: learned from, held out to choose an epoch, reported on."""

from collections.abc import Callable, Iterable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from mvit.curation.index import Index
from mvit.data.dataset import Listing, Sample, split
from mvit.data.samples import Medium, counted, medium_of
from mvit.data.sampling import ClipSampling
from mvit.data.scan import scan, summary
from mvit.recipes.sections import TrainRecipe
from mvit.training.progress import StatusLine


@dataclass(frozen=True)
class Parts:
    """The videos of a run: those learned from, those held out of train to choose the best epoch, those reported on."""

    classes: tuple[str, ...]
    train: tuple[Sample, ...]
    holdout: tuple[Sample, ...]
    val: tuple[Sample, ...]
    multi_label: bool = False

    @property
    def medium(self) -> Medium:
        """What the samples are called."""
        return medium_of((*self.train, *self.holdout, *self.val))

    def __str__(self) -> str:
        chosen = f", {len(self.holdout)} held out of train to choose the best epoch" if self.holdout else ""
        counts = sorted(len(sample.labels) for part in (self.train, self.holdout, self.val) for sample in part)
        several = (
            f" of which a video has {counts[0]} to {counts[-1]}, each learned by itself," if self.multi_label else ""
        )
        learned = counted(len(self.train), self.medium.removesuffix("s"))
        return (
            f"{counted(len(self.classes), 'class', 'classes')},{several} {learned} to learn from{chosen}, "
            f"{len(self.val)} to report on"
        )


def look_through(
    listing: Listing,
    sampling: ClipSampling,
    echo: Callable[[str], None],
    workers: int | Literal["auto"],
    index: Path | None = None,
) -> dict[Path, str]:
    """Look at every video, say what there is, and return the unreadable ones with their reasons.

    What an `index` holds of files that have not changed is taken from there.
    """
    echo(listing.how)
    for note in listing.notes:
        echo(f"note: {note}")
    samples = (*listing.train, *listing.val)
    medium = medium_of(samples)
    with StatusLine(echo) as status, Index(index) if index else nullcontext() as seen:
        processes = None if workers == "auto" else workers
        found = scan(
            samples,
            workers=processes,
            progress=lambda done, total: status.show(lambda: f"scanning {done} of {total} {medium}"),
            seen=seen,
        )
    for note in seen.notes if seen is not None else []:
        echo(f"note: {note}")
    if found.short:
        path, short = next(iter(found.short.items()))
        end = counted(len(found.short), "video ends before its header says", "videos end before their header says")
        echo(f"note: {end}: {path}, {short} (mvit scan lists them)")
    for line in summary(listing, found, sampling):
        echo(line)
    return dict(found.unreadable)


@dataclass(frozen=True)
class Limit:
    """How large a share of the training videos may be unreadable; the table lists those that are."""

    training: frozenset[Path]
    most: float
    table: Path

    def check(self, unreadable: Iterable[Path]) -> None:
        """Raise ``ValueError`` where more of them are."""
        bad, listed = len(self.training.intersection(unreadable)), len(self.training)
        if bad > self.most * listed:
            raise ValueError(
                f"{bad:,} of {listed:,} training videos ({100 * bad / listed:.3g} %) cannot be read, more than the "
                f"{100 * self.most:g} % that train.max_bad allows: {self.table} lists them with the reasons. Mend "
                "them, take them out of the data, or allow more with --max-bad"
            )


def divide(listing: Listing, unreadable: Mapping[Path, str], recipe: TrainRecipe) -> Parts:
    """Leave out of train what cannot be read, and hold out of it what the recipe asks for, whole groups together.

    Unreadable videos stay in val, where evaluation names and counts them. Raises ``ValueError`` where nothing is left
    to learn from, or nothing that can be read of a val.
    """
    readable = tuple(sample for sample in listing.train if sample.id not in unreadable)
    if not readable:
        path, reason = next(iter(unreadable.items()))
        raise ValueError(f"none of the {len(listing.train)} training videos can be read; the first is {path}: {reason}")
    judged = [sample for sample in listing.val if sample.labels]
    if judged and all(sample.id in unreadable for sample in judged):
        labelled, path = " with a class" if len(judged) < len(listing.val) else "", judged[0].id
        raise ValueError(
            f"no video of {len(judged):,}{labelled} in val can be read, so there is nothing to judge by; the first is "
            f"{path}: {unreadable[path]}. Mend them, or hold out others"
        )
    if not recipe.holdout:
        return Parts(listing.classes, readable, (), listing.val, listing.multi_label)
    kept, held_out = split(readable, recipe.holdout, recipe.seed)
    if not held_out:
        raise ValueError(
            f"train.holdout is {recipe.holdout}, but no video can be held out of {len(readable)} without emptying a "
            "class: set it to 0, and the last epoch stands"
        )
    return Parts(listing.classes, kept, held_out, listing.val, listing.multi_label)
