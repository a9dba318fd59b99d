"""What this machine can do, found by doing it; each problem comes with the one command that mends it."""

import importlib
import importlib.util
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mvit import __version__

LEAST_FREE_BYTES = 2e9
"""A demo set, a run with its checkpoints and its report take a tenth of it."""


class Wrong(Exception):  # noqa: N818 (a state of the machine)
    """What is not as it should be; ``remedy`` where another command mends it than the check's own."""

    def __init__(self, reason: str, remedy: str | None = None) -> None:
        super().__init__(reason)
        self.reason, self.remedy = reason, remedy


@dataclass(frozen=True)
class Check:
    """What was looked at, what was found, and the command that mends it where something is wrong."""

    name: str
    finding: str
    remedy: str | None = None


def examine(folder: Path = Path()) -> Iterator[Check]:
    """Look at everything that a run in ``folder`` needs, one thing at a time."""
    for name, remedy, look in (
        ("mvit", "python -m pip install --upgrade .  # in mvit's folder", _versions),
        ("torch", "python -m pip install --upgrade torch torchvision", _torch),
        ("video", "python -m pip install --upgrade --force-reinstall av", _video),
        ("torchcodec", "python -m pip uninstall torchcodec  # PyAV decodes without it", _torchcodec),
        ("processor", "export OMP_NUM_THREADS=1", _processor),
        ("compute", "python -m pip install --upgrade torch torchvision", _compute),
        ("disk", "df -h .  # then go to a folder with room, or free some", lambda: _disk(folder)),
    ):
        yield _checked(name, remedy, look)


def _checked(name: str, remedy: str, look: Callable[[], str]) -> Check:
    try:
        return Check(name, look())
    except Exception as why:  # whatever it is, it is the finding; some know better what mends them
        finding = getattr(why, "reason", f"{type(why).__name__}: {why}")
        return Check(name, finding, getattr(why, "remedy", None) or remedy)


def _versions() -> str:
    packages = {name: importlib.import_module(name) for name in ("numpy", "safetensors", "tyro")}
    versions = ", ".join(f"{name} {package.__version__}" for name, package in packages.items())
    return f"{__version__} on Python {platform.python_version()} ({sys.platform}, {platform.machine()}); {versions}"


def _torch() -> str:
    import torch
    import torchvision.ops  # its compiled part is what fails when it was built for another torch

    boxes = torch.tensor([[0.0, 0.0, 1.0, 1.0]])
    if len(torchvision.ops.nms(boxes, torch.ones(1), 0.5)) != 1:
        raise Wrong("torchvision loses a box that nothing overlaps")
    return f"{torch.__version__}, torchvision {torchvision.__version__}"


def _video() -> str:
    """Encode a clip of moving grey, decode it again and compare."""
    import av

    from mvit.data import video

    ramp = np.linspace(0, 200, 64, dtype=np.uint8)
    frames = np.stack([np.broadcast_to(np.roll(ramp, 8 * t)[None, :, None], (64, 64, 3)) for t in range(8)])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "clip.mp4"
        video.write(path, frames)
        decoded = video.read(path)
    if decoded.shape != frames.shape:
        raise Wrong(f"8 frames of 64x64 came back as {decoded.shape}")
    error = np.abs(decoded.astype(int) - frames).mean()
    if error >= 10:
        raise Wrong(f"the frames that came back differ by {error:.0f} of 255")
    codec = ".".join(str(number) for number in av.library_versions["libavcodec"])
    return f"PyAV {av.__version__} with libavcodec {codec}: H.264 encoded and decoded"


def _torchcodec() -> str:
    """It is no fault not to have it."""
    from mvit.data import backend

    if importlib.util.find_spec("torchcodec") is None:
        return "not installed, and not needed: python -m pip install 'mvit[torchcodec]' for decoding on a GPU"
    return f"{backend.choose('torchcodec').version}: a second of video decoded, used where asked for"


def _processor() -> str:
    import torch

    from mvit.data.resources import available_cores
    from mvit.data.samples import counted

    usable = available_cores()
    threads = torch.get_num_threads()
    if threads > usable:
        reason = f"{threads} threads for the {counted(usable, 'processor')} that this process may use"
        raise Wrong(reason, f"export OMP_NUM_THREADS={usable}")
    return f"{usable} of {os.cpu_count()} processors usable, {counted(threads, 'thread')}"


def _compute() -> str:
    """Run a convolution and an attention where training would run them."""
    import torch
    from torch.nn import functional as F

    from mvit.recipes.sections import TrainRecipe
    from mvit.training import hardware

    chosen = hardware.choose(TrainRecipe())
    with torch.inference_mode(), chosen.autocast():
        tokens = F.conv3d(
            torch.ones(1, 3, 4, 16, 16, device=chosen.device), torch.ones(8, 3, 3, 3, 3).to(chosen.device)
        )
        q = tokens.flatten(2).transpose(1, 2)[:, None]  # (B, C, T, H, W) -> (B, 1, N, C)
        if not F.scaled_dot_product_attention(q, q, q).isfinite().all():
            raise Wrong(f"on {chosen}, attention gives numbers that are not finite")
    memory = ""
    if chosen.device.type == "cuda":
        free, total = torch.cuda.mem_get_info(chosen.device)
        memory = f", {free / 1e9:.0f} of {total / 1e9:.0f} GB free"
    return f"{chosen}{memory}"


def _disk(folder: Path) -> str:
    with tempfile.TemporaryFile(dir=folder):
        free = shutil.disk_usage(folder).free
    if free <= LEAST_FREE_BYTES:
        raise Wrong(f"{free / 1e9:.1f} GB free in {folder.absolute()}, a run may need 2")
    return f"{free / 1e9:.0f} GB free in {folder.absolute()}"
