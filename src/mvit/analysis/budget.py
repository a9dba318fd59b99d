"""What a training step takes at its peak, and what to compute again so that it fits into a given memory.

By ``activations``: the largest sum, over the moments of a step, of weights, optimiser state, gradients so far, what is
still kept, and what the block at work makes. Python, torch and its kernels take ``PROCESS_BYTES`` beside the tensors.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from mvit.analysis import activations
from mvit.analysis.activations import WIDE
from mvit.analysis.complexity import Complexity, complexity
from mvit.model.config import BlockConfig, MViTConfig, Triple

PROCESS_BYTES = 600_000_000
"""The process of a training run before its first tensor , on a CPU."""
MOMENTS = 2  # of AdamW, beside the weights

_UNITS = {"GB": 10**9, "MB": 10**6, "GiB": 2**30, "MiB": 2**20}


def in_bytes(memory: str) -> int:
    """ "16GB" as bytes; raises ``ValueError`` for what is no number of bytes."""
    number = re.fullmatch(rf"([0-9]+(?:\.[0-9]+)?) ?({'|'.join(_UNITS)})", memory)
    amount = float(number[1]) * _UNITS[number[2]] if number else 0
    if amount < 1:
        raise ValueError(f"{memory!r} is no number of bytes: expected one in {', '.join(_UNITS)}, such as '16GB'")
    return int(amount)


@dataclass(frozen=True, kw_only=True)
class Step:
    """A training step to be fitted: of a model, on a batch of clips of (frames, height, width), in some precision."""

    config: MViTConfig
    clip: Triple
    batch: int
    bf16: bool = False
    averaged: bool = False
    """Whether an average of the weights is kept."""

    @property
    def narrow(self) -> int:
        """Bytes of an element that linear layers read and give."""
        return 2 if self.bf16 else WIDE


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a step computes again, the peak that is expected, and the multiply-adds that it adds to the step's."""

    elementwise: bool = False
    blocks: tuple[int, ...] = ()
    peak_bytes: int
    extra_compute: float
    """Share of the step's multiply-adds, of which the backward pass has two thirds."""

    def __str__(self) -> str:
        blocks = f"block{'s' if len(self.blocks) > 1 else ''} {', '.join(map(str, self.blocks))}" if self.blocks else ""
        again = " and ".join(
            filter(None, ["norms, GELU" if blocks else "norms and GELU"] * self.elementwise + [blocks])
        )
        return (
            f"{self.peak_bytes / 1e9:.3g} GB expected at the peak of a step, with {again or 'nothing'} computed again "
            f"({self.extra_compute:.0%} more multiply-adds)"
        )


def choose(step: Step, memory: int) -> Plan:
    """The least to compute again so that a step fits: nothing; norms and GELU; then blocks, the best bargain first.

    A bargain is many bytes saved for a multiply-add. Raises ``ValueError`` where everything computed again is too much.
    """
    counted = complexity(step.config, step.clip)
    least = None
    for elementwise, blocks in _candidates(step, counted):
        plan = planned(step, counted, elementwise, blocks)
        if plan.peak_bytes <= memory:
            return plan
        least = plan if least is None or plan.peak_bytes < least.peak_bytes else least
    assert least is not None
    fixed = planned(_with_batch(step, 0), counted, least.elementwise, frozenset(least.blocks)).peak_bytes
    fits = (memory - fixed) * step.batch // (least.peak_bytes - fixed)
    remedy = f"a batch of {fits} would fit" if fits > 0 else "not one clip would fit: take fewer frames, a smaller crop"
    raise ValueError(
        f"a step with {step.batch} clips of {'x'.join(map(str, step.clip))} takes {least.peak_bytes / 1e9:.3g} GB even "
        f"with all computed again that can be: {remedy}, or a smaller or reversible model"
    )


def planned(step: Step, counted: Complexity, elementwise: bool, blocks: frozenset[int]) -> Plan:
    """The peak of a step that computes so much again, and what that costs."""
    again = sum(counted.blocks[index].macs for index in blocks)
    extra = again / (3 * counted.macs)
    peak = _peak(step, counted, elementwise, blocks)
    return Plan(elementwise=elementwise, blocks=tuple(sorted(blocks)), peak_bytes=peak, extra_compute=extra)


def kept_per_clip(config: MViTConfig, clip: Triple, *, narrow: int, elementwise: bool, blocks: frozenset[int]) -> int:
    """What a clip keeps until the backward pass, and the most that one block makes again, in bytes."""
    step = Step(config=config, clip=clip, batch=1, bf16=narrow < WIDE)
    parts = list(_parts(step, elementwise, blocks))
    kept = sum(part.kept for part in parts) + activations.stem_kept(clip, narrow=narrow)
    return kept + activations.head_kept(config, _last_grid(config, clip)) + max(part.again for part in parts)


def _candidates(step: Step, counted: Complexity) -> Iterator[tuple[bool, frozenset[int]]]:
    yield False, frozenset()
    plain, whole = _parts(step, True, frozenset()), _parts(step, True, every_block(step.config))
    saved = [one.kept - other.kept for one, other in zip(plain, whole, strict=True)]
    order = sorted(every_block(step.config), key=lambda index: -saved[index] / counted.blocks[index].macs)
    for count in range(len(order) + 1):
        yield True, frozenset(order[:count])


def every_block(config: MViTConfig) -> frozenset[int]:
    """Those that can be computed again: reversible ones are anyway."""
    return frozenset(i for i, block in enumerate(config.blocks()) if block.reversible == "none" or block.is_transition)


@dataclass(frozen=True)
class _Part:
    """Bytes of one clip in one block: kept, made again for the gradients, and gradients."""

    kept: int
    again: int
    gradients: int


def _parts(step: Step, elementwise: bool, blocks: frozenset[int]) -> Iterator[_Part]:
    grid, narrow = step.config.grid_of(step.clip), step.narrow
    configs = list(step.config.blocks())
    for index, block in enumerate(configs):
        last = index == len(configs) - 1 and block.class_token and block.reversible == "none"
        gradients = activations.gradients(block, grid, narrow=narrow)
        if index in blocks:
            entering = (
                0 if _kept_by(configs[index - 1]) and index else activations.block_input(block, grid, narrow=narrow)
            )
            again = activations.computed_again(block, grid, narrow=narrow)
            yield _Part(entering, again, gradients)
        elif last:
            kept = activations.class_token_kept(block, grid, narrow=narrow, elementwise=elementwise)
            yield _Part(kept, 0, gradients)
        else:
            reversible = block.reversible != "none" and not block.is_transition
            again = activations.computed_again(block, grid, narrow=narrow) if reversible else 0
            kept = activations.block_kept(block, grid, narrow=narrow, elementwise=elementwise and not reversible)
            yield _Part(kept, again, gradients)
        grid = block.grid_of(grid)


def _kept_by(block: BlockConfig) -> bool:
    """Whether a block has kept its output, which enters the next."""
    return block.reversible != "none" and not block.is_transition and block.is_last_of_stage


def _peak(step: Step, counted: Complexity, elementwise: bool, blocks: frozenset[int]) -> int:
    fixed = PROCESS_BYTES + counted.parameters * (MOMENTS + 1 + int(step.averaged)) * WIDE
    of_blocks = [block.parameters for block in counted.blocks]
    if step.bf16:  # copies of the weights: a block's own, and those that are kept
        fixed += step.narrow * (max(of_blocks) + sum(n for index, n in enumerate(of_blocks) if index not in blocks))
    clip = activations.stem_kept(step.clip) + (activations.stem_kept(step.clip, narrow=2) if step.bf16 else 0)
    kept = clip + activations.head_kept(step.config, _last_grid(step.config, step.clip))
    learned, moments = counted.head.parameters, []
    parts = list(_parts(step, elementwise, blocks))
    before = [sum(part.kept for part in parts[: index + 1]) for index in range(len(parts))]
    for index in reversed(range(len(parts))):
        part = parts[index]
        alive = before[index] + part.again + part.gradients
        learned += counted.blocks[index].parameters
        moments.append(step.batch * (kept + alive) + learned * WIDE)
    stepping = counted.parameters * WIDE  # the optimiser's step, when nothing else is left
    return fixed + max(*moments, stepping)


def _last_grid(config: MViTConfig, clip: Triple) -> Triple:
    grid = config.grid_of(clip)
    for block in config.blocks():
        grid = block.grid_of(grid)
    return grid


def _with_batch(step: Step, batch: int) -> Step:
    return Step(config=step.config, clip=step.clip, batch=batch, bf16=step.bf16, averaged=step.averaged)
