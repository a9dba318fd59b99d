"""What came of videos, in lines: for people, as JSON, as CSV; and files of them that are gone on with."""

import csv
import io
import json
from collections.abc import Collection, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from mvit.data.samples import Sample
from mvit.deploy.answers import Answer

HEADER = ("video", "predicted", "views", "error")
LINES = ".jsonl"


def as_text(answer: Answer, top: int, *, several: bool) -> str:
    """The video, and so many of its classes with their scores."""
    assert answer.scores is not None
    title = f"{answer.video}{'  (sigmoids: of several classes at once)' if several else ''}"
    return "\n".join([title, *(f"  {score:6.1%}  {name}" for name, score in islice(answer.scores.items(), top))])


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


def done_before(file: Path, facts: Mapping[str, Any]) -> set[str]:
    """The videos that a file of ``as_json`` lines has an answer to, none if it is not there.

    A last line that was cut short is taken off it. Raises ``ValueError`` for a file of something else, or of another
    model or protocol.
    """
    if not file.is_file():
        return set()
    text = file.read_bytes()
    whole = text[: text.rfind(b"\n") + 1]
    done = set()
    for number, line in enumerate(whole.splitlines(), start=1):
        try:
            said = json.loads(line)
            done.add(said["video"])
        except (ValueError, KeyError, TypeError) as why:
            raise ValueError(
                f"{file} holds something else than predictions (line {number}): name another file"
            ) from why
        other = {key: said.get(key) for key, value in facts.items() if said.get(key) != value}
        if other:
            raise ValueError(
                f"{file} holds predictions of another kind (line {number}: {other}; now {dict(facts)}): "
                "name another file with --out"
            )
    if len(whole) < len(text):
        with file.open("r+b") as cut:
            cut.truncate(len(whole))
    return done


def remaining(samples: Sequence[Sample], done: Collection[str]) -> list[Sample]:
    """Those whose answers are not there yet."""
    return [sample for sample in samples if str(sample.id) not in done]


def arrow() -> Any:
    """The library that Parquet needs; raises ``ValueError`` where it is not installed."""
    try:
        import pyarrow
    except ImportError as missing:
        raise ValueError(
            "Parquet needs pyarrow: pip install '.[scale]' in mvit's folder, or write another form"
        ) from missing
    return pyarrow
