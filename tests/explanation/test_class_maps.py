"""Class maps: as defined, and on the square that decides where one was planted."""

from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from alive import two_stages
from lively import KINDS, lively
from mvit.explanation.class_maps import class_map, entered
from mvit.explanation.pooling import on_pixels
from mvit.model.mvit import MViT

SIZE = (4, 32, 32)
SIDE = 12


def planted(count: int, seed: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Clips of noise with a bright square (class 1), a dark one (class 2) or none (class 0), and where it lies."""
    draw = torch.Generator().manual_seed(seed)
    clips = 0.2 * torch.randn(count, 3, *SIZE, generator=draw)
    labels = torch.randint(0, 3, (count,), generator=draw)
    corners = torch.randint(0, 33 - SIDE, (count, 2), generator=draw)
    for clip, label, (top, left) in zip(clips, labels.tolist(), corners.tolist(), strict=True):
        clip[:, :, top : top + SIDE, left : left + SIDE] += (0, 2, -2)[label]
    return clips, labels, corners


@pytest.mark.parametrize("class_token", [True, False])
def test_a_planted_square_is_found(class_token):
    """Learned in seconds by what surrounds the blocks, so that tokens still tell of the place where they lie."""
    torch.manual_seed(0)
    model = MViT(replace(two_stages(SIZE, (1, 2), (16, 32)), class_token=class_token, init="torch"))
    learning = [*model.stem.parameters(), *model.norm.parameters(), *model.head.parameters()]
    optimiser = torch.optim.AdamW(learning, lr=1e-2)
    for step in range(40):
        clips, labels, _ = planted(16, seed=step + 1)
        optimiser.zero_grad()
        F.cross_entropy(model(clips), labels).backward()
        optimiser.step()
    model.eval()
    index = entered(model.config, 2)
    clips, labels, corners = planted(30, seed=999)
    found = []
    for clip, label, corner in zip(clips, labels.tolist(), corners, strict=True):
        if label:
            pixels = on_pixels(class_map(model, clip[None], label, index), model.config, SIZE, index)[0]
            place = (pixels == pixels.max()).nonzero().double().mean(dim=0)[1:]  # the middle of the highest token
            found.append(bool(((place >= corner) & (place < corner + SIDE)).all()))
    assert sum(found) >= 0.8 * len(found), f"{sum(found)} of {len(found)}; by chance it would be one of seven"


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
