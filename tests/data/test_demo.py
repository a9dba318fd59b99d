"""The demo set: real files, the same on every run, whose frames tell nothing about direction."""

import json

import numpy as np
import pytest
import torch
import torchvision.transforms.v2.functional as F
from torchvision.transforms import InterpolationMode

from mvit.data import dataset, demo, video
from mvit.data.directions import mirror_in_space, mirror_in_time
from trees import tree


def drawn(label: str, seed: int, **options) -> np.ndarray:
    return demo.render(label, np.random.default_rng(seed), size=32, **options)


def test_set_is_written_complete_and_reused(tmp_path):
    folder = tmp_path / "demo"
    told: list[tuple[int, int]] = []
    assert (
        demo.make(folder, train=16, val=8, size=32, progress=lambda done, total: told.append((done, total))) == folder
    )
    assert told[-1] == (24, 24)
    listing = dataset.find(folder)
    assert listing.classes == demo.CLASSES
    assert (len(listing.train), len(listing.val)) == (16, 8)
    assert not (tmp_path / "demo.partial").exists()
    facts = video.probe(listing.train[0].path)
    assert (facts.frames, facts.width, facts.height) == (20, 32, 32)
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*.mp4")}
    demo.make(folder, train=16, val=8, size=32)
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*.mp4")} == before


LEVELS_OF_THE_ENCODER = 2.0  # of 255: x264 gives another file for one clip in a hundred; what is drawn is exact


def shown(folder):
    return video.read(folder / "val/grow/0000.mp4").astype(np.float32)


def test_half_made_set_and_one_of_other_settings_are_made_anew(tmp_path):
    folder = tmp_path / "demo"
    demo.make(folder, train=8, val=8, size=32)
    first = shown(folder)
    (folder / "val/grow/0000.mp4").unlink()
    demo.make(folder, train=8, val=8, size=32)
    assert np.abs(shown(folder) - first).mean() < LEVELS_OF_THE_ENCODER
    folder.rename(tmp_path / "demo.partial")  # as an interrupted run leaves it
    demo.make(folder, train=8, val=8, size=32, seed=1)
    assert json.loads((folder / demo.MARKER).read_text())["seed"] == 1
    assert np.abs(shown(folder) - first).mean() > 5 * LEVELS_OF_THE_ENCODER
    assert not (tmp_path / "demo.partial").exists()


def test_foreign_files_are_never_removed(tmp_path):
    (tmp_path / "videos").mkdir()
    mine = tmp_path / "videos" / "holiday.mp4"
    mine.touch()
    with pytest.raises(ValueError, match="holds files that are no demo set"):
        demo.make(tmp_path / "videos", train=8, val=8)
    assert mine.exists()
    for written, beside in (("", "notes.txt"), ('{"format": 1, "train": 8}', "b/1.mp4"), ('{"fps": 3}', "train/1.mp4")):
        folder = tree(tmp_path / beside[0], beside)
        (folder / demo.MARKER).write_text(written)
        with pytest.raises(ValueError, match="holds files that are no demo set"):
            demo.make(folder, train=8, val=8)
        assert (folder / beside).exists()
    with pytest.raises(ValueError, match="train is 10 clips, but must be a multiple of 8"):
        demo.make(tmp_path / "demo", train=10, val=8)


def test_seed_decides_everything_and_clips_differ():
    for label in demo.CLASSES:
        assert np.array_equal(drawn(label, 1), drawn(label, 1))
        assert not np.array_equal(drawn(label, 1), drawn(label, 2))


def test_names_pair_in_space_and_time():
    in_time = mirror_in_time(demo.CLASSES)
    assert in_time == dict(demo.PAIRS) | {second: first for first, second in demo.PAIRS}
    in_space = mirror_in_space(demo.CLASSES)
    assert in_space is not None
    assert {a: b for a, b in in_space.items() if a != b} == {
        "move_left": "move_right",
        "move_right": "move_left",
        "clockwise": "counter_clockwise",
        "counter_clockwise": "clockwise",
    }


@pytest.mark.parametrize("pair", demo.PAIRS)
@pytest.mark.parametrize("unseen", [False, True])
def test_second_class_is_the_first_played_backwards(pair, unseen):
    for seed in range(3):
        forward, backward = (drawn(label, seed, unseen=unseen) for label in pair)
        assert np.array_equal(forward, backward[::-1])


@pytest.fixture
def on_black(monkeypatch):
    """Clips of one class (5, T, H, W) in grey, whose shapes lie on black without noise."""
    monkeypatch.setattr(demo, "BACKGROUND_BRIGHTNESS", (0.0, 0.0))
    monkeypatch.setattr(demo, "NOISE", 0.0)
    return lambda label: torch.stack([torch.from_numpy(drawn(label, seed)).float().mean(dim=-1) for seed in range(5)])


@pytest.mark.parametrize(
    ("label", "axis", "sign"), [("move_right", 2, 1), ("move_left", 2, -1), ("move_down", 1, 1), ("move_up", 1, -1)]
)
def test_moving_shapes_move_where_they_say(on_black, label, axis, sign):
    for clip in on_black(label):
        errors = {pixels: (clip[1:] - clip[:-1].roll(pixels, dims=axis)).abs().mean() for pixels in range(-3, 4)}
        assert sign * min(errors, key=errors.__getitem__) > 0


@pytest.mark.parametrize(("label", "sign"), [("clockwise", 1), ("counter_clockwise", -1)])
def test_turning_shapes_turn_where_they_say(on_black, label, sign):
    places = torch.arange(32) + 0.5
    for clip in on_black(label):
        shape = (clip > 0).float().mean(dim=0)
        center = [float((shape.sum(dim=axis) * places).sum() / shape.sum()) for axis in (0, 1)]
        errors = []
        for degrees in (-15 * sign, 15 * sign):  # of torchvision, whose positive angles turn counter-clockwise
            turned = F.rotate(clip[:-1], degrees, interpolation=InterpolationMode.BILINEAR, center=center)
            errors.append((clip[1:] - turned).abs().mean())
        assert errors[0] < errors[1]


@pytest.mark.parametrize(("label", "sign"), [("grow", 1), ("shrink", -1)])
def test_growing_shapes_grow_but_where_they_start_again(on_black, label, sign):
    for clip in on_black(label):
        steps = sign * (clip > 0).float().mean(dim=(1, 2)).diff()
        assert (steps < 0).sum() <= 2
        assert (steps > 0).sum() >= 14


@pytest.mark.parametrize("pair", demo.PAIRS)
def test_no_frame_tells_a_class_from_its_mirror(pair):
    """Means over clips of the first and of the last frame, by quarter of the frame, agree within their spread."""
    frames = {
        label: np.stack([drawn(label, 1000 * (label == pair[1]) + seed)[[0, -1]] for seed in range(150)]).mean(axis=-1)
        for label in pair
    }
    for moment in (0, 1):
        features = []
        for label in pair:
            grey = frames[label][:, moment].reshape(150, 2, 16, 2, 16)
            features.append(np.concatenate([grey.mean(axis=(2, 4)), grey.std(axis=(2, 4))], axis=1).reshape(150, -1))
        difference = features[0].mean(axis=0) - features[1].mean(axis=0)
        error = np.sqrt((features[0].var(axis=0) + features[1].var(axis=0)) / 150)
        assert (np.abs(difference) < 4 * error).all()


def test_val_has_textures_and_backgrounds_of_its_own():
    assert not set(demo.TEXTURES) & set(demo.UNSEEN_TEXTURES)
    assert not set(demo.BACKGROUNDS) & set(demo.UNSEEN_BACKGROUNDS)
    for kind in {*demo.TEXTURES, *demo.UNSEEN_TEXTURES, *demo.BACKGROUNDS, *demo.UNSEEN_BACKGROUNDS}:
        u, v = np.meshgrid(*[np.linspace(-1, 1, 40, dtype=np.float32)] * 2)
        values = np.stack([kind(np.random.default_rng(seed))(u, v) for seed in range(10)])
        assert values.dtype == np.float32, kind
        assert np.isfinite(values).all()
        assert values.std(axis=(1, 2)).mean() > 0.1, f"{kind} shows nothing"


def test_objects_of_half_the_size_cover_a_quarter_and_a_whole_one_is_as_ever(tmp_path):
    def moved(size: float) -> float:
        """The share of pixels that an object covers: noise and background are those without it."""
        pairs = ((drawn("clockwise", seed, object_size=each) for each in (size, 0.001)) for seed in range(10))
        return float(np.mean([(there != empty).any(axis=-1).mean() for there, empty in pairs]))

    assert np.array_equal(drawn("grow", 1), drawn("grow", 1, object_size=1.0))
    assert moved(0.5) == pytest.approx(moved(1.0) / 4, rel=0.3)
    folder = demo.make(tmp_path / "small", train=8, val=8, size=32, object_size=0.5)
    assert demo.settings_of(folder) == {"train": 8, "val": 8, "seed": 0, "size": 32, "frames": 20, "object_size": 0.5}
    assert "object_size" not in demo.settings_of(demo.make(tmp_path / "usual", train=8, val=8, size=32))
    with pytest.raises(ValueError, match="object_size is 2"):
        demo.make(tmp_path / "large", object_size=2)
