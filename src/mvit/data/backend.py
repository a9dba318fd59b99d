"""What decodes: PyAV, or torchcodec where it is asked for and really decodes a second of video.

PyAV is the one that can be told what not to open, so files go through it first in any case; torchcodec is for those who
want its decoding on a GPU. There is no falling back from one to the other.
"""

import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from mvit.data import members, video
from mvit.data.limits import OWN, Limits
from mvit.data.opening import UnreadableVideo

CPU_RELEASES = "python -m pip install 'torchcodec>=0.11,<0.14'  # later ones need a torch built for CUDA"
FFMPEG = "sudo apt-get install ffmpeg  # or: conda install ffmpeg"
_TOLERANCE = 5.0  # grey levels on average, of a second that was compressed


class UnusableBackend(ValueError):  # noqa: N818 (a state of the machine)
    """A backend that does not decode here; `remedy` is the command that mends it."""

    def __init__(self, reason: str, remedy: str) -> None:
        super().__init__(f"{reason}; mend it with: {remedy}")
        self.reason = reason
        self.remedy = remedy


@dataclass(frozen=True)
class Backend:
    """One that decoded a second of video; `read` takes and gives what `video.read` does, in other processes, too."""

    name: Literal["pyav", "torchcodec"]
    device: str
    version: str
    read: Callable[..., np.ndarray]

    def __str__(self) -> str:
        return f"videos are decoded by {self.name} {self.version} on {self.device}, exact to the frame"


def choose(name: Literal["pyav", "torchcodec"] = "pyav", device: str = "cpu") -> Backend:
    """The backend of this name, after it decoded a second of video; raises UnusableBackend where it cannot.

    `device` is torch's name, "cpu" or "cuda"; only torchcodec decodes on the latter.
    """
    if name == "pyav":
        if device != "cpu":
            raise ValueError(f"pyav decodes on the CPU, not on {device}; choose torchcodec")
        import av

        backend = Backend("pyav", device, av.__version__, video.read)
    elif name == "torchcodec":
        backend = _torchcodec(device)
    else:
        raise ValueError(f"backends are pyav and torchcodec, got {name!r}")
    _decode_a_second(backend)
    return backend


def _torchcodec(device: str) -> Backend:
    try:
        import torchcodec
        from torchcodec.decoders import VideoDecoder  # noqa: F401
    except ModuleNotFoundError as error:
        if error.name != "torchcodec":
            raise UnusableBackend(f"torchcodec needs {error.name}, which is not installed", CPU_RELEASES) from error
        raise UnusableBackend("torchcodec is not installed", "python -m pip install 'mvit[torchcodec]'") from error
    except (ImportError, OSError, RuntimeError) as error:
        raise _broken(error) from error

    return Backend("torchcodec", device, torchcodec.__version__, partial(_read_with_torchcodec, device=device))


def _read_with_torchcodec(
    path: str | os.PathLike[str],
    indices: ArrayLike | None = None,
    times: ArrayLike | None = None,
    *,
    short_side: int | None = None,
    threads: int = 1,
    limits: Limits = OWN,
    fps: float | None = None,
    device: str,
) -> np.ndarray:
    from torchcodec.decoders import VideoDecoder

    with video.Video(path, threads=threads, limits=limits, fps=fps) as opened:
        if opened.stream_index is None:
            raise UnreadableVideo(
                opened.path, "it is a folder of pictures, which torchcodec does not open; choose pyav"
            )
        numbers = opened.locate(indices, times, short_side=short_side)
        facts, stream = opened.facts, opened.stream_index
        expected = opened.start_seconds + opened.times[numbers]
        if not opened.indexed or opened.rotation[1]:
            reason = "is mirrored" if opened.rotation[1] else "has no time stamps to go by"
            raise UnreadableVideo(opened.path, f"it {reason}, which torchcodec gets wrong; choose pyav")
    try:
        decoder = VideoDecoder(
            members.opened(opened.path) or os.fspath(path),
            stream_index=stream,
            dimension_order="NHWC",
            num_ffmpeg_threads=threads,
            device=device,
            seek_mode="exact",
        )
        if len(decoder) != facts.frames:
            raise UnreadableVideo(opened.path, f"torchcodec counts {len(decoder)} frames in it, PyAV {facts.frames}")
        batch = decoder.get_frames_at(numbers.tolist())
        frames = batch.data  # (T, H, W, 3)
    except UnreadableVideo:
        raise
    except (RuntimeError, ValueError, IndexError) as error:
        raise UnreadableVideo(opened.path, f"torchcodec: {str(error).splitlines()[0]}") from error
    found = batch.pts_seconds.cpu().numpy()
    if not np.allclose(found, expected, rtol=0, atol=1e-3):  # seen in transport streams
        raise UnreadableVideo(opened.path, "torchcodec gives other frames of it than those asked for; choose pyav")
    if tuple(frames.shape[1:3]) != (facts.height, facts.width):
        reason = f"torchcodec gives {frames.shape[2]}x{frames.shape[1]}, PyAV {facts.width}x{facts.height}"
        raise UnreadableVideo(opened.path, reason)
    return _scaled(frames, short_side).cpu().numpy()


def _scaled(frames: Any, short_side: int | None) -> Any:
    """Antialiased as PyAV's scaler does, on the device of the frames; not to the last level the same."""
    if short_side is None:
        return frames
    from torch.nn import functional as F

    size = video.scaled_size(frames.shape[1], frames.shape[2], short_side)
    floats = frames.permute(0, 3, 1, 2).float()  # (T, H, W, 3) -> (T, 3, H, W)
    smaller = F.interpolate(floats, size, mode="bilinear", antialias=True, align_corners=False)
    return smaller.round().clamp(0, 255).byte().permute(0, 2, 3, 1)


def _decode_a_second(backend: Backend) -> None:
    ramp = np.linspace(0, 200, 64, dtype=np.uint8)
    frames = np.stack([np.broadcast_to(np.roll(ramp, 4 * t)[None, :, None], (64, 64, 3)) for t in range(30)])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "second.mp4"
        video.write(path, frames)
        try:
            decoded = backend.read(path, [*range(29, -1, -1)])[::-1]
        except UnreadableVideo as error:
            raise _broken(error) from error
    wrong = np.abs(decoded.astype(int) - frames).mean() if decoded.shape == frames.shape else 255.0
    if wrong > _TOLERANCE:
        raise UnusableBackend(f"{backend.name} decodes a second of video wrong, by {wrong:.0f} of 255", CPU_RELEASES)


def _broken(error: Exception) -> UnusableBackend:
    text = str(error)
    for_cuda = any(name in text for name in ("libnvrtc", "libtorch_cuda", "libcudart", "undefined symbol"))
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    reason = "its build does not fit this torch" if for_cuda else "FFmpeg's shared libraries are not found"
    if not for_cuda and "libav" not in text and "FFmpeg" not in text:
        reason = lines[0] if lines else type(error).__name__
    return UnusableBackend(f"torchcodec does not work here: {reason}", CPU_RELEASES if for_cuda else FFMPEG)
