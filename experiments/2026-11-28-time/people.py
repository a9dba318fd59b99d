"""What the runs of ``folds.py`` are worth to each person held out: ``python people.py OUT > folds.json``.

Top-1 by fold, and by person in an order of its own, without their names; differences with 95 % intervals over both.
"""

import csv
import json
import sys
from collections import defaultdict
from itertools import chain
from pathlib import Path
from statistics import fmean

from mvit.studies.spread import contrast

KINDS = ("multiscale", "columnar")


def of_fold(out: Path, kind: str, fold: int) -> dict[str, list[bool]]:
    """Of each person held out, which clips a run was right about."""
    with (out / f"fold-{fold}-val.csv").open(encoding="utf-8", newline="") as file:
        person = {row["path"]: row["group"] for row in csv.DictReader(file)}
    right = defaultdict(list)
    with (out / f"{kind}-{fold}" / "scores.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            right[person[row["path"]]].append(row["predicted"] == row["label"])
    if sum(map(len, right.values())) != len(person):
        raise ValueError(f"{out / f'{kind}-{fold}'} has scores of other clips than those that were held out")
    return right


def main(out: str) -> None:
    folder = Path(out)
    places = range(len(list(folder.glob("fold-*-val.csv"))))
    folds = {kind: [of_fold(folder, kind, fold) for fold in places] for kind in KINDS}
    found: dict[str, object] = {
        "clips": [sum(map(len, fold.values())) for fold in folds["multiscale"]],
        "people": [len(fold) for fold in folds["multiscale"]],
    }
    by_fold = {kind: [100 * fmean(chain(*fold.values())) for fold in folds[kind]] for kind in KINDS}
    by_person = {kind: [100 * fmean(fold[person]) for fold in folds[kind] for person in sorted(fold)] for kind in KINDS}
    for name, values in (("folds", by_fold), ("persons", by_person)):
        apart = contrast(values["columnar"], values["multiscale"])
        found[f"top1_by_{name}"] = {kind: [round(each, 1) for each in values[kind]] for kind in KINDS}
        found[f"columnar_less_multiscale_by_{name}"] = {
            "mean": round(apart.mean, 1),
            "low": None if apart.low is None else round(apart.low, 1),
            "high": None if apart.high is None else round(apart.high, 1),
        }
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main(*sys.argv[1:])
