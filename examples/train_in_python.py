"""From a folder of videos to a prediction: python examples/train_in_python.py DATA RUN [section.key=value ...]."""

import sys
from pathlib import Path

import mvit
from mvit.data import dataset
from mvit.recipes import recipe
from mvit.training import defaults, loop


def main(data: str, out: str, *overrides: str) -> None:
    """Train with what follows from the data and what is said over it, then predict the first held-out video."""
    listing = dataset.find(Path(data), **recipe.how_to_split(None, overrides))
    run = loop.train(defaults.settle(None, overrides, listing), listing, Path(out))
    sample = listing.val[0]
    name, score = next(iter(mvit.load(run).predict(sample.path).items()))
    print(f"{sample.path.name} shows {sample.label}; the model says {name} ({score:.1%})")


if __name__ == "__main__":  # decoding processes import this file again
    main(*sys.argv[1:])
