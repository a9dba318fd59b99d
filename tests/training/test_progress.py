from collections.abc import Iterator

import pytest

from mvit.training.progress import (
    LINE_SECONDS,
    LOOK_SECONDS,
    REMIND_SECONDS,
    Feeding,
    Meter,
    StatusLine,
    Watch,
    duration,
)


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
    assert Feeding("cpu", 1, 2, 256).advice(meter) is None
    assert (meter - meter).seconds == 0


def test_waiting_long_for_data_gets_a_sentence():
    feeding = Feeding("cuda", 5, 16, 256)
    assert feeding.advice(Meter(clips=100, waited_seconds=1, ended_seconds=9)) is None
    sentence = feeding.advice(Meter(clips=4100, waited_seconds=63, ended_seconds=37))
    assert sentence == (
        "GPU idle, waiting for data 63% of the time: 41 clips/s are decoded where it could take 111; "
        "try train.workers=14 (5 now), "
        "or smaller videos: mvit prepare DATA OUT --short-side 256, where theirs is larger"
    )
    assert (Feeding("cpu", 5, 16, 256).advice(Meter(clips=1, waited_seconds=1)) or "").startswith("the model waits for")


@pytest.mark.parametrize(
    ("workers", "cores", "able", "said"),
    [
        (2, 8, 30, "try train.workers=6 (2 now), or smaller videos"),
        (0, 8, 30, "try train.workers=3 (0 now), or smaller videos"),
        (
            2,
            4,
            30,
            "try train.workers=4 (2 now); 6 would be needed, but this job may use 4 processors, so also smaller",
        ),
        (4, 4, 30, "all 4 processors that this job may use decode already: give it more, or smaller videos"),
        (1, 2, float("inf"), "try train.workers=2 (1 now); 1000000 would be needed"),
    ],
)
def test_what_to_do_follows_from_rates_and_processors(workers, cores, able, said):
    remedy = Feeding("cuda", workers, cores, 256).remedy(10, able)
    assert remedy.startswith(said)
    assert remedy.endswith("mvit prepare DATA OUT --short-side 256, where theirs is larger")


def test_starving_is_said_once_in_a_while_and_not_of_the_first_step():
    clock = Clock()
    watch, meter = Watch(Feeding("cuda", 1, 4, 256)), Meter(clock)

    def batches(seconds: float) -> Iterator[int]:
        clock.now += 1000  # processes start
        while clock.now < 100 + 1000 + seconds:
            clock.now += 3
            yield 0

    said = []
    for _ in meter.timed(batches(3 * REMIND_SECONDS)):
        clock.now += 1
        meter.clips += 8
        if watch.sentence(meter + Meter(clock)):
            said.append(clock.now)
    assert "75% of the time" in (watch.at_the_end(meter) or "")
    first, *later = said
    assert LOOK_SECONDS <= first - 1104 < LOOK_SECONDS + 4
    assert [b - a for a, b in zip(said, later, strict=False)] == [REMIND_SECONDS] * len(later)
    assert len(later) == 2
    fed = Watch(Feeding("cuda", 1, 4, 256))
    assert fed.at_the_end(meter) is None
    assert [fed.sentence(Meter(clips=n, waited_seconds=n, ended_seconds=9 * n)) for n in (1, 30, 60, 90)] == [None] * 4


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
