"""Class maps: as defined, and on the square that decides where one was planted."""

from dataclasses import replace

import pytest
import torch

from alive import two_stages
from lively import KINDS, lively
from mvit import create_model
from mvit.explanation.class_maps import class_map, entered
from mvit.explanation.pooling import on_pixels
from mvit.model.mvit import MViT

SIZE, SIDE = (4, 32, 32), 12


def built(*, class_token: bool) -> MViT:
    """A model whose class 1 is brightness: its stem measures that, and its last attention takes the mean."""
    fields = {"widths": (16, 16), "heads": (1, 1), "pooling": "average", "positions": "none"}
    model = create_model("mvit_test_4x32", num_classes=2, class_token=class_token, **fields).eval()
    with torch.no_grad():
        for module in model.modules():
            if not isinstance(module, torch.nn.LayerNorm):
                for parameter in module.parameters(recurse=False):
                    parameter.zero_()
        model.stem.weight[0] = 1 / model.stem.weight[0].numel()
        model.stem.bias[1], model.stem.bias[2] = 1, -1  # what brightness is measured by, once it is normalised
        model.blocks[1].attn.v.weight.copy_(torch.eye(16))
        model.blocks[1].attn.proj.weight.copy_(torch.eye(16))
        model.head.weight[1, 0] = 1
    return model


@pytest.mark.parametrize("class_token", [True, False])
def test_a_planted_bright_square_is_found(class_token):
    model = built(class_token=class_token)
    index = entered(model.config, 2)
    for top, left in ((0, 0), (0, 20), (5, 9), (11, 2), (14, 18), (20, 20)):
        clip = 0.2 * torch.randn(1, 3, *SIZE)
        clip[..., top : top + SIDE, left : left + SIDE] += 2
        pixels = on_pixels(class_map(model, clip, 1, index), model.config, SIZE, index)[0]
        place = (pixels == pixels.max()).nonzero().double().mean(dim=0)[1:]  # the middle of the highest token
        assert top <= place[0] < top + SIDE
        assert left <= place[1] < left + SIDE
        assert class_map(model, clip, 0, index).count_nonzero() == 0


@pytest.mark.parametrize("kind", KINDS)
def test_a_token_counts_by_the_slope_of_the_logit_as_it_grows(kind):
    model, clips = lively(kind)
    index, first = entered(model.config, 1), int(model.config.class_token)
    found = class_map(model, clips, 1, index)
    assert all(parameter.grad is None for parameter in model.parameters())
    reader = model.norm if index == len(model.blocks) else model.blocks[index].norm1

    def logits(token, growth):
        def grown(_, given, read):
            read[:, first + token] *= growth

        hook = reader.register_forward_hook(grown)
        x, grid = model.embed(clips)
        for block in model.blocks:
            x, grid = block(x, grid)
        hook.remove()
        return model.classify(x)[:, 1]

    with torch.no_grad():
        for token in (0, 5):
            slope = (logits(token, 1 + 1e-6) - logits(token, 1 - 1e-6)) / 2e-6
            torch.testing.assert_close(found[:, token], slope, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if KINDS[kind].get("class_token") is False])
def test_the_tokens_that_a_head_without_class_token_reads_sum_to_the_logit(kind):
    model, clips = lively(kind)
    found = class_map(model, clips, 2, entered(model.config, model.config.stages))
    with torch.no_grad():
        torch.testing.assert_close(found.sum(dim=1) + model.head.bias[2], model(clips)[:, 2])


def test_stages_and_the_blocks_that_their_tokens_enter():
    config = two_stages(SIZE, (1, 2), (16, 32))
    assert [entered(config, stage) for stage in (1, 2)] == [1, 2]
    assert [entered(replace(config, class_token=False), stage) for stage in (1, 2)] == [1, 3]
    for stage in (0, 3):
        with pytest.raises(ValueError, match=f"stage {stage} does not exist: the model has stages 1 to 2"):
            entered(config, stage)
