"""Mean attention distance against attention whose distance is known."""

from dataclasses import replace

import pytest
import torch

from lively import lively
from mvit.explanation.attention import attentions
from mvit.explanation.distance import distances, of_block


def test_without_preference_it_is_the_mean_distance_between_centres():
    model, clips = lively("v1")
    for block in model.blocks:
        for parameter in block.attn.q.parameters():
            torch.nn.init.zeros_(parameter)
        if block.attn.pool_q:
            torch.nn.init.zeros_(block.attn.pool_q.norm.bias)
    for block in distances(model, [clips[:1], clips[1:]]):
        assert block.pixels == pytest.approx([block.even_pixels] * len(block.pixels), rel=1e-6)
        assert block.frames == pytest.approx([block.even_frames] * len(block.frames), rel=1e-6)


def test_it_is_as_far_as_each_query_looks():
    model, clips = lively("columnar")  # tokens lie 2 frames and 4 pixels apart
    attention = next(attentions(model, clips[:1]))
    t, h, w = attention.grid
    tokens = torch.eye(1 + t * h * w, dtype=torch.float64)
    body = torch.arange(t * h * w).view(t, h, w)
    looks = {(0, 0): body, (8, 0): body.roll(2, dims=2), (0, 2): body.flip(0)}
    assert t == 2
    heads = torch.stack([tokens[torch.cat([torch.zeros(1).long(), 1 + look.flatten()])] for look in looks.values()])
    found = of_block(replace(attention, weights=heads[None]), model.config)
    wrapped = (8 * (w - 2) + 4 * (w - 2) * 2) / w  # two of a row's tokens look back over all but two
    assert found.pixels == pytest.approx([0, wrapped, 0])
    assert found.frames == pytest.approx([0, 0, 2])


def test_the_class_token_has_no_place():
    model, clips = lively("columnar")
    attention = next(attentions(model, clips[:1]))
    weights = attention.weights.clone()
    weights[..., 0], weights[..., 1:] = 0.9, 0.1 * weights[..., 1:]
    found = of_block(replace(attention, weights=weights), model.config)
    assert found.pixels == pytest.approx(of_block(attention, model.config).pixels)


def test_pooled_windows_lie_at_their_centres_and_images_have_no_time():
    model, clips = lively("v1")
    of_first, of_second = (of_block(each, model.config) for each in attentions(model, clips[:1]))
    assert of_first.even_frames == of_second.even_frames == 1.0  # 2 grid frames, 2 apart, half of the pairs
    model, images = lively("for images")
    assert all(block.even_frames == 0 and set(block.frames) == {0} for block in distances(model, [images[:1]]))


def test_a_mean_over_nothing_is_refused():
    with pytest.raises(ValueError, match="there are none"):
        distances(lively("v1")[0], [])
