"""Windows of what does not wait: which are labelled, what is left out and counted, and what is said of lost sources."""

import socket
import time
from itertools import pairwise
from pathlib import Path
from threading import Event

import av
import numpy as np
import pytest

from cameras import camera, over_http, over_rtsp, then_silent, transport_stream
from mvit.data import video
from mvit.data.live import LostSource, is_address, is_camera, shown
from mvit.data.video import UnreadableVideo, Video
from mvit.deploy import sources
from mvit.deploy.sources import Frame, Live, PlayedFile, opened
from mvit.deploy.watching import Buffer, Watch
from mvit.deploy.windows import Windowing, scored
from windowed import Brightness

EVERY = Windowing(window_seconds=1, stride_seconds=0.5)
PICTURE = np.zeros((4, 4, 3), np.uint8)


def frame(number: int, fps: int = 10, anew: bool = False) -> Frame:
    return Frame(number / fps, PICTURE, number / fps, anew or number == 0)


def taken(buffer: Buffer) -> list[tuple[float, float, int]]:
    found = []
    while cut := buffer.take():
        found.append((round(cut.part.start, 3), round(cut.part.end or 0, 3), len(cut.frames)))
    return found


def test_windows_are_cut_as_soon_as_they_are_whole():
    buffer, found = Buffer(EVERY), []
    for number in range(21):
        buffer.add(frame(number))
        found += [(number, *window) for window in taken(buffer)]
    assert found == [(10, 0, 1, 10), (15, 0.5, 1.5, 10), (20, 1, 2, 10)]
    buffer.finish(2.1)
    assert taken(buffer) == [(1.1, 2.1, 10)]
    assert (buffer.came, buffer.skipped, buffer.dropped) == (21, 0, 0)


def test_a_source_that_ends_gives_the_windows_that_the_file_has():
    for count in (3, 10, 14, 15, 23):
        buffer, found = Buffer(EVERY), []
        for number in range(count):
            buffer.add(frame(number))
            found += taken(buffer)
        buffer.finish(count / 10)
        found += taken(buffer)
        assert [(s, e) for s, e, _ in found] == [(round(p.start, 3), p.end) for p in EVERY.over(count / 10)]


def test_a_model_that_does_not_keep_up_gets_the_newest_window_and_the_rest_is_counted():
    buffer = Buffer(EVERY)
    for number in range(11):
        buffer.add(frame(number))
    assert taken(buffer) == [(0, 1, 10)]
    for number in range(11, 61):  # five seconds in which no window is taken
        buffer.add(frame(number))
        assert len(buffer._held) <= 36
    found = taken(buffer)
    assert found[-1] == (5, 6, 10)
    assert found[0][0] + 1 >= 6 - 2 * EVERY.window_seconds
    assert buffer.skipped == 10 - len(found)
    # Frames 0 to 9 were in the first window; those up to the next one that is labelled are in none.
    assert buffer.dropped == round(found[0][0] * 10) - 10


def test_windows_begin_anew_after_missing_frames():
    buffer = Buffer(EVERY)
    for number in range(8):
        buffer.add(frame(number))
    for number in range(42, 53):
        buffer.add(frame(number, anew=number == 42))
    assert taken(buffer) == [(4.2, 5.2, 10)]
    assert buffer.dropped == 8


def test_windows_too_long_to_be_held_are_refused(monkeypatch):
    monkeypatch.setattr("mvit.deploy.watching.HELD_BYTES", 5 * PICTURE.nbytes)
    buffer = Buffer(EVERY)
    for number in range(5):
        buffer.add(frame(number))
    with pytest.raises(ValueError, match="give a shorter --window"):
        buffer.add(frame(5))


class Given:
    """A source of frames that waits for the model, or not."""

    fps, end_seconds, left_out, damaged, reconnects = 10.0, None, 0, 0, 0

    def __init__(self, frames: int, wait_for=lambda number: None):
        self.count, self.wait_for = frames, wait_for

    def frames(self, short_side, stop):
        for number in range(self.count):
            self.wait_for(number)
            yield Frame(number / 10, np.full((32, 40, 3), number, np.uint8), number / 10, number == 0)
        self.end_seconds = self.count / 10


def test_a_slow_model_is_told_of_once_and_windows_are_counted():
    said: list[str] = []
    late = Event()

    class Slow(Brightness):
        def logits(self, clips):
            if self.seen == 1:  # after the warm-up, the first window: the source runs ahead
                assert late.wait(20)
            return super().logits(clips)

    watch = Watch(
        Slow(), Given(100, lambda number: late.set() if number == 99 else None), EVERY, said.append, lambda: 0.0
    )
    labels = list(watch)
    summary = watch.summary
    assert summary["windows_labelled"] == len(labels) < 19
    assert summary["windows_labelled"] + summary["windows_skipped"] == 19
    assert sum(label.skipped for label in labels) == summary["windows_skipped"] > 10
    assert summary["frames"] == 100
    assert summary["frames_dropped"] > 50
    assert labels[-1].part.end == 10
    (sentence,) = said
    assert "the model does not keep up" in sentence


def test_latency_is_from_when_the_last_of_a_window_came():
    watch = Watch(Brightness(), Given(11), EVERY, print, clock=lambda: 1.5)
    first, second = watch
    assert first.latency_seconds == pytest.approx(0.5)  # the frame at 1.0 s made it whole
    assert (second.part.start, second.latency_seconds) == (pytest.approx(0.1), pytest.approx(0.5))
    assert watch.summary["latency_seconds_most"] == pytest.approx(0.5)


def test_after_the_end_of_a_source_nothing_is_labelled_that_is_long_past():
    buffer = Buffer(Windowing(window_seconds=1, stride_seconds=0.1))
    for number in range(20):
        buffer.add(frame(number))
    buffer.finish(2.0)
    assert (cut := buffer.take(1.9))
    assert (cut.part.start, buffer.skipped) == (0, 0)
    assert (cut := buffer.take(2.2))  # the window that was whole at 1.1 s is too old; that at the end is not
    assert (cut.part.end, buffer.skipped) == (2.0, 9)
    assert buffer.take(9.0) is None


@pytest.fixture(scope="module")
def pictures() -> np.ndarray:
    rng = np.random.default_rng(3)
    return rng.integers(0, 255, (50, 5, 6, 3), dtype=np.uint8).repeat(8, 1).repeat(8, 2)


def test_a_file_played_in_real_time_is_labelled_as_its_windows_are_scored(pictures, tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "LATE_SECONDS", 1000.0)  # a busy machine is no reason to leave out frames here
    path, every = tmp_path / "clip.mp4", Windowing(window_seconds=1, stride_seconds=0.25)
    video.write(path, pictures, fps=20)
    watch = Watch(Brightness(), PlayedFile(Video(path)), every, print)
    began = time.monotonic()
    labels = list(watch)
    assert time.monotonic() - began >= 2.4  # which is no question of speed: it must not be over sooner
    with Video(path) as film:
        expected = {round(w.part.start, 3): w.scores for w in scored(Brightness(), film, every.over(2.5))}
    assert len(labels) + watch.summary["windows_skipped"] == len(expected) == 7
    for label in labels:
        np.testing.assert_array_equal(label.scores, expected[round(label.part.start, 3)])
        assert label.latency_seconds >= 0


def test_a_file_whose_frames_come_too_late_goes_on_with_what_is_due(pictures, tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "LATE_SECONDS", 0.3)
    video.write(tmp_path / "clip.mp4", pictures, fps=10)
    moments = iter([0.0, 0.0, 0.1, 0.2, 2.0, 2.5, *np.arange(2.5, 99, 0.1)])
    source = PlayedFile(Video(tmp_path / "clip.mp4"), clock=lambda: next(moments))
    stop = Event()
    monkeypatch.setattr(stop, "wait", lambda seconds: False)
    found = [(round(f.seconds, 3), f.anew) for f in source.frames(32, stop)]
    assert found[:5] == [(0, True), (0.1, False), (0.2, False), (0.3, False), (2.5, True)]
    assert source.left_out == 50 - len(found) >= 21
    assert source.end_seconds == pytest.approx(5)


def test_what_was_passed_over_at_the_end_of_a_file_is_in_no_window(pictures, tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "LATE_SECONDS", 0.3)
    video.write(tmp_path / "clip.mp4", pictures, fps=10)
    source = PlayedFile(Video(tmp_path / "clip.mp4"), clock=iter([*np.arange(0, 4.25, 0.1), 6.0, 6.0]).__next__)
    stop, buffer = Event(), Buffer(EVERY)
    monkeypatch.setattr(stop, "wait", lambda seconds: False)
    found = []
    for one in source.frames(32, stop):
        buffer.add(one)
        found += taken(buffer)
    buffer.finish(source.end_seconds)
    assert buffer.came + source.left_out == 50
    assert source.left_out >= 5
    assert found
    assert taken(buffer) == [], "of a window that ends with the file not all frames came"


def test_a_damaged_file_is_watched_up_to_the_damage(pictures, tmp_path):
    path = tmp_path / "clip.mp4"
    video.write(path, pictures, fps=100)
    data = bytearray(path.read_bytes())
    middle = data.index(b"mdat") + 3 * (len(data) - data.index(b"mdat")) // 4
    data[middle : middle + 300] = bytes(300)
    path.write_bytes(data)
    watch = Watch(Brightness(), PlayedFile(Video(path)), Windowing(window_seconds=0.1, stride_seconds=0.1), print)
    labels = []
    with pytest.raises(UnreadableVideo, match="damaged"):
        labels.extend(watch)
    assert 0 < watch.summary["windows_labelled"] == len(labels)
    assert watch.summary["frames"] < 50


@pytest.fixture(scope="module")
def stream(pictures, tmp_path_factory) -> bytes:
    return transport_stream(tmp_path_factory.mktemp("stream") / "stream.ts", pictures, fps=25)


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(sources, "WAITS", (0.01, 0.02))


def test_an_rtsp_stream_that_breaks_is_gone_back_to_and_at_last_given_up(stream, quick):
    said: list[str] = []
    half = stream[: len(stream) // 188 // 2 * 188]
    with camera(over_rtsp(half), over_rtsp(stream)) as server:
        source = Live(f"rtsp://me:secret@127.0.0.1:{server.port}/door", said.append)
        frames: list[Frame] = []
        with pytest.raises(LostSource, match="broke off and did not come back in 2 tries") as lost:
            frames.extend(source.frames(32, Event()))
        methods = [line.split()[0] for line in server.asked]
    assert methods == ["OPTIONS", "DESCRIBE", "SETUP", "PLAY"] * 2
    assert [one.anew for one in frames].count(True) == 2
    assert len(frames) >= 70
    assert frames[0].picture.shape == (32, 38, 3)
    assert all(after.seconds > before.seconds for before, after in pairwise(frames))
    assert source.reconnects == 3
    assert "trying again in 0.01 s" in said[0]
    assert "secret" not in f"{lost.value}{said}"
    assert f"rtsp://me:***@127.0.0.1:{server.port}/door" in str(lost.value)


def test_a_stream_over_http_is_labelled(stream, quick):
    with camera(over_http(stream)) as server:
        watch = Watch(Brightness(), Live(f"http://127.0.0.1:{server.port}/", lambda _: None), EVERY, lambda _: None)
        labels = []
        with pytest.raises(LostSource, match="broke off"):
            labels.extend(watch)
    assert watch.summary["frames"] >= 45
    assert watch.summary["windows_labelled"] + watch.summary["windows_skipped"] >= 1


def test_a_recording_at_an_address_is_played_in_real_time_and_ends(pictures, tmp_path):
    with av.open(str(tmp_path / "clip.mkv"), "w") as container:
        encoder = container.add_stream("libx264", rate=50)
        encoder.height, encoder.width, encoder.pix_fmt = 40, 48, "yuv420p"
        for picture in pictures:
            container.mux(encoder.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(encoder.encode(None))
    body = (tmp_path / "clip.mkv").read_bytes()
    with camera(over_http(body, "video/x-matroska", whole=True)) as server:
        source = Live(f"http://127.0.0.1:{server.port}/clip.mkv", print)
        frames = list(source.frames(32, Event()))
    assert len(frames) == 50
    assert source.reconnects == 0
    assert source.end_seconds == pytest.approx(0.98, abs=0.05)
    assert frames[-1].came - frames[0].came >= 0.97


def test_a_silent_stream_is_lost(stream, quick, monkeypatch):
    monkeypatch.setattr("mvit.data.live.SILENCE_SECONDS", 0.5)
    said: list[str] = []
    with camera(then_silent(1.5, over_rtsp(stream))) as server:
        source = Live(f"rtsp://127.0.0.1:{server.port}/door", said.append)
        with pytest.raises(LostSource, match="did not come back in 2 tries"):
            list(source.frames(32, Event()))
    assert "broke off (no data came for too long)" in said[0]


PLAYLIST = b"#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2.0,\nhttp://127.0.0.1:%d/segment.ts\n#EXT-X-ENDLIST\n"


@pytest.mark.parametrize("kind", ["application/vnd.apple.mpegurl", "video/mp2t"])
def test_a_strangers_playlist_is_refused_and_what_it_names_is_not_fetched(kind, stream):
    with camera(over_http(stream)) as other, camera(over_http(PLAYLIST % other.port, kind)) as server:
        with pytest.raises(LostSource, match="of a playlist, name the address of the stream itself"):
            next(Live(f"http://127.0.0.1:{server.port}/live.m3u8", print).frames(32, Event()))
        assert (len(server.asked), other.asked) == (1, [])


def redirecting(connection: socket.socket, asked: list[str]) -> None:
    asked.append(connection.recv(4096).decode().splitlines()[0])
    connection.sendall(b"HTTP/1.1 302 Found\r\nLocation: file:///etc/hostname\r\nContent-Length: 0\r\n\r\n")


def test_an_address_leads_to_no_file_of_this_machine():
    with camera(redirecting) as server, pytest.raises(LostSource, match="no video stream that may be opened"):
        next(Live(f"http://127.0.0.1:{server.port}/", print).frames(32, Event()))


def test_what_is_not_there_is_told_at_once():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(LostSource, match="connection refused"):
        next(Live(f"http://127.0.0.1:{port}/", print).frames(32, Event()))
    with pytest.raises(LostSource, match="there is no such camera"):
        next(opened("/dev/video99", print).frames(32, Event()))
    with pytest.raises(FileNotFoundError, match="there is no file"):
        opened("nowhere.mp4", print)
    with pytest.raises(ValueError, match="an address of rtsp://, rtsps://, http://, https://"):
        opened("udp://127.0.0.1:1234", print)


def test_a_playlist_in_a_file_is_refused(tmp_path: Path):
    (tmp_path / "live.m3u8").write_bytes(PLAYLIST % 1)
    with pytest.raises(UnreadableVideo, match="no video or image that can be opened"):
        opened(str(tmp_path / "live.m3u8"), print)


def test_names_of_sources():
    assert is_address("RTSP://camera/1")
    assert not is_address("clip.mp4")
    assert is_camera("/dev/video0")
    assert not is_camera("/dev/zero")
    assert shown("rtsp://me:a:b@host/x?user=me&pwd=@") == "rtsp://me:***@host/x?***"
    assert shown("what?.mp4") == "what?.mp4"
    assert shown("http://host:80/x") == "http://host:80/x"
