"""How far attention reaches in several models, before and after training, in one figure:
python examples/attention_distance.py OUT.svg RUN,RUN... VIDEO...

Such as of MViT beside the columnar ViT, over clips that neither has learned from.
"""

import sys
from pathlib import Path

import torch

from mvit import files
from mvit.data.views import read_views
from mvit.deploy.predictor import load
from mvit.explanation.distance import Distance, distances
from mvit.explanation.figures import reach
from mvit.model.mvit import MViT


def main(out: str, runs: str, *videos: str) -> None:
    """Draw the mean attention distance of every head: a column for each run."""
    drawn: dict[str, dict[str, list[Distance]]] = {}
    for run in runs.split(","):
        predictor = load(run, device="cpu")
        if not isinstance(predictor.model, MViT):
            raise ValueError(f"{run} is another library's model: what is drawn is MViT's attention")
        clips = [torch.from_numpy(read_views(video, predictor.preprocessing, clips=1, crops=1)) for video in videos]
        torch.manual_seed(0)
        untrained = MViT(predictor.model.config).eval()
        drawn[Path(run).name] = {
            "untrained": distances(untrained, clips),
            "trained": distances(predictor.model, clips),
        }
    files.write_text(Path(out), reach(drawn, f"over all queries; clips: {len(videos)}"))
    for name, states in drawn.items():
        means = (
            ", ".join(f"{sum(block.pixels) / len(block.pixels):.1f}" for block in found) for found in states.values()
        )
        print(f"{name}: pixels by block {' -> '.join(means)}")


if __name__ == "__main__":
    main(*sys.argv[1:])
