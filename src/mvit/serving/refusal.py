"""Why a request is not done, for whoever asked: a status of HTTP and one sentence that tells nothing of the inside."""

AGAIN_SECONDS = 2
"""After which whoever finds no place should ask again."""


class Refusal(Exception):  # noqa: N818 (an answer, not a fault)
    """A request that is not done; ``status`` is one of HTTP's, 4xx for what is asked for, 503 for what is short."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(status, sentence)
        self.status, self.sentence = status, sentence

    @property
    def headers(self) -> dict[str, str]:
        """What HTTP says beside the sentence."""
        return {"retry-after": str(AGAIN_SECONDS)} if self.status == 503 else {}
