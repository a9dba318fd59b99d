"""Steps that cannot be taken: where numbers first stopped being finite, and when a run is given up for it."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from mvit.distributed.group import ALONE, Ranks
from mvit.distributed.parallel import put_together

MOST_SKIPPED_IN_A_ROW = 8
"""Steps with a loss or gradient that is not finite, after which the weights are taken to have gone astray."""
MOST_ROLLBACKS = 1
"""Times that a run goes back for it; the next time it is given up."""
RATE_AFTER_ROLLBACK = 0.5
"""What learning rates are multiplied by for each time that the run went back."""


class DivergedError(ValueError):
    """Losses or gradients are no numbers any more."""


def first_not_finite(model: nn.Module, losses: Iterable[Tensor], ranks: Ranks = ALONE) -> str | None:
    """What was not finite first, in words, such as "the output of blocks.3.mlp"; None where all is.

    ``losses`` computes the model's losses one by one; each is differentiated, so gradients are left behind. Modules are
    looked at in the order in which they are done, forward and then backward, the innermost first. All ``ranks`` are to
    ask, and learn the same: gradients of parameters that are in shards are sums over ranks, so they are looked at where
    no rank has found anything before.
    """
    found: list[str] = []

    def look(tensor: Tensor, words: str) -> None:
        if not found and not tensor.detach().isfinite().all():
            found.append(words)

    def watched(name: str) -> Callable[[nn.Module, Any, Any], None]:
        def hook(module: nn.Module, inputs: Any, output: Any) -> None:
            for tensor in _tensors(output):
                look(tensor, f"the output of {name}")
                if tensor.requires_grad:
                    tensor.register_hook(lambda gradient: look(gradient, f"the gradient of the output of {name}"))

        return hook

    hooks = [module.register_forward_hook(watched(name or "the model")) for name, module in model.named_modules()]
    try:
        for loss in losses:
            look(loss, "the loss")
            loss.backward()
    finally:
        for hook in hooks:
            hook.remove()
    if not any(ranks.gathered(found)):
        for name, parameter in model.named_parameters():
            if parameter.grad is not None:
                look(put_together(parameter.grad), f"the gradient of {name}")
    return next((words for one in ranks.gathered(found) for words in one), None)


def _tensors(output: Any) -> Iterator[Tensor]:
    """The tensors of floats in what a module gives."""
    for value in output if isinstance(output, tuple | list) else (output,):
        if isinstance(value, torch.Tensor) and value.is_floating_point():
            yield value
