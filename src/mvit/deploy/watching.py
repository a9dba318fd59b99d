"""A model beside a source that does not wait: windows are classified as they come, and what is too old is left out."""

import math
import time
from collections import deque
from collections.abc import Callable, Generator
from dataclasses import dataclass
from threading import Condition, Event, Thread

import numpy as np

from mvit.data.sampling import ROUNDING, Part, test_indices
from mvit.deploy.described import Described
from mvit.deploy.segments import worded
from mvit.deploy.sources import Frame, Source
from mvit.deploy.windows import Windowing, score

HELD_BYTES = 2**30
"""Of frames that wait to be classified, at most."""


@dataclass(frozen=True)
class Cut:
    """A whole window with its frames; `complete` is when the last of it came, by the clock."""

    part: Part
    frames: list[Frame]
    complete: float


class Buffer:
    """Frames that wait for the model, cut into windows: of little more than two windows, so nothing piles up.

    Where the model is a window's length behind, the newest is the next; those in between are `skipped`, and frames
    that so are in no window at all `dropped`. Windows begin anew where frames are missing.
    """

    def __init__(self, windowing: Windowing) -> None:
        self._windowing = windowing
        self._held: deque[Frame] = deque()
        self._begin = 0.0
        self._number = 0  # of the next window since `_begin`
        self._used = self._reached = -math.inf  # the last frame that was in a window, and that window's end
        self._end: float | None = None
        self.came = self.skipped = self.dropped = 0

    @property
    def _start(self) -> float:
        return self._begin + self._number * self._windowing.stride_seconds

    def add(self, frame: Frame) -> None:
        """A frame came; raises ValueError where windows are so long that their frames would fill the memory."""
        self.came += 1
        if frame.anew:
            self._drop(math.inf)
            self._begin, self._number, self._reached = frame.seconds, 0, frame.seconds
        self._held.append(frame)
        if len(self._held) * frame.picture.nbytes > HELD_BYTES:
            raise ValueError(
                f"the frames of {self._windowing} take more than {HELD_BYTES:,} bytes: give a shorter --window"
            )
        if frame.seconds - (self._start + self._windowing.window_seconds) > self._windowing.window_seconds:
            self._go_on_with_the_newest(frame.seconds)

    def finish(self, end_seconds: float | None) -> None:
        """No more will come; `end_seconds` where the source came to its end and did not break off."""
        self._end = end_seconds

    def take(self, now: float = -math.inf) -> Cut | None:
        """The next window, once it is whole; after a source's end also what is left, as in ``Windowing.over``.

        Of windows that were whole more than a window's length before `now`, by the clock, the newest.
        """
        window = self._windowing.window_seconds
        if not self._held:
            return None
        newest = max(self._held[-1].seconds + ROUNDING, -math.inf if self._end is None else self._end + ROUNDING)
        if newest >= self._start + window and now - self._cut(self._start, self._start + window).complete > window:
            self._go_on_with_the_newest(newest - ROUNDING)
        start, end = self._start, self._start + window
        if newest < end:
            if self._end is None or self._end <= self._reached + ROUNDING:
                return None
            start, end = max(self._end - window, self._begin), self._end
        cut = self._cut(start, end)
        self._used, self._reached = cut.frames[-1].seconds, end
        self._number += 1
        self._drop(start)  # the last window of a source may begin before the next one would
        return cut

    def _cut(self, start: float, end: float) -> Cut:
        part = Part(start, end)
        numbers = part.frames(np.array([frame.seconds for frame in self._held]))
        last = self._held[min(numbers.stop, len(self._held) - 1)]
        return Cut(part, [self._held[number] for number in numbers], last.came)

    def _go_on_with_the_newest(self, newest: float) -> None:
        late = math.floor(
            (newest - self._start - self._windowing.window_seconds + ROUNDING) / self._windowing.stride_seconds
        )
        if late > 0:
            self._number += late
            self.skipped += late
            self._drop(self._start)

    def _drop(self, until: float) -> None:
        """Forget frames that are no longer shown at `until`."""
        while self._held and (until == math.inf or (len(self._held) > 1 and self._held[1].seconds <= until + ROUNDING)):
            self.dropped += self._held.popleft().seconds > self._used


@dataclass(frozen=True, kw_only=True)
class Label:
    """What a window was found to show; `latency_seconds` after the last of it came."""

    part: Part
    label: str
    score: float
    scores: np.ndarray
    latency_seconds: float
    skipped: int
    """Windows that were left out since the one before."""


class Watch:
    """The labels of a source's windows, as they come; iterated over once.

    A thread decodes; whoever iterates classifies. `say` is told what the user should know. `draw` is given every frame
    that comes, by that thread: its seconds, its picture, and the label that is known by then, or nothing.
    """

    def __init__(
        self,
        model: Described,
        source: Source,
        windowing: Windowing,
        say: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
        draw: Callable[[float, np.ndarray, str], None] | None = None,
    ) -> None:
        self._model, self._source, self._windowing, self._say, self._clock = model, source, windowing, say, clock
        self._draw, self._caption = draw, ""
        self._buffer = Buffer(windowing)
        self._changed, self._stop = Condition(), Event()
        self._over = False
        self._error: Exception | None = None
        self._latency_sum = self._latency_most = 0.0
        self.labelled, self.end_seconds = 0, 0.0

    def __iter__(self) -> Generator[Label]:
        """Raises what the source does, once the windows before are labelled, and ValueError as `Buffer.add` does."""
        self._warm_up()
        thread = Thread(target=self._feed, name="decode", daemon=True)
        thread.start()
        told = 0
        try:
            while True:
                with self._changed:
                    while (cut := self._buffer.take(self._clock())) is None and not self._over:
                        self._changed.wait()
                    skipped = self._buffer.skipped - told
                if cut is None:
                    break
                began = self._clock()
                label = self._label(cut, skipped)
                if skipped and not told:
                    self._say(
                        f"the model does not keep up: a window took {self._clock() - began:.2g} s, and one is due "
                        f"every {self._windowing.stride_seconds:g} s; old ones are left out and counted: give a longer "
                        "--stride"
                    )
                told += skipped
                yield label
            if self._error is not None:
                raise self._error
        finally:
            self._stop.set()
            thread.join()  # of a silent source until its silence is too long: nobody else may close what it reads

    @property
    def summary(self) -> dict[str, float]:
        """What came and what became of it."""
        return {
            "seconds": round(self.end_seconds, 3),
            "windows_labelled": self.labelled,
            "windows_skipped": self._buffer.skipped,
            "frames": self._buffer.came,
            "frames_dropped": self._buffer.dropped + self._source.left_out,
            "damaged": self._source.damaged,
            "reconnects": self._source.reconnects,
            "latency_seconds_mean": round(self._latency_sum / max(self.labelled, 1), 4),
            "latency_seconds_most": round(self._latency_most, 4),
        }

    def _warm_up(self) -> None:
        """Have the model do once what it does the first time, so that no window waits for it."""
        preprocessing, (clips, crops) = self._model.preprocessing, self._model.views
        size = (clips * crops, 3, preprocessing.sampling.frames, preprocessing.crop, preprocessing.crop)
        self._model.logits(np.zeros(size, np.float32))

    def _feed(self) -> None:
        try:
            for frame in self._source.frames(self._model.preprocessing.short_side, self._stop):
                with self._changed:
                    self._buffer.add(frame)
                    self._changed.notify()
                if self._draw is not None:
                    self._draw(frame.seconds, frame.picture, self._caption)
        except Exception as error:
            self._error = error
        finally:
            with self._changed:
                self._buffer.finish(self._source.end_seconds)
                self._over = True
                self._changed.notify()

    def _label(self, cut: Cut, skipped: int) -> Label:
        seconds = [frame.seconds for frame in cut.frames]
        fps = self._source.fps or max(len(seconds) - 1, 1) / max(seconds[-1] - seconds[0], ROUNDING)
        indices = test_indices(len(seconds), fps, self._model.preprocessing.sampling, self._model.views[0])
        chosen = np.stack([cut.frames[number].picture for number in indices.ravel().tolist()])
        scores = score(self._model, chosen.reshape(*indices.shape, *chosen.shape[1:]))
        latency, top = self._clock() - cut.complete, int(scores.argmax())
        self.labelled += 1
        self.end_seconds = cut.part.end or 0.0
        self._latency_sum += latency
        self._latency_most = max(self._latency_most, latency)
        found = Label(
            part=cut.part,
            label=self._model.classes[top],
            score=float(scores[top]),
            scores=scores,
            latency_seconds=latency,
            skipped=skipped,
        )
        self._caption = worded(found.label, found.score)
        return found
