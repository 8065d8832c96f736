"""A simulated encoder: records where an axis is, by a clock of its own."""

import math
import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from concertino import DeviceError


class SimulatedEncoder:
    """Records (time, position) of an axis at a rate, by a clock that is off and drifts.

    Parameters
    ----------
    rate_hz : float
        Readings per second of its own clock.
    resolution : float
        Of a reading, in the axis' unit; positions are rounded to it.
    clock_offset_s : float
        What its clock showed more than the computer's when it was made, in s.
    clock_drift_ppm : float
        How much faster its clock goes, in parts per million.

    Examples
    --------
    >>> from concertino.devices import SimulatedEncoder, SimulatedMotor
    >>> encoder = SimulatedEncoder(clock_offset_s=0.05, clock_drift_ppm=100)
    >>> stage = SimulatedMotor("deg", velocity=90, max_velocity=360, encoder=encoder, name="stage")
    >>> stage.encoder is encoder
    True
    """

    memory = 2**22  # readings; a recording that is longer fails

    def __init__(
        self,
        *,
        rate_hz: float = 1000.0,
        resolution: float = 1e-4,
        clock_offset_s: float = 0.0,
        clock_drift_ppm: float = 0.0,
    ) -> None:
        self.rate_hz = rate_hz
        self.resolution = resolution
        self._offset_s = clock_offset_s
        self._drift = clock_drift_ppm * 1e-6
        self._made_s = time.time()
        self._position_at: Callable[[float], float] | None = None
        self._first_tick = 0
        self._until_tick: int | None = 0
        self._positions: list[float] = []

    def follow(self, position_at: Callable[[float], float]) -> None:
        """Be the encoder of an axis, given by its position at a time in s since the epoch."""
        self._position_at = position_at

    def clock(self) -> float:
        """Return what its clock shows now, in s."""
        return self._own(time.time())

    def start_recording(self) -> None:
        """Forget what was recorded and begin anew."""
        self._first_tick = math.ceil(self.clock() * self.rate_hz)
        self._until_tick = None
        self._positions = []

    def stop_recording(self) -> None:
        """Record no more; what was recorded stays. Harmless when nothing is recorded."""
        self._fill()
        self._until_tick = self._first_tick + len(self._positions)

    def recorded(self, since: int = 0) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return what was recorded until now.

        Parameters
        ----------
        since : int
            Number of the first reading to return, counted from the recording's start.

        Returns
        -------
        times_s, positions : ndarray of float64, shape (n,)
            By its clock, in s; and in the axis' unit.

        Raises
        ------
        DeviceError
            If it is the encoder of no axis, or its memory is full.
        """
        self._fill()
        positions = np.array(self._positions[since:], np.float64)
        ticks = self._first_tick + np.arange(since, since + len(positions))
        return ticks / self.rate_hz, positions

    def _fill(self) -> None:
        """Take the readings that were due since the last time."""
        if self._position_at is None:
            raise DeviceError(
                "This encoder belongs to no axis; give it to SimulatedMotor(encoder=…)."
            )
        now = math.floor(self.clock() * self.rate_hz)
        stop = now if self._until_tick is None else min(now, self._until_tick - 1)
        for tick in range(self._first_tick + len(self._positions), stop + 1):
            if len(self._positions) >= self.memory:
                raise DeviceError(
                    f"The encoder's memory of {self.memory} readings is full after "
                    f"{self.memory / self.rate_hz:g} s; lower its rate of {self.rate_hz:g} Hz."
                )
            position = self._position_at(self._host(tick / self.rate_hz))
            self._positions.append(round(position / self.resolution) * self.resolution)

    def _own(self, host_s: float) -> float:
        return host_s + self._offset_s + self._drift * (host_s - self._made_s)

    def _host(self, own_s: float) -> float:
        return (own_s - self._offset_s + self._drift * self._made_s) / (1 + self._drift)
