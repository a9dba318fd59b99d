"""The site of `make docs`: the repository's pages at their own places, and a reference made from the code.

    python docs/site/build.py OUT

writes OUT/html. Zensical builds in strict mode, so that a link that leads nowhere ends it.
"""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import reference

ROOT = Path(__file__).parents[2]
PAGES = ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "docs", "examples", "experiments", "benchmarks")
"""What the site is made of; pages link to records and programs, so these come along."""

PROGRAMS = {".py": "python", ".sh": "sh"}
"""Programs in examples are pages: a browser would save the files."""


def lay_out(pages: Path) -> None:
    """Copy the pages of the repository into an empty folder, and write those that are made from the code."""
    for name in PAGES:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, pages / name, ignore=shutil.ignore_patterns("__pycache__", "*.toml"))
        else:
            shutil.copy(source, pages / name)
    (pages / "README.md").rename(pages / "index.md")
    for path in (pages / "examples").iterdir():
        if path.suffix in PROGRAMS:
            text = path.read_text(encoding="utf-8")
            page = f"# {path.name}\n\n```{PROGRAMS[path.suffix]}\n{text}```\n"
            path.with_name(f"{path.name}.md").write_text(page, encoding="utf-8")
            path.unlink()
    for path in pages.rglob("*.md"):
        text = path.read_text(encoding="utf-8")
        for link in set(re.findall(r"\]\(([^):#]+)\)", text)):
            if (path.parent / f"{link}.md").exists():
                text = text.replace(f"]({link})", f"]({link}.md)")
        # In a table a bar in code is escaped, which Zensical's Markdown shows as it is written, and others do not.
        path.write_text(re.sub(r"`([^`\n]*\\\|[^`\n]*)`", _code, text), encoding="utf-8")
    (pages / "reference").mkdir()
    (pages / "reference/commands.md").write_text(reference.commands(), encoding="utf-8")
    (pages / "reference/api.md").write_text(reference.api(), encoding="utf-8")


def _code(span: re.Match[str]) -> str:
    return "<code>" + reference.cell(span[1].replace("\\|", "|")) + "</code>"


def main(out: Path) -> int:
    """Build the site anew in a folder; gives the exit code of Zensical."""
    shutil.rmtree(out, ignore_errors=True)
    pages = out / "pages"
    pages.mkdir(parents=True)
    lay_out(pages)
    shutil.copy(ROOT / "docs/site/zensical.toml", out)
    return subprocess.run([Path(sys.executable).parent / "zensical", "build", "--strict"], cwd=out).returncode


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]).resolve()))
