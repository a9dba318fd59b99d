"""A run folder and nothing else, ready to score videos exactly as evaluation does."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mvit.data.samples import JSON_LINES, MEDIA_EXTENSIONS
from mvit.deploy.described import Described, described
from mvit.evaluation.scoring import AfterStem
from mvit.model.mvit import MViT
from mvit.weights.build import Model, build
from mvit.weights.fit import fit
from mvit.weights.read import MODEL_FILE, CheckpointError, baseline_of, read, stored
from mvit.weights.read import describe as read_description


@dataclass(frozen=True, kw_only=True)
class Predictor(Described):
    """A trained model with everything that a prediction needs; made by ``load``."""

    model: Model

    @torch.inference_mode()
    def logits(self, clips: np.ndarray) -> np.ndarray:
        """Logits (N, classes) of normalised float32 clips (N, 3, T, H, W), computed in float32."""
        device = next(self.model.parameters()).device
        # TF32 convolutions, the default on GPUs, are good to three digits; the scores of a run are compared to five.
        with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            return self._fast(torch.from_numpy(clips).to(device)).cpu().numpy()

    def vectors(self, clips: np.ndarray) -> np.ndarray:
        """What the head reads of such clips, after the last norm: (N, channels) float32.

        Raises ``ValueError`` for another library's model.
        """
        found: list[torch.Tensor] = []
        hook = self._of_ours().dropout.register_forward_pre_hook(lambda _, read: found.append(read[0]))
        try:
            self.logits(clips)
        finally:
            hook.remove()
        return found[0].float().cpu().numpy()

    @torch.inference_mode()
    def pyramids(self, clips: np.ndarray) -> list[np.ndarray]:
        """What every stage gives of such clips (``MViT.features``): of each stage (N, C, T', H', W') float32.

        Raises ``ValueError`` for another library's model.
        """
        device = next(self.model.parameters()).device
        levels = self._of_ours().features(torch.from_numpy(clips).to(device))
        return [level.float().cpu().numpy() for level in levels]

    def _of_ours(self) -> MViT:
        if not isinstance(self._fast, MViT):
            raise ValueError("this is another library's model, whose features are not known here: name a run of ours")
        return self._fast

    @property
    def after_stem(self) -> AfterStem | None:
        """The same with what the stem makes of each clip put into an order in time, before it has positions.

        None of another library's model.
        """
        if not isinstance(self.model, MViT):
            return None
        return AfterStem(places=self.model.config.grid[0], predict=self._logits_after_stem)

    def _logits_after_stem(self, clips: np.ndarray, orders: np.ndarray) -> np.ndarray:
        rows, places = torch.arange(len(orders))[:, None], torch.from_numpy(orders)

        def reorder(stem: Any, inputs: Any, grid: torch.Tensor) -> torch.Tensor:  # (N, C, T, H, W) -> the same
            return grid.transpose(1, 2)[rows.to(grid.device), places.to(grid.device)].transpose(1, 2)

        hook = self._of_ours().stem.register_forward_hook(reorder)
        try:
            return self.logits(clips)
        finally:
            hook.remove()

    @cached_property
    def _fast(self) -> Model:
        return self.model.optimize_for_inference() if isinstance(self.model, MViT) else self.model


def load(run_or_file: str | Path, *, device: str | torch.device | None = None) -> Predictor:
    """The predictor of a run folder or its ``model.safetensors``, on the GPU where there is one.

    Raises ``CheckpointError`` (a ``ValueError``) for a file that is truncated, foreign or without its classes, and
    ``FileNotFoundError``.
    """
    path = Path(run_or_file)
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist: expected a run folder or its {MODEL_FILE}")
    if path.suffix.lower() in (*MEDIA_EXTENSIONS, ".csv", *JSON_LINES) and path.is_file():
        raise ValueError(f"{path} is data and no model: the run or exported file comes first, then the data")
    model = _model(path)
    description = read_description(path)
    said = described(description, f"the description beside {path}", "train it again")
    names, outputs = len(said["classes"]), model.config.num_classes
    if names != outputs:
        raise CheckpointError(f"{path} names {names} classes for {outputs} outputs: train it again")
    chosen = device or ("cuda" if torch.cuda.is_available() else "cpu")
    model = model.to(chosen).eval()
    return Predictor(model=model, **said)


def _model(path: Path) -> Model:
    """The model with its weights: ours, or another library's that was trained here."""
    if baseline_of(path) is not None:
        config, state = stored(path)
        other = build(config)
        other.load_state_dict(state)
        return other
    config, state, report = read(path)
    if report.dialect != "mvit":
        raise CheckpointError(
            f"{path} names no classes and no preprocessing, as a prediction needs: fine-tune it first with "
            f"mvit train DATA model.weights={str(path)!r}"
        )
    model = MViT(config)
    fit(model, state, report)
    if report.reinitialised or report.resized:
        raise CheckpointError(f"{path} is not the model that its description says: {report}")
    return model
