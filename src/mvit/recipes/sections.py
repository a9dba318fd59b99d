"""The sections of a recipe: what can be set, to what, and what it is if nobody sets it."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from mvit.analysis import budget
from mvit.data.augmentation import Augmentation
from mvit.data.sampling import ClipSampling
from mvit.data.views import Preprocessing
from mvit.recipes import toml

DEFAULT_MODEL = "mvit_tiny_16x64"


@dataclass(frozen=True, kw_only=True)
class ModelRecipe:
    """Which model; besides these keys the section takes any field of ``MViTConfig``, such as ``drop_path = 0.2``."""

    name: str = DEFAULT_MODEL
    """A preset; ``mvit.list_models()`` names them. Or a baseline to train beside them: video_swin, timesformer, vivit,
    slowfast, and for images deit, resnet, swin, pvt_v2, whose fields are those of ``BaselineConfig``."""
    weights: str = ""
    """Trained weights to start from: a run folder, a checkpoint, or the name of published ones, such as "k400", which
    `mvit info NAME` lists, or those of another preset, such as "mvit_b_16_image/in1k". A baseline starts from a run of
    the same one alone. Empty: from scratch."""
    inflate: Literal["centre", "repeat", "mean"] | None = None
    """What an image model's kernels become over time in a model for clips: docs/models.md; false: they are refused."""
    freeze: int | Literal["all"] = 0
    """The stem, positions and so many blocks stay as they start; all: only the head learns. 0: everything learns."""
    fields: Mapping[str, Any] = field(default_factory=dict)
    """Fields of ``MViTConfig`` that replace the preset's."""

    def __post_init__(self) -> None:
        if self.freeze != "all":
            _within("model", self, "freeze", least=0)
        if not self.weights and self.freeze:
            raise ValueError(
                f"model.freeze is {self.freeze!r}, but model.weights is empty: what is frozen would stay as chance "
                "made it, so name weights to start from, or freeze nothing"
            )
        if not self.weights and self.inflate:
            raise ValueError(f"model.inflate is {self.inflate!r}, but model.weights is empty: name an image model's")


@dataclass(frozen=True, kw_only=True)
class DataRecipe:
    """What the model sees of a video."""

    frames: int = 16
    """Frames in a clip. Left out: those of the model's preset."""
    sampling: Literal["dense", "segments"] = "segments"
    """segments: frames spread over the whole video (short, trimmed videos). dense: a part of it (long videos)."""
    spacing: float = 4.0
    """dense: frames from one frame of the clip to the next."""
    target_fps: float | None = None
    """dense: count the spacing in frames of this rate, whatever a video's own; false: in the video's own frames."""
    short_side: int = 73
    """Pixels of a frame's shorter side before the test crop. Left out: 8/7 of the crop."""
    crop: int = 64
    """Pixels of the square that the model sees. Left out: that of the model's preset."""
    mean: tuple[float, float, float] = (0.45, 0.45, 0.45)
    """Subtracted from red, green and blue (0 to 1)."""
    std: tuple[float, float, float] = (0.225, 0.225, 0.225)
    """What red, green and blue are divided by afterwards."""
    backend: Literal["pyav", "torchcodec"] = "pyav"
    """What decodes training clips; evaluation and prediction always take pyav."""
    val_fraction: float = 0.2
    """Share of the videos held out where the data has no val of its own."""
    views: tuple[int, int] = (5, 1)
    """Clips and crops of a video whose scores are put together in the final evaluation and in prediction."""
    aggregate: Literal["mean", "max"] = "mean"
    """How: the mean of a class's scores in the views, or the highest of them, as Charades is tested."""

    def __post_init__(self) -> None:
        _positive("data", self, "frames", "spacing", "short_side", "crop", "std", "views")
        _positive("data", self, *(["target_fps"] if self.target_fps is not None else []))
        _within("data", self, "val_fraction", over=0, below=1)
        if self.crop > self.short_side:
            raise ValueError(
                f"data.crop is {self.crop} and data.short_side {self.short_side}: the crop must fit into the frame"
            )

    def preprocessing(self) -> Preprocessing:
        """The test-time definition that training, evaluation and prediction share."""
        sampling = ClipSampling(
            frames=self.frames, spacing=self.spacing, target_fps=self.target_fps, mode=self.sampling
        )
        return Preprocessing(
            sampling=sampling, short_side=self.short_side, crop=self.crop, mean=self.mean, std=self.std
        )


@dataclass(frozen=True, kw_only=True)
class AugmentRecipe(Augmentation):
    """How a training clip is varied; its other keys are those of ``mvit.data.augmentation``."""

    scale: tuple[float, float] = (0.3, 1.0)
    """Least and largest share of the frame's area that the crop covers; the paper's, for large data, is 0.08 to 1."""


@dataclass(frozen=True, kw_only=True)
class OptimRecipe:
    """AdamW or SGD, with a linear warm-up and half a cosine."""

    name: Literal["adamw", "sgd"] = "adamw"
    """sgd has Nesterov momentum."""
    lr: float = 1e-3
    """Highest learning rate, for a batch of ``reference_batch``; it is scaled in proportion to the batch."""
    reference_batch: int = 32
    """The batch that ``lr`` is for."""
    min_lr_ratio: float = 0.01
    """Where the cosine ends, as a share of the highest learning rate."""
    warmup_lr: float | None = None
    """Where the warm-up starts, for a batch of ``reference_batch`` as ``lr``; false: where the cosine ends."""
    warmup_fraction: float = 0.1
    """Share of the run in which the learning rate rises."""
    warmup_epochs: float | None = None
    """The same in epochs, in place of ``warmup_fraction``; false: by that."""
    layer_decay: float = 1.0
    """Share of the learning rate that a block has of the next one's, the head having all; 1: all have the same."""
    weight_decay: float = 0.05
    """On matrices, kernels and position tables; never on biases and norms."""
    betas: tuple[float, float] = (0.9, 0.999)
    """adamw: the averaging of gradients and of their squares."""
    momentum: float = 0.9
    """sgd: the averaging of gradients."""
    clip_norm: float | None = 1.0
    """Gradients longer than this are shortened to it; false: never."""
    label_smoothing: float = 0.1
    """Share of the target that is spread over all classes."""
    mixup: float = 0.0
    """Mix pairs of clips, in shares drawn from Beta(mixup, mixup); 0: never. The paper's is 0.8."""
    cutmix: float = 0.0
    """Cut a box out of clips and put another clip's there, its share from Beta(cutmix, cutmix); 0: never. The paper's
    is 1."""
    cutmix_odds: float = 0.5
    """Share of the batches that are cut and not mixed, where both are on."""
    ema_decay: float | None = None
    """Average the weights over steps with this decay, and evaluate and save the average; false: the last weights."""

    def __post_init__(self) -> None:
        _positive("optim", self, "lr", "reference_batch")
        _positive("optim", self, *(["clip_norm"] if self.clip_norm is not None else []))
        _within("optim", self, "min_lr_ratio", "label_smoothing", least=0, below=1)
        _within("optim", self, "momentum", over=0, below=1)
        if self.warmup_lr is not None and not 0 <= self.warmup_lr <= self.lr:
            raise ValueError(
                f"optim.warmup_lr is {self.warmup_lr:g}: the warm-up rises, so give 0 to optim.lr, {self.lr:g}"
            )
        if not 0 < self.layer_decay <= 1:
            raise ValueError(f"optim.layer_decay is {self.layer_decay:g}: expected more than 0 and at most 1")
        _within("optim", self, *(["warmup_epochs"] if self.warmup_epochs is not None else []), least=0)
        _within("optim", self, "weight_decay", "mixup", "cutmix", least=0)
        if not 0 <= self.cutmix_odds <= 1:
            raise ValueError(f"optim.cutmix_odds is {self.cutmix_odds}: expected at least 0 and at most 1")
        _within("optim", self, "betas", least=0, below=1)
        _within("optim", self, *(["ema_decay"] if self.ema_decay is not None else []), over=0, below=1)
        if not 0 <= self.warmup_fraction < 1:
            raise ValueError(
                f"optim.warmup_fraction is {self.warmup_fraction}: the warm-up must end before the run does, "
                "so give a share of it that is at least 0 and below 1, such as 0.1"
            )


@dataclass(frozen=True, kw_only=True)
class TrainRecipe:
    """How long, how much at once, and on what."""

    epochs: int = 30
    """Times that every training video is seen."""
    batch: int | Literal["auto"] = 32
    """Clips in one step, of all processes together. auto: the largest that fits into memory, by powers of two."""
    seed: int = 0
    """Everything random follows from it: initial weights, order, augmentation, what is held out."""
    workers: int | Literal["auto"] = "auto"
    """Processes that decode. auto: by the processors this process may use."""
    device: Literal["auto", "cuda", "mps", "cpu"] = "auto"
    """auto: the first of cuda and mps that is there, else cpu."""
    precision: Literal["auto", "bf16", "fp16", "float32"] = "auto"
    """auto: bf16 where the processor multiplies it faster. Weights and final evaluation are float32 always."""
    memory: str | None = None
    """What a step may take, such as "16GB": norms, GELU and blocks are computed again to fit it; false: no limit."""
    max_bad: float = 0.01
    """Share of the training videos that may be unreadable; with more, found before or in training, the run stops."""
    holdout: float = 0.0
    """Share of train (whole groups where known) held out to choose the best epoch; 0: the last epoch stands."""
    evaluate_every: int = 1
    """Epochs between evaluations with a single view; the last epoch is always evaluated with all views."""
    checkpoint_every: int = 1
    """Epochs between checkpoints; the last epoch and an interruption write one too."""
    accumulate: int = 1
    """Pieces in which the batch of a step is computed, one after the other; the gradient is that of the whole batch."""
    compile: bool = False
    """Have torch.compile make the forward and backward pass, for minutes before the first step."""
    timeout_seconds: float | None = 1200.0
    """Without a batch for so long, or twice as long in a step, the run ends, and says at what; false: it waits."""
    parallel: Literal["ddp", "fsdp"] = "ddp"
    """Of several processes: ddp gives each a copy of the model, fsdp an equal part of weights, gradients, optimiser."""

    def __post_init__(self) -> None:
        _positive("train", self, "epochs", "evaluate_every", "checkpoint_every", "accumulate")
        _positive("train", self, *(["timeout_seconds"] if self.timeout_seconds is not None else []))
        if self.batch != "auto":
            _positive("train", self, "batch")
        _within("train", self, "seed", least=0)
        _within("train", self, "holdout", least=0, below=1)
        if not 0 <= self.max_bad <= 1:
            raise ValueError(f"train.max_bad is {self.max_bad}: expected a share from 0 to 1, such as 0.01")
        if self.workers != "auto":
            _within("train", self, "workers", least=0)
        if self.precision == "fp16" and self.parallel == "fsdp":
            raise ValueError(
                'train.precision is "fp16" and train.parallel "fsdp", where each process would scale the loss by its '
                "own share of the gradients: take bf16, or ddp"
            )
        if self.memory is not None:
            try:
                budget.in_bytes(self.memory)
            except ValueError as why:
                raise ValueError(f"train.memory: {why}") from why
            if self.compile:
                raise ValueError(
                    "train.compile is true and train.memory is set: a compiler chooses for itself what to compute "
                    "again, so leave one of them out"
                )

    @property
    def clips_per_step(self) -> int:
        """The batch as a number; raises ``ValueError`` where it is still to be settled."""
        if self.batch == "auto":
            raise ValueError(
                'train.batch is "auto", which training settles by the memory of its machine: give a number here, such '
                "as train.batch=32"
            )
        return self.batch


def _positive(section: str, recipe: Any, *names: str) -> None:
    _within(section, recipe, *names, over=0)


def _within(
    section: str,
    recipe: Any,
    *names: str,
    least: float = -math.inf,
    over: float = -math.inf,
    below: float = math.inf,
) -> None:
    for name in names:
        value = getattr(recipe, name)
        numbers = value if isinstance(value, tuple) else (value,)
        if not all(least <= number and over < number < below for number in numbers):
            low = f"at least {least:g}" if least > -math.inf else f"more than {over:g}"
            high = f" and below {below:g}" if below < math.inf else ""
            raise ValueError(f"{section}.{name} is {toml.written(value)}: expected {low}{high}")
