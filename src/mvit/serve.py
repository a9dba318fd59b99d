"""The command that answers others over HTTP, thin as those of ``cli``, which lists it."""

import os
import signal
import sys
from pathlib import Path

from mvit import commandline
from mvit.commandline import DONE


def serve(
    run: Path,
    /,
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    max_bytes: str = "100MB",
    max_seconds: str = "60s",
    max_pixels: int = 4096 * 3072,
    max_frames: int = 2**17,
    queue: int = 16,
) -> int:
    """Answer over HTTP what videos and images show, with a page for people; videos may come from anyone.

    Args:
        run: run folder, its model.safetensors, or an exported file (docs/export.md)
        host: address to listen on; 0.0.0.0 for every one of this machine (docs/serve.md says what to put in front)
        port: to listen on; 0 for any that is free
        max_bytes: of one video or image
        max_seconds: of decoding for one request, by the clock
        max_pixels: of one frame
        max_frames: of one video
        queue: requests at once that are received, wait or are worked on; more are told to come again
    """
    from mvit.analysis.budget import in_bytes
    from mvit.serving.bounds import Bounds

    bounds = Bounds(
        bytes=in_bytes(max_bytes),
        seconds=commandline.seconds(max_seconds),
        pixels=max_pixels,
        frames=max_frames,
        queue=queue,
    )
    try:
        from mvit.serving import host as hosting
    except ImportError as missing:
        package = (missing.name or "").partition(".")[0]
        if package not in ("granian", "starlette"):
            raise
        raise ValueError(f"serving needs {package}: pip install 'mvit[serve]'") from missing

    def say(sentence: str) -> None:
        print(f"mvit: {sentence}", file=sys.stderr, flush=True)

    number = hosting.serve(run, host, port, bounds, say)
    if number == signal.SIGINT:
        say("interrupted")
    os._exit(commandline.INTERRUPTED if number == signal.SIGINT else DONE)  # see hosting.serve
