"""When a folder of pictures is a video, and in which order they are its frames: by the one number in their names."""

import os
import re
from collections.abc import Iterable

SUFFIXES = frozenset((".jpg", ".jpeg", ".png"))


def is_picture(name: str) -> bool:
    """Whether a file of this name may be a frame; hidden ones are none."""
    return not name.startswith(".") and os.path.splitext(name)[1].lower() in SUFFIXES


def in_order(names: Iterable[str]) -> list[str]:
    """The pictures among the files of a folder as frames, 9 before 10; other files are passed over, gaps do not matter.

    Raises ValueError saying why the folder is no video: it has no pictures, or they are not named alike but for one
    number that each has for itself.
    """
    pictures = list(filter(is_picture, names))
    if not pictures:
        raise ValueError("it is a folder without numbered pictures (jpg, png)")
    split = [re.split("([0-9]+)", os.path.splitext(name)[0]) for name in pictures]
    for name, pieces in zip(pictures, split, strict=True):
        if len(pieces) == 1:
            raise ValueError(f"it is a folder, and its picture {name} has no number to be ordered by")
        if pieces[::2] != split[0][::2]:
            raise ValueError(f"it is a folder, and {pictures[0]} and {name} differ by more than a number")
    columns = list(zip(*([int(digits) for digits in pieces[1::2]] for pieces in split), strict=True))
    counting = [column for column in columns if len(set(column)) > 1] or columns[-1:]
    if len(counting) > 1:
        raise ValueError(f"it is a folder, and the names of its pictures differ in {len(counting)} numbers")
    if len(set(counting[0])) < len(pictures):
        raise ValueError("it is a folder, and several of its pictures have the same number")
    return [name for _, name in sorted(zip(counting[0], pictures, strict=True))]
