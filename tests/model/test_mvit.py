import copy
import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mvit import create_model, list_models
from mvit.model.attention import MultiscaleAttention, TokenPool, join_class_token, split_class_token, tokens, volume
from mvit.model.block import StochasticDepth
from mvit.model.config import BlockConfig, MViTConfig, PoolConfig

TEST = "mvit_test_4x32"


def tiny(**fields):
    return create_model(TEST, num_classes=5, **fields).eval()


@pytest.mark.parametrize(
    "name", [name for name in list_models() if "tiny" in name or "small" in name or "test" in name]
)
def test_small_presets_train(name):
    model = create_model(name, num_classes=3)
    loss = model(torch.randn(2, 3, *model.config.clip)).square().mean()
    loss.backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


@given(frames=st.integers(1, 9), height=st.integers(4, 50), width=st.integers(4, 50), batch=st.integers(1, 2))
def test_any_size_runs_and_grids_are_the_configuration_s(frames, height, width, batch):
    model = tiny()
    clips = torch.randn(batch, 3, frames, height, width)
    with torch.no_grad():
        assert model(clips).shape == (batch, 5)
        pyramid = model.features(clips)
    grid = model.config.grid_of((frames, height, width))
    assert grid == (-(-frames // 2), -(-height // 4), -(-width // 4))
    for feature, stage, channels in zip(pyramid, range(model.config.stages), (32, 32), strict=True):
        halved = (grid[0], -(-grid[1] // 2**stage), -(-grid[2] // 2**stage))
        assert feature.shape == (batch, channels, *halved)


@pytest.mark.parametrize("clip", [(8, 112, 112), (16, 224, 224), (13, 190, 250)])
def test_one_model_runs_at_three_sizes(clip):
    model = create_model("mvit_tiny_16x64", num_classes=2).eval()
    with torch.no_grad():
        assert model(torch.randn(1, 3, *clip)).isfinite().all()


@pytest.mark.parametrize(
    ("pooling", "positions", "init"),
    list(itertools.product(["conv", "max", "average"], ["none", "space", "joint", "separate"], ["official", "torch"])),
)
def test_every_option_gives_a_model_that_learns(pooling, positions, init):
    model = create_model(TEST, num_classes=2, pooling=pooling, positions=positions, init=init)
    clips, labels = torch.randn(4, 3, 4, 32, 32), torch.tensor([0, 1, 0, 1])
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    losses = []
    for _ in range(8):
        loss = torch.nn.functional.cross_entropy(model(clips), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]


def test_official_initialisation_draws_everything_and_starts_biases_at_two_hundredths():
    official, torchs = tiny(init="official"), tiny(init="torch")
    assert official.stem.weight.std().item() == pytest.approx(0.02, rel=0.1)
    assert official.blocks[0].attn.pool_k.weight.std().item() == pytest.approx(0.02, rel=0.15)
    assert (official.blocks[0].norm1.bias == 0.02).all()
    assert torchs.blocks[0].attn.pool_k.weight.std().item() == pytest.approx(27**-0.5 / 3**0.5, rel=0.2)
    assert (torchs.blocks[0].norm1.bias == 0).all()


def test_other_kernels_strides_and_paddings():
    model = tiny(
        kernel_q=((1, 1, 1), (1, 2, 2)),
        padding_q=((0, 0, 0), (0, 0, 0)),
        kernel_kv=((1, 5, 5), (3, 3, 3)),
        stride_kv=((1, 4, 4), (2, 1, 1)),
    )
    with torch.no_grad():
        assert [tuple(f.shape[2:]) for f in model.features(torch.randn(1, 3, 4, 32, 32))] == [(2, 8, 8), (2, 4, 4)]


def test_the_columnar_vit_pools_nothing():
    model = create_model("vit_b_8x8", clip=(2, 32, 32), depths=(2,), widths=(24,), heads=(3,), num_classes=4).eval()
    assert not any(isinstance(module, TokenPool) for module in model.modules())
    with torch.no_grad():
        assert [tuple(f.shape) for f in model.features(torch.randn(1, 3, 2, 32, 48))] == [(1, 24, 2, 2, 3)]


@pytest.mark.parametrize("pooling", ["conv", "max", "average"])
@pytest.mark.parametrize("grid", [(4, 6, 6), (3, 5, 7)])
def test_fused_attention_equals_the_explicit_one(pooling, grid):
    """The oracle: pools on folded heads, softmax of products, all in float64, on fresh random inputs."""
    halve = PoolConfig(kernel=(3, 3, 3), stride=(1, 2, 2), padding=(1, 1, 1))
    config = BlockConfig(
        stage=0,
        merge=None,
        width=12,
        width_attention=12,
        width_out=12,
        widen_in="mlp",
        width_skip="normalised",
        heads=3,
        pooling=pooling,
        pool_q=halve,
        pool_kv=halve,
        class_token=True,
        residual_pooling=False,
        residual_class_token=False,
        qkv_bias=True,
        reversible="none",
        relative_grids=None,
        drop_path=0.0,
        is_first_of_stage=False,
        is_last_of_stage=False,
    )
    attention = MultiscaleAttention(config).double()
    count = grid[0] * grid[1] * grid[2]
    x = torch.randn(2, 1 + count, 12, dtype=torch.float64)

    def pooled(part, pool):
        heads = part.view(2, 1 + count, 3, 4).transpose(1, 2).reshape(6, 1 + count, 4)
        clip = heads[:, 1:].transpose(1, 2).reshape(6, 4, *grid)
        if pooling == "conv":
            clip = torch.nn.functional.conv3d(clip, pool.weight, None, halve.stride, halve.padding, groups=4)
        else:
            operator = {"max": torch.nn.MaxPool3d, "average": torch.nn.AvgPool3d}[pooling]
            clip = operator(halve.kernel, halve.stride, halve.padding)(clip)
        out = torch.cat([heads[:, :1], clip.flatten(2).transpose(1, 2)], dim=1)
        return (pool.norm(out) if pooling == "conv" else out).view(2, 3, -1, 4)

    q, k, v = (pooled(getattr(attention, name)(x), getattr(attention, f"pool_{name}")) for name in ("q", "k", "v"))
    weights = (q @ k.transpose(-2, -1) * 4**-0.5).softmax(dim=-1)
    expected = attention.proj((weights @ v).transpose(1, 2).reshape(2, -1, 12))
    actual, new_grid = attention(x, grid)
    assert new_grid == halve.grid_of(grid)
    torch.testing.assert_close(actual, expected, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(attention.weights(x, grid), weights, rtol=1e-10, atol=1e-12)


def test_volume_is_a_view_and_tokens_undo_it():
    x = torch.randn(2, 1 + 3 * 4 * 5, 6)
    class_token, body = split_class_token(x, True)
    clip = volume(body, (3, 4, 5))
    assert clip.shape == (2, 6, 3, 4, 5)
    assert clip.data_ptr() == body.data_ptr()
    assert torch.equal(join_class_token(class_token, tokens(clip)), x)
    assert split_class_token(x, False)[1] is x


def test_stochastic_depth_keeps_the_expectation_and_drops_whole_samples():
    drop = StochasticDepth(0.25)
    x = torch.ones(4000, 2, 3)
    out = drop(x)
    kept = out[:, 0, 0] != 0
    assert torch.equal(out[kept], torch.full_like(out[kept], 1 / 0.75))
    assert not out[~kept].any()
    assert kept.float().mean().item() == pytest.approx(0.75, abs=0.03)
    assert drop.eval()(x) is x


def test_positions_are_cached_until_weights_change():
    model, clip = tiny(), torch.randn(1, 3, 6, 40, 24)
    with torch.no_grad():
        before = model(clip)
        first = model.positions.table((3, 10, 6))
        assert model.positions.table((3, 10, 6)) is first
        model.positions.spatial.add_(torch.randn(model.positions.spatial.shape))
        assert model.positions.table((3, 10, 6)) is not first
        assert not torch.allclose(model(clip), before)
    assert torch.allclose(copy.deepcopy(model)(clip), model(clip))
    with torch.inference_mode():
        assert create_model(TEST)(clip).isfinite().all()


def test_replicas_of_data_parallel_have_each_their_own_positions():
    """They have no parameters of their own, and share all else that the model keeps."""
    positions = tiny().positions
    tables = []
    with torch.no_grad():
        for value in (1.0, 2.0):
            replica = positions._replicate_for_data_parallel()
            for name, parameter in positions.named_parameters():
                setattr(replica, name, torch.full_like(parameter, value))
            tables.append(replica.table((2, 8, 8)))
    assert torch.equal(tables[1], 2 * tables[0])


def test_positions_of_a_constant_stay_constant_at_any_grid():
    positions = tiny().positions
    with torch.no_grad():
        positions.spatial.fill_(2.0)
        positions.temporal.fill_(0.5)
        table = positions.table((5, 3, 11))
    torch.testing.assert_close(table[:, 1:], torch.full((1, 165, 16), 2.5))


def test_shuffled_frames_change_the_answer():
    model, clip = tiny(), torch.randn(1, 3, 8, 32, 32)
    with torch.no_grad():
        assert not torch.allclose(model(clip), model(clip.flip(2)), atol=1e-4)


@pytest.mark.parametrize("shape", [(1, 4, 4, 32, 32), (3, 4, 32, 32)])
def test_wrong_shapes_are_explained(shape):
    with pytest.raises(ValueError, match="expected floats"):
        tiny()(torch.randn(shape))
    with pytest.raises(ValueError, match="uint8"):
        tiny()(torch.zeros(1, 3, 4, 32, 32, dtype=torch.uint8))


def test_unknown_fields_name_the_nearest():
    with pytest.raises(ValueError, match="'head_dropout'"):
        create_model(TEST, head_dropuot=0.1)


def test_lists_are_taken_for_tuples():
    assert create_model(TEST, depths=[1, 2]).config.depths == (1, 2)
    assert isinstance(create_model(MViTConfig(), depths=[1, 1, 1, 1], num_classes=2).config, MViTConfig)


@pytest.mark.parametrize("pooling", ["conv", "max"])
def test_a_model_in_bfloat16_runs_on_a_cpu(pooling):
    model = create_model("mvit_test_4x32", pooling=pooling).eval()
    clips = torch.randn(1, 3, 4, 32, 32)
    with torch.no_grad():
        expected = model(clips)
        logits = model.bfloat16()(clips.bfloat16())
    assert logits.dtype == torch.bfloat16
    torch.testing.assert_close(logits.float(), expected, rtol=0.1, atol=0.05)


@pytest.mark.parametrize("positions", ["none", "space", "joint", "separate"])
def test_no_two_gradients_of_a_single_clip_share_memory(positions):
    """Those that do are added to twice by the next backward pass, and clipped twice."""
    model = create_model("mvit_test_4x32", num_classes=3, positions=positions)
    clips, weights = torch.randn(3, 3, 4, 32, 32), torch.randn(3, 3)
    (model(clips) * weights).sum().backward()
    expected = [parameter.grad for parameter in model.parameters()]
    model.zero_grad()
    for clip, weight in zip(clips, weights, strict=True):
        (model(clip[None]) * weight).sum().backward()
    for (name, parameter), gradient in zip(model.named_parameters(), expected, strict=True):
        torch.testing.assert_close(parameter.grad, gradient, rtol=1e-4, atol=1e-4, msg=name)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("fields", [{}, {"relative_positions": "grid", "residual_pooling": True}], ids=["v1", "v2"])
def test_attention_stays_finite_where_logits_are_larger_than_its_type_can_hold(fields, dtype):
    """Logits are summed and their softmax taken in float32; fp16 ends at 65504."""
    attention = create_model("mvit_test_4x32", **fields).blocks[0].attn
    with torch.no_grad():
        attention.q.weight.normal_()
        for pool in filter(None, (attention.pool_q, attention.pool_k)):
            pool.norm.weight.fill_(300.0)
        attention.q.weight.mul_(1.0 if attention.pool_q else 75.0)
    x, grid = torch.randn(2, 129, 16, requires_grad=True), (2, 8, 8)
    with torch.no_grad():
        q, k, *_ = attention._pooled_heads(x, grid)
        assert (q * attention.scale @ k.transpose(-2, -1)).abs().max() > 2 * 65504
    with torch.autocast("cpu", dtype=dtype):
        result, _ = attention(x, grid)
    result.float().sum().backward()
    assert result.isfinite().all()
    gradients = [x.grad, *(parameter.grad for parameter in attention.parameters())]
    assert all(gradient.isfinite().all() for gradient in gradients if gradient is not None)
