"""Held-out parts and folds: drawn from a seed, about the same share of every class, whole groups together."""

import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from mvit.data.samples import Sample, named

Counts = Mapping[str, int]


def split(samples: Sequence[Sample], fraction: float, seed: int) -> tuple[tuple[Sample, ...], tuple[Sample, ...]]:
    """Hold out about `fraction` of every class, whole groups together, and never the last sample of a class.

    A sample without a group is a group of its own. Groups are taken in an order drawn from `seed`, each if it brings
    the held-out counts nearer to their targets (squared distance over target, so that rare classes weigh the same).
    """
    if not 0 < fraction < 1:
        raise ValueError(f"the share of videos to hold out is {fraction}, but must lie between 0 and 1")
    members, counts = _groups(samples)
    total = Counter(label for sample in samples for label in sample.labels)
    target = {label: max(1.0, fraction * count) for label, count in total.items()}
    order = np.random.default_rng(seed).permutation(len(members)).tolist()
    held: Counter[str] = Counter()
    taken: set[int] = set()

    def gain(group: int) -> float:
        if any(held[label] + count >= total[label] for label, count in counts[group].items()):
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
    total = Counter(label for sample in samples for label in sample.labels)
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
    alone = sorted(label for label, count in total.items() if any(fold[label] == count for fold in held))
    if alone:
        raise ValueError(
            f"{len(alone)} classes would be in one of {number} folds only ({named(alone)}), and be tested without "
            "having been learned: they need more groups, or to be left out"
        )
    return tuple(tuple(samples[index] for index in sorted(fold)) for fold in dealt)


def grouped(samples: Sequence[Sample], pattern: str) -> tuple[Sample, ...]:
    """The samples with groups found in the names of their files: the first group of a pattern, or all that it matches.

    Raises ValueError for what is no pattern, and for names without a match.
    """
    try:
        search = re.compile(pattern)
    except re.error as error:
        raise ValueError(f"{pattern!r} is no regular expression: {error}") from error
    found = [search.search(sample.path.name) for sample in samples]
    without = [sample.path.name for sample, match in zip(samples, found, strict=True) if not match or not _named(match)]
    if without:
        raise ValueError(f"{pattern!r} finds no group in {len(without):,} of {len(samples):,} names: {named(without)}")
    return tuple(replace(sample, group=_named(match)) for sample, match in zip(samples, found, strict=True) if match)


def _named(match: re.Match[str]) -> str | None:
    return match[1] if match.re.groups else match[0]


def _groups(samples: Sequence[Sample]) -> tuple[list[list[int]], list[Counts]]:
    """The indices of the samples of each group, and how many of each class it has."""
    groups: dict[object, list[int]] = defaultdict(list)
    for index, sample in enumerate(samples):
        # Parts of one video are of one source, whether or not anything says so.
        alone = index if sample.part is None else sample.path
        groups[alone if sample.group is None else sample.group].append(index)
    members = list(groups.values())
    single: dict[tuple[str, ...], Counts] = {}  # one count for all samples of a class that are groups of their own
    counts = [
        single.setdefault(samples[group[0]].labels, Counter(samples[group[0]].labels))
        if len(group) == 1
        else Counter(label for index in group for label in samples[index].labels)
        for group in members
    ]
    return members, counts
