"""A video made anew has every frame at its time, whatever its length, and key frames as often as meant."""

from fractions import Fraction
from pathlib import Path
from typing import Literal

import av
import numpy as np
import pytest

from mvit.curation.transcode import transcode
from mvit.data import video
from mvit.data.video import Video
from pictures import moving


def test_pictures_and_times_are_those_of_the_source(tmp_path: Path):
    source = tmp_path / "source.mkv"
    shown = [0, 3, 4, 9, 20, 21, 30, 50, 51, 60]
    with av.open(str(source), "w") as container:
        stream = container.add_stream("libx264", rate=30, options={"crf": "1"})
        stream.height, stream.width, stream.pix_fmt = 48, 64, "yuv420p"
        stream.time_base = stream.codec_context.time_base = Fraction(1, 30)
        for number, picture in zip(shown, moving(), strict=True):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, 30)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    for codec in ("h264", "hevc"):
        made = transcode(source, tmp_path / "new.mp4", short_side=24, codec=codec, crf=4, key_frame_every=3)
        assert (made.frames, made.width, made.height) == (10, 32, 24)
        with Video(source) as before, Video(tmp_path / "new.mp4") as after:
            np.testing.assert_allclose(after.times, before.times, atol=1e-3)
            difference = after.read().astype(int) - before.read(short_side=24)
        assert np.abs(difference).mean() < 3
    transcode(source, tmp_path / "new.mp4", fps=15)
    with Video(tmp_path / "new.mp4") as after:
        np.testing.assert_allclose(after.times, np.arange(after.frames) / 15, atol=1e-4)
        assert after.frames == round(video.probe(source).duration_seconds * 15)


@pytest.mark.parametrize("codec", ["h264", "hevc"])
@pytest.mark.parametrize("frames", [1, 2, 3, 4, 5, 6])
def test_short_videos_are_made_too(tmp_path: Path, codec: Literal["h264", "hevc"], frames: int):
    video.write(tmp_path / "source.mp4", moving(frames))
    assert transcode(tmp_path / "source.mp4", tmp_path / "new.mp4", codec=codec).frames == frames


def test_key_frames_come_as_often_as_meant(tmp_path: Path):
    video.write(tmp_path / "source.mp4", moving(50))
    transcode(tmp_path / "source.mp4", tmp_path / "new.mp4", key_frame_every=12)
    with av.open(str(tmp_path / "new.mp4")) as container:
        keys = [number for number, packet in enumerate(p for p in container.demux() if p.size) if packet.is_keyframe]
    assert max(np.diff([*keys, 50])) <= 12
