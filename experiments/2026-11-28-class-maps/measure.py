"""How much a prediction loses without the pixels that a map has highest, and without those that it has lowest.

python experiments/2026-11-28-class-maps/measure.py RUN VAL.csv [EVERY]
"""

import csv
import sys
from pathlib import Path

import numpy as np
import torch

from mvit.data.views import read_views
from mvit.deploy.predictor import load
from mvit.explanation.attention import attentions
from mvit.explanation.class_maps import entered
from mvit.explanation.pooling import grids, on_pixels
from mvit.explanation.rollout import rollout

SHARE, CHANCES = 0.2, 8


def products(model, clip, label, index):
    """The map as it is drawn, and with gradients averaged over tokens as in Grad-CAM."""
    first, read = int(model.config.class_token), []
    hook = model.blocks[index].norm1.register_forward_hook(lambda _, given, gives: read.append(gives))
    x, grid = model.embed(clip)
    for block in model.blocks:
        x, grid = block(x, grid)
    hook.remove()
    (gradient,) = torch.autograd.grad(model.classify(x)[:, label].sum(), read)
    token, gradient = read[0].detach()[:, first:], gradient[:, first:]
    averaged = gradient.mean(dim=1, keepdim=True)
    return {
        "gradient x token": (token * gradient).sum(-1).relu(),
        "averaged": (token * averaged).sum(-1).relu(),
    }


def maps(model, clip, label, draw):
    """Every map by name, (1, T, H, W); those of chance, of which there are several."""
    size, first = tuple(clip.shape[2:]), int(model.config.class_token)
    found = {}
    for stage in (2, model.config.stages):
        index = entered(model.config, stage)
        for name, values in products(model, clip, label, index).items():
            found[f"stage {stage}, {name}"] = on_pixels(values, model.config, size, index)
    blocks = list(attentions(model, clip))
    shares, even = (rollout(each)[:, first:] for each in (blocks, [block.indifferent() for block in blocks]))
    found["rollout"] = on_pixels(shares / even, model.config, size, 0)
    found["brightness"] = clip.mean(1)
    index = entered(model.config, model.config.stages)
    cells = int(np.prod(grids(model.config, size)[index]))
    found["chance"] = on_pixels(torch.rand(CHANCES, cells, generator=draw), model.config, size, index)
    return found


@torch.no_grad()
def losses(model, clip, label, values, draw):
    """Minus the log-probability without the pixels that a map has highest, and without those that it has lowest."""
    values = values + 1e-9 * torch.rand(values.shape, generator=draw)  # ties are broken by chance
    edges = [values.flatten().kthvalue(int(values.numel() * share)).values for share in (1 - SHARE, SHARE)]
    found = []
    for covered in (values > edges[0], values <= edges[1]):
        grey = clip.clone()
        grey[0][:, covered] = 0  # the mean that clips are normalised by
        found.append(-model(grey).log_softmax(-1)[0, label].item())
    return found


def main(run, table, every=4):
    predictor = load(run, device="cpu")
    model, draw, falls = predictor.model, torch.Generator().manual_seed(0), {}
    with open(table, encoding="utf-8") as file:
        videos = [Path(table).parent / row["path"] for row in csv.DictReader(file)][::every]
    for video in videos:
        clip = torch.from_numpy(read_views(video, predictor.preprocessing, clips=1, crops=1))
        with torch.no_grad():
            before = model(clip).log_softmax(-1)[0]
        label = int(before.argmax())
        for name, drawn in maps(model, clip, label, draw).items():
            pairs = [losses(model, clip, label, values, draw) for values in drawn]
            falls.setdefault(name, []).append(before[label].item() + np.mean(pairs, axis=0))
    print(f"{len(videos)} videos")
    for name, values in falls.items():
        highest, lowest = np.array(values).T
        error = highest.std() / len(highest) ** 0.5
        print(f"{name:30} highest {highest.mean():.2f} ±{error:.2f}  lowest {lowest.mean():.2f}")


if __name__ == "__main__":
    main(*sys.argv[1:3], *map(int, sys.argv[3:]))
