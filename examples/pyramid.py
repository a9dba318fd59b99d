"""What every stage of a trained model gives for a video: python examples/pyramid.py RUN VIDEO."""

import sys

import torch

from mvit.data.views import read_views
from mvit.deploy.predictor import load
from mvit.model.mvit import MViT


def main(run: str, video: str) -> None:
    """Print the shape of each level of the pyramid; a stage ends by widening its tokens for the next one."""
    predictor = load(run, device="cpu")
    if not isinstance(predictor.model, MViT):
        raise ValueError(f"{run} is another library's model, which has no such pyramid")
    clip = torch.from_numpy(read_views(video, predictor.preprocessing, clips=1))
    with torch.inference_mode():
        for stage, level in enumerate(predictor.model.features(clip), start=1):
            channels, t, h, w = level.shape[1:]
            print(f"stage {stage}: {channels:4d} channels on {t}x{h}x{w} tokens, mean size {level.abs().mean():.3f}")


if __name__ == "__main__":
    main(*sys.argv[1:])
