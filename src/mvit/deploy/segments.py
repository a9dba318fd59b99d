"""From the scores of windows to segments: neighbours of one class merged, as JSON, CSV and subtitles."""

import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mvit import files
from mvit.deploy.answers import protocol
from mvit.deploy.described import Described
from mvit.deploy.windows import Scored, Sweep, Windowing


@dataclass(frozen=True, kw_only=True)
class Segment:
    """Windows of one class without a gap: seconds, the mean of their scores, and how many they are."""

    start: float
    end: float
    label: str
    score: float
    windows: int


@dataclass(frozen=True, kw_only=True)
class Hysteresis:
    """From which score on a class begins, and below which it ends: flicker between the two changes nothing."""

    enter: float = 0.5
    leave: float = 0.4

    def __post_init__(self) -> None:
        if not 0 < self.leave <= self.enter <= 1:
            raise ValueError(
                f"a segment enters at {self.enter:g} and leaves below {self.leave:g}: scores are 0 to 1, leave no more "
                "than enter"
            )


@dataclass
class _Open:
    start: float
    scores: list[float]


def segments(
    windows: Iterable[Scored], classes: Sequence[str], hysteresis: Hysteresis, *, multi_label: bool
) -> Iterator[Segment]:
    """Segments in the order in which they end; where no class is sure enough, there is none.

    Where classes exclude one another a new one ends the one before; otherwise each goes its own way. A window stands
    for the time up to half way to the centres of its neighbours, so that segments meet and do not overlap.
    """
    active: dict[int, _Open] = {}
    end = 0.0

    def close(index: int) -> Segment:
        run = active.pop(index)
        mean = float(np.mean(run.scores))
        return Segment(start=run.start, end=end, label=classes[index], score=mean, windows=len(run.scores))

    for start, until, scores in _slots(windows):
        top = int(scores.argmax())
        for index in list(active):
            displaced = not multi_label and index != top and scores[top] >= hysteresis.enter
            if scores[index] < hysteresis.leave or displaced:
                yield close(index)
        entering = np.flatnonzero(scores >= hysteresis.enter).tolist()
        for index in entering if multi_label else {top} & set(entering):
            active.setdefault(index, _Open(start, []))
        end = until
        for index, run in active.items():
            run.scores.append(float(scores[index]))
    for index in list(active):
        yield close(index)


def _slots(windows: Iterable[Scored]) -> Iterator[tuple[float, float, np.ndarray]]:
    """(start, end, scores) of what each window stands for."""
    before: Scored | None = None
    start = 0.0
    for window in windows:
        if before is None:
            start = window.part.start
        else:
            between = (_centre(before) + _centre(window)) / 2
            yield start, between, before.scores
            start = between
        before = window
    if before is not None:
        assert before.part.end is not None
        yield start, before.part.end, before.scores


def _centre(window: Scored) -> float:
    assert window.part.end is not None
    return (window.part.start + window.part.end) / 2


def captions(found: Sequence[Segment]) -> Callable[[float], str]:
    """What is to be written into the picture of each moment, asked for in seconds."""

    def caption(seconds: float) -> str:
        return ", ".join(_line(segment) for segment in found if segment.start <= seconds < segment.end)

    return caption


# ---- written down --------------------------------------------------------------------------------------------------


def clock(seconds: float, mark: str = ".") -> str:
    """Seconds as hours, minutes, seconds and milliseconds: 01:02:03.500."""
    whole, milliseconds = divmod(round(seconds * 1000), 1000)
    return f"{whole // 3600:02}:{whole // 60 % 60:02}:{whole % 60:02}{mark}{milliseconds:03}"


def _json(found: Sequence[Segment], about: dict[str, Any]) -> str:
    rounded = [asdict(s) | {"start": round(s.start, 3), "end": round(s.end, 3)} for s in found]
    return json.dumps(about | {"segments": rounded}, ensure_ascii=False, indent=1) + "\n"


def _csv(found: Sequence[Segment], about: dict[str, Any]) -> str:
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(["start", "end", "label", "score", "windows"])
    rows.writerows([f"{s.start:.3f}", f"{s.end:.3f}", s.label, f"{s.score:.4f}", s.windows] for s in found)
    return text.getvalue()


def _srt(found: Sequence[Segment], about: dict[str, Any]) -> str:
    return "\n".join(
        f"{number}\n{clock(s.start, ',')} --> {clock(s.end, ',')}\n{_line(s)}\n" for number, s in enumerate(found, 1)
    )


def _vtt(found: Sequence[Segment], about: dict[str, Any]) -> str:
    cues = "".join(f"\n{clock(s.start)} --> {clock(s.end)}\n{_escaped(_line(s))}\n" for s in found)
    return f"WEBVTT\n\nNOTE {about['note']}\n{cues}"


def _line(segment: Segment) -> str:
    return worded(segment.label, segment.score)


def worded(label: str, score: float) -> str:
    """A class with its score, on one line."""
    return f"{' '.join(label.split())} {score:.0%}"


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


WRITERS: dict[str, Callable[[Sequence[Segment], dict[str, Any]], str]] = {
    ".json": _json,
    ".csv": _csv,
    ".srt": _srt,
    ".vtt": _vtt,
}
"""By the ending of the file."""


def about(model: Described, video: Path, windowing: Windowing, hysteresis: Hysteresis, sweep: Sweep) -> dict[str, Any]:
    """How segments came to be, as JSON holds it beside them."""
    return {
        "video": str(video),
        "seconds": round(sweep.end_seconds, 3),
        "protocol": f"{windowing}, each {protocol(model, model.views)}",
        "activation": model.scoring.activation,
        **asdict(windowing),
        **asdict(hysteresis),
        "note": f"each window is named by itself, and a segment begins and ends no finer than {_finest(windowing)}",
        "damage": None if sweep.damage is None else sweep.damage.reason,
    }


def _finest(windowing: Windowing) -> str:
    return f"by the stride of {windowing.stride_seconds:g} s"


def require_writable(paths: Sequence[Path]) -> None:
    """Raise ``ValueError`` for a file whose ending says nothing, ``OSError`` for a place where no file can be."""
    for path in paths:
        if path.suffix.lower() not in WRITERS:
            raise ValueError(f"{path} ends in none of {', '.join(WRITERS)}: the ending says what is written")
        files.require_writable(path)


def write(found: Sequence[Segment], path: Path, about: dict[str, Any]) -> None:
    """Write segments as the file's ending says; `about` says how they were found, and goes into JSON."""
    files.write_text(path, WRITERS[path.suffix.lower()](found, about))
