"""What feeds a model and what holds it back: decoding, augmentation and the model apart, then all together."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, replace
from itertools import count
from typing import Any

import numpy as np
import torch

from mvit import weights
from mvit.data.backend import choose
from mvit.data.clips import Batch, Draw, Undone
from mvit.data.dataset import Listing
from mvit.data.loader import TrainLoader
from mvit.data.opening import why
from mvit.data.resources import available_cores
from mvit.data.transforms import Augmentation
from mvit.data.video import UnreadableVideo, Video
from mvit.provenance import provenance
from mvit.recipes.recipe import Recipe
from mvit.studies.spread import Spread, spread
from mvit.training import hardware
from mvit.training.learner import Learner, learner
from mvit.training.progress import LARGE_WAIT, Feeding, Meter

VIDEOS = 16  # read in a round, with augment.copies clips made of each
PARTS = ("decode", "augment", "model")


def measure(
    listing: Listing,
    recipe: Recipe,
    *,
    rounds: int,
    seconds: float,
    progress: Callable[[int, int], None] = lambda done, of: None,
) -> dict[str, Any]:
    """Clips a second of a data set under a recipe, as a record.

    In each round some clips are decoded, then augmented, in this process on one thread, and the model takes a step;
    then the loader runs alone, and with the model, each for about `seconds`. The first round and the first batches are
    not counted. Raises ValueError where no video can be read.
    """
    if rounds < 1 or seconds <= 0:
        raise ValueError(f"rounds is {rounds} and seconds {seconds:g}, but must be at least 1 and above 0")
    machine = hardware.choose(recipe.train)
    loader = _loader(listing, recipe, machine.workers)
    machine = replace(machine, workers=loader.workers)
    said = provenance(machine.device.type)
    torch.manual_seed(recipe.train.seed)
    model = weights.build(recipe.model_config(len(listing.classes)))
    pupil = learner(model, recipe.optim, machine, recipe.data.preprocessing())
    material = _Material(listing, recipe)
    total, times = rounds + 3, {part: list[float]() for part in PARTS}
    for number in range(rounds + 1):
        seen = _round(material, pupil, recipe.train.clips_per_step)
        if number:
            for part in PARTS:
                times[part].append(seen[part])
        progress(number + 1, total)
    alone = _run(_repeated(loader), seconds, lambda batch: len(batch.labels))
    progress(rounds + 2, total)
    together = _run(_repeated(loader), seconds, lambda batch: pupil.step(batch, 0.0).clips if len(batch.labels) else 0)
    progress(total, total)
    rates = {part: spread([1 / value for value in times[part]]) for part in PARTS}
    elsewhere = recipe.augment.on == "device"
    pairs = zip(times["decode"], times["augment"], strict=True)
    both = spread([1 / (one if elsewhere else one + two) for one, two in pairs])
    return {
        "what": "feeding a model",
        **said,
        "complete": True,
        "model": recipe.model.name,
        "clip": [recipe.data.frames, recipe.data.crop, recipe.data.crop],
        "batch": recipe.train.clips_per_step,
        "short_side": recipe.data.short_side,
        "augment": asdict(recipe.augment),
        "device": machine.device.type,
        "precision": machine.precision,
        "videos": len(listing.train),
        "videos_larger": material.larger / max(material.opened, 1),
        "unreadable": material.unreadable,
        "workers": machine.workers,
        "cores": available_cores(),
        "rounds": rounds,
        "clips_per_round": VIDEOS * recipe.augment.copies,
        "seconds_per_clip": times,
        "clips_per_second": {
            **{name: rate.to_dict() for name, rate in (rates | {"decode_and_augment": both}).items()},
            "loader": alone.clips_per_second,
            "together": together.clips_per_second,
        },
        "data_wait": together.data_wait,
        "batches": {"loader": alone.steps, "together": together.steps},
        "notes": loader.notes,
    }


def describe(record: Mapping[str, Any]) -> str:
    """The record in lines for people, with the limit and what to do about it last."""
    rates = record["clips_per_second"]
    processor = record["hardware"].get("gpu") or record["hardware"]["processor"]
    clip = "x".join(map(str, record["clip"]))
    workers, elsewhere = record["workers"], record["augment"]["on"] == "device"
    loader = f"{workers} processes" if workers > 1 else "1 process" if workers else "no process of its own"
    lines = [
        f"clips of {clip} from {record['videos']:,} videos, {record['cores']} processors",
        f"{record['rounds']} rounds of {record['clips_per_round']} clips; median and, in brackets, quartiles",
        "",
        "clips/s of one process" + (", augmentation where the model is" if elsewhere else ""),
        f"  decode                 {_between(rates['decode'])}",
        f"  augment                {_between(rates['augment'])}",
        *([] if elsewhere else [f"  both                   {_between(rates['decode_and_augment'])}"]),
        f"clips/s of {record['model']}, training, batch {record['batch']}, {record['precision']} on {processor}",
        f"  model                  {_between(rates['model'])}",
        f"clips/s of the loader, {loader}",
        f"  alone                  {_rate(rates['loader']):>8}",
        f"  with the model         {_rate(rates['together']):>8}   which waits {record['data_wait']:.0%} of the time",
        "",
        verdict(record),
    ]
    return "\n".join([*lines, *record["notes"]])


def verdict(record: Mapping[str, Any]) -> str:
    """Which of decoding, augmentation and the model is the limit, and what to do: two sentences."""
    rates = record["clips_per_second"]
    decode, augmented, model = (rates[part]["median"] for part in PARTS)
    if record["data_wait"] < LARGE_WAIT:
        spare = f"{_rate(rates['loader'])} clips/s can be had where it takes {_rate(rates['together'])}"
        return f"The limit is the model: {spare}. More processes or smaller videos would not make training faster."
    part, other = ("decoding", "augmentation") if decode <= augmented else ("augmentation", "decoding")
    share = max(1 / decode, 1 / augmented) / (1 / decode + 1 / augmented)
    feeding = Feeding(record["device"], record["workers"], record["cores"], record["short_side"])
    limit = f"The limit is {part}, {share:.0%} of the work on a clip before the model (the rest is {other})"
    if record["augment"]["on"] == "device":
        limit = "The limit is decoding, all that is done before the device"
    larger = f"{record['videos_larger']:.0%} of the videos looked at have a short side of more"
    return f"{limit}. {_capital(feeding.remedy(rates['together'], model))}: {larger}."


class _Material:
    """The training clips of a data set, draw after draw, and what was met on the way."""

    def __init__(self, listing: Listing, recipe: Recipe) -> None:
        self.clips = _loader(listing, recipe, workers=0).clips
        self.paths, self.samples, self.drawn = [sample.path for sample in listing.train], len(listing.train), 0
        self.order = np.random.default_rng(recipe.train.seed).permutation(self.samples).tolist()
        self.short_side = recipe.data.short_side
        self.opened = self.larger = 0
        self.unreadable: dict[str, str] = {}

    def next(self) -> Draw:
        """The next draw, epoch after epoch; raises ValueError once no video of them all could be read."""
        if len(self.unreadable) == self.samples:
            path, reason = next(iter(self.unreadable.items()))
            raise ValueError(f"no video of {self.samples:,} can be read; the first is {path}: {reason}")
        epoch, place = divmod(self.drawn, self.samples)
        self.drawn += 1
        return epoch, self.order[place]

    def decoded(self, wanted: int) -> Iterator[tuple[Undone, list[list[int]], float]]:
        """So many videos' frames, each with the classes of its clips and the seconds it took, from opening on."""
        while wanted:
            epoch, sample = self.next()
            begun = time.perf_counter()
            try:
                undone, labels = self.clips.decoded((epoch, sample))
            except (UnreadableVideo, OSError) as error:
                self.unreadable[self.clips.name(sample)] = why(error)
                continue
            yield undone, labels, time.perf_counter() - begun
            with Video(self.paths[sample]) as video:
                self.opened += 1
                self.larger += video.short_side > self.short_side
            wanted -= 1


def _loader(listing: Listing, recipe: Recipe, workers: int) -> TrainLoader:
    return TrainLoader(
        listing.train,
        listing.classes,
        recipe.data.preprocessing(),
        Augmentation(**asdict(recipe.augment)),
        batch=recipe.train.clips_per_step,
        seed=recipe.train.seed,
        workers=workers,
        fewer=recipe.train.workers == "auto",
        backend=choose(recipe.data.backend),
        multi_label=listing.multi_label,
    )


def _round(material: _Material, pupil: Learner, batch: int) -> dict[str, float]:
    """Seconds for each clip of decoding, augmentation and a step of the model."""
    threads = torch.get_num_threads()
    elsewhere = material.clips.augmentation.on == "device"
    torch.set_num_threads(1)  # as in the loader's processes
    try:
        decoded = list(material.decoded(VIDEOS))
        if elsewhere:
            torch.set_num_threads(threads)
        begun = time.perf_counter()
        clips = [
            clip for undone, *_ in decoded for clip in undone.clips_on(pupil.hardware.device if elsewhere else "cpu")
        ]
        clips[-1].sum().item()  # until then a device may be at work
        augmented = time.perf_counter() - begun
    finally:
        torch.set_num_threads(threads)
    labels = [label for _, of_video, _ in decoded for label in of_video]
    several = [place % len(clips) for place in range(batch)]
    targets = material.clips.targets([labels[place] for place in several])
    given = Batch(torch.stack([clips[place] for place in several]), targets, [])
    begun = time.perf_counter()
    pupil.step(given, 0.0)
    stepped = time.perf_counter() - begun
    return {
        "decode": sum(seconds for *_, seconds in decoded) / len(clips),
        "augment": augmented / len(clips),
        "model": stepped / batch,
    }


def _repeated(loader: TrainLoader) -> Iterator[Batch]:
    """Epoch after epoch."""
    for number in count():
        yield from loader.epoch(number)


def _run(batches: Iterable[Batch], seconds: float, use: Callable[[Batch], int]) -> Meter:
    """Use batches for about so many seconds after the first one, which waits for processes to start."""
    source = iter(batches)
    next(source, None)
    meter, begun = Meter(), time.perf_counter()
    for batch in meter.timed(source):
        meter.clips += use(batch)
        if time.perf_counter() - begun > seconds:
            break
    return meter + Meter()


def _between(values: Mapping[str, float]) -> str:
    found = Spread(**values)
    return f"{_rate(found.median):>8} [{_rate(found.low)}, {_rate(found.high)}]"


def _rate(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _capital(sentence: str) -> str:
    return sentence[:1].upper() + sentence[1:]
