"""How often a prepared video should have a key frame: milliseconds to read a clip anywhere in it, and bytes.

python benchmarks/key_frames.py RECORD.json VIDEO...

Each video is scaled to a short side of 256 and written by `mvit prepare`'s encoder (H.264, its crf and preset) with
every distance between key frames; from each, clips of 16 frames, 4 apart, begin at the same random places. At each
place all distances take their turn, in random order, so that what else the machine does falls on all of them. Times are
the processor's, of one thread; ratios are of one round's sums.
"""

import argparse
import random
import shlex
import statistics
import sys
import tempfile
import time
from pathlib import Path

from mvit.curation.transcode import CRF, transcode
from mvit.data.video import Video
from mvit.files import require_writable
from mvit.provenance import provenance, write

DISTANCES = (4, 8, 12, 16, 24, 32, 64, 250)
ROUNDS, CLIPS = 7, 6


def read(path: Path, start: float) -> float:
    """Seconds of the processor to open a video and read a clip that begins at `start` (0 to 1) of where it may."""
    began = time.process_time()
    with Video(path) as video:
        first = int(start * max(video.frames - 61, 0))
        video.read([min(first + 4 * number, video.frames - 1) for number in range(16)])
    return time.process_time() - began


def main(record: Path, sources: list[Path]) -> None:
    """Write the copies, read them round by round, print a table and write the record."""
    require_writable(record)
    generator = random.Random(0)
    with tempfile.TemporaryDirectory() as folder:
        copies: dict[int, list[Path]] = {}
        for distance in DISTANCES:
            copies[distance] = [Path(folder) / f"{distance}-{n}.mp4" for n in range(len(sources))]
            for source, target in zip(sources, copies[distance], strict=True):
                transcode(source, target, short_side=256, key_frame_every=distance)
        sizes = {distance: sum(path.stat().st_size for path in paths) for distance, paths in copies.items()}
        rounds = []
        for _ in range(ROUNDS):
            times = dict.fromkeys(map(str, DISTANCES), 0.0)
            for number in range(len(sources)):
                for _ in range(CLIPS):
                    start = generator.random()
                    for distance in generator.sample(DISTANCES, len(DISTANCES)):
                        times[str(distance)] += read(copies[distance][number], start)
            rounds.append(times)
    reference = str(DISTANCES[-1])
    content = {
        "command": shlex.join(["python", *sys.argv]),
        "protocol": f"{CLIPS} clips of 16 frames, 4 apart, of {len(sources)} videos a round; crf {CRF}; one thread",
        "videos": [path.name for path in sources],
        "bytes": {str(distance): size for distance, size in sizes.items()},
        "seconds_by_round": rounds,
        **provenance("cpu"),
    }
    write(content, record)
    print("key frame every   bytes, of every 250   time, of every 250 (median, range)   ms a clip")
    for distance in DISTANCES:
        ratios = sorted(times[str(distance)] / times[reference] for times in rounds)
        clip = statistics.median(times[str(distance)] for times in rounds) / (CLIPS * len(sources)) * 1000
        print(
            f"{distance:15}   {sizes[distance] / sizes[DISTANCES[-1]]:19.2f}   "
            f"{statistics.median(ratios):10.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})   {clip:18.1f}"
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("record", type=Path)
    parser.add_argument("sources", type=Path, nargs="+")
    main(**vars(parser.parse_args()))
