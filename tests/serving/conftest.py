"""A server of a small model that has learned nothing, for the tests of a module."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import browsing
from exports import write_run, write_videos
from mvit.data import demo, video
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


# ---- its page in a browser -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def launch(library, chromium) -> Iterator[Callable[..., Any]]:
    """Starts a browser; not for the session, since Playwright has asyncio running for as long."""
    library("playwright.sync_api", "peers")
    with browsing.launcher(chromium) as started:
        yield started


@pytest.fixture(scope="module")
def browser(launch) -> Any:
    return launch(browsing.CAMERA_ALLOWED)


@pytest.fixture
def page(browser, address) -> Iterator[Any]:
    with browsing.visit(browser, address) as opened:
        yield opened


@pytest.fixture(scope="session")
def address(server) -> str:
    return f"http://127.0.0.1:{server.port}/"


@pytest.fixture(scope="session")
def frames() -> np.ndarray:
    """Ten seconds of four movements, which look unlike one another."""
    each = browsing.SECONDS * browsing.FRAMES_PER_SECOND // 4 + 1
    labels = ("move_right", "clockwise", "grow", "move_up")
    parts = [demo.render(label, np.random.default_rng(n), size=96, frames=each) for n, label in enumerate(labels)]
    return np.concatenate(parts)[: browsing.SECONDS * browsing.FRAMES_PER_SECOND]


@pytest.fixture(scope="session")
def ten_seconds(frames, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("videos") / "ten seconds.mp4"
    video.write(path, frames, fps=browsing.FRAMES_PER_SECOND)
    return path
