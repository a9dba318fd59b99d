from collections.abc import Iterator

import pytest

from mvit.training.progress import LINE_SECONDS, Meter, StatusLine, advice, duration


class Clock:
    """Time that passes when it is told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_waiting_and_working_are_told_apart():
    clock = Clock()
    meter = Meter(clock)

    def slow_batches() -> Iterator[int]:
        for batch in range(4):
            clock.now += 3
            yield batch

    for _ in meter.timed(slow_batches()):
        clock.now += 1
        meter.clips += 8
    assert (meter.waited_seconds, meter.worked_seconds, meter.steps, meter.clips) == (12, 4, 4, 32)
    assert meter.data_wait == 0.75
    assert meter.clips_per_second == 2
    assert meter.seconds_left(10) == 40
    both = meter + meter
    assert (both.seconds, both.clips, both.steps, both.data_wait) == (32, 64, 8, 0.75)


def test_an_unused_meter_divides_by_nothing():
    meter = Meter()
    assert (meter.data_wait, meter.clips_per_second, meter.seconds_left(5)) == (0, 0, 0)
    assert advice(meter, 1) is None


def test_waiting_long_for_data_gets_a_sentence():
    assert advice(Meter(clips=100, waited_seconds=1, ended_seconds=9), 2) is None
    sentence = advice(Meter(clips=1000, waited_seconds=60, ended_seconds=40), 2)
    assert sentence is not None
    assert sentence.startswith("60% of the training time was spent waiting for data: 10 clips/s")
    assert "the model could take 25" in sentence
    assert "train.workers (2 now)" in sentence


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0:00"), (59.6, "1:00"), (123, "2:03"), (3599, "59:59"), (3723.4, "1:02:03")]
)
def test_durations_read_as_a_clock(seconds: float, text: str):
    assert duration(seconds) == text


def test_off_a_terminal_a_line_comes_every_ten_seconds():
    clock, said = Clock(), []
    with StatusLine(said.append, clock) as status:
        for second in range(35):
            clock.now = 100 + second
            status.show(lambda: f"at {clock.now:.0f}")
    assert said == [f"at {100 + LINE_SECONDS * n:.0f}" for n in (1, 2, 3)]
