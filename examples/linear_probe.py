"""A linear classifier of a trained model's vectors, for other classes: python examples/linear_probe.py RUN DATA."""

import sys
from pathlib import Path

import numpy as np
import torch
from torch import nn

from mvit.data.dataset import Sample, find
from mvit.deploy.embedding import embedded
from mvit.deploy.predictor import Predictor, load


def read(
    predictor: Predictor, samples: tuple[Sample, ...], classes: tuple[str, ...]
) -> tuple[torch.Tensor, torch.Tensor]:
    """The mean vector and the class of every readable video."""
    rows, labels = [], []
    for sample, vectors in embedded(predictor, samples):
        if not isinstance(vectors, str):
            rows.append(vectors.mean(axis=0))
            labels.append(classes.index(sample.label))
    return torch.from_numpy(np.stack(rows)), torch.tensor(labels)


def main(run: str, data: str, decay: float = 1e-2) -> None:
    """Print how many held-out videos it has right; its only setting is the weight decay."""
    predictor, listing = load(run), find(Path(data))
    rows, labels = read(predictor, listing.train, listing.classes)
    held_rows, held_labels = read(predictor, listing.val, listing.classes)
    middle, spread = rows.mean(dim=0), rows.std(dim=0) + 1e-6
    torch.manual_seed(0)
    linear = nn.Linear(rows.shape[1], len(listing.classes))

    def loss() -> torch.Tensor:
        fit = nn.functional.cross_entropy(linear((rows - middle) / spread), labels)
        return fit + decay / 2 * linear.weight.square().sum()

    optimiser = torch.optim.LBFGS(linear.parameters(), max_iter=200, line_search_fn="strong_wolfe")

    def step() -> torch.Tensor:
        optimiser.zero_grad()
        value = loss()
        value.backward()
        return value

    optimiser.step(step)
    with torch.inference_mode():
        right = int((linear((held_rows - middle) / spread).argmax(dim=1) == held_labels).sum())
    print(f"{right} of {len(held_labels)} held-out videos are right ({right / len(held_labels):.1%})")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], *map(float, sys.argv[3:]))
