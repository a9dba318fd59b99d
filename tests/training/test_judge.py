"""Evaluation on the way: shared among ranks that stay in step whatever one of them finds, and watched."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, cast

import numpy as np
import pytest
import torch

from mvit.data.dataset import Listing
from mvit.data.video import UnreadableVideo
from mvit.distributed.group import ALONE, Ranks
from mvit.distributed.interruption import Interruption
from mvit.distributed.launch import Place
from mvit.evaluation import evaluate as evaluation
from mvit.evaluation.scoring import SINGLE, NotFiniteError
from mvit.model.mvit import MViT
from mvit.recipes.recipe import Recipe
from mvit.training import judge
from mvit.training.hardware import choose
from mvit.training.judge import Judge
from mvit.training.progress import StatusLine
from mvit.training.watchdog import Watchdog

PATIENCE_SECONDS = 60.0


@dataclass(frozen=True)
class Two(Ranks):
    """One of two ranks that are threads of this process and meet at a barrier."""

    values: dict[int, Any] = field(default_factory=dict)
    barrier: threading.Barrier = field(default_factory=lambda: threading.Barrier(2))

    def gathered(self, value: Any) -> list[Any]:
        self.values[self.place.rank] = value
        self.barrier.wait(PATIENCE_SECONDS)
        found = [self.values[rank] for rank in range(2)]
        self.barrier.wait(PATIENCE_SECONDS)
        return found

    def largest(self, values: Any) -> list[float]:
        return [max(column) for column in zip(*self.gathered(list(values)), strict=True)]


def judged(recipe: Recipe, listing: Listing, ranks: Ranks, seconds: float | None = None) -> Any:
    hardware, model = choose(recipe.train), cast(MViT, torch.nn.Identity())  # what computes is dictated
    status, interruption = StatusLine(lambda line: None), Interruption(ranks.largest, several=ranks.count > 1)
    preprocessing = recipe.data.preprocessing()
    one = Judge(listing.classes, preprocessing, SINGLE, hardware, ranks, status, interruption, seconds)
    return one.evaluate(model, listing.val[:5], 1, 1)


def of_each_rank(recipe: Recipe, listing: Listing, dictated: Callable[[int, int], float]) -> list[Any]:
    """What two ranks get, whose scores for their video of each number are dictated."""
    values, barrier, outcomes = dict[int, Any](), threading.Barrier(2), dict[int, Any]()
    turns = {0: 0, 1: 0}

    def predictor(*_: Any, **__: Any) -> Callable[[np.ndarray], np.ndarray]:
        rank = int(threading.current_thread().name)

        def predict(views: np.ndarray) -> np.ndarray:
            turns[rank] += 1
            return np.full((len(views), 3), dictated(rank, turns[rank]))

        return predict

    def run(rank: int) -> None:
        ranks = Two(Place(rank=rank, ranks=2), values=values, barrier=barrier)
        try:
            outcomes[rank] = judged(recipe, listing, ranks)
        except ValueError as why:
            outcomes[rank] = why

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(judge, "predictor", predictor)
        threads = [threading.Thread(target=run, args=(rank,), name=str(rank)) for rank in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE_SECONDS)
    assert not barrier.broken
    return [outcomes[rank] for rank in range(2)]


def test_ranks_share_the_videos_and_have_the_same_result(recipe: Recipe, listing: Listing):
    one, other = of_each_rank(recipe, listing, lambda rank, turn: 1.0)
    assert one.samples == other.samples == listing.val[:5]


@pytest.mark.parametrize("where", [(0, 1), (0, 3), (1, 1), (1, 2)])
def test_scores_that_are_not_finite_on_one_rank_are_known_to_all(
    recipe: Recipe, listing: Listing, where: tuple[int, int]
):
    """Three videos and two: the ranks look for signals together, after each of them."""
    outcomes = of_each_rank(recipe, listing, lambda *here: float("nan") if here == where else 1.0)
    assert [type(outcome) for outcome in outcomes] == [NotFiniteError, NotFiniteError]


def test_a_video_that_never_comes_is_named(recipe: Recipe, listing: Listing, monkeypatch: pytest.MonkeyPatch):
    """The process would be ended; here the video comes when the sentence is said."""
    said, ended, hung = list[str](), threading.Event(), listing.val[3]

    def end(sentence: str) -> None:
        said.append(sentence)
        ended.set()

    def read(path: Any, *args: Any, **more: Any) -> Any:
        if path == hung.path and not ended.wait(PATIENCE_SECONDS):
            raise UnreadableVideo(path, "nobody cared")
        return np.zeros((1, 3, 4, 32, 32), np.float32)

    monkeypatch.setattr(judge, "Watchdog", partial(Watchdog, end=end))
    monkeypatch.setattr(judge, "predictor", lambda *_, **__: lambda views: np.ones((len(views), 3)))
    monkeypatch.setattr(evaluation, "read_views", read)
    assert len(judged(recipe, listing, ALONE, seconds=0.5).samples) == 5
    assert said == [f"mvit: 1 s have passed evaluating {hung.id}: this process is ended"]
