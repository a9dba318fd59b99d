"""One process at a time in a run folder."""

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from mvit.data.dataset import Listing
from mvit.distributed.lock import LOCK, locked
from mvit.recipes.recipe import Recipe
from mvit.training import loop

pytestmark = pytest.mark.skipif(os.name == "nt", reason="Windows has no such lock")
HOLD = """
import sys, time
from pathlib import Path
from mvit.distributed.lock import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(600)
"""


def test_a_second_process_is_refused_by_the_name_of_the_first_until_that_is_killed(tmp_path: Path):
    with subprocess.Popen([sys.executable, "-c", HOLD, tmp_path / "run"], stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout
        assert holder.stdout.readline() == "held\n"
        with (
            pytest.raises(ValueError, match=rf"run is in use by process {holder.pid} on .*--out"),
            locked(tmp_path / "run"),
        ):
            pass
        holder.send_signal(signal.SIGKILL)
        holder.wait()
    assert (tmp_path / "run" / LOCK).is_file()
    with locked(tmp_path / "run"):
        assert json.loads((tmp_path / "run" / LOCK).read_text())["process"] == os.getpid()
    assert not (tmp_path / "run" / LOCK).exists()


def test_what_was_made_for_the_lock_goes_with_it(tmp_path: Path):
    with locked(tmp_path / "none"):
        pass
    assert not (tmp_path / "none").exists()
    with locked(tmp_path / "some"):
        (tmp_path / "some" / "file").touch()
    assert [path.name for path in (tmp_path / "some").iterdir()] == ["file"]
    (tmp_path / "empty").mkdir()
    with locked(tmp_path / "empty"):
        pass
    assert (tmp_path / "empty").is_dir()


def test_never_two_at_once(tmp_path: Path):
    """Each takes the lock again and again, and removes its file as it leaves: nobody else may be inside meanwhile."""
    inside, most, times = [], [], []

    def take() -> None:
        while len(times) < 200:
            try:
                with locked(tmp_path):
                    inside.append(None)
                    most.append(len(inside))
                    inside.pop()
                    times.append(None)
            except ValueError:
                continue

    threads = [threading.Thread(target=take) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert max(most) == 1


def test_two_runs_in_one_folder(tmp_path: Path, recipe: Recipe, listing: Listing, finished: Path):
    for folder, resume in ((tmp_path / "new", False), (finished, True)):
        with locked(folder), pytest.raises(ValueError, match=r"is in use by process"):
            loop.train(recipe, listing, folder, resume=resume, echo=lambda line: None)
    assert not (tmp_path / "new").exists()
