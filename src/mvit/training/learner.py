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
from mvit.training import mixing, optim
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
    recipe: OptimRecipe
    hardware: Hardware
    preprocessing: Preprocessing

    @property
    def taught(self) -> MViT:
        """The model to evaluate and save: with averaged weights where there is an average."""
        return cast(MViT, self.average.module) if self.average is not None else self.model

    def step(self, batch: Batch, rate: float, mix: Mix = UNMIXED) -> Outcome:
        """Learn from one batch at a learning rate, or skip it where the loss or the gradient is not finite."""
        self.model.train()
        clips, labels = self._prepared(batch)  # (B, 3, T, S, S) float32, (B,) or (B, K)
        with self.hardware.autocast():
            logits = self.model(mixing.mixed(clips, mix))  # (B, K)
        loss = mixing.loss(logits.float(), labels, mix, self.recipe.label_smoothing)
        loss.backward()
        limit = self.recipe.clip_norm if self.recipe.clip_norm is not None else float("inf")
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), limit)
        right = mixing.right(logits, labels)
        facts = torch.stack([loss.detach(), norm, right]).tolist()  # one wait for the device, not three
        moved = bool(np.isfinite(facts[:2]).all())
        if moved:
            optim.set_rate(self.optimizer, rate)
            self.optimizer.step()
            if self.average is not None:
                self.average.update_parameters(self.model)
        self.optimizer.zero_grad()
        return Outcome(loss=facts[0], gradient_norm=facts[1], right=int(facts[2]), clips=len(labels), moved=moved)

    def tensors(self) -> dict[str, Tensor]:
        """Everything that a later process needs to go on exactly here, by name."""
        parts: dict[str, Mapping[str, Tensor]] = {
            "model": self.model.state_dict(),
            "optimizer": optim.state_tensors(self.model, self.optimizer),
            "average": self.average.state_dict() if self.average is not None else {},
        }
        return {f"{part}/{name}": tensor for part, tensors in parts.items() for name, tensor in tensors.items()}

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Take up what ``tensors`` gave."""
        parts: dict[str, dict[str, Tensor]] = {"model": {}, "optimizer": {}, "average": {}}
        for name, tensor in tensors.items():
            part, _, rest = name.partition("/")
            parts[part][rest] = tensor
        self.model.load_state_dict(parts["model"])
        optim.load_state_tensors(self.model, self.optimizer, parts["optimizer"])
        if self.average is not None:
            self.average.load_state_dict(parts["average"])

    def _prepared(self, batch: Batch) -> tuple[Tensor, Tensor]:
        device = self.hardware.device
        clips = batch.clips_on(device)
        labels = batch.labels.to(device, non_blocking=True)
        return normalise(clips, self.preprocessing.mean, self.preprocessing.std, torch.float32), labels


def learner(model: MViT, recipe: OptimRecipe, hardware: Hardware, preprocessing: Preprocessing) -> Learner:
    """A model on its device with a fresh optimiser."""
    model = model.to(hardware.device)
    average = optim.weight_average(model, recipe.ema_decay) if recipe.ema_decay is not None else None
    return Learner(model, optim.optimizer(model, recipe), average, recipe, hardware, preprocessing)


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
