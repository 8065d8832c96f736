"""Where progress is shown: in a terminal, in a notebook, or as lines in a file."""

import shutil
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Protocol

import numpy as np
from tqdm import tqdm

from ._shown import shown

_UP = "\x1b[A"
_CLEAR_LINE = "\r\x1b[K"
_NOTEBOOK_COLUMNS = 100


class Meter:
    """How far one thing is.

    Attributes
    ----------
    name, unit : str
        Of what, and in what it is counted.
    amount, total : float or None
        How much of how much; None when nobody says.
    began_s : float
        When it began, by the monotonic clock.
    told : bool
        Whether anything is known of it.
    """

    def __init__(self) -> None:
        self.name = self.unit = ""
        self.amount: float | None = None
        self.total: float | None = None
        self.began_s = time.monotonic()
        self.told = False

    def tell(
        self,
        *,
        name: str | None = None,
        current: Any = None,
        initial: Any = None,
        target: Any = None,
        unit: str | None = None,
        precision: int | None = None,
        **_: object,
    ) -> None:
        """Take what a status of bluesky tells those who watch it."""
        self.told = True
        self.name, self.unit = shown(name or self.name), unit or self.unit
        if current is None or initial is None or target is None:
            return
        digits = (3 if precision is None else precision) or None  # Whole numbers are no 5.0.
        self.total = round(_distance(target, initial), digits)
        self.amount = min(round(_distance(current, initial), digits), self.total)

    @property
    def counts_frames(self) -> bool:
        """Whether it is a stream of frames."""
        return self.unit == "frame" and self.amount is not None

    def bar(self, columns: int) -> str:
        """Return it as a bar of so many columns at most."""
        elapsed_s = time.monotonic() - self.began_s
        if self.amount is None:
            return f"{self.name}: {elapsed_s:.1f} s"[:columns]
        bar: str = tqdm.format_meter(
            self.amount, self.total or 0, elapsed_s, columns, self.name, unit=f" {self.unit}"
        )
        return bar

    def line(self) -> str:
        """Return what became of a stream of frames."""
        spent_s = time.monotonic() - self.began_s
        return f"{self.name}: {self.amount:.0f} of {self.total:.0f} frames in {spent_s:.1f} s"


class Display(Protocol):
    """Shows meters."""

    def show(self, meters: Sequence[Meter]) -> None:
        """Show how far they are."""

    def finish(self, meter: Meter, others: Sequence[Meter]) -> None:
        """Show that one is over, and others go on."""

    def end(self) -> None:
        """Show that nothing goes on."""


class TerminalDisplay:
    """Bars on standard error, which vanish when what they show is over."""

    def __init__(self) -> None:
        self._lines = 0

    def show(self, meters: Sequence[Meter]) -> None:
        """Draw the bars over those before."""
        columns = shutil.get_terminal_size().columns - 1
        bars = [meter.bar(columns) for meter in meters if meter.told]
        text = "\n".join(_CLEAR_LINE + bar for bar in bars or [""])
        below = self._lines - max(1, len(bars))
        if below > 0:  # There were more.
            text += ("\n" + _CLEAR_LINE) * below + _UP * below
        self._write(_UP * max(0, self._lines - 1) + text)
        self._lines = len(bars)

    def finish(self, meter: Meter, others: Sequence[Meter]) -> None:
        """Leave the others."""
        if self._lines:
            self.show(others)

    def end(self) -> None:
        """Leave the terminal as it was."""
        if self._lines:
            self.show([])

    def _write(self, text: str) -> None:
        try:
            sys.stderr.write(text)
            sys.stderr.flush()
        except (OSError, ValueError):
            self._lines = 0  # The terminal is gone, and the plan is not to fail with it.


class LinesDisplay:
    """A line on standard error for each stream of frames, when it is over: for files and pipes."""

    def show(self, meters: Sequence[Meter]) -> None:
        """Show nothing before it is over."""

    def finish(self, meter: Meter, others: Sequence[Meter]) -> None:
        """Write the line."""
        if meter.counts_frames:
            with suppress(OSError, ValueError):  # Standard error may be gone.
                print(meter.line(), file=sys.stderr, flush=True)

    def end(self) -> None:
        """Have nothing more to show."""


class NotebookDisplay:
    """One output of a notebook's cell, which is updated: lines of what is over, bars of what goes on."""

    def __init__(self) -> None:
        self._handle: Any = None
        self._over: list[str] = []

    def show(self, meters: Sequence[Meter]) -> None:
        """Update the output."""
        bars = [meter.bar(_NOTEBOOK_COLUMNS) for meter in meters if meter.told]
        text = "\n".join([*self._over, *bars])
        if not text:
            return
        from IPython.display import display  # It is there, as this is its notebook.

        data = {"text/plain": text}
        if self._handle is None:
            self._handle = display(data, raw=True, display_id=True)  # type: ignore[no-untyped-call]
        else:
            self._handle.update(data, raw=True)

    def finish(self, meter: Meter, others: Sequence[Meter]) -> None:
        """Keep a line of a stream of frames."""
        if meter.counts_frames:
            self._over.append(meter.line())
            self.show(others)

    def end(self) -> None:
        """Leave the lines; what follows has an output of its own."""
        if self._handle is not None:
            self.show([])
        self._handle, self._over = None, []


def display_for() -> Display:
    """Return the display that suits where this program writes."""
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    if getattr(shell, "kernel", None) is not None:
        return NotebookDisplay()
    if sys.stderr is not None and sys.stderr.isatty():
        return TerminalDisplay()
    return LinesDisplay()


def _distance(one: Any, other: Any) -> float:
    """Return the distance of two numbers, or of two positions of several axes."""
    return float(np.linalg.norm(np.atleast_1d(np.subtract(one, other))))
