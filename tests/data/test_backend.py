"""torchcodec is used where it is asked for and decodes; where it does not, that is said with what mends it."""

import sys
from types import ModuleType

import numpy as np
import pytest

from mvit import doctor
from mvit.data import backend, video
from mvit.data.video import STRANGERS, UnreadableVideo


def test_pyav_is_the_default_and_is_tried(monkeypatch):
    chosen = backend.choose()
    assert (chosen.name, chosen.device, chosen.read) == ("pyav", "cpu", video.read)
    assert str(chosen).startswith("videos are decoded by pyav ")
    with pytest.raises(ValueError, match="pyav decodes on the CPU, not on cuda"):
        backend.choose("pyav", "cuda")
    with pytest.raises(ValueError, match="backends are pyav and torchcodec, got 'decord'"):
        backend.choose("decord")
    monkeypatch.setattr(video, "read", lambda path, indices: np.zeros((30, 64, 64, 3), np.uint8))
    with pytest.raises(backend.UnusableBackend, match="decodes a second of video wrong"):
        backend.choose()


@pytest.fixture
def fake(monkeypatch):
    """A torchcodec that decodes with PyAV, to see what it is asked; `install` replaces what importing it does."""
    torch = pytest.importorskip("torch")
    asked = []

    class VideoDecoder:
        frames_lost, late = 0, 0

        def __init__(self, path, **options):
            asked.append((path, options))
            self._frames = video.read(path)

        def __len__(self):
            return len(self._frames) - self.frames_lost

        def get_frames_at(self, indices):
            batch = ModuleType("batch")
            batch.data = torch.from_numpy(self._frames[indices])
            batch.pts_seconds = (torch.tensor(indices) + self.late) / 30
            return batch

    package, decoders = ModuleType("torchcodec"), ModuleType("torchcodec.decoders")
    package.__version__, package.__path__, package.__spec__ = "0.0", [], None
    decoders.VideoDecoder = VideoDecoder
    monkeypatch.setitem(sys.modules, "torchcodec", package)
    monkeypatch.setitem(sys.modules, "torchcodec.decoders", decoders)
    return VideoDecoder, asked


def test_torchcodec_stands_behind_the_same_function(fake, numbered_video, numbers_in, tmp_path):
    decoder, asked = fake
    chosen = backend.choose("torchcodec")
    assert str(chosen) == "videos are decoded by torchcodec 0.0 on cpu, exact to the frame"
    path = numbered_video(12)
    assert numbers_in(chosen.read(path, [11, 3, 3], threads=2)) == [11, 3, 3]
    assert numbers_in(chosen.read(path, times=[0.1])) == [3]
    assert chosen.read(path, short_side=16).shape == (12, 16, 32, 3)
    wanted = {"stream_index": 0, "dimension_order": "NHWC", "num_ffmpeg_threads": 2, "device": "cpu"}
    assert asked[1] == (str(path), wanted | {"seek_mode": "exact"})

    before = len(asked)
    (tmp_path / "list.mp4").write_text(f"ffconcat version 1.0\nfile {path.name}\n")
    for refused in (tmp_path / "list.mp4", numbered_video(3, name="n.mkv", codec="ffv1")):
        with pytest.raises(UnreadableVideo):
            chosen.read(refused, limits=STRANGERS)
    assert len(asked) == before  # the guarded reader was first
    with pytest.raises(UnreadableVideo, match="without numbered pictures"):
        chosen.read(tmp_path)

    decoder.late = 1
    with pytest.raises(UnreadableVideo, match="gives other frames of it than those asked for"):
        chosen.read(path, [0])
    with pytest.raises(UnreadableVideo, match="it has no time stamps to go by, which torchcodec gets wrong"):
        chosen.read(numbered_video(9, name="n.avi", codec="mpeg4", options={"bf": "2"}))
    decoder.frames_lost = 1
    with pytest.raises(UnreadableVideo, match="torchcodec counts 11 frames in it, PyAV 12"):
        chosen.read(path, [0])


@pytest.mark.parametrize(
    ("error", "reason", "remedy"),
    [
        (ImportError("libnvrtc.so.13: cannot open shared object file"), "build does not fit", backend.CPU_RELEASES),
        (RuntimeError("Could not load\nlibavutil.so.59: cannot open"), "FFmpeg's shared libraries", backend.FFMPEG),
        (ModuleNotFoundError("no", name="torchcodec"), "not installed", "python -m pip install 'mvit[torchcodec]'"),
    ],
)
def test_what_does_not_work_is_said_with_what_mends_it(error, reason, remedy, fake, monkeypatch):
    class Broken(ModuleType):
        def __getattr__(self, name):
            raise error

    monkeypatch.setitem(sys.modules, "torchcodec.decoders", Broken("torchcodec.decoders"))
    with pytest.raises(backend.UnusableBackend, match=reason) as caught:
        backend.choose("torchcodec")
    assert caught.value.remedy == remedy
    assert str(caught.value).endswith(f"mend it with: {remedy}")
    assert "\n" not in str(caught.value)


def test_the_doctor_says_what_decodes(monkeypatch):
    known = {check.name: check for check in doctor.examine()}
    assert known["video"].remedy is None
    monkeypatch.setattr(doctor.importlib.util, "find_spec", lambda name: None)
    missing = {check.name: check for check in doctor.examine()}["torchcodec"]
    assert (missing.remedy, missing.finding.partition(",")[0]) == (None, "not installed")
    monkeypatch.setattr(doctor.importlib.util, "find_spec", lambda name: object())
    monkeypatch.setattr(backend, "choose", lambda name: (_ for _ in ()).throw(backend.UnusableBackend("bad", "mend")))
    broken = {check.name: check for check in doctor.examine()}["torchcodec"]
    assert (broken.finding, broken.remedy) == ("bad", "mend")
