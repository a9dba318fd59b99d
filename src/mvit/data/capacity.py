"""How many decoding processes, and batches ready ahead of the model, fit into memory: known before the first starts."""

from dataclasses import dataclass

from mvit.data.samples import counted

MOST_BATCHES_AHEAD = 4  # for each worker
USED_SHARE = 0.8  # of what is free at the start; others take some, and estimates are estimates
SERVER_BYTES = 400 * 2**20  # once, the process that workers are forked from: measured 385 MiB (Linux, torch 2.15)
OWN_BYTES = 48 * 2**20  # what a worker has to itself besides clips: measured 22 to 36 MiB with its first
DECODER_BYTES = 96 * 2**20  # packets of one file (64 MiB at most) and the decoder's reference pictures
MEBIBYTE = 2**20


@dataclass(frozen=True)
class Capacity:
    """Processes that decode, how many batches each may have ready, and where that is fewer than usual, a sentence."""

    workers: int
    ahead: int
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Need:
    """Bytes of a batch handed over, of the frames that one clip is made of, and of the index that all share."""

    batch: int
    frames: int
    index: int = 0

    def shared(self, workers: int, ahead: int) -> int:
        """In the memory that processes share: batches ready, one more that is handed over by each, and the index."""
        return workers * (ahead + 1) * self.batch + self.index

    def all(self, workers: int, ahead: int) -> int:
        """With what each worker holds: itself, a decoder, a clip's frames, its batch as clips and put together."""
        each = OWN_BYTES + DECODER_BYTES + self.frames + 2 * self.batch
        return SERVER_BYTES + workers * each + self.shared(workers, ahead)


def fit(
    workers: int, need: Need, *, memory: int | None, shared: int | None, place: str, fewer: bool = False
) -> Capacity:
    """The batches ahead, and with `fewer` also the workers, that fit into `memory` and `shared` bytes (None: no limit).

    Raises ValueError, naming what would fit, where `workers` do not even with one batch each.
    """
    if not workers:
        return Capacity(0, 0)

    def fits(workers: int, ahead: int) -> bool:
        limits = ((need.all, memory), (need.shared, shared))
        return all(limit is None or bytes_(workers, ahead) <= USED_SHARE * limit for bytes_, limit in limits)

    for count in range(workers, 0 if fewer else workers - 1, -1):
        ahead = next((ahead for ahead in range(MOST_BATCHES_AHEAD, 0, -1) if fits(count, ahead)), 0)
        if ahead:
            return Capacity(count, ahead, _note(workers, count, ahead, need, memory, shared, place))
    able = next((count for count in range(workers - 1, 0, -1) if fits(count, 1)), 0)
    remedy = f"set train.workers to {able or 0} or a smaller train.batch"
    batches = f"{counted(workers, 'worker')} hand over batches of {need.batch / MEBIBYTE:.0f} MiB"
    if shared is not None and need.shared(workers, 1) > USED_SHARE * shared:
        raise ValueError(
            f"{batches} in {place}, which has only {shared / MEBIBYTE:.0f} MiB left: {remedy} "
            "(in Docker, also a larger --shm-size)"
        )
    assert memory is not None
    raise ValueError(
        f"{batches} and decode beside it, which takes about {need.all(workers, 1) / MEBIBYTE:,.0f} MiB, but this job "
        f"may take only {memory / MEBIBYTE:,.0f} MiB more: {remedy}"
    )


def _note(wanted: int, workers: int, ahead: int, need: Need, memory: int | None, shared: int | None, place: str) -> str:
    if workers == wanted and ahead == MOST_BATCHES_AHEAD:
        return ""
    tight = shared is not None and need.shared(wanted, MOST_BATCHES_AHEAD) > USED_SHARE * shared
    where, room = (place, shared) if tight else ("memory", memory)
    assert room is not None
    fewer = f" instead of {wanted}" if workers < wanted else ""
    processes, batches = counted(workers, "decoding process", "decoding processes"), counted(ahead, "batch", "batches")
    left = f"only {room / MEBIBYTE:,.0f} MiB are left in {where}"
    return f"{processes}{fewer}, {batches} ahead each instead of {MOST_BATCHES_AHEAD}, as {left}"
