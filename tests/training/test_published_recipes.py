"""Every recipe that comes with the package: it loads, builds at full size, costs what it says, and takes two steps."""

import re
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch

from mvit.analysis.complexity import complexity
from mvit.data.dataset import Listing, Sample
from mvit.data.loader import TrainLoader
from mvit.data.transforms import Augmentation
from mvit.model.config import MViTConfig
from mvit.model.mvit import MViT
from mvit.model.presets import get_config
from mvit.recipes.recipe import Recipe, load, path_of
from mvit.training import hardware, mixing, optim
from mvit.training.learner import learner
from mvit.weights import LoadingReport, fit, hub

RECIPES = {path.stem: path for path in sorted(path_of("quickstart").parent.glob("*.toml"))}
OWN = ("quickstart", "gestures", "actions", "images", "study")
PUBLISHED = {stem: path for stem, path in RECIPES.items() if stem not in OWN}

# With the classes of the data set that the papers count: Kinetics-400 and ImageNet-1K.
PARAMETERS = {
    "kinetics_mvit_b_16x4": 36_610_672,
    "kinetics_mvit_b_32x3": 36_611_440,
    "kinetics_mvit_b_64x3": 36_612_976,
    "kinetics_mvit_b_24_32x3": 53_172_880,
    "kinetics_mvitv2_s_16x4": 34_537_744,
    "kinetics_mvitv2_b_32x3": 51_230_128,
    "kinetics_mvitv2_l_40x3": 213_390_112,
    "ssv2_mvit_b_16x4": 36_610_672,
    "ssv2_mvitv2_s_16x4": 34_537_744,
    "ssv2_mvitv2_b_32x3": 51_230_128,
    "ssv2_mvitv2_l_40x3": 213_390_112,
    "charades_mvit_b_16x4": 36_610_672,
    "imagenet_mvit_b_16": 36_982_600,
    "imagenet_mvit_b_24_wide_320": 72_961_832,
    "imagenet_mvitv2_t": 24_173_320,
    "imagenet_mvitv2_s": 34_870_216,
    "imagenet_mvitv2_b": 51_472_744,
    "imagenet_mvitv2_l": 217_992_952,
}


def config_of(stem: str) -> MViTConfig:
    return load(PUBLISHED[stem]).model_config(1000 if stem.startswith("imagenet") else 400)


def reduced(stem: str) -> Recipe:
    """The recipe with a block a stage, narrow ones, on clips of four frames of 32 pixels, four of them a step."""
    config = load(RECIPES[stem]).model_config(3)
    changes = [
        f"model.depths={[1] * config.stages}",
        f"model.widths={[16 * heads for heads in config.heads]}",
        f"data.frames={min(config.clip[0], 4)}",
        *("data.crop=32", "data.short_side=36", "train.batch=4", "train.device=cpu", "train.precision=float32"),
    ]
    if load(RECIPES[stem]).augment.jitter:
        changes.append("augment.jitter=[36, 45]")
    return load(RECIPES[stem], changes)


@pytest.mark.parametrize(("stem", "parameters"), PARAMETERS.items(), ids=PARAMETERS)
def test_the_model_is_the_published_one(stem: str, parameters: int):
    with torch.device("meta"):
        model = MViT(config_of(stem))
    assert sum(parameter.numel() for parameter in model.parameters()) == parameters


@pytest.mark.parametrize("stem", PUBLISHED)
def test_the_head_says_what_it_costs_and_what_is_known(stem: str):
    path = PUBLISHED[stem]
    head = path.read_text(encoding="utf-8").split("\n[")[0].replace("\n# ", " ")
    assert f" --recipe {stem} " in head
    assert re.search(r"Published: .*\d\d\.\d.* Here: not run yet", head)
    cost = re.search(
        r"(\d\.\de\d\d) FLOP \(([\d,]+) (?:videos|images) x (\d+) epochs(?: x (\d) copies)?\): "
        r"estimated, not measured, ([\d.]+) hours on 8 GPUs that sustain 50 TFLOP/s each",
        head,
    )
    assert cost, head
    recipe, config = load(path), config_of(stem)
    assert (int(cost[3]), int(cost[4] or 1)) == (recipe.train.epochs, recipe.augment.copies)
    clips = int(cost[2].replace(",", "")) * recipe.train.epochs * recipe.augment.copies
    work = 6 * complexity(config, config.clip).macs_with_norms * clips  # FLOP: two a MAC, the backward pass twice that
    assert float(cost[1]) == pytest.approx(work, rel=0.05)
    assert float(cost[5]) == pytest.approx(work / 8 / 50e12 / 3600, rel=0.05)


@pytest.mark.parametrize("stem", RECIPES)
def test_two_steps(stem: str, listing: Listing):
    recipe, several = reduced(stem), stem.startswith("charades")
    samples = [Sample(each.path, (each.label, "middle") if several else each.label) for each in listing.train]
    machine, preprocessing = hardware.choose(recipe.train), recipe.data.preprocessing()
    loader = TrainLoader(
        samples,
        listing.classes,
        preprocessing,
        Augmentation(**asdict(recipe.augment)),
        batch=recipe.train.batch,
        seed=recipe.train.seed,
        workers=0,
        multi_label=several,
    )
    model = MViT(recipe.model_config(len(listing.classes)))
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    pupil = learner(model, recipe.optim, machine, preprocessing)
    schedule = optim.schedule(recipe, len(loader))
    for number, batch in zip(range(2), loader.epoch(0), strict=False):
        mix = mixing.draw(recipe.optim, 32, 32, (0, 0, number))
        outcome = pupil.step(batch, schedule.rate(schedule.warmup_steps), mix)
        assert outcome.moved
        assert outcome.clips == 4
    changed = [name for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])]
    assert len(changed) > 0.9 * len(before)


@pytest.mark.parametrize("stem", [stem for stem, path in PUBLISHED.items() if load(path).model.weights])
def test_the_weights_that_it_starts_from_are_published_and_fit(stem: str):
    recipe = reduced(stem)
    entry = hub.named(recipe.model.name, recipe.model.weights)
    assert entry is not None
    config = recipe.model_config(3)
    theirs = entry.config(get_config(entry.preset))
    size = (min(theirs.clip[0], 8), 32, 32)
    theirs = replace(theirs, depths=config.depths, widths=config.widths, clip=size, num_classes=5)
    model, report = MViT(config), LoadingReport(Path("weights"), "mvit", grid=theirs.grid)
    fit(model, MViT(theirs).state_dict(), report, recipe.model.inflate)
    assert report.reinitialised[0].startswith("head.") or recipe.model.inflate
    assert bool(report.resized) == (config.grid != theirs.grid)
    own = set(model.state_dict()) - set(report.loaded)
    allowed = ("head.", "relative.time") if recipe.model.inflate else ("head.",)
    assert all(name.startswith(allowed[0]) or name.endswith(allowed[-1]) for name in own)


# Learning rates at the beginning, the end of the warm-up and the end, and after which epoch that is (FACTS of the
# papers and of the official configurations, for the batch that they are given for).
SCHEDULES = {
    "kinetics_mvit_b_16x4": (512, 1.6e-5, 1.6e-3, 1.6e-5, 30),
    "kinetics_mvitv2_b_32x3": (32, 1e-6, 1e-4, 1e-6, 30),
    "imagenet_mvit_b_16": (256, 1e-8, 2.5e-4, 1e-6, 70),
    "imagenet_mvitv2_l": (2048, 8e-8, 2e-3, 8e-6, 70),
    "ssv2_mvitv2_s_16x4": (16, 1e-4, 2.5e-3, 1e-6, 3),
    "ssv2_mvitv2_b_32x3": (16, 1e-4, 1.5e-3, 1e-6, 3),
    "ssv2_mvitv2_l_40x3": (8, 1e-6, 1.25e-3, 1e-6, 3),
    "ssv2_mvit_b_16x4": (512, 3.2e-3, 2e-2, 3.2e-5, 3),
    "charades_mvit_b_16x4": (256, 0.6, 0.6, 0.0, 0),
}


@pytest.mark.parametrize("stem", SCHEDULES)
def test_the_schedule_is_the_published_one(stem: str):
    batch, start, peak, end, warmup = SCHEDULES[stem]
    schedule = optim.schedule(load(PUBLISHED[stem], [f"train.batch={batch}"]), steps_per_epoch=100)
    assert schedule.rate(0) == pytest.approx(start)
    assert schedule.rate(100 * warmup) == pytest.approx(peak)
    assert schedule.rate(schedule.steps) == pytest.approx(end, rel=1e-4, abs=1e-9)
