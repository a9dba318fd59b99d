"""Clips a second of one core, decoded and augmented, beside torchcodec and torchvision.transforms.v2, round by round.

    python benchmarks/augment.py --out benchmarks/results/data-augment.json

The video is made on the spot: 10 s of moving textures, 30 frames a second, H.264, 340x256; and 1280x720, as it is and
`prepared` by `mvit prepare`. All ways take the same frames (16 at spacing 4, from a random start) of it, on one thread,
in one process, in turn; what counts is processor time. Two policies: `crop` is a random resized crop to 224 and a flip;
`paper` has four operations of RandAugment before, each done with probability 0.5, which torchvision's own grammar lacks
and is put together for it (RandomApply of a RandAugment of one operation, four times, bilinear). Operations are drawn
apart, so that a round needs many clips. `twice` makes two clips of the frames, read once.
"""

import argparse
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import torch
from torch import Tensor
from torchvision.transforms import InterpolationMode, v2

from mvit import files, provenance
from mvit.curation import prepare as preparing
from mvit.data.clips import Clips, decide_flip
from mvit.data.dataset import Sample
from mvit.data.sampling import ClipSampling, random_indices
from mvit.data.transforms import Augmentation
from mvit.data.video import Video
from mvit.data.views import Preprocessing
from mvit.studies.spread import ratios, spread

SECONDS, FPS, CROP = 10, 30, 224
SMALL, LARGE = (340, 256), (1280, 720)
PREPROCESSING = Preprocessing(sampling=ClipSampling(frames=16, spacing=4), short_side=256, crop=CROP)
PAPER = "rand-m7-n4-mstd0.5-inc1"
AIMS = {
    "theirs crop / ours crop": 1.1,
    "theirs paper / ours paper": 1.1,
    "theirs crop / ours crop, twice": 1.6,
    "theirs paper / ours paper, twice": 1.6,
}

Way = Callable[[int], int]  # takes the number of a video's turn, and gives the number of clips it made


def pictures(width: int, height: int) -> Iterator[np.ndarray]:
    """A textured thing that moves before a textured ground that pans, and grain as cameras have it."""
    rng = np.random.default_rng(0)
    ground, thing = (texture(2 * width, 2 * height, coarse, rng) for coarse in (40, 25))
    rows, columns = height // 2, width // 3
    for number in range(SECONDS * FPS):
        time = number / FPS
        top, left = (int((1 + np.sin(time / 3 + shift)) / 2 * side) for shift, side in ((0, height), (1, width)))
        picture = ground[top : top + height, left : left + width].copy()
        top, left = int((1 + np.sin(2 * time)) / 4 * height), int((1 + np.cos(1.5 * time)) / 3 * width)
        picture[top : top + rows, left : left + columns] = thing[:rows, :columns]
        yield np.clip(picture + rng.normal(0, 2, (height, width, 1)), 0, 255).astype(np.uint8)


def texture(width: int, height: int, cells: int, rng: np.random.Generator) -> np.ndarray:
    """Smooth noise with so many patches a side, and finer patches of less contrast within: float32 (H, W, 3)."""
    coarse, fine = (torch.from_numpy(rng.uniform(0, 255, (1, 3, side, side))) for side in (cells, 5 * cells))
    layers = [torch.nn.functional.interpolate(layer, (height, width), mode="bicubic") for layer in (coarse, fine)]
    return (0.75 * layers[0] + 0.25 * layers[1])[0].permute(1, 2, 0).numpy().astype(np.float32)


def encode(path: Path, width: int, height: int) -> int:
    """Write the pictures as x264 does by default, B-frames included; gives the size in bytes."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=Fraction(FPS), options={"crf": "23", "bf": "3"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for picture in pictures(width, height):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
    return path.stat().st_size


def ours(path: Path, policy: str, copies: int) -> Way:
    """What a worker of ours does."""
    augmentation = Augmentation(randaugment=PAPER if policy == "paper" else "", copies=copies, flip="on")
    clips = Clips([Sample(path, "a")], ["a"], PREPROCESSING, augmentation, decide_flip(["a"], "on"), seed=0)
    return lambda turn: len(clips[turn, 0].clips)


def theirs(path: Path, policy: str, copies: int) -> Way:
    """The same in torchcodec and torchvision: frames by number, transforms on uint8, one draw for all frames."""
    from torchcodec.decoders import VideoDecoder

    bilinear = InterpolationMode.BILINEAR
    one = v2.RandAugment(num_ops=1, magnitude=21, num_magnitude_bins=31, interpolation=bilinear, fill=[128] * 3)
    operations = [v2.RandomApply([one], p=0.5) for _ in range(4)] if policy == "paper" else []
    crop = v2.RandomResizedCrop(CROP, scale=(0.08, 1.0), antialias=True)
    transform = v2.Compose([*operations, crop, v2.RandomHorizontalFlip()])

    def make(turn: int) -> int:
        decoder = VideoDecoder(str(path), seek_mode="exact", num_ffmpeg_threads=1)
        count, fps = decoder.metadata.num_frames, decoder.metadata.average_fps
        assert count is not None
        assert fps is not None
        indices = random_indices(count, fps, PREPROCESSING.sampling, np.random.default_rng((0, turn, 0)))
        frames: Tensor = decoder.get_frames_at(indices.tolist()).data  # (T, 3, H, W)
        return len([transform(frames).transpose(0, 1).contiguous() for _ in range(copies)])

    return make


def prepare(video: Path, out: Path) -> None:
    """What `mvit prepare` makes of a video: a short side of 256."""
    source = video.parent / "large"
    source.mkdir()
    shutil.copy(video, source)
    preparing.prepare(source, out, preparing.Settings(), workers=1)


def decoding(path: Path) -> Way:
    """Decoding alone, ours."""

    def make(turn: int) -> int:
        with Video(path) as video:
            indices = random_indices(
                video.frames, video.fps, PREPROCESSING.sampling, np.random.default_rng((0, turn, 0))
            )
            return len(video.read(indices)[:1])

    return make


def same_frames(path: Path) -> float:
    """The largest difference of a level between the frames of both decoders."""
    from torchcodec.decoders import VideoDecoder

    numbers = list(range(0, SECONDS * FPS, 7))
    with Video(path) as video:
        mine = video.read(numbers).astype(int)
    other = VideoDecoder(str(path), seek_mode="exact").get_frames_at(numbers).data.permute(0, 2, 3, 1).numpy()
    return float(np.abs(mine - other).max())


def main() -> None:
    """Measure, print and write a record."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, help="write a record here, as JSON")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--clips", type=int, default=24, help="videos read in a round, for each way")
    options = parser.parse_args()
    if options.out:
        files.require_writable(options.out)
    try:
        import torchcodec  # noqa: F401
    except (ImportError, OSError, RuntimeError) as missing:
        sys.exit(f"torchcodec cannot be used ({str(missing).splitlines()[0]}): install it, and the FFmpeg it needs")
    torch.set_num_threads(1)
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        small, large = Path(folder) / "small.mp4", Path(folder) / "large.mp4"
        sizes = {path.stem: encode(path, *size) for path, size in ((small, SMALL), (large, LARGE))}
        prepared = Path(folder) / "prepared"
        prepare(large, prepared)
        sizes["prepared"] = (prepared / large.name).stat().st_size
        ways = {
            "ours decode": decoding(small),
            "ours paper, 1280x720": ours(large, "paper", 1),
            "ours paper, prepared": ours(prepared / large.name, "paper", 1),
        }
        for policy in ("crop", "paper"):
            for copies, suffix in ((1, ""), (2, ", twice")):
                ways[f"ours {policy}{suffix}"] = ours(small, policy, copies)
                ways[f"theirs {policy}{suffix}"] = theirs(small, policy, copies)
        for make in ways.values():
            make(0)
        seconds: dict[str, list[float]] = {name: [] for name in ways}
        for turn in range(options.rounds):
            for name, make in ways.items():
                began, made = time.process_time(), 0
                videos = options.clips if "1280" not in name else max(options.clips // 4, 1)  # they take long
                for video in range(turn * options.clips, turn * options.clips + videos):
                    made += make(video)
                seconds[name].append((time.process_time() - began) / made)
            print(f"round {turn + 1} of {options.rounds}", end="\r", file=sys.stderr, flush=True)
        difference = same_frames(small)
    compared = {
        f"{over} / {under}": ratios(seconds[over], seconds[under])
        for over, under in [
            ("theirs crop", "ours crop"),
            ("theirs paper", "ours paper"),
            ("theirs crop", "ours crop, twice"),
            ("theirs paper", "ours paper, twice"),
            ("theirs crop, twice", "ours crop, twice"),
            ("theirs paper, twice", "ours paper, twice"),
            ("ours paper, 1280x720", "ours paper, prepared"),
        ]
    }
    print("clips a second of one core (median, quartiles)")
    for name, each in seconds.items():
        per_second = spread([1 / one for one in each])
        print(f"  {name:24} {per_second.median:6.1f}  {per_second.low:6.1f} to {per_second.high:.1f}")
    print("times as many (median, quartiles)")
    for name, ratio in compared.items():
        aim = f"  wanted {AIMS[name]}" if name in AIMS else ""
        print(f"  {name:40} {ratio.median:5.2f}  {ratio.low:5.2f} to {ratio.high:.2f}{aim}")
    if options.out:
        record = provenance.provenance("cpu", ("torchvision", "torchcodec", "av", "numpy"))
        record |= {
            "kind": "augment",
            "command": "python " + " ".join(sys.argv),
            "protocol": " ".join(__doc__.split()),
            "video_bytes": sizes,
            "largest_difference_of_frames": difference,
            "rounds": options.rounds,
            "videos_a_round": options.clips,
            "cpu_seconds_a_clip": seconds,
            "ratios": {name: ratio.to_dict() for name, ratio in compared.items()},
            "aims": AIMS,
        }
        provenance.write(record, options.out)


if __name__ == "__main__":
    main()
