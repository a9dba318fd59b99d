"""Multiscale and columnar on each of six groups of four people, learned from the other twenty: top-1 by fold.

``python folds.py TRAIN.csv VAL.csv OUT FOLDS [key=value...]``, FOLDS being such as ``0,1,2``, so that several can run
beside each other; runs are those of the study ``multiscale`` with seed 0, and what is done is kept.
"""

import csv
import sys
from pathlib import Path

from mvit.data.dataset import find
from mvit.evaluation.evaluate import RESULT_FILE
from mvit.studies import planning
from mvit.training import defaults, loop

FOLDS = 6


def write_fold(tables: list[Path], fold: int, out: Path) -> tuple[Path, Path]:
    """The tables of a fold, in which every sixth person of the sorted ones is held out."""
    rows = [
        {**row, "path": str(table.parent.resolve() / row["path"])}
        for table in tables
        for row in csv.DictReader(table.open(encoding="utf-8"))
    ]
    people = sorted({row["group"] for row in rows})
    held = set(people[fold::FOLDS])
    pair = (out / f"fold-{fold}-train.csv", out / f"fold-{fold}-val.csv")
    for path, inside in zip(pair, (False, True), strict=True):
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, ("path", "label", "group"))
            writer.writeheader()
            writer.writerows(row for row in rows if (row["group"] in held) is inside)
    return pair


def main(train: str, val: str, out: str, folds: str, *overrides: str) -> None:
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    for fold in map(int, folds.split(",")):
        learned, held = write_fold([Path(train), Path(val)], fold, folder)
        listing = find(learned, val=held)
        base = defaults.settle("study", overrides, listing, echo=lambda line: None)
        planned = planning.planned(["multiscale"], base, learned, listing, folder / "none", seeds=2)
        for task in planned.tasks:
            run = folder / f"{task.variant}-{fold}"
            if task.variant in ("multiscale", "columnar") and not (run / RESULT_FILE).is_file():
                resume = (run / "recipe.toml").is_file()
                loop.train(
                    planned.recipe(task, 0), listing, run, resume=resume, echo=lambda line: print(line, flush=True)
                )


if __name__ == "__main__":
    main(*sys.argv[1:])
