"""Which labels are probably wrong: confident learning (Northcutt, Jiang and Chuang, 2021). Pure numpy.

It judges labels by scores of a model that has not learned from them. A model agrees with the labels that it learned,
also where they are wrong, so it cannot judge these: they need models that learned from the other videos.
"""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Suspect:
    """A video, by its place in the list, whose label is probably wrong."""

    place: int
    suggested: int
    """The class that the model is sure of."""
    margin: float
    """The score of its label less that of the suggested class; the more negative, the surer."""


def class_thresholds(scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The mean score that the videos of a class have for it, (K,), from (N, K) and (N,); infinite for one of no video.

    Equation 2 of the paper: a model that is unsure of a class throughout needs less to be sure for once.
    """
    classes = scores.shape[1]
    own = scores[np.arange(len(labels)), labels]
    sums, counts = np.bincount(labels, own, classes), np.bincount(labels, minlength=classes)
    return np.divide(sums, counts, out=np.full(classes, np.inf), where=counts > 0)


def suspects(scores: np.ndarray, labels: np.ndarray) -> list[Suspect]:
    """The videos that are counted off the diagonal of the confident joint, the least likely label first.

    From scores (N, K) and labels (N,). A video is counted for the class of the highest score among those that reach
    their class's threshold (equation 1), and is suspected where that is not its label. They are ranked by margin.
    """
    reached = np.where(scores >= class_thresholds(scores, labels) - 1e-12, scores, -np.inf)
    counted_for = reached.argmax(axis=1)
    rows = np.arange(len(labels))
    off = np.isfinite(reached[rows, counted_for]) & (counted_for != labels)
    # A label that scores as high as the class that is suggested is not less likely than it.
    off &= scores[rows, labels] < scores[rows, counted_for]
    margins = scores[rows, labels] - scores[rows, counted_for]
    found = [Suspect(int(place), int(counted_for[place]), float(margins[place])) for place in np.flatnonzero(off)]
    return sorted(found, key=lambda suspect: suspect.margin)
