"""Answers to a probe of time as if a classifier had given them."""

from collections.abc import Mapping

import numpy as np

from mvit.evaluation.findings import GRADED, Answers

DISTANCES = {"ordered": 0.0, "reversed": 1.0, "single_frame": np.nan, "stride_doubled": np.nan}


def answers(outcomes: Mapping[str, np.ndarray]) -> Answers:
    """From what was made of each video by disorder: classes (N, R), or scores (N, R, C); one view.

    Where no graded ones are given they are the shuffled ones, each a grade.
    """
    outcomes = dict(outcomes)
    shuffled = outcomes["shuffled"]
    outcomes.setdefault(GRADED, shuffled)
    columns, first = {}, 0
    for name, made in outcomes.items():
        columns[name] = slice(first, first + made.shape[1])
        first += made.shape[1]
    together = np.concatenate([*outcomes.values()], axis=1)
    distances = np.concatenate([np.full(made.shape[1], DISTANCES.get(name, 0.5)) for name, made in outcomes.items()])
    return Answers(
        columns=columns,
        grade=np.arange(outcomes[GRADED].shape[1]),
        distances=np.tile(distances, (len(together), 1)),
        outcomes=together[:, None],
    )


def alike(predictions: np.ndarray) -> Answers:
    """From (N, 3 + R[, C]): in order, reversed, one frame, and shuffled in R orders."""
    return answers(
        {
            "ordered": predictions[:, :1],
            "reversed": predictions[:, 1:2],
            "single_frame": predictions[:, 2:3],
            "shuffled": predictions[:, 3:],
        }
    )
