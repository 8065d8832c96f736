"""Devices that switch the beam, and the ring that makes it."""

import asyncio
import math
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Literal

from ophyd_async.core import (
    AsyncStatus,
    StandardReadable,
    StandardReadableFormat,
    soft_signal_r_and_setter,
    soft_signal_rw,
)

from concertino import DeviceError

#: How often the current of a ring is told, in seconds.
_RING_UPDATE_S = 1.0
_TUBE_KV, _TUBE_UA = 60.0, 1000.0  # a tube's settings at the start

SWITCH_WORDS = {"open": True, "on": True, "closed": False, "close": False, "off": False}


def as_switch(device: str, value: object) -> bool:
    """Return whether a value that a switch was set to means beam."""
    if isinstance(value, str) and value.lower() in SWITCH_WORDS:
        return SWITCH_WORDS[value.lower()]
    if value in (0, 1):
        return bool(value)
    raise DeviceError(
        f"Beam switch {device} was set to {value!r}; it takes True (beam on) or False (beam off), "
        f"or one of the words {', '.join(SWITCH_WORDS)}."
    )


class _History:
    """When a switch was on, so that a camera can ask about a past exposure."""

    def __init__(self) -> None:
        self._changes: list[tuple[float, bool]] = [(-math.inf, False)]

    def note(self, on: bool) -> None:
        self._changes = [*self._changes[-63:], (time.time(), on)]

    def fraction(self, start_s: float, stop_s: float) -> float:
        """Return the share of the interval during which the switch was on."""
        changes = self._changes
        if stop_s <= start_s:
            return float([on for when, on in changes if when <= start_s][-1])
        lit_s = 0.0
        for (when, on), (until, _) in zip(changes, [*changes[1:], (math.inf, False)], strict=True):
            if on:
                lit_s += max(0.0, min(until, stop_s) - max(when, start_s))
        return lit_s / (stop_s - start_s)


class _Orders:
    """What a switch was told to do and has not done yet: off takes back every on."""

    def __init__(self) -> None:
        self._coming: set[asyncio.Event] = set()

    def turn(
        self, device: str, on: bool, takes_s: float, done: Callable[[bool], None]
    ) -> AsyncStatus[None]:
        """Have a switch turn; the order counts from now on, not from when the loop comes to it."""
        if on:
            taken_back = asyncio.Event()
            self._coming.add(taken_back)
            return AsyncStatus(self._come_on(device, taken_back, takes_s, done))
        for taken_back in self._coming:
            taken_back.set()
        return AsyncStatus(self._go_off(takes_s, done))

    async def _come_on(
        self, device: str, taken_back: asyncio.Event, takes_s: float, done: Callable[[bool], None]
    ) -> None:
        try:
            with suppress(TimeoutError):
                await asyncio.wait_for(taken_back.wait(), takes_s)
            if taken_back.is_set():
                raise DeviceError(
                    f"Beam switch {device} was on its way to give beam when it was switched off; it "
                    "stays off. Switch it on again if beam is wanted."
                )
            done(True)
        finally:
            self._coming.discard(taken_back)

    async def _go_off(self, takes_s: float, done: Callable[[bool], None]) -> None:
        if takes_s:
            await asyncio.sleep(takes_s)
        done(False)


class _Levels:
    """Which value something had when, so that a camera can ask about a past exposure."""

    def __init__(self, value: float) -> None:
        self._changes = [(time.time(), value)]

    def note(self, value: float) -> None:
        self._changes = [*self._changes[-63:], (time.time(), value)]

    def at(self, time_s: float) -> tuple[float, float]:
        """Return since when it had its value of a time, in s, and that value; the first before."""
        changes = self._changes
        return next((c for c in reversed(changes) if c[0] <= time_s), changes[0])


class SimulatedShutter(StandardReadable):
    """A shutter: ``set(True)`` opens it, ``set(False)`` closes it.

    Parameters
    ----------
    delay_s : float
        Time that it takes to open or close, in seconds.
    name : str
        Name of the device.
    """

    ends_with_session = True
    is_beam = True

    def __init__(self, delay_s: float = 0.0, name: str = "") -> None:
        self._delay_s = delay_s
        self._orders = _Orders()
        self.history = _History()
        with self.add_children_as_readables(StandardReadableFormat.HINTED_SIGNAL):
            self.state, self._set_state = soft_signal_r_and_setter(str, "closed")
        super().__init__(name)

    @property
    def is_open(self) -> bool:
        """Whether the beam passes."""
        return self.history.fraction(time.time(), 0) > 0

    def set_duration_s(self, value: bool | str) -> float:
        """Return how long `set` takes, in seconds."""
        return self._delay_s

    def set(self, value: bool | str) -> AsyncStatus[None]:
        """Open (True) or close (False) the shutter; it never opens after it was told to close.

        Raises
        ------
        DeviceError
            If the value is neither; from the status of an opening, if it was closed meanwhile.
        """
        on = as_switch(self.name, value)
        return self._orders.turn(self.name, on, self._delay_s, self._turned)

    def _turned(self, on: bool) -> None:
        self.history.note(on)
        self._set_state("open" if on else "closed")


class SimulatedTube(StandardReadable):
    """An X-ray tube: ``set(True)`` switches it on, ``set(False)`` off.

    Its light is proportional to its current and to the square of its voltage, its two settings, which are 1 mA
    and 60 kV at the start.

    Parameters
    ----------
    ramp_s : float
        Time that it takes to come on, in seconds; off is at once.
    name : str
        Name of the device.
    """

    ends_with_session = True
    is_beam = True

    def __init__(self, ramp_s: float = 0.0, name: str = "") -> None:
        self.source_kind: Literal["tube"] = "tube"
        self._ramp_s = ramp_s
        self._orders = _Orders()
        self.history = _History()
        self._voltage, self._current = _Levels(_TUBE_KV), _Levels(_TUBE_UA)
        with self.add_children_as_readables(StandardReadableFormat.HINTED_SIGNAL):
            self.state, self._set_state = soft_signal_r_and_setter(str, "off")
        with self.add_children_as_readables(StandardReadableFormat.CONFIG_SIGNAL):
            self.voltage = soft_signal_rw(
                float, _TUBE_KV, units="kV", setter=lambda v: self._note(self._voltage, v, "kV")
            )
            self.current = soft_signal_rw(
                float, _TUBE_UA, units="uA", setter=lambda v: self._note(self._current, v, "uA")
            )
        super().__init__(name)

    def _note(self, levels: _Levels, value: float, unit: str) -> None:
        if not (math.isfinite(value) and value >= 0):
            what = "voltage" if levels is self._voltage else "current"
            raise DeviceError(
                f"The {what} of tube {self.name} was set to {value} {unit}; it takes 0 {unit} or more."
            )
        levels.note(value)

    def voltage_at(self, time_s: float) -> float:
        """Return the voltage set at a time in seconds since the epoch, in kV."""
        return self._voltage.at(time_s)[1]

    def current_at(self, time_s: float) -> float:
        """Return the current set at a time in seconds since the epoch, in uA."""
        return self._current.at(time_s)[1]

    @property
    def is_on(self) -> bool:
        """Whether the tube gives beam."""
        return self.history.fraction(time.time(), 0) > 0

    def set_duration_s(self, value: bool | str) -> float:
        """Return how long `set` takes, in seconds."""
        return self._ramp_s if as_switch(self.name, value) else 0.0

    def set(self, value: bool | str) -> AsyncStatus[None]:
        """Switch the tube on (True) or off (False); it never comes on after it was told to go off.

        Raises
        ------
        DeviceError
            If the value is neither; from the status of coming on, if it was switched off meanwhile.
        """
        on = as_switch(self.name, value)
        return self._orders.turn(self.name, on, self.set_duration_s(on), self._turned)

    def _turned(self, on: bool) -> None:
        self.history.note(on)
        self._set_state("on" if on else "off")


class SimulatedStorageRing(StandardReadable):
    """A storage ring whose current decays.

    Its signal ``current`` tells so by itself to whoever monitors it, once a second, as a ring's does.

    Parameters
    ----------
    current : float
        Current at the start, in mA.
    lifetime_h : float
        Time in which the current falls to 1/e, in hours.
    name : str
        Name of the device.
    """

    def __init__(self, current: float = 100.0, lifetime_h: float = 10.0, name: str = "") -> None:
        self._lifetime_s = lifetime_h * 3600
        self._fills = _Levels(current)
        with self.add_children_as_readables(StandardReadableFormat.HINTED_SIGNAL):
            self.current, self._set_current = soft_signal_r_and_setter(
                float,
                current,
                units="mA",
                getter=lambda: self.current_at(time.time()),
                poll_period=_RING_UPDATE_S,
            )
        super().__init__(name)

    def current_at(self, time_s: float) -> float:
        """Return the current at a time in seconds since the epoch, in mA."""
        since_s, current = self._fills.at(time_s)
        return current * math.exp(-max(0.0, time_s - since_s) / self._lifetime_s)

    def refill(self, current: float) -> None:
        """Have another current from now on, in mA: a refill, or a beam loss; in any thread."""
        self._fills.note(current)
        self._set_current(current)
