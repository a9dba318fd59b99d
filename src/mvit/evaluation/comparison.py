"""Which of several models is better on the same videos, and how sure one may be of it. Pure numpy.

Intervals draw groups where they are known. McNemar's test is of two fixed models, as they are: it says nothing of how
either would come out if trained again, for which there must be several runs of each.
"""

from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from mvit.evaluation.saved import Saved, groups_of, read
from mvit.evaluation.statistics import difference_interval, difference_method, holm, mcnemar, mean_interval, units


def compare(right: Mapping[str, np.ndarray], groups: Sequence[str | None]) -> dict[str, Any]:
    """``models`` and ``pairs`` of what models, by name, have right of the same N videos, (N,) bool, as JSON holds it.

    Shares are fractions, intervals 95 % over groups (N,). Of each pair: ``difference`` of the first's share less the
    second's, its interval (paired: both of the same draws) and the ``method`` of it, how many videos one of them alone
    has right, McNemar's p and ``p_corrected``, that for as many pairs as there are (Holm).
    """
    unit = units(groups)
    models = {
        name: {"top1": float(own.mean()), "top1_interval": mean_interval(own, unit)} for name, own in right.items()
    }
    pairs: list[dict[str, Any]] = []
    for (first, one), (second, other) in combinations(right.items(), 2):
        pairs.append(
            {
                "first": first,
                "second": second,
                "difference": float(one.mean() - other.mean()),
                "difference_interval": difference_interval(one, other, unit),
                "method": difference_method(one, other, unit),
                "only_first": int((one & ~other).sum()),
                "only_second": int((other & ~one).sum()),
                "p": mcnemar(one, other),
            }
        )
    for pair, corrected in zip(pairs, holm([pair["p"] for pair in pairs]), strict=True):
        pair["p_corrected"] = corrected
    return {
        "videos": len(unit),
        "groups": len({group for group in groups if group is not None}),
        "units": int(unit.max()) + 1,
        "models": models,
        "pairs": pairs,
    }


def of_saved(folders: Mapping[str, Path]) -> dict[str, Any]:
    """The comparison of evaluated runs, by name, from their files; ``protocol`` and ``listed`` are those of all.

    Raises ValueError where they are not of the same videos, labels and classes under the same protocol, naming what
    differs, and as ``saved.read`` does.
    """
    runs = {name: read(folder) for name, folder in folders.items()}
    require_alike(runs)
    first = next(iter(runs.values()))
    told = zip(*(groups_of(folder, first.paths) for folder in folders.values()), strict=True)
    groups = [next((group for group in each if group is not None), None) for each in told]
    order = {path: place for place, path in enumerate(first.paths)}
    right = {name: run.right[np.argsort([order[path] for path in run.paths])] for name, run in runs.items()}
    found = compare(right, groups)
    return {"protocol": first.result["protocol"], "listed": first.result["listed"], **found}


def require_alike(runs: Mapping[str, Saved]) -> None:
    """Raise ValueError unless these are evaluations of the same videos under the same protocol, naming what differs."""
    require_same_classes({name: run.classes for name, run in runs.items()})
    (name, first), *others = runs.items()
    for other, run in others:
        if why := _differing(first, run):
            raise ValueError(
                f"{name} and {other} were not measured alike: {why}. Give the data too, and both are measured on it: "
                "mvit compare RUN... DATA"
            )


def require_same_classes(classes: Mapping[str, Sequence[str]]) -> None:
    """Raise ValueError unless all models, by name, know the same classes in any order, naming who lacks which."""
    (name, first), *others = classes.items()
    for other, own in others:
        lacks = {other: sorted({*first} - {*own}), name: sorted({*own} - {*first})}
        if said := [f"{who} lacks {which[0]!r} ({len(which):,} such)" for who, which in lacks.items() if which]:
            raise ValueError(
                f"{name} and {other} do not name the same classes, so they cannot be compared: {', '.join(said)}"
            )


def _differing(first: Saved, run: Saved) -> str | None:
    if first.result["protocol"] != run.result["protocol"]:
        return f"{first.result['protocol']} against {run.result['protocol']}"
    labels, others = _labels(first), _labels(run)
    if lacking := sorted(labels.keys() ^ others.keys()):
        return f"only one of them has scores of {lacking[0]} ({len(lacking):,} such)"
    if strange := [path for path, label in labels.items() if others[path] != label]:
        path = strange[0]
        return f"{path} is {labels[path]!r} in the one and {others[path]!r} in the other ({len(strange):,} such)"
    return None


def _labels(run: Saved) -> dict[str, str]:
    return {path: run.classes[label] for path, label in zip(run.paths, run.labels.tolist(), strict=True)}
