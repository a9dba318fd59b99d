"""What the reader of videos stands: hostile files, mutated files, thousands of decodes; each a record.

    python benchmarks/reader.py hostile | fuzz | memory [--count N] [--seed N] [--out FILE]

The reader runs in a child process without torch. `hostile`: seconds and memory to refuse each file of tests/hostile.py.
`fuzz`: files written here in many containers and codecs, changed by chance, opened and read at the start, middle and
end; what the child did with each, and its largest memory. `memory`: resident memory over decodes in one process.
"""

import argparse
import json
import os
import random
import resource
import select
import signal
import struct
import subprocess
import sys
import tempfile
import time
from collections import Counter
from fractions import Fraction
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
RESULTS = HERE / "results"
HANGS_AFTER = 60  # seconds for one small file
SOURCES = {  # file name: codec, pixels, options of the codec
    "b_frames.mp4": ("libx264", "yuv420p", {"bf": "3", "g": "8"}),
    "fragments.mp4": ("libx264", "yuv420p", {"g": "8"}),
    "ten_bits.mp4": ("libx264", "yuv420p10le", {"bf": "2", "g": "8"}),
    "h264.mkv": ("libx264", "yuv420p", {"bf": "3", "g": "8"}),
    "h264.ts": ("libx264", "yuv420p", {"bf": "3", "g": "8"}),
    "h264.avi": ("libx264", "yuv420p", {"g": "8"}),
    "h264.flv": ("libx264", "yuv420p", {"g": "8"}),
    "hevc.mp4": ("libx265", "yuv420p", {"x265-params": "keyint=8:log-level=none:pools=none"}),
    "vp8.webm": ("libvpx", "yuv420p", {"g": "8", "deadline": "realtime", "cpu-used": "8"}),
    "vp9.webm": ("libvpx-vp9", "yuv420p", {"g": "8", "deadline": "realtime", "cpu-used": "8"}),
    "mpeg4.avi": ("mpeg4", "yuv420p", {"bf": "2", "g": "8"}),
    "mpeg4.mp4": ("mpeg4", "yuv420p", {"g": "8"}),
    "mpeg2.ts": ("mpeg2video", "yuv420p", {"bf": "2", "g": "8"}),
    "mpeg2.mpg": ("mpeg2video", "yuv420p", {"g": "8"}),
    "mjpeg.avi": ("mjpeg", "yuvj420p", {}),
    "ffv1.mkv": ("ffv1", "yuv420p", {}),
    "qtrle.mov": ("qtrle", "rgb24", {}),
    "moving.gif": ("gif", "rgb8", {}),
}


def main() -> None:
    """Measure one thing and write its record."""
    if sys.argv[1:2] == ["child"]:
        child()
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["hostile", "fuzz", "memory"])
    parser.add_argument("--count", type=int, default=None)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=None)
    arguments = parser.parse_args()
    measure = {"hostile": hostile, "fuzz": fuzz, "memory": memory}[arguments.what]
    default = {"hostile": 0, "fuzz": 10_000, "memory": 5_000}[arguments.what]
    with tempfile.TemporaryDirectory() as folder:
        found = measure(Path(folder), default if arguments.count is None else arguments.count, arguments.seed)
    from mvit import provenance

    record = {"command": " ".join(["python", "benchmarks/reader.py", *sys.argv[1:]])}
    record |= provenance.provenance("cpu", ["av", "numpy"]) | {"seed": arguments.seed} | found
    out = arguments.out or RESULTS / f"data-reader-{arguments.what}.json"
    out.parent.mkdir(parents=True, exist_ok=True)
    provenance.write(record, out)
    print(json.dumps(found, indent=1))


def child() -> None:
    """Answer each line of input, a request as JSON, with one line."""
    from mvit.data.video import OWN, STRANGERS, UnreadableVideo, Video, read

    for line in sys.stdin:
        asked = json.loads(line)
        started, computed = time.perf_counter(), time.process_time()
        try:
            limits, short_side = STRANGERS if asked["stranger"] else OWN, asked.get("short_side")
            if asked["whole"]:
                frames = read(asked["path"], short_side=short_side, limits=limits)
            else:
                with Video(asked["path"], limits=limits) as video:
                    indices = [0, video.frames // 2, video.frames - 1]
                    frames = video.read(indices, short_side=short_side)
            outcome, reason = "decoded", str(frames.shape)
        except UnreadableVideo as error:
            outcome, reason = "refused", error.reason
        except Exception as error:  # what the reader must never let out
            outcome, reason = "other error", repr(error)
        seconds, computed = time.perf_counter() - started, time.process_time() - computed
        answer = {"outcome": outcome, "reason": reason, "seconds": seconds, "cpu_seconds": computed}
        answer["peak"] = memory_bytes("VmHWM")
        print(json.dumps(answer | {"resident": memory_bytes("VmRSS")}), flush=True)


def memory_bytes(kind: str) -> int:
    """Of this process: the largest so far (VmHWM) or now (VmRSS); without /proc always the largest."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(kind))


class Reader:
    """A child process that reads, one file after another; a new one after a crash or a hang."""

    def __init__(self) -> None:
        self.process: subprocess.Popen[str] | None = None

    def ask(self, path: Path, *, stranger: bool, whole: bool = False, short_side: int | None = None) -> dict[str, Any]:
        """What came of one file: `outcome` is decoded, refused, other error, crash or hang."""
        if self.process is None:
            self.process = subprocess.Popen(
                [sys.executable, __file__, "child"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        request = {"path": str(path), "stranger": stranger, "whole": whole, "short_side": short_side}
        print(json.dumps(request), file=self.process.stdin, flush=True)
        if not select.select([self.process.stdout], [], [], HANGS_AFTER)[0]:
            self.end()
            return {"outcome": "hang"}
        line = self.process.stdout.readline()
        if not line:
            status = self.process.wait()
            self.process = None
            return {"outcome": "crash", "reason": signal.Signals(-status).name if status < 0 else f"status {status}"}
        return json.loads(line)

    def end(self) -> None:
        """Kill it; the next question starts another."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None


def hostile(folder: Path, _count: int, _seed: int) -> dict[str, Any]:
    """Each in a child of its own, read whole, as one's own and as a stranger's."""
    code = "import sys; from pathlib import Path; from hostile import attacks; print(*attacks(Path(sys.argv[1])))"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(HERE.parent / "tests"), *sys.path])}
    done = subprocess.run(
        [sys.executable, "-c", code, str(folder)], env=environment, check=True, capture_output=True, text=True
    )
    files = []
    for name in done.stdout.split():
        for stranger in (False, True):
            reader = Reader()
            answer = reader.ask(Path(name), stranger=stranger, whole=True)
            reader.end()
            answer["reason"] = answer.get("reason", "").replace(str(folder), "")
            files.append({"file": Path(name).name, "stranger": stranger, **answer})
            print(files[-1], file=sys.stderr)
    return {
        "refused": sum(file["outcome"] == "refused" for file in files),
        "asked": len(files),
        "most_seconds": max(file["seconds"] for file in files),
        "most_cpu_seconds": max(file["cpu_seconds"] for file in files),
        "most_bytes": max(file["peak"] for file in files),
        "files": files,
    }


def fuzz(folder: Path, count: int, seed: int) -> dict[str, Any]:
    """`count` changed files; half are read as strangers'."""
    draw = random.Random(seed)
    sources = write_sources(folder)
    contents = [(path.suffix, path.read_bytes()) for path in sources]
    reader = Reader()
    outcomes: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    bad, peak, slowest, started = [], 0, 0.0, time.perf_counter()
    for number in range(count):
        suffix, content = draw.choice(contents)
        path = folder / f"changed{suffix}"
        path.write_bytes(changed(content, draw.choice(contents)[1], draw))
        stranger = bool(number % 2)
        answer = reader.ask(path, stranger=stranger)
        outcomes[answer["outcome"]] += 1
        if answer["outcome"] not in ("decoded", "refused"):
            bad.append({"number": number, "source": suffix, **answer})
        elif answer["outcome"] == "refused":
            reasons[answer["reason"].partition(" (")[0]] += 1
        peak, slowest = max(peak, answer.get("peak", 0)), max(slowest, answer.get("seconds", 0))
        if number % 500 == 499:
            print(f"{number + 1:,} of {count:,}: {dict(outcomes)}, {peak / 2**20:.0f} MB", file=sys.stderr)
    reader.end()
    return {
        "files": count,
        "sources": [path.name for path in sources],
        "outcomes": dict(outcomes),
        "decoded_share": outcomes["decoded"] / count,
        "crashes": outcomes["crash"],
        "hangs": outcomes["hang"],
        "other_errors": outcomes["other error"],
        "peak_bytes": peak,
        "slowest_seconds": slowest,
        "milliseconds_a_file": (time.perf_counter() - started) / count * 1000,
        "reasons": dict(reasons.most_common(12)),
        "bad": bad,
    }


def memory(folder: Path, count: int, _seed: int) -> dict[str, Any]:
    """Resident memory of one child from the time when every source was read five times."""
    sources = write_sources(folder)
    broken = folder / "broken.mp4"
    broken.write_bytes(changed(sources[0].read_bytes(), b"", random.Random(3)))
    sources.append(broken)
    reader = Reader()
    resident = []
    for number in range(5 * len(sources) + count):
        answer = reader.ask(sources[number % len(sources)], stranger=False, whole=bool(number % 3), short_side=32)
        if number >= 5 * len(sources) - 1:
            resident.append(answer["resident"])
    reader.end()
    tenth = max(len(resident) // 10, 1)
    first, last = (sum(part) / len(part) for part in (resident[:tenth], resident[-tenth:]))
    return {
        "decodes": count,
        "bytes_at_start": resident[0],
        "bytes_at_end": resident[-1],
        "bytes_at_most": max(resident),
        "growth": resident[-1] / resident[0] - 1,
        "growth_of_the_mean_of_tenths": last / first - 1,
        "resident_bytes": resident[:: max(len(resident) // 50, 1)],
    }


def write_sources(folder: Path) -> list[Path]:
    """Videos of 24 frames of 64x48 moving pixels, and a photograph."""
    import av
    import numpy as np

    blocks = np.random.default_rng(0).integers(0, 256, (6, 8, 3), np.uint8)
    picture = np.kron(blocks, np.ones((8, 8, 1), np.uint8))
    paths = []
    for name, (codec, pixels, options) in SOURCES.items():
        movflags = {"movflags": "frag_keyframe+empty_moov"} if name == "fragments.mp4" else {}
        paths.append(folder / name)
        with av.open(str(paths[-1]), "w", options=movflags) as container:
            stream = container.add_stream(codec, rate=25, options=options)
            stream.width, stream.height, stream.pix_fmt = 64, 48, pixels
            stream.codec_context.thread_count = 1
            for number in range(24):
                moved = np.ascontiguousarray(np.roll(picture, 2 * number, axis=1))
                frame = av.VideoFrame.from_ndarray(moved, format="rgb24").reformat(format=pixels)
                frame.pts, frame.time_base = number, Fraction(1, 25)
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
    for name, codec, pixels in (("photo.jpg", "mjpeg", "yuvj420p"), ("picture.png", "png", "rgb24")):
        encoder = av.CodecContext.create(codec, "w")
        encoder.width, encoder.height, encoder.pix_fmt, encoder.time_base = 64, 48, pixels, Fraction(1, 25)
        frame = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format=pixels)
        paths.append(folder / name)
        paths[-1].write_bytes(b"".join(bytes(packet) for packet in [*encoder.encode(frame), *encoder.encode(None)]))
    return paths


def changed(content: bytes, other: bytes, draw: random.Random) -> bytes:
    """The content with one to three changes: bits, bytes, numbers, pieces zeroed, cut, doubled, of another file."""
    data = bytearray(content)
    for _ in range(draw.choice((1, 1, 2, 3))):
        start = draw.randrange(len(data))
        end = min(start + draw.randrange(1, 400), len(data))
        match draw.randrange(8):
            case 0:
                for _ in range(draw.choice((1, 4, 16, 64))):
                    data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
            case 1:
                data[start:end] = draw.randbytes(end - start)
            case 2:
                data[start:end] = bytes(end - start)
            case 3:
                del data[start:end]
            case 4:
                data[start:start] = data[start:end]
            case 5:
                data = data[: max(start, 16)]
            case 6:  # a length, a count or a size
                number = draw.choice((0, 1, 2**16, 2**31 - 1, 2**31, 2**32 - 1, draw.randrange(2**32)))
                data[start : start + 4] = struct.pack(draw.choice("<>") + "I", number)
            case 7:
                data[start:end] = other[start:end]
        data = data or bytearray(1)
    return bytes(data)


if __name__ == "__main__":
    main()
