"""What this job may use of the machine: processors and memory, under masks, control groups and batch schedulers."""

import math
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath

GROUPS = Path("/sys/fs/cgroup")
PROCESS = Path("/proc/self/cgroup")
MEMORY = Path("/proc/meminfo")
SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 (where Linux keeps what processes share; batches come through it)
UNLIMITED = 2**60  # version 1 of control groups has a number near 2**63 where there is no limit


def available_cores(environment: Mapping[str, str] = os.environ) -> int:
    """How many processors this process may use.

    Fewer than the machine has under an affinity mask, under the quota of a control group (a container's) or of one
    above it, where torchrun started several here, and where Slurm gave this task fewer (SLURM_CPUS_PER_TASK).
    """
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    limits = [usable, *(max(1, math.ceil(quota)) for quota in _quotas())]
    limits = [max(1, min(limits) // _started_here(environment))]
    given = environment.get("SLURM_CPUS_PER_TASK", "")
    if given.isdecimal() and int(given) > 0:
        limits.append(int(given))
    return min(limits)


def available_memory(environment: Mapping[str, str] = os.environ) -> int | None:
    """Bytes that this process and its children may still take; None where the system does not say.

    What the machine has left, or less: what the memory limit of a control group, or of one above it, leaves. Pages of
    files that can be dropped count as free. An equal part of it where torchrun or srun started several here.
    """
    known = [left for left in (_machines_memory(), *_groups_memory()) if left is not None]
    return max(0, min(known)) // _together_here(environment) if known else None


def shared_memory(environment: Mapping[str, str] = os.environ) -> int | None:
    """Bytes left where processes share memory, in equal parts; None where that is not a file system of its own."""
    free = shutil.disk_usage(SHARED_MEMORY).free if SHARED_MEMORY.is_dir() else None
    return free // _together_here(environment) if free is not None else None


def _started_here(environment: Mapping[str, str]) -> int:
    """Processes that train together on this machine and were started by torchrun, which does not divide it."""
    given = environment.get("LOCAL_WORLD_SIZE", "")
    return int(given) if given.isdecimal() and int(given) > 0 else 1


def _together_here(environment: Mapping[str, str]) -> int:
    """Processes that train together on this machine: torchrun's, or the tasks of Slurm's step, ``2(x3),1``."""
    nodes, node = environment.get("SLURM_STEP_TASKS_PER_NODE", ""), environment.get("SLURM_NODEID", "")
    if "LOCAL_WORLD_SIZE" in environment or not node.isdecimal():
        return _started_here(environment)
    tasks = [int(count) for count, times in re.findall(r"(\d+)(?:\(x(\d+)\))?", nodes) for _ in range(int(times or 1))]
    return max(1, tasks[int(node)]) if int(node) < len(tasks) else 1


def _quotas() -> Iterator[float]:
    """Processors' worth of time that each control group above this process allows."""
    for folder in _folders(""):
        quota, period = [*(_text(folder / "cpu.max") or "max").split(), "100000"][:2]
        if quota.isdecimal() and period.isdecimal():
            yield int(quota) / int(period)
    for folder in _folders("cpu"):
        quota, period = _text(folder / "cpu.cfs_quota_us") or "-1", _text(folder / "cpu.cfs_period_us") or "0"
        if quota.isdecimal() and period.isdecimal() and int(period):
            yield int(quota) / int(period)


def _groups_memory() -> Iterator[int]:
    names = (("", "memory.max", "memory.current"), ("memory", "memory.limit_in_bytes", "memory.usage_in_bytes"))
    for controller, limit, usage in names:
        for folder in _folders(controller):
            most, used = _text(folder / limit) or "max", _text(folder / usage) or ""
            if most.isdecimal() and used.isdecimal() and int(most) < UNLIMITED:
                yield int(most) - int(used) + _droppable(folder)


def _droppable(folder: Path) -> int:
    lines = dict(line.split(maxsplit=1) for line in (_text(folder / "memory.stat") or "").splitlines() if " " in line)
    return int(lines.get("total_inactive_file") or lines.get("inactive_file") or 0)


def _machines_memory() -> int | None:
    line = next((line for line in (_text(MEMORY) or "").splitlines() if line.startswith("MemAvailable:")), None)
    return int(line.split()[1]) * 1024 if line else None


def _folders(controller: str) -> Iterator[Path]:
    """The folders of this process's control group and of those above it, of a controller of version 1 or ("") of 2.

    Inside a container the path is often that on the host, and only the uppermost folder is there.
    """
    for line in (_text(PROCESS) or "").splitlines():
        _, controllers, path = line.split(":", 2)
        if controller in controllers.split(",") and not (controller == "" and controllers):
            root = GROUPS / controller
            here = PurePosixPath(path.lstrip("/"))
            yield from dict.fromkeys(root / inner for inner in (here, *here.parents) if (root / inner).is_dir())


def _text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8").strip()
    except OSError:
        return None
