"""The golden run: a training from computed pictures, so small that its curve can be compared with one in a file.

`python tests/golden/curve.py` prints how far the curve is from the file's, step by step; with --write it writes the
file anew, which belongs in a commit that says why the numbers of a training have changed.
"""

import csv
import json
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any
from unittest.mock import patch

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np
import torch

from mvit import provenance
from mvit.data.dataset import find
from mvit.evaluation.evaluate import as_json
from mvit.recipes.recipe import load
from mvit.training import loop
from mvit.training.learner import Learner
from pictures import save_picture

HERE = Path(__file__).parent
CURVE, RECIPE = HERE / "curve.json", HERE / "recipe.toml"
FIGURES = ("loss", "gradient_norm")
FRAMES, HEIGHT, WIDTH = 6, 34, 42


def write_videos(folder: Path) -> Path:
    """Stripes that move: across, down, along the diagonal; six videos of each to learn from, one to judge by.

    They are folders of PNG, and computed in whole numbers: alike to the byte on every machine, which no encoder of
    videos promises.
    """
    t, y, x = np.indices((FRAMES, HEIGHT, WIDTH))
    for label, (right, down) in {"across": (1, 0), "down": (0, 1), "diagonal": (1, 1)}.items():
        for video in range(7):
            position = right * x + down * y - (2 + video % 3) * t + 5 * video
            bands = np.stack([(position * (6 + colour) + 31 * video) % 256 for colour in range(3)], axis=-1)
            place = folder / ("val" if video == 6 else "train") / label / f"video_{video}"
            for number, frame in enumerate(bands.astype(np.uint8)):
                save_picture(place / f"{number:02}.png", frame)
    return folder


@contextmanager
def one_thread() -> Iterator[None]:
    """Sums over threads are added up in another order."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def train(videos: Path, out: Path) -> dict[str, Any]:
    """Train on these videos; gives the figures of every step, and the scores that the averaged weights end with."""
    real, steps = Learner.step, []

    def watched(*args: Any, **more: Any) -> Any:
        outcome = real(*args, **more)
        steps.append({name: getattr(outcome, name) for name in FIGURES})
        return outcome

    with patch.object(Learner, "step", watched), one_thread():
        loop.train(load(RECIPE), find(videos), out, echo=lambda line: None)
    with (out / "scores.csv").open(encoding="utf-8", newline="") as file:
        scores = [[float(score) for score in row[4:]] for row in list(csv.reader(file))[1:]]
    return {"steps": steps, "scores": scores}


def distances(curve: dict[str, Any], other: dict[str, Any]) -> list[float]:
    """How far two curves are apart in each step, relatively, by the figure that differs most; last the scores."""
    steps = zip(curve["steps"], other["steps"], strict=True)
    pairs = [[(one[name], two[name]) for name in FIGURES] for one, two in steps]
    pairs.append(list(zip(chain(*curve["scores"]), chain(*other["scores"]), strict=True)))
    return [max(abs(one - two) / abs(two) for one, two in figures) for figures in pairs]


def main() -> None:
    """Run it, and compare or write."""
    with tempfile.TemporaryDirectory() as folder:
        found = train(write_videos(Path(folder) / "videos"), Path(folder) / "run")
    if "--write" in sys.argv[1:]:
        with one_thread():
            made = {"made_with": provenance.environment("cpu"), **found}
        CURVE.write_text(as_json(made), encoding="utf-8")
    golden = json.loads(CURVE.read_text(encoding="utf-8"))
    print(" ".join(f"{distance:.1e}" for distance in distances(found, golden)))


if __name__ == "__main__":
    main()
