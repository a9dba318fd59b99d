"""How far a run has come, and what is random in a step of it."""

from dataclasses import dataclass, field, replace

import numpy as np

from mvit.training.faults import RATE_AFTER_ROLLBACK


@dataclass
class Position:
    """How far a run has come: all that a checkpoint holds besides tensors."""

    epoch: int = 0
    batch: int = 0
    """The epoch under way, and how many of its batches are done."""
    loss: float = 0.0
    right: int = 0
    clips: int = 0
    skipped: int = 0
    """Of the epoch under way: the loss summed over clips, clips answered right, clips, steps that were skipped."""
    moved: int = 0
    norms: float = 0.0
    norm_max: float = 0.0
    """Of the epoch under way: steps that were not skipped; of their gradients the norm, summed and the largest."""
    skipped_in_a_row: int = 0
    best: float = -1.0
    best_epoch: int = 0
    """The highest top-1, or mAP, on the holdout so far, and after which epoch that was."""
    good: int = 0
    suspects: list[list[int]] = field(default_factory=list)
    """The serial of the last checkpoint at the end of an epoch whose last step was not skipped, and the steps, as epoch
    and batch, that were skipped since."""
    rollbacks: int = 0
    left_out: list[list[int]] = field(default_factory=list)
    """How often the run went back to a good checkpoint, and the steps that it takes no more since."""

    @property
    def rate_factor(self) -> float:
        """What the schedule's learning rates are multiplied by."""
        return RATE_AFTER_ROLLBACK**self.rollbacks

    def place(self, steps: int) -> str:
        """Where that is, in words, of epochs of so many steps."""
        return f"epoch {self.epoch + 1}, of which {self.batch} of {steps} steps are done"

    def gone_back(self, good: "Position") -> "Position":
        """A good position again, from which the steps that failed since are left out, at lower learning rates."""
        return replace(good, rollbacks=self.rollbacks + 1, left_out=[*good.left_out, *self.suspects])

    def next_epoch(self) -> "Position":
        """The beginning of the next epoch."""
        return replace(
            self, epoch=self.epoch + 1, batch=0, loss=0.0, right=0, clips=0, skipped=0, moved=0, norms=0.0, norm_max=0.0
        )


def step_seed(seed: int, epoch: int, batch: int, rank: int = 0) -> int:
    """The seed of one step's dropout and stochastic depth, far from its neighbours' and from other ranks'."""
    return int(np.random.SeedSequence([seed, epoch, batch, rank]).generate_state(1, np.uint64)[0])
