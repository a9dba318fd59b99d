"""What passes a residual in which the width changes: of the norm's output, of the raw input, or nothing."""

import json
from itertools import product

import pytest
import torch
from torch.nn import functional as F

from alive import V2
from mvit import create_model
from mvit.model.attention import pool_tokens
from mvit.model.config import MViTConfig

KINDS = ("normalised", "raw", "none")
WIDENED_IN = {"mlp": {}, "attention": V2}


def lively(kind: str, widened_in: str, **fields: object):
    model = create_model("mvit_test_4x32", num_classes=3, width_skip=kind, **WIDENED_IN[widened_in] | fields).double()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.4)
    return model


@pytest.mark.parametrize(("kind", "widened_in"), list(product(KINDS, WIDENED_IN)))
def test_a_block_is_the_one_written_out(kind, widened_in):
    model = lively(kind, widened_in).eval()
    block = model.blocks[0 if widened_in == "mlp" else 1]
    grid = (2, 7, 5)
    x = torch.randn(2, 1 + 70, 16, dtype=torch.float64)
    attended, left = block.attn(block.norm1(x), grid)
    skips = {"normalised": block.norm1(x), "raw": x}

    def widened(skip):
        return skip @ block.proj.weight.T + block.proj.bias

    if widened_in == "attention":
        summed = attended
        if kind != "none":
            summed = (
                attended + pool_tokens(widened(skips[kind]), grid, block.config.pool_q.skip, "max", class_token=True)[0]
            )
    else:
        summed = x + attended
    expected = block.mlp.fc2(F.gelu(block.mlp.fc1(block.norm2(summed))))
    if widened_in == "attention":
        expected = expected + summed
    elif kind != "none":
        expected = expected + widened({"normalised": block.norm2(summed), "raw": summed}[kind])
    found, found_grid = block(x, grid)
    assert found_grid == left
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(block.of_class_token(x, grid), expected[:, :1], rtol=1e-10, atol=1e-12)
    assert (block.proj is None) == (kind == "none")


@pytest.mark.parametrize("widened_in", WIDENED_IN)
def test_a_branch_that_nothing_passes_is_never_dropped(widened_in):
    """With the only branch a sample would be lost as a whole, or its last bias be all that is left."""
    model = lively("none", widened_in, drop_path=0.0)
    block = model.blocks[0 if widened_in == "mlp" else 1].train()
    x, grid = torch.randn(8, 1 + 32, 16, dtype=torch.float64), (2, 4, 4)
    kept, _ = block(x, grid)
    block.drop_path.rate = 0.999  # hardly any sample keeps the branches that something passes
    dropped, _ = block(x, grid)
    if widened_in == "mlp":
        torch.testing.assert_close(dropped, block.mlp(block.norm2(x)))
    else:
        torch.testing.assert_close(dropped, block.attn(block.norm1(x), grid)[0])
    assert not torch.allclose(kept, dropped)


def test_a_description_without_the_field_is_of_a_normalised_skip():
    values = json.loads(json.dumps(create_model("mvit_test_4x32").config.to_dict()))
    assert values.pop("width_skip") == "normalised"
    assert MViTConfig.from_dict(values) == create_model("mvit_test_4x32").config


@pytest.mark.parametrize("kind", ["raw", "none"])
@pytest.mark.parametrize(
    "fields", [{"widen_in": "merging"}, {"widen_in": "attention", "reversible": "average", "class_token": False}]
)
def test_there_is_no_choice_where_no_residual_widens(kind, fields):
    with pytest.raises(ValueError, match=f"width_skip is {kind!r} with widen_in .* so leave it out"):
        MViTConfig(width_skip=kind, **fields)
    with pytest.raises(ValueError, match="width_skip is 'linear': choose one of normalised, raw, none"):
        MViTConfig(width_skip="linear")
