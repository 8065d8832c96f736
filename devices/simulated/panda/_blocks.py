"""What the blocks PCOMP and SEQ of a PandA do, by times instead of clock ticks."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

#: Seconds of one tick of its clock.
TICK_S = 8e-9
_EXACT_S = 5e-7  # seconds since the epoch are known to half of that
_ROW_WORDS = 4

#: Where an encoder is at a time in s since the epoch, in counts.
CountsAt = Callable[[float], int]


def first_time(holds: Callable[[float], bool], begin_s: float, end_s: float) -> float | None:
    """Return when something begins to hold between two times that are so close that it does not end again."""
    if holds(begin_s):
        return begin_s
    if not holds(end_s):
        return None
    while end_s - begin_s > _EXACT_S:
        middle_s = (begin_s + end_s) / 2
        if holds(middle_s):
            end_s = middle_s
        else:
            begin_s = middle_s
    return end_s


class PositionCompare:
    """PCOMP, by absolute positions: pulses at START and each STEP after it, in one direction.

    Parameters
    ----------
    start, step, width, pulses, pre_start : int
        As the fields of the block; `pulses` 0 for no end.
    direction : str
        Positive, Negative or Either.
    at_s : float
        When it is enabled, in s since the epoch.
    """

    def __init__(
        self, start: int, step: int, width: int, pulses: int, pre_start: int, direction: str, at_s: float
    ) -> None:  # fmt: skip
        self.active, self.produced, self.state = True, 0, "WAIT_DIR"
        self._start, self._step, self._width = start, step, width
        self._pulses, self._pre_start = pulses, pre_start
        self._sign = {"Positive": 1, "Negative": -1}.get(direction, 0)
        self._next = 0
        self._since_s = at_s

    def run(self, end_s: float, counts: CountsAt) -> Iterator[tuple[float, bool]]:
        """Yield the edges of its output until a time: when each is, and whether it rises."""
        while self.active:
            at_s = first_time(lambda time_s: self._due(counts(time_s)), self._since_s, end_s)
            if at_s is None:
                self._since_s = end_s
                return
            self._since_s = at_s
            yield from self._step_on(at_s, counts(at_s))

    def _due(self, here: int) -> bool:
        if self.state == "WAIT_DIR":
            return self._sign != 0 or here != self._start
        if self.state == "WAIT_PRE_START":
            return self._sign * (self._start - here) > self._pre_start
        return self._sign * (here - self._next) >= 0

    def _step_on(self, at_s: float, here: int) -> Iterator[tuple[float, bool]]:
        if self.state == "WAIT_DIR":
            self._sign = self._sign or (1 if here < self._start else -1)
            self.state = "WAIT_PRE_START"
        elif self.state == "WAIT_PRE_START":
            self.state, self._next = "WAIT_RISING", self._start
        elif self.state == "WAIT_RISING":
            self.produced += 1
            self.state, self._next = "WAIT_FALLING", self._next + self._sign * self._width
            yield at_s, True
        else:
            self.state = "WAIT_RISING"
            self._next += self._sign * (self._step - self._width)
            if self.produced == self._pulses:
                self.active, self.state = False, "WAIT_ENABLE"
            yield at_s, False


@dataclass(frozen=True)
class Row:
    """A row of a sequencer's table: times in ticks of its prescaler, outputs as bits from A to F."""

    repeats: int
    trigger: int
    position: int
    time1: int
    out1: int
    time2: int
    out2: int


def rows(words: Sequence[int]) -> list[Row]:
    """Return the rows of a table of four words of 32 bits each."""
    found = []
    for first in range(0, len(words), _ROW_WORDS):
        head, position, time1, time2 = words[first : first + _ROW_WORDS]
        signed = position - 2**32 if position >= 2**31 else position
        out1, out2 = head >> 20 & 0x3F, head >> 26 & 0x3F
        found.append(Row(head & 0xFFFF, head >> 16 & 0xF, signed, time1, out1, time2, out2))
    return found


class Sequencer:
    """SEQ, whose rows wait for nothing or for a position.

    Parameters
    ----------
    table : sequence of Row
    repeats : int
        Of the whole table; 0 for no end.
    tick_s : float
        Of its prescaler, in s.
    at_s : float
        When it is enabled, in s since the epoch.
    """

    def __init__(self, table: Sequence[Row], repeats: int, tick_s: float, at_s: float) -> None:
        self.active = bool(table)
        self._table, self._repeats, self._tick_s = table, repeats, tick_s
        self._line, self._done, self._turn = 0, 0, 1
        self._phase, self._since_s, self._outputs = 0, at_s, 0

    def run(self, end_s: float, counts: Sequence[CountsAt]) -> Iterator[tuple[float, int]]:
        """Yield the changes of its outputs until a time: when, and the bits from A to F."""
        while self.active:
            row = self._table[self._line]
            if self._phase == 0:
                at_s = self._triggered(row, end_s, counts)
                if at_s is None:
                    self._since_s = end_s
                    return
                self._since_s, self._phase = at_s, 1 if row.time1 else 2
                yield at_s, row.out1 if row.time1 else row.out2
                continue
            due_s = self._since_s + self._tick_s * (
                row.time1 if self._phase == 1 else max(row.time2, 1)
            )
            if due_s > end_s:
                return
            self._since_s = due_s
            if self._phase == 1:
                self._phase = 2
                yield due_s, row.out2
            elif not self._next_line(row):
                yield due_s, 0

    def _triggered(self, row: Row, end_s: float, counts: Sequence[CountsAt]) -> float | None:
        if row.trigger < 7:
            return self._since_s
        here, above = counts[(row.trigger - 7) // 2], row.trigger % 2 == 1
        return first_time(
            lambda at_s: here(at_s) >= row.position if above else here(at_s) <= row.position,
            self._since_s, end_s,
        )  # fmt: skip

    def _next_line(self, row: Row) -> bool:
        self._phase, self._done = 0, self._done + 1
        if self._done == row.repeats:
            self._line, self._done = self._line + 1, 0
        if self._line == len(self._table):
            self._line, self._turn = 0, self._turn + 1
            self.active = self._turn - 1 != self._repeats
        return self.active
