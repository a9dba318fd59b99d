"""Held-out parts and folds: drawn from a seed, about the same share of every class, whole groups together."""

import math
import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from mvit.data.samples import Sample, counted, named

Counts = Mapping[str, int]
NONE = "\0"
"""Counted as the class of samples that have none, so that these are dealt out too; no class can be called so."""


def split(samples: Sequence[Sample], fraction: float, seed: int) -> tuple[tuple[Sample, ...], tuple[Sample, ...]]:
    """Hold out about `fraction` of every class, whole groups together, and never the last sample of a class.

    A sample without a group is a group of its own; those without a class count as of one more. Groups are taken in an
    order drawn from `seed`, each if it brings the held-out counts nearer to their targets (squared distance over
    target, so that rare classes weigh the same).
    """
    if not 0 < fraction < 1:
        raise ValueError(f"the share of videos to hold out is {fraction}, but must lie between 0 and 1")
    members, counts = _groups(samples)
    total = Counter(label for sample in samples for label in sample.labels or (NONE,))
    target = {label: max(1.0, fraction * count) for label, count in total.items()}
    order = np.random.default_rng(seed).permutation(len(members)).tolist()
    held: Counter[str] = Counter()
    taken: set[int] = set()

    def gain(group: int) -> float:
        if any(held[label] + count >= total[label] for label, count in counts[group].items() if label != NONE):
            return -np.inf
        return sum(
            ((held[label] - target[label]) ** 2 - (held[label] + count - target[label]) ** 2) / target[label]
            for label, count in counts[group].items()
        )

    for group in order:
        if gain(group) > 0:
            held.update(counts[group])
            taken.add(group)
    for label in sorted(total):  # groups larger than the target: rather too many held out than none
        if held[label]:
            continue
        able = [group for group in order if label in counts[group] and gain(group) > -np.inf]
        if able:
            group = max(able, key=gain)
            held.update(counts[group])
            taken.add(group)
    held_out = {index for group in taken for index in members[group]}
    kept = tuple(sample for index, sample in enumerate(samples) if index not in held_out)
    return kept, tuple(sample for index, sample in enumerate(samples) if index in held_out)


def folds(samples: Sequence[Sample], number: int, seed: int) -> tuple[tuple[Sample, ...], ...]:
    """Deal the samples to `number` folds, each to be held out once; as many folds as groups leave one group out each.

    Groups stay whole and come in the order of their size, equal ones in an order drawn from `seed`, each to the fold
    that has least of its classes. Raises ValueError where a class would be in one fold only, so never learned there.
    """
    members, counts = _groups(samples)
    if not 2 <= number <= len(members):
        raise ValueError(f"the number of folds is {number}, but must be 2 to {len(members)}, the number of groups")
    total = Counter(label for sample in samples for label in sample.labels or (NONE,))
    order = np.random.default_rng(seed).permutation(len(members)).tolist()
    order.sort(key=lambda group: -len(members[group]))
    held: list[Counter[str]] = [Counter() for _ in range(number)]
    sizes = [0] * number
    dealt: list[list[int]] = [[] for _ in range(number)]

    def burden(fold: int, group: int) -> tuple[float, int]:
        # What the sum of squared shares of classes grows by.
        grown = sum(count * (2 * held[fold][label] + count) / total[label] for label, count in counts[group].items())
        return grown, sizes[fold]

    for rank, group in enumerate(order):
        empty = [fold for fold in range(number) if not dealt[fold]]
        # The last groups go where nothing is yet, so that no fold stays empty.
        among = empty if len(order) - rank <= len(empty) else range(number)
        fold = min(among, key=lambda fold: burden(fold, group))
        held[fold].update(counts[group])
        sizes[fold] += len(members[group])
        dealt[fold] += members[group]
    single = {label for label, count in total.items() if any(fold[label] == count for fold in held)}
    alone = sorted(single - {NONE})
    if alone:
        raise ValueError(
            f"{counted(len(alone), 'class', 'classes')} would be in one of {number} folds only ({named(alone)}), and "
            "be tested without having been learned: they need more groups, or to be left out"
        )
    return tuple(tuple(samples[index] for index in sorted(fold)) for fold in dealt)


def thinned(samples: Sequence[Sample], share: float, seed: int) -> tuple[Sample, ...]:
    """A share of every class, rounded up, drawn from `seed`: a smaller share is a part of a larger one.

    Groups are not kept whole, as nothing is held out. Raises ValueError for samples of several classes at once.
    """
    if not 0 < share <= 1:
        raise ValueError(f"the share of videos to keep is {share}, but must be above 0 and at most 1")
    members: dict[str, list[int]] = defaultdict(list)
    for index, sample in enumerate(samples):
        members[sample.label].append(index)
    rng = np.random.default_rng(seed)
    kept: set[int] = set()
    for label in sorted(members):
        order = rng.permutation(members[label]).tolist()
        kept.update(order[: math.ceil(round(share * len(order), 9))])  # 0.1 x 30 is a little more than 3
    return tuple(sample for index, sample in enumerate(samples) if index in kept)


@dataclass(frozen=True)
class Partition:
    """Samples by part, as a manifest with the column split holds them."""

    train: tuple[Sample, ...]
    val: tuple[Sample, ...]
    test: tuple[Sample, ...] = ()

    def parts(self) -> list[tuple[str, tuple[Sample, ...]]]:
        """The parts that are not empty, by name."""
        named_parts = [("train", self.train), ("val", self.val), ("test", self.test)]
        return [(name, part) for name, part in named_parts if part]

    def __str__(self) -> str:
        return ", ".join(f"{len(part):,} {name}{_groups_in(part)}" for name, part in self.parts())


def partition(
    samples: Sequence[Sample], *, val: float, test: float, folds_number: int, whole_groups: bool, seed: int
) -> list[Partition]:
    """Partitions of samples: one with `val` and `test` of them held out, or one for each of a number of folds.

    Without `whole_groups` every sample is dealt out by itself, though it keeps its group's name.
    """
    dealt = samples if whole_groups else [Sample(sample.path, sample.labels, None, sample.part) for sample in samples]
    own = {dealt_one.id: sample for dealt_one, sample in zip(dealt, samples, strict=True)}

    def back(part: Sequence[Sample]) -> tuple[Sample, ...]:
        return tuple(own[sample.id] for sample in part)

    if folds_number:
        made = folds(dealt, folds_number, seed)
        learned = [[sample for other in made if other is not fold for sample in other] for fold in made]
        return [Partition(back(rest), back(fold)) for rest, fold in zip(learned, made, strict=True)]
    if test and not 0 < val + test < 1:
        raise ValueError(f"the shares to hold out are {val} and {test}, but must be below 1 together")
    rest, tested = split(dealt, test, seed) if test else (dealt, ())
    kept, held_out = split(rest, val / (1 - test), seed)
    if not held_out or (test and not tested):
        groups = len({sample.group for sample in dealt if sample.group is not None})
        raise ValueError(
            f"no {'val' if tested or not test else 'test'} can be held out of {len(samples):,} videos without emptying "
            "a class" + (f": each of the {groups:,} groups stays whole, and too few share a class" if groups else "")
        )
    return [Partition(back(kept), back(held_out), back(tested))]


def grouped(samples: Sequence[Sample], pattern: str) -> tuple[Sample, ...]:
    """The samples with groups found in the names of their files: the first group of a pattern, or all that it matches.

    Raises ValueError for what is no pattern, and for names without a match.
    """
    try:
        search = re.compile(pattern)
    except re.error as error:
        raise ValueError(f"'{pattern}' is no regular expression: {error}") from error
    found = [search.search(sample.path.name) for sample in samples]
    without = [sample.path.name for sample, match in zip(samples, found, strict=True) if not match or not _named(match)]
    if without:
        raise ValueError(f"'{pattern}' finds no group in {len(without):,} of {len(samples):,} names: {named(without)}")
    return tuple(replace(sample, group=_named(match)) for sample, match in zip(samples, found, strict=True) if match)


def _groups_in(samples: Sequence[Sample]) -> str:
    groups = {sample.group for sample in samples if sample.group is not None}
    return f" ({counted(len(groups), 'group')})" if groups else ""


def _named(match: re.Match[str]) -> str | None:
    return match[1] if match.re.groups else match[0]


def _groups(samples: Sequence[Sample]) -> tuple[list[list[int]], list[Counts]]:
    """The indices of the samples of each group, and how many of each class it has."""
    groups: dict[object, list[int]] = defaultdict(list)
    for index, sample in enumerate(samples):
        # A video and its parts are of one source, whether or not anything says so.
        groups[sample.path if sample.group is None else sample.group].append(index)
    members = list(groups.values())
    single: dict[tuple[str, ...], Counts] = {}  # one count for all samples of a class that are groups of their own
    counts = [
        single.setdefault(samples[group[0]].labels, Counter(samples[group[0]].labels or (NONE,)))
        if len(group) == 1
        else Counter(label for index in group for label in samples[index].labels or (NONE,))
        for group in members
    ]
    return members, counts
