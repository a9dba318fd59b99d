"""Everything that can be drawn of a model and a video, in a folder."""

import itertools
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mvit import files
from mvit.data.numbered import is_picture
from mvit.data.video import Video
from mvit.data.views import Preprocessing, clip_indices, describe, views_in
from mvit.deploy.predictor import Predictor
from mvit.evaluation.scoring import score_views
from mvit.explanation import figures, learned, pictures, squares
from mvit.explanation.attention import Attention, attentions, check
from mvit.explanation.class_maps import class_map, entered
from mvit.explanation.distance import Distance, distances
from mvit.explanation.pictures import Layer
from mvit.explanation.pooling import grids, on_pixels
from mvit.explanation.rollout import rollout
from mvit.model.config import Triple
from mvit.model.mvit import MViT
from mvit.model.presets import nearest

FACTS_FILE = "explanation.json"
TIMES_EVEN = "times even attention"


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What is to be seen besides the attention of the whole model."""

    target: str | None = None
    """Class of the class map; None: the predicted one."""
    stage: int | None = None
    """Whose tokens the class map is on, from 1 on; None: the last."""
    block: int | None = None
    """Whose attention is drawn too, from 0 on; None: of no block alone."""
    head: int | None = None
    """Of that block, from 0 on; None: each."""


def folder_for(video: Path, run: Path) -> Path:
    """Where in a run folder the drawings of a video go: explained/NAME, or NAME-2, ... where another's lie there."""
    home = run / "explained"
    names = itertools.chain([video.stem], (f"{video.stem}-{n}" for n in itertools.count(2)))
    return next(home / name for name in names if _is_free(home / name, video))


def _is_free(folder: Path, video: Path) -> bool:
    """Whether no drawings of another video are in a folder."""
    try:
        known = json.loads((folder / FACTS_FILE).read_text(encoding="utf-8", errors="surrogateescape"))
        return Path(known["video"]).resolve() == video.resolve()
    except FileNotFoundError:
        return True
    except (ValueError, LookupError, TypeError):  # whatever it is, it is not ours to write over
        return False


def draw(predictor: Predictor, video: Path, folder: Path, wish: Wish) -> dict[str, Any]:
    """Draw what a model looks at in the clip in a video's middle, into a folder; returns what explanation.json holds.

    Raises ``ValueError`` for a class, stage, block or head that is not there, and for a folder where the model looks at
    single images, UnreadableVideo, and ``OSError``.
    """
    model, classes = predictor.model, predictor.classes
    if not isinstance(model, MViT):
        raise ValueError(f"{model.config.baseline} is another library's model: what is drawn is MViT's attention")
    index, heads = _checked(model, classes, wish)
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{folder} is a file: name a folder with --out")
    if predictor.preprocessing.sampling.frames == 1 and video.is_dir():
        raise ValueError(f"{video} is a folder, and this model looks at single images: name one image of it")
    with Video(video) as opened:
        indices = clip_indices(opened, predictor.preprocessing, clips=1)[0]
        views = views_in(opened, predictor.preprocessing, clips=1, crops=1)
        is_timed = not (video.is_dir() or is_picture(video.name))
        seconds = opened.times[indices].tolist() if is_timed else None
    clip = torch.from_numpy(views).to(next(model.parameters()).device)
    scores = score_views(predictor.logits, views, predictor.scoring)
    predicted = int(scores.argmax())
    label = predicted if wish.target is None else classes.index(wish.target)
    with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):  # as the predictor computes
        blocks, layers = [], []
        for each in attentions(model, clip):
            blocks.append(each.averaged_over_heads())
            if each.index == wish.block:
                layers = [_of_head(model, each, head, _size(clip)) for head in heads]
        layers.insert(0, _rolled_out(model, blocks, _size(clip)))
        counts = class_map(model, clip, label, index).clamp(min=0)
        of_class = _array(on_pixels(counts, model.config, _size(clip), index))
        stage = model.config.stages if wish.stage is None else wish.stage
        name = f"class map of stage {stage}: {classes[label]}"
        layers.insert(1, Layer(name=name, unit="added to its logit", values=of_class))
        reaches = {
            "untrained": distances(_untrained(model, clip.device), [clip]),
            "trained": distances(model, [clip]),
        }
    protocol = describe(predictor.preprocessing, 1, 1)
    frames = _frames(views[0], predictor.preprocessing)
    title = f"{video.name}: {classes[predicted]} {scores[predicted]:.1%} ({protocol})"
    with files.blaming(folder):
        folder.mkdir(parents=True, exist_ok=True)
    pictures.write_sheet(folder / "sheet.png", title, frames, layers, seconds)
    written = ["sheet.png"]
    if len(frames) > 1:
        pictures.write_overlay(folder / "overlay.mp4", frames, layers)
        written.append("overlay.mp4")
    for name, figure in _figures(model, reaches).items():
        files.write_text(folder / name, figure)
        written.append(name)
    facts = {
        "video": str(video.absolute()),
        "protocol": protocol,
        "seconds": seconds,
        "predicted": classes[predicted],
        "score": float(scores[predicted]),
        "class_map": {
            "class": classes[label],
            "stage": stage,
            "grid": grids(model.config, _size(clip))[index],
            "enters_block": index,
        },
        "distance": {state: [asdict(each) for each in found] for state, found in reaches.items()},
        "files": [*written, FACTS_FILE],
    }
    files.write_text(folder / FACTS_FILE, json.dumps(facts, indent=1, ensure_ascii=False))
    return facts


def _checked(model: MViT, classes: tuple[str, ...], wish: Wish) -> tuple[int, range | list[int]]:
    """The block that the tokens of the class map enter, and the heads to draw; ``ValueError`` for what is not there."""
    check(model)
    if wish.target is not None and wish.target not in classes:
        raise ValueError(f"the model has no class {wish.target!r}: {nearest(wish.target, classes)}")
    index = entered(model.config, model.config.stages if wish.stage is None else wish.stage)
    if wish.block is None:
        if wish.head is not None:
            raise ValueError(f"head {wish.head} of which block? name one with --block")
        return index, []
    blocks = list(model.config.blocks())
    if not 0 <= wish.block < len(blocks):
        raise ValueError(f"block {wish.block} does not exist: the model has blocks 0 to {len(blocks) - 1}")
    heads = blocks[wish.block].heads
    if wish.head is not None and not 0 <= wish.head < heads:
        raise ValueError(f"head {wish.head} does not exist: block {wish.block} has heads 0 to {heads - 1}")
    return index, range(heads) if wish.head is None else [wish.head]


def _size(clip: Tensor) -> Triple:
    frames, height, width = clip.shape[2:]
    return frames, height, width


def _rolled_out(model: MViT, blocks: list[Attention], size: Triple) -> Layer:
    first = blocks[0].class_tokens
    shares, even = (rollout(each)[:, first:] for each in (blocks, [block.indifferent() for block in blocks]))
    pixels = on_pixels(_times(shares, even), model.config, size, 0)
    return Layer(name="attention, rolled out over all blocks", unit=TIMES_EVEN, values=_array(pixels))


def _of_head(model: MViT, attention: Attention, head: int, size: Triple) -> Layer:
    first = attention.class_tokens
    shares, even = (each.read()[:, head, first:] for each in (attention, attention.indifferent()))
    times = _times(shares, even)
    reader = "of the class token" if first else "of the mean query"
    name = f"block {attention.index}, head {head}: attention {reader}"
    return Layer(name=name, unit=TIMES_EVEN, values=_array(on_pixels(times, model.config, size, attention.index)))


def _times(shares: Tensor, even: Tensor) -> Tensor:
    """What there is over what even attention would have; 0 where nothing is read in either."""
    return torch.where(even > 0, shares / even.clamp(min=torch.finfo(even.dtype).tiny), 0)


def _array(pixels: Tensor) -> np.ndarray:  # (1, T, H, W) -> (T, H, W)
    return pixels[0].float().cpu().numpy()


def _frames(view: np.ndarray, preprocessing: Preprocessing) -> np.ndarray:
    """What a view was made of: normalised (3, T, H, W) -> uint8 (T, H, W, 3)."""
    mean, std = (np.array(values, np.float32) for values in (preprocessing.mean, preprocessing.std))
    shares = np.moveaxis(view, 0, -1) * std + mean
    return (shares.clip(0, 1) * 255).round().astype(np.uint8)


def _untrained(model: MViT, device: torch.device) -> MViT:
    """The same architecture as it starts from scratch, always the same."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return MViT(model.config).to(device).eval()


def _figures(model: MViT, reaches: dict[str, list[Distance]]) -> dict[str, str]:
    """SVG by file name: of positions and of kernels where the model has any."""
    drawn = {"distance.svg": figures.reach({"every block": reaches}, "over all queries of one clip")}
    if positions := learned.positions(model):
        drawn["positions.svg"] = squares.alike(positions)
    pools = list(learned.kernels(model))
    if any(of_block for _, of_block in pools):
        drawn["kernels.svg"] = squares.kernels(pools)
    return drawn
