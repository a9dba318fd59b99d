"""What learns: a model, its optimiser and, where asked, the average of its weights; and one step of it.

B batch, T frames, S side of the crop, K classes.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from mvit.data.clips import Batch, normalise
from mvit.data.views import Preprocessing
from mvit.distributed import parallel
from mvit.distributed.group import ALONE, Ranks
from mvit.model.mvit import MViT
from mvit.recipes.sections import OptimRecipe
from mvit.training import faults, mixing, optim
from mvit.training.hardware import Hardware
from mvit.training.mixing import UNMIXED, Mix
from mvit.weights.build import Model

NORMS_OF_BATCHES = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
"""Our models have none; other libraries' do."""


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

    model: Model
    optimizer: torch.optim.Optimizer
    average: AveragedModel | None
    scaler: torch.amp.GradScaler
    recipe: OptimRecipe
    hardware: Hardware
    preprocessing: Preprocessing
    forward: Callable[[Tensor], Tensor]
    """What gives logits in a step: the model, what was compiled of it, or what has gradients averaged over ranks."""
    accumulate: int = 1
    """Pieces in which a batch is computed."""
    ranks: Ranks = ALONE
    sharded: bool = False
    """Whether each rank holds a part of every tensor only."""
    best: dict[str, Tensor] = field(default_factory=dict)
    """The weights that did best on the holdout so far, in a processor's memory; none where nothing is held out."""

    @property
    def taught(self) -> Model:
        """The model to evaluate and save: with averaged weights where there is an average; to be asked of all ranks."""
        model = cast(Model, self.average.module) if self.average is not None else self.model
        return parallel.assembled(cast(MViT, model)) if self.sharded else model

    def keep_best(self) -> None:
        """Remember the taught model's weights as those that did best on the holdout."""
        self.best = {name: tensor.detach().cpu().clone() for name, tensor in self.taught.state_dict().items()}

    def step(self, batch: Batch, rate: float, mix: Mix = UNMIXED, together: int | None = None) -> Outcome:
        """Learn from one batch at a learning rate, or skip it where the loss or the gradient is not finite.

        ``together`` is how many clips the batches of all ranks have; one without any takes part all the same. In fp16 a
        gradient that is not finite may be one that was scaled too far: the batch is computed again with half the scale,
        until its gradient is finite or was not scaled at all.
        """
        self.model.train()
        together = len(batch.labels) if together is None else together
        clips, labels = self._on_device(batch)  # (B, 3, T, S, S) uint8, (B,) or (B, K)
        scale, statistics = self.scaler.get_scale(), self._statistics()
        facts = self._gradient(clips, labels, mix, together)
        while not np.isfinite(facts[1]) and np.isfinite(facts[0]) and self._scaled_less():
            _put_back(statistics)
            facts = self._gradient(clips, labels, mix, together)
        moved = bool(np.isfinite(facts[:2]).all())
        if moved:
            optim.set_rate(self.optimizer, rate)
            self.scaler.step(self.optimizer)
            self.scaler.update()
            if self.average is not None:
                self.average.update_parameters(self.model)
        else:
            _put_back(statistics)
            if self.scaler.is_enabled():
                self.scaler.update(scale)  # it was not the scale's fault
        self.optimizer.zero_grad()
        return Outcome(loss=facts[0], gradient_norm=facts[1], right=int(facts[2]), clips=together, moved=moved)

    def _gradient(self, clips: Tensor, labels: Tensor, mix: Mix, together: int) -> list[float]:
        """Compute and clip the gradient of a batch; gives its loss, the gradient's norm, and how many were right.

        All three are of all ranks.
        """
        facts = []
        for loss, right in self._losses(clips, labels, mix, together):
            self.scaler.scale(loss * self.ranks.count).backward()  # gradients are averaged over ranks
            facts.append(torch.stack([loss.detach(), right]))
        self.scaler.unscale_(self.optimizer)
        limit = self.recipe.clip_norm if self.recipe.clip_norm is not None else float("inf")
        norm = parallel.put_together(torch.nn.utils.clip_grad_norm_(self.model.parameters(), limit))
        loss, right = torch.stack(facts).sum(dim=0)
        loss, norm, right = torch.stack([loss, norm, right]).tolist()  # one wait for the device, not three
        loss, right = self.ranks.totals([loss, right])
        return [loss, norm, right]

    def _losses(self, clips: Tensor, labels: Tensor, mix: Mix, together: int) -> Iterator[tuple[Tensor, Tensor]]:
        """The share of the loss of all ranks' clips that each piece of a batch has, and how many of a piece are right.

        Ranks take as many pieces as each other: one that lacks clips goes through the motions, so that none waits.
        """
        count = min(self.accumulate, len(labels)) if self.ranks.count == 1 else self.accumulate
        whole = (clips, clips.flip(0) if mix.share < 1.0 else clips, labels, labels.flip(0))
        pieces = zip(*(torch.tensor_split(each, count) for each in whole), strict=True)
        for number, (piece, opposite, own, other) in enumerate(pieces, start=1):
            share = len(own) / together
            if not len(own):
                piece = opposite = clips.new_zeros(1, 3, *self.model.config.clip)
                own = other = labels.new_zeros(1, *labels.shape[1:])
            seen = self._normalised(piece)
            if mix.share < 1.0:
                seen = mixing.mixed(seen, self._normalised(opposite), mix)
            with parallel.averaging(self.forward, last=number == count):
                with self.hardware.autocast():
                    logits = self.forward(seen)  # (b, K)
                logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
                loss = mixing.loss(logits, own, other, mix, self.recipe.label_smoothing)
                yield loss * share, mixing.right(logits, own) * bool(share)

    def _scaled_less(self) -> bool:
        """Halve the scale of the loss and forget its gradient, if there is a scale that is more than 1."""
        before = self.scaler.get_scale()
        if before <= 1:
            return False
        self.scaler.update()  # halves it, where it has seen a gradient that is not finite
        self.optimizer.zero_grad()
        return self.scaler.get_scale() < before

    def first_not_finite(self, batch: Batch, mix: Mix = UNMIXED, together: int | None = None) -> str | None:
        """Compute a batch that was skipped again, learning nothing, and say in words what was not finite first.

        To be asked of all ranks, as a step is, and the same is said to all.
        """
        together = len(batch.labels) if together is None else together
        statistics = self._statistics()
        # By modules of their own, which a compiled model has no more; a copy's for this rank alone, if it has clips.
        plain = replace(self, forward=self.model, ranks=self.ranks if self.sharded else ALONE)
        computed = plain._losses(*self._on_device(batch), mix, together) if self.sharded or len(batch.labels) else ()
        found = faults.first_not_finite(self.model, (loss for loss, _ in computed), self.ranks)
        _put_back(statistics)
        self.optimizer.zero_grad()
        return found

    def weights_norm(self) -> float:
        """The length of all weights together."""
        return float(parallel.put_together(torch.nn.utils.get_total_norm(self.model.parameters())))

    def tensors(self) -> dict[str, Tensor]:
        """Everything that a later process needs to go on exactly here, by name; to be asked of all ranks.

        It is the same however many ranks there are and whatever each holds; rank 0 alone has it where they hold shards.
        """
        parts: dict[str, Mapping[str, Tensor]] = {
            "model": self.model.state_dict(),
            "optimizer": optim.state_tensors(self.model, self.optimizer),
            "average": self.average.state_dict() if self.average is not None else {},
            "scaler": {name: torch.tensor(self.scaler.state_dict()[name]) for name in self._scale_names},
            "best": self.best,
        }
        named = {f"{part}/{name}": tensor for part, tensors in parts.items() for name, tensor in tensors.items()}
        return parallel.whole(named, kept=self.ranks.leads) if self.sharded else named

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Take up what ``tensors`` gave."""
        parts: dict[str, dict[str, Tensor]] = {"model": {}, "optimizer": {}, "average": {}, "scaler": {}, "best": {}}
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
        self.best = parts["best"]
        scale = {name: parts["scaler"][name].item() for name in self._scale_names}
        self.scaler.load_state_dict(self.scaler.state_dict() | scale)

    @property
    def _scale_names(self) -> tuple[str, ...]:
        return ("scale", "_growth_tracker") if self.scaler.is_enabled() else ()

    def _statistics(self) -> list[tuple[Tensor, Tensor]]:
        """What batch norms know of the clips so far, with copies: any forward pass moves it, whatever comes of it."""
        norms = [module for module in self.model.modules() if isinstance(module, NORMS_OF_BATCHES)]
        return [(buffer, buffer.clone()) for norm in norms for buffer in norm.buffers()]

    def _on_device(self, batch: Batch) -> tuple[Tensor, Tensor]:
        device = self.hardware.device
        return batch.clips_on(device), batch.labels.to(device, non_blocking=True)

    def _normalised(self, clips: Tensor) -> Tensor:
        return normalise(clips, self.preprocessing.mean, self.preprocessing.std, torch.float32)


def _put_back(statistics: list[tuple[Tensor, Tensor]]) -> None:
    for buffer, before in statistics:
        buffer.copy_(before)


def learner(
    model: Model,
    recipe: OptimRecipe,
    hardware: Hardware,
    preprocessing: Preprocessing,
    *,
    accumulate: int = 1,
    compiled: bool = False,
    ranks: Ranks = ALONE,
    sharded: bool = False,
) -> Learner:
    """A model on its device with a fresh optimiser; on several ranks in copies, or ``sharded`` among them.

    Raises ``ValueError`` for a compiled model in shards.
    """
    model = model.to(hardware.device)
    average = optim.weight_average(model, recipe.ema_decay) if recipe.ema_decay is not None else None
    sharded = sharded and ranks.count > 1
    if compiled and sharded:
        raise ValueError("train.compile has not been tried on a model in shards: leave it off, or train.parallel=ddp")
    if sharded:
        for one in (model, average.module) if average is not None else (model,):
            parallel.shard(cast(MViT, one), hardware.device, ranks.count)
    copied = ranks.count > 1 and not sharded
    computed = cast(nn.Module, torch.compile(model)) if compiled else model
    forward = parallel.replicated(cast(MViT, model), computed) if copied else computed
    return Learner(
        *(model, optim.optimizer(model, recipe), average, hardware.scaler(), recipe, hardware, preprocessing, forward),
        *(accumulate, ranks, sharded),
    )


def predictor(model: Model, hardware: Hardware, *, exact: bool) -> Callable[[np.ndarray], np.ndarray]:
    """A model as evaluation takes it; ``exact`` computes in float32 throughout, as ``mvit evaluate`` does."""
    model.eval()

    @torch.no_grad()
    def predict(clips: np.ndarray) -> np.ndarray:
        with torch.backends.cudnn.flags(enabled=True, allow_tf32=not exact):
            with hardware.autocast(enabled=not exact):
                logits = model(torch.from_numpy(clips).to(hardware.device))
            return logits.float().cpu().numpy()

    return predict
