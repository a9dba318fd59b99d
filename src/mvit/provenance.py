"""Where figures come from: machine, versions, commit, date and command, as records of measurements hold them."""

import importlib.metadata
import json
import os
import platform
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import av
import torch

from mvit import __version__, files
from mvit.data.resources import available_cores

PACKAGE = Path(__file__).parent
MODEL_NAME, MEMORY = "model name", "MemTotal"


def provenance(device: str, libraries: Sequence[str] = ()) -> dict[str, Any]:
    """Everything but the command; ``libraries`` are those whose models were measured, by the names of their modules."""
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": commit(),
        "hardware": hardware(device),
        "versions": _versions(libraries),
    }


def environment(device: str) -> dict[str, Any]:
    """What a run computes with: system, processor or GPU, threads, and the versions that its numbers hang on."""
    others = {name: importlib.metadata.version(name) for name in ("torchvision", "numpy", "av")}
    return {
        "system": platform.platform(),
        "hardware": hardware(device),
        "versions": _versions(()) | others | {"ffmpeg": av.ffmpeg_version_info},
    }


def hardware(device: str) -> dict[str, Any]:
    """Processor, its cores that may be used, threads, memory, load of the last minute; on CUDA the GPU too."""
    known: dict[str, Any] = {
        "device": device,
        "processor": _line("/proc/cpuinfo", MODEL_NAME) or platform.processor() or platform.machine(),
        "capability": torch.backends.cpu.get_cpu_capability() + (" AMX" if torch.cpu._is_amx_tile_supported() else ""),
        "cores": available_cores(),
        "threads": torch.get_num_threads(),
        "memory_bytes": int((_line("/proc/meminfo", MEMORY) or "0").split()[0]) * 1024 or None,
        "load": round(os.getloadavg()[0], 2),
        "float32_matmul_precision": torch.get_float32_matmul_precision(),
    }
    if device == "cuda":
        properties = torch.cuda.get_device_properties(0)
        known |= {"gpu": properties.name, "gpu_memory_bytes": properties.total_memory}
    return known


def commit() -> str | None:
    """The commit that the package's files are of, "+" behind it where they were changed since; None without one."""
    head = _git("rev-parse", "HEAD")
    if not head or not _git("ls-files", "--", Path(__file__).name):
        return None
    return head + ("+" if _git("status", "--porcelain", "--", ".") else "")


def write(record: dict[str, Any], path: Path) -> None:
    """Write a record as JSON, whole or not at all."""
    files.write_text(path, json.dumps(record, indent=1, ensure_ascii=False) + "\n")


def _git(*words: str) -> str:
    try:
        done = subprocess.run(["git", *words], cwd=PACKAGE, capture_output=True, text=True, timeout=10)  # noqa: S607
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def _versions(libraries: Sequence[str]) -> dict[str, str]:
    known = {"mvit": __version__, "python": platform.python_version(), "torch": torch.__version__}
    if torch.version.cuda:
        known["cuda"] = torch.version.cuda
    distributions = importlib.metadata.packages_distributions() if libraries else {}
    for library in libraries:
        known[library] = ", ".join(importlib.metadata.version(name) for name in distributions[library])
    return known


def _line(file: str, key: str) -> str | None:
    """What follows the first line's key in one of the system's files."""
    try:
        lines = Path(file).read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith(key)), None)
