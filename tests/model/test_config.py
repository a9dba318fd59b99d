from dataclasses import replace

import pytest

from mvit.model.config import MViTConfig, PoolConfig, convolved
from mvit.model.presets import PRESETS, get_config, nearest

B = MViTConfig()


def test_blocks_of_mvit_b_follow_the_published_table():
    """The official code's width in and out, heads, and strides of queries and of keys and values, block by block."""
    rows = [
        (block.width, block.width_out, block.heads, block.pool_q.stride, block.pool_kv.stride) for block in B.blocks()
    ]
    still, halve = (1, 1, 1), (1, 2, 2)
    assert rows == [
        (96, 192, 1, still, (1, 8, 8)),
        (192, 192, 2, halve, (1, 4, 4)),
        (192, 384, 2, still, (1, 4, 4)),
        (384, 384, 4, halve, (1, 2, 2)),
        *[(384, 384, 4, still, (1, 2, 2))] * 9,
        (384, 768, 4, still, (1, 2, 2)),
        (768, 768, 8, halve, (1, 1, 1)),
        (768, 768, 8, still, (1, 1, 1)),
    ]


def test_stochastic_depth_grows_linearly_from_zero():
    rates = [block.drop_path for block in B.blocks()]
    assert rates[0] == 0
    assert rates[-1] == pytest.approx(0.2)
    assert rates[3] == pytest.approx(0.2 * 3 / 15)


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 7, 14, 39])
@pytest.mark.parametrize("stride", [1, 2, 3, 4])
def test_skip_pooling_always_gives_the_ceiling(size, stride):
    pool = PoolConfig(kernel=(3, 3, 3), stride=(1, stride, stride), padding=(1, 1, 1))
    assert pool.skip.grid_of((1, size, size)) == (1, -(-size // stride), -(-size // stride))


def test_skip_follows_an_operator_with_another_grid():
    pool = PoolConfig(kernel=(1, 2, 2), stride=(1, 2, 2), padding=(0, 0, 0))
    assert pool.skip.grid_of((4, 7, 7)) == pool.grid_of((4, 7, 7)) == (4, 3, 3)


def test_too_small_an_input_is_refused():
    with pytest.raises(ValueError, match="too small"):
        convolved((1, 2, 2), (1, 16, 16), (1, 16, 16), (0, 0, 0))


@pytest.mark.parametrize("name", PRESETS)
def test_configurations_survive_json(name):
    import json

    config = PRESETS[name]
    assert MViTConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("depths", (), "depths is empty"),
        ("depths", (1, 0, 1, 1), "depths"),
        ("widths", (96, 192), "widths"),
        ("heads", (5, 2, 4, 8), "cannot be cut into 5 heads"),
        ("clip", (16, 224), "clip"),
        ("clip", (16, 0, 224), "clip"),
        ("stride_q", ((1, 1, 1),), "stride_q"),
        ("padding_kv", ((2, 2, 2),) * 4, "at most half"),
        ("pooling", "median", "pooling"),
        ("positions", "rotary", "positions"),
        ("drop_path", 1.0, "drop_path"),
        ("head_dropout", "half", "head_dropout"),
        ("num_classes", 0, "num_classes"),
        ("num_classes", True, "num_classes"),
    ],
)
def test_numbers_that_make_no_model_are_refused(field, value, words):
    with pytest.raises(ValueError, match=words):
        replace(B, **{field: value})


def test_unknown_names_get_the_nearest_or_those_there_are():
    assert nearest("swipe", ["tap", "swipe_x"]) == "did you mean 'swipe_x'?"
    assert nearest("nope", ["tap", "swipe_x"]) == "there are tap, swipe_x"
    many = [f"class {n}" for n in range(400)]
    assert nearest("nope", many) == f"there are {', '.join(many[:30])} and 370 more"
    with pytest.raises(ValueError, match="'mvit_b_16x4'"):
        get_config("mvit_b_16x5")
    with pytest.raises(ValueError, match="unknown model field 'depth'"):
        MViTConfig.from_dict({"depth": 3})
