"""What every test shares: one thread, fixed randomness, and the way to data that lies beside the checkout."""

import atexit
import importlib
import os
import random
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

# xdist runs a process per core, so each computes on one thread; set before torch or numpy are imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import hypothesis
import numpy as np
import pytest

import passed

hypothesis.settings.register_profile(
    "mvit",
    derandomize=True,
    deadline=None,
    max_examples=50,
    database=None,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("mvit")

# What was seen of videos is kept in the user's cache: no test may find what another one left there.
os.environ["XDG_CACHE_HOME"] = tempfile.mkdtemp(prefix="mvit-tests-")
atexit.register(shutil.rmtree, os.environ["XDG_CACHE_HOME"], ignore_errors=True)

ROOT = Path(__file__).parents[1]


def pytest_configure(config: pytest.Config) -> None:
    """See ``passed``."""
    for plugin in passed.asked_for(config):
        config.pluginmanager.register(plugin)


@pytest.fixture(autouse=True)
def _fixed_randomness():
    """No test sees the random state another one left."""
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002 (libraries still draw from the global generator)
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(0)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real data and reference outputs beside the checkout; without it the test is skipped."""
    folder = ROOT.parent / "shared"
    if not folder.is_dir():
        reason = f"needs the data folder {folder}"
        if os.environ.get("MVIT_REQUIRE_DATA") == "1":
            pytest.fail(f"{reason}, and MVIT_REQUIRE_DATA=1 forbids skipping")
        pytest.skip(reason)
    return folder


@pytest.fixture(scope="session")
def library() -> Callable[[str, str], ModuleType]:
    """Imports a module of a library that an extra installs; without the library the test is skipped."""

    def imported(module: str, extra: str) -> ModuleType:
        try:
            return importlib.import_module(module)
        except ImportError as missing:
            reason = f"needs {module}, which the extra {extra!r} installs ({missing})"
            if os.environ.get("MVIT_REQUIRE_PEERS") == "1":
                pytest.fail(f"{reason}, and MVIT_REQUIRE_PEERS=1 forbids skipping")
            pytest.skip(reason)

    return imported


@pytest.fixture(scope="session")
def chromium() -> str:
    """Where a Chromium is, to look at pages with; without one the test is skipped."""
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if found is None:
        reason = "needs a Chromium to look at the page"
        if os.environ.get("MVIT_REQUIRE_BROWSER") == "1":
            pytest.fail(f"{reason}, and MVIT_REQUIRE_BROWSER=1 forbids skipping")
        pytest.skip(reason)
    return found
