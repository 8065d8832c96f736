"""Signals of ophyd-async for the suspenders of bluesky."""

from collections.abc import Callable, Mapping
from typing import Any


class SuspenderSignal:
    """Makes a signal of ophyd-async one that the suspenders of bluesky 1.15 can watch.

    Those expect of a signal that it calls back with a value, and takes arguments of ophyd's.

    Parameters
    ----------
    signal : Subscribable
        Calls back with readings.

    Examples
    --------
    >>> from bluesky.suspenders import SuspendFloor
    >>> from concertino.devices import SimulatedStorageRing, SuspenderSignal
    >>> ring = SimulatedStorageRing(name="ring")
    >>> suspender = SuspendFloor(SuspenderSignal(ring.current), 80, sleep=10)
    """

    def __init__(self, signal: Any) -> None:
        self.name: str = signal.name
        self._signal = signal
        self._value: Any = None
        self._given: dict[Any, Callable[[Mapping[str, Any]], None]] = {}

    def subscribe(
        self, function: Callable[..., Any], event_type: str | None = None, run: bool = True
    ) -> None:
        """Have a suspender called with each value, and with the present one."""

        def take(readings: Mapping[str, Any]) -> None:
            reading = next(iter(readings.values()))
            self._value = reading["value"]
            function(reading["value"], timestamp=reading["timestamp"])

        self._given[function] = take
        self._signal.subscribe(take)

    def clear_sub(self, function: Callable[..., Any]) -> None:
        """Call a suspender no more."""
        take = self._given.pop(function, None)
        if take is not None:
            self._signal.clear_sub(take)

    def get(self) -> Any:
        """Return the last value."""
        return self._value
