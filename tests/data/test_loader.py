"""Batches: the same for any number of workers and from any point on; what cannot be read is named and left out."""

import gc
import hashlib
import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from mvit.data import clips as clips_module
from mvit.data import processes, resources, video
from mvit.data.clips import Batch, decide_flip, normalise
from mvit.data.dataset import Sample
from mvit.data.loader import TrainLoader, _begin
from mvit.data.sampling import ClipSampling
from mvit.data.transforms import Augmentation
from mvit.data.views import Preprocessing, normalise_uint8

CLASSES = ("move_left", "move_right", "still")
PREPROCESSING = Preprocessing(sampling=ClipSampling(frames=4, spacing=2), short_side=16, crop=16)


@pytest.fixture(scope="module")
def samples(tmp_path_factory) -> tuple[Sample, ...]:
    """Eleven small videos, of which each is a ramp of brightness of its own."""
    folder = tmp_path_factory.mktemp("videos")
    made = []
    for index in range(11):
        levels = 20 * index + np.arange(12)[:, None, None, None] + np.arange(24)[None, None, :, None]
        path = folder / f"{index}.mp4"
        video.write(path, np.broadcast_to(levels, (12, 20, 24, 3)).astype(np.uint8))
        made.append(Sample(path, CLASSES[index % 3]))
    return tuple(made)


def make(samples, workers: int = 0, augmentation: Augmentation | None = None, **options) -> TrainLoader:
    settings = {"batch": 4, "seed": 3} | options
    return TrainLoader(samples, CLASSES, PREPROCESSING, augmentation or Augmentation(), workers=workers, **settings)


def same(first: list[Batch], second: list[Batch]) -> bool:
    return len(first) == len(second) and all(
        torch.equal(a.clips, b.clips) and torch.equal(a.labels, b.labels) and a.unreadable == b.unreadable
        for a, b in zip(first, second, strict=True)
    )


def test_an_epoch_holds_every_sample_once(samples):
    batches = list(make(samples).epoch(0))
    assert [len(batch.labels) for batch in batches] == [4, 4, 3] == [4] * (len(make(samples)) - 1) + [3]
    assert batches[0].clips.shape == (4, 3, 4, 16, 16)
    assert (batches[0].clips.dtype, batches[0].labels.dtype) == (torch.uint8, torch.int64)
    whole = Augmentation(scale=(1.0, 1.0), ratio=(1.0, 1.0), flip="off")
    means = [clip.float().mean() for batch in make(samples, augmentation=whole).epoch(0) for clip in batch.clips]
    brightness = sorted(round(float(mean - 20) / 20) for mean in means)
    assert brightness == list(range(11))


def test_epochs_differ_and_repeat_by_seed_and_number(samples):
    loader = make(samples)
    first, second = list(loader.epoch(0)), list(loader.epoch(1))
    assert not same(first, second)
    assert same(list(loader.epoch(0)), first)
    assert not same(list(make(samples, seed=4).epoch(0)), first)


def test_a_clip_does_not_depend_on_its_batch(samples):
    def clips(size: int) -> set[bytes]:
        return {clip.numpy().tobytes() for batch in make(samples, batch=size).epoch(2) for clip in batch.clips}

    assert clips(4) == clips(11) == clips(1)
    assert len(clips(4)) == 11


def test_epoch_goes_on_in_the_middle(samples):
    whole = list(make(samples).epoch(5))
    assert same(list(make(samples).epoch(5, start_batch=2)), whole[2:])
    assert list(make(samples).epoch(5, start_batch=3)) == []


def test_workers_change_nothing_and_stay(samples, tmp_path):
    bad = tmp_path / "bad.mp4"
    bad.write_text("no video")
    mixed = (*samples, Sample(bad, "still"), Sample(tmp_path / "gone.mp4", "still"))
    alone, helped = make(mixed), make(mixed, workers=2)
    for epoch in (0, 1):
        assert same(list(helped.epoch(epoch)), list(alone.epoch(epoch)))
    abandoned = helped.epoch(0)
    next(abandoned)
    abandoned.close()
    assert same(list(helped.epoch(1, start_batch=1)), list(alone.epoch(1, start_batch=1)))


def hashes(epoch) -> list[list[str]]:
    """For each batch, each clip's digest with its label."""
    return [
        [f"{hashlib.sha256(clip.numpy()).hexdigest()} {label}" for clip, label in zip(b.clips, b.labels, strict=True)]
        for b in epoch
    ]


def test_epochs_are_the_same_for_any_number_of_workers_and_ranks(samples):
    """Batches of all ranks together, clip by clip; those of one process, with what it leaves out at their end."""
    alone = hashes(make(samples).epoch(1))
    assert [len(batch) for batch in alone] == [4, 4, 3]
    for workers in (1, 2, 4):
        assert hashes(make(samples, workers=workers).epoch(1)) == alone
    for workers in (0, 2):
        ranks = [make(samples, workers=workers, rank=rank, ranks=2) for rank in (0, 1)]
        assert [loader.notes[-1:] for loader in ranks] == 2 * [
            ["3 of 11 videos, other ones in each epoch, are in no batch of it: the last batch of 4 would be incomplete"]
        ]
        assert [len(loader) for loader in ranks] == [2, 2]
        pieces = [hashes(loader.epoch(1)) for loader in ranks]
        assert [first + second for first, second in zip(*pieces, strict=True)] == alone[:2]
        later = [hashes(loader.epoch(1, start_batch=1)) for loader in ranks]
        assert later == [piece[1:] for piece in pieces]
    whole = make(samples, whole=True)
    assert (hashes(whole.epoch(1)), len(whole)) == (alone[:2], 2)


def test_a_worker_computes_on_one_thread(samples, monkeypatch):
    monkeypatch.setattr(torch, "set_num_threads", (asked := []).append)
    monkeypatch.setattr(processes, "end_with_parent", lambda: None)  # it is no worker that has one
    interrupts = signal.getsignal(signal.SIGINT)
    try:
        _begin(0)
        gc.unfreeze()
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, interrupts)
    assert asked == [1]


TRAINS = """
import pickle, sys, time
from mvit.data.loader import TrainLoader

if __name__ == "__main__":
    loader = TrainLoader(**pickle.load(open(sys.argv[1], "rb")))
    next(loader.epoch(0))
    print(loader._loader._iterator._workers[0].pid, flush=True)
    time.sleep(600)
"""


def test_a_worker_ends_with_the_process_it_works_for(samples, tmp_path):
    """Also where that is killed, and can end nobody."""
    given = {"samples": samples, "classes": CLASSES, "preprocessing": PREPROCESSING, "augmentation": Augmentation()}
    (tmp_path / "given").write_bytes(pickle.dumps(given | {"batch": 4, "seed": 3, "workers": 1}))
    (tmp_path / "trains.py").write_text(TRAINS)
    command = [sys.executable, tmp_path / "trains.py", tmp_path / "given"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as trains:
        worker = int(trains.stdout.readline())
        os.kill(worker, 0)
        trains.kill()
    with pytest.raises(ProcessLookupError):  # noqa: PT012 (some time after)
        while True:
            os.kill(worker, 0)
            time.sleep(0.05)


def test_unreadable_videos_are_left_out_and_named(samples, tmp_path):
    bad = tmp_path / "bad.mp4"
    bad.write_text("no video")
    gone = tmp_path / "gone.mp4"
    batches = list(make((*samples, Sample(bad, "still"), Sample(gone, "still"))).epoch(0))
    assert sum(len(batch.labels) for batch in batches) == 11
    named = dict(entry for batch in batches for entry in batch.unreadable)
    assert set(named) == {str(bad), str(gone)}
    assert all(named.values())
    (nothing,) = make((Sample(bad, "still"), Sample(gone, "still"))).epoch(0)
    assert (nothing.clips.shape, len(nothing.labels), len(nothing.unreadable)) == ((0, 3, 4, 16, 16), 0, 2)


def test_flip_swaps_the_labels_of_mirrored_classes(samples):
    whole = Augmentation(scale=(1.0, 1.0), ratio=(1.0, 1.0))
    loader = make(samples, augmentation=whole, batch=11)
    assert "move_left becomes move_right and back" in loader.flip_note
    seen = set()
    for epoch in range(6):
        batch = next(loader.epoch(epoch))
        for clip, label in zip(batch.clips, batch.labels.tolist(), strict=True):
            sample = samples[round(float(clip.float().mean() - 20) / 20)]
            rises = bool(clip[..., -4:].float().mean() > clip[..., :4].float().mean())
            mirrored = {"move_left": "move_right", "move_right": "move_left", "still": "still"}[sample.label]
            assert CLASSES[label] == (sample.label if rises else mirrored)
            seen.add((sample.label, rises))
    assert len(seen) == 6


@pytest.mark.parametrize(
    ("classes", "wish", "allowed", "mirrored", "note"),
    [
        (("clap", "wave"), "auto", True, (0, 1), "half of the clips are mirrored"),
        (("clap", "wave"), "off", False, (0, 1), "as the recipe says"),
        (("swipe_left", "swipe_right"), "auto", True, (1, 0), "swipe_left becomes swipe_right and back"),
        (("swipe_left", "wave"), "auto", False, (0, 1), "no clip is mirrored: a class name holds a direction"),
        (("swipe_left", "wave"), "on", True, (0, 1), "labels kept, as the recipe says"),
    ],
)
def test_flip_follows_the_names_of_the_classes(classes, wish, allowed, mirrored, note):
    flip = decide_flip(classes, wish)
    assert (flip.allowed, flip.mirrored) == (allowed, mirrored)
    assert note in flip.note


def test_classes_change_places_as_the_recipe_says(samples):
    flip = decide_flip(("open", "close", "left"), "auto", (("close", "open"),))
    assert (flip.allowed, flip.mirrored) == (True, (1, 0, 2))
    assert flip.note == "half of the clips are mirrored, and close becomes open and back"
    for pairs, said in (
        ((("open", "shut"),), "names 'shut', which is no class: there are open, close"),
        ((("open", "close"), ("open", "open")), "names 'open' more than once"),
    ):
        with pytest.raises(ValueError, match=said):
            decide_flip(("open", "close"), "auto", pairs)
    whole = Augmentation(scale=(1.0, 1.0), ratio=(1.0, 1.0), mirrored=(("still", "move_left"),))
    assert make(samples, augmentation=whole).flip.mirrored == (2, 1, 0)


EVERYTHING = {
    "order": "shuffled",
    "randaugment": "rand-m7-n4-mstd0.5-inc1",
    "saturation": 0.4,
    "brightness": 0.2,
    "erasing": 0.5,
    "copies": 2,
}


def test_copies_are_read_once_and_drawn_apart(samples, monkeypatch, tmp_path):
    reads = []
    original = video.Video.read
    monkeypatch.setattr(video.Video, "read", lambda self, *a, **o: reads.append(self.path) or original(self, *a, **o))
    bad = tmp_path / "bad.mp4"
    bad.write_text("no video")
    mixed = (*samples, Sample(bad, "still"))
    once, twice, thrice = (make(mixed, augmentation=Augmentation(copies=copies), batch=6) for copies in (1, 2, 3))
    single = {clip.numpy().tobytes() for batch in once.epoch(1) for clip in batch.clips}
    assert len(reads) == 11
    batches = list(twice.epoch(1))
    assert len(reads) == 22
    assert len(batches) == len(twice) == 4
    assert sorted(len(batch.labels) for batch in batches) == [4, 6, 6, 6]
    assert [path for batch in batches for path, _ in batch.unreadable] == [str(bad)]
    firsts = {clip.numpy().tobytes() for batch in batches for clip in batch.clips[::2]}
    others = {clip.numpy().tobytes() for batch in batches for clip in batch.clips[1::2]}
    assert firsts == single
    assert len(others | firsts) == 22
    clips = next(thrice.epoch(1)).clips
    assert torch.equal(clips[1], next(make(mixed, augmentation=Augmentation(copies=2), batch=6).epoch(1)).clips[1])
    with pytest.raises(ValueError, match=r"batch is 4 clips, but must be a multiple of augment.copies, 3"):
        make(samples, augmentation=Augmentation(copies=3))
    with pytest.raises(ValueError, match=r"batch is 4 clips, but must be a multiple of augment.copies, 2 times the ra"):
        make(samples, augmentation=Augmentation(copies=2), rank=0, ranks=4)


@pytest.mark.parametrize("workers", [0, 1])
def test_the_device_computes_what_workers_would(samples, tmp_path, workers):
    bad = tmp_path / "bad.mp4"
    bad.write_text("no video")
    mixed = (*samples, Sample(bad, "still"))
    here = list(make(mixed, augmentation=Augmentation(**EVERYTHING)).epoch(3))
    there = list(make(mixed, workers, Augmentation(**EVERYTHING, on="device")).epoch(3))
    assert any(len(batch.labels) < 4 for batch in here)
    for one, other in zip(here, there, strict=True):
        assert len(other.clips) == 0
        assert torch.equal(one.clips_on("cpu"), other.clips_on("cpu"))
        assert torch.equal(one.labels, other.labels)
        assert one.unreadable == other.unreadable
    wide = make(samples, augmentation=Augmentation(on="device")).clips
    assert wide.clip_bytes >= wide[0, 0].undone.frames.numel()
    (nothing,) = make((Sample(bad, "still"),), augmentation=Augmentation(on="device")).epoch(0)
    assert nothing.clips_on("cpu").shape == (0, 3, 4, 16, 16)


@pytest.mark.parametrize("workers", [1, 2])
def test_everything_drawn_is_the_same_for_any_number_of_workers(samples, workers):
    settings = Augmentation(**EVERYTHING)
    alone, helped = (make(samples, count, settings, seed=2**40) for count in (0, workers))
    assert same(list(helped.epoch(2)), list(alone.epoch(2)))


def test_large_frames_come_reduced_and_small_ones_as_they_are(tmp_path, monkeypatch):
    asked = []
    original = video.Video.read

    def watched(self, *args, **options):
        asked.append((self.path.stem, options["short_side"]))
        return original(self, *args, **options)

    monkeypatch.setattr(video.Video, "read", watched)
    for name, side in (("large", 64), ("small", 12)):
        video.write(tmp_path / f"{name}.mp4", np.zeros((8, side, 2 * side, 3), np.uint8))
    batch = next(make([Sample(tmp_path / f"{name}.mp4", "still") for name in ("large", "small")]).epoch(0))
    assert sorted(asked) == [("large", 16), ("small", None)]
    assert len(batch.labels) == 2
    next(make([Sample(tmp_path / "large.mp4", "still")], augmentation=Augmentation(jitter=(20, 30))).epoch(0))
    assert asked[2:] == [("large", 30)]


def test_our_mistake_is_no_users_error_and_names_the_video(samples, monkeypatch):
    def broken(*_):
        raise ZeroDivisionError("a mistake of ours")

    monkeypatch.setattr(clips_module, "random_indices", broken)
    with pytest.raises(RuntimeError, match=r"\d+\.mp4 could not be made a clip: ZeroDivisionError"):
        list(make(samples).epoch(0))


def test_death_of_a_worker_is_a_sentence_with_a_video(samples):
    loader = make(samples * 20, workers=1, batch=2)
    batches = loader.epoch(4)
    next(batches)
    os.kill(loader._loader._iterator._workers[0].pid, signal.SIGKILL)
    with pytest.raises(ValueError, match=r"a process that decodes videos died .*of epoch 4 .*\d+\.mp4") as caught:
        list(batches)
    assert "\n" not in str(caught.value)


def test_batches_too_large_for_shared_memory_are_refused(samples, monkeypatch):
    monkeypatch.setattr(resources, "shared_memory", lambda: 100_000)
    make(samples, workers=1)
    with pytest.raises(ValueError, match=r"2 workers hand over batches of 0 MiB in /dev/shm, .*--shm-size"):
        make(samples, workers=2, batch=11)
    assert make(samples, workers=2, batch=11, fewer=True).workers == 1
    with pytest.raises(ValueError, match="batch is 0"):
        make(samples, batch=0)


def test_too_little_memory_is_said_before_the_start(samples, monkeypatch):
    monkeypatch.setattr(resources, "available_memory", lambda: 900 * 2**20)
    with pytest.raises(ValueError, match=r"this job may take only 900 MiB more: set train\.workers to 2 or"):
        make(samples, workers=4)
    loader = make(samples, workers=4, fewer=True)
    assert loader.notes[:1] == [
        "2 decoding processes instead of 4, 4 batches ahead each instead of 4, as only 900 MiB are left in memory"
    ]
    assert make(samples, workers=0).notes == []


def test_what_workers_are_given_can_be_pickled(samples):
    clips = make(samples).clips
    again = pickle.loads(pickle.dumps(clips))  # noqa: S301 (our own bytes)
    assert torch.equal(again[0, 1].clips[0], clips[0, 1].clips[0])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_normalise_equals_that_of_test_views(dtype):
    frames = np.random.default_rng(0).integers(0, 256, (3, 6, 6, 3), dtype=np.uint8)
    mean, std = (0.45, 0.4, 0.5), (0.225, 0.3, 0.2)
    ours = normalise(torch.from_numpy(frames).permute(3, 0, 1, 2)[None], mean, std, dtype)[0]
    theirs = torch.from_numpy(normalise_uint8(frames, mean, std))
    assert ours.dtype == dtype
    assert torch.allclose(ours.float(), theirs, atol=1e-6 if dtype == torch.float32 else 0.02)


def test_memory_of_a_worker_stays_flat(samples):
    rollup = Path("/proc/self/smaps_rollup")
    if not rollup.exists():
        pytest.skip("needs the memory of processes as Linux tells it")
    loader = make(samples, workers=1)

    def own_bytes() -> int:
        lines = Path(f"/proc/{loader._loader._iterator._workers[0].pid}/smaps_rollup").read_text().splitlines()
        return 1024 * sum(int(line.split()[1]) for line in lines if line.startswith("Private_"))

    after = []
    for epoch in range(12):
        assert len(list(loader.epoch(epoch))) == 3
        after.append(own_bytes())
    assert after[-1] - after[1] < 8 * 2**20
    assert after[-1] < 60 * 2**20  # with a garbage collection of all that was imported it would be 80 MiB more
