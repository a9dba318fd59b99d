"""What the environment says of processes that train together: torchrun's variables, or Slurm's where srun started them.

A rank is the number of such a process, from 0 on. No torch here, and nothing is connected.
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass

FIRST_PORT, PORTS = 15000, 40000
"""Where Slurm's jobs meet, each at a port of its own by its number."""
NO_ID = "none"
"""What torchrun calls a run that was given no id."""


@dataclass(frozen=True)
class Place:
    """Where a process stands among those that train together, and where they meet."""

    rank: int = 0
    ranks: int = 1
    local_rank: int = 0
    """Among those on this machine."""
    host: str = ""
    port: int = 0
    served: bool = False
    """Whether the meeting point is kept by who started the processes, as torchrun does, and not by rank 0."""


def place(environment: Mapping[str, str] = os.environ) -> Place:
    """The place that torchrun or srun gave this process; alone where neither did.

    Raises ``ValueError`` for variables that are incomplete or no numbers, and where torchrun would start processes
    again that could not know their run.
    """
    if "RANK" in environment and "WORLD_SIZE" in environment:
        found = Place(
            rank=_number(environment, "RANK"),
            ranks=_number(environment, "WORLD_SIZE"),
            local_rank=_number(environment, "LOCAL_RANK", "0"),
            served=environment.get("TORCHELASTIC_USE_AGENT_STORE") == "True",
        )
    elif (
        environment.get("SLURM_STEP_NUM_TASKS", "1") != "1"
    ):  # set by srun; a batch script itself is no step of several
        job, step = (_number(environment, name, "0") for name in ("SLURM_JOB_ID", "SLURM_STEP_ID"))
        found = Place(
            rank=_number(environment, "SLURM_PROCID"),
            ranks=_number(environment, "SLURM_STEP_NUM_TASKS"),
            local_rank=_number(environment, "SLURM_LOCALID", "0"),
            host=first_host(environment.get("SLURM_STEP_NODELIST", "")),
            port=FIRST_PORT + (7919 * step + job) % PORTS,
        )
    else:
        return Place()
    if found.ranks == 1:
        return Place()
    if not found.rank < found.ranks:
        raise ValueError(f"this process is said to be rank {found.rank} of {found.ranks}: ranks count from 0")
    if int(environment.get("TORCHELASTIC_MAX_RESTARTS", "0")) and run_id(environment) is None:
        raise ValueError(
            "torchrun may start these processes again (--max-restarts), but gave the run no id by which to know it: "
            "add --standalone on one machine, or --rdzv-id=NAME"
        )
    host = environment.get("MASTER_ADDR", found.host)
    port = _number(environment, "MASTER_PORT", str(found.port or ""))
    if not host:
        raise ValueError(
            f"rank {found.rank} of {found.ranks} does not know where rank 0 is: start it with torchrun or srun, or set "
            "MASTER_ADDR and MASTER_PORT"
        )
    return Place(found.rank, found.ranks, found.local_rank, host, port, found.served)


def run_id(environment: Mapping[str, str] = os.environ) -> str | None:
    """By what a run is known again when its processes are started anew; None where nothing says so.

    torchrun's --rdzv-id (--standalone gives a fresh one), or the number of a Slurm job, which it keeps when requeued.
    """
    given = environment.get("TORCHELASTIC_RUN_ID", NO_ID)
    if given != NO_ID:
        return f"torchrun {given}"
    job = environment.get("SLURM_JOB_ID")
    return f"Slurm job {job}" if job else None


def restarted(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether torchrun (--max-restarts) or Slurm (requeue) has started this process in place of one that ended."""
    counts = ("TORCHELASTIC_RESTART_COUNT", "SLURM_RESTART_COUNT")
    return any(_number(environment, name, "0") > 0 for name in counts)


def first_host(nodes: str) -> str:
    """The first machine of Slurm's list of nodes: ``node[03-05,9],gpu1`` gives ``node03``."""
    first = re.match(r"([^\[,]*)(?:\[(\w+)[^\]]*\]([^\[,]*))?", nodes)
    return "".join(part or "" for part in first.groups()) if first else ""


def _number(environment: Mapping[str, str], name: str, otherwise: str = "") -> int:
    text = environment.get(name, otherwise)
    if not text.isdecimal():
        said = f"is {text!r}" if text else "is not set"
        raise ValueError(
            f"the environment variable {name} {said}: expected a whole number, as torchrun and srun set it"
        )
    return int(text)
