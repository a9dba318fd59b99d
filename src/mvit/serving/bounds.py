"""What one request may be and may cost, and how many there may be at once."""

from dataclasses import dataclass

from mvit.data.limits import STRANGERS
from mvit.data.samples import counted


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """All that is bounded; what is beyond is refused before it costs more."""

    bytes: int = 100_000_000
    """Of one video or image."""
    seconds: float = STRANGERS.seconds
    """By the clock, of decoding for one request."""
    pixels: int = STRANGERS.pixels
    """Of one frame."""
    frames: int = STRANGERS.frames
    """Of one video."""
    queue: int = 16
    """Requests at once that are received, wait, or are worked on."""

    def __post_init__(self) -> None:
        for name, value in self.to_dict().items():
            if not value > 0:
                raise ValueError(f"--max-{name} is {value}: it is above 0")
        if self.queue < 1:
            raise ValueError(f"--queue is {self.queue}: it is 1 or more")

    def to_dict(self) -> dict[str, float]:
        """Those of one video, as the page is told."""
        return {"bytes": self.bytes, "seconds": self.seconds, "pixels": self.pixels, "frames": self.frames}

    def __str__(self) -> str:
        return (
            f"{self.bytes / 1e6:,.4g} MB, {counted(self.pixels, 'pixel')}, {counted(self.frames, 'frame')} and "
            f"{self.seconds:g} s of decoding each, {counted(self.queue, 'request')} at once"
        )


MOST_CLIPS = 10
"""That may be asked of one video."""
MOST_WINDOWS = 10_000
"""Of one video: more than an hour's by strides of half a second."""
HEADER_BYTES = 2**14
HEADER_SECONDS = 5
"""In which a request's header must be there; also how long a connection may say nothing between two requests."""
BODY_GRACE_SECONDS = 10.0
ANSWER_GRACE_SECONDS = 30.0
"""That the server waits in all for an answer to be taken."""
BYTES_A_SECOND = 2**16
"""Of a body or an answer, at least, on average, once the grace is over: what is slower holds a place."""
CONNECTIONS = 512
STOP_SECONDS = 30.0
"""For what is being worked on when the server is told to end."""
LAST_SECONDS = 3.0
"""For telling those who are refused because it ends."""
