"""Checkpoints: tensors as safetensors beside a manifest with checksums, whole or not there, and nothing executed.

``checkpoints/<serial>/`` holds tensors.safetensors and manifest.json; serials grow with what was learned. It is written
under another name, brought to disk and renamed, so a folder with a number is complete; what happens to it later is
found by its checksums.
"""

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import safetensors.torch
from torch import Tensor

from mvit.distributed.group import Ranks
from mvit.files import blaming

TENSORS = "tensors.safetensors"
MANIFEST = "manifest.json"
FORMAT = 1
KEEP = 2
"""The last one, and the one before it in case the disk damages the last."""


FULL = (errno.ENOSPC, errno.EDQUOT)
"""What the system says where there is no room: on the disk, or for this user."""


class DamagedError(ValueError):
    """A checkpoint is not what was written; the sentence says which and how that shows."""


@dataclass(frozen=True)
class Checkpoint:
    """What was saved: tensors by name, and plain values."""

    serial: int
    tensors: dict[str, Tensor]
    meta: dict[str, Any]


def save(
    folder: Path, serial: int, tensors: Mapping[str, Tensor], meta: Mapping[str, Any], *, keep: Collection[int] = ()
) -> Path:
    """Write a checkpoint, read it back, and only then drop those before the last two, but for the serials to ``keep``.

    ``meta`` holds what JSON can. A kill at any moment leaves the earlier ones as they were, and so does a full disk,
    for which ``ValueError`` says how much is needed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    _clear_unfinished(folder)
    content = safetensors.torch.save({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()})
    manifest = {
        "format": FORMAT,
        "serial": serial,
        "bytes": len(content),
        "sha256": _digest(content),
        "meta": dict(meta),
    }
    sealed = manifest | {"seal": _seal(manifest)}
    unfinished = folder / f".{serial:08d}.unfinished"
    try:
        unfinished.mkdir()
        _write(unfinished / TENSORS, content)
        _write(unfinished / MANIFEST, json.dumps(sealed, indent=2).encode())
        _sync_folder(unfinished)
    except OSError as why:
        shutil.rmtree(unfinished, ignore_errors=True)
        if why.errno not in FULL:
            raise
        raise ValueError(
            f"{unfinished / TENSORS}: {why.strerror}; a checkpoint needs {len(content):,} bytes and "
            f"{shutil.disk_usage(folder).free:,} are free. Make room, and go on from the one before it with --resume"
        ) from why
    final = path_of(folder, serial)
    if final.exists():  # damaged and trained again, or nothing was learned since: put aside until the new one stands
        final.rename(folder / f".{serial:08d}.replaced.unfinished")
    unfinished.rename(final)
    _sync_folder(folder)
    _verify(final)
    _clear_unfinished(folder)
    paths = _finished(folder)
    place = paths.index(final)  # what lies beyond was found damaged, or the run would not have come here again
    for path in paths[place + 1 :] + paths[: max(place + 1 - KEEP, 0)]:
        if int(path.name) not in keep:
            shutil.rmtree(path)
    return final


def path_of(folder: Path, serial: int) -> Path:
    """Where the checkpoint of this serial is."""
    return folder / f"{serial:08d}"


def load(path: Path) -> Checkpoint:
    """Read one checkpoint; raises ``DamagedError`` for anything but what was written."""
    manifest, content = _verify(path)
    return Checkpoint(manifest["serial"], safetensors.torch.load(content), manifest["meta"])


def load_latest(folder: Path, echo: Callable[[str], None]) -> Checkpoint | None:
    """The newest checkpoint that is whole, or None where none was written; each damaged one is named to ``echo``.

    Raises ``DamagedError`` where there are some and none is whole.
    """
    paths = _finished(folder)[::-1]
    for path in paths:
        try:
            return load(path)
        except DamagedError as why:
            echo(f"warning: {why}; looking for the one before it")
    if paths:
        raise DamagedError(f"no checkpoint in {folder} is whole ({len(paths)} tried): train again in a new folder")
    return None


def handed(ranks: Ranks, read: Callable[[], Checkpoint | None]) -> Checkpoint | None:
    """A checkpoint that rank 0 reads, and hands to the others."""
    here: list[Checkpoint | None] = [None]

    def kept() -> Checkpoint | None:
        here[0] = saved = read()
        return replace(saved, tensors={}) if saved else None

    bare = ranks.from_first(kept)
    return bare and replace(bare, tensors=ranks.tensors_from_first(here[0].tensors if here[0] else {}))


def _verify(path: Path) -> tuple[dict[str, Any], bytes]:
    try:
        manifest = json.loads((path / MANIFEST).read_bytes())
        seal = manifest.pop("seal")
    except FileNotFoundError as why:
        raise DamagedError(f"{path} is damaged: it has no {MANIFEST}") from why
    except (ValueError, KeyError, AttributeError, TypeError) as why:
        raise DamagedError(f"{path / MANIFEST} is damaged: it is cut short or was changed") from why
    if seal != _seal(manifest):
        raise DamagedError(f"{path / MANIFEST} is damaged: its content differs from its own checksum")
    if manifest["format"] != FORMAT:
        raise ValueError(
            f"{path} has format {manifest['format']} and this version reads {FORMAT}: "
            "resume with the mvit that wrote it"
        )
    try:
        content = (path / TENSORS).read_bytes()
    except FileNotFoundError as why:
        raise DamagedError(f"{path} is damaged: it has no {TENSORS}") from why
    if len(content) != manifest["bytes"]:
        raise DamagedError(f"{path / TENSORS} is damaged: it has {len(content):,} of {manifest['bytes']:,} bytes")
    if _digest(content) != manifest["sha256"]:
        raise DamagedError(f"{path / TENSORS} is damaged: its content differs from the checksum in {MANIFEST}")
    return manifest, content


def _finished(folder: Path) -> list[Path]:
    """Finished checkpoints, oldest first."""
    return sorted(path for path in folder.glob("*") if path.name.isdigit()) if folder.is_dir() else []


def _clear_unfinished(folder: Path) -> None:
    for path in folder.glob(".*.unfinished"):
        shutil.rmtree(path)


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _seal(manifest: Mapping[str, Any]) -> str:
    return _digest(json.dumps(manifest, sort_keys=True).encode())


def _write(path: Path, content: bytes) -> None:
    with blaming(path), path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    if os.name == "nt":  # Windows has no handle on a folder
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
