"""torchcodec is used where it is asked for and decodes; where it does not, that is said with what mends it."""

import pickle
import sys
from types import ModuleType

import numpy as np
import pytest

from mvit import doctor
from mvit.data import backend, video
from mvit.data.video import STRANGERS, UnreadableVideo
from pictures import save_picture


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


def test_training_clips_are_decoded_by_it_in_any_process(fake, tmp_path):
    torch, (_, asked) = pytest.importorskip("torch"), fake
    from mvit.data.clips import Clips, decide_flip
    from mvit.data.dataset import Sample
    from mvit.data.sampling import ClipSampling, Part
    from mvit.data.transforms import Augmentation
    from mvit.data.views import Preprocessing

    video.write(tmp_path / "a.mp4", np.random.default_rng(0).integers(0, 255, (20, 48, 64, 3), dtype=np.uint8))
    for number in range(2):
        save_picture(tmp_path / "frames" / f"{number}.png", np.zeros((48, 64, 3), np.uint8))
    samples = [Sample(tmp_path / "a.mp4", "a"), Sample(tmp_path / "a.mp4", "a", part=Part(0.2))]
    samples.append(Sample(tmp_path / "frames", "a"))
    preprocessing = Preprocessing(sampling=ClipSampling(frames=4, spacing=2), short_side=48, crop=32)
    given = (samples, ["a"], preprocessing, Augmentation(), decide_flip(["a"], "auto"), 0)
    chosen = backend.choose("torchcodec")
    before = len(asked)
    ours, theirs = Clips(*given), pickle.loads(pickle.dumps(Clips(*given, chosen)))  # noqa: S301 (as workers get it)
    for place in range(2):
        (one,), (other,) = ours[0, place].clips, theirs[0, place].clips
        assert torch.equal(one, other)
    assert len(asked) == before + 2
    assert ours[0, 2].reason == ""
    assert theirs[0, 2].reason == "it is a folder of pictures, which torchcodec does not open; choose pyav"


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
