"""Attention computed again: it sums to one, and gives what the block's own attention gave."""

import pytest
import torch
from hypothesis import given, settings

from alive import MERGED
from lively import KINDS, lively
from mvit import create_model
from mvit.explanation.attention import attentions
from mvit.explanation.class_maps import class_map
from mvit.model.mvit import MViT
from strategies import triples, without_merging


@pytest.mark.parametrize("kind", KINDS)
def test_weights_times_values_are_the_block_s_own_attention(kind):
    model, clips = lively(kind)
    own = []
    for block in model.blocks:
        block.attn.register_forward_hook(lambda _, x, y: own.append((x, y)))
    found = list(attentions(model, clips))
    assert len(found) == len(model.blocks)
    for attention, block, ((x, grid), (expected, _)) in zip(found, model.blocks, own, strict=True):
        attn, config = block.attn, attention.block
        values = attn.pool_v(attn.v(x), grid)[0] if attn.pool_v else attn.v(x)
        result = (attention.weights @ values.unflatten(-1, (attn.heads, -1)).transpose(1, 2)).transpose(1, 2)
        if config.residual_pooling:
            queries = attn.pool_q(attn.q(x), grid)[0] if attn.pool_q else attn.q(x)
            queries = queries.unflatten(-1, (attn.heads, -1))
            first = int(config.class_token and not config.residual_class_token)
            result = torch.cat([result[:, :first], (result + queries)[:, first:]], dim=1)
        torch.testing.assert_close(attn.proj(result.flatten(2)), expected)
        assert attention.weights.std(dim=-1).mean() > 1e-3, "attention that prefers nothing tests nothing"


@settings(max_examples=10)
@given(config=without_merging(), clip=triples((1, 8, 8), (4, 20, 20)))
def test_rows_sum_to_one_on_keys_and_on_cells(config, clip):
    model = MViT(config).double().eval()
    for attention in attentions(model, torch.randn(1, 3, *clip, dtype=torch.float64)):
        tokens = torch.Size(attention.grid).numel() + attention.class_tokens
        ones = torch.ones((), dtype=torch.float64)
        sums = attention.weights.sum(-1)
        torch.testing.assert_close(sums, ones.expand_as(sums))
        sums = attention.read().sum(-1)
        torch.testing.assert_close(sums, ones.expand(1, attention.block.heads))
        rows = attention.between_cells()
        assert rows.shape == (1, attention.block.heads, tokens, tokens)
        sums = rows.sum(-1)
        assert (sums.round() == 1).all() or any(s > 1 for s in attention.block.pool_q.stride)
        torch.testing.assert_close(sums, sums.round().clamp(0, 1))


def test_without_pooling_cells_ask_what_the_queries_ask():
    model, clips = lively("columnar")
    for attention in attentions(model, clips):
        torch.testing.assert_close(attention.between_cells(), attention.weights)


@pytest.mark.parametrize("kind", KINDS)
def test_looking_leaves_the_model_as_it_was(kind):
    model, clips = lively(kind)
    with torch.no_grad():
        before = model(clips)
        looked = list(attentions(model, clips))
        assert torch.equal(model(clips), before)
        x, grid = model.embed(clips)
        for block in model.blocks:
            x, grid = block(x, grid)
        torch.testing.assert_close(model.classify(x), before)
    assert len(looked) == len(model.blocks)
    assert not any(block.attn._forward_pre_hooks for block in model.blocks)
    assert all(parameter.grad is None for parameter in model.parameters())


def test_a_model_that_merges_patches_is_refused():
    model, clip = create_model("mvit_test_4x32", **MERGED), torch.randn(1, 3, 4, 32, 32)
    for look in (lambda: next(attentions(model, clip)), lambda: class_map(model, clip, 0, 1)):
        with pytest.raises(ValueError, match="merges patches between its stages"):
            look()
