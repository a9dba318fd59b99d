"""Which runs there are, and how far each came: a line for each, from the files in its folder."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mvit.analysis.record import RunRecord, is_run, outline

WORDS = ("run", "model", "data", "state", "views", "begun (UTC)")
"""Columns that begin at the left."""
NEVER = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, kw_only=True)
class Row:
    """A run; None for what its files do not say."""

    name: str
    folder: str
    model: str | None
    data: str | None
    """The name of the folder that holds its videos."""
    sha256: str | None
    """By which the same data is known again."""
    seed: int | None
    state: str
    epochs: int
    of_epochs: int | None
    loss: float | None
    """Of the last epoch that had one."""
    top1: float | None
    top1_interval: list[float] | None
    map: float | None
    map_interval: list[float] | None
    """Instead of top-1, where videos are of several classes at once."""
    protocol: str | None
    """All of the evaluation with the run's own views, None before it."""
    last_top1: float | None
    last_map: float | None
    """On val, with one view a video, when it was last looked at on the way."""
    begun: str | None

    def to_dict(self) -> dict[str, Any]:
        """Plain values that JSON can hold."""
        return asdict(self)


def find(folders: Sequence[Path]) -> tuple[list[Row], list[str]]:
    """The runs among these folders and those in them, by the time when they began, those that do not say it first.

    Beside them a sentence for each folder that is none of a run's, or whose files cannot be read. Raises ``ValueError``
    for a folder that is not there.
    """
    rows: list[Row] = []
    strange: list[str] = []
    for folder in dict.fromkeys(path for given in folders for path in _candidates(given)):
        try:
            rows.append(_row(outline(folder)))
        except (ValueError, OSError) as error:
            strange.append(str(error))
    return sorted(rows, key=lambda row: (_moment(row.begun), row.folder)), strange


def table(rows: Sequence[Row]) -> str:
    """Runs as aligned columns for people; a sentence where there is none."""
    if not rows:
        return "There is no run here."
    cells = [_cells(row) for row in rows]
    columns = [name for name in cells[0] if any(row[name] for row in cells)]
    lines = [columns, *([row[name] for name in columns] for row in cells)]
    wide = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(
            f"{cell:{width}}" if name in WORDS else f"{cell:>{width}}"
            for name, cell, width in zip(columns, line, wide, strict=True)
        ).rstrip()
        for line in lines
    )


def _candidates(folder: Path) -> Iterator[Path]:
    if not folder.is_dir():
        what = "is a file" if folder.exists() else "does not exist"
        raise ValueError(f"{folder} {what}: name a folder of runs, as `mvit train DATA` makes in runs/")
    if is_run(folder):
        yield folder
    else:
        yield from sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def _row(record: RunRecord) -> Row:
    origin, result = record.origin or {}, record.result or {}
    losses = record.measured("loss")
    last_top1, last_map = ((record.measured(key) or [None])[-1] for key in ("val_top1", "val_map"))
    data = origin.get("data", {})
    return Row(
        name=record.folder.resolve().name,
        folder=str(record.folder),
        model=record.model_name,
        data=Path(data["folder"]).name if data else None,
        sha256=data.get("sha256"),
        seed=record.seed,
        state=_state(record),
        epochs=_done(record),
        of_epochs=_wanted(record),
        loss=losses[-1] if losses else None,
        top1=result.get("top1"),
        top1_interval=result.get("top1_interval"),
        map=result.get("map"),
        map_interval=result.get("map_interval"),
        protocol=result.get("protocol"),
        last_top1=last_top1,
        last_map=last_map,
        begun=origin.get("begun"),
    )


def _done(record: RunRecord) -> int:
    return int(record.epochs[-1]["epoch"]) if record.epochs else 0


def _wanted(record: RunRecord) -> int | None:
    epochs = record.settings.get("train", {}).get("epochs")
    return epochs if type(epochs) is int else None


def _state(record: RunRecord) -> str:
    """Whether it has ended, or how far it is; whether a process is at it does not show in its files."""
    done, wanted = _done(record), _wanted(record)
    if record.recipe is None:
        return "not trained here" if record.model is not None else "not begun"
    if wanted is None or done < wanted:
        return f"after {done} of {wanted or '?'} epochs"
    val = record.origin["data"]["val"] if record.origin else None
    return "finished" if record.result or val == 0 else "trained, not evaluated"


def _cells(row: Row) -> dict[str, str]:
    known = row.protocol is not None
    top1, mean = (row.top1, row.map) if known else (row.last_top1, row.last_map)
    low, high = row.top1_interval or row.map_interval or (0.0, 0.0)
    seen = top1 is not None or mean is not None
    views = (row.protocol or "").split(" views", 1)[0] if known else "on the way" if seen else ""
    begun = _moment(row.begun)
    return {
        "run": _printable(row.name),
        "model": _printable(row.model or ""),
        "data": _printable(row.data or ""),
        "state": row.state,
        "loss": "" if row.loss is None else f"{row.loss:.3f}",
        "top-1 %": "" if top1 is None else f"{100 * top1:.1f}",
        "mAP %": "" if mean is None else f"{100 * mean:.1f}",
        "95 %": f"[{100 * low:.1f}, {100 * high:.1f}]" if known else "",
        "views": views,
        "begun (UTC)": "" if begun == NEVER else f"{begun:%Y-%m-%d %H:%M}",
    }


def _moment(begun: str | None) -> datetime:
    """When it was; the very first moment for what is no date."""
    try:
        moment = datetime.fromisoformat(begun or "")
    except ValueError:
        return NEVER
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)


def _printable(text: str) -> str:
    return text if text.isprintable() else repr(text)
