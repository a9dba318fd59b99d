"""Attention in blocks of queries beside torch's fused one, in bfloat16 on a CPU, at the shapes of MViT-B 16x4.

python benchmarks/attention.py RECORD.json

Both take their turn in every round, forward and backward, on one thread; times are the processor's, so that what else
the machine does counts little. It says where `mvit.model.blockwise` is to be taken.
"""

import argparse
import shlex
import sys
import time
from functools import partial
from pathlib import Path

import torch
from torch.nn import functional as F

from mvit.files import require_writable
from mvit.model import blockwise
from mvit.model.presets import get_config
from mvit.provenance import provenance, write
from mvit.studies.spread import ratios

ROUNDS, WARM_UP = 9, 2


def shapes() -> list[tuple[int, int, int, int]]:
    """Heads, queries, keys and channels a head of the model's blocks, each shape once."""
    config = get_config("mvit_b_16x4")
    grid, found = config.grid, []
    for block in config.blocks():
        queries, keys = (pool.grid_of(grid) for pool in (block.pool_q, block.pool_kv))
        tokens = [1 + t * h * w for t, h, w in (queries, keys)]
        found.append((block.heads, *tokens, block.width_attention // block.heads))
        grid = queries
    return list(dict.fromkeys(found))


def timed(attend: partial, tensors: list[torch.Tensor], spread: torch.Tensor) -> tuple[float, float]:
    """Milliseconds of the processor of a forward and a backward pass."""
    began = time.process_time()
    result = attend(*tensors)
    between = time.process_time()
    result.backward(spread)
    return 1000 * (between - began), 1000 * (time.process_time() - between)


def main(record: Path) -> None:
    """Measure, print a table and write the record."""
    require_writable(record)
    torch.set_num_threads(1)
    torch.manual_seed(0)
    measured = []
    for heads, queries, keys, width in shapes():
        tensors = [
            torch.randn(1, tokens, heads, width, dtype=torch.bfloat16).transpose(1, 2).requires_grad_()
            for tokens in (queries, keys, keys)
        ]
        spread = torch.randn(1, heads, queries, width, dtype=torch.bfloat16)
        ways = {
            "fused": partial(F.scaled_dot_product_attention, scale=width**-0.5),
            "blockwise": partial(blockwise.attention, scale=width**-0.5),
        }
        times: dict[str, list[tuple[float, float]]] = {way: [] for way in ways}
        for _ in range(WARM_UP + ROUNDS):
            for way, attend in ways.items():
                times[way].append(timed(attend, tensors, spread))
        kept = {way: list(zip(*pairs[WARM_UP:], strict=True)) for way, pairs in times.items()}
        entry = {"heads": heads, "queries": queries, "keys": keys, "width": width}
        for place, which in enumerate(("forward", "backward")):
            entry[f"{which}_milliseconds"] = {way: columns[place] for way, columns in kept.items()}
            ratio = ratios(kept["fused"][place], kept["blockwise"][place])
            print(
                f"{heads} x {queries:6} x {keys:4}  {which:8}  {ratio.median:.2f} [{ratio.low:.2f}, {ratio.high:.2f}]"
            )
        measured.append(entry)
    protocol = f"{ROUNDS} rounds after {WARM_UP}, both in each; one clip, one thread, processor time, bfloat16"
    content = {"command": shlex.join(["python", *sys.argv]), "protocol": protocol, "shapes": measured}
    write(content | provenance("cpu"), record)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("record", type=Path)
    main(**vars(parser.parse_args()))
