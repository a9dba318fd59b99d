"""The closed form, against published figures, against torch's counter, and against what autograd really keeps."""

import pytest
import torch
from hypothesis import given

from alive import MERGING, MODELS, Alive
from mvit import create_model
from mvit.analysis.complexity import complexity
from mvit.analysis.counter import count
from mvit.model.mvit import MViT
from mvit.model.presets import get_config, list_models
from strategies import CLIPS, any_kind


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
        ("mvitv2_t_image", 24_173_320, None, 4.70),
        ("mvitv2_s_image", 34_870_216, None, 7.00),
        ("mvitv2_b_image", None, None, 10.16),
        ("mvitv2_l_image", None, None, 43.87),
        ("mvitv2_s_16x4", 34_537_744, 64.224, 64.46),
        ("mvitv2_b_32x3", 51_230_128, None, 225.17),
        ("mvitv2_l_40x3", 213_390_112, None, 2828.10),
        ("rev_mvit_b_16x4", 34_963_120, None, 63.85),
        ("rev_mvit_b_16_image", 39_689_320, None, 8.67),
    ],
)
def test_published_figures(name, parameters, gmac, gmac_with_norms):
    """Parameters to the integer, multiply-adds within 0.1 % of the official code's (its fvcore counts)."""
    counted = complexity(get_config(name))
    assert parameters is None or counted.parameters == parameters
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


def test_views_multiply_what_a_video_costs_and_nothing_else():
    one, many = (complexity(get_config("mvit_test_4x32"), (7, 30, 41), views) for views in ((1, 1), (5, 3)))
    assert one.blocks[0].grid == (4, 8, 11)
    assert one.blocks[1].queries == 1 + 4 * 4 * 6
    assert many.totals()["macs_per_video"] == 15 * one.macs
    assert many.to_dict()["macs_with_norms_per_video"] == 15 * one.macs_with_norms
    assert many.blocks == one.blocks


def agree(config, clip):
    """Closed form and counter, the whole and every block."""
    counted, run = complexity(config, clip), count(lambda: MViT(config), clip)
    assert counted.parameters == run.parameters
    assert counted.macs == run.macs
    assert counted.norm_elements == run.norm_elements
    assert counted.activations == run.activations
    assert [block.macs for block in counted.blocks] == [
        run.macs_by_module[f"MViT.blocks.{block.index}"] for block in counted.blocks
    ]


@pytest.mark.parametrize("name", ["mvit_test_4x32", "mvit_b_16_image", "mvitv2_s_16x4"])
def test_presets_cost_what_torch_counts(name):
    agree(get_config(name), get_config(name).clip)


@pytest.mark.slow
@pytest.mark.parametrize("name", list_models())
def test_every_preset_costs_what_torch_counts(name):
    agree(get_config(name), get_config(name).clip)


@given(config=any_kind(), clip=CLIPS)
def test_any_model_costs_what_torch_counts(config, clip):
    agree(config, clip)


def kept_for_the_backward_pass(model, clips):
    """Bytes of the distinct storages that autograd saves, parameters aside."""
    parameters = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    saved = []
    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: saved.append(tensor) or tensor, lambda tensor: tensor):
        model(clips)
    storages = {tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes() for tensor in saved}
    return sum(size for place, size in storages.items() if place not in parameters)


@pytest.mark.parametrize("fields", (MODELS | MERGING).values(), ids=MODELS | MERGING)
def test_memory_is_what_autograd_keeps_and_what_is_alive(fields):
    """The rules against a real forward pass: exact for MViTv1's training; v2 makes copies inside einsum."""
    config = create_model("mvit_test_4x32", **{"head_dropout": 0.0, "drop_path": 0.0} | fields).config
    model, clip = MViT(config), (6, 48, 56)
    counted = complexity(config, clip)
    kept = kept_for_the_backward_pass(model.train(), torch.randn(1, 3, *clip))
    assert counted.training_bytes == pytest.approx(kept, rel=0.05 if "relative_positions" in fields else 0.002)
    with torch.no_grad(), Alive() as alive:
        model.eval()(torch.randn(1, 3, *clip))
    assert counted.inference_bytes == pytest.approx(alive.most, rel=0.1)
