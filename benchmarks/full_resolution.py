"""What pooling keys and values saves: MViT-B beside itself with attention at full resolution, at 16, 32 and 64 frames.

    python benchmarks/full_resolution.py --out benchmarks/results/NAME-full-resolution.json

A forward pass of one clip, in float32, at 112x112 pixels unless --side says otherwise: at 224 the longest clip takes
3,808 GMAC. Time is of the fused attention, both models in turn in every round; memory also of attention that holds its
weights, as the papers write it, each in a process of its own. What 224x224 pixels take follows by arithmetic.
"""

import argparse
import shlex
import sys
from collections.abc import Callable, Iterator
from functools import partial
from math import prod
from pathlib import Path
from typing import Any

import torch

from mvit.analysis.complexity import complexity
from mvit.files import require_writable
from mvit.model.attention import MultiscaleAttention
from mvit.model.config import MViTConfig, Triple
from mvit.model.presets import get_config
from mvit.provenance import provenance, write
from mvit.studies.footprint import of_a_call
from mvit.studies.measure import WARM_UP_ROUNDS, in_rounds
from mvit.studies.spread import ratios, spread
from mvit.studies.variants import without_kv_pooling
from mvit.weights.create import create_model

MODEL = "mvit_b_16x4"
FRAMES = (16, 32, 64)
KEYS = ("pooled", "full")
WAYS = ("fused", "held")
FLOAT32 = 4


def configuration(keys: str) -> MViTConfig:
    """The model with its keys and values pooled, or at full resolution."""
    base = get_config(MODEL)
    return base if keys == "pooled" else without_kv_pooling(base)


def forward(keys: str, clip: Triple, way: str) -> Callable[[], None]:
    """A forward pass of one clip, ready to run."""
    torch.manual_seed(0)
    model = create_model(configuration(keys), clip=clip).eval()
    for module in model.modules():
        if isinstance(module, MultiscaleAttention):
            module.fused = way == "fused"
    given = torch.randn(1, 3, *clip)

    def run() -> None:
        with torch.inference_mode():
            model(given)

    return run


def largest(config: MViTConfig, clip: Triple) -> int:
    """Bytes of the largest attention of a block in float32, over its heads, queries and keys."""

    def of_blocks() -> Iterator[int]:
        grid = config.grid_of(clip)
        for block in config.blocks():
            queries, keys = (1 + prod(pool.grid_of(grid)) for pool in (block.pool_q, block.pool_kv))
            yield block.heads * queries * keys * FLOAT32
            grid = block.pool_q.grid_of(grid)

    return max(of_blocks())


def counted(clip: Triple) -> dict[str, Any]:
    """What follows by arithmetic for a clip."""
    return {
        keys: {
            "gmac": complexity(configuration(keys), clip).macs / 1e9,
            "largest_attention_bytes": largest(configuration(keys), clip),
        }
        for keys in KEYS
    }


def measured(clip: Triple, runs: int) -> dict[str, Any]:
    """Milliseconds of every round, their ratio, and bytes of a forward pass beside the weights; None: did not fit."""
    times: dict[str, list[float]] = {}
    in_rounds({keys: forward(keys, clip, "fused") for keys in KEYS}, times, runs, "cpu")
    memory = {
        keys: {way: of_a_call(f"{keys} {way}", partial(forward, keys, clip, way), "cpu") for way in WAYS}
        for keys in KEYS
    }
    return {
        "milliseconds": times,
        "median_milliseconds": {keys: spread(times[keys]).to_dict() for keys in KEYS},
        "full_over_pooled": ratios(times["full"], times["pooled"]).to_dict(),
        "forward_bytes": memory,
    }


def main(out: Path, side: int, runs: int) -> None:
    """Measure, print a line for each length and write the record."""
    require_writable(out)
    origin = provenance("cpu")  # the load before, not of this
    sizes = []
    for frames in FRAMES:
        clip = (frames, side, side)
        found = {"clip": list(clip), "arithmetic": counted(clip), **measured(clip, runs)}
        sizes.append(found)
        for keys in KEYS:
            arithmetic, middle = found["arithmetic"][keys], found["median_milliseconds"][keys]
            mib = ", ".join(
                f"{way} {'did not fit' if taken is None else f'{taken / 2**20:,.0f} MiB'}"
                for way, taken in found["forward_bytes"][keys].items()
            )
            print(
                f"{frames}x{side}x{side} {keys:6} {arithmetic['gmac']:8,.1f} GMAC {middle['median']:9,.0f} ms "
                f"[{middle['low']:,.0f}, {middle['high']:,.0f}]  {mib}",
                flush=True,
            )
    protocol = (
        f"{MODEL}, random weights and clips, float32, one clip; {runs} rounds after {WARM_UP_ROUNDS}, both models in "
        "each in an order drawn anew, one length of clip after the other; memory is what a second forward pass held at "
        "most beside weights and clip, in a process of its own"
    )
    record = {
        "command": shlex.join(["python", *sys.argv]),
        "protocol": protocol,
        "sizes": sizes,
        "at_224_by_arithmetic": [{"clip": [frames, 224, 224], **counted((frames, 224, 224))} for frames in FRAMES],
    }
    write(record | origin, out)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--side", type=int, default=112, help="pixels")
    parser.add_argument("--runs", type=int, default=5)
    main(**vars(parser.parse_args()))
