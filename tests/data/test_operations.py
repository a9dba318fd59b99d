"""The operations against timm's on PIL images, frame by frame; shortcuts give what the long way gives."""

import numpy as np
import pytest
import torch
import torchvision.transforms.v2.functional as F
from hypothesis import given
from hypothesis import strategies as st

from mvit.data import operations, video
from mvit.data.operations import apply, matrix
from mvit.data.randaugment import Operation

ARGUMENTS = {
    "AutoContrast": [0],
    "Equalize": [0],
    "Invert": [0],
    "Rotate": [21.0, -13.3, 0.0],
    "Posterize": [1, 2, 4, 8],
    "Solarize": [0, 77, 256],
    "SolarizeAdd": [0, 77, 110],
    "Color": [0.1, 0.37, 1.63],
    "Contrast": [0.1, 0.37, 1.63],
    "Brightness": [0.1, 0.37, 1.63],
    "Sharpness": [0.1, 0.37, 1.63],
    "ShearX": [0.21, -0.3],
    "ShearY": [0.21, -0.3],
    "TranslateXRel": [0.31, -0.45],
    "TranslateYRel": [0.31, -0.21],
}
TAKES_NOTHING = ("AutoContrast", "Equalize", "Invert")
GEOMETRY = ("Rotate", "ShearX", "ShearY", "TranslateXRel", "TranslateYRel")
each = pytest.mark.parametrize(
    ("name", "argument"), [(name, argument) for name, arguments in ARGUMENTS.items() for argument in arguments]
)


def as_clip(frames: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(frames).permute(0, 3, 1, 2)


def picture(frames: int = 3, height: int = 30, width: int = 41, seed: int = 0) -> np.ndarray:
    """Waves and noise in few and in all levels, so that histograms are uneven."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    waves = 90 + 60 * np.sin(x / 7 + rng.uniform(0, 6, (frames, 1, 1))) + 40 * np.cos(y / 5)
    colours = waves[..., None] * rng.uniform(0.4, 1.0, (frames, 1, 1, 3)) + rng.normal(0, 8, (frames, height, width, 3))
    return np.clip(colours, 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def real(shared) -> np.ndarray:
    """Twelve frames of three real videos, 240x320."""
    paths = sorted((shared / "data" / "actions" / "videos").glob("*/*"))[::40][:3]
    return np.concatenate([video.read(path, [0, 4, 8, 12], short_side=240)[:, :240, :320] for path in paths])


def timms(library, name: str, argument: float, frames: np.ndarray, resample: str) -> np.ndarray:
    theirs, image = library("timm.data.auto_augment", "peers"), library("PIL.Image", "peers")
    arguments = () if name in TAKES_NOTHING else (argument,)
    options = {"fillcolor": theirs._FILL, "resample": getattr(image.Resampling, resample)}
    done = [theirs.NAME_TO_OP[name](image.fromarray(frame), *arguments, **options) for frame in frames]
    return np.stack([np.asarray(one) for one in done])


@each
def test_pixels_are_timms(library, real, name, argument):
    """Its operations are PIL's; those of geometry draw bilinear or bicubic, ours are bilinear always."""
    ours = apply(as_clip(real), [(name, argument)]).permute(0, 2, 3, 1).numpy().astype(int)
    apart = np.abs(ours - timms(library, name, argument, real, "BILINEAR"))
    assert apart.max() <= (1 if name in GEOMETRY else 0)
    if name in GEOMETRY:
        assert np.abs(ours - timms(library, name, argument, real, "BICUBIC")).mean() < 2


TORCHVISIONS = {
    "Invert": lambda clip, _: F.invert(clip),
    "Posterize": lambda clip, bits: F.posterize(clip, int(bits)),
    "Solarize": F.solarize,
    "Brightness": F.adjust_brightness,
    "Color": F.adjust_saturation,
    "Contrast": F.adjust_contrast,
    "AutoContrast": lambda clip, _: F.autocontrast(clip),
    "Equalize": lambda clip, _: F.equalize(clip),
}


@pytest.mark.parametrize(
    ("name", "argument"), [(name, argument) for name in TORCHVISIONS for argument in ARGUMENTS[name] if argument < 256]
)
def test_pixels_are_torchvisions_on_tensors(real, name, argument):
    """Of its operations on PIL images, PIL's and so timm's, all are compared above."""
    clip = as_clip(real).contiguous()
    assert (apply(clip, [(name, argument)]).int() - TORCHVISIONS[name](clip, argument).int()).abs().max() <= 1


@pytest.mark.parametrize("name", GEOMETRY)
@pytest.mark.parametrize("size", [(320, 240), (33, 57)])
def test_matrices_are_timms(library, monkeypatch, name, size):
    theirs, image = library("timm.data.auto_augment", "peers"), library("PIL.Image", "peers")
    seen = []
    monkeypatch.setattr(image.Image, "transform", lambda self, size, method, data, *_, **__: seen.append(tuple(data)))
    for argument in (0.3, -0.11, 0.45, 21.7, -29.9)[3 * (name == "Rotate") :]:
        theirs.NAME_TO_OP[name](image.new("RGB", size), argument)
        assert matrix(name, argument, *size) == seen.pop()


@st.composite
def chains(draw) -> list[Operation]:
    names = draw(st.lists(st.sampled_from(sorted(ARGUMENTS)), max_size=5))
    return [(name, draw(st.sampled_from(ARGUMENTS[name]))) for name in names]


@given(chains(), st.integers(0, 29), st.integers(0, 40), st.integers(1, 30), st.integers(1, 41), st.integers(0, 3))
def test_a_chain_is_its_operations_one_by_one_and_a_window_a_part_of_it(chain, top, left, rows, columns, seed):
    clip = as_clip(picture(seed=seed))
    expected = clip
    for operation in chain:
        expected = apply(expected, [operation])
    assert torch.equal(apply(clip, chain), expected)
    window = (top, left, min(rows, 30 - top), min(columns, 41 - left))
    assert torch.equal(apply(clip, chain, window), operations.cut(expected, window))


@each
def test_each_frame_is_treated_by_itself_with_one_draw(name, argument):
    clip = as_clip(picture())
    whole = apply(clip, [(name, argument)])
    for frame in range(len(clip)):
        assert torch.equal(whole[frame : frame + 1], apply(clip[frame : frame + 1], [(name, argument)]))


@pytest.mark.parametrize("level", [0, 7, 255])
@pytest.mark.parametrize("name", sorted(ARGUMENTS))
def test_a_frame_of_one_colour_stays_one(name, level):
    clip = torch.full((2, 3, 9, 11), level, dtype=torch.uint8)
    out = apply(clip, [(name, 1.0)])
    assert out.shape == clip.shape
    assert len(out.unique()) <= (2 if name in GEOMETRY else 1)
    if name in ("AutoContrast", "Equalize", "Contrast", "Sharpness", "Color", "Brightness"):
        assert torch.equal(out, clip)


@pytest.mark.parametrize("size", [(1, 1), (2, 2), (1, 9), (3, 3)])
def test_tiny_frames_pass_through_everything(size):
    clip = torch.randint(0, 256, (2, 3, *size), dtype=torch.uint8)
    for name, arguments in ARGUMENTS.items():
        assert apply(clip, [(name, arguments[-1])]).shape == clip.shape


def test_other_devices_compute_the_same(monkeypatch):
    """What runs off the CPU, run on it."""
    clip = as_clip(picture())
    planes = {name: apply(clip, [(name, arguments[-1])]) for name, arguments in ARGUMENTS.items()}

    tables = operations.histograms(clip)
    monkeypatch.setattr(operations, "_quick", lambda _: False)
    assert np.array_equal(operations.histograms(clip), tables)
    for name, arguments in ARGUMENTS.items():
        assert torch.equal(apply(clip, [(name, arguments[-1])]), planes[name]), name


def test_what_there_is_not_is_named():
    with pytest.raises(ValueError, match="no operation 'Twirl'"):
        apply(as_clip(picture()), [("Twirl", 1.0)])
