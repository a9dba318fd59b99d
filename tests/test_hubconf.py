"""What torch.hub finds in a checkout, by torch.hub itself and from a place where mvit is not installed."""

import importlib.util
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import torch

import exports
import mvit

ROOT = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def _path(monkeypatch):
    """The way to modules, of which hubconf puts one first, is put back."""
    monkeypatch.setattr(sys, "path", [*sys.path])


def test_every_preset_and_load_are_entries():
    spec = importlib.util.spec_from_file_location("hubconf", ROOT / "hubconf.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    # As torch.hub.list has it, which knows no checkout on this machine.
    entries = {name: getattr(module, name) for name in dir(module) if not name.startswith("_")}
    found = [name for name, entry in entries.items() if callable(entry)]
    assert sorted(found) == sorted([*mvit.list_models(), "load"])
    assert all(entries[name].__doc__ and entries[name].__name__ == name for name in found)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    needed = {line.partition(">")[0].replace("pillow", "PIL") for line in project["dependencies"]}
    assert set(module.dependencies) == needed - {"tyro", "rich"}, "all but what the commands alone need"


def test_a_preset(tmp_path):
    torch.manual_seed(1)
    model = torch.hub.load(str(ROOT), "mvit_test_4x32", source="local", num_classes=5)
    torch.manual_seed(1)
    expected = mvit.create_model("mvit_test_4x32", num_classes=5)
    clip = torch.randn(1, 3, 4, 32, 32)
    torch.testing.assert_close(model.eval()(clip), expected.eval()(clip), rtol=0, atol=0)
    pyramid = torch.hub.load(str(ROOT), "mvit_test_4x32", source="local", features_only=True)
    assert len(pyramid(clip)) == 2


def test_a_run(tmp_path):
    videos = exports.write_videos(tmp_path / "videos", each=1)
    run = exports.write_run(tmp_path / "run")
    video = videos / "up" / "0.mp4"
    found = torch.hub.load(str(ROOT), "load", run, source="local", device="cpu")
    assert found.predict(video) == mvit.load(run, device="cpu").predict(video)


def test_the_checkout_is_used_where_another_mvit_could_be(tmp_path):
    (tmp_path / "mvit").mkdir()
    (tmp_path / "mvit" / "__init__.py").write_text("raise ImportError('another one')")
    program = (
        "import sys, torch; model = torch.hub.load(sys.argv[1], 'mvit_test_4x32', source='local')\n"
        "import mvit.data.sampling; print(mvit.__file__)"
    )
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-c", program, str(ROOT)],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    assert Path(done.stdout.strip()) == ROOT / "src" / "mvit" / "__init__.py"
