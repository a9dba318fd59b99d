"""Attention in blocks of queries, against attention written out, in float64; and where it is taken."""

import pytest
import torch
from torch.nn import functional as F

from mvit import create_model
from mvit.model import attention, blockwise

WIDE_ENOUGH = {"clip": (4, 64, 64), "num_classes": 5}


def heads(batch, count, tokens, width, dtype=torch.float64):
    """As the model gives them: (B, h, N, d) whose heads lie side by side in memory."""
    x = torch.randn(batch, tokens, count * width, dtype=dtype)
    return x.unflatten(-1, (count, width)).transpose(1, 2).requires_grad_()


def written_out(q, k, v, scale):
    return (scale * q @ k.transpose(-2, -1)).softmax(dim=-1) @ v


@pytest.mark.parametrize("weights_in_a_block", [1, 50, 10**6], ids=["a row", "some rows", "all rows"])
@pytest.mark.parametrize(
    ("batch", "count", "queries", "keys", "widths"),
    [(1, 1, 1, 1, (4, 4)), (2, 3, 37, 11, (6, 6)), (1, 2, 8, 29, (16, 8)), (2, 1, 50, 50, (5, 3))],
)
def test_forward_and_gradients_are_those_of_attention_written_out(
    monkeypatch, batch, count, queries, keys, widths, weights_in_a_block
):
    monkeypatch.setattr(blockwise, "WEIGHTS_IN_A_BLOCK", weights_in_a_block)
    torch.manual_seed(queries)
    width, width_v = widths
    q, k, v = heads(batch, count, queries, width), heads(batch, count, keys, width), heads(batch, count, keys, width_v)
    ours, plain = blockwise.attention(q, k, v, 0.3), written_out(q, k, v, 0.3)
    torch.testing.assert_close(ours, plain, rtol=1e-12, atol=1e-12)
    spread = torch.randn_like(plain)
    for mine, theirs in zip(
        torch.autograd.grad(ours, (q, k, v), spread), torch.autograd.grad(plain, (q, k, v), spread), strict=True
    ):
        # The sums over blocks are float32, whatever the rest is.
        torch.testing.assert_close(mine, theirs, rtol=2e-6, atol=2e-6)


def test_the_result_is_tokens_without_a_copy():
    q, k = heads(2, 3, 5, 4), heads(2, 3, 7, 4)
    assert blockwise.attention(q, k, k, 1.0).transpose(1, 2).flatten(2)._is_view()


def test_it_errs_as_attention_written_out_in_bfloat16_does():
    torch.manual_seed(0)
    q, k, v = (heads(1, 2, n, 32, torch.bfloat16).detach() for n in (300, 200, 200))
    exact = written_out(*(x.double() for x in (q, k, v)), 32**-0.5)

    def error(result):
        return (result.double() - exact).norm() / exact.norm()

    ours, plain = error(blockwise.attention(q, k, v, 32**-0.5)), error(written_out(q, k, v, 32**-0.5))
    assert ours < 1.1 * plain
    assert ours < 2**-7


def test_where_it_is_taken(monkeypatch):
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: True)
    large, few = heads(1, 1, 512, 8, torch.bfloat16), heads(1, 1, 1, 8, torch.bfloat16)
    assert blockwise.serves(large, large)
    assert not blockwise.serves(few, large)
    assert not blockwise.serves(large.float(), large.float())
    assert not blockwise.serves(large.to("meta"), large.to("meta"))
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
    assert not blockwise.serves(large, large)


@pytest.mark.parametrize("relative", ["none", "grid"])
def test_a_model_takes_it_under_autocast_and_trains_alike(monkeypatch, relative):
    monkeypatch.setattr(blockwise, "LEAST_WEIGHTS", 1)
    model = create_model("mvit_test_4x32", relative_positions=relative, drop_path=0.0, head_dropout=0.0).train()
    clips = torch.randn(2, 3, 4, 32, 32)
    taken = []
    monkeypatch.setattr(blockwise, "attention", lambda *x, run=blockwise.attention: taken.append(1) or run(*x))

    def step():
        model.zero_grad()
        with torch.autocast("cpu", torch.bfloat16):
            logits = model(clips)
        logits.float().square().sum().backward()
        return torch.cat([parameter.grad.flatten() for parameter in model.parameters()])

    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
    plain = step()
    assert not taken
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: True)
    blocks = step()
    assert taken
    assert F.cosine_similarity(plain, blocks, dim=0) > 0.999
    assert (plain - blocks).norm() < 0.05 * plain.norm()


@pytest.mark.parametrize("autocast", [False, True], ids=["float32", "bf16"])
@pytest.mark.parametrize("kind", [torch.float64, torch.float32, torch.bfloat16])
def test_max_pooling_without_kept_indices_has_the_gradients_of_torch(kind, autocast):
    torch.manual_seed(1)
    pool = create_model("mvit_test_4x32").blocks[1].config.pool_q.skip
    clip = torch.randn(2, 5, 3, 9, 7).to(kind).requires_grad_()
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        ours = attention.max_pool3d(clip, pool)
    theirs = F.max_pool3d(clip, pool.kernel, pool.stride, pool.padding)
    assert ours.dtype == kind
    assert torch.equal(ours, theirs)
    spread = torch.randn(theirs.shape).to(kind)
    assert torch.equal(*(torch.autograd.grad(pooled, clip, spread)[0] for pooled in (ours, theirs)))


def test_a_compiled_model_is_traced_past_it_in_one_piece(monkeypatch):
    monkeypatch.setattr(blockwise, "LEAST_WEIGHTS", 1)
    model = create_model("mvit_test_4x32").eval()
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        logits = torch.compile(model, backend="eager", fullgraph=True)(torch.randn(1, 3, 4, 32, 32))
    assert logits.shape == (1, 400)
