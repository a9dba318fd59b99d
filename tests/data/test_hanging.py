"""Decoding processes that hang, for real: by a decoder that sleeps when it comes to one of the videos."""

import importlib
import os
import re

import numpy as np
import pytest
import torch

from mvit.data import loader as loader_module
from mvit.data import video
from mvit.data.backend import Backend
from mvit.data.dataset import Sample
from mvit.data.loader import TrainLoader
from mvit.data.sampling import ClipSampling
from mvit.data.transforms import Augmentation
from mvit.data.views import Preprocessing

PREPROCESSING = Preprocessing(sampling=ClipSampling(frames=4, spacing=2), short_side=16, crop=16)


@pytest.fixture(scope="module")
def samples(tmp_path_factory) -> tuple[Sample, ...]:
    folder = tmp_path_factory.mktemp("videos")
    for index in range(11):
        video.write(folder / f"{index}.mp4", np.full((12, 20, 24, 3), 20 * index, np.uint8))
    return tuple(Sample(folder / f"{index}.mp4", "still") for index in range(11))


def loader(samples, workers: int = 0, batch: int = 4, **options) -> TrainLoader:
    return TrainLoader(
        samples, ["still"], PREPROCESSING, Augmentation(), batch=batch, seed=3, workers=workers, **options
    )


STUB = """
import time
from mvit.data import video

def read(path, *args, **options):
    if path == {video!r}:
        time.sleep(600)
    return video.read(path, *args, **options)
"""


def test_a_hung_worker_is_named_with_its_video_and_ended(samples, tmp_path, monkeypatch):
    batches = loader(samples, batch=1).order.epoch(0)
    hung = samples[batches[6]].path
    (tmp_path / "hanging_backend.py").write_text(STUB.format(video=str(hung)), encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    read = importlib.import_module("hanging_backend").read
    backend = Backend("torchcodec", "cpu", "0", read)
    hanging = loader(samples, workers=2, batch=1, backend=backend, timeout_seconds=1.0)
    hanging.timeout_seconds = None  # starting may take longer than that
    epoch = hanging.epoch(0)
    next(epoch)
    hanging.timeout_seconds = 1.0
    workers = hanging._loader._iterator._workers
    with pytest.raises(ValueError, match=rf"batch 6 of epoch 0 has not come for 1 s .* is at {hung}: look") as caught:
        list(epoch)
    process = int(re.findall(r"and process (\d+) is at", str(caught.value))[0])
    assert process == workers[0].pid
    hanging._loader._iterator._shutdown_workers()
    workers[0].join(timeout=60)  # torch 2.10 ends it and does not wait for its end
    with pytest.raises(ProcessLookupError):
        os.kill(process, 0)


def test_a_slow_worker_is_waited_for(samples, tmp_path, monkeypatch):
    stub = STUB.format(video=str(samples[0].path)).replace("600", "1.5")
    (tmp_path / "slow_backend.py").write_text(stub, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(loader_module, "LOOK_SECONDS", 0.2)
    backend = Backend("torchcodec", "cpu", "0", importlib.import_module("slow_backend").read)
    slow = loader(samples, workers=1, backend=backend)
    pairs = zip(slow.epoch(0), loader(samples).epoch(0), strict=True)
    assert [torch.equal(one.clips, other.clips) for one, other in pairs] == [True, True, True]
    assert slow.clips.at_work() == {}


def test_what_slow_workers_still_have_of_an_epoch_that_was_left_is_waited_for(samples, tmp_path, monkeypatch):
    stub = STUB.replace("if path == {video!r}", "if True").replace("600", "0.5")
    (tmp_path / "slower_backend.py").write_text(stub, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(loader_module, "LOOK_SECONDS", 0.2)
    backend = Backend("torchcodec", "cpu", "0", importlib.import_module("slower_backend").read)
    slow = loader(samples, workers=1, batch=1, backend=backend)
    left = slow.epoch(0)
    next(left)
    again = slow.epoch(0, start_batch=8)
    pairs = zip(again, loader(samples, batch=1).epoch(0, start_batch=8), strict=True)
    assert [torch.equal(one.clips, other.clips) for one, other in pairs] == [True] * 3
