"""What README and docs tell people to type is typed here: every block of sh or Python runs, or is listed with why not.

It runs on a small model and small videos, in a folder where DATA, RUN and the other names of the pages are there.
"""

import functools
import inspect
import re
import shlex
import shutil
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from mvit import cli, commandline
from mvit.data import video
from mvit.recipes import recipe as recipes

ROOT = Path(__file__).parents[1]
DOCUMENTS = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted((ROOT / "docs").rglob("*.md")),
    ROOT / "examples/README.md",
    ROOT / "benchmarks/README.md",
]
LANGUAGES = {"sh", "python", "toml", "text"}

BENCH = "mvit bench model mvit_b_16x4"
NOT_RUN = {
    "mvit predict RUN videos/ --out answers --ray": "starts a cluster: tests/cli/test_predict.py does",
    "mvit embed RUN videos/ --of clip --out all.parquet": "needs an extra: tests/cli/test_embed.py has it",
    "mvit train DATA --out RUN --tensorboard": "needs an extra: tests/training/test_events.py has it",
    **dict.fromkeys(
        (
            "mvit serve runs/gestures-1",
            "mvit serve model.onnx --port 9000",
            "curl -H content-type: video/mp4 --data-binary @clip.mp4 http://127.0.0.1:8000/predict?top=5",
        ),
        "serves until it is stopped: tests/serving asks it",
    ),
    "tensorboard --logdir RUN": "serves until it is stopped",
    "mvit train DATA --memory 16GB": "is for models that need as much: tests/training/test_memory.py plans it",
    "mvit train K400 --recipe kinetics_mvit_b_16x4": "takes days on eight GPUs",
    "mvit train DATA --model video_swin --recipe study": "builds another library's model: tests/training has it",
    "mvit train DATA --model timesformer --recipe study model.width=192 model.heads=[6]": "as the line above",
    "mvit ablate DATA --study positions pooling --seeds 5 --probe": "thirty runs: tests/studies has a few",
    "mvit ablate DATA --study multiscale --only columnar": "as the line above",
    "mvit ablate DATA --study multiscale --match time": "as the line above",
    "mvit ablate DATA --study factorial --recipe FILE --out runs/factorial data.frames=16": "as the line above",
    "mvit ablate DATA --study controls --pretrain OTHER --rates 5e-4 1e-3 2e-3": "as the line above",
    "mvit bench data DATA --recipe gestures --workers 4": "measures for a minute: tests/cli/test_bench.py is shorter",
    "mvit export RUN --int8": "takes a minute: tests/deploy/test_export.py writes all forms",
    "mvit export RUN --to openvino": "as the line above",
    "mvit export RUN --to torch": "as the line above",
    **dict.fromkeys(
        (
            "mvit push RUN OWNER/NAME --dry-run --licence apache-2.0",
            "mvit push RUN OWNER/NAME --licence apache-2.0",
            "mvit pull OWNER/NAME",
        ),
        "asks a hub: tests/sharing is one",
    ),
    **dict.fromkeys(
        (
            "mvit train gestures/train.csv --val gestures/val.csv --recipe gestures",
            "mvit predict runs/train-1 VIDEO",
            "mvit export runs/train-1",
            "mvit predict runs/train-1/model.onnx VIDEO",
        ),
        "trains for an hour, on data that is not in the repository",
    ),
    "mvit watch RUN /dev/video0": "needs a camera: tests/cli/test_live.py makes one",
    "mvit watch RUN rtsp://user:password@camera/stream --json --overlay seen.mp4": "needs a camera",
    "mvit fetch mvit_b_16x4 k400 --out k400": "downloads: tests/weights/test_published.py serves the file itself",
    "mvit evaluate k400 KINETICS400/val": "is of what the line above downloads",
    "mvit train YOUR_FOLDER --model mvit_b_16x4 --weights k400": "downloads, and is for a GPU",
    **dict.fromkeys(
        (
            f"{BENCH} --against torchvision_mvit_b_16x4",
            f"{BENCH} --against torchvision_mvit_b_16x4 --train --dtype autocast --batch 8 --memory",
            f"{BENCH} --clip 16x224x224 32x224x224 64x224x224 16x320x320",
            "mvit bench plan mvit_b_16x4 --train --memory 24GB",
        ),
        "measures for minutes: tests/cli/test_bench.py measures a small one",
    ),
}
"""Their words are still put to the command line, and settings to the recipe."""

NOT_HERE = (".cuda()", "http://127.0.0.1:8000")
"""Python that names a GPU, or a server that somebody has started, is compiled and no more."""

SLOW = {"export.md", "models.md", "share.md", "trust.md"}
"""They export, write checkpoints of 150 MB, or measure speed and memory."""

NEEDED = {
    "export.md": {"export": ("onnx", "onnxscript", "onnxruntime")},
    "share.md": {"baselines": ("transformers",)},
}

IN_PYTHON = {
    "mvit_b_16x4": "mvit_test_4x32",
    "PATH_OF_A_CHECKOUT": str(ROOT),
    'FOLDER", trust': 'RUN/transformers", trust',
}
STANDS_FOR = {
    "VIDEO": "clip.mp4",
    "VIDEO...": "clip.mp4",
    "RUN...": "RUN runs/OTHER-1",
    "FOLDER...": "runs",
    "N": "20",
    "25": "9",  # as many groups as there are
    "mvit_tiny_16x64": "RUN",  # the model of a-1
}
SMALL = ("model.name=mvit_test_4x32", "train.epochs=1", "train.batch=4", "train.workers=0")
"""What is added to a training so that it takes a second."""

BEFORE = {
    "probe.md": """
import mvit
from mvit.data.gather import gather
from mvit.data.samples import Sample
from pathlib import Path
model = mvit.load("RUN")
predict, classes, preprocessing = model.logits, model.classes, model.preprocessing
samples = [Sample(Path("clip.mp4"), (classes[0],))]
""",
    "models.md": """
import mvit
from pathlib import Path
from mvit.weights.write import write_dialect
for file, name in (("image", "mvit_b_16_image"), ("k400", "mvit_b_16x4")):
    model = mvit.create_model(name)
    write_dialect(Path(f"{file}.pyth"), model.state_dict(), model.config, "official")
""",
}
"""What a page has said in words before its Python."""


class Block(NamedTuple):
    """A fenced block: where it begins, its language, its text."""

    line: int
    language: str
    text: str


def blocks(document: Path) -> Iterator[Block]:
    begin, language, inside = 0, "", []
    for number, line in enumerate(document.read_text(encoding="utf-8").splitlines(), 1):
        if not line.startswith("```"):
            inside.append(line)
        elif begin:
            yield Block(begin, language, "\n".join(inside))
            begin = 0
        else:
            begin, language, inside = number, line.removeprefix("```"), []
    assert not begin, f"{document.name}:{begin} is never closed"


def lines(block: Block) -> Iterator[list[str]]:
    """The words of each command, without its remark; what may be left out is there, of alternatives the first."""
    for line in block.text.replace("\\\n", " ").splitlines():
        if "[--" in line or "[DATA]" in line:
            line = re.sub(r"\|\w+", "", re.sub(r"[][]", "", line))
        yield shlex.split(line, comments=True)


ALL = [(document, block) for document in DOCUMENTS for block in blocks(document)]


def test_every_block_says_its_language():
    assert not [f"{document.name}:{block.line}" for document, block in ALL if block.language not in LANGUAGES]


def test_what_is_not_run_is_still_written_somewhere():
    written = {" ".join(words) for _, block in ALL if block.language == "sh" for words in lines(block)}
    assert not set(NOT_RUN) - written
    assert not SLOW - {document.name for document in DOCUMENTS}


def test_toml_is_a_recipe(tmp_path):
    for document, block in ALL:
        if block.language == "toml":
            (tmp_path / "recipe.toml").write_text(block.text, encoding="utf-8")
            assert recipes.load(tmp_path / "recipe.toml"), document


# ---- options in sentences and tables -------------------------------------------------------------------------------


def options(command: commandline.Command) -> set[str]:
    entries = inspect.signature(command).parameters.values()
    own = {f"--{'no-' if entry.default is True else ''}{entry.name.replace('_', '-')}" for entry in entries}
    return own | {"--help"}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_documented_options_exist(document: Path):
    said = [line for block in blocks(document) for line in block.text.splitlines()]
    text = re.sub(r"^```.*?^```", "", document.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    for code in [*said, *re.findall(r"`([^`]+)`", text)]:
        words = re.match(r"(?:torchrun .*-m )?mvit ([a-z]+)(?: ([a-z]+))?(.*)", code, re.DOTALL)
        name = words and next((n for n in (f"{words[1]} {words[2]}", words[1]) if n in cli.COMMANDS), None)
        if words and name:
            strange = set(re.findall(r"(?<![\w-])--[a-z][a-z0-9-]*", words[3])) - options(cli.COMMANDS[name])
            assert not strange, f"{document.name}: mvit {name} has no {strange}"


# ---- the world that the pages speak of -----------------------------------------------------------------------------


def write_videos(root: Path, each: int, frames: int = 20) -> Path:
    rng = np.random.default_rng(7)
    for name in ("jump_left", "jump_right", "wave"):
        (root / name).mkdir(parents=True)
        for n in range(each):
            pictures = (
                rng.integers(0, 255, (frames // 4, 6, 6, 3), dtype=np.uint8).repeat(4, 0).repeat(6, 1).repeat(6, 2)
            )
            video.write(root / name / f"v_{name}_g{n:02d}_c01.mp4", pictures, fps=12)
    return root


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> Path:
    """A folder in which what the pages name is there."""
    root = tmp_path_factory.mktemp("world")
    data = write_videos(root / "YOUR_FOLDER", each=9)
    for name in ("DATA", "OTHER", "videos", "YOUR_IMAGES"):
        shutil.copytree(data, root / name)
    for path in (root / "YOUR_IMAGES").rglob("*.mp4"):
        import av

        with av.open(str(path)) as opened:
            next(opened.decode(video=0)).to_image().save(path.with_suffix(".png"))
        path.unlink()
    shutil.copytree(data, root / "more" / "of")
    for name in ("clip", "video", "upload"):
        shutil.copy(min(data.rglob("*.mp4")), root / f"{name}.mp4")
    rng = np.random.default_rng(8)
    video.write(root / "long.mp4", rng.integers(0, 255, (60, 36, 36, 3), dtype=np.uint8), fps=5)
    shutil.copy(root / "long.mp4", root / "match.mp4")
    for name, part in (("TRAIN", slice(0, 4)), ("VAL", slice(4, 5))):
        listed = [path for folder in sorted(data.iterdir()) for path in sorted(folder.iterdir())[part]]
        rows = [f"{path.relative_to(root)},{path.parent.name}" for path in listed]
        (root / f"{name}.csv").write_text("\n".join(["path,label", *rows]) + "\n", encoding="utf-8")
    deeper = "model.depths=[2,2] model.heads=[2,2] data.spacing=2 model.stride_kv=[[1,2,2],[1,1,1]]"
    train = ["train", f"{data}", "--out", f"{root / 'RUN'}", *SMALL, *deeper.split()]
    assert cli.main(train) == 0
    for name in ("YOUR_FOLDER-1", "OTHER-1", "a-1", "NAME"):
        shutil.copytree(root / "RUN", root / "runs" / name)
    return root


# ---- running -------------------------------------------------------------------------------------------------------


def parse(words: list[str]) -> None:
    """Put the words to the command line without calling anything, and the settings among them to the recipe."""

    def unheard(command: commandline.Command) -> commandline.Command:
        @functools.wraps(command)
        def nothing(*_: object, **__: object) -> int:
            return commandline.DONE

        return nothing

    assert commandline.run({name: unheard(command) for name, command in cli.COMMANDS.items()}, words) == 0
    recipes.given(None, [word for word in words if re.match(r"[a-z]+\.[a-z_]+=", word)])


def run(words: list[str]) -> None:
    """Run a command of a page, or hold it to what it names where it is none of ours."""
    program, *rest = words
    if " ".join(words) in NOT_RUN:
        if program == "mvit":
            parse(rest)
    elif program == "mvit":
        rest = [there for word in rest for there in (STANDS_FOR[word].split() if word in STANDS_FOR else [word])]
        assert cli.main([*rest, *(SMALL if rest[0] == "train" else ())]) == 0
    elif program == "torchrun":
        parse(rest[rest.index("mvit") + 1 :])  # tests/training/test_launchers.py starts several processes
    elif program == "make":
        targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
        assert rest[0] in targets
    elif program == "pip":
        extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"][
            "optional-dependencies"
        ]
        assert rest[0] == "install"
        named = re.fullmatch(r"(?:\.|mvit)(?:\[([a-z,]+)\])?", rest[1])
        assert named
        assert set(filter(None, (named[1] or "").split(","))) <= {*extras}
    else:
        assert program in ("sh", "python"), f"nothing is known of {program}"
        assert (ROOT / rest[0]).is_file()


@pytest.mark.timeout(600)
@pytest.mark.filterwarnings("ignore:image.pyth")  # a new head, which the page says starts anew
@pytest.mark.parametrize(
    "document",
    [
        pytest.param(document, id=document.name, marks=[pytest.mark.slow] * (document.name in SLOW))
        for document in dict.fromkeys(document for document, block in ALL if block.language in ("sh", "python"))
    ],
)
def test_the_blocks_of_a_page_run(document: Path, world, tmp_path, monkeypatch, library, capsys):
    for extra, modules in NEEDED.get(document.name, {}).items():
        for module in modules:
            library(module, extra)
    here = tmp_path / "here"
    shutil.copytree(world, here)
    monkeypatch.chdir(here)
    names: dict[str, object] = {}
    exec(BEFORE.get(document.name, ""), names)
    for block in blocks(document):
        where = f"{document.name}:{block.line}"
        if block.language == "python":
            program = block.text
            for name, stands_for in IN_PYTHON.items() if document.name != "models.md" else ():
                program = program.replace(name, stands_for)
            code = compile(program, where, "exec")
            if not any(there in program for there in NOT_HERE):
                exec(code, names)
        elif block.language == "sh":
            for words in lines(block):
                *words, into = words if ">" in words else [*words, ""]
                capsys.readouterr()
                try:
                    run([word for word in words if word != ">"])
                except (AssertionError, ValueError) as wrong:
                    pytest.fail(f"{where}: {' '.join(words)}: {wrong}\n{capsys.readouterr().err}")
                if into:
                    Path(into).write_text(capsys.readouterr().out, encoding="utf-8")
