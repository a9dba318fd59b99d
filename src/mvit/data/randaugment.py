"""RandAugment in timm's grammar, ``rand-m7-n4-mstd0.5-inc1``: which operations a clip gets, drawn once for all frames.

m: the magnitude (10); n: how many operations are drawn (2); p: the probability with which each is done (0.5); mstd: the
standard deviation of the magnitude, above 100 uniform from 0 to m; mmax: the highest magnitude (10); inc1: operations
that only grow with the magnitude; tweights: drawn by timm's weights and without repetition.
Source: timm, data/auto_augment.py, and SlowFast, datasets/rand_augment.py, which is taken from it.
"""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np

Operation = tuple[str, float]  # the name of an operation and its argument, 0 where it takes none

NAMES = (
    "AutoContrast",
    "Equalize",
    "Invert",
    "Rotate",
    "Posterize",
    "Solarize",
    "SolarizeAdd",
    "Color",
    "Contrast",
    "Brightness",
    "Sharpness",
    "ShearX",
    "ShearY",
    "TranslateXRel",
    "TranslateYRel",
)
WEIGHTS = (0.25, 0.05, 0.05, 3, 0.05, 0.05, 0.05, 0.25, 0.05, 0.05, 0.25, 2, 2, 1, 1)
FULL = 10.0  # the magnitude at which an operation reaches the end of its range

_WHOLE, _NUMBER = "[0-9]{1,4}", r"[0-9]{1,4}(\.[0-9]+)?"
_KEYS = {"m": _WHOLE, "n": _WHOLE, "p": _NUMBER, "mstd": _NUMBER, "mmax": _WHOLE, "inc": "[01]"}


@dataclass(frozen=True, kw_only=True)
class RandAugment:
    """The settings that a text of the grammar stands for."""

    magnitude: int = 10
    operations: int = 2
    probability: float = 0.5
    deviation: float = 0.0
    highest: int = 10
    increasing: bool = False
    weighted: bool = False


@cache
def parse(text: str) -> RandAugment:
    """The settings of a text such as ``rand-m7-n4-mstd0.5-inc1``; raises ValueError for what is not of the grammar."""
    head, *parts = text.split("-")
    values: dict[str, str] = {}
    weighted = "tweights" in parts
    for part in parts:
        key = next((key for key, value in _KEYS.items() if re.fullmatch(key + value, part)), None)
        if part != "tweights" and (key is None or key in values):
            raise ValueError(
                f"{text!r} is no RandAugment: {part!r} is none of m7, n4, p0.5, mstd0.5, mmax10, inc1 and tweights, or "
                "stands there twice"
            )
        if key is not None:
            values[key] = part.removeprefix(key)
    if head != "rand" or (weighted and values.get("inc") != "1"):
        why = "tweights needs inc1" if head == "rand" else "it must begin with 'rand'"
        raise ValueError(f"{text!r} is no RandAugment: {why}; write it like rand-m7-n4-mstd0.5-inc1")
    deviation = float(values.get("mstd", "0"))
    settings = RandAugment(
        magnitude=int(values.get("m", "10")),
        operations=int(values.get("n", "2")),
        probability=float(values.get("p", "0.5")),
        deviation=math.inf if deviation > 100 else deviation,
        highest=int(values.get("mmax", "0")) or 10,
        increasing=values.get("inc") == "1",
        weighted=weighted,
    )
    if settings.probability > 1 or not 1 <= settings.operations <= len(NAMES):
        raise ValueError(f"{text!r} is no RandAugment: p goes up to 1, and n from 1 to {len(NAMES)}")
    return settings


def draw(settings: RandAugment, rng: np.random.Generator) -> list[Operation]:
    """The operations of one clip, in order, each with its argument."""
    weights = np.array(WEIGHTS) / sum(WEIGHTS) if settings.weighted else None
    drawn = rng.choice(len(NAMES), settings.operations, replace=weights is None, p=weights)
    operations: list[Operation] = []
    for index in drawn.tolist():
        if rng.random() >= settings.probability:
            continue
        level: float = settings.magnitude
        if settings.deviation == math.inf:
            level = rng.uniform(0, level)
        elif settings.deviation:
            level = rng.normal(level, settings.deviation)
        level = min(max(level, 0.0), settings.highest)
        sign = -1 if rng.random() < 0.5 else 1
        operations.append((NAMES[index], argument(NAMES[index], level, sign, settings.increasing)))
    return operations


def argument(name: str, level: float, sign: int, increasing: bool) -> float:
    """What an operation is given at a magnitude: an angle, a factor, bits, a threshold or a share; 0 where nothing."""
    share = level / FULL
    if name in _INCREASING and increasing:
        return _INCREASING[name](share, sign)
    return _ARGUMENTS[name](share, sign) if name in _ARGUMENTS else 0.0


_ARGUMENTS: dict[str, Callable[[float, int], float]] = {
    "Rotate": lambda share, sign: sign * (share * 30.0),
    "Posterize": lambda share, _: int(share * 4),
    "Solarize": lambda share, _: min(256, int(share * 256)),
    "SolarizeAdd": lambda share, _: min(128, int(share * 110)),
    "Color": lambda share, _: share * 1.8 + 0.1,
    "Contrast": lambda share, _: share * 1.8 + 0.1,
    "Brightness": lambda share, _: share * 1.8 + 0.1,
    "Sharpness": lambda share, _: share * 1.8 + 0.1,
    "ShearX": lambda share, sign: sign * (share * 0.3),
    "ShearY": lambda share, sign: sign * (share * 0.3),
    "TranslateXRel": lambda share, sign: sign * (share * 0.45),
    "TranslateYRel": lambda share, sign: sign * (share * 0.45),
}
_INCREASING: dict[str, Callable[[float, int], float]] = {
    "Posterize": lambda share, _: 4 - int(share * 4),
    "Solarize": lambda share, _: 256 - min(256, int(share * 256)),
    "Color": lambda share, sign: max(0.1, 1.0 + sign * (share * 0.9)),
    "Contrast": lambda share, sign: max(0.1, 1.0 + sign * (share * 0.9)),
    "Brightness": lambda share, sign: max(0.1, 1.0 + sign * (share * 0.9)),
    "Sharpness": lambda share, sign: max(0.1, 1.0 + sign * (share * 0.9)),
}
