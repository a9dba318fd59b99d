"""Where the computation goes, drawn: bars and shares are those that are counted."""

import xml.etree.ElementTree as ET

import pytest

from mvit.analysis import balance
from mvit.analysis.complexity import complexity
from mvit.model.presets import get_config

SVG = "{http://www.w3.org/2000/svg}"


def said(figure: str, kind: str) -> list[str]:
    root = ET.fromstring(figure)  # noqa: S314 (our own)
    return [title.text for node in root.iter(f"{SVG}{kind}") for title in node.iter(f"{SVG}title")]


def test_bars_are_the_blocks_and_dots_the_stages():
    config = get_config("mvit_b_16x4")
    figure = balance.draw({"mvit_b_16x4": config}, config.clip)
    counted = complexity(config)
    assert said(figure, "rect") == [
        f"block {block.index}, stage {block.stage + 1}: {block.macs / 1e9:,.4g} GMAC" for block in counted.blocks
    ]
    assert "70.6 GMAC for 16x224x224" in figure
    in_blocks = sum(stage.macs for stage in counted.stages)
    for stage, cost in enumerate(counted.stages):
        share = f"stage {stage + 1}: {100 * cost.macs / in_blocks:.1f}\N{NO-BREAK SPACE}%"
        assert said(figure, "circle").count(share) >= 2, "the size itself stands in both panels of other sizes"
    assert len(said(figure, "circle")) == 2 * len(balance.FACTORS) * 4


def test_sizes_that_a_model_cannot_take_are_left_out_and_images_have_no_length():
    config = get_config("mvit_s_16x4")
    assert len(said(balance.draw({"s": config}, (1, 12, 12)), "circle")) == 3 * len(balance.FACTORS)
    assert len(said(balance.draw({"s": config}, (1, 2, 2)), "circle")) == 3 * (len(balance.FACTORS) - 1)
    small = balance.draw({"s": config}, (1, 2, 2))
    assert "e-0" not in small.replace("</style>", "\0").split("\0")[1]
    assert "MMAC" in small
    with pytest.raises(ValueError, match="too small"):
        balance.draw({"s": config}, (1, 1, 1))
