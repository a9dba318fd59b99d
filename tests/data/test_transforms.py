"""Augmentation: one draw for all frames, exact where nothing is drawn, torchvision's arithmetic where something is."""

import numpy as np
import pytest
import torch
import torchvision.transforms.v2.functional as F
from hypothesis import given
from hypothesis import strategies as st

from mvit.data import operations, transforms
from mvit.data.transforms import Augmentation, draw, jittered_crop, random_crop

WHOLE = {"scale": (1.0, 1.0), "ratio": (1.0, 1.0)}


def noise(frames: int = 4, height: int = 20, width: int = 24, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (frames, height, width, 3), dtype=np.uint8)


def augment(
    clip: np.ndarray,
    crop: int,
    augmentation: Augmentation,
    flip: bool,
    rng: np.random.Generator,
    mean: tuple[float, ...] = (0.45, 0.45, 0.45),
    std: tuple[float, ...] = (0.225, 0.225, 0.225),
) -> tuple[torch.Tensor, bool]:
    """Draw and compute at once; also whether it was flipped."""
    drawing = draw((clip.shape[1], clip.shape[2]), crop, augmentation, flip, rng)
    return transforms.apply(torch.from_numpy(clip), drawing, mean, std), drawing.flipped


def test_nothing_drawn_gives_the_clip_itself():
    clip = noise(height=16, width=16)
    out, flipped = augment(clip, 16, Augmentation(**WHOLE), False, np.random.default_rng(0))
    assert not flipped
    assert (out.dtype, out.shape, out.is_contiguous()) == (torch.uint8, (3, 4, 16, 16), True)
    assert torch.equal(out, torch.from_numpy(clip).permute(3, 0, 1, 2))


def test_flip_is_left_to_right_and_reported_in_half_of_the_cases():
    clip = noise(height=16, width=16)
    straight = torch.from_numpy(clip).permute(3, 0, 1, 2)
    flips = 0
    for seed in range(200):
        out, flipped = augment(clip, 16, Augmentation(**WHOLE), True, np.random.default_rng(seed))
        assert torch.equal(out, straight.flip(-1) if flipped else straight)
        flips += flipped
    assert 70 < flips < 130


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"brightness": 0.3, "contrast": 0.3},
        {"rotation_degrees": 20.0},
        {"saturation": 0.4},
        {"randaugment": "rand-m7-n4-mstd0.5-inc1"},
        {"erasing": 1.0, "erasing_mode": "const"},
        {"jitter": (13, 18)},
    ],
)
def test_every_frame_gets_the_same_draw(options):
    still = np.repeat(noise(frames=1), 5, axis=0)
    moved = 0
    for seed in range(5):
        out, _ = augment(still, 12, Augmentation(**options), True, np.random.default_rng(seed))
        assert all(torch.equal(out[:, 0], out[:, frame]) for frame in range(5))
        moved += not torch.equal(out, augment(still, 12, Augmentation(**options), True, np.random.default_rng(99))[0])
    assert moved == 5


def test_crop_is_resized_with_antialiasing():
    clip = noise(height=64, width=64)
    out, _ = augment(clip, 16, Augmentation(**WHOLE), False, np.random.default_rng(0))
    expected = F.resize(torch.from_numpy(clip).permute(0, 3, 1, 2).contiguous(), [16, 16], antialias=True)
    assert (out.transpose(0, 1).int() - expected.int()).abs().max() <= 1
    assert out.float().std() < 0.5 * torch.from_numpy(clip).float().std()


def test_light_keeps_contrast_about_the_mean_and_rotation_follows_torchvision():
    clip = np.full((2, 16, 16, 3), 100, np.uint8)
    brighter, _ = augment(clip, 16, Augmentation(**WHOLE, brightness=0.5), False, np.random.default_rng(0))
    assert len(brighter.unique()) == 1
    assert 50 <= int(brighter[0, 0, 0, 0]) <= 150
    assert int(brighter[0, 0, 0, 0]) != 100
    same, _ = augment(clip, 16, Augmentation(**WHOLE, contrast=0.9), False, np.random.default_rng(0))
    assert (same == 100).all()
    clip = noise(height=16, width=16)
    stretched, _ = augment(clip, 16, Augmentation(**WHOLE, contrast=0.5), False, np.random.default_rng(3))
    assert abs(stretched.float().mean() - clip.mean()) < 3
    assert abs(stretched.float().std() - clip.std()) > 3
    turned, _ = augment(clip, 16, Augmentation(**WHOLE, rotation_degrees=180.0), False, np.random.default_rng(3))
    assert not torch.equal(turned, torch.from_numpy(clip).permute(3, 0, 1, 2))


def test_randaugment_is_on_whole_frames_before_the_crop():
    clip, settings = noise(height=30, width=40), Augmentation(randaugment="rand-m9-n4-mstd0.5-inc1", saturation=0.5)
    drawn = set()
    for seed in range(20):
        drawing = draw((30, 40), 16, settings, True, np.random.default_rng(seed))
        drawn |= {name for name, _ in drawing.operations}
        whole = operations.apply(torch.from_numpy(clip).permute(0, 3, 1, 2), drawing.operations)
        expected = F.resized_crop(whole, *drawing.window, [16, 16], antialias=True)
        expected = operations.color(expected.flip(-1) if drawing.flipped else expected, drawing.saturation)
        out, flipped = augment(clip, 16, settings, True, np.random.default_rng(seed))
        assert flipped == drawing.flipped
        assert torch.equal(out, expected.transpose(0, 1))
    assert len(drawn) > 12


def test_what_is_off_leaves_the_other_draws_alone():
    plain = draw((30, 40), 16, Augmentation(brightness=0.2), True, np.random.default_rng(1))
    more = Augmentation(brightness=0.2, saturation=0.3, randaugment="rand-m7-n4", erasing=1.0)
    drawing = draw((30, 40), 16, more, True, np.random.default_rng(1))
    assert (drawing.window, drawing.flipped, drawing.light) == (plain.window, plain.flipped, plain.light)
    assert plain.saturation == 1
    assert not plain.operations
    assert plain.erased is None


@pytest.mark.parametrize("mode", ["pixel", "const"])
def test_erasing_is_one_box_for_all_frames_and_leaves_what_is_given(mode):
    mean, std = (0.45, 0.4, 0.5), (0.1, 0.1, 0.1)
    grey = np.full((4, 64, 64, 3), 7, np.uint8)
    settings, erased, shapes = Augmentation(**WHOLE, erasing=0.25, erasing_mode=mode), 0, []
    for seed in range(300):
        clip, _ = augment(grey, 64, settings, False, np.random.default_rng(seed), mean, std)
        box = draw((64, 64), 64, settings, False, np.random.default_rng(seed)).erased
        if box is None:
            assert (clip == 7).all()
            continue
        erased += 1
        top, left, rows, columns = box
        shapes.append((rows * columns / 64**2, rows / columns))
        inside = operations.cut(clip, box).float() / 255
        rest = clip.clone()
        rest[..., top : top + rows, left : left + columns] = 7
        assert (rest == 7).all()
        if mode == "const":
            assert torch.equal(
                inside, (torch.tensor(mean) * 255).round().div(255)[:, None, None, None].expand_as(inside)
            )
        elif rows * columns > 300:
            assert torch.allclose(inside.mean((1, 2, 3)), torch.tensor(mean), atol=0.02)
            assert torch.allclose(inside.std((1, 2, 3)), torch.tensor(std), atol=0.02)
            assert not torch.equal(inside[:, 0], inside[:, 1])
    assert (grey == 7).all()
    assert 50 < erased < 100
    areas, ratios = np.array(shapes).T
    assert 0.015 < areas.min() < 0.06
    assert 0.25 < areas.max() < 0.36
    assert 0.27 < ratios.min() < 0.6 < 1.7 < ratios.max() < 3.8


def test_shuffled_clips_hold_the_same_frames_and_every_other_draw():
    clip = noise(frames=8, height=20, width=24)
    more = {"brightness": 0.2, "rotation_degrees": 10.0, "randaugment": "rand-m7-n2", "scale": (0.5, 1.0)}
    orders = []
    for seed in range(20):
        kept, shuffled = (
            augment(clip, 16, Augmentation(**more, order=order), True, np.random.default_rng(seed))
            for order in ("kept", "shuffled")
        )
        assert kept[1] == shuffled[1]
        frames = kept[0].transpose(0, 1).flatten(1)
        orders.append(
            [(frames == frame).all(dim=1).nonzero().item() for frame in shuffled[0].transpose(0, 1).flatten(1)]
        )
        assert sorted(orders[-1]) == list(range(8))
    assert len({tuple(order) for order in orders}) == 20
    assert {order[0] for order in orders} == set(range(8))


def test_jitter_scales_the_short_side_and_crops_anywhere():
    rng = np.random.default_rng(0)
    boxes = np.array([jittered_crop(240, 320, 224, (256, 320), rng) for _ in range(2000)])
    assert (boxes[:, 2] == boxes[:, 3]).all()
    assert (boxes[:, 2].min(), boxes[:, 2].max()) == (round(224 * 240 / 320), round(224 * 240 / 256))
    assert (boxes[:, 0] + boxes[:, 2] <= 240).all()
    assert (boxes[:, 1] + boxes[:, 3] <= 320).all()
    assert abs((boxes[:, 1] / (320 - boxes[:, 3])).mean() - 0.5) < 0.03
    clip, _ = augment(noise(height=20, width=24), 16, Augmentation(jitter=(16, 20)), False, rng)
    assert clip.shape == (3, 4, 16, 16)


def test_nothing_writes_into_the_frames_it_is_given():
    clip = noise(height=16, width=16)
    before = clip.copy()
    settings = Augmentation(**WHOLE, erasing=1.0, randaugment="rand-m7-n4-p1-inc1", brightness=0.2)
    for seed in range(30):
        augment(clip, 16, settings, True, np.random.default_rng(seed))
        augment(clip[:1], 16, Augmentation(**WHOLE, erasing=1.0), False, np.random.default_rng(seed))
    assert np.array_equal(clip, before)


@given(st.integers(1, 90), st.integers(1, 90), st.floats(0.05, 1.0), st.floats(0.2, 1.0), st.integers(0, 9))
def test_crop_lies_in_the_frame_and_keeps_its_area_and_shape(height, width, smallest, narrowest, seed):
    augmentation = Augmentation(scale=(smallest, 1.0), ratio=(narrowest, 1 / narrowest))
    top, left, rows, columns = random_crop(height, width, augmentation, np.random.default_rng(seed))
    assert 0 <= top < top + rows <= height
    assert 0 <= left < left + columns <= width
    if min(rows, columns) > 8 and narrowest <= width / height <= 1 / narrowest:
        assert narrowest * 0.85 <= columns / rows <= 1 / narrowest / 0.85
        assert rows * columns >= 0.8 * smallest * height * width


def test_crop_of_a_frame_that_fits_no_ratio_is_the_largest_central_one():
    assert random_crop(10, 100, Augmentation(scale=(1.0, 1.0)), np.random.default_rng(0)) == (0, 43, 10, 13)


def test_crop_positions_and_areas_spread_over_their_range():
    rng = np.random.default_rng(0)
    crops = np.array([random_crop(64, 64, Augmentation(scale=(0.25, 1.0)), rng) for _ in range(2000)])
    areas = crops[:, 2] * crops[:, 3] / 64**2
    assert areas.min() < 0.28
    assert abs(np.median(areas) - 0.58) < 0.06  # large areas fit fewer ratios, so a little below the middle of 0.625
    free = crops[crops[:, 2] < 60]
    assert abs((free[:, 0] / (64 - free[:, 2])).mean() - 0.5) < 0.03


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"scale": (0.0, 1.0)}, r"scale is \(0.0, 1.0\)"),
        ({"scale": (0.5, 1.5)}, r"scale is \(0.5, 1.5\)"),
        ({"ratio": (2.0, 1.0)}, r"ratio is \(2.0, 1.0\)"),
        ({"flip": "yes"}, r"flip is 'yes', but must be 'auto', 'on' or 'off'"),
        ({"brightness": -0.1}, "brightness is -0.1"),
        ({"rotation_degrees": 270.0}, "rotation_degrees is 270.0"),
        ({"saturation": 1.1}, "saturation is 1.1"),
        ({"erasing": -0.1}, "erasing is -0.1"),
        ({"order": "random"}, "order is 'random', but must be 'kept' or 'shuffled'"),
        ({"erasing_mode": "rand"}, "erasing_mode is 'rand', but must be 'pixel' or 'const'"),
        ({"jitter": (320, 256)}, r"jitter is \(320, 256\)"),
        ({"randaugment": "randm7"}, "augment.randaugment: 'randm7' is no RandAugment"),
        ({"copies": 0}, "copies is 0, but must be at least 1"),
        ({"on": "gpu"}, "on is 'gpu', but must be 'workers' or 'device'"),
        ({"flip": "off", "mirrored": (("a", "b"),)}, "mirrored names classes .* augment.flip is 'off'"),
    ],
)
def test_bad_settings_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        Augmentation(**options)
