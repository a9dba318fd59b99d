"""What came of videos, in lines: for people, as JSON, as CSV; and files of them that are gone on with."""

import csv
import io
import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mvit import files
from mvit.data.samples import Sample
from mvit.deploy.answers import Answer
from mvit.distributed.lock import lock

HEADER = ("video", "predicted", "views", "error")
LINES = ".jsonl"
BEGINNING = b'{"video": "'
"""Of every line of ``as_json``."""


def as_text(answer: Answer, top: int, *, several: bool) -> str:
    """The video, and so many of its classes with their scores."""
    assert answer.scores is not None
    title = f"{answer.video}{'  (sigmoids: of several classes at once)' if several else ''}"
    return "\n".join([title, *(f"  {score:6.1%}  {name}" for name, score in list(answer.scores.items())[:top])])


def as_json(answer: Answer, facts: Mapping[str, Any]) -> str:
    """An object with the scores of all classes, or the error, and what else is to be said of all videos."""
    what = {"error": answer.error} if answer.scores is None else {"scores": answer.scores, "views": answer.views}
    return json.dumps({"video": str(answer.video), **what, **facts}, ensure_ascii=False)


def csv_header(classes: Sequence[str]) -> str:
    """The names of the columns that ``as_csv`` fills."""
    return row([*HEADER, *classes])


def as_csv(answer: Answer, classes: Sequence[str]) -> str:
    """A row with the first class and the scores of all, or the error."""
    if answer.scores is None:
        return row([str(answer.video), "", 0, answer.error, *("" for _ in classes)])
    first = next(iter(answer.scores))
    return row([str(answer.video), first, answer.views, "", *(f"{answer.scores[name]:.8g}" for name in classes)])


def row(cells: Sequence[object]) -> str:
    """A line of CSV."""
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow(cells)
    return line.getvalue()


@contextmanager
def into_lines(
    file: Path, samples: Sequence[Sample], facts: Mapping[str, Any]
) -> Iterator[tuple[list[Sample], Callable[[Answer], None]]]:
    """What has no line yet in a file of ``as_json``, and what to call with each answer; nobody else may write there.

    A last line of ours that was cut short is taken off it. Raises ``ValueError`` for a file of something else, or of
    other facts, and where another process holds it.
    """
    files.require_writable(file)
    with files.blaming(file):
        file.parent.mkdir(parents=True, exist_ok=True)
        lines = file.open("ab", buffering=0)  # what the disk has no room for is said at once, and not again at the end
    with lines:
        lock(lines, file)

        def write(answer: Answer) -> None:
            left = memoryview(f"{as_json(answer, facts)}\n".encode("utf-8", "surrogateescape"))
            with files.blaming(file):
                while left:
                    left = left[lines.write(left) :]

        yield remaining(samples, _done_before(file, facts)), write


def _done_before(file: Path, facts: Mapping[str, Any]) -> set[str]:
    if not file.is_file():  # a pipe, say
        return set()
    text = file.read_bytes()
    *lines, rest = text.split(b"\n")
    done = set()
    for number, line in enumerate([*lines, rest] if rest else lines, start=1):
        try:
            said = json.loads(line.decode("utf-8", "surrogateescape"))  # names of files may be any bytes
            name = str(said["video"])
        except (ValueError, KeyError, TypeError, RecursionError) as why:
            if number > len(lines) and line.startswith(BEGINNING[: len(line)]):
                break  # a kill has cut it short
            raise ValueError(
                f"{file} holds something else than predictions (line {number}): name another file"
            ) from why
        if other := differing(said, facts):
            raise ValueError(
                f"{file} holds predictions of another kind (line {number}: {other}): name another file with --out"
            )
        if number <= len(lines):
            done.add(name)
    if rest:
        with file.open("r+b") as cut:
            cut.truncate(len(text) - len(rest))
    return done


def differing(said: Mapping[str, Any], facts: Mapping[str, Any]) -> str:
    """Which facts of other predictions are not those of these, in words; nothing where all are."""
    now = {name: fact for name, fact in facts.items() if said.get(name) != fact}
    if "fingerprint" in said and "folder" not in said:  # its names are absolute, and no relative one is among them
        now.pop("folder", None)
    return "; ".join(
        f"{name} {said[name]!r}, now {fact!r}" if name in said else f"no {name}" for name, fact in now.items()
    )


def remaining(samples: Sequence[Sample], done: Collection[str]) -> list[Sample]:
    """Those whose answers are not there yet, each once."""
    once = {str(sample.id): sample for sample in samples}
    return [sample for name, sample in once.items() if name not in done]


def require_unicode(names: Iterable[object]) -> None:
    """Raise ``ValueError`` for a name of a file or folder that Parquet cannot hold."""
    for name in names:
        try:
            str(name).encode()
        except UnicodeEncodeError as why:
            raise ValueError(
                f"the name {str(name)!r} is no UTF-8, as Parquet wants it: rename the file, or write another form"
            ) from why


def arrow() -> Any:
    """The library that Parquet needs; raises ``ValueError`` where it is not installed."""
    try:
        import pyarrow
    except ImportError as missing:
        raise ValueError("Parquet needs pyarrow: pip install 'mvit[scale]', or write another form") from missing
    return pyarrow
