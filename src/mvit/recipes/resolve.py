"""Settings by the size of the data, for those who name no recipe: from scratch, or from trained weights.

Arithmetic alone. What it rests on: experiments/2026-11-24-gestures (from scratch, 2,070 videos) and
2026-11-28-fine-tuning (from a run, 80), the fine-tuning of MViTv2 (arXiv 2112.01526), and the paper's augmentation for
large data.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

Kind = Literal["scratch", "finetune"]

SMALL_BATCH, BATCH = 8, 16
"""Small steps learned more of 2,070 gestures than large ones; 16 clips of mvitv2_s_16x4 take 13 GB under bf16."""
STEPS_AN_EPOCH = 64
"""At least so many, or the batch is the small one."""
LIGHT, FULL = 5_000, 50_000
"""Below the one number of videos augmentation is light; from the other on it is the paper's."""
AVERAGED = 25
"""The average of the weights reaches back over a 25th of the run."""
FEW_VIDEOS = 1_000
"""Too few to learn to see from: 660 gave 17 % (experiments/2026-11-24-actions), 2,070 gave 83 %."""
RANDAUGMENT = "rand-m7-n4-mstd0.5-inc1"


@dataclass(frozen=True, kw_only=True)
class Way:
    """How a model learns in one of the two ways."""

    clips: int
    """Learned from in a run, in about so many epochs that all videos together come to it, within ``epochs``."""
    epochs: tuple[int, int]
    highest_lr: float
    """No batch, however large, makes it more."""


WAYS: dict[Kind, Way] = {
    "scratch": Way(clips=100_000, epochs=(30, 300), highest_lr=1.6e-3),
    "finetune": Way(clips=30_000, epochs=(10, 100), highest_lr=1e-3),
}
LR, REFERENCE_BATCH, WIDTH = 1e-3, 16, 256
"""The learning rate of a batch in a model of so many channels; less in wider models, in proportion, as Adam's best rate
is (arXiv 2203.03466). In fine-tuning too, and in all blocks: half of it, and less in early blocks, learned less
(experiments/2026-11-28-fine-tuning)."""


@dataclass(frozen=True)
class Resolved:
    """A value, and what it follows from."""

    value: Any
    reason: str


def settings(
    kind: Kind, videos: int, width: int, given: Mapping[str, Any], *, ranks: int = 1, medium: str = "videos"
) -> dict[str, Resolved]:
    """What is not given, by ``section.key``: batch, epochs, learning rate, average, augmentation, and what comes when.

    ``videos`` are those to learn from, called ``medium``; ``width`` the channels of the model's last stage; ``ranks``
    the processes that share a batch. The rest follows from what is ``given``.
    """
    way, counted = WAYS[kind], f"{videos:,} {medium}"
    copies = given.get("augment.copies", 1)
    size, shared = shared_batch(videos, copies, ranks), counted
    if size != batch(videos):
        shared += f", for {ranks} processes" * (ranks > 1) + f", in {copies} copies" * (copies > 1)
    found = {"train.batch": Resolved(size, shared), "train.epochs": Resolved(epochs(way, videos), counted)}
    clips = given.get("train.batch", size)
    rounds = given.get("train.epochs", found["train.epochs"].value)
    steps = rounds * -(-videos * copies // clips)
    run = "train.epochs"
    found |= {
        "train.evaluate_every": Resolved(max(1, rounds // 10), run),
        "train.checkpoint_every": Resolved(max(1, rounds // 20), run),
        "optim.ema_decay": Resolved(ema_decay(steps), f"{steps:,} steps"),
    }
    if "optim.reference_batch" not in given:  # also where a rate is: as the one that is resolved, it is for so many
        found["optim.lr"] = Resolved(learning_rate(way, width, clips), f"{width} channels, for reference_batch clips")
        found["optim.reference_batch"] = Resolved(REFERENCE_BATCH, kind)
    found |= {
        key: Resolved(value, counted)
        for key, value in augmentation(videos, given.get("data.sampling", "segments")).items()
    }
    return {key: value for key, value in found.items() if key not in given}


def batch(videos: int) -> int:
    """Clips in a step."""
    return BATCH if videos >= BATCH * STEPS_AN_EPOCH else SMALL_BATCH


def shared_batch(videos: int, copies: int, ranks: int) -> int:
    """The batch that so many processes divide equally, all copies of a video on one of them: not below ``batch``.

    Several processes leave out a batch that is incomplete, so it is no larger than all videos, where they suffice.
    """
    unit = copies * ranks
    size = -(-batch(videos) // unit) * unit
    return min(size, max(videos // ranks, 1) * unit) if ranks > 1 else size


def epochs(way: Way, videos: int) -> int:
    """Times that all videos are seen: many where they are few."""
    least, most = way.epochs
    return min(max(round(way.clips / videos), least), most)


def learning_rate(way: Way, width: int, batch: int) -> float:
    """The rate for ``reference_batch``, of which the run takes its batch's share."""
    highest_here = way.highest_lr * REFERENCE_BATCH / batch
    return float(f"{min(LR * WIDTH / width, highest_here):.3g}")


def ema_decay(steps: int) -> float | None:
    """The decay of the average of the weights; None where the run is too short for one."""
    return min(round(1 - AVERAGED / steps, 4), 0.9999) if steps >= 10 * AVERAGED else None


def augmentation(videos: int, sampling: str) -> dict[str, Any]:
    """How clips are varied: the fewer videos, the less, as few are soon told apart by what was done to them."""
    if videos < LIGHT:
        light: dict[str, Any] = {"augment.scale": (0.5, 1.0), "augment.brightness": 0.2, "augment.contrast": 0.2}
        return light | ({"augment.duration": (0.8, 1.0)} if sampling == "segments" else {})
    varied = {"augment.randaugment": RANDAUGMENT, "augment.erasing": 0.25}
    if videos < FULL:
        return {"augment.scale": (0.3, 1.0)} | varied
    return {"augment.scale": (0.08, 1.0)} | varied | {"optim.mixup": 0.8, "optim.cutmix": 1.0}


def remarks(videos: int, weights: str, medium: str = "videos") -> list[str]:
    """What is likely to disappoint, in sentences."""
    if weights or videos >= FEW_VIDEOS:
        return []
    return [
        f"{videos:,} {medium} are few for a model that starts from scratch, which may learn little more than to guess: "
        f"start from trained weights with --weights NAME (mvit info MODEL lists them) or --weights RUN, or add {medium}"
    ]


def repeated(medium: str, frames: int) -> list[str]:
    """What a recipe for clips makes of images, in sentences."""
    if medium == "videos" or frames == 1:
        return []
    return [f"every image is shown as a clip of {frames} frames that are all alike: data.frames=1 spends much less"]
