"""How ranks meet, agree and end, without a training; ``training.test_several_processes`` has processes that train."""

import signal
import socket
from collections.abc import Iterator
from typing import Any

import pytest
import torch.distributed as dist

from mvit.distributed import group
from mvit.distributed.group import ALONE, Ranks, joined
from mvit.distributed.interruption import Interrupted, Interruption, TerminatedError
from mvit.distributed.launch import Place
from mvit.recipes.recipe import load
from mvit.training.loop import whole_batches


@pytest.fixture
def port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


@pytest.fixture
def sigterm() -> Iterator[None]:
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.fixture
def two(monkeypatch: pytest.MonkeyPatch, sigterm: None) -> tuple[Ranks, Ranks]:
    """Two ranks that share what two processes would, and have not been connected any further."""
    monkeypatch.setattr(group, "LAST_WORDS_SECONDS", 0.2)
    store = dist.HashStore()
    for rank in (0, 1):
        store.set(f"here {rank}", f"process {100 + rank} on node{rank}")
    return Ranks(Place(0, 2, host="node0", port=1), store), Ranks(Place(1, 2, host="node0", port=1), store)


def test_one_alone_does_the_obvious():
    assert ALONE.leads
    assert ALONE.gathered("a") == ["a"]
    assert ALONE.totals([1.5, 2]) == [1.5, 2]
    assert ALONE.largest([1.5, 2]) == [1.5, 2]
    assert ALONE.from_first(lambda: 7) == 7
    ALONE.require_alike({"data": "x"})


class Facing(Ranks):
    """Rank 0 of two; the other gives what it was told to."""

    def gathered(self, value: Any) -> list[Any]:
        return [value, ("node1", {"train.epochs": "30", "their videos": "a7"})]


def test_ranks_that_differ_say_in_what():
    one = Facing(Place(0, 2))
    one.require_alike({"train.epochs": "30", "their videos": "a7"})
    said = r"and rank 1 \(node1\) differ in their videos \(b8, a7\): all processes"
    with pytest.raises(ValueError, match=said):
        one.require_alike({"train.epochs": "30", "their videos": "b8"})


def test_ranks_that_do_not_come_are_named(port: int, sigterm: None):
    place = Place(0, 4, host="127.0.0.1", port=port)
    with (
        pytest.raises(ValueError, match=r"of 4 ranks, these have not come within 0.2 seconds: 1, 2, 3; "),
        joined(place, join_seconds=0.2),
    ):
        raise AssertionError


def test_no_rank_0(port: int):
    place = Place(2, 4, host="127.0.0.1", port=port)
    said = rf"rank 2 found no rank 0 at 127.0.0.1:{port} within 1 seconds"
    with pytest.raises(ValueError, match=said), joined(place, join_seconds=1):
        raise AssertionError


def test_a_port_that_is_taken():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        place = Place(0, 2, host="127.0.0.1", port=taken.getsockname()[1])
        with pytest.raises(ValueError, match=r"rank 0 cannot open port .*set MASTER_PORT"), joined(place):
            raise AssertionError


def test_the_first_that_fails_tells_and_the_others_end_as_it_does(two: tuple[Ranks, Ranks]):
    full = OSError(28, "No space left on device", "run")
    assert two[0].ending(full) is full
    silent = two[1].ending(RuntimeError("Connection closed by peer"))
    assert isinstance(silent, SystemExit)
    assert silent.code == 2
    again = two[1].ending(ValueError("the same on all ranks"))
    assert isinstance(again, SystemExit)


@pytest.mark.parametrize(
    ("error", "code"), [(AssertionError(), 1), (TerminatedError(), 0), (Interrupted(), 130), (ValueError(), 2)]
)
def test_exit_codes_are_those_of_the_commands(two: tuple[Ranks, Ranks], error: BaseException, code: int):
    assert two[1].ending(error) is error
    silent = two[0].ending(RuntimeError("Connection closed by peer"))
    assert isinstance(silent, SystemExit)
    assert silent.code == code


def test_a_rank_that_is_gone_is_named(two: tuple[Ranks, Ranks]):
    ending = two[0].ending(RuntimeError("Connection closed by peer"))
    assert isinstance(ending, ValueError)
    assert str(ending).startswith("rank 1, process 101 on node1, does not answer any more")


def test_an_error_of_ours_stays_one_where_all_ranks_answer(two: tuple[Ranks, Ranks]):
    assert two[1].store is not None
    two[1].store.set("alive 1", "")
    fault = RuntimeError("shapes cannot be multiplied")
    assert two[0].ending(fault) is fault


def test_who_waits_for_rank_0_hears_that_it_failed(two: tuple[Ranks, Ranks]):
    two[0].ending(ValueError("no such folder"))
    with pytest.raises(RuntimeError):
        two[1].from_first(lambda: None)


def test_a_signal_to_one_stops_all_and_may_come_twice(sigterm: None):
    for which, error in ((signal.SIGTERM, TerminatedError), (signal.SIGINT, Interrupted)):
        with Interruption(several=True) as interruption:
            interruption.check()
            signal.raise_signal(which)
            signal.raise_signal(which)
            with pytest.raises(error):
                interruption.check()
    unaware = Interruption(lambda numbers: [float(signal.SIGTERM) for _ in numbers])
    with unaware, pytest.raises(TerminatedError):
        unaware.check()


def test_alone_a_second_ctrl_c_acts_at_once_and_sigterm_does_not(sigterm: None):
    with Interruption() as interruption:
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGTERM)
        with pytest.raises(TerminatedError):
            interruption.check()
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it
    try:
        with Interruption():
            signal.raise_signal(signal.SIGINT)
            with pytest.raises(KeyboardInterrupt):
                signal.raise_signal(signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)


def test_incomplete_batches_stay_as_the_run_began_with_them():
    recipe, copies = load(None, ["train.batch=4"]), load(None, ["train.batch=8", "augment.copies=2"])
    assert not whole_batches({}, 10, recipe, ranks=1)
    assert not whole_batches({"whole_batches": False}, 12, recipe, ranks=1)
    assert whole_batches({"whole_batches": False}, 12, recipe, ranks=2)
    assert whole_batches({"whole_batches": True}, 10, recipe, ranks=1)
    assert whole_batches({}, 12, copies, ranks=2), "a batch of 8 clips has 4 videos"
    for one in (recipe, copies):
        with pytest.raises(ValueError, match="the last batch of its epochs has 2 of 4 videos"):
            whole_batches({}, 10, one, ranks=2)
