"""What is watched: a file in real time, or a camera or address, which is gone back to when it breaks off."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from threading import Event
from typing import Protocol

import numpy as np

from mvit.data.live import LiveStream, LostSource, is_address, is_camera, require_there, shown
from mvit.data.video import Video

LATE_SECONDS = 2.0
"""Frames that are decoded so much after they were due are of no use: what is due now comes next."""
LONGEST_GAP_SECONDS = 10.0
"""Between two frames of a stream, by its own clock; after more that clock has jumped."""
WAITS = (1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0)
"""Seconds before each try to get a lost source back; after the last it is given up."""


@dataclass(frozen=True)
class Frame:
    """A frame that came; `anew` where frames are missing before it."""

    seconds: float
    """From the first frame on."""
    picture: np.ndarray  # uint8 (H, W, 3)
    came: float
    """When it came, or, of a file, was due; by the clock."""
    anew: bool = False


class Source(Protocol):
    """What gives frames in real time."""

    fps: float | None
    """Where it is known before frames come."""
    end_seconds: float | None
    """Where it is known that there is no more."""
    left_out: int
    damaged: int
    reconnects: int

    def frames(self, short_side: int, stop: Event) -> Iterator[Frame]:
        """Frames by rising seconds, as they come, until the source ends or `stop` is set; called once."""


def opened(name: str, say: Callable[[str], None]) -> Source:
    """The source of a name: a camera, an address, or else a file; `say` is told of breaks.

    Raises what opening a file raises, and ValueError for an address of another protocol and for a camera that is not
    there.
    """
    if is_camera(name):
        require_there(name)
    return Live(name, say) if is_address(name) or is_camera(name) else PlayedFile(Video(name))


class PlayedFile:
    """A file whose frames come when they are due; whoever takes them too late misses some."""

    def __init__(self, video: Video, clock: Callable[[], float] = time.monotonic) -> None:
        self._video, self._clock = video, clock
        self.fps: float | None = video.fps
        self.end_seconds: float | None = None
        self.left_out = self.damaged = self.reconnects = 0

    def frames(self, short_side: int, stop: Event) -> Iterator[Frame]:
        """As `Source` says; raises UnreadableVideo where the data are damaged."""
        with self._video as video:
            times, next_one, anew = video.times, 0, True
            began = self._clock()
            while next_one < len(times):
                for picture in video.each(range(next_one, len(times)), short_side=short_side):
                    due = float(times[next_one])
                    early = due - (self._clock() - began)
                    if stop.wait(max(early, 0)):
                        return
                    yield Frame(due, picture, began + due, anew)
                    next_one, anew = next_one + 1, False
                    if early < -LATE_SECONDS:
                        missed = int(np.searchsorted(times, self._clock() - began)) - next_one
                        if missed > 0:
                            next_one, anew, self.left_out = next_one + missed, True, self.left_out + missed
                            break
            self.end_seconds = None if anew else video.duration_seconds  # its end was passed over


class Live:
    """A camera or address."""

    def __init__(self, name: str, say: Callable[[str], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._name, self._say, self._clock = name, say, clock
        self._began: float | None = None
        self._last = 0.0
        self.fps: float | None = None
        self.end_seconds: float | None = None
        self.left_out = self.damaged = self.reconnects = 0

    def frames(self, short_side: int, stop: Event) -> Iterator[Frame]:
        """As `Source` says; raises LostSource for what is not there, or breaks off and does not come back."""
        tries = 0
        while True:
            try:
                with LiveStream(self._name, short_side) as stream:
                    try:
                        for frame in self._timed(stream, stop):
                            tries = 0
                            yield frame
                    finally:
                        self.left_out, self.damaged = self.left_out + stream.left_out, self.damaged + stream.damaged
                    if stop.is_set() or stream.is_recording:
                        self.end_seconds = None if stop.is_set() else self._last
                        return
                    raise LostSource(self._name, "the stream ended")
            except LostSource as lost:
                if stop.is_set():
                    return
                if self._began is None:
                    raise
                if tries == len(WAITS):
                    reason = f"it broke off and did not come back in {tries} tries ({lost.reason})"
                    raise LostSource(self._name, reason) from None
                self._say(f"{shown(self._name)} broke off ({lost.reason}): trying again in {WAITS[tries]:g} s")
            if stop.wait(WAITS[tries]):
                return
            tries += 1
            self.reconnects += 1

    def _timed(self, stream: LiveStream, stop: Event) -> Iterator[Frame]:
        """Frames on one axis of time, whatever the stream's own clock says: it begins anywhere, and may jump."""
        began, before = (0.0, 0.0, 0.0), None  # together: by the clock, in the stream, from the first frame on
        for own, picture in stream:
            now = self._clock()
            self._began = now if self._began is None else self._began
            own = now if own is None else own
            anew = before is None or not 0 < own - before <= LONGEST_GAP_SECONDS
            if anew:
                began = (now, own, max(now - self._began, self._last + 0.001) if self._last else now - self._began)
            late = (now - began[0]) - (own - began[1])
            if stop.wait(max(-late, 0) if stream.is_recording else 0):
                return
            self._last = began[2] + own - began[1]
            yield Frame(self._last, picture, max(now, now - late) if stream.is_recording else now, anew)
            before = own
            if late > LATE_SECONDS:
                stream.hurry()
                before = None
