"""What training keeps, against what is alive after a forward pass, and the plans that follow, as tables of numbers."""

from pathlib import Path

import pytest
import torch

from alive import MERGING, MODELS, Alive
from mvit import create_model
from mvit.analysis import activations, budget, tables
from mvit.analysis.complexity import complexity
from mvit.model.presets import get_config, list_models

GB = 10**9


def kept_per_clip(model, clip, *, autocast):
    """Bytes alive for the backward pass: what two clips keep more than one."""

    def kept(batch):
        clips, alive = torch.randn(batch, 3, *clip), Alive()
        model(clips)  # position tables are made once
        cached = [value for module in model.modules() for value in vars(module).values() if torch.is_tensor(value)]
        alive.seen.update(tensor.untyped_storage() for tensor in [clips, *model.parameters(), *cached])
        with alive, torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            logits = model(clips)
        assert logits.requires_grad
        return alive.now + (0 if autocast else clips.nbytes)  # autocast's copy of the clips is kept, else they are

    return kept(2) - kept(1)


@pytest.mark.parametrize("autocast", [False, True], ids=["float32", "bf16"])
@pytest.mark.parametrize("fields", (MODELS | MERGING).values(), ids=MODELS | MERGING)
def test_what_a_clip_keeps(fields, autocast):
    model = create_model("mvit_test_4x32", **{"head_dropout": 0.0, "drop_path": 0.0} | fields).train()
    clip, narrow = (6, 48, 56), 2 if autocast else 4
    for elementwise in (False, True):
        model.checkpoint(elementwise=elementwise)
        blocks = list(model.config.blocks())
        grid = model.config.grid_of(clip)
        kept = activations.stem_kept(clip, narrow=narrow)
        for index, block in enumerate(blocks):
            last = index == len(blocks) - 1 and block.class_token
            of_block = activations.class_token_kept if last else activations.block_kept
            kept += of_block(block, grid, narrow=narrow, elementwise=elementwise)
            grid = block.grid_of(grid)
        kept += activations.head_kept(model.config, grid)
        assert kept == pytest.approx(kept_per_clip(model, clip, autocast=autocast), rel=0.07)


@pytest.mark.parametrize("autocast", [False, True], ids=["float32", "bf16"])
@pytest.mark.parametrize("fields", [MODELS["v1"], MODELS["v2"], MERGING["merging"]], ids=["v1", "v2", "merging"])
def test_a_checkpointed_block_keeps_its_input(fields, autocast):
    model = create_model("mvit_test_4x32", **{"head_dropout": 0.0, "drop_path": 0.0} | fields).train()
    model.checkpoint(range(2))
    clip, narrow = (6, 48, 56), 2 if autocast else 4
    grid = model.config.grid_of(clip)
    kept = activations.stem_kept(clip, narrow=narrow)
    for block in model.config.blocks():
        kept += activations.block_input(block, grid, narrow=narrow)
        grid = block.grid_of(grid)
    assert kept == pytest.approx(kept_per_clip(model, clip, autocast=autocast), rel=0.02)


@pytest.mark.parametrize(
    ("memory", "bytes_"), [("16GB", 16 * GB), ("1.5 GB", 1.5 * GB), ("900MB", 9e8), ("2GiB", 2**31), ("8MiB", 2**23)]
)
def test_amounts_of_memory(memory, bytes_):
    assert budget.in_bytes(memory) == bytes_


@pytest.mark.parametrize("memory", ["16", "16 gb", "GB", "-1GB", "0GB", "1e3GB", "16GB!", "", "sixteen GB", "٣GB"])
def test_what_is_no_amount_of_memory(memory):
    with pytest.raises(ValueError, match="is no number of bytes: expected one in GB"):
        budget.in_bytes(memory)


def test_less_memory_computes_more_again():
    step = budget.Step(config=get_config("mvit_b_16x4"), clip=(16, 224, 224), batch=8)
    before = budget.choose(step, 1000 * GB)
    assert (before.elementwise, before.blocks, before.extra_compute) == (False, (), 0)
    assert "nothing computed again" in str(before)
    for memory in range(before.peak_bytes, 4 * GB, -GB // 2):
        plan = budget.choose(step, memory)
        assert plan.peak_bytes <= memory
        assert (plan.elementwise, len(plan.blocks)) >= (before.elementwise, len(before.blocks))
        assert set(plan.blocks) >= set(before.blocks)
        assert plan.extra_compute >= before.extra_compute
        before = plan
    assert before.blocks
    assert before.extra_compute < 1 / 3


def test_norms_and_gelu_come_first_and_then_the_best_bargain():
    config = get_config("mvit_b_16x4")
    step, counted = budget.Step(config=config, clip=config.clip, batch=8), complexity(config)
    elementwise = budget.planned(step, counted, True, frozenset())
    assert budget.choose(step, elementwise.peak_bytes) == elementwise
    assert len(budget.choose(step, elementwise.peak_bytes - 1).blocks) == 1


def test_the_error_says_what_would_fit():
    config = get_config("mvit_b_16x4")

    def step(batch):
        return budget.Step(config=config, clip=config.clip, batch=batch, bf16=True)

    with pytest.raises(
        ValueError, match=r"a step with 64 clips of 16x224x224 takes .* a batch of \d+ would fit"
    ) as why:
        budget.choose(step(64), 4 * GB)
    fits = int(str(why.value).split("a batch of ")[1].split()[0])
    assert budget.choose(step(fits), 4 * GB).peak_bytes <= 4 * GB
    with pytest.raises(ValueError, match="takes"):
        budget.choose(step(fits + 2), 4 * GB)
    with pytest.raises(ValueError, match="not one clip would fit"):
        budget.choose(step(1), 1 * GB)


def test_reversible_models_have_little_to_compute_again():
    config = get_config("rev_mvit_b_16x4")
    assert budget.every_block(config) == {1, 3, 14}
    kept = [
        budget.kept_per_clip(get_config(name), (16, 224, 224), narrow=4, elementwise=False, blocks=frozenset())
        for name in ("rev_mvit_b_16x4", "mvit_b_16x4")
    ]
    assert kept[0] < 0.6 * kept[1]


def test_the_table_has_a_row_for_each_precision():
    table = tables.memory({"mvit_b_16x4": get_config("mvit_b_16x4")}).splitlines()
    assert len(table) == 4
    kept = [float(cell) for cell in table[3].strip("| ").split(" | ")[3:]]
    assert kept == sorted(kept, reverse=True)


def test_the_documented_table_is_what_the_command_prints():
    page = (Path(__file__).parents[2] / "docs/memory.md").read_text(encoding="utf-8")
    assert tables.memory({name: get_config(name) for name in list_models()}) in page
