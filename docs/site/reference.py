"""The reference of the site, written from the code: what each command's help says, and the public names of Python."""

import ast
import html
import io
import os
import re
import textwrap
from collections.abc import Iterator
from contextlib import redirect_stdout
from pathlib import Path

from mvit import cli, commandline

SOURCE = Path(cli.__file__).parent
WIDTH = 92
"""Columns of a code block on a page."""

NAMES: dict[str, tuple[tuple[str, tuple[str, ...]], ...]] = {
    "Models": (
        ("weights/create", ("create_model",)),
        ("model/presets", ("list_models", "get_config")),
        ("model/config", ("MViTConfig",)),
        ("model/mvit", ("MViT",)),
    ),
    "Prediction": (
        ("deploy/opened", ("load",)),
        ("deploy/described", ("Described",)),
        ("deploy/predictor", ("Predictor",)),
        ("data/gather", ("gather",)),
        ("deploy/answers", ("answers", "Answer")),
        ("deploy/embedding", ("embedded",)),
        ("deploy/windows", ("Windowing", "Sweep")),
        ("deploy/segments", ("Hysteresis", "segments", "Segment")),
        ("deploy/export", ("export",)),
    ),
    "Videos and what a model sees of them": (
        ("data/video", ("Video", "VideoFacts", "read", "probe", "write")),
        ("data/limits", ("Limits",)),
        ("data/sampling", ("ClipSampling", "Part", "test_indices")),
        ("data/views", ("Preprocessing", "read_views")),
        ("data/dataset", ("find",)),
    ),
    "Evaluation": (
        ("evaluation/evaluate", ("evaluate", "Evaluation", "result")),
        ("evaluation/probes", ("probe",)),
        ("evaluation/metrics", ("in_top_k", "wilson", "Ranking")),
        ("evaluation/statistics", ("mean_interval", "difference_interval", "mcnemar", "holm")),
    ),
    "Training": (
        ("recipes/recipe", ("load", "Recipe")),
        ("training/defaults", ("settle",)),
        ("training/loop", ("train",)),
    ),
    "Checkpoints and cost": (
        ("weights/read", ("read", "LoadingReport")),
        ("weights/convert", ("convert", "Conversion")),
        ("analysis/complexity", ("complexity",)),
    ),
}


COMMANDS = """# Commands

What `mvit COMMAND --help` prints. Exit codes: 0 done (also stopped by SIGTERM, and saved), 2 your input, 1 our fault,
130 interrupted. What is refused, and what to do then, is on the page of [errors](../docs/errors.md).

"""

API = """# Python

The names to build on, by what they are for. `mvit.create_model`, `mvit.list_models`, `mvit.load` and `mvit.MViTConfig`
are names of the package itself, too. Every other public name in `src/mvit` has a docstring as these have. Errors of the
user's are `ValueError`, in one sentence; the page of [errors](../docs/errors.md) has what to do about them.
"""


def cell(text: str) -> str:
    """Text in a table as HTML, where a bar is a bar."""
    return html.escape(text, quote=False).replace("|", "&#124;")


def commands() -> str:
    """A page with the help of every command: its usage as it is printed, its arguments and options as tables."""
    columns = os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = "1000"  # a line is a line of the help, and is not broken again
    try:
        parts = [f"## mvit {name}\n\n{_help(name)}" for name in cli.COMMANDS]
    finally:
        os.environ.pop("COLUMNS") if columns is None else os.environ.update(COLUMNS=columns)
    return COMMANDS + "\n".join(parts)


def _help(name: str) -> str:
    """The help of a command: where it is not printed to a terminal, a section is a title, a rule and its entries."""
    printed = io.StringIO()
    with redirect_stdout(printed):
        commandline.run(cli.COMMANDS, [*name.split(), "--help"])
    text: list[str] = []
    lines = [line.rstrip() for line in printed.getvalue().strip().splitlines()]
    for number, line in enumerate(lines):
        if number == 0:
            text += [_block("text", line.removeprefix("usage: "))]
        elif re.fullmatch(r" -+", lines[min(number + 1, len(lines) - 1)]):
            text += [f"| {line.strip()} | |", "|---|---|"]
        elif entry := re.fullmatch(r"  (\S.*?)(?:  +(.*))?", line):
            text += [f'| <code class="option">{cell(entry[1])}</code> | {cell(entry[2] or "")} |']
        elif line.startswith("    "):
            text[-1] = f"{text[-1].removesuffix('|')}{cell(line.strip())} |"
        elif not re.fullmatch(r" -+", line):
            text += [line]
    return "\n".join(text) + "\n"


def api() -> str:
    """A page with signatures and docstrings of the names above, read from the source: nothing is imported."""
    parts = [API]
    for heading, modules in NAMES.items():
        parts += [f"## {heading}"]
        for place, names in modules:
            tree = ast.parse((SOURCE / f"{place}.py").read_text(encoding="utf-8"))
            there = {node.name: node for node in tree.body if isinstance(node, ast.ClassDef | ast.FunctionDef)}
            module = "mvit." + place.replace("/", ".")
            source = (SOURCE / f"{place}.py").read_text(encoding="utf-8")
            for name in names:
                parts += [f"### {name}\n\n`from {module} import {name}`", *_described(there[name], source)]
    return "\n\n".join(parts) + "\n"


def _described(node: ast.ClassDef | ast.FunctionDef, source: str) -> Iterator[str]:
    """Signature or fields, and docstring; of a class also its public methods."""
    if isinstance(node, ast.FunctionDef):
        yield _block("python", _signature(node))
        yield _prose(node)
        return
    bases = ", ".join(ast.unparse(base) for base in node.bases)
    head = f"class {node.name}({bases}):" if bases else f"class {node.name}:"
    functions = [part for part in node.body if isinstance(part, ast.FunctionDef)]
    fields = [part for part in node.body if isinstance(part, ast.AnnAssign | ast.Expr)]
    fields = fields[1:] if ast.get_docstring(node) else fields
    begin = [_signature(part) for part in functions if part.name == "__init__"]
    lines = [textwrap.dedent(" " * part.col_offset + (ast.get_source_segment(source, part) or "")) for part in fields]
    yield _block("python", "\n".join([head, *(textwrap.indent(line, "    ") for line in [*lines, *begin])]))
    yield _prose(node)
    for part in functions:
        if part.name[0] != "_":
            kind = [ast.unparse(mark) for mark in part.decorator_list]
            marks = "".join(f"@{mark}\n" for mark in kind if mark in ("property", "classmethod", "staticmethod"))
            yield _block("python", marks + _signature(part))
            yield _prose(part)


def _signature(node: ast.FunctionDef) -> str:
    gives = f" -> {ast.unparse(node.returns)}" if node.returns else ""
    line = f"def {node.name}({ast.unparse(node.args)}){gives}"
    if len(line) <= WIDTH:
        return line
    arguments = node.args
    defaults = [None] * (len(arguments.posonlyargs + arguments.args) - len(arguments.defaults)) + arguments.defaults
    shown = [_argument(a, d) for a, d in zip(arguments.posonlyargs + arguments.args, defaults, strict=True)]
    if arguments.posonlyargs:
        shown.insert(len(arguments.posonlyargs), "/")
    if arguments.vararg:
        shown += [f"*{_argument(arguments.vararg, None)}"]
    elif arguments.kwonlyargs:
        shown += ["*"]
    shown += [_argument(a, d) for a, d in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)]
    if arguments.kwarg:
        shown += [f"**{_argument(arguments.kwarg, None)}"]
    return f"def {node.name}(\n" + "".join(f"    {argument},\n" for argument in shown) + f"){gives}"


def _argument(argument: ast.arg, default: ast.expr | None) -> str:
    said = f"{argument.arg}: {ast.unparse(argument.annotation)}" if argument.annotation else argument.arg
    return said if default is None else f"{said} = {ast.unparse(default)}"


def _prose(node: ast.ClassDef | ast.FunctionDef) -> str:
    """The docstring as Markdown: an asterisk is one, and what stands below Args is a list."""
    pieces = re.split(r"(`+[^`]+`+)", ast.get_docstring(node) or "")
    text = "".join(piece if piece.startswith("`") else piece.replace("*", r"\*") for piece in pieces)
    head, marked, arguments = text.partition("\nArgs:\n")
    listed = re.sub(r"(?m)^    (\w+): ", r"- `\1`: ", arguments)
    return f"{head}\n\n{listed}" if marked else text


def _block(language: str, text: str) -> str:
    return f"```{language}\n{text}\n```\n"
