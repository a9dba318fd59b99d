"""Run folders as training, evaluation and the probe leave them, written by evaluation's own code."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from mvit.data.dataset import Sample
from mvit.evaluation import evaluate, probes, saved
from mvit.evaluation.findings import summary
from mvit.evaluation.metrics import softmax
from probed import answers

PROTOCOL = "5x1 views, 16 segments, short side 73, crop 64"
RECIPE = """\
[model]
name = "mvit_tiny_16x64"
drop_path = 0.1

[data]
frames = 16
sampling = "segments"
views = [5, 1]

[optim]
lr = 0.001
betas = [0.9, 0.999]

[train]
epochs = {epochs}
batch = 32
seed = {seed}
"""


@pytest.fixture(scope="session")
def make_run():
    """Gives a function that writes a run folder and returns it."""
    return write_run


def write_run(
    folder: Path,
    classes: Sequence[str],
    *,
    videos: int = 12,
    skill: float = 3.0,
    epochs: int = 30,
    seed: int = 0,
    unreadable: int = 0,
    protocol: str = PROTOCOL,
) -> Path:
    """A run with so many videos a class, of which more are right the higher the skill is; logits are normal."""
    rng = np.random.default_rng([seed, len(classes)])
    labels = np.repeat(np.arange(len(classes)), videos)
    logits = rng.normal(size=(len(labels), len(classes)))
    logits[np.arange(len(labels)), labels] += skill
    neighbours = np.where(labels % 2 == 0, np.minimum(labels + 1, len(classes) - 1), labels - 1)
    logits[np.arange(len(labels)), neighbours] += skill * rng.random(len(labels)) * 0.8
    samples = tuple(
        Sample(Path(f"videos/{classes[label]}/clip_{n:04}.mp4"), classes[label]) for n, label in enumerate(labels)
    )
    bad = {Path(f"videos/broken_{n}.mp4"): "it holds no video: moov atom not found" for n in range(unreadable)}
    evaluate.write(
        evaluate.Evaluation(
            classes=tuple(classes),
            samples=samples,
            scores=softmax(logits),
            unreadable=bad,
            left_out=tuple(Sample(path, classes[0]) for path in bad),
            listed=len(samples) + len(bad),
            protocol=protocol,
        ),
        folder,
    )
    saved.calibrate(folder)
    random = np.where(
        rng.random((len(labels), 10)) < 0.7, rng.integers(0, len(classes), (len(labels), 10)), labels[:, None]
    )
    ordered = logits.argmax(axis=1)[:, None]
    outcomes = {
        "ordered": ordered,
        "reversed": neighbours[:, None],
        "single_frame": random[:, :1],
        "shuffled": random,
        "deranged_4": np.where(rng.random(ordered.shape) < 0.8, ordered, random[:, :1]),
        "windows_4": random[:, 5:],
    }
    groups = [f"person{n % 12}" for n in range(len(labels))]
    found = summary(answers(outcomes), labels, classes, groups)
    extras = {
        "orders": 10,
        "seed": 0,
        "not_asked": {"windows_8": "a clip has 8 frames"},
        "listed": len(samples),
        "unreadable": {},
        "protocol": PROTOCOL.replace("5x1", "1x1"),
    }
    probes.write(found | extras, folder)
    with (folder / "metrics.jsonl").open("w") as file:
        for epoch in range(1, epochs + 1):
            done = epoch / epochs
            line = {
                "epoch": epoch,
                "step": 65 * epoch,
                "lr": 1e-3 * min(10 * done, 0.5 + 0.5 * np.cos(np.pi * done)),
                "loss": 0.55 + 2.1 * np.exp(-3.5 * done) + 0.03 * rng.normal(),
                "train_top1": 0.93 - 0.85 * np.exp(-3.5 * done) + 0.01 * rng.normal(),
                "skipped": 0,
                "clips_per_second": 38 + rng.normal(),
                "data_wait": 0.04 + 0.02 * rng.random(),
                "seconds": 54.0 + rng.random(),
            }
            if epoch % 2 == 0:
                line["val_top1"] = 0.82 - 0.7 * np.exp(-3.5 * done) + 0.02 * rng.normal()
            file.write(json.dumps(line) + "\n")
    (folder / "recipe.toml").write_text(RECIPE.format(epochs=epochs, seed=seed))
    description = {
        "format": 1,
        "mvit": "0.1.0",
        "config": {"clip": [16, 64, 64], "depths": [1, 2, 7, 2]},
        "classes": list(classes),
    }
    (folder / "model.json").write_text(json.dumps(description | {"views": [5, 1], "protocol": protocol}))
    if unreadable:
        (folder / "unreadable.csv").write_text(
            "path,reason,found_in\nvideos/broken_0.mp4,it holds no video,scan\nvideos/cut.mp4,it ends early,training\n"
        )
    return folder
