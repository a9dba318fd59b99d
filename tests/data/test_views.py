"""Views are the frames that sampling names, cropped and normalised, and nothing else."""

import json
import math

import numpy as np
import pytest

from mvit.data import video, views
from mvit.data.sampling import ClipSampling, test_indices
from mvit.data.views import Preprocessing, crop_corners, describe, normalise_uint8, read_views

test_indices.__test__ = False  # a function of the package, not a test

SMALL = Preprocessing(sampling=ClipSampling(frames=4, spacing=4), short_side=32, crop=32)


def _raw(clips: np.ndarray, preprocessing: Preprocessing) -> np.ndarray:
    """Back from normalised views (V, 3, T, H, W) to 0 ... 255 (V, T, H, W, 3)."""
    return (clips.transpose(0, 2, 3, 4, 1) * preprocessing.std + preprocessing.mean) * 255


def test_views_are_the_sampled_frames(numbered_video, numbers_in):
    path = numbered_video(60)
    preprocessing = Preprocessing(sampling=ClipSampling(frames=4, spacing=4), short_side=16, crop=16)
    clips = read_views(path, preprocessing, clips=3, crops=3)
    assert (clips.shape, clips.dtype) == ((9, 3, 4, 16, 16), np.float32)
    left_and_right = _raw(clips, preprocessing)
    expected = test_indices(60, 30, preprocessing.sampling, 3)
    for clip in range(3):
        # The picture is twice as wide as high: the first and the last crop together are all of it.
        whole = np.concatenate([left_and_right[3 * clip], left_and_right[3 * clip + 2]], axis=2)
        assert numbers_in(whole) == expected[clip].tolist()
        centre = np.concatenate([left_and_right[3 * clip][:, :, 8:], left_and_right[3 * clip + 2][:, :, :8]], axis=2)
        assert np.array_equal(left_and_right[3 * clip + 1], centre)
    assert np.array_equal(read_views(path, preprocessing, clips=3), clips[1::3])


def test_a_view_without_scaling_is_the_normalised_frame_itself(numbered_video):
    path = numbered_video(20)
    clips = read_views(path, SMALL, clips=2)
    for view, indices in zip(clips, test_indices(20, 30, SMALL.sampling, 2), strict=True):
        frames = video.read(path, indices)[:, :, 16:48]
        assert np.allclose(view, (frames.transpose(3, 0, 1, 2) / 255 - 0.45) / 0.225, atol=1e-6)


def test_a_video_is_opened_once_for_all_views(numbered_video, monkeypatch):
    opened = []

    class Counted(video.Video):
        def __init__(self, path):
            opened.append(path)
            super().__init__(path)

    monkeypatch.setattr(views, "Video", Counted)
    read_views(numbered_video(60), SMALL, clips=5, crops=3)
    assert len(opened) == 1


@pytest.mark.parametrize(
    ("height", "width", "crop", "crops", "corners"),
    [
        (256, 340, 224, 1, [(16, 58)]),
        (256, 341, 224, 1, [(16, 59)]),
        (256, 340, 256, 3, [(0, 0), (0, 42), (0, 84)]),
        (256, 340, 224, 3, [(16, 0), (16, 58), (16, 116)]),
        (340, 256, 224, 3, [(0, 16), (58, 16), (116, 16)]),
        (224, 224, 224, 3, [(0, 0), (0, 0), (0, 0)]),
    ],
)
def test_crops_lie_along_the_longer_side(height, width, crop, crops, corners):
    assert crop_corners(height, width, crop, crops) == corners


def test_normalisation_is_that_of_the_formula_for_every_level():
    levels = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1).repeat(3, axis=3)
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    result = normalise_uint8(levels, mean, std)
    assert (result.shape, result.dtype) == ((3, 1, 16, 16), np.float32)
    for channel in range(3):
        expected = (levels[..., channel] / 255 - mean[channel]) / std[channel]
        assert np.abs(result[channel] - expected).max() < 2e-7 * np.abs(expected).max()


def test_the_protocol_in_words():
    assert describe(Preprocessing(sampling=ClipSampling()), 5, 1) == "5x1 views, 16x4, short side 256, crop 224"
    timed = Preprocessing(sampling=ClipSampling(frames=8, spacing=2.5, target_fps=29.97), short_side=112, crop=96)
    assert describe(timed, 1, 3) == "1x3 views, 8x2.5 at 29.97 fps, short side 112, crop 96"
    segments = Preprocessing(sampling=ClipSampling(frames=16, mode="segments"))
    assert describe(segments, 2, 3) == "2x3 views, 16 segments, short side 256, crop 224"
    for mode in ("dense", "segments"):
        image = Preprocessing(sampling=ClipSampling(frames=1, mode=mode))
        assert describe(image, 1, 1) == "1x1 views, 1 frame, short side 256, crop 224"


def test_preprocessing_goes_through_json_and_back():
    preprocessing = Preprocessing(
        sampling=ClipSampling(frames=8, spacing=2.5, target_fps=25.0), short_side=128, crop=112, mean=(0.4, 0.5, 0.6)
    )
    assert Preprocessing.from_dict(json.loads(json.dumps(preprocessing.to_dict()))) == preprocessing
    for change in ({"colour": 1}, {"sampling": {"frames": 8}}, {"sampling": 3}, {"crop": "9"}, {"mean": 1}):
        with pytest.raises(ValueError, match=r"preprocessing|whole pixels"):
            Preprocessing.from_dict(preprocessing.to_dict() | change)
    incomplete = preprocessing.to_dict()
    del incomplete["crop"]
    with pytest.raises(ValueError, match=r"missing \['crop'\]"):
        Preprocessing.from_dict(incomplete)


def test_impossible_views_are_refused(numbered_video):
    with pytest.raises(ValueError, match="crop must be between 1 and the short side of 64 pixels, got 65"):
        Preprocessing(sampling=ClipSampling(), short_side=64, crop=65)
    for std in (0.0, math.nan, math.inf):
        with pytest.raises(ValueError, match="std above 0"):
            Preprocessing(sampling=ClipSampling(), std=(0.2, std, 0.2))
    with pytest.raises(ValueError, match="whole pixels"):
        Preprocessing(sampling=ClipSampling(), short_side=math.inf)
    with pytest.raises(ValueError, match="whole number"):
        ClipSampling(frames=math.inf)
    path = numbered_video(5)
    with pytest.raises(ValueError, match=r"crops must be 1 .* or 3 .* got 2"):
        read_views(path, SMALL, crops=2)
    with pytest.raises(ValueError, match="test clips must be at least 1"):
        read_views(path, SMALL, clips=0)
    path.write_bytes(b"")
    with pytest.raises(video.UnreadableVideo):
        read_views(path, SMALL)
