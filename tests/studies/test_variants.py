"""Variants of the paper's ablations at any size: what changes, and that matched ones cost alike."""

from dataclasses import replace
from itertools import pairwise

import pytest

from mvit.analysis.complexity import complexity
from mvit.analysis.published import max_pooled
from mvit.model.config import MViTConfig
from mvit.model.presets import get_config
from mvit.studies import variants
from mvit.studies.ablations import STUDIES

TINY = replace(get_config("mvit_tiny_16x64"), clip=(8, 48, 48))
BASES = {
    "tiny 8x48": TINY,
    "tiny 16x48": replace(TINY, clip=(16, 48, 48)),
    "tiny": get_config("mvit_tiny_16x64"),
    "small": get_config("mvit_small_16x64"),
    "paper": max_pooled(get_config("mvit_b_16x4")),
}
COUNTED = ("controls", "image-controls")
"""Studies with other libraries' models, which have no arithmetic of ours."""


@pytest.mark.parametrize("base", BASES.values(), ids=BASES.keys())
@pytest.mark.parametrize("name", [name for name in STUDIES if STUDIES[name].matched and name not in COUNTED])
def test_matched_variants_cost_alike(name: str, base: MViTConfig):
    wanted = complexity(base).macs
    for variant, declared in STUDIES[name].variants.items():
        changed = declared.of(base)
        assert isinstance(changed, MViTConfig)
        assert abs(complexity(changed).macs / wanted - 1) <= variants.ALIKE, variant


@pytest.mark.parametrize("name", STUDIES)
def test_studies_have_a_reference_and_differ_from_it(name: str):
    study = STUDIES[name]
    assert study.reference in study.variants
    if name in COUNTED:
        return
    made = [(declared.of(TINY), declared.train_share, declared.object_size) for declared in study.variants.values()]
    assert all(one != other for place, one in enumerate(made) for other in made[:place])


def test_every_change_is_of_any_number_of_stages():
    two = get_config("mvit_test_4x32")
    for name in ("pooling", "kv-stride", "positions", "depths", "stem", "skip"):
        for declared in STUDIES[name].variants.values():
            changed = declared.of(two)
            assert isinstance(changed, MViTConfig)
            assert changed.stages == 2


def test_pooling_kernels_follow_from_strides():
    paper = get_config("mvit_b_16x4")
    assert variants.pooled(paper, "max", "overlapping") == max_pooled(paper)
    assert variants.convolved(max_pooled(paper)) == paper
    apart = variants.pooled(paper, "max", "stride")
    assert (apart.kernel_q, apart.padding_q) == (paper.stride_q, ((0, 0, 0),) * 4)
    assert variants.pooled(paper, "max", "wide").kernel_kv == ((1, 17, 17), (1, 9, 9), (1, 5, 5), (1, 1, 1))


def test_strides_of_keys_and_values_are_the_papers():
    paper = max_pooled(get_config("mvit_b_16x4"))
    assert variants.fixed_kv_stride(paper).stride_kv == ((2, 4, 4),) * 4
    # The paper prints 130.8 GFLOPs, which no pooling of MViT-B 16x4 by none gives: block 0 alone has 2 x 25,089^2 x 96.
    assert variants.cost(variants.without_kv_pooling(paper)) / 1e9 == pytest.approx(279.9, abs=0.1)


def test_a_columnar_model_has_one_grid_and_none_of_the_pyramid():
    paper = get_config("mvit_b_16x4")
    column = variants.columnar(paper)
    assert (column.stages, column.grid, column.stem_kernel) == (1, (8, 14, 14), (3, 16, 16))
    assert column.grid == get_config("vit_b_8x8").grid
    assert variants.stemmed(column, 1).grid == column.grid
    assert variants.columnar(paper, stride_kv=(1, 2, 2)).stride_kv == ((1, 2, 2),)


@pytest.mark.parametrize("name", ["mvit_b_16x4", "mvit_b_16_image", "mvitv2_s_16x4", "mvit_small_16x64"])
def test_a_pyramid_by_merging_has_the_base_s_grids_and_pools_nothing(name: str):
    base = get_config(name)
    made = variants.merged(base)
    assert (made.clip, made.grid, made.depths, made.widen_in) == (base.clip, base.grid, base.depths, "merging")
    grid, grids, blocks = base.grid, [], list(made.blocks())
    for ours, theirs in zip(blocks, base.blocks(), strict=True):
        assert ours.grid_of(grid) == theirs.grid_of(grid)
        grid = ours.grid_of(grid)
        grids.append(grid)
    assert len(set(grids)) == base.stages
    assert all(pool.is_identity for block in blocks for pool in (block.pool_q, block.pool_kv))
    assert sum(block.merge is not None for block in blocks) == base.stages - 1
    growth = [wide / narrow for narrow, wide in pairwise(made.widths)]
    assert growth == pytest.approx([wide / narrow for narrow, wide in pairwise(base.widths)], rel=0.13)


def test_reversible_models_are_refused_what_they_cannot_be():
    reversible = get_config("rev_mvit_b_16x4")
    with pytest.raises(ValueError, match="reversible blocks keep width and grid"):
        variants.merged(reversible)
    with pytest.raises(ValueError, match=r"width_skip is 'raw' .* so leave it out"):
        STUDIES["skip"].variants["raw"].of(reversible)


def test_the_papers_figures_of_the_skip_stand_beside_ours():
    printed = {name: declared.printed for name, declared in STUDIES["skip"].variants.items()}
    assert {name: figure.top1 for name, figure in printed.items() if figure} == {
        "normalised": 77.2,
        "raw": 74.6,
        "none": 74.7,
    }


def test_blocks_are_distributed_by_shares_and_none_is_lost():
    paper = get_config("mvit_b_16x4")
    for shares in ([1, 1, 1, 1], [8, 4, 2, 1], [1, 2, 4, 8], [0, 0, 0, 1]):
        depths = variants.distributed(paper, shares).depths
        assert (sum(depths), min(depths) >= 1) == (16, True)
    assert variants.distributed(paper, [1, 1, 1, 1]).depths == (4, 4, 4, 4)


def test_a_cost_that_no_size_has_is_refused():
    nothing = get_config("mvit_test_4x32")
    with pytest.raises(ValueError, match="no model whose widths grow by 1 costs what the base does"):
        variants.matched(nothing, 1.0, lambda: iter([TINY]), "model whose widths grow by 1")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["video_swin", "timesformer", "vivit"])
def test_other_libraries_models_are_matched_by_width(name: str, library):
    from mvit.analysis.counter import count
    from mvit.baselines.sized import Baseline
    from mvit.baselines.sizes import LIBRARIES

    library(LIBRARIES[name], "baselines")
    made = variants.of_another(TINY, name=name)
    assert abs(count(lambda: Baseline(made), TINY.clip).macs / variants.cost(TINY) - 1) <= variants.ALIKE
