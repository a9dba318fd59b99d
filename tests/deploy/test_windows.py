"""Windows over a long video: which there are, that each is scored as a video by itself, and in how much memory."""

import tracemalloc
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest

from mvit.data import video
from mvit.data.sampling import Part
from mvit.data.video import UnreadableVideo, Video
from mvit.data.views import read_views
from mvit.deploy.windows import Sweep, Windowing, scored
from mvit.evaluation.evaluate import score_video
from mvit.evaluation.scoring import score_views
from windowed import DENSE, SEGMENTS, Brightness


@pytest.fixture(scope="module")
def film(tmp_path_factory) -> Path:
    """Noise, brighter and darker, of 8 s at 25 frames a second, a key frame every half second."""
    path = tmp_path_factory.mktemp("film") / "film.mp4"
    rng = np.random.default_rng(0)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"g": "25", "keyint_min": "25", "sc_threshold": "0"})
        stream.width, stream.height, stream.pix_fmt = 80, 64, "yuv420p"
        for n in range(200):
            noise = rng.integers(0, 120, (8, 10, 3), dtype=np.uint8).repeat(8, 0).repeat(8, 1) + (n // 40 % 2) * 120
            container.mux(stream.encode(av.VideoFrame.from_ndarray(noise.astype(np.uint8), format="rgb24")))
        container.mux(stream.encode(None))
    return path


def cut(path: Path, out: Path, start: float, end: float) -> Path:
    """The packets of a part, which begins with a key frame, as a file: nothing is encoded again."""
    with av.open(str(path)) as source, av.open(str(out), "w") as container:
        template = source.streams.video[0]
        stream = container.add_stream_from_template(template)
        for packet in source.demux(template):
            if packet.pts is not None and start <= float(packet.pts * packet.time_base) < end - 1e-6:
                packet.stream = stream
                offset = round(start / packet.time_base)
                packet.pts, packet.dts = packet.pts - offset, packet.dts - offset
                container.mux(packet)
    return out


@pytest.mark.parametrize(
    ("duration", "window", "stride", "parts"),
    [
        (4, 2, 1, [(0, 2), (1, 3), (2, 4)]),
        (4.3, 2, 1, [(0, 2), (1, 3), (2, 4), (2.3, 4.3)]),
        (1.5, 2, 1, [(0, 1.5)]),
        (2.0003, 2, 1, [(0, 2.0003)]),
        (3, 1, 1, [(0, 1), (1, 2), (2, 3)]),
        (0.3, 0.1, 0.1, [(0, 0.1), (0.1, 0.2), (0.2, 0.3)]),
    ],
)
def test_windows_cover_a_video_to_its_end(duration, window, stride, parts):
    found = Windowing(window_seconds=window, stride_seconds=stride).over(duration)
    assert [(round(part.start, 6), round(part.end or 0, 6)) for part in found] == parts


@pytest.mark.parametrize(("window", "stride"), [(2, 3), (2, 0), (0, 0), (-1, -1), (float("inf"), 1), (float("nan"), 1)])
def test_windows_that_would_leave_gaps_or_are_none_are_refused(window, stride):
    with pytest.raises(ValueError, match="the stride no longer than the window"):
        Windowing(window_seconds=window, stride_seconds=stride)


def test_a_video_that_says_it_lasts_for_years_is_refused():
    every = Windowing(window_seconds=2, stride_seconds=0.5)
    with pytest.raises(ValueError, match=r"60,000,000 s in windows of 2 s every 0\.5 s are more than 524,288 windows"):
        every.over(6e7)
    assert len(every.over(24 * 3600)) == 2 * 24 * 3600 - 3


@pytest.mark.parametrize("preprocessing", [SEGMENTS, DENSE], ids=["segments", "dense"])
def test_a_window_is_scored_as_a_file_cut_to_it(preprocessing, film, tmp_path):
    model = Brightness(preprocessing, views=(2, 3))
    with Video(film) as opened:
        found = list(scored(model, opened, Windowing(window_seconds=2, stride_seconds=1).over(8)))
    assert len(found) == 7
    assert len({tuple(window.scores) for window in found}) == 7
    for window in found:
        file = cut(film, tmp_path / f"{window.part.start}.mp4", window.part.start, window.part.end or 0)
        assert video.probe(file).frames == 50
        np.testing.assert_allclose(window.scores, score_video(model.logits, file, preprocessing, 2, 3), atol=1e-9)


def test_a_window_between_frames_is_scored_as_that_part(film):
    model = Brightness(DENSE)
    with Video(film) as opened:
        for window in scored(model, opened, Windowing(window_seconds=0.77, stride_seconds=0.31).over(8)):
            views = read_views(film, DENSE, clips=2, part=window.part)
            np.testing.assert_array_equal(window.scores, score_views(model.logits, views))


def test_only_frames_that_are_still_needed_are_held(film):
    large = replace(SEGMENTS, short_side=256)
    model, every = Brightness(large), Windowing(window_seconds=1, stride_seconds=0.5).over(8)
    with Video(film) as opened:
        frames = opened.read(short_side=256).nbytes
        tracemalloc.start()
        try:
            assert sum(1 for _ in scored(model, opened, every)) == 15
            most = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert most < frames / 4


def test_every_frame_is_decoded_once_and_in_order(film, monkeypatch):
    asked: list[int] = []
    each = Video.each
    monkeypatch.setattr(
        Video, "each", lambda self, numbers, **kw: (asked.extend(numbers.tolist()), each(self, numbers, **kw))[1]
    )
    with Video(film) as opened:
        list(scored(Brightness(), opened, Windowing(window_seconds=2, stride_seconds=0.1).over(8)))
    assert asked == sorted(set(asked))
    assert len(asked) > 100


def test_windows_whose_frames_would_fill_the_memory_are_refused_before_decoding(film, monkeypatch):
    monkeypatch.setattr(Video, "each", None)
    with Video(film) as opened:
        opened.limits = replace(opened.limits, answer_bytes=20 * 32 * 40 * 3)
        with pytest.raises(UnreadableVideo, match="at once are more than the"):
            next(scored(Brightness(), opened, Windowing(window_seconds=6, stride_seconds=0.1).over(8)))


def test_what_is_damaged_ends_the_windows_and_is_told(film, tmp_path):
    data = bytearray(film.read_bytes())
    middle = data.index(b"mdat") + (len(data) - data.index(b"mdat")) // 2
    data[middle : middle + 600] = bytes(600)
    (tmp_path / "damaged.mp4").write_bytes(data)
    with Video(tmp_path / "damaged.mp4") as opened:
        sweep = Sweep(Brightness(), opened, Windowing(window_seconds=1, stride_seconds=0.5))
        found = list(sweep)
        assert 2 < len(found) == sweep.done < len(sweep.parts) == 15
        assert "damaged" in str(sweep.damage)
        assert sweep.end_seconds == found[-1].part.end
    with Video(film) as whole:
        assert [w.scores.tolist() for w in found] == [
            w.scores.tolist() for w in scored(Brightness(), whole, [w.part for w in found])
        ]


def test_of_a_video_shorter_than_a_window_all_is_one(film):
    model = Brightness()
    with Video(film) as opened:
        (only,) = Sweep(model, opened, Windowing(window_seconds=60, stride_seconds=1))
    assert only.part == Part(0, 8)
    np.testing.assert_array_equal(only.scores, score_video(model.logits, film, SEGMENTS, 2, 1))
