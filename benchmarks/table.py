"""Writes results/README.md from the records beside it: what was aimed at, then every record as a table."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mvit.studies import feeding, plan, table
from mvit.studies.spread import Spread, ratios

RESULTS = Path(__file__).parent / "results"
Record = Mapping[str, Any]
OURS, TORCHVISION = "mvit_b_16x4", "torchvision_mvit_b_16x4"


@dataclass(frozen=True)
class Aim:
    """That one case takes at least ``wanted`` times as much as another of the same record: name, dtype and way.

    ``record`` is its name without that of the machine, as in `xeon-forward-1`.
    """

    record: str
    over: tuple[str, str, str]
    under: tuple[str, str, str]
    wanted: float
    activations: bool = False
    device: str = "cpu"

    def found(self, record: Record) -> Spread | None:
        """The ratio; None where the record does not hold both."""
        places = {(case["name"], case["dtype"], case["way"]): place for place, case in enumerate(record["cases"])}
        if not {self.over, self.under} <= places.keys():
            return None
        over, under = places[self.over], places[self.under]
        if not self.activations:
            return ratios(*(record["milliseconds"][f"case {place}"] for place in (over, under)))
        held = [record["cases"][place].get("memory_bytes") for place in (over, under)]
        if None in held:
            return None
        ratio = held[0]["activations"] / held[1]["activations"]
        return Spread(ratio, ratio, ratio)


AIMS = (
    Aim("forward-1", (TORCHVISION, "float32", "eager"), (OURS, "float32", "packed"), 1.6),
    Aim("forward-1", (TORCHVISION, "bfloat16", "eager"), (OURS, "bfloat16", "packed"), 2.2),
    Aim("forward-1", (TORCHVISION, "float32", "eager"), (OURS, "bfloat16", "packed"), 6.0),
    Aim("forward-4", (TORCHVISION, "float32", "eager"), (OURS, "float32", "packed"), 1.5),
    Aim("forward-4", (TORCHVISION, "bfloat16", "eager"), (OURS, "bfloat16", "packed"), 1.8),
    Aim(
        "v2-forward-1",
        ("torchvision_mvitv2_s_16x4", "float32", "eager"),
        ("mvitv2_s_16x4", "float32", "packed"),
        1.6,
    ),
    Aim("train-1", (TORCHVISION, "autocast", "eager"), (OURS, "autocast", "eager"), 1.8),
    Aim("train-8", (TORCHVISION, "autocast", "eager"), (OURS, "autocast", "eager"), 1.8),
    Aim("train-8", (TORCHVISION, "autocast", "eager"), (OURS, "autocast", "eager"), 1 / 0.6, activations=True),
    *(
        Aim("train-8", (TORCHVISION, "autocast", "eager"), (OURS, "autocast", way), 1 / 0.6, activations=True)
        for way in ("elementwise", "checkpointed")
    ),
    *(
        Aim(record, (TORCHVISION, "autocast", way), (OURS, "autocast", way), wanted, activations, "cuda")
        for record, way, wanted, activations in (
            ("forward-16", "eager", 3.0, False),
            ("forward-16", "compiled", 1.5, False),
            ("train-16", "eager", 2.5, False),
            ("train-16", "compiled", 1.4, False),
            ("train-16", "eager", 2.0, True),
        )
    ),
    Aim("rivals", ("hiera_b", "autocast", "eager"), (OURS, "autocast", "eager"), 1.3, device="cuda"),
)
LIMITS = (("long-train", "eager", 5e9), ("long-train", "checkpointed", 3e9))
"""Record, way, and the bytes that a step of it is to take at most, with weights, gradients and AdamW's moments."""


def page(records: Mapping[str, Record]) -> str:
    """The page as Markdown; ``records`` by the names of their files."""
    return "\n".join([*_head(), *_aims(records), *_tables(records), *_of_scripts(records)]) + "\n"


def _head() -> Iterator[str]:
    yield "# Results"
    yield ""
    yield "Made from the records in this folder by `python benchmarks/table.py`; [how to repeat them](../README.md)."


def _aims(records: Mapping[str, Record]) -> Iterator[str]:
    rows = [
        (aim, name, aim.found(record))
        for name, record in records.items()
        for aim in AIMS
        if _measurement(name) == aim.record and record["hardware"]["device"] == aim.device
    ]
    if not any(found for *_, found in rows):
        return
    yield from ("", "## What was aimed at", "")
    yield "How many times as much the first takes as the second, and quartiles over the rounds."
    yield from ("", "| record | what | first | second | times | aim | |", "|---|---|---|---|---|---|---|")
    for aim, name, found in rows:
        if found:
            first, second = (f"`{model}` {dtype} {way}" for model, dtype, way in (aim.over, aim.under))
            met = "met" if found.median >= aim.wanted else "not met"
            yield (
                f"| [{name}]({name}.json) | {'activations' if aim.activations else 'time'} | {first} "
                f"| {second} | {found.median:.2f} [{found.low:.2f}, {found.high:.2f}] | {aim.wanted:.2f} | {met} |"
            )


def _measurement(name: str) -> str:
    return name.partition("-")[2]


def _tables(records: Mapping[str, Record]) -> Iterator[str]:
    limits = [(name, *limit) for name in records for measurement, *limit in LIMITS if _measurement(name) == measurement]
    for name, way, limit in limits:
        for case in records[name]["cases"]:
            if case["way"] == way and (memory := case.get("memory_bytes")):
                met = "met" if memory["total"] <= limit else "not met"
                said = f"`{case['name']}` {case['dtype']} {way}, a step of training on {case['batch']} clip"
                yield from ("", f"{name}: {said}: {memory['total'] / 1e9:.2f} GB, aim {limit / 1e9:.0f} GB: {met}.")
    for name, record in records.items():
        if "what" not in record:
            continue  # of a script beside this one
        fed = record["what"] == "feeding a model"
        said = (table if "cases" in record else feeding if fed else plan).describe(record)
        yield from ("", f"## {name}", "")
        yield f"`{record['command']}`, {record['date'][:10]}, commit {(record['commit'] or 'unknown')[:12]}, "
        yield f"load {record['hardware']['load']} before, [record]({name}.json)"
        yield from ("", "```", said, "```")


def _of_scripts(records: Mapping[str, Record]) -> Iterator[str]:
    """Those that `mvit bench` did not make, each of a form of its own: what they show is said where it is used."""
    named = {name: record for name, record in records.items() if "what" not in record}
    if not named:
        return
    yield from ("", "## Of other scripts", "", "What they hold is said in the documents that use it.", "")
    yield from ("| record | date | command |", "|---|---|---|")
    for name, record in named.items():
        yield f"| [{name}]({name}.json) | {record['date'][:10]} | `{record['command']}` |"


def main() -> None:
    """Read the records and write the page."""
    RESULTS.mkdir(exist_ok=True)
    records = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(RESULTS.glob("*.json"))}
    (RESULTS / "README.md").write_text(page(records), encoding="utf-8")
    print(f"Wrote {RESULTS / 'README.md'} from {len(records)} records")


if __name__ == "__main__":
    main()
