"""Processes that train together: how they meet, agree, hand things over, and end together with one sentence.

Rank 0 leads: it alone speaks, and reads and writes the run folder. What ranks exchange here lies in processors' memory;
gradients go their own way (``parallel``).
"""

import itertools
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from mvit.distributed.interruption import TerminatedError
from mvit.distributed.launch import Place

Value = TypeVar("Value")
JOIN_SECONDS = 600.0
"""How long ranks wait for each other at the start, as torchrun does."""
HANG_SECONDS = 1800.0
"""How long a rank waits for another one within a step."""
LAST_WORDS_SECONDS = 5.0
"""How long it is listened for who is still there, once a rank is lost."""
FAILURE = "failure"
"""Where the first rank that fails writes its number and exit code."""


@dataclass(frozen=True)
class Ranks:
    """The processes that train together, seen from one of them; of one alone every method does the obvious at once."""

    place: Place = field(default_factory=Place)
    store: dist.Store | None = None
    group: dist.ProcessGroup | None = None
    turns: Iterator[int] = field(default_factory=itertools.count)
    """Numbers what rank 0 does for all."""

    @property
    def count(self) -> int:
        """How many there are."""
        return self.place.ranks

    @property
    def leads(self) -> bool:
        """Whether this is rank 0."""
        return self.place.rank == 0

    def gathered(self, value: Value) -> list[Value]:
        """The value of every rank, in their order."""
        if self.count == 1:
            return [value]
        values: list[Any] = [None] * self.count
        dist.all_gather_object(values, value, group=self.group)
        return values

    def totals(self, values: Sequence[float]) -> list[float]:
        """Sums over ranks, added in their order: the same bits everywhere and each time."""
        return [sum(column) for column in zip(*self._rows(values), strict=True)]

    def largest(self, values: Sequence[float]) -> list[float]:
        """The largest over ranks."""
        return [max(column) for column in zip(*self._rows(values), strict=True)]

    def from_first(self, work: Callable[[], Value]) -> Value:
        """Have rank 0 do something, however long it takes, and give all what comes of it; where it fails, all end."""
        if self.count == 1:
            return work()
        assert self.store is not None
        done = f"done {next(self.turns)}"
        values: list[Any] = [None]
        if self.leads:
            values = [work()]
            self.store.set(done, "")
        else:
            self._wait_for(done)
        dist.broadcast_object_list(values, src=0, group=self.group)
        return values[0]

    def tensors_from_first(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Give all ranks the tensors that rank 0 has, in processors' memory; what the others give is of no account."""
        if self.count == 1:
            return dict(tensors)
        kinds = self.from_first(lambda: {name: (tensor.shape, tensor.dtype) for name, tensor in tensors.items()})
        handed: dict[str, Tensor] = {}
        for name, (shape, dtype) in kinds.items():
            handed[name] = tensors[name].cpu().contiguous() if self.leads else torch.empty(shape, dtype=dtype)
            dist.broadcast(handed[name], src=0, group=self.group)
        return handed

    def require_alike(self, facts: Mapping[str, str]) -> None:
        """Raise ``ValueError``, the same on all ranks, where a fact differs between them."""
        everywhere = self.gathered((socket.gethostname(), dict(facts)))
        (host, here), *others = everywhere
        for rank, (other, there) in enumerate(others, start=1):
            for name, value in here.items():
                if there[name] != value:
                    raise ValueError(
                        f"rank 0 ({host}) and rank {rank} ({other}) differ in {name} ({value}, {there[name]}): all "
                        "processes of a run need the same"
                    )

    def ending(self, error: BaseException) -> BaseException:
        """What this rank ends with for an error: the error, or silence where another rank has told why all end."""
        assert self.store is not None
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, signal.SIG_IGN)  # which ends all once one has ended: one has still to say why
        try:
            if isinstance(error, RuntimeError) and (sentence := self._lost()):
                error = ValueError(sentence)
            mine = f"{self.place.rank} {_exit_code(error)}"
            first = self.store.compare_set(FAILURE, "", mine).decode()
            self.store.set(f"ended {self.place.rank}", "")
            if self.leads and not self.place.served:
                self._heard_by(f"ended {rank}" for rank in range(self.count))  # the place to meet ends with this rank
        except RuntimeError:
            where = f"{self.place.host}:{self.place.port}"
            keeper = "what started the processes" if self.place.served else "rank 0"
            return ValueError(f"{keeper} is gone from {where}: it was stopped, or its machine; go on with --resume")
        return error if first == mine else SystemExit(int(first.split()[1]))

    def _lost(self) -> str | None:
        """Which ranks do not answer any more, in a sentence; nothing where all do, or one has said why it ends."""
        assert self.store is not None
        answers = {rank: f"alive {rank}" for rank in range(self.count)}
        self.store.set(answers[self.place.rank], "")
        if self._heard_by(answers.values(), FAILURE):
            return None
        silent = [rank for rank, answer in answers.items() if not self.store.check([answer])]
        names = [f"rank {rank}, {self.store.get(_here(rank)).decode()}" for rank in silent]
        return (
            f"{'; '.join(names)}, does not answer any more: it was killed (for memory, perhaps) or hangs; go on from "
            "the last checkpoint with --resume"
        )

    def _heard_by(self, keys: Iterable[str], instead: str | None = None) -> bool:
        """Whether all keys are there soon, or one ``instead`` of them."""
        assert self.store is not None
        keys, given_up = list(keys), time.monotonic() + LAST_WORDS_SECONDS
        while not self.store.check(keys) and not (instead and self.store.check([instead])):
            if time.monotonic() > given_up:
                return False
            time.sleep(0.05)
        return True

    def _wait_for(self, key: str) -> None:
        """Wait until a key is there, for as long as no rank fails: what is done meanwhile may take hours."""
        assert self.store is not None
        pause = 0.01
        while not self.store.check([key]):
            if self.store.check([FAILURE]):
                raise RuntimeError("another rank has failed")
            time.sleep(pause)
            pause = min(0.5, 1.5 * pause)

    def _rows(self, values: Sequence[float]) -> list[list[float]]:
        if self.count == 1:
            return [list(values)]
        mine = torch.tensor(values, dtype=torch.float64)
        rows = [torch.empty_like(mine) for _ in range(self.count)]
        dist.all_gather(rows, mine, group=self.group)
        return [row.tolist() for row in rows]


ALONE = Ranks()


@contextmanager
def joined(place: Place, join_seconds: float = JOIN_SECONDS) -> Iterator[Ranks]:
    """Meet the other ranks, and leave together: what one of them raises ends all, and one tells it.

    Raises ``ValueError`` that names the ranks that have not come in time, and, in what it surrounds, those lost. In all
    ranks but that which tells, ``SystemExit`` with its exit code comes in place of the error.
    """
    store = _meet(place, timedelta(seconds=join_seconds))
    ranks = Ranks(place, store)
    try:
        _await_all(place, store, join_seconds)
        ranks = Ranks(place, store, _connect(place, store))
        yield ranks
        dist.barrier(group=ranks.group)  # that none ends while another can still fail
    except BaseException as error:
        ending = ranks.ending(error)
        if ending is error:
            raise
        raise ending from error
    dist.destroy_process_group()


def settle(device: torch.device, ranks: Ranks) -> None:
    """Take this rank's GPU of its machine; raises ``ValueError``, the same on all ranks, where two would share one."""
    if device.type != "cuda" or ranks.count == 1:
        return
    index = ranks.place.local_rank % torch.cuda.device_count()  # each may see but its own
    torch.cuda.set_device(index)
    taken: dict[tuple[str, str], int] = {}
    for rank, gpu in enumerate(
        ranks.gathered((socket.gethostname(), str(torch.cuda.get_device_properties(index).uuid)))
    ):
        if gpu in taken:
            raise ValueError(
                f"ranks {taken[gpu]} and {rank} would share a GPU of {gpu[0]}: start as many processes on a machine as "
                "it has GPUs"
            )
        taken[gpu] = rank


def _meet(place: Place, patience: timedelta) -> dist.Store:
    serves = place.rank == 0 and not place.served
    try:
        store = dist.TCPStore(place.host, place.port, is_master=serves, timeout=patience, wait_for_workers=False)
    except RuntimeError as why:
        if serves:
            raise ValueError(
                f"rank 0 cannot open port {place.port} of {place.host} ({str(why).splitlines()[0]}): another run may "
                "hold it, so set MASTER_PORT to a free one"
            ) from why
        raise ValueError(
            f"rank {place.rank} found no rank 0 at {place.host}:{place.port} within {patience.total_seconds():g} "
            "seconds: it was not started, or this machine cannot reach it"
        ) from why
    # torchrun's is the same one when it starts the processes again.
    return dist.PrefixStore(f"mvit {os.environ.get('TORCHELASTIC_RESTART_COUNT', 0)}", store)


def _await_all(place: Place, store: dist.Store, seconds: float) -> None:
    store.set(_here(place.rank), f"process {os.getpid()} on {socket.gethostname()}")
    given_up = time.monotonic() + seconds
    keys = {rank: _here(rank) for rank in range(place.ranks)}
    while not store.check([*keys.values()]):
        if time.monotonic() > given_up:
            missing = [str(rank) for rank, key in keys.items() if not store.check([key])]
            raise ValueError(
                f"of {place.ranks} ranks, these have not come within {seconds:g} seconds: {', '.join(missing)}; their "
                "machines may be down, or what started them failed there"
            )
        time.sleep(0.05)


def _connect(place: Place, store: dist.Store) -> dist.ProcessGroup:
    patience = timedelta(seconds=HANG_SECONDS)
    both = torch.cuda.is_available() and dist.is_nccl_available()
    dist.init_process_group(
        "cpu:gloo,cuda:nccl" if both else "gloo",
        store=dist.PrefixStore("group", store),
        rank=place.rank,
        world_size=place.ranks,
        timeout=patience,
    )
    group = dist.new_group(backend="gloo", timeout=patience)
    assert isinstance(group, dist.ProcessGroup)  # as it holds all ranks
    return group


def _here(rank: int) -> str:
    return f"here {rank}"


def _exit_code(error: BaseException) -> int:
    """What the commands make of an error; see ``mvit.commandline``."""
    if isinstance(error, KeyboardInterrupt):
        return 0 if isinstance(error, TerminatedError) else 130
    return 2 if isinstance(error, ValueError | OSError) else 1
