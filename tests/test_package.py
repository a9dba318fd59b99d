"""The archives to publish: all of the package and nothing else, and a wheel that works where only it is installed."""

import os
import re
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCE = {path for path in (ROOT / "src/mvit").rglob("*") if path.is_file() and "__pycache__" not in path.parts}
RECIPES = set((ROOT / "recipes").glob("*.toml"))

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def called(*words: str | Path, at: Path) -> str:
    """What a command prints that finds nothing of this checkout by itself."""
    alone = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    run = subprocess.run(list(map(str, words)), cwd=at, env=alone, capture_output=True, text=True, timeout=300)
    assert run.returncode == 0, run.stdout + run.stderr
    return run.stdout


@pytest.fixture(scope="module")
def archives(tmp_path_factory) -> Path:
    """A folder with both, built without asking an index for anything."""
    out = tmp_path_factory.mktemp("dist")
    called(sys.executable, "-m", "build", "--no-isolation", "--outdir", out, ROOT, at=out)
    return out


@pytest.fixture(scope="module")
def installed(archives, tmp_path_factory) -> Path:
    """The programs of an environment that has the wheel, and beside it this one's libraries but nothing of mvit."""
    where = tmp_path_factory.mktemp("environment")
    venv.create(where, with_pip=False, symlinks=True)
    python = where / "bin/python"
    wheel = next(archives.glob("*.whl"))
    called(sys.executable, "-m", "pip", "--python", python, "install", "--no-index", "--no-deps", wheel, at=where)
    packages = Path(called(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", at=where).strip())
    (packages / "libraries.pth").write_text(sysconfig.get_path("purelib"), encoding="utf-8")  # its own .pth stay unread
    assert called(python, "-c", "import mvit; print(mvit.__file__)", at=where).startswith(str(packages))
    return where / "bin"


def test_the_wheel_is_the_package_and_nothing_else(archives):
    names = set(zipfile.ZipFile(next(archives.glob("*.whl"))).namelist())
    ours = {f"mvit/{path.relative_to(ROOT / 'src/mvit')}" for path in SOURCE}
    theirs = {f"mvit/recipes/{path.name}" for path in RECIPES}
    assert {"mvit/py.typed", "mvit/analysis/report.css"} <= ours
    assert {name for name in names if ".dist-info/" not in name} == ours | theirs
    assert any(name.endswith("licenses/LICENSE") for name in names)


def test_the_source_archive_is_what_the_wheel_is_made_of(archives):
    with tarfile.open(next(archives.glob("*.tar.gz"))) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    beside = {"README.md", "LICENSE", "CHANGELOG.md", "pyproject.toml", ".gitignore", "PKG-INFO"}
    assert names == {str(path.relative_to(ROOT)) for path in SOURCE | RECIPES} | beside


def test_the_command_is_there_and_the_version_is_said_once(installed, archives):
    assert "From a folder of videos" in called(installed / "mvit", "--help", at=archives)
    version = called(installed / "mvit", "--version", at=archives).split()[1]
    assert f"mvit-{version}" in next(archives.glob("*.tar.gz")).name
    assert (ROOT / "CHANGELOG.md").read_text(encoding="utf-8").startswith(f"# Changelog\n\n## {version}")


def test_the_path_of_quickstart_and_the_python_of_the_readme(installed, tmp_path):
    program = "from mvit.data import demo; demo.make('YOUR_FOLDER', train=16, val=8, frames=8, size=32)"
    called(installed / "python", "-c", program, at=tmp_path)
    small = "model.name=mvit_test_4x32 train.epochs=1 train.workers=0 data.frames=4 data.crop=32 data.short_side=32"
    told = called(installed / "mvit", "train", "YOUR_FOLDER", "--recipe", "quickstart", *small.split(), at=tmp_path)
    assert "Next: mvit predict runs/YOUR_FOLDER-1 VIDEO" in told
    min((tmp_path / "YOUR_FOLDER/val").rglob("*.mp4")).rename(tmp_path / "video.mp4")
    readme = re.search(r"```python\n(import mvit\n.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    assert readme
    scores = [line.split() for line in called(installed / "python", "-c", readme[1], at=tmp_path).splitlines()]
    assert len(scores) == 8
    assert sum(float(score) for score, _ in scores) == pytest.approx(1, abs=0.01)
