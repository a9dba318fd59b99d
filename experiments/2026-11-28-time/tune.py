"""One run of each model at each of four learning rates, on people held out of train: which rate suits which.

``python tune.py TRAIN.csv DEV.csv OUT MODEL [MODEL...]`` with models named as in the study ``controls``; what is done
is kept.
"""

import sys
from pathlib import Path

from mvit.data.dataset import find
from mvit.evaluation.evaluate import RESULT_FILE
from mvit.studies import planning
from mvit.training import defaults, loop

RATES = (1e-3, 2e-3, 5e-4, 2.5e-4)


def main(train: str, dev: str, out: str, *models: str) -> None:
    data = Path(train)
    listing = find(data, val=Path(dev))
    for rate in RATES:
        overrides = (f"optim.lr={rate}", "train.workers=1", "train.precision=float32")
        base = defaults.settle("study", overrides, listing, echo=lambda line: None)
        planned = planning.planned(["controls"], base, data, listing, Path(out) / "none", seeds=2)
        tasks = {task.variant: task for task in planned.tasks}
        for model in models:
            folder = Path(out) / f"{model}-{rate:g}"
            if not (folder / RESULT_FILE).is_file():
                recipe = planned.recipe(tasks[model], 0)
                loop.train(
                    recipe,
                    listing,
                    folder,
                    resume=(folder / "recipe.toml").is_file(),
                    echo=lambda line: print(line, flush=True),
                )


if __name__ == "__main__":
    main(*sys.argv[1:])
