"""Learned positions and kernels, from ones that were written into a model."""

import math

import pytest
import torch

from alive import V2
from mvit import create_model
from mvit.explanation.learned import kernels, positions


def test_positions_are_as_alike_as_they_were_made():
    model = create_model("mvit_test_4x32")
    t, h, w = model.positions.grid
    angle = torch.arange(w) / w * math.pi
    row = torch.stack([angle.cos(), angle.sin()], dim=-1).expand(h, w, 2)
    with torch.no_grad():
        model.positions.spatial.zero_()
        model.positions.spatial[0, :, :2] = row.flatten(0, 1)
        model.positions.temporal[0] = torch.eye(t, model.config.widths[0])
    found = positions(model)
    assert found.keys() == {"space", "time"}
    torch.testing.assert_close(found["time"], torch.eye(t))
    expected = (angle[:, None] - angle).cos().expand(h, h, w, w).permute(0, 2, 1, 3)
    torch.testing.assert_close(found["space"], expected)


def test_tables_of_every_kind():
    joint = positions(create_model("mvit_test_4x32", positions="joint"))
    assert {name: table.ndim for name, table in joint.items()} == {"time": 2, "space": 4}
    assert positions(create_model("mvit_test_4x32", positions="space")).keys() == {"space"}
    assert positions(create_model("mvit_test_4x32", positions="none")) == {}
    relative = positions(create_model("mvit_test_4x32", **V2))
    assert relative.keys() == {f"block {index}, {axis}" for index in (0, 1) for axis in ("time", "height", "width")}


def test_a_kernel_s_weight_lies_where_it_was_put():
    model = create_model("mvit_test_4x32")
    with torch.no_grad():
        model.blocks[1].attn.pool_q.weight.zero_()
        model.blocks[1].attn.pool_q.weight[:, 0, 1, 2, 0] = torch.randn(16)
    found = dict(kernels(model))
    assert {index: list(pools) for index, pools in found.items()} == {
        0: ["keys", "values"],
        1: ["queries", "keys", "values"],
    }
    assert found[1]["queries"][1, 2, 0].item() == pytest.approx(1)
    assert found[0]["keys"].sum().item() == pytest.approx(1)
    assert dict(kernels(create_model("mvit_test_4x32", pooling="max"))) == {0: {}, 1: {}}
