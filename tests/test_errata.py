"""Every row of docs/errata.md names what shows it, and that is there; what nothing else tests of it is tested here."""

import ast
import inspect
import re
from functools import cache
from itertools import chain, pairwise
from pathlib import Path

import pytest
import torch
from torch import nn

from mvit.analysis.complexity import complexity
from mvit.analysis.published import TABLES, max_pooled
from mvit.cli import COMMANDS
from mvit.model.attention import TokenPool
from mvit.model.presets import get_config
from mvit.weights.create import create_model

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "errata.md").read_text(encoding="utf-8")
SHOWN = re.compile(r"`(tests/\S+\.py)::(test_\w+)`|`(mvit [^`]+)`|`(recipes/\S+\.toml)`|\[(P2?|C|V)( T\d+[a-z]?)?\]")
"""A test, a command, a recipe, or the source that prints it."""


def rows() -> list[list[str]]:
    tables = [line.strip("|").split("|") for line in PAGE.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in row] for row in tables if set("".join(row)) - set("-")]


@cache
def functions(path: str) -> set[str]:
    body = ast.parse((ROOT / path).read_text(encoding="utf-8")).body
    return {node.name for node in body if isinstance(node, ast.FunctionDef)}


def options(command: str) -> set[str]:
    return {name.replace("_", "-") for name in inspect.signature(COMMANDS[command]).parameters}


@pytest.mark.parametrize("row", [row for row in rows() if row[-1] != "shown by"], ids=lambda row: row[0][:40])
def test_every_row_is_shown_by_something_that_is_there(row):
    shown = SHOWN.findall(row[-1])
    assert shown, f"nothing shows {row[0]!r}"
    for path, test, command, recipe, *_ in shown:
        if path:
            assert test in functions(path), f"{path} has no {test}"
        if recipe:
            assert (ROOT / recipe).is_file()
        if command:
            _, name, *words = command.split()
            asked = {word[2:] for word in words if word.startswith("--")}
            assert asked <= options(name), f"mvit {name} has no {asked - options(name)}"
    left = re.sub(r"[\s,;]|and", "", SHOWN.sub("", row[-1]))
    assert not left, f"{left!r} is no test, command, recipe or paper"


def test_both_tables_end_with_what_shows_it():
    assert [row[0] for row in rows() if row[-1] == "shown by"] == ["subject", "said"]
    assert [len(row) for row in rows()] == sorted([len(row) for row in rows()], reverse=True)


def test_cubes_of_the_stem_overlap_and_patches_of_the_columnar_vit_do_not():
    ours, columnar = get_config("mvit_b_16x4"), get_config("vit_b_8x8")
    assert (ours.stem_kernel, ours.stem_stride) == ((3, 7, 7), (2, 4, 4))
    assert columnar.stem_kernel == columnar.stem_stride == (1, 16, 16)


def test_time_is_halved_once_and_the_first_grid_is_sixteen_times_as_dense_as_vit_s():
    ours, columnar = get_config("mvit_b_16x4"), get_config("vit_b_8x8")
    assert ours.grid == (8, 56, 56)
    assert {block.pool_q.stride[0] for block in ours.blocks()} == {1}
    (_, *first), (_, *patches) = ours.grid, columnar.grid
    assert first[0] * first[1] == 16 * patches[0] * patches[1]


def test_a_stage_has_a_quarter_of_the_tokens_and_twice_the_channels():
    blocks = get_config("mvit_b_16x4").blocks()
    assert [block.pool_q.stride for block in blocks if block.is_first_of_stage][1:] == [(1, 2, 2)] * 3
    widths = get_config("mvit_b_16x4").widths
    assert [after / before for before, after in pairwise(widths)] == [2, 2, 2]


def test_v2_widens_where_it_pools():
    first_of_second_stage = next(block for block in get_config("mvitv2_s_16x4").blocks() if block.stage == 1)
    assert first_of_second_stage.pool_q.stride == (1, 2, 2)
    assert (first_of_second_stage.width, first_of_second_stage.width_attention) == (96, 192)


def test_max_and_average_pooling_have_no_weights_and_a_convolution_has_one_kernel_for_all_heads():
    for pooling in ("max", "average"):
        assert not [
            name for name, _ in create_model("mvit_test_4x32", pooling=pooling).named_parameters() if ".pool_" in name
        ]
    model = create_model("mvit_test_4x32")
    assert model.config.heads == (1, 2)
    pools = [module for module in model.modules() if isinstance(module, TokenPool)]
    assert {tuple(pool.weight.shape[:2]) for pool in pools} == {(16, 1)}, "16 channels are one head's"


def test_the_skip_is_pooled_by_its_maximum_and_widened_from_what_is_normed():
    """Blocks whose attention and MLP give nothing leave their skips."""
    model = create_model("mvit_test_4x32", pooling="conv").double().eval()
    for block in model.blocks:
        for last in (block.attn.proj, block.mlp.fc2):
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)
    grid, (widening, pooling) = (2, 8, 8), model.blocks
    x = torch.randn(1, 1 + 2 * 8 * 8, 16, dtype=torch.float64)
    wide, _ = widening(x, grid)
    torch.testing.assert_close(wide, widening.proj(widening.norm2(x)))
    windows = wide[:, 1:].unflatten(1, grid).movedim(-1, 1)
    highest = nn.functional.max_pool3d(windows, (1, 3, 3), (1, 2, 2), (0, 1, 1)).flatten(2).mT
    torch.testing.assert_close(pooling(wide, grid)[0][:, 1:], highest)


def test_parameters_of_the_variants_that_are_called_mvit_b():
    names = {"mvit_b_16x4": 36_610_672, "mvit_b_16_image": 36_982_600}
    assert {name: complexity(get_config(name)).parameters for name in names} == names
    assert complexity(max_pooled(get_config("mvit_b_16x4"))).parameters == 36_513_232


def test_what_is_printed_of_accuracies():
    printed = {row.system: row.top1 for row in chain(*TABLES.values())}
    systems = ("MViT-B 16x4", "MViT-B 32x3", "MViT-B 64x3", "ViViT-L/16x2", "ViViT-L/16x2 320", "ViT-B 8x8")
    assert [printed[system] for system in systems] == [78.4, 80.2, 81.2, 80.3, 81.3, 68.5]
    images = ("MViT-B-16", "DeiT-B", "MViT-B-24-wide 320", "DeiT-B 384")
    assert [printed[system] for system in images] == [83.0, 81.8, 84.8, 83.1]
