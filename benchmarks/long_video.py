"""Memory and time of `mvit segment` on a video of two hours, which is made first: small, synthetic, 10 frames a second.

    python benchmarks/long_video.py RUN --out benchmarks/results/long-video.json

The same is done with a video of six minutes, to show what grows with the length.
"""

import argparse
import json
import os
import shlex
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import av
import numpy as np

from mvit.files import require_writable
from mvit.provenance import provenance, write

FRAMES_PER_SECOND, WIDTH, HEIGHT = 10, 160, 120


def make(path: Path, minutes: int) -> None:
    """A disc that goes round and round."""
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=FRAMES_PER_SECOND, options={"preset": "ultrafast", "crf": "28"})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for n in range(minutes * 60 * FRAMES_PER_SECOND):
            far = np.hypot(x - WIDTH / 2 - 60 * np.sin(n / 17), y - HEIGHT / 2 - 40 * np.cos(n / 23))
            picture = np.where(far < 14, 220, 20).astype(np.uint8)[..., None].repeat(3, axis=2)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))


def measure(run: Path, folder: Path, minutes: int, stride: str) -> dict[str, Any]:
    """One run of the command in a process of its own."""
    video, found = folder / f"{minutes}.mp4", folder / f"{minutes}.json"
    make(video, minutes)
    command = [sys.executable, "-m", "mvit", "segment", f"{run}", f"{video}", "--stride", stride, "--out", f"{found}"]
    began = time.monotonic()
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(child.pid, 0)
    if status:
        raise SystemExit(f"mvit segment ended with status {os.waitstatus_to_exitcode(status)}")
    figures = {"minutes": minutes, "peak_resident_bytes": usage.ru_maxrss * 1024, "processor_seconds": usage.ru_utime}
    segments = json.loads(found.read_text(encoding="utf-8"))
    facts = {"protocol": segments["protocol"], "segments": len(segments["segments"])}
    return figures | {"seconds": round(time.monotonic() - began, 1), "video_bytes": video.stat().st_size} | facts


def main() -> None:
    """Measure and write the record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="run folder of a tiny model")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument(
        "--stride", default="0.5s", help="seconds between windows: on a busy machine fewer take less time"
    )
    arguments = parser.parse_args()
    require_writable(arguments.out)
    about = provenance("cpu")
    with tempfile.TemporaryDirectory() as folder:
        measured = [measure(arguments.run, Path(folder), minutes, arguments.stride) for minutes in (6, 120)]
    record = about | {"command": shlex.join(["python", *sys.argv]), "threads_asked": os.environ.get("OMP_NUM_THREADS")}
    write(record | {"measured": measured}, arguments.out)
    for one in measured:
        print(f"{one['minutes']} min: {one['peak_resident_bytes'] / 2**20:,.0f} MiB at most, {one['seconds']:,} s")


if __name__ == "__main__":
    main()
