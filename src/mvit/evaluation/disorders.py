"""Disorders of a clip: which of its frames stands in each place. Pure numpy; all that is drawn comes from a generator.

T frames, R random orders.
"""

from typing import NamedTuple

import numpy as np

WINDOWS = (2, 4, 8)
GRADES = 10
TITLES = {
    "ordered": "in order",
    "shuffled": "shuffled",
    "reversed": "reversed",
    "single_frame": "one frame, repeated",
    "stride_doubled": "every second frame, held",
    **{f"deranged_{size}": f"deranged within windows of {size}" for size in WINDOWS},
    **{f"windows_{size}": f"windows of {size} shuffled whole" for size in WINDOWS},
    "shuffled_after_stem": "shuffled after the stem",
}
"""What each disorder is called, for people."""


class Graded(NamedTuple):
    """Orders from nearly in order to nearly reversed, (R, T), and the grade of each, (R,), of so many."""

    orders: np.ndarray
    grade: np.ndarray
    grades: int


def disorders(frames: int, orders: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """The frame in each place under every disorder that a clip of T frames can have, by name: (R, T), or (1, T).

    One order where there is only one: as the clip is; ``reversed``; ``single_frame``, the middle one in every place;
    ``stride_doubled``, every second frame for two places; and so many random ones of the others: ``shuffled``;
    ``deranged_W``, no frame of a window of W keeping its place; ``windows_W``, windows of W in another order, each as
    it was inside. A last window may be shorter. None of them is the true order.
    """
    ordered = np.arange(frames)
    drawn = {
        "ordered": ordered[None],
        "shuffled": np.stack([shuffled(frames, rng) for _ in range(orders if frames > 2 else 1)]),
        "reversed": ordered[None, ::-1],
        "single_frame": np.full((1, frames), frames // 2),
    }
    if frames > 2:
        drawn["stride_doubled"] = ordered[None] // 2 * 2
    for size in (size for size in WINDOWS if size <= frames):
        count = orders if size > 2 else 1
        drawn[f"deranged_{size}"] = np.stack([deranged(frames, size, rng) for _ in range(count)])
    for size in (size for size in WINDOWS if size < frames):
        count = orders if frames > 2 * size else 1
        drawn[f"windows_{size}"] = np.stack([windows_shuffled(frames, size, rng) for _ in range(count)])
    return drawn


def shuffled(places: int, rng: np.random.Generator) -> np.ndarray:
    """A random order of at least two, (T,), that is not the true one."""
    while True:
        order = rng.permutation(places)
        if (order[:-1] > order[1:]).any():
            return order


def deranged(frames: int, window: int, rng: np.random.Generator) -> np.ndarray:
    """An order, (T,), in which no frame keeps its place and none leaves its window; a last window of one keeps its."""
    order = np.arange(frames)
    for first in range(0, frames, window):
        inside = order[first : first + window].copy()
        while len(inside) > 1 and (order[first : first + window] == inside).any():
            order[first : first + window] = rng.permutation(inside)
    return order


def windows_shuffled(frames: int, window: int, rng: np.random.Generator) -> np.ndarray:
    """An order, (T,), of whole windows of consecutive frames that is not the true one."""
    starts = np.arange(0, frames, window)
    return np.concatenate(
        [np.arange(start, min(start + window, frames)) for start in starts[shuffled(len(starts), rng)]]
    )


def graded(frames: int, orders: int, rng: np.random.Generator) -> Graded:
    """So many random orders, spread evenly over all Kendall distances above 0, in up to ``GRADES`` grades of them.

    Each is reached from the true order by swapping neighbours that are still in order, anywhere, one at a time.
    """
    most = frames * (frames - 1) // 2
    grades = min(GRADES, orders, most)
    grade = np.arange(orders) * grades // orders
    drawn = []
    for number in grade:
        order = np.arange(frames)
        for _ in range(int(rng.integers(most * number // grades, most * (number + 1) // grades)) + 1):
            rising = np.flatnonzero(order[:-1] < order[1:])
            place = rising[rng.integers(len(rising))]
            order[place : place + 2] = order[place : place + 2][::-1].copy()
        drawn.append(order)
    return Graded(np.stack(drawn), grade, grades)


def not_asked(frames: int) -> dict[str, str]:
    """The disorders that a clip of so many frames cannot have, and why."""
    short = f"a clip has {frames} frames"
    names = [f"deranged_{size}" for size in WINDOWS if size > frames]
    names += [f"windows_{size}" for size in WINDOWS if size >= frames]
    return dict.fromkeys((["stride_doubled"] if frames == 2 else []) + names, short)
