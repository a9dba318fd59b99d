"""Videos and a run of a small model, for the tests of what is written of it; each module has its own."""

from pathlib import Path

import pytest

import exports


@pytest.fixture(scope="module")
def videos(tmp_path_factory) -> Path:
    return exports.write_videos(tmp_path_factory.mktemp("videos"))


@pytest.fixture(scope="module")
def run(tmp_path_factory, videos) -> Path:
    return exports.write_run(tmp_path_factory.mktemp("runs") / "run", videos)
