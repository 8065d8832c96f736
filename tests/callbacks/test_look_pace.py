"""Previews come as asked where the computer can, and leave it to the scan where it cannot."""

import pytest

from concertino.callbacks._look_pace import LookPace


class Computer:
    """A clock, and two processors of which a part idles."""

    def __init__(self, idle: float) -> None:
        self.now_s, self.idled_s, self.idle = 0.0, 0.0, idle

    def times(self) -> tuple[float, float] | None:
        return self.idled_s, 2 * self.now_s

    def clock(self) -> float:
        return self.now_s

    def looks(self, pace: LookPace, took_s: float, seconds: float) -> list[float]:
        """Periods of the looks of some seconds."""
        end_s, periods = self.now_s + seconds, []
        while self.now_s < end_s:
            period_s = pace.after(took_s)
            periods.append(period_s)
            self.now_s += period_s
            self.idled_s += 2 * period_s * self.idle
        return periods


def test_looks_that_are_quick_come_as_asked_however_busy_the_computer() -> None:
    computer = Computer(idle=0.0)
    pace = LookPace(0.2, computer.times, computer.clock)
    assert set(computer.looks(pace, 0.04, 10)) == {0.2}
    assert not pace.late


def test_slow_looks_take_a_quarter_of_a_busy_computer_and_are_as_asked_on_an_idle_one() -> None:
    computer = Computer(idle=0.0)
    pace = LookPace(0.2, computer.times, computer.clock)
    first = pace.after(0.12)
    assert (first, pace.period_s, pace.late) == (pytest.approx(0.48), 0.2, False)  # it loads code
    computer.looks(pace, 0.12, 10)
    assert pace.period_s == pytest.approx(0.48)
    assert pace.late
    computer.idle = 0.5
    computer.looks(pace, 0.12, 10)
    assert pace.period_s == 0.2
    assert not pace.late
    computer.idle = 0.0
    computer.looks(pace, 0.12, 10)
    assert pace.period_s == pytest.approx(0.48)


def test_where_nothing_is_known_of_the_processors_looks_take_a_quarter() -> None:
    computer = Computer(idle=0.9)
    pace = LookPace(0.2, lambda: None, computer.clock)
    assert set(computer.looks(pace, 0.1, 10)) == {0.4}
