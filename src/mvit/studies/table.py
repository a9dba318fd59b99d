"""A record of a measurement as a table for people."""

from collections.abc import Iterator, Mapping
from typing import Any

MEBIBYTE = 2**20
WORDS = ("model", "clip", "dtype", "ms", "time of first", "time/GMAC")
COLUMNS = (
    *("model", "clip", "batch", "dtype", "ms", "clips/s", "time of first", "GMAC/s", "products", "peak"),
    *("time/GMAC", "activations MiB", "all MiB"),
)


def describe(record: Mapping[str, Any]) -> str:
    """Machine, protocol, a line for each case, and what the columns mean."""
    return "\n".join([*heading(record), "", *_rows(record), "", *_legend(record)])


def heading(record: Mapping[str, Any]) -> Iterator[str]:
    """What was measured on what, in lines."""
    machine, versions = record["hardware"], record["versions"]
    name = machine.get("gpu") or f"{machine['processor']} ({machine['capability']})"
    yield f"{record['what']} on {machine['device']}, {machine['threads']} threads: {name}, torch {versions['torch']}"
    unfinished = "" if record["complete"] else "INTERRUPTED: "
    yield f"{unfinished}{record['rounds']} rounds; median and, in brackets, quartiles"


def _rows(record: Mapping[str, Any]) -> list[str]:
    rows = [_cells(case) for case in record["cases"]]
    columns = [name for name in COLUMNS if any(row.get(name) for row in rows)]
    table = [columns, *([row.get(name, "") for name in columns] for row in rows)]
    wide = [max(map(len, column)) for column in zip(*table, strict=True)]
    return ["  ".join(map(_aligned, columns, cells, wide)).rstrip() for cells in table]


def _cells(case: Mapping[str, Any]) -> dict[str, str]:
    cells = {
        "model": case["name"],
        "clip": "x".join(map(str, case["clip"])),
        "batch": str(case["batch"]),
        "dtype": case["dtype"] + (f" {case['way']}" if case["way"] != "eager" else ""),
        "ms": _between(case["milliseconds"], 1),
        "clips/s": f"{case['clips_per_second']:.3g}",
        "time of first": _between(case["of_first"], 3),
        "GMAC/s": f"{case['gmac_per_second']:.0f}",
        "products": _percent(case.get("share_of_products")),
        "peak": _percent(case["share_of_peak"]),
    }
    if growth := case.get("growth"):
        cells["time/GMAC"] = _between(growth["time_over_gmac_ratio"], 3)
    if "memory_bytes" in case:
        memory = case["memory_bytes"]
        cells["activations MiB"] = f"{memory['activations'] / MEBIBYTE:,.0f}" if memory else "did not fit"
        cells["all MiB"] = f"{memory['total'] / MEBIBYTE:,.0f}" if memory else ""
    return cells


def _aligned(column: str, cell: str, wide: int) -> str:
    return f"{cell:{wide}}" if column in WORDS else f"{cell:>{wide}}"


def _legend(record: Mapping[str, Any]) -> Iterator[str]:
    yield "time of first: this case's time over that of the first line, round by round"
    yield "GMAC/s: multiply-adds by arithmetic, as the papers write the model" + (
        ", three times the forward pass's" if record["what"] == "training step" else ""
    )
    yield "products: its matrix products alone take this share of its time; peak: of what one large product reaches"
    if any("growth" in case for case in record["cases"]):
        yield "time/GMAC: how its time grew from the model's first clip, over how its multiply-adds grew"
    if any("memory_bytes" in case for case in record["cases"]):
        yield "activations: the most that a step held beside weights, gradients and AdamW's moments; all: with those"


def _between(spread: Mapping[str, float], digits: int) -> str:
    return f"{spread['median']:,.{digits}f} [{spread['low']:,.{digits}f}, {spread['high']:,.{digits}f}]"


def _percent(spread: Mapping[str, float] | None) -> str:
    return f"{spread['median']:.0%}" if spread else ""
