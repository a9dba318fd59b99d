"""Find videos like one, in a folder: python examples/find_alike.py RUN VIDEO FOLDER [HOW_MANY]."""

import sys
from pathlib import Path

import numpy as np

from mvit.data.gather import gather
from mvit.deploy.embedding import embedded
from mvit.deploy.predictor import load


def main(run: str, video: str, folder: str, how_many: int = 5) -> None:
    """Print the nearest videos by the angle between their vectors, the nearest first: 1 is the same direction."""
    predictor = load(run)
    names, rows = [], []
    images = predictor.preprocessing.sampling.frames == 1
    for sample, vectors in embedded(predictor, gather([Path(video), Path(folder)], images=images)):
        if isinstance(vectors, str):
            if not rows:
                raise ValueError(f"{sample.id} cannot be read, and nothing is like it then: {vectors}")
            print(f"{sample.id} cannot be read: {vectors}", file=sys.stderr)
            continue
        names.append(sample.path)
        rows.append(vectors.mean(axis=0))
    unit = np.stack(rows) / np.linalg.norm(rows, axis=1, keepdims=True)
    alike = unit @ unit[0]
    others = [index for index in np.argsort(-alike) if names[index].resolve() != names[0].resolve()]
    for index in others[:how_many]:
        print(f"{alike[index]:6.3f}  {names[index]}")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], *map(int, sys.argv[4:]))
