"""HTML and SVG as function calls in which text is always escaped, so that no name or path can become markup."""

import html
import unicodedata
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TypeAlias

# Controls, line separators, halves of characters and marks that turn the direction of text are shown by their code;
# the two joiners that Persian, Indic scripts and emoji need stay.
_HIDDEN = {"Cc", "Cf", "Cs", "Zl", "Zp"}
_KEPT = "\n\t\u200c\u200d"


class Html(str):
    """Text that is markup already."""

    __slots__ = ()


Child: TypeAlias = "str | int | float | Iterable[Child] | None"
"""Text, to be escaped; markup; numbers; nothing; or any number of these."""


def tag(name: str, /, *children: Child, **attributes: str | float | None) -> Html:
    """An element; ``class_`` and ``stroke_width`` become ``class`` and ``stroke-width``, None leaves one out."""
    pairs = ((key.rstrip("_").replace("_", "-"), value) for key, value in attributes.items() if value is not None)
    opening = "".join(f' {key}="{escape(_number(value))}"' for key, value in pairs)
    if name in ("meta", "br", "col", "img"):
        return Html(f"<{name}{opening}>")
    return Html(f"<{name}{opening}>{join(*children)}</{name}>")


def join(*children: Child) -> Html:
    """Children one after another, as markup."""
    return Html("".join(_rendered(child) for child in children))


def escape(text: str) -> str:
    """Text as it reads, whatever it holds: nothing in it is markup, and nothing hides."""
    shown = (
        character
        if character in _KEPT or unicodedata.category(character) not in _HIDDEN
        else character.encode("unicode_escape").decode("ascii")
        for character in text
    )
    return html.escape("".join(shown))


def _rendered(child: Child) -> str:
    if child is None:
        return ""
    if isinstance(child, Html):
        return child
    if isinstance(child, (str, int, float)):
        return escape(_number(child))
    return "".join(_rendered(inner) for inner in child)


def _number(value: str | float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)


def table(
    caption: Child, columns: Mapping[str, str | None], rows: Sequence[Sequence[Child]], summaries: Collection[int] = ()
) -> Html:
    """A table; ``columns`` gives each column's class ("n" for numbers), ``summaries`` the rows that stand out."""
    head = tag("tr", [tag("th", name, class_=kind, scope="col") for name, kind in columns.items()])
    body = [
        tag(
            "tr",
            [tag("td", cell, class_=kind) for cell, kind in zip(row, columns.values(), strict=True)],
            class_="summary" if place in summaries else None,
        )
        for place, row in enumerate(rows)
    ]
    parts = [tag("caption", caption), tag("thead", head), tag("tbody", body)]
    return tag("div", tag("table", parts), class_="scroll")
