"""Tests that passed before are left out: ``MVIT_PASSED=FILE`` writes which passed, ``MVIT_LEAVE_OUT=FILE`` skips those.

For a run with more libraries after one with fewer, of the same code: what passed without them is not asked again.
"""

import os
from pathlib import Path

import pytest


class Passed:
    """Writes the names of the tests that passed, also of those that other processes ran."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.names: list[str] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note a test that passed."""
        if report.when == "call" and report.passed:
            self.names.append(report.nodeid)

    def pytest_sessionfinish(self) -> None:
        """Write them all."""
        self.file.write_text("\n".join(sorted(self.names)) + "\n", encoding="utf-8")


class LeftOut:
    """Leaves out the tests that a file names."""

    def __init__(self, file: Path) -> None:
        self.names = set(file.read_text(encoding="utf-8").splitlines())

    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        """Take them out, and have them counted as deselected."""
        left_out = [item for item in items if item.nodeid in self.names]
        items[:] = [item for item in items if item.nodeid not in self.names]
        config.hook.pytest_deselected(items=left_out)


def asked_for(config: pytest.Config) -> list[Passed | LeftOut]:
    """What the environment asks for; a process that xdist started writes nothing, as the one that started it does."""
    plugins: list[Passed | LeftOut] = []
    if (file := os.environ.get("MVIT_PASSED")) and not hasattr(config, "workerinput"):
        plugins.append(Passed(Path(file)))
    if file := os.environ.get("MVIT_LEAVE_OUT"):
        plugins.append(LeftOut(Path(file)))
    return plugins
