"""Videos on a page: their names, and pictures of the files where they lie now, as text that the page itself holds."""

from base64 import b64encode

from mvit.analysis.markup import Html, tag
from mvit.data import stills


class Thumbnails:
    """Pictures of videos by the names that evaluation gives them, and how many could not be had.

    Where they are not ``wanted``, the page is for others: it does not have the names either.
    """

    def __init__(self, *, wanted: bool = True) -> None:
        self.wanted = wanted
        self.shown = 0
        """Different videos of which there is a picture."""
        self.lacking = 0
        """Those of which there is none, as their file is gone or cannot be read."""
        self._pictures: dict[str, Html | None] = {}
        self._numbers: dict[str, int] = {}

    def of(self, name: str) -> Html | None:
        """Frames of a video from left to right; None where they cannot be had, or are not wanted."""
        if not self.wanted:
            return None
        if name not in self._pictures:
            picture = _picture(name)
            self._pictures[name] = picture
            self.shown += picture is not None
            self.lacking += picture is None
        return self._pictures[name]

    def named(self, name: str) -> str:
        """The name of a video, or, where pictures are not wanted, a number in its place, one all over the page."""
        return name if self.wanted else f"video {self._numbers.setdefault(name, len(self._numbers) + 1)}"


def _picture(name: str) -> Html | None:
    try:
        content = stills.strip(name)
    except (ValueError, OSError):
        return None
    return tag("img", src=f"data:image/jpeg;base64,{b64encode(content).decode('ascii')}", alt=f"frames of {name}")
