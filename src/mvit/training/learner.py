"""What learns: a model, its optimiser and, where asked, the average of its weights; and one step of it.

B batch, T frames, S side of the crop, K classes.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel

from mvit.data.clips import Batch, normalise
from mvit.data.views import Preprocessing
from mvit.model.mvit import MViT
from mvit.training import mixing, optim, parallel
from mvit.training.distributed import ALONE, Ranks
from mvit.training.hardware import Hardware
from mvit.training.mixing import UNMIXED, Mix
from mvit.training.sections import OptimRecipe


@dataclass(frozen=True)
class Outcome:
    """What a step came to on all ranks; ``moved`` is false where it was skipped because something was not finite."""

    loss: float
    gradient_norm: float
    right: int
    clips: int
    moved: bool


@dataclass
class Learner:
    """The state of a training run that lives in tensors."""

    model: MViT
    optimizer: torch.optim.Optimizer
    average: AveragedModel | None
    recipe: OptimRecipe
    hardware: Hardware
    preprocessing: Preprocessing
    forward: Callable[[Tensor], Tensor]
    """What gives logits in a step: the model, or what has gradients averaged over ranks."""
    ranks: Ranks = ALONE
    sharded: bool = False
    """Whether each rank holds a part of every tensor only."""

    @property
    def taught(self) -> MViT:
        """The model to evaluate and save: with averaged weights where there is an average; to be asked of all ranks."""
        model = cast(MViT, self.average.module) if self.average is not None else self.model
        return parallel.assembled(model) if self.sharded else model

    def step(self, batch: Batch, rate: float, mix: Mix = UNMIXED, together: int | None = None) -> Outcome:
        """Learn from one batch at a learning rate, or skip it where the loss or the gradient is not finite.

        ``together`` is how many clips the batches of all ranks have; one without any takes part all the same.
        """
        self.model.train()
        together = len(batch.labels) if together is None else together
        share = len(batch.labels) / together  # of the loss, which is the mean over the clips of all ranks
        clips, labels = self._prepared(batch if share else self._nothing(batch))  # (B, 3, T, S, S), (B,) or (B, K)
        with self.hardware.autocast():
            logits = self.forward(mixing.mixed(clips, mix))  # (B, K)
        loss = mixing.loss(logits.float(), labels, mix, self.recipe.label_smoothing)
        (loss * (share * self.ranks.count)).backward()  # gradients are averaged over ranks
        limit = self.recipe.clip_norm if self.recipe.clip_norm is not None else float("inf")
        norm = parallel.put_together(torch.nn.utils.clip_grad_norm_(self.model.parameters(), limit))
        right = mixing.right(logits, labels)
        facts = torch.stack([loss.detach(), norm, right]).tolist()  # one wait for the device, not three
        facts[0], facts[2] = self.ranks.totals([facts[0] * share, facts[2] * bool(share)])
        moved = bool(np.isfinite(facts[:2]).all())
        if moved:
            optim.set_rate(self.optimizer, rate)
            self.optimizer.step()
            if self.average is not None:
                self.average.update_parameters(self.model)
        self.optimizer.zero_grad()
        return Outcome(loss=facts[0], gradient_norm=facts[1], right=int(facts[2]), clips=together, moved=moved)

    def tensors(self) -> dict[str, Tensor]:
        """Everything that a later process needs to go on exactly here, by name; to be asked of all ranks.

        It is the same however many ranks there are and whatever each holds; rank 0 alone has it where they hold shards.
        """
        parts: dict[str, Mapping[str, Tensor]] = {
            "model": self.model.state_dict(),
            "optimizer": optim.state_tensors(self.model, self.optimizer),
            "average": self.average.state_dict() if self.average is not None else {},
        }
        named = {f"{part}/{name}": tensor for part, tensors in parts.items() for name, tensor in tensors.items()}
        return parallel.whole(named, kept=self.ranks.leads) if self.sharded else named

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Take up what ``tensors`` gave."""
        parts: dict[str, dict[str, Tensor]] = {"model": {}, "optimizer": {}, "average": {}}
        for name, tensor in tensors.items():
            part, _, rest = name.partition("/")
            parts[part][rest] = tensor
        if self.sharded:
            parts["model"] = parallel.like(parts["model"], self.model.state_dict())
            average = self.average.state_dict() if self.average is not None else {}
            parts["average"] = parallel.like(parts["average"], average)
        self.model.load_state_dict(parts["model"])
        optim.load_state_tensors(self.model, self.optimizer, parts["optimizer"])
        if self.average is not None:
            self.average.load_state_dict(parts["average"])

    def _nothing(self, like: Batch) -> Batch:
        """A clip to go through the motions with, where the others wait for gradients."""
        clips = torch.zeros(1, 3, *self.model.config.clip, dtype=torch.uint8)
        return Batch(clips, like.labels.new_zeros(1, *like.labels.shape[1:]), [])

    def _prepared(self, batch: Batch) -> tuple[Tensor, Tensor]:
        device = self.hardware.device
        clips = batch.clips_on(device)
        labels = batch.labels.to(device, non_blocking=True)
        return normalise(clips, self.preprocessing.mean, self.preprocessing.std, torch.float32), labels


def learner(
    model: MViT,
    recipe: OptimRecipe,
    hardware: Hardware,
    preprocessing: Preprocessing,
    *,
    ranks: Ranks = ALONE,
    sharded: bool = False,
) -> Learner:
    """A model on its device with a fresh optimiser; on several ranks in copies, or ``sharded`` among them."""
    model = model.to(hardware.device)
    average = optim.weight_average(model, recipe.ema_decay) if recipe.ema_decay is not None else None
    sharded = sharded and ranks.count > 1
    if sharded:
        for one in (model, average.module) if average is not None else (model,):
            parallel.shard(cast(MViT, one), hardware.device, ranks.count)
    forward = parallel.replicated(model) if ranks.count > 1 and not sharded else model
    return Learner(
        *(model, optim.optimizer(model, recipe), average, recipe, hardware, preprocessing, forward, ranks, sharded)
    )


def predictor(model: MViT, hardware: Hardware, *, exact: bool) -> Callable[[np.ndarray], np.ndarray]:
    """A model as evaluation takes it; ``exact`` computes in float32 throughout, as ``mvit evaluate`` does."""
    model.eval()

    @torch.no_grad()
    def predict(clips: np.ndarray) -> np.ndarray:
        with torch.backends.cudnn.flags(enabled=True, allow_tf32=not exact):
            with torch.autocast(hardware.device.type, torch.bfloat16, enabled=hardware.bf16 and not exact):
                logits = model(torch.from_numpy(clips).to(hardware.device))
            return logits.float().cpu().numpy()

    return predict
