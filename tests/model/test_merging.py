"""A pyramid by patch merging: against torchvision's own, and a whole block against one written out."""

import pytest
import torch
from torch.nn import functional as F
from torchvision.models.swin_transformer import PatchMerging as Reference

from alive import MERGED, two_stages
from mvit import create_model
from mvit.model.attention import TokenPool
from mvit.model.block import PatchMerging
from mvit.model.config import MViTConfig
from mvit.model.mvit import MViT
from mvit.model.windows import MergeConfig


def merging(width: int, width_out: int, *, stride=(1, 2, 2), class_token=False) -> PatchMerging:
    config = MergeConfig(kernel=stride, stride=stride, padding=(0, 0, 0), width=width)
    module = PatchMerging(config, width_out, class_token=class_token).double()
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter)
    return module


@pytest.mark.parametrize(("height", "width"), [(4, 6), (5, 7), (1, 1), (3, 4)])
def test_frames_are_merged_as_swin_merges_an_image(height, width):
    ours, theirs = merging(3, 6), Reference(3).double()
    order = torch.arange(12).view(2, 2, 3).transpose(0, 1).flatten()  # theirs has columns before rows
    with torch.no_grad():
        theirs.reduction.weight.copy_(ours.reduction.weight[:, order])
        theirs.norm.weight.copy_(ours.norm.weight[order])
        theirs.norm.bias.copy_(ours.norm.bias[order])
    theirs.norm.eps = ours.norm.eps
    frames = torch.randn(2, 3, height, width, 3, dtype=torch.float64)
    x, grid = ours(frames.flatten(1, 3), (3, height, width))
    expected = theirs(frames)
    assert grid == tuple(expected.shape[1:4]) == (3, -(-height // 2), -(-width // 2))
    torch.testing.assert_close(x, expected.flatten(1, 3))


def test_windows_over_time_are_filled_up_with_zeros_too():
    module = merging(2, 5, stride=(2, 1, 3))
    clip = torch.randn(1, 3, 2, 4, 2, dtype=torch.float64)
    x, grid = module(clip.flatten(1, 3), (3, 2, 4))
    assert grid == (2, 2, 2)
    window = torch.zeros(2, 1, 3, 2, dtype=torch.float64)
    window[0, 0, 0] = clip[0, 2, 1, 3]  # the last one holds a single token
    torch.testing.assert_close(x[0, -1], module.reduction(module.norm(window.flatten())))


def test_the_class_token_stands_beside_itself():
    with_token, without = merging(3, 6, class_token=True), merging(3, 6)
    without.load_state_dict(with_token.state_dict())
    x = torch.randn(2, 1 + 2 * 3 * 4, 3, dtype=torch.float64)
    merged, grid = with_token(x, (2, 3, 4))
    torch.testing.assert_close(merged[:, 1:], without(x[:, 1:], grid=(2, 3, 4))[0])
    torch.testing.assert_close(merged[:, :1], without(x[:, :1].expand(-1, 4, -1), grid=(1, 2, 2))[0])
    assert grid == (2, 2, 2)


def written_out(model: MViT, clips: torch.Tensor) -> torch.Tensor:
    """Logits of two blocks with a merging between them and attention to all tokens, each step for itself."""
    x, (t, h, w) = model.embed(clips)
    for block in model.blocks:
        if block.merge is not None:
            body = x[:, 1:].view(len(x), t, h, w, -1)
            body = F.pad(body, (0, 0, 0, w % 2, 0, h % 2))
            h, w = body.shape[2] // 2, body.shape[3] // 2
            corners = [body[:, :, row::2, column::2] for row in (0, 1) for column in (0, 1)]
            beside = torch.cat([torch.cat([x[:, :1]] * 4, -1), torch.cat(corners, -1).flatten(1, 3)], dim=1)
            x = block.merge.norm(beside) @ block.merge.reduction.weight.T
        normed, heads = block.norm1(x), block.attn.heads
        q, k, v = (
            getattr(block.attn, part)(normed).unflatten(-1, (heads, -1)).transpose(1, 2) for part in ("q", "k", "v")
        )
        weights = (q @ k.mT / q.shape[-1] ** 0.5).softmax(-1)
        x = x + block.attn.proj((weights @ v).transpose(1, 2).flatten(2))
        x = x + block.mlp.fc2(F.gelu(block.mlp.fc1(block.norm2(x))))
    return model.head(model.norm(x[:, 0]))


@pytest.mark.parametrize("depths", [(1, 1), (1, 2)])
def test_a_whole_model_is_the_one_written_out(depths):
    model = create_model("mvit_test_4x32", num_classes=3, depths=depths, **MERGED).double().eval()
    assert not any(isinstance(module, TokenPool) for module in model.modules())
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    for size in ((4, 32, 32), (5, 36, 28)):  # the grids 8x8, and 9x7, which is odd
        clips = torch.randn(2, 3, *size, dtype=torch.float64)
        torch.testing.assert_close(model(clips), written_out(model, clips), rtol=1e-10, atol=1e-12)


def test_images_and_the_pyramid_of_features():
    model = create_model("mvit_test_4x32", num_classes=3, clip=(1, 32, 32), **MERGED).eval()
    with torch.no_grad():
        pyramid = model.features(torch.randn(2, 3, 1, 36, 28))
    assert [tuple(feature.shape) for feature in pyramid] == [(2, 16, 1, 9, 7), (2, 32, 1, 5, 4)]


def test_a_merged_model_is_exported_with_its_figures():
    model = create_model("mvit_test_4x32", num_classes=3, **MERGED).eval()
    clips = torch.randn(1, 3, 4, 36, 28)
    with torch.no_grad():
        exported = torch.export.export(model, (clips,))
        torch.testing.assert_close(exported.module()(clips), model(clips))
    assert not [node for node in exported.graph.nodes if "copy_" in str(node.target)], "nothing is written in place"


def test_positions_between_tokens_are_of_the_merged_grid():
    fields = {"positions": "none", "relative_positions": "grid", "clip": (4, 36, 36)}
    model = create_model("mvit_test_4x32", **MERGED | fields)
    assert [block.relative_grids for block in model.config.blocks()] == [((2, 9, 9),) * 2, ((2, 5, 5),) * 2]


def test_patches_are_not_merged_before_the_first_stage():
    with pytest.raises(ValueError, match=r"stride_q \(1, 2, 2\) in the first stage: patches are merged between stages"):
        MViTConfig(widen_in="merging", stride_q=((1, 2, 2),) * 4)


def test_dropped_paths_leave_the_merging_alone():
    model = MViT(two_stages(clip=(4, 24, 24), depths=(1, 1), widths=(4, 8)))
    merged = MViT(MViTConfig.from_dict(model.config.to_dict() | MERGED | {"drop_path": 0.9})).train()
    x = torch.randn(64, 1 + 2 * 6 * 6, 4)
    left, grid = merged.blocks[1](x, (2, 6, 6))
    unchanged = (left == merged.blocks[1].merge(x, (2, 6, 6))[0]).flatten(1).all(1)
    assert grid == (2, 3, 3)
    assert 0 < unchanged.sum() < 64
