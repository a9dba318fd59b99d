"""The pages as a site: each has its place, links lead somewhere down to the heading, and no other host is asked."""

import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

ROOT = Path(__file__).parents[1]
SITE = ROOT / "docs/site"
PAGES = sorted(
    path
    for pattern in ("*.md", "docs/**/*.md", "examples/*.md", "experiments/*/*.md", "benchmarks/**/*.md")
    for path in ROOT.glob(pattern)
)


def _placed(entries: object) -> Iterator[str]:
    if isinstance(entries, str):
        yield entries
    elif isinstance(entries, dict):
        yield from (page for inner in entries.values() for page in _placed(inner))
    else:
        assert isinstance(entries, list)
        yield from (page for inner in entries for page in _placed(inner))


def test_every_page_has_one_place():
    config = tomllib.loads((SITE / "zensical.toml").read_text(encoding="utf-8"))
    placed = list(_placed(config["project"]["nav"]))
    assert len(set(placed)) == len(placed)
    made = {"index.md", "reference/commands.md", "reference/api.md"}
    assert made < set(placed)
    assert not [page for page in set(placed) - made if not (ROOT / page).is_file()]
    assert not {f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md")} - set(placed)


def _anchor(heading: str) -> str:
    """As Zensical and the hosts of repositories make it of a heading."""
    words = re.sub(r"[^\w\s-]", "", re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading.replace("`", ""))).strip().lower()
    return re.sub(r"[\s-]+", "-", words)


def _anchors(page: Path) -> set[str]:
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    return {_anchor(heading) for heading in re.findall(r"^#+ (.+)", text, re.MULTILINE)}


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_are_whole(page: Path):
    text = page.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        address = urlsplit(target)
        if address.scheme:
            assert address.scheme == "https", f"{page.name} links to {target}"
            assert re.fullmatch(r"([a-z0-9-]+\.)+[a-z]{2,}", address.netloc), f"{page.name} links to {target}"
        elif address.fragment:
            there = page.parent / address.path if address.path else page
            assert address.fragment in _anchors(there), f"{page.name} links to {target}, which has no such heading"


class Looked(HTMLParser):
    """What a page has for links to lead to, where its own lead, and what it loads by itself."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        said = {name: value for name, value in attrs if value is not None}
        self.anchors |= {said[name] for name in ("id", "name") if name in said}
        if tag == "a" and "href" in said:
            self.links += [said["href"]]
        elif tag == "link" and said.get("rel") not in ("canonical", "prev", "next"):
            self.loaded += [said["href"]]
        self.loaded += [said[name] for name in ("src", "poster", "data") if name in said]


@pytest.mark.slow
def test_the_site_is_built_without_a_dead_link_or_a_request_to_another_host(library, tmp_path):
    library("zensical", "docs")
    built = subprocess.run([sys.executable, SITE / "build.py", tmp_path], capture_output=True, text=True, timeout=100)
    assert built.returncode == 0, built.stdout + built.stderr
    html = tmp_path / "html"
    pages = {page: Looked(page) for page in html.rglob("*.html") if page.name != "404.html"}
    assert len(pages) >= len(PAGES)
    for page, looked in pages.items():
        for target in [*looked.links, *looked.loaded]:
            address = urlsplit(target)
            if address.scheme or address.netloc:
                assert target not in looked.loaded or address.scheme == "data", f"{page} loads {target}"
                continue
            there = (page.parent / unquote(address.path)).resolve() if address.path else page
            assert there.is_file(), f"{page.relative_to(html)} links to {target}"
            if address.fragment and there in pages and address.fragment != "__skip":
                anchors = pages[there].anchors
                assert unquote(address.fragment) in anchors, f"{page.relative_to(html)} links to {target}"
    for style in html.rglob("*.css"):
        assert not re.findall(r"(?:url\(|@import)\s*[\"']?https?:", style.read_text(encoding="utf-8")), style
    commands = (html / "reference/commands.html").read_text(encoding="utf-8")
    assert "share of the training videos that may be unreadable" in commands
    assert 'id="create_model"' in (html / "reference/api.html").read_text(encoding="utf-8")
