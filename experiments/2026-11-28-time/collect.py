"""Figures of all runs in folders of sweeps, by what they are called: ``python collect.py FOLDER... > figures.json``.

Kept are accuracies with their intervals and what probes found, no names of videos or people.
"""

import json
import sys
from pathlib import Path
from typing import Any

KEPT = ("top1", "top1_interval", "kendall", "called_mirror", "called_mirror_interval", "mirror_videos")


def collected(folders: list[Path]) -> dict[str, dict[str, Any]]:
    """By a variant's name and a seed what its run came to; runs that sweeps share are there once."""
    found: dict[str, dict[str, Any]] = {}
    for folder in folders:
        for file in sorted(folder.glob("*/result.json")):
            name, _, seed = file.parent.name.rpartition("-")
            found.setdefault(name, {})[seed] = _run(file.parent)
    return {name: dict(sorted(found[name].items())) for name in sorted(found)}


def _run(run: Path) -> dict[str, Any]:
    result = json.loads((run / "result.json").read_text(encoding="utf-8"))
    facts = {key: result[key] for key in ("top1", "top1_interval", "videos", "protocol")}
    probe = run / "probe.json"
    return facts | {"probe": _probe(json.loads(probe.read_text(encoding="utf-8"))) if probe.is_file() else None}


def _probe(found: dict[str, Any]) -> dict[str, Any]:
    each = {name: {key: found[name][key] for key in KEPT if key in found[name]} for name in found["disorders"]}
    what = {key: found[key] for key in ("protocol", "orders", "seed", "chance", "drops", "drop_intervals")}
    return what | {"disorders": each}


if __name__ == "__main__":
    print(json.dumps(collected([Path(name) for name in sys.argv[1:]]), indent=1))
