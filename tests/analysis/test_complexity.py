import pytest

from mvit import create_model
from mvit.analysis.complexity import complexity, describe
from mvit.model.presets import get_config


@pytest.mark.parametrize(
    ("name", "parameters", "gmac", "gmac_with_norms"),
    [
        ("mvit_b_16x4", 36_610_672, 70.599, 70.80),
        ("mvit_b_32x3", 36_611_440, 169.96, 170.37),
        ("mvit_b_64x3", 36_612_976, 455.06, 455.88),
        ("mvit_b_24_32x3", 53_172_880, None, 236.81),
        ("mvit_b_16_image", 36_982_600, 7.81, 7.84),
        ("mvit_b_24_wide_320_image", 72_961_832, 32.72, 32.83),
        ("vit_b_8x8", 87_159_952, None, 179.71),
    ],
)
def test_published_figures(name, parameters, gmac, gmac_with_norms):
    """Parameters to the integer, multiply-adds within 0.1 % of the official code's (its fvcore counts)."""
    counted = complexity(get_config(name))
    assert counted.parameters == parameters
    if gmac:
        assert counted.macs / 1e9 == pytest.approx(gmac, rel=1e-3)
    assert counted.macs_with_norms / 1e9 == pytest.approx(gmac_with_norms, rel=1e-3)


def test_variants_of_mvit_b():
    """Max pooling with kernels of stride + 1, a 600-class head, and the YAML's kernels for 24 blocks."""
    strides = get_config("mvit_b_16x4").stride_kv
    overlapping = tuple(tuple(s + 1 if s > 1 else 1 for s in stride) for stride in strides)
    kernels = {"kernel_q": ((1, 1, 1), *((1, 3, 3),) * 3), "kernel_kv": overlapping}

    def count(name, **fields):
        return complexity(create_model(name, **fields).config)

    assert count("mvit_b_16x4", pooling="max", **kernels).parameters == 36_513_232
    assert count("mvit_b_16x4", pooling="max", **kernels).macs_with_norms / 1e9 == pytest.approx(70.48, rel=1e-3)
    assert count("mvit_b_24_32x3", **kernels).parameters == 53_115_280
    assert count("mvit_b_24_32x3", num_classes=600).parameters == 53_172_880 + 200 * 769


def test_blocks_of_mvit_b_follow_the_published_table():
    """The official code's: queries, keys, parameters and multiply-adds of every block."""
    blocks = complexity(get_config("mvit_b_16x4")).blocks
    assert [(b.queries, b.keys) for b in blocks] == [
        (25089, 393), (6273, 1569), (6273, 393), (1569, 1569), *[(1569, 393)] * 10, (393, 1569), (393, 393),
    ]  # fmt: skip
    assert [b.parameters for b in blocks] == [
        172_992, 453_216, 672_192, 1_782_816, *[1_780_032] * 9, 2_665_920, 7_096_224, 7_093_440,
    ]  # fmt: skip
    gmac = [6.08, 8.72, 5.13, 6.82, *[3.27] * 9, 4.65, 5.90, 3.04]
    assert [b.macs / 1e9 for b in blocks] == pytest.approx(gmac, abs=0.05)


def test_other_clips_and_the_table_for_people():
    counted = complexity(get_config("mvit_test_4x32"), (7, 30, 41))
    assert counted.blocks[0].grid == (4, 8, 11)
    assert counted.blocks[1].queries == 1 + 4 * 4 * 6
    text = describe(counted)
    assert "7x30x41" in text
    assert len(text.splitlines()) == 4
