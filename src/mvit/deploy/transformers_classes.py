"""A trained model as transformers knows models: configuration, video processor, model, and what its pipeline says.

B videos, V views of each, T frames, H height, W width.
"""

import math
import os
from typing import Any

import torch
from torch import Tensor
from transformers import (
    BaseVideoProcessor,
    BatchFeature,
    PreTrainedConfig,
    PreTrainedModel,
    VideoClassificationPipeline,
)
from transformers.modeling_outputs import ImageClassifierOutput

from mvit.data.views import Preprocessing, read_views
from mvit.deploy.described import described
from mvit.model.config import MViTConfig
from mvit.model.mvit import MViT

MODEL_TYPE = "mvit"


class MViTPretrainedConfig(PreTrainedConfig):
    """What ``model.json`` says, under ``description``, beside what transformers wants to know of any model."""

    model_type = MODEL_TYPE

    def __init__(self, description: dict[str, Any] | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.description = description or {}


class MViTVideoProcessor(BaseVideoProcessor):
    """From files of videos to the views that the model was evaluated on, by the one preprocessing."""

    model_input_names = ("pixel_values",)

    def __init__(self, preprocessing: dict[str, Any], views: list[int], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.preprocessing, self.views = preprocessing, views

    def __call__(
        self,
        videos: str | os.PathLike[str] | list[str | os.PathLike[str]],
        return_tensors: str = "pt",
        num_frames: int | None = None,
        do_sample_frames: bool = True,
    ) -> BatchFeature:
        """``pixel_values`` (B, V, T, 3, H, W) of one file or several.

        Raises ``ValueError`` for what is no path, for another number of frames than the model's, and for a file that
        cannot be decoded; ``FileNotFoundError``.
        """
        paths = videos if isinstance(videos, list) else [videos]
        if other := [type(path).__name__ for path in paths if not isinstance(path, str | os.PathLike)]:
            raise ValueError(f"videos are paths of files, so that frames are chosen as in evaluation, not {other[0]}")
        preprocessing, (clips, crops) = Preprocessing.from_dict(self.preprocessing), self.views
        if num_frames not in (None, preprocessing.sampling.frames) or not do_sample_frames:
            raise ValueError(
                f"the model was evaluated on {preprocessing.sampling.frames} frames that it chooses itself: leave "
                "num_frames and do_sample_frames out"
            )
        views = [read_views(path, preprocessing, clips=clips, crops=crops) for path in paths]
        pixels = torch.stack([torch.from_numpy(view).transpose(1, 2) for view in views])
        return BatchFeature({"pixel_values": pixels}, tensor_type=return_tensors)


class MViTForVideoClassification(PreTrainedModel):
    """The model over all views of a video."""

    config_class = MViTPretrainedConfig
    base_model_prefix = "mvit"
    main_input_name = "pixel_values"

    def __init__(self, config: MViTPretrainedConfig) -> None:
        super().__init__(config)
        self.mvit = MViT(MViTConfig.from_dict(config.description["config"]))
        self.scoring = described(config.description, "the description in config.json", "export it again")["scoring"]
        self.post_init()

    def forward(self, pixel_values: Tensor) -> ImageClassifierOutput:  # (B, V, T, 3, H, W) or (B, T, 3, H, W)
        """Logits (B, classes) whose exponentials, or, of several classes at once, sigmoids, are the scores.

        Those of several views are what evaluation makes of them.
        """
        views = pixel_values if pixel_values.ndim == 6 else pixel_values[:, None]
        logits = self.mvit(views.flatten(0, 1).transpose(1, 2)).unflatten(0, views.shape[:2])  # (B, V, classes)
        mean = self.scoring.aggregate == "mean"
        if not self.scoring.multi_label:
            of_views = logits.log_softmax(dim=-1)
            logits = of_views.logsumexp(dim=1) - math.log(views.shape[1]) if mean else of_views.amax(dim=1)
        elif mean and views.shape[1] > 1:
            logits = logits.double().sigmoid().mean(dim=1).logit().to(logits.dtype)
        else:
            logits = logits.amax(dim=1)
        return ImageClassifierOutput(logits=logits)


class MViTVideoClassificationPipeline(VideoClassificationPipeline):
    """``pipeline("video-classification")``, with the scores that evaluation gives."""

    def check_model_type(self, supported_models: Any) -> None:
        """The pipeline of one model has no list to look it up in."""

    def postprocess(
        self, model_outputs: Any, top_k: int = 5, function_to_apply: str | None = None
    ) -> list[dict[str, Any]]:
        """The ``top_k`` classes with their scores, which are taken as they are: of the highest of views, no softmax."""
        if function_to_apply is None and not self.model.scoring.multi_label:
            model_outputs = ImageClassifierOutput(logits=model_outputs.logits.exp())
            function_to_apply = "none"
        return super().postprocess(model_outputs, top_k, function_to_apply)
