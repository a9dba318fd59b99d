import errno
import io
import os
import shutil
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mvit.training import checkpoint
from mvit.training.checkpoint import DamagedError

META = {"epoch": 3, "loss": 0.1 + 0.2, "best": None}


def tensors(value: float) -> dict[str, torch.Tensor]:
    return {"model/weight": torch.full((3, 2), value), "optimizer/step": torch.tensor(value)}


def silent(_: str) -> None:
    pass


def test_what_was_saved_is_loaded(tmp_path: Path):
    checkpoint.save(tmp_path, 5, tensors(1.5), META)
    loaded = checkpoint.load_latest(tmp_path, silent)
    assert loaded is not None
    assert (loaded.serial, loaded.meta) == (5, META)
    assert {name: tensor.tolist() for name, tensor in loaded.tensors.items()} == {
        name: tensor.tolist() for name, tensor in tensors(1.5).items()
    }


def test_there_is_none_before_the_first(tmp_path: Path):
    assert checkpoint.load_latest(tmp_path / "checkpoints", silent) is None


def test_the_last_two_are_kept(tmp_path: Path):
    for step in (1, 2, 30, 4000):
        checkpoint.save(tmp_path, step, tensors(step), META)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["00000030", "00004000"]


def damage(file: Path, how: str) -> None:
    content = bytearray(file.read_bytes())
    if how == "truncated":
        file.write_bytes(content[: len(content) // 2])
    elif how == "empty":
        file.write_bytes(b"")
    elif how == "flipped":
        content[len(content) // 2] ^= 1
        file.write_bytes(content)
    else:
        file.unlink()


@pytest.mark.parametrize("how", ["truncated", "empty", "flipped", "missing"])
@pytest.mark.parametrize("name", [checkpoint.TENSORS, checkpoint.MANIFEST])
def test_damage_is_named_and_the_one_before_is_taken_aloud(tmp_path: Path, name: str, how: str):
    checkpoint.save(tmp_path, 1, tensors(1), META)
    last = checkpoint.save(tmp_path, 2, tensors(2), META)
    damage(last / name, how)
    said: list[str] = []
    loaded = checkpoint.load_latest(tmp_path, said.append)
    assert loaded is not None
    assert loaded.serial == 1
    assert len(said) == 1
    assert str(last) in said[0]
    assert name in said[0]


def test_with_none_whole_nothing_is_made_up(tmp_path: Path):
    for step in (1, 2):
        damage(checkpoint.save(tmp_path, step, tensors(step), META) / checkpoint.TENSORS, "truncated")
    with pytest.raises(DamagedError, match=r"no checkpoint in .* is whole"):
        checkpoint.load_latest(tmp_path, silent)


def test_after_a_damaged_one_the_run_goes_on_saving(tmp_path: Path):
    for step in (10, 20):
        path = checkpoint.save(tmp_path, step, tensors(step), META)
    damage(path / checkpoint.TENSORS, "flipped")
    checkpoint.save(tmp_path, 15, tensors(15), META)
    assert sorted(int(path.name) for path in tmp_path.iterdir()) == [10, 15]
    checkpoint.save(tmp_path, 20, tensors(21), META)
    loaded = checkpoint.load_latest(tmp_path, silent)
    assert loaded is not None
    assert loaded.tensors["optimizer/step"].item() == 21


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return checkpoint.save(tmp_path_factory.mktemp("sound"), 7, tensors(7), META)


@given(place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7), manifest=st.booleans(), cut=st.booleans())
def test_any_flipped_bit_and_any_cut_is_found(
    sound: Path, tmp_path_factory: pytest.TempPathFactory, place: float, bit: int, manifest: bool, cut: bool
):
    copy = tmp_path_factory.getbasetemp() / "damaged"
    shutil.copytree(sound, copy, dirs_exist_ok=True)
    file = copy / (checkpoint.MANIFEST if manifest else checkpoint.TENSORS)
    content = bytearray(file.read_bytes())
    if cut:
        content = content[: int(place * len(content))]
    else:
        content[int(place * len(content))] ^= 1 << bit
    file.write_bytes(content)
    with pytest.raises(DamagedError, match="damaged"):
        checkpoint.load(copy)


class DiedError(Exception):
    """What a kill looks like from within: nothing after it happens."""


def kill_at(monkeypatch: pytest.MonkeyPatch, moment: int) -> list[str]:
    """Every effect on the disk is counted; the one at ``moment`` does not happen, nor does any after it."""
    effects: list[str] = []

    def fatal(owner: Any, name: str) -> None:
        real = getattr(owner, name)

        def effect(*args: Any, **more: Any) -> Any:
            effects.append(name)
            if len(effects) > moment:
                raise DiedError
            return real(*args, **more)

        monkeypatch.setattr(owner, name, effect)

    for owner, name in ((os, "fsync"), (Path, "rename"), (Path, "mkdir"), (Path, "open"), (shutil, "rmtree")):
        fatal(owner, name)
    return effects


def test_a_kill_at_any_moment_leaves_one_to_go_on_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    with monkeypatch.context() as counted:
        effects = kill_at(counted, 10**6)
        for step in (1, 2, 3):
            checkpoint.save(tmp_path / "counted", step, tensors(step), META)
    assert len(effects) > 15
    for moment in range(len(effects)):
        folder = tmp_path / str(moment)
        saved = 0
        with monkeypatch.context() as deadly, suppress(DiedError):
            kill_at(deadly, moment)
            for step in (1, 2, 3):
                checkpoint.save(folder, step, tensors(step), META)
                saved = step
        assert saved < 3
        loaded = checkpoint.load_latest(folder, silent)
        assert saved <= (loaded.serial if loaded else 0) <= saved + 1
        checkpoint.save(folder, 9, tensors(9), META)
        after = checkpoint.load_latest(folder, silent)
        assert after is not None
        assert after.serial == 9
        assert len(list(folder.iterdir())) <= checkpoint.KEEP


def test_nothing_is_executed_on_loading(tmp_path: Path):
    path = checkpoint.save(tmp_path, 1, tensors(1), META)
    torch.save({"model/weight": torch.ones(1)}, path / checkpoint.TENSORS)
    with pytest.raises(DamagedError):
        checkpoint.load(path)


class FullDisk(io.FileIO):
    """A file on a disk that has room for so many bytes more, over all files."""

    left = 0

    def write(self, content: Any) -> int:
        """What fits; ENOSPC where nothing does, as the system has it."""
        room = min(len(content), FullDisk.left)
        if not room:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        FullDisk.left -= room
        return super().write(memoryview(content)[:room])


def fill(patch: pytest.MonkeyPatch, room: int) -> None:
    real = Path.open

    def opened(self: Path, mode: str = "r", *args: Any, **more: Any) -> Any:
        return io.BufferedWriter(FullDisk(self, "wb")) if mode == "wb" else real(self, mode, *args, **more)

    FullDisk.left = room
    patch.setattr(Path, "open", opened)


def test_a_full_disk_is_said_in_bytes_and_leaves_what_was_there(tmp_path: Path):
    checkpoint.save(tmp_path, 1, tensors(1), META)
    needed = sum(path.stat().st_size for path in checkpoint.save(tmp_path / "other", 2, tensors(2), META).iterdir())
    content = (tmp_path / "other" / "00000002" / checkpoint.TENSORS).stat().st_size
    for room in [*range(0, needed - 1, needed // 19), needed - 1]:
        with pytest.MonkeyPatch.context() as patch:
            fill(patch, room)
            said = rf"{checkpoint.TENSORS}: No space left .* needs {content:,} bytes and [\d,]+ are free"
            with pytest.raises(ValueError, match=said):
                checkpoint.save(tmp_path, 2, tensors(2), META)
        assert {path.name for path in tmp_path.iterdir()} == {"00000001", "other"}
        loaded = checkpoint.load_latest(tmp_path, silent)
        assert loaded is not None
        assert loaded.serial == 1
    checkpoint.save(tmp_path, 2, tensors(2), META)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_disk_that_is_really_full(tmp_path: Path):
    """The same on file systems in memory that end at 20 places of the second checkpoint, mounted for it alone."""
    isolated = ["unshare", "--map-root-user", "--user", "--mount"]
    if shutil.which("unshare") is None or subprocess.run([*isolated, "true"], check=False).returncode:
        pytest.skip("needs the right to mount a file system in a namespace of its own (unshare --user --mount)")
    (program := tmp_path / "program.py").write_text(FILL, encoding="utf-8")
    (place := tmp_path / "disk").mkdir()
    done = subprocess.run([*isolated, sys.executable, program, place], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    said = done.stdout.splitlines()
    assert len(said) == 20
    assert all("No space left on device; a checkpoint needs 1,048," in line for line in said)


FILL = """
import subprocess
import sys
from pathlib import Path
import torch
from mvit.training import checkpoint
place = Path(sys.argv[1])
weights = {"model/weight": torch.zeros(2**18)}
for part in range(20):
    size = int((1 + part / 20) * weights["model/weight"].nbytes) + 2**15
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", place], check=True)
    checkpoint.save(place, 1, weights, {})
    try:
        checkpoint.save(place, 2, weights, {})
    except ValueError as why:
        print(why)
    assert [path.name for path in place.iterdir()] == ["00000001"]
    assert checkpoint.load_latest(place, print).serial == 1
    subprocess.run(["umount", place], check=True)
"""
