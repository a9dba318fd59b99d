"""Paths as people name them for a prediction: videos, images, parts of videos, patterns, and folders of any depth."""

import glob
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from mvit.data.folders import listed
from mvit.data.samples import OF_A_PART, VIDEO_EXTENSIONS, Sample, path_and_part


def gather(paths: Sequence[Path], *, images: bool) -> list[Sample]:
    """What is to be looked at, without labels: each path in its turn, what is in folders sorted.

    A folder gives the videos in it and below. Numbered pictures are one video, or, with ``images``, as all images, each
    for itself: photographs are numbered, too.
    ``clip.mp4#t=2.5,10`` is a part of one, ``videos/**/*.mp4`` all that fit, each once. A path that is not there stays,
    for its reader to say so. Raises ``ValueError`` for a folder or a pattern that gives nothing, and for a wrong part.
    """
    return [sample for path in paths for sample in _gathered(path, images)]


def _gathered(path: Path, images: bool) -> Iterator[Sample]:
    if path.is_dir():
        inside = [Sample(each, ()) for each in _inside(path, images)]
        if not inside:
            what = "video or image" if images else "video"
            raise ValueError(f"{path} holds no {what}, nor do the folders in it")
        yield from inside
    elif path.exists():
        yield Sample(path, ())
    elif OF_A_PART in path.name:
        whole, part = path_and_part(str(path))
        yield Sample(whole, (), part=part)
    elif glob.has_magic(str(path)):
        there = next(folder for folder in path.parents if folder.exists())  # it may be called "set [1]"
        pattern = os.path.join(glob.escape(str(there)), path.relative_to(there))
        fitting = sorted(glob.glob(pattern, recursive=True))
        if not fitting:
            raise ValueError(f"nothing fits the pattern {str(path)!r}")
        given: set[Path] = set()
        for sample in (sample for each in fitting for sample in _gathered(Path(each), images)):
            # "videos/**" fits a folder, and again what is in it: videos, and the frames of one that was given whole.
            if sample.id not in given and sample.path.parent not in given:
                given.add(sample.id)
                yield sample
    else:
        yield Sample(path, ())


def _inside(folder: Path, images: bool, above: frozenset[Path] = frozenset()) -> Iterator[Path]:
    if (real := folder.resolve()) in above:  # a link that leads back up
        return
    here = listed(folder)
    if not images and here.is_video():
        yield folder
        return
    yield from (folder / name for name in here.media if images or Path(name).suffix.lower() in VIDEO_EXTENSIONS)
    for name in here.folders:
        yield from _inside(folder / name, images, above | {real})
