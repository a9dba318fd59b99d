"""The rules of docs/architecture.md, held by reading the tree; the table on that page is the law, and is parsed."""

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "mvit"
MOST_LINES = 400
FOLDERS = ("src", "tests", "docs", "recipes", "examples", "experiments", "benchmarks", ".ci")
TEXTS = [
    path
    for path in [*ROOT.iterdir(), *(path for folder in FOLDERS for path in (ROOT / folder).rglob("*"))]
    if path.is_file() and (path.suffix in (".py", ".md", ".toml", ".yaml") or path.name in ("Makefile", "run"))
]
DOCUMENTS = sorted(path for path in TEXTS if path.suffix == ".md")
PYTHON = [path for path in TEXTS if path.suffix == ".py"]


@dataclass
class Room:
    """A row of the table: files in order, rooms it may import, and packages, some for certain files only."""

    level: int
    files: list[str]
    rooms: set[str]
    packages: dict[str, set[str] | None]


def _rooms() -> dict[str, Room]:
    rooms: dict[str, Room] = {}
    for line in (ROOT / "docs/architecture.md").read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) != 6 or not cells[0].isdecimal():
            continue
        level, name, _, files, imports, elsewhere = cells
        packages: dict[str, set[str] | None] = {}
        for group in filter(None, elsewhere.replace("`", "").split(";")):
            names, _, only = group.partition(" in ")
            packages |= {n.strip(): set(re.findall(r"\w+", only)) or None for n in names.split(",")}
        rooms[name.strip("`")] = Room(int(level), files.split(" · "), set(re.findall(r"\w+", imports)), packages)
    return rooms


ROOMS = _rooms()


def _module(path: Path) -> tuple[str, str]:
    """Room and file of a source path; an __init__ comes last in its room.

    A file beside the rooms is a room of one file; a folder inside a room counts as one file.
    """
    parts = path.relative_to(SOURCE).with_suffix("").parts
    return parts[0], parts[:2][-1]


def _imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative imports hide the room they come from"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _sources() -> list[Path]:
    return [path for path in sorted(SOURCE.rglob("*.py")) if path != SOURCE / "__init__.py"]


def test_the_table_names_every_file_and_only_those():
    there: dict[str, set[str]] = {}
    for path in _sources():
        room, file = _module(path)
        there.setdefault(room, set())
        if file != "__init__":
            there[room].add(file)
    assert {name: set(room.files) for name, room in ROOMS.items()} == there


def test_rooms_import_only_from_lower_levels():
    for name, room in ROOMS.items():
        for other in room.rooms:
            assert ROOMS[other].level < room.level, f"{name} may not import {other}: it is not on a lower level"


@pytest.mark.parametrize("path", _sources(), ids=lambda path: str(path.relative_to(SOURCE)))
def test_imports_are_those_of_the_table(path: Path):
    name, file = _module(path)
    room = ROOMS[name]
    before = room.files if file == "__init__" else room.files[: room.files.index(file)]
    for imported in _imports(path):
        package, *inner = imported.split(".")
        if package in sys.stdlib_module_names:
            continue
        if package != "mvit":
            assert package in room.packages, f"{path} imports {package}, which {name} may not"
            only = room.packages[package]
            assert only is None or file in only, f"{path} imports {package}, which only {only} of {name} may"
        elif inner and inner != ["__version__"] and inner[0] == name:
            assert inner[1] in {file, *before}, f"{path} imports {imported}, which stands to its right"
        elif inner and inner != ["__version__"]:
            assert inner[0] in room.rooms, f"{path} imports {imported}, a room that {name} may not"


def test_files_are_short():
    long = {str(path): n for path in PYTHON if (n := len(path.read_text(encoding="utf-8").splitlines())) > MOST_LINES}
    assert not long, "a file with two concepts in it?"


def test_no_drawers():
    assert not [path for path in PYTHON if path.stem in ("utils", "util", "common", "helpers", "misc")]


def test_public_names_say_what_they_are():
    mute = []
    for path in [*_sources(), SOURCE / "__init__.py"]:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        public = [n for n in tree.body if isinstance(n, ast.FunctionDef | ast.ClassDef) and n.name[0] != "_"]
        mute += [f"{path}:{getattr(n, 'name', '')}" for n in [tree, *public] if not ast.get_docstring(n)]
    assert not mute


FORBIDDEN = {
    "weights_only" + "=False": "executes what a checkpoint says",
    "pickle" + ".load": "executes what a file says",
    "shell" + "=True": "lets a file name be a command",
    "trust_remote_code" + "=True": "executes what a repository says",
}


@pytest.mark.parametrize("words", FORBIDDEN)
def test_nothing_foreign_is_executed(words: str):
    programs = [path for path in PYTHON if "tests" not in path.relative_to(ROOT).parts]
    assert not [path for path in programs if words in path.read_text(encoding="utf-8")], FORBIDDEN[words]


def test_the_project_speaks_only_of_itself():
    assert not [path for path in TEXTS if "/wor" + "k/" in path.read_text(encoding="utf-8")]


def test_extras_are_installed_in_one_way():
    """By the name of the package, which pip knows wherever mvit is installed, also far from its checkout."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    told = [*SOURCE.rglob("*.py"), ROOT / "README.md", *(ROOT / "docs").rglob("*.md"), *(ROOT / "examples").rglob("*")]
    named = [
        (path.name, package, extra)
        for path in told
        if path.suffix in (".py", ".md")
        for package, extra in re.findall(r"pip install '([\w.]+)\[([\w,]+)\]'", path.read_text(encoding="utf-8"))
    ]
    assert len(named) > 10
    assert not [each for each in named if each[1] != "mvit" or each[2] not in extras]


def test_every_preset_is_documented():
    from mvit import list_models

    page = (ROOT / "docs/models.md").read_text(encoding="utf-8")
    assert not [name for name in list_models() if f"`{name}`" not in page]


@pytest.mark.parametrize("path", sorted((ROOT / "recipes").glob("*.toml")), ids=lambda path: path.stem)
def test_recipes_load_and_say_how_they_are_run(path: Path):
    from mvit.recipes.recipe import load

    load(path).model_config(classes=8)
    head = path.read_text(encoding="utf-8").split("\n[")[0]
    assert re.search(rf"mvit (train .*{path.stem}|quickstart)", head), "the head says the command"


def _code(document: Path) -> Iterator[str]:
    """Lines of code blocks, and code spans in sentences."""
    inside = False
    for line in document.read_text(encoding="utf-8").splitlines():
        if line.lstrip().startswith("```"):
            inside = not inside
        elif inside:
            yield line.strip().removeprefix("$ ")
        else:
            yield from re.findall(r"`([^`]+)`", line)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_documented_commands_exist(document: Path):
    from mvit.cli import COMMANDS

    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    for code in _code(document):
        command = re.match(r"(?:\.venv/bin/)?(mvit|make) ([a-z]\S*)(?: ([a-z]+))?", code)
        if command:
            known = {*COMMANDS} if command[1] == "mvit" else {*targets}
            assert known & {command[2], f"{command[2]} {command[3]}"}, f"{document.name}: {code}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(document: Path):
    for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", document.read_text(encoding="utf-8")):
        assert (document.parent / target).exists(), f"{document.name} links to {target}"


def _python(program: str, *arguments: str) -> str:
    run = subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True, timeout=100)
    assert run.returncode == 0, run.stderr
    return run.stdout


def test_importing_the_package_imports_nothing_heavy():
    out = _python(
        "import sys, mvit, mvit.cli; print([n for n in ('torch', 'numpy', 'av', 'tyro') if n in sys.modules])"
    )
    assert out.strip() == "[]"


WITHOUT_TORCH = """
import sys
sys.modules["torch"] = sys.modules["torchvision"] = None  # from now on, importing them fails
import numpy as np, mvit
from mvit.data import video, views
from mvit.data.sampling import ClipSampling
import mvit.evaluation.evaluate, mvit.evaluation.probes, mvit.recipes.recipe, mvit.model.presets
video.write(sys.argv[1], np.zeros((12, 48, 64, 3), np.uint8))
assert mvit.data.video.read(sys.argv[1]).shape == (12, 48, 64, 3)
preprocessing = views.Preprocessing(sampling=ClipSampling(frames=4, spacing=2), short_side=32, crop=32)
print(views.read_views(sys.argv[1], preprocessing, clips=2, crops=3).shape)
"""


def test_decoding_and_test_views_need_no_torch(tmp_path: Path):
    assert _python(WITHOUT_TORCH, str(tmp_path / "clip.mp4")).strip() == "(6, 3, 4, 32, 32)"
