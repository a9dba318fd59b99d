"""What learns: a model, its optimiser and, where asked, the average of its weights; and one step of it.

B batch, T frames, S side of the crop, K classes.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import cast

import numpy as np
import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel

from mvit.data.clips import Batch, normalise
from mvit.data.views import Preprocessing
from mvit.model.mvit import MViT
from mvit.training import faults, mixing, optim
from mvit.training.hardware import Hardware
from mvit.training.mixing import UNMIXED, Mix
from mvit.training.sections import OptimRecipe


@dataclass(frozen=True)
class Outcome:
    """What a step came to; ``moved`` is false where it was skipped because something was not finite."""

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
    scaler: torch.amp.GradScaler
    recipe: OptimRecipe
    hardware: Hardware
    preprocessing: Preprocessing
    forward: Callable[[Tensor], Tensor]
    """What gives logits in a step: the model, or what was compiled of it."""
    accumulate: int = 1
    """Pieces in which a batch is computed."""

    @property
    def taught(self) -> MViT:
        """The model to evaluate and save: with averaged weights where there is an average."""
        return cast(MViT, self.average.module) if self.average is not None else self.model

    def step(self, batch: Batch, rate: float, mix: Mix = UNMIXED) -> Outcome:
        """Learn from one batch at a learning rate, or skip it where the loss or the gradient is not finite.

        In fp16 a gradient that is not finite may be one that was scaled too far: the batch is computed again with half
        the scale, until its gradient is finite or was not scaled at all.
        """
        self.model.train()
        clips, labels = self._on_device(batch)  # (B, 3, T, S, S) uint8, (B,) or (B, K)
        scale = self.scaler.get_scale()
        facts = self._gradient(clips, labels, mix)
        while not np.isfinite(facts[1]) and np.isfinite(facts[0]) and self._scaled_less():
            facts = self._gradient(clips, labels, mix)
        moved = bool(np.isfinite(facts[:2]).all())
        if moved:
            optim.set_rate(self.optimizer, rate)
            self.scaler.step(self.optimizer)
            self.scaler.update()
            if self.average is not None:
                self.average.update_parameters(self.model)
        elif self.scaler.is_enabled():
            self.scaler.update(scale)  # it was not the scale's fault
        self.optimizer.zero_grad()
        return Outcome(loss=facts[0], gradient_norm=facts[1], right=int(facts[2]), clips=len(labels), moved=moved)

    def _gradient(self, clips: Tensor, labels: Tensor, mix: Mix) -> list[float]:
        """Compute and clip the gradient of a batch; gives its loss, the gradient's norm, and how many were right."""
        facts = []
        for loss, right in self._losses(clips, labels, mix):
            self.scaler.scale(loss).backward()
            facts.append(torch.stack([loss.detach(), right]))
        self.scaler.unscale_(self.optimizer)
        limit = self.recipe.clip_norm if self.recipe.clip_norm is not None else float("inf")
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), limit)
        loss, right = torch.stack(facts).sum(dim=0)
        return torch.stack([loss, norm, right]).tolist()  # one wait for the device, not three

    def _losses(self, clips: Tensor, labels: Tensor, mix: Mix) -> Iterator[tuple[Tensor, Tensor]]:
        """The share of the batch's loss that each of its pieces has, and how many of a piece are right."""
        whole = (clips, clips.flip(0) if mix.share < 1.0 else clips, labels, labels.flip(0))
        pieces = [torch.tensor_split(each, min(self.accumulate, len(labels))) for each in whole]
        for piece, opposite, own, other in zip(*pieces, strict=True):
            seen = self._normalised(piece)
            if mix.share < 1.0:
                seen = mixing.mixed(seen, self._normalised(opposite), mix)
            with self.hardware.autocast():
                logits = self.forward(seen)  # (b, K)
            logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
            loss = mixing.loss(logits, own, other, mix, self.recipe.label_smoothing)
            yield loss * (len(own) / len(labels)), mixing.right(logits, own)

    def _scaled_less(self) -> bool:
        """Halve the scale of the loss and forget its gradient, if there is a scale that is more than 1."""
        before = self.scaler.get_scale()
        if before <= 1:
            return False
        self.scaler.update()  # halves it, where it has seen a gradient that is not finite
        self.optimizer.zero_grad()
        return self.scaler.get_scale() < before

    def first_not_finite(self, batch: Batch, mix: Mix = UNMIXED) -> str | None:
        """Compute a batch that was skipped again, learning nothing, and say in words what was not finite first."""
        plain = replace(self, forward=self.model)  # modules of their own, which a compiled model has no more
        losses = (loss for loss, _ in plain._losses(*self._on_device(batch), mix))
        found = faults.first_not_finite(self.model, losses)
        self.optimizer.zero_grad()
        return found

    def weights_norm(self) -> float:
        """The length of all weights together."""
        return float(torch.nn.utils.get_total_norm(self.model.parameters()))

    def tensors(self) -> dict[str, Tensor]:
        """Everything that a later process needs to go on exactly here, by name."""
        parts: dict[str, Mapping[str, Tensor]] = {
            "model": self.model.state_dict(),
            "optimizer": optim.state_tensors(self.model, self.optimizer),
            "average": self.average.state_dict() if self.average is not None else {},
            "scaler": {name: torch.tensor(self.scaler.state_dict()[name]) for name in self._scale_names},
        }
        return {f"{part}/{name}": tensor for part, tensors in parts.items() for name, tensor in tensors.items()}

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Take up what ``tensors`` gave."""
        parts: dict[str, dict[str, Tensor]] = {"model": {}, "optimizer": {}, "average": {}, "scaler": {}}
        for name, tensor in tensors.items():
            part, _, rest = name.partition("/")
            parts[part][rest] = tensor
        self.model.load_state_dict(parts["model"])
        optim.load_state_tensors(self.model, self.optimizer, parts["optimizer"])
        if self.average is not None:
            self.average.load_state_dict(parts["average"])
        scale = {name: parts["scaler"][name].item() for name in self._scale_names}
        self.scaler.load_state_dict(self.scaler.state_dict() | scale)

    @property
    def _scale_names(self) -> tuple[str, ...]:
        return ("scale", "_growth_tracker") if self.scaler.is_enabled() else ()

    def _on_device(self, batch: Batch) -> tuple[Tensor, Tensor]:
        device = self.hardware.device
        return batch.clips_on(device), batch.labels.to(device, non_blocking=True)

    def _normalised(self, clips: Tensor) -> Tensor:
        return normalise(clips, self.preprocessing.mean, self.preprocessing.std, torch.float32)


def learner(
    model: MViT,
    recipe: OptimRecipe,
    hardware: Hardware,
    preprocessing: Preprocessing,
    *,
    accumulate: int = 1,
    compiled: bool = False,
) -> Learner:
    """A model on its device with a fresh optimiser."""
    model = model.to(hardware.device)
    average = optim.weight_average(model, recipe.ema_decay) if recipe.ema_decay is not None else None
    forward = torch.compile(model) if compiled else model
    return Learner(
        *(model, optim.optimizer(model, recipe), average, hardware.scaler(), recipe, hardware, preprocessing, forward),
        accumulate=accumulate,
    )


def predictor(model: MViT, hardware: Hardware, *, exact: bool) -> Callable[[np.ndarray], np.ndarray]:
    """A model as evaluation takes it; ``exact`` computes in float32 throughout, as ``mvit evaluate`` does."""
    model.eval()

    @torch.no_grad()
    def predict(clips: np.ndarray) -> np.ndarray:
        with torch.backends.cudnn.flags(enabled=True, allow_tf32=not exact):
            with hardware.autocast(enabled=not exact):
                logits = model(torch.from_numpy(clips).to(hardware.device))
            return logits.float().cpu().numpy()

    return predict
