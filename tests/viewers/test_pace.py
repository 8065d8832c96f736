"""The rate of pictures follows what the computer has to spare."""

from pathlib import Path

import pytest

from concertino.runtime._processors import processor_times
from concertino.viewers._pace import PagePace


class Computer:
    """A clock, and two processors of which a part idles."""

    def __init__(self, idle: float) -> None:
        self.now_s = 0.0
        self.idle = idle
        self.idled_s = 0.0

    def times(self) -> tuple[float, float]:
        return self.idled_s, 2 * self.now_s

    def clock(self) -> float:
        return self.now_s

    def count(self, pace: PagePace, seconds: float) -> float:
        """How often a second, asked each 0.1 s, it is due."""
        due = 0
        for _ in range(round(seconds * 10)):
            self.now_s += 0.1
            self.idled_s += 0.1 * 2 * self.idle
            due += pace.due()
        return due / seconds


def test_an_idle_computer_gives_all() -> None:
    computer = Computer(idle=0.8)

    assert computer.count(PagePace(10, computer.times, computer.clock), 10) == pytest.approx(10)


def test_a_busy_computer_a_fifth_and_all_again_when_it_idles() -> None:
    computer = Computer(idle=0.0)
    pace = PagePace(10, computer.times, computer.clock)
    computer.count(pace, 5)
    assert computer.count(pace, 10) == pytest.approx(2, abs=0.2)

    computer.idle = 0.15
    computer.count(pace, 5)
    assert pace.rate_hz == pytest.approx(2)

    computer.idle = 0.5
    computer.count(pace, 5)
    assert computer.count(pace, 10) == pytest.approx(10)


def test_where_nothing_is_known_of_the_processors_the_rate_stays() -> None:
    computer = Computer(idle=0.0)

    assert computer.count(PagePace(10, lambda: None, computer.clock), 10) == pytest.approx(10)


@pytest.mark.skipif(not Path("/proc/stat").exists(), reason="needs Linux")
def test_real_processors() -> None:
    times = processor_times()

    assert times is not None
    assert 0 <= times[0] <= times[1]
