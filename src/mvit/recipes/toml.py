"""TOML values by type: checked strictly when read, written so that they read back equal.

What is off is ``false`` here and None in Python, as TOML has no null.
"""

import json
import math
from dataclasses import MISSING
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin


def convert(value: Any, hint: Any, key: str) -> Any:
    """The value as its type, or a ValueError that says what was expected; no type is bent into another."""
    converted = _match(value, hint)
    if converted is MISSING:
        shown = repr(value) if isinstance(value, str) else written(value)
        raise ValueError(f"{key} is {shown}: expected {expected(hint)}")
    return converted


def _match(value: Any, hint: Any) -> Any:
    origin, arms = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        if type(None) in arms and value is False:
            return None
        matches = (_match(value, arm) for arm in arms if arm is not type(None))
        return next((match for match in matches if match is not MISSING), MISSING)
    if origin is Literal:
        return value if value in arms and isinstance(value, str) else MISSING
    if origin is tuple:
        if not isinstance(value, list | tuple):
            return MISSING
        hints = (arms[0],) * len(value) if arms[-1] is Ellipsis else arms
        entries = [_match(entry, arm) for entry, arm in zip(value, hints, strict=False)]
        return MISSING if len(value) != len(hints) or MISSING in entries else tuple(entries)
    if hint is float and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value) if math.isfinite(value) else MISSING
    return value if type(value) is hint else MISSING


def expected(hint: Any) -> str:
    """What a value of this type looks like, in words."""
    origin, arms = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        return " or ".join("false" if arm is type(None) else expected(arm) for arm in arms)
    if origin is Literal:
        return " or ".join(json.dumps(arm) for arm in arms)
    if origin is tuple:
        count = "" if arms[-1] is Ellipsis else f"{len(arms)} "
        return f"a list of {count}entries, each {expected(arms[0])}"
    return {int: "a whole number", float: "a number", str: "a string", bool: "true or false"}[hint]


def written(value: Any) -> str:
    """The value as TOML."""
    if value is None:
        return "false"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(written, value))}]"
    return repr(value) if isinstance(value, int | float) else str(value)
