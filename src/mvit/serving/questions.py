"""What is asked behind the question mark of an address: a few fields of known forms, and no others."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from mvit.deploy.windows import Windowing
from mvit.serving.bounds import MOST_CLIPS
from mvit.serving.refusal import Refusal

VIEWS = r"^([1-9]|10)x[13]$"
TOP = r"^[1-9][0-9]{0,4}$"
SECONDS = r"^(0|[1-9][0-9]{0,3})(\.[0-9]{1,3})?s?$"
FORMS = {
    "views": (VIEWS, f"clips x crops, 1 to {MOST_CLIPS} and 1 or 3, such as 5x1"),
    "top": (TOP, "a number of classes, from 1 to 99,999"),
    "window": (SECONDS, "seconds, such as 2s or 0.5"),
    "stride": (SECONDS, "seconds, such as 2s or 0.5"),
    "target": (r"^[\s\S]{1,1000}$", "the name of a class"),
}


@dataclass(frozen=True, kw_only=True)
class Question:
    """What is wanted of one video."""

    views: tuple[int, int] | None = None
    """Clips and crops; None: the model's own."""
    top: int | None = None
    """Classes in the answer; None: all."""
    windowing: Windowing = Windowing()  # noqa: RUF009 (it is frozen)
    target: str | None = None


def asked(fields: Iterable[tuple[str, str]], offered: tuple[str, ...]) -> Question:
    """From names and values, as they came, to the question; raises ``Refusal`` for others than are offered."""
    given: dict[str, str] = {}
    for name, value in fields:
        if name not in offered:
            raise Refusal(400, f"there is no such parameter here, only {', '.join(offered)}")
        if name in given:
            raise Refusal(400, f"{name} is given twice: give it once")
        form, words = FORMS[name]
        if not re.fullmatch(form, value):
            raise Refusal(400, f"{name} is not {words}")
        given[name] = value
    clips, _, crops = given.get("views", "").partition("x")
    try:
        windowing = Windowing(
            **{f"{name}_seconds": float(given[name].rstrip("s")) for name in ("window", "stride") if name in given}
        )
    except ValueError:
        raise Refusal(
            400,
            "window and stride are 0.001 s or more, and the stride no longer than the window, which is 2s if left out",
        ) from None
    return Question(
        views=(int(clips), int(crops)) if clips else None,
        top=int(given["top"]) if "top" in given else None,
        windowing=windowing,
        target=given.get("target"),
    )
