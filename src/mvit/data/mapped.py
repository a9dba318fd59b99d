"""A list of small values in one buffer that processes share, however long it is."""

import json
from array import array
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch

OFFSET_BYTES = 8


class MappedList(Sequence[Any]):
    """Values that JSON can hold, packed end to end behind a table of where each one ends.

    Hundreds of thousands of Python objects would be copied into every worker process, whole at the start or page by
    page as counting references writes to them; of this buffer, once shared, there is one. An item is unpacked anew
    each time it is asked for.
    """

    def __init__(self, values: Iterable[Any]) -> None:
        packed, ends = bytearray(), array("q")
        for value in values:
            packed += json.dumps(value, separators=(",", ":")).encode()
            ends.append(len(packed))
        self._count = len(ends)
        self._buffer = torch.empty(OFFSET_BYTES * len(ends) + len(packed), dtype=torch.uint8)
        bytes_ = self._buffer.numpy()
        bytes_[: OFFSET_BYTES * len(ends)] = np.frombuffer(ends, np.uint8)
        bytes_[OFFSET_BYTES * len(ends) :] = np.frombuffer(packed, np.uint8)

    @property
    def bytes(self) -> int:
        """The size of the buffer."""
        return self._buffer.numel()

    def share(self) -> None:
        """Move the buffer to memory that processes share; those started from now on map it instead of copying it."""
        self._buffer.share_memory_()

    def __len__(self) -> int:
        """How many values there are."""
        return self._count

    def __getitem__(self, index: Any) -> Any:
        """The value of that number."""
        if not 0 <= index < self._count:
            raise IndexError(f"there is no value {index} among {self._count}")
        buffer = self._buffer.numpy()
        table = buffer[: OFFSET_BYTES * self._count].view(np.int64)
        start = int(table[index - 1]) if index else 0
        body = buffer[OFFSET_BYTES * self._count :]
        return json.loads(body[start : int(table[index])].tobytes())
