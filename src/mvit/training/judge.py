"""Judging a model on its way: all ranks score their share of the videos, and each has the whole result."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mvit.data.dataset import Sample
from mvit.data.order import evaluated
from mvit.data.samples import medium_of, named
from mvit.data.views import Preprocessing
from mvit.distributed.group import Ranks
from mvit.distributed.interruption import Interruption
from mvit.evaluation import evaluate as evaluation
from mvit.evaluation.evaluate import Evaluation
from mvit.evaluation.scoring import NotFiniteError, Scoring
from mvit.training.hardware import Hardware
from mvit.training.learner import predictor
from mvit.training.progress import StatusLine
from mvit.training.watchdog import Watchdog
from mvit.weights.build import Model


@dataclass(frozen=True)
class Judge:
    """Scores videos with a model as it is."""

    classes: tuple[str, ...]
    preprocessing: Preprocessing
    scoring: Scoring
    hardware: Hardware
    ranks: Ranks
    status: StatusLine
    interruption: Interruption
    timeout_seconds: float | None

    def evaluate(
        self, model: Model, samples: Sequence[Sample], clips: int, crops: int, *, exact: bool = False
    ) -> Evaluation:
        """Score each video on one of the ranks; every rank has the result.

        Raises ``NotFiniteError`` on all ranks where the scores of any video are not finite.
        """
        ranks, total, medium = self.ranks.count, len(samples), medium_of(samples)
        places = evaluated(total, self.ranks.place.rank, ranks)
        mine = [samples[place] for place in places]
        predict = predictor(model, self.hardware, exact=exact)
        views: dict[str, Any] = {"clips": clips, "crops": crops, "scoring": self.scoring}
        answer: dict[int, np.ndarray | str] | NotFiniteError
        looks = 0

        def look() -> None:
            """For a signal, with all ranks: each must look as often as those that have most videos."""
            nonlocal looks
            looks += 1
            watchdog.note(lambda: "waiting for the other processes in an evaluation")
            self.interruption.check()

        def begin(sample: Sample) -> None:
            watchdog.note(lambda: f"evaluating {named([sample.id])}")

        def progress(done: int, _: int) -> None:
            self.status.show(
                lambda: f"evaluating {min(ranks * done, total)} of {total} {medium}, {clips}x{crops} views"
            )
            look()
            if done < len(mine):
                begin(mine[done])

        with Watchdog(self.timeout_seconds) as watchdog:
            try:
                for sample in mine[:1]:
                    begin(sample)
                scored = evaluation.score(predict, mine, self.classes, self.preprocessing, **views, progress=progress)
                answer = dict(zip(places, scored, strict=True))
            except NotFiniteError as why:
                answer = why
            while looks < -(-total // ranks):
                look()
            answers = self.ranks.gathered(answer)
        for failure in answers:
            if isinstance(failure, NotFiniteError):
                raise failure
        shares = [share for share in answers if not isinstance(share, NotFiniteError)]
        everywhere = {place: outcome for share in shares for place, outcome in share.items()}
        assert sum(map(len, shares)) == len(everywhere) == total, "each video is scored once"
        outcomes = [everywhere[place] for place in range(total)]
        return evaluation.collected(samples, outcomes, self.classes, self.preprocessing, **views)


def no_better_than(result: Mapping[str, Any], samples: Sequence[Sample]) -> str | None:
    """What one would get without looking at the videos, in words, where the result is no better."""
    if "map" in result:
        constant = f"the same scores for every video would have an mAP of {result['chance']:.1%}"
        return constant if result["map"] <= result["chance"] else None
    label, count = Counter(sample.label for sample in samples).most_common(1)[0]
    if result["top1"] > count / len(samples) or len(result["classes"]) == 1:
        return None
    return f"always answering {label!r} would be right for {count / len(samples):.1%}"
