"""What mirroring does to a class, told from the words of the classes' names alone: in space (a flipped picture) and in
time (a clip played backwards)."""

import itertools
import re
from collections.abc import Iterable, Mapping

_SIDES = {"left": ("right",), "leftward": ("rightward",), "lefthand": ("righthand",), "cw": ("ccw",)}
# What is undone by playing backwards; a word with several opposites takes the first that is a class.
_UNDONE = _SIDES | {
    "up": ("down",),
    "upward": ("downward",),
    "forward": ("backward", "back"),
    "in": ("out",),
    "on": ("off",),
    "onto": ("off",),
    "into": ("out",),
    "toward": ("away",),
    "grow": ("shrink",),
    "increase": ("decrease",),
    "zoomin": ("zoomout",),
    "expand": ("grab", "contract", "shrink", "pinch"),
    "spread": ("pinch", "grab"),
    "open": ("close", "shut"),
    "sit": ("stand",),
    "push": ("pull",),
    "raise": ("lower",),
    "rise": ("fall",),
    "lift": ("lower", "drop"),
    "ascend": ("descend",),
    "enter": ("exit", "leave"),
    "arrive": ("leave", "depart"),
    "approach": ("retreat", "leave"),
    "appear": ("disappear", "vanish"),
    "put": ("take", "pick"),
    "insert": ("remove",),
    "add": ("remove",),
    "attach": ("detach",),
    "connect": ("disconnect",),
    "assemble": ("disassemble",),
    "fill": ("empty",),
    "inhale": ("exhale",),
    "bend": ("straighten",),
    "fold": ("unfold",),
    "lock": ("unlock",),
    "load": ("unload",),
    "pack": ("unpack",),
    "plug": ("unplug",),
    "wrap": ("unwrap",),
    "tie": ("untie",),
    "cover": ("uncover",),
    "zip": ("unzip",),
}
_SAME = {"clockwise": "cw", "counterclockwise": "ccw", "anticlockwise": "ccw", "contraclockwise": "ccw"}
_SAME |= {"acw": "ccw", "anticw": "ccw", "countercw": "ccw"}
_AGAINST = {"counter", "anti", "contra"}
# "raise left hand": which hand it is, not where it goes.
_BODY = {"hand", "arm", "leg", "foot", "eye", "ear", "knee", "elbow", "fist", "shoulder", "thumb", "finger", "side"}


def mirror_in_space(classes: Iterable[str]) -> dict[str, str] | None:
    """The class of each class's clip mirrored left to right, or None where a class's mirror image is no class.

    Names without a direction word keep their class. With None the flip must stay off.
    """
    swaps = _both_ways(_SIDES)
    keyed = _by_words(classes, swaps)
    if keyed is None:
        return None
    mirrors = {}
    for words, name in keyed.items():
        swapped = tuple(swaps[word][0] if word in swaps else word for word in words)
        if swapped not in keyed:
            return None
        mirrors[name] = keyed[swapped]
    return mirrors


def mirror_in_time(classes: Iterable[str]) -> dict[str, str]:
    """For classes that turn into another one when played backwards, that other one; only complete pairs."""
    swaps = _both_ways(_UNDONE)
    keyed = _by_words(classes, swaps)
    if keyed is None:
        return {}
    mirrors: dict[str, str] = {}
    for words, name in keyed.items():
        followers = (*words[1:], "")
        choices = [
            (word,) if word not in swaps or (word in ("left", "right") and after in _BODY) else swaps[word]
            for word, after in zip(words, followers, strict=True)
        ]
        found = (keyed[candidate] for candidate in itertools.product(*choices) if candidate in keyed)
        mirror = next(found, name)
        if mirror != name:
            mirrors[name] = mirror
    return {name: mirror for name, mirror in mirrors.items() if mirrors.get(mirror) == name}


def _both_ways(pairs: Mapping[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    swaps = dict(pairs)
    for word, opposites in pairs.items():
        for opposite in opposites:
            swaps[opposite] = (*swaps.get(opposite, ()), word)
    return swaps


def _by_words(classes: Iterable[str], known: Mapping[str, tuple[str, ...]]) -> dict[tuple[str, ...], str] | None:
    """Class names by their words; None where two names say the same."""
    names = list(classes)
    keyed = {_words(name, known): name for name in names}
    return keyed if len(keyed) == len(names) else None


def _words(name: str, known: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    """Whole words in lower case, split at _, -, spaces, other signs and camel case; known verbs in their base form."""
    parts = re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+|[^\W\d_a-zA-Z]+", name)
    words: list[str] = []
    for part in (part.lower() for part in parts):
        word = _SAME.get(part, part)
        if word == "cw" and words and words[-1] in _AGAINST:
            words[-1] = "ccw"
        else:
            words.append(_base_form(word, known))
    return tuple(words)


def _base_form(word: str, known: Mapping[str, tuple[str, ...]]) -> str:
    candidates = [word, word.removesuffix("s"), word.removesuffix("es")]
    if word.endswith("ing"):
        stem = word.removesuffix("ing")
        candidates += [stem, stem + "e", stem[:-1] if stem[-1:] == stem[-2:-1] else stem]
    return next((candidate for candidate in candidates if candidate in known), word)
