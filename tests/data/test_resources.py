"""What this job may use, as control groups of both versions, masks and Slurm say it."""

import os
from pathlib import Path

import pytest

from mvit.data import resources
from mvit.data.resources import available_cores, available_memory


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """Pretend to be a job: its line(s) in /proc/self/cgroup, and the files of its control groups."""

    def pretend(groups: str, files: dict[str, str], available_kib: int = 8 * 2**20) -> None:
        for name, text in files.items():
            path = tmp_path / "cgroup" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        (tmp_path / "cgroup").mkdir(exist_ok=True)
        (tmp_path / "self").write_text(groups)
        (tmp_path / "meminfo").write_text(f"MemTotal: 99 kB\nMemAvailable: {available_kib} kB\n")
        monkeypatch.setattr(resources, "GROUPS", tmp_path / "cgroup")
        monkeypatch.setattr(resources, "PROCESS", tmp_path / "self")
        monkeypatch.setattr(resources, "MEMORY", tmp_path / "meminfo")
        monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(16)), raising=False)

    return pretend


TWO, ONE = "0::/job/step\n", "3:cpu,cpuacct:/job\n2:memory:/job\n0::/\n"


@pytest.mark.parametrize(
    ("groups", "files", "environment", "cores"),
    [
        (TWO, {}, {}, 16),
        ("", {}, {}, 16),
        (TWO, {"job/step/cpu.max": "max 100000"}, {}, 16),
        (TWO, {"job/step/cpu.max": "250000 100000"}, {}, 3),
        (TWO, {"job/step/cpu.max": "max 100000", "job/cpu.max": "200000 100000"}, {}, 2),
        (TWO, {"cpu.max": "50000 100000"}, {}, 1),  # in a container the path may be the host's
        (ONE, {"cpu/job/cpu.cfs_quota_us": "400000", "cpu/job/cpu.cfs_period_us": "100000"}, {}, 4),
        (ONE, {"cpu/job/cpu.cfs_quota_us": "-1", "cpu/job/cpu.cfs_period_us": "100000"}, {}, 16),
        (ONE, {"cpu/cpu.cfs_quota_us": "500000", "cpu/cpu.cfs_period_us": "100000"}, {}, 5),
        (TWO, {}, {"SLURM_CPUS_PER_TASK": "6"}, 6),
        (TWO, {}, {"SLURM_CPUS_PER_TASK": "32"}, 16),
        (TWO, {}, {"SLURM_CPUS_PER_TASK": "many"}, 16),
        (TWO, {"job/cpu.max": "200000 100000"}, {"SLURM_CPUS_PER_TASK": "6"}, 2),
    ],
)
def test_cores_are_the_fewest_that_anything_allows(machine, groups, files, environment, cores):
    machine(groups, files)
    assert available_cores(environment) == cores


GIB = 2**30


@pytest.mark.parametrize(
    ("groups", "files", "left"),
    [
        (TWO, {}, 8 * GIB),
        (TWO, {"job/memory.max": "max", "job/memory.current": "5"}, 8 * GIB),
        (TWO, {"job/memory.max": f"{4 * GIB}", "job/memory.current": f"{GIB}"}, 3 * GIB),
        (
            TWO,
            {
                "job/step/memory.max": f"{4 * GIB}",
                "job/step/memory.current": f"{2 * GIB}",
                "job/step/memory.stat": f"anon 5\ninactive_file {GIB}\n",
            },
            3 * GIB,
        ),
        (TWO, {"job/memory.max": f"{GIB}", "job/memory.current": f"{2 * GIB}"}, 0),
        (
            ONE,
            {
                "memory/job/memory.limit_in_bytes": f"{2 * GIB}",
                "memory/job/memory.usage_in_bytes": f"{GIB}",
                "memory/job/memory.stat": f"inactive_file 1\ntotal_inactive_file {GIB // 2}\n",
            },
            3 * GIB // 2,
        ),
        (ONE, {"memory/memory.limit_in_bytes": f"{2**63 - 4096}", "memory/memory.usage_in_bytes": "7"}, 8 * GIB),
    ],
)
def test_memory_is_the_least_that_anything_leaves(machine, groups, files, left):
    machine(groups, files)
    assert available_memory() == left


def test_where_the_system_does_not_say(monkeypatch):
    for name in ("GROUPS", "PROCESS", "MEMORY", "SHARED_MEMORY"):
        monkeypatch.setattr(resources, name, Path("/nothing/here"))
    assert (available_memory(), resources.shared_memory()) == (None, None)


def test_cores_are_those_this_process_may_use():
    assert 1 <= available_cores() <= (os.cpu_count() or 1)
    if hasattr(os, "sched_setaffinity"):
        before = os.sched_getaffinity(0)
        try:
            os.sched_setaffinity(0, {min(before)})
            assert available_cores() == 1
        finally:
            os.sched_setaffinity(0, before)
