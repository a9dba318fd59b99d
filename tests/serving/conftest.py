"""A server of a small model that has learned nothing, for the tests of a module."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from exports import write_run, write_videos
from served import IMPATIENT, Served


@pytest.fixture(scope="session")
def videos(tmp_path_factory) -> Path:
    return write_videos(tmp_path_factory.mktemp("videos"))


@pytest.fixture(scope="session")
def run(tmp_path_factory) -> Path:
    return write_run(tmp_path_factory.mktemp("runs") / "movements")


@pytest.fixture(scope="session")
def clip(videos) -> Path:
    return videos / "left" / "0.mp4"


@pytest.fixture(scope="session")
def server(library, run) -> Iterator[Served]:
    """One that no test disturbs so that another would notice."""
    for module in ("granian", "starlette"):
        library(module, "serve")
    with Served(run, "--max-bytes", "2MB", "--max-seconds", "20s", before=IMPATIENT) as served:
        yield served
        assert served.end() == (0, ["mvit: asked to end: 0 requests are being finished, for 30 s at most"])
