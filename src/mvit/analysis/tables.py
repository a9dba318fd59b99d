"""What models cost, as rows for a table, for CSV and for JSON: a row for each part, the whole last."""

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from math import prod

from mvit.analysis.budget import every_block, kept_per_clip
from mvit.analysis.complexity import FLOAT32_BYTES, Complexity, Cost, Counted, Counts
from mvit.model.config import MViTConfig

Row = dict[str, str | int | None]
"""By column, None where a part has no such thing or where it was not counted."""

ADAMW_COPIES = 4  # weights, their gradients and two moments
MEBIBYTE = 2**20


COLUMNS = (
    *("name", "part", "grid", "width", "heads", "queries", "keys"),
    *("parameters", "macs", "macs_with_norms", "activations", "inference_bytes", "training_bytes"),
    *("views", "macs_per_video", "macs_with_norms_per_video"),
)


def rows(name: str, counted: Complexity | Counted) -> list[Row]:
    """A row for the stem, every block, every stage, the head and the whole; for another's model, the whole alone."""
    parts = list(_parts(counted)) if isinstance(counted, Complexity) else []
    total = _row("total", counted) | {"views": _joined(counted.views)} | counted.totals()
    first: Row = dict.fromkeys(COLUMNS) | {"name": name}
    return [first | row for row in [*parts, total | {"grid": _joined(counted.clip)}]]


def _parts(counted: Complexity) -> Iterator[Row]:
    yield _row("stem", counted.stem) | {"grid": _joined(counted.clip)}
    for stage, cost in enumerate(counted.stages):
        for block in counted.blocks:
            if block.stage == stage:
                known = {"width": block.width, "heads": block.heads, "queries": block.queries, "keys": block.keys}
                yield _row(f"block {block.index}", block) | {"grid": _joined(block.grid)} | known
        yield _row(f"stage {stage + 1}", cost)
    yield _row("head", counted.head)


def _row(part: str, cost: Counts) -> Row:
    row: Row = {"part": part, "parameters": cost.parameters, "macs": cost.macs, "activations": cost.activations}
    row["macs_with_norms"] = cost.macs_with_norms
    if isinstance(cost, Cost):
        row |= {"inference_bytes": cost.inference_bytes, "training_bytes": cost.training_bytes}
    return row


def _joined(numbers: Sequence[int]) -> str:
    return "x".join(map(str, numbers))


def as_csv(table: Sequence[Mapping[str, object]]) -> str:
    """The rows as CSV with a header: whole numbers, no units beside those in the columns' names."""
    file = io.StringIO()
    writer = csv.DictWriter(file, list(table[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(table)
    return file.getvalue().rstrip("\n")


def describe(name: str, counted: Complexity | Counted) -> str:
    """A table of the model's parts and a paragraph about the whole, for people."""
    lines = [f"{name}, a clip of {_joined(counted.clip)}"]
    table = rows(name, counted) if isinstance(counted, Complexity) else []
    if table:
        lines.append("part      grid           width  heads  queries     keys   parameters       GMAC  activations M")
        lines[-1] += "  inference MiB  training MiB"
    for row in table:
        small = "".join(
            f"  {'' if row[column] is None else f'{row[column]:,}':>{wide}}"
            for column, wide in (("width", 5), ("heads", 5), ("queries", 7), ("keys", 7), ("parameters", 11))
        )
        lines.append(
            f"{row['part']:8}  {row['grid'] or '':13}{small}  {_scaled(row, 'macs', 1e9, 9)}"
            f"  {_scaled(row, 'activations', 1e6, 13)}  {_scaled(row, 'inference_bytes', MEBIBYTE, 13)}"
            f"  {_scaled(row, 'training_bytes', MEBIBYTE, 12)}"
        )
    lines.append(
        f"{counted.parameters:,} parameters; {_giga(counted.macs)} G multiply-adds a clip"
        f" ({_giga(counted.macs_with_norms)} with LayerNorms, as papers count FLOPs);"
        f" {counted.activations / 1e6:,.1f} M activations"
    )
    if prod(counted.views) > 1:
        totals = counted.totals()
        lines.append(
            f"{_joined(counted.views)} views: {_giga(totals['macs_per_video'])} G multiply-adds a video"
            f" ({_giga(totals['macs_with_norms_per_video'])} with LayerNorms)"
        )
    if isinstance(counted, Complexity):
        weights = FLOAT32_BYTES * counted.parameters / MEBIBYTE
        lines.append(
            f"float32 memory: inference {weights:,.1f} MiB of weights and at most"
            f" {counted.inference_bytes / MEBIBYTE:,.1f} a clip; training {ADAMW_COPIES * weights:,.1f} of weights,"
            f" gradients and AdamW's moments and {counted.training_bytes / MEBIBYTE:,.1f} a clip"
        )
    return "\n".join(lines)


def memory(models: Mapping[str, MViTConfig]) -> str:
    """GB that training keeps of a clip of each model's own size, and what is made again at once: a Markdown table."""
    lines = [
        "| model | clip | precision | all kept | norms and GELU again | every block again |",
        "|---|---|---|---|---|---|",
    ]
    for name, config in models.items():
        blocks = every_block(config)
        for precision, narrow in (("float32", FLOAT32_BYTES), ("bf16", 2)):
            kept = (
                kept_per_clip(config, config.clip, narrow=narrow, elementwise=elementwise, blocks=again)
                for elementwise, again in ((False, frozenset[int]()), (True, frozenset[int]()), (False, blocks))
            )
            cells = " | ".join(f"{size / 1e9:.3f}" for size in kept)
            lines.append(f"| `{name}` | {_joined(config.clip)} | {precision} | {cells} |")
    return "\n".join(lines)


def _giga(macs: int) -> str:
    return f"{macs / 1e9:,.2f}" if macs >= 1e9 else f"{macs / 1e9:.4f}"


def _scaled(row: Row, column: str, unit: float, wide: int) -> str:
    value = row[column]
    assert isinstance(value, int)
    said = _giga(value) if column == "macs" else f"{value / unit:,.2f}"
    return f"{said:>{wide}}"
