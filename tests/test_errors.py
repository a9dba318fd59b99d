"""The page of errors quotes what the program says: each message stands in the source, with … for what is filled in."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs/errors.md").read_text(encoding="utf-8")
ENTRIES = re.findall(r"^### (.+)\n\n`(.+)`\n\n(.+)", PAGE, re.MULTILINE)


@cache
def said() -> frozenset[str]:
    """Every text of the source, with … for a value that is put in."""
    return frozenset(_said())


def _said() -> Iterator[str]:
    for path in (ROOT / "src/mvit").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield node.value
            elif isinstance(node, ast.JoinedStr):
                yield "".join(str(part.value) if isinstance(part, ast.Constant) else "…" for part in node.values)


def test_every_entry_has_a_message_and_what_to_do():
    assert len(ENTRIES) == len(re.findall("^### ", PAGE, re.MULTILINE)) >= 60
    assert len({message for _, message, _ in ENTRIES}) == len(ENTRIES)


@pytest.mark.parametrize(("about", "message"), [entry[:2] for entry in ENTRIES], ids=lambda text: text[:40])
def test_the_program_says_so(about: str, message: str):
    assert any(message in text for text in said()), f"{about}: no text of src/mvit holds {message!r}"
