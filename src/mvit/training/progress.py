"""Where a run stands: speed, time left, the share of time spent waiting for data, in one line that moves on."""

import math
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import Self, TypeVar

from rich.live import Live
from rich.text import Text

Item = TypeVar("Item")
LINE_SECONDS = 10.0
"""Between two lines where they cannot be overwritten."""
LARGE_WAIT = 0.25
"""Share of the training time from which waiting for data deserves a sentence."""
LOOK_SECONDS, REMIND_SECONDS = 60.0, 600.0
"""How long the model is watched before it is said that it starves, and before it is said again."""


@dataclass
class Meter:
    """Counts clips, and the seconds waited for them and worked on them."""

    clock: Callable[[], float] = time.perf_counter
    clips: int = 0
    steps: int = 0
    waited_seconds: float = 0.0
    ended_seconds: float = 0.0
    """Worked on steps that have ended."""
    begun: float | None = None
    """When the step under way began."""

    def timed(self, batches: Iterable[Item]) -> Iterator[Item]:
        """Pass batches on; the time until each is there is waiting, the time until the next is asked for is work."""
        source = iter(batches)
        while True:
            asked = self.clock()
            try:
                batch = next(source)
            except StopIteration:
                return
            finally:
                self.waited_seconds += self.clock() - asked
            self.begun = self.clock()
            self.steps += 1
            yield batch
            self.ended_seconds, self.begun = self.worked_seconds, None

    def __add__(self, other: Self) -> Self:
        """Both together."""
        return replace(
            self,
            clips=self.clips + other.clips,
            steps=self.steps + other.steps,
            waited_seconds=self.waited_seconds + other.waited_seconds,
            ended_seconds=self.worked_seconds + other.worked_seconds,
            begun=None,
        )

    def __sub__(self, earlier: Self) -> Self:
        """What came since an earlier state of this."""
        return replace(
            self,
            clips=self.clips - earlier.clips,
            steps=self.steps - earlier.steps,
            waited_seconds=self.waited_seconds - earlier.waited_seconds,
            ended_seconds=self.worked_seconds - earlier.worked_seconds,
            begun=None,
        )

    @property
    def worked_seconds(self) -> float:
        """Worked, on the step under way too."""
        return self.ended_seconds + (0.0 if self.begun is None else self.clock() - self.begun)

    @property
    def seconds(self) -> float:
        """Waited and worked."""
        return self.waited_seconds + self.worked_seconds

    @property
    def data_wait(self) -> float:
        """Share of the time spent waiting for data."""
        return self.waited_seconds / self.seconds if self.seconds else 0.0

    @property
    def clips_per_second(self) -> float:
        """Clips trained on, waiting included."""
        return self.clips / self.seconds if self.seconds else 0.0

    def seconds_left(self, steps: int) -> float:
        """What so many more steps will take at this speed."""
        return self.seconds / self.steps * steps if self.steps else 0.0


@dataclass(frozen=True)
class Feeding:
    """What decodes for the model, and what could: processes, processors, and the short side in pixels that is used."""

    device: str
    workers: int
    cores: int
    short_side: int

    def advice(self, meter: Meter) -> str | None:
        """A sentence on waiting for data where that is a large share of the time, with what to do; or nothing."""
        if meter.data_wait < LARGE_WAIT or not meter.clips:
            return None
        idle = "the model waits" if self.device == "cpu" else "GPU idle, waiting"
        able = meter.clips / meter.worked_seconds if meter.worked_seconds else math.inf
        return (
            f"{idle} for data {meter.data_wait:.0%} of the time: {meter.clips_per_second:.3g} clips/s are decoded "
            f"where it could take {able:.3g}; {self.remedy(meter.clips_per_second, able)}"
        )

    def remedy(self, decoded: float, able: float) -> str:
        """What to do about it, from clips a second that are decoded and that the model could take."""
        smaller = f"smaller videos: mvit prepare DATA OUT --short-side {self.short_side}, where theirs is larger"
        needed = math.ceil(min(max(self.workers, 1) * able / decoded, 1e6)) if decoded else self.cores + 1
        now = f"train.workers={min(needed, self.cores)} ({self.workers} now)"
        if self.workers >= self.cores:
            return f"all {self.cores} processors that this job may use decode already: give it more, or {smaller}"
        if needed <= self.cores:
            return f"try {now}, or {smaller}"
        return f"try {now}; {needed} would be needed, but this job may use {self.cores} processors, so also {smaller}"


@dataclass
class Watch:
    """Looks at how the model is fed, and says so from time to time where it starves."""

    feeding: Feeding
    begun: Meter | None = None
    """After the first step, in which processes start."""
    looked: Meter | None = None
    """When something was last said, or nothing was found to say."""
    patience_seconds: float = LOOK_SECONDS

    def sentence(self, meter: Meter) -> str | None:
        """Advice on what was measured since the last look, if it is time to look and there is any."""
        if self.looked is None:
            self.begun = self.looked = meter
            return None
        since = meter - self.looked
        if since.seconds < self.patience_seconds:
            return None
        said = self.feeding.advice(since)
        self.looked, self.patience_seconds = meter, REMIND_SECONDS if said else LOOK_SECONDS
        return said

    def at_the_end(self, meter: Meter) -> str | None:
        """Advice on the whole run, if there is any."""
        return self.feeding.advice(meter - self.begun) if self.begun else None


def duration(seconds: float) -> str:
    """Hours, minutes and seconds: 1:02:03, or 2:03."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


@dataclass
class StatusLine:
    """A line that is replaced in place on a terminal, and written anew every ten seconds anywhere else."""

    echo: Callable[[str], None]
    clock: Callable[[], float] = time.perf_counter
    live: Live | None = field(default=None, init=False)
    written: float = field(default=0.0, init=False)

    def __enter__(self) -> Self:
        self.written = self.clock()
        if sys.stdout.isatty():
            self.live = Live(Text(""), transient=True, refresh_per_second=4)
            self.live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, why: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.live:
            self.live.stop()
            self.live = None

    def show(self, line: Callable[[], str]) -> None:
        """Show what ``line`` gives, if it is time to."""
        if self.live:
            self.live.update(Text(line()))
        elif self.clock() - self.written >= LINE_SECONDS:
            self.echo(line())
            self.written = self.clock()
