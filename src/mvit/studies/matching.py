"""Sizes at which variants take as much time or memory to learn from a batch as their reference, found by measuring.

Multiply-adds are arithmetic, these are not: a size is measured, made larger or smaller by what it was off, and measured
again, until it is as near as sizes come.
"""

from collections.abc import Callable, Sequence

from mvit.studies import costs
from mvit.studies.ablations import STUDIES
from mvit.studies.sweep import Matching, Measure, Sweep, settings_of
from mvit.studies.variants import ALIKE

MOST_TRIES = 6
FAR = 16.0
"""A variant has at most so many times the base's multiply-adds, or one in so many."""

Plan = Callable[[Matching], Sweep]
Tried = Sequence[tuple[float, float]]


def matched(plan: Plan, by: Measure, *, progress: Callable[[int, int], None] = lambda done, of: None) -> Sweep:
    """The sweep in which every variant whose size is found takes as long, or as much memory, as its reference.

    ``plan`` makes it from a matching. What was found before for the sweep's folder is kept. Raises ``ValueError`` where
    a study has no size to find, and where none is within ``variants.ALIKE`` of the reference.
    """
    sweep = plan(_before(plan(Matching(by)), by))
    for name in {task.study: None for task in sweep.tasks}:
        if not any(task.declared.size for task in sweep.tasks if task.study == name):
            able = [name for name, study in STUDIES.items() if any(each.size for each in study.variants.values())]
            raise ValueError(
                f"no variant of the study {name} has a size to be found: leave out --match, or take {', '.join(able)}"
            )
    for number in range(MOST_TRIES):
        assert sweep.matching
        tried = dict(sweep.matching.tried)
        found = {task.name: task for task in sweep.tasks if task.declared.size}
        todo = [name for name in found if not _is_settled(tried.get(name, ()))]
        if not todo:
            break
        taken = costs.of_reference(sweep, by)
        for name in todo:
            now = (sweep.matching.shares.get(name, 1.0), min(taken[name], FAR))
            tried[name] = (*tried.get(name, ()), now)
        sweep = plan(Matching(by, {name: _next(each) for name, each in tried.items()}, tried))
        progress(number + 1, MOST_TRIES)
    assert sweep.matching
    _require_settled(sweep.matching)
    return sweep


def _before(sweep: Sweep, by: Measure) -> Matching:
    """What the sweep in the folder was begun with, if it was matched by the same."""
    known = settings_of(sweep.folder).get("match")
    return Matching(**known) if known and known["by"] == by else Matching(by)


def _is_settled(tried: Tried) -> bool:
    """Whether the last share that was tried is near enough."""
    return bool(tried) and abs(tried[-1][1] - 1) <= ALIKE


def _next(tried: Tried) -> float:
    """The share to try next, or the last one, which was near enough.

    Between the two nearest that were too small and too large, where there are such, as time and memory are not in
    proportion to the share; else by what the last one was off.
    """
    share, taken = tried[-1]
    if _is_settled(tried):
        return share
    small = max((each for each, took in tried if took < 1), default=None)
    large = min((each for each, took in tried if took > 1), default=None)
    if small and large and small < large and len(tried) > 2:
        return (small * large) ** 0.5
    return min(max(share / taken, 1 / FAR), FAR)


def _require_settled(matching: Matching) -> None:
    for name, tried in matching.tried.items():
        if not _is_settled(tried):
            share, taken = min(tried, key=lambda pair: abs(pair[1] - 1))
            raise ValueError(
                f"{name} does not come within {ALIKE:.0%} of its reference's {matching.by}: the nearest, of "
                f"{share:.3g} times the base's multiply-adds, takes {taken:.2f} times as much; take a larger model or "
                "clip, or leave out --match"
            )
