"""Parameters and multiply-adds of a configuration, counted on tensors without memory.

Multiply-adds are torch's own counter, halved, on the unfused attention path; LayerNorms, which it leaves out, are
counted beside it at 5 an element, as fvcore does, whose totals the papers print.
"""

from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from mvit.model.attention import MultiscaleAttention
from mvit.model.config import MViTConfig, Triple
from mvit.model.mvit import MViT

OPERATIONS_PER_NORM_ELEMENT = 5


@dataclass(frozen=True)
class BlockComplexity:
    """One block: token grid in, queries and keys it attends with (class token included), parameters, multiply-adds."""

    index: int
    grid: Triple
    width: int
    heads: int
    queries: int
    keys: int
    parameters: int
    macs: int


@dataclass(frozen=True)
class Complexity:
    """What one clip costs. ``macs`` are multiply-adds by torch's counter; ``macs_with_norms`` adds the LayerNorms."""

    clip: Triple
    parameters: int
    macs: int
    macs_with_norms: int
    blocks: tuple[BlockComplexity, ...]

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def complexity(config: MViTConfig, clip: Triple | None = None) -> Complexity:
    """Count a model on one clip of (frames, height, width), the configuration's own unless said."""
    clip = clip or config.clip
    with torch.device("meta"):
        model = MViT(config).eval()
    norm_elements = 0

    def count_norm(_module: nn.Module, _inputs: Any, output: torch.Tensor) -> None:
        nonlocal norm_elements
        norm_elements += output.numel()

    for module in model.modules():
        if isinstance(module, nn.LayerNorm):
            module.register_forward_hook(count_norm)
    for module in model.modules():
        if isinstance(module, MultiscaleAttention):
            module.fused = False  # fused kernels hide their products from the counter on a CPU
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(torch.empty(1, 3, *clip, device="meta"))
    by_module = counter.get_flop_counts()
    macs = counter.get_total_flops() // 2
    class_tokens = int(config.class_token)
    blocks, grid = [], config.grid_of(clip)
    for index, block in enumerate(config.blocks()):
        out = block.pool_q.grid_of(grid)
        keys = block.pool_kv.grid_of(grid)
        blocks.append(
            BlockComplexity(
                index=index,
                grid=grid,
                width=block.width,
                heads=block.heads,
                queries=class_tokens + out[0] * out[1] * out[2],
                keys=class_tokens + keys[0] * keys[1] * keys[2],
                parameters=sum(parameter.numel() for parameter in model.blocks[index].parameters()),
                macs=sum(by_module[f"MViT.blocks.{index}"].values()) // 2,
            )
        )
        grid = out
    return Complexity(
        clip=clip,
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        macs=macs,
        macs_with_norms=macs + OPERATIONS_PER_NORM_ELEMENT * norm_elements,
        blocks=tuple(blocks),
    )


def describe(counted: Complexity) -> str:
    """A table of the model's blocks and its totals, for people."""
    lines = [" block  grid          width  heads  queries    keys  parameters    GMAC"]
    for block in counted.blocks:
        grid = "x".join(map(str, block.grid))
        lines.append(
            f"{block.index:6d}  {grid:12s}  {block.width:5d}  {block.heads:5d}  {block.queries:7,d}  {block.keys:6,d}"
            f"  {block.parameters:10,d}  {block.macs / 1e9:6.2f}"
        )
    clip = "x".join(map(str, counted.clip))
    lines.append(
        f"{counted.parameters:,} parameters; {counted.macs / 1e9:.2f} G multiply-adds a clip of {clip}"
        f" ({counted.macs_with_norms / 1e9:.2f} with LayerNorms, as papers count)"
    )
    return "\n".join(lines)
