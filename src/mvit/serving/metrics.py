"""Counts of what was asked and how long it took, in the text that Prometheus reads."""

import contextlib
import os
import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
PROCESS = Path("/proc/self")


class _Histogram:
    def __init__(self) -> None:
        self.counts, self.sum = [0] * (len(BUCKETS) + 1), 0.0

    def add(self, seconds: float) -> None:
        self.counts[bisect_left(BUCKETS, seconds)] += 1
        self.sum += seconds

    def lines(self, name: str, label: str) -> Iterator[str]:
        total = 0
        for limit, count in zip((*BUCKETS, "+Inf"), self.counts, strict=True):
            total += count
            yield f'{name}_bucket{{{label},le="{limit}"}} {total}'
        yield f"{name}_sum{{{label}}} {self.sum:.6f}"
        yield f"{name}_count{{{label}}} {total}"


@dataclass
class Seconds:
    """Of one request, by stage."""

    waiting: float = 0.0
    """For a decoder, and for the thread that computes."""
    decoding: float = 0.0
    computing: float = 0.0


class Metrics:
    """What happened since the server began."""

    def __init__(self) -> None:
        self._began = time.time()
        self._answers: Counter[tuple[str, str]] = Counter()
        self._stages = {stage: _Histogram() for stage in asdict(Seconds())}

    def answered(self, path: str, status: str) -> None:
        """A request to one of the known paths was answered, or ("gone") nobody was there any more to be answered."""
        self._answers[path, status] += 1

    @contextlib.contextmanager
    def request(self) -> Iterator[Seconds]:
        """A request whose seconds are added to what is yielded; they count once, however it ends."""
        seconds = Seconds()
        try:
            yield seconds
        finally:
            for stage, value in asdict(seconds).items():
                self._stages[stage].add(value)

    def text(self, **values: float) -> str:
        """All of it, with gauges and (``_total``) counters of the moment by name."""
        lines = ["# HELP mvit_requests_total Requests by path and status.", "# TYPE mvit_requests_total counter"]
        lines += [
            f'mvit_requests_total{{path="{path}",status="{status}"}} {count}'
            for (path, status), count in sorted(self._answers.items())
        ]
        words = "Seconds of a request in each stage, once for each request whose file was to be decoded."
        lines += [f"# HELP mvit_seconds {words}", "# TYPE mvit_seconds histogram"]
        for stage, histogram in self._stages.items():
            lines += histogram.lines("mvit_seconds", f'stage="{stage}"')
        for name, value in (values | _process() | {"process_start_time_seconds": round(self._began, 2)}).items():
            lines += [f"# TYPE {name} {'counter' if name.endswith('_total') else 'gauge'}", f"{name} {value}"]
        return "\n".join(lines) + "\n"


def _process() -> dict[str, float]:
    pages = (PROCESS / "statm").read_text(encoding="ascii").split()[1]
    return {
        "process_resident_memory_bytes": int(pages) * os.sysconf("SC_PAGE_SIZE"),
        "process_open_fds": len(os.listdir(PROCESS / "fd")),
    }
