"""What the files of a data set really hold: every one is opened and decoded at its start, middle and end before use."""

import math
from collections import Counter
from collections.abc import Callable, Iterable, MutableMapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import fmean, median

from mvit.data.dataset import Listing, Sample
from mvit.data.look import Look, look
from mvit.data.processes import in_processes
from mvit.data.resources import available_cores
from mvit.data.samples import counted, medium_of
from mvit.data.sampling import ClipSampling, Part, padding_share
from mvit.data.video import VideoFacts

FEW = 24  # so many files are looked at sooner than processes start
MUCH_PADDING = 0.1
NAMED = 10  # unreadable files in a summary


@dataclass(frozen=True)
class Scan:
    """What is known of every sample, by `Sample.id`: its facts, or why it cannot be read; and each look, by path."""

    facts: dict[Path, VideoFacts] = field(default_factory=dict)
    unreadable: dict[Path, str] = field(default_factory=dict)
    looks: dict[Path, Look] = field(default_factory=dict)

    @property
    def short(self) -> dict[Path, str]:
        """Files that can be read, but hold fewer frames than their header promises: what is said of each."""
        return {path: seen.short for path, seen in self.looks.items() if seen.short}

    def readable(self, samples: Iterable[Sample]) -> tuple[Sample, ...]:
        """The samples whose file can be read, in their order; raises ValueError where there are some but none can."""
        samples = tuple(samples)
        kept = tuple(sample for sample in samples if sample.id in self.facts)
        if samples and not kept:
            path = samples[0].id
            raise ValueError(f"no video of {len(samples):,} can be read; the first is {path}: {self.unreadable[path]}")
        return kept


def scan(
    samples: Iterable[Sample],
    *,
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
    seen: MutableMapping[Path, Look] | None = None,
) -> Scan:
    """Open every file and decode its first, middle and last frame, on `workers` processes (None: all usable cores).

    What earlier scans have `seen` of files that have not changed since is taken from there, and what this one sees is
    added, file by file. `progress` is told how many files of how many are done. A file on which the decoder crashes is
    unreadable too.
    """
    samples = tuple(samples)
    paths = list(dict.fromkeys(sample.path for sample in samples))
    known = {path: seen[path] for path in paths if path in seen} if seen is not None else {}
    looks = {path: before for path, before in known.items() if before.is_of(path)}
    rest = [path for path in paths if path not in looks]
    if progress is not None and looks:
        progress(len(looks), len(paths))
    cores = available_cores() if workers is None else workers
    # Two processes look at 2,400 clips of 32 small frames in 5 s; as many threads take 8 s, holding each other up.
    outcomes = (
        in_processes(look, rest, min(cores, len(rest)))
        if cores and rest and (len(rest) > FEW or seen is not None)
        else ((path, look(path)) for path in rest)
    )
    for path, outcome in outcomes:
        # A crash is the decoder's or the memory's: perhaps not the next time.
        found = Look(reason=outcome, lasting=False) if isinstance(outcome, str) else outcome
        looks[path] = found
        if seen is not None and found.lasting:
            seen[path] = found
        if progress is not None:
            progress(len(looks), len(paths))
    result = Scan(looks={path: looks[path] for path in paths})
    for sample in samples:
        found = looks[sample.path]
        outcome = found.reason if found.facts is None else _of_part(found.facts, sample.part)
        if isinstance(outcome, str):
            result.unreadable[sample.id] = outcome
        else:
            result.facts[sample.id] = outcome
    return result


def _of_part(facts: VideoFacts, part: Part | None) -> VideoFacts | str:
    """The facts of a part of a video, its frames counted by the average rate, or why the video has no such part."""
    if part is None:
        return facts
    if reason := part.misfit(facts.duration_seconds, facts.fps):
        return reason
    seconds = min(part.end or math.inf, facts.duration_seconds) - part.start
    return replace(facts, frames=max(round(seconds * facts.fps), 1), duration_seconds=seconds)


def summary(listing: Listing, found: Scan, sampling: ClipSampling | None = None) -> list[str]:
    """What a data set holds, in a few lines for a person: classes, frames, sizes, padding, unreadable files."""
    medium = medium_of((*listing.train, *listing.val))
    classes = counted(len(listing.classes), "class", "classes")
    in_train = counted(len(listing.train), medium.removesuffix("s"))
    lines = [f"{classes}: {in_train} in train, {len(listing.val):,} in val"]
    lines += [_per_class(name, part, medium) for name, part in (("train", listing.train), ("val", listing.val)) if part]
    facts = list(found.facts.values())
    if facts:
        frames = [video.frames for video in facts]
        sizes = Counter(f"{video.width}x{video.height}" for video in facts)
        rates = Counter(f"{video.fps:.4g}" for video in facts)
        if max(frames) == 1:
            lines.append(f"images of {_most_common(sizes)} pixels")
            if sampling is not None and sampling.frames > 1:
                lines.append(f"each is repeated to {sampling.frames} frames: set data.frames=1 to learn from images")
        else:
            lines.append(
                f"frames a video: {_range(frames)}; frames a second: {_most_common(rates)}; "
                f"pixels: {_most_common(sizes)}"
            )
            if sampling is not None:
                lines.append(_padding(facts, sampling))
    if found.unreadable:
        lines.append(f"{len(found.unreadable):,} of {len(facts) + len(found.unreadable):,} files cannot be read:")
        lines += [f"  {path}: {reason}" for path, reason in list(found.unreadable.items())[:NAMED]]
        if len(found.unreadable) > NAMED:
            lines.append(f"  and {len(found.unreadable) - NAMED:,} more")
    return lines


def _per_class(name: str, samples: Sequence[Sample], medium: str) -> str:
    counts = Counter(label for sample in samples for label in sample.labels).most_common() or [("none", 0)]
    (most, largest), (fewest, smallest) = counts[0], counts[-1]
    if largest == smallest:
        return f"{name}: {counted(largest, medium.removesuffix('s'))} a class"
    return f"{name}: {smallest:,} ({fewest}) to {largest:,} ({most}) {medium} a class"


def _padding(facts: Sequence[VideoFacts], sampling: ClipSampling) -> str:
    shares = [padding_share(video.frames, video.fps, sampling) for video in facts]
    short, share = sum(value > 0 for value in shares), fmean(shares)
    if not short:
        return "every clip fits into its video"
    line = f"padding: {share:.1%} of the frames of clips repeat the one before ({short:,} of {len(facts):,} videos)"
    if share > MUCH_PADDING and sampling.mode == "dense":
        middle = median(video.frames for video in facts)
        line += f"; half of the videos have {middle:g} frames or fewer: sample fewer frames, or closer together"
    return line


def _range(values: Sequence[int]) -> str:
    low, high = min(values), max(values)
    return f"{low:,}" if low == high else f"{low:,} to {high:,}, median {median(values):,.4g}"


def _most_common(counts: Counter[str], most: int = 3) -> str:
    if len(counts) == 1:
        return next(iter(counts))
    named = ", ".join(f"{value} ({count:,})" for value, count in counts.most_common(most))
    return named + (f" and {len(counts) - most} others" if len(counts) > most else "")
