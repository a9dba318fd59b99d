"""What the server and a process that decodes say to each other: messages of a kind, a length and so many bytes.

A decoder may have been taken over by the video that it decodes, so nothing that it says is unpacked by anything that
could execute it: views are bytes of a size that the server knows, facts are JSON of a few fields.
"""

import json
import struct
from dataclasses import asdict, dataclass, replace
from typing import Any

from mvit.data.limits import STRANGERS, Limits
from mvit.data.views import Preprocessing
from mvit.deploy.windows import Windowing

HEAD = struct.Struct(">cQ")
"""A message's kind, and how many bytes come behind it."""
ORDER, FACTS, VIEWS, ERROR, NOT_ALLOWED = b"O", b"F", b"V", b"E", b"N"
MOST_TEXT = 2**16
"""Bytes of a message that is no views."""
STATUS = struct.Struct(">i")
"""How a decoder ended, as ``os.waitstatus_to_exitcode`` has it."""


@dataclass(frozen=True, kw_only=True)
class Order:
    """What is wanted of a video, and what it may be and cost."""

    preprocessing: Preprocessing
    clips: int
    crops: int
    windowing: Windowing | None = None
    """Such views of every window; None: of the whole video."""
    most_windows: int = 0
    file_bytes: int = STRANGERS.file_bytes
    pixels: int = STRANGERS.pixels
    frames: int = STRANGERS.frames
    seconds: float = STRANGERS.seconds

    @property
    def limits(self) -> Limits:
        """Those that the video is opened with."""
        mine = {"file_bytes": self.file_bytes, "pixels": self.pixels, "frames": self.frames, "seconds": self.seconds}
        return replace(STRANGERS, **mine)

    @property
    def views(self) -> int:
        """Of the video, or of each window."""
        return self.clips * self.crops

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Of one view."""
        return (3, self.preprocessing.sampling.frames, self.preprocessing.crop, self.preprocessing.crop)

    def to_json(self) -> bytes:
        """As it is told to a decoder."""
        return json.dumps(asdict(self) | {"preprocessing": self.preprocessing.to_dict()}).encode()

    @classmethod
    def from_json(cls, text: bytes) -> "Order":
        """The inverse of ``to_json``."""
        values = json.loads(text)
        windowing = Windowing(**values["windowing"]) if values["windowing"] else None
        return cls(
            **values | {"preprocessing": Preprocessing.from_dict(values["preprocessing"]), "windowing": windowing}
        )


@dataclass(frozen=True)
class Facts:
    """What a decoder says of a video before its views; not to be believed, but harmless."""

    duration_seconds: float
    times: tuple[float, ...]
    """When the frames of the first clip are shown; empty of windows."""
    crop: tuple[float, float, float, float]
    """Left, top, right and bottom of the first crop as shares of the upright picture."""

    def to_json(self) -> bytes:
        """As it is told to the server."""
        return json.dumps(asdict(self)).encode()

    @classmethod
    def from_json(cls, text: bytes) -> "Facts":
        """The inverse of ``to_json``; raises ``ValueError`` for anything else."""
        try:
            values: Any = json.loads(text)
            times, crop = tuple(map(float, values["times"])), tuple(map(float, values["crop"]))
            duration = float(values["duration_seconds"])
        except (TypeError, KeyError, ValueError, RecursionError, OverflowError) as why:
            raise ValueError(f"no facts: {why}") from why
        if len(crop) != 4 or not all(0 <= value < 1e9 for value in (duration, *times, *crop)):
            raise ValueError("facts out of bounds")
        return cls(duration, times, crop)
