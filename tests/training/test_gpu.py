"""What a GPU alone can show of training: fp16, the batch that fits, and where its memory ends."""

from dataclasses import replace

import pytest
import torch

from mvit import create_model
from mvit.data.clips import Batch
from mvit.recipes.recipe import Recipe, load
from mvit.training import batch
from mvit.training.hardware import choose
from mvit.training.learner import Learner, learner
from mvit.training.memory import is_lack_of_memory

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU: benchmarks/gpu.sh runs it")


def recipe_in(precision: str) -> Recipe:
    return load(None, ["model.name=mvit_tiny_16x64", "train.device=cuda", f"train.precision={precision}"])


def pupil(recipe: Recipe) -> Learner:
    torch.manual_seed(0)
    model = create_model("mvit_tiny_16x64", num_classes=3, head_dropout=0.0, drop_path=0.0)
    return learner(model, recipe.optim, choose(recipe.train), recipe.data.preprocessing())


def clips(count: int) -> Batch:
    generator = torch.Generator().manual_seed(1)
    pixels = torch.randint(0, 256, (count, 3, 16, 64, 64), dtype=torch.uint8, generator=generator)
    return Batch(pixels, torch.arange(count) % 3, [])


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_a_step_in_two_bytes_is_near_one_in_four(precision):
    ours, exact = pupil(recipe_in(precision)), pupil(recipe_in("float32"))
    for _ in range(3):
        one, other = ours.step(clips(8), 1e-4), exact.step(clips(8), 1e-4)
        assert one.moved
        assert one.loss == pytest.approx(other.loss, abs=3e-2)
    assert ours.scaler.is_enabled() is (precision == "fp16")


def test_the_batch_that_fits_is_tried_and_a_step_of_it_runs():
    recipe, said = recipe_in("float32"), list[str]()
    left_open = replace(recipe, train=replace(recipe.train, batch="auto"))
    config = recipe.model_config(3)
    found = batch.resolved(left_open, config, 10_000, choose(recipe.train), said.append)
    assert torch.cuda.get_device_name() in said[0]
    assert pupil(recipe).step(clips(found.train.clips_per_step), 1e-4).moved


def test_the_end_of_its_memory_is_known_as_that():
    _, total = torch.cuda.mem_get_info()
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(min(1.0, 0.5e9 / total))
    try:
        with pytest.raises(RuntimeError) as caught:
            pupil(recipe_in("float32")).step(clips(512), 1e-4)
        assert is_lack_of_memory(caught.value)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
