"""Who sees which sample when: pure arithmetic, the same for any number of processes and machines.

N samples, B samples in a global batch, W ranks (processes that train together), K = N / B steps.
"""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, kw_only=True)
class Order:
    """The samples of every step of every epoch, and a rank's share of them.

    The global batch of a step follows from (seed, epoch, step) alone; rank r takes the r-th of W equal pieces of it, so
    the pieces put together are the batch that one process would see. With `whole` the last global batch is left out
    where it is incomplete, as it must be when there is more than one rank: pieces of different sizes would weigh
    samples differently, and a rank without any would keep the others waiting.
    """

    samples: int
    batch: int
    seed: int
    rank: int = 0
    ranks: int = 1
    whole: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.rank < self.ranks:
            raise ValueError(f"rank is {self.rank} of {self.ranks}, but must be at least 0 and below their number")
        if self.batch < 1:
            raise ValueError(f"batch is {self.batch}, but must be at least 1")
        if self.batch % self.ranks:
            raise ValueError(
                f"a batch of {self.batch} clips cannot be divided equally among {self.ranks} ranks: "
                f"set train.batch to a multiple of {self.ranks}, such as {-(-self.batch // self.ranks) * self.ranks}"
            )
        if self.ranks > 1 and not self.whole:
            raise ValueError(f"{self.ranks} ranks must leave out the last global batch where it is incomplete")
        if self.whole and self.samples < self.batch:
            raise ValueError(
                f"{self.samples} samples do not fill one batch of {self.batch}, and incomplete ones are left out: "
                "set a smaller train.batch"
            )

    def __len__(self) -> int:
        """Steps in an epoch."""
        return self.samples // self.batch if self.whole else -(-self.samples // self.batch)

    @property
    def left_out(self) -> int:
        """Samples of an epoch, other ones each time, that are in no batch of it."""
        return max(0, self.samples - len(self) * self.batch)

    def epoch(self, number: int) -> np.ndarray:
        """The samples of an epoch in their order: int64 (N,)."""
        return np.random.default_rng((self.seed, number)).permutation(self.samples)

    def share(self, epoch: np.ndarray, step: int) -> list[int]:
        """This rank's samples of a step of an epoch, as `epoch` gave it."""
        mine = self.batch // self.ranks
        first = step * self.batch + self.rank * mine
        return epoch[first : first + mine].tolist()


def evaluated(samples: int, rank: int, ranks: int) -> range:
    """The samples that a rank evaluates: every one falls to exactly one rank, whatever their number, and none twice.

    Shares differ by one sample at most, and may be empty.
    """
    if not 0 <= rank < ranks:
        raise ValueError(f"rank is {rank} of {ranks}, but must be at least 0 and below their number")
    return range(rank, samples, ranks)
