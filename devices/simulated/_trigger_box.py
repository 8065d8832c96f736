"""A simulated box that gives trigger pulses to a camera, by the positions of an axis or by time."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from bluesky.protocols import Movable, Preparable, Stoppable, Triggerable
from numpy.typing import NDArray
from ophyd_async.core import AsyncStatus, Device

from concertino import DeviceError
from concertino.frames import PulseTrain

from ._motor import SimulatedMotor

_LOOK_S = 0.002
#: Its threads look for the end all the time.
_JOIN_S = 5.0
#: Of the positions that it notes at its pulses, in the axis' unit.
_RESOLUTION = 1e-4
_EXACT_S = 1e-6  # seconds since the epoch are known to a quarter of that


class SimulatedTriggerBox(Movable[bool], Preparable, Stoppable, Triggerable):
    """Compares the positions of axes and gives pulses, as a PandA does.

    Parameters
    ----------
    pulse : callable
        Takes the time of each pulse in seconds since the epoch: the camera's trigger input.
    axes : sequence of SimulatedMotor
        Whose encoders are connected.
    name : str
        Name of the device.

    Examples
    --------
    >>> from concertino.devices import SimulatedBeamline
    >>> box = SimulatedBeamline(shape=(16, 16)).trigger_box
    >>> sorted(box.axes)
    ['rotation']
    """

    parent = None
    resolution = _RESOLUTION  # of the positions that it compares and captures

    def __init__(
        self,
        pulse: Callable[[float], None],
        axes: Sequence[SimulatedMotor] = (),
        *,
        name: str = "trigger_box",
    ) -> None:
        self.axes = {axis.name: axis for axis in axes}
        self._pulse = pulse
        self._name = name
        self._train = PulseTrain(0)
        self._captured: list[float] = []
        self._given = 0
        self._orders = 0
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def name(self) -> str:
        """Name of the device."""
        return self._name

    def children(self) -> Iterator[tuple[str, Device]]:
        """Yield its parts, of which it has none: by this method bluesky's queue server knows a device."""
        yield from ()

    @AsyncStatus.wrap
    async def prepare(self, value: PulseTrain) -> None:
        """Arm the box.

        Raises
        ------
        DeviceError
            If the positions are not those of an axis that is connected, or not passed in one direction.
        """
        self.check_train(value)
        await self.stop()
        self._train, self._captured, self._given = value, [], 0

    def check_train(self, value: PulseTrain) -> None:
        """Raise `DeviceError` if the box cannot give some pulses."""
        if value.positions:
            if value.axis not in self.axes:
                raise DeviceError(
                    f"Trigger box {self.name} was asked for pulses at positions of {value.axis!r}; "
                    f"connected are {', '.join(self.axes) or 'none'}."
                )
            steps = np.diff(value.positions)
            if len(value.positions) != value.count or not ((steps > 0).all() or (steps < 0).all()):
                raise DeviceError(
                    f"Trigger box {self.name} was asked for {value.count} pulses at "
                    f"{len(value.positions)} positions; give one for each, all in one direction."
                )

    def set(self, value: bool) -> AsyncStatus[None]:
        """Give pulses from now on (True), or no more (False).

        Raises
        ------
        DeviceError
            From the status, if it was stopped before it began.
        """
        # The order counts from now on, not from when the loop comes to it: it may be stopped before.
        self._orders += 1
        return AsyncStatus(self._set(value, self._orders))

    async def _set(self, value: bool, order: int) -> None:
        await self._halt()
        if not value:
            return
        if order != self._orders:
            raise DeviceError(
                f"Trigger box {self.name} was stopped before it gave the first of "
                f"{self._train.count} pulses; it gives none."
            )
        # Each train has an end of its own: what stopped one before cannot be taken back.
        self._stopping = threading.Event()
        work = self._by_position if self._train.positions else self._by_time
        self._thread = threading.Thread(
            target=work, args=(self._stopping,), name=f"{self.name} pulses", daemon=True
        )
        self._thread.start()

    @AsyncStatus.wrap
    async def trigger(self) -> None:
        """Give one pulse now.

        Raises
        ------
        DeviceError
            If the box was armed for other pulses, or all were given.
        """
        train = self._train
        if train.positions or train.period_s or self._given >= train.count:
            raise DeviceError(
                f"Trigger box {self.name} was asked for a pulse and is armed for "
                f"{train.count - self._given} more, "
                + ("by itself." if train.positions or train.period_s else "one by one.")
                + " Prepare it with PulseTrain(count)."
            )
        self._given += 1
        self._pulse(time.time())

    async def stop(self, success: bool = True) -> None:
        """Give no more pulses."""
        self._orders += 1
        await self._halt()

    async def _halt(self) -> None:
        self._stopping.set()
        thread, self._thread = self._thread, None
        if thread is not None:
            await asyncio.to_thread(thread.join, _JOIN_S)

    def captured(self, since: int = 0) -> NDArray[np.float64]:
        """Return where the axis was at the pulses, in its unit, from pulse `since` on."""
        return np.array(self._captured[since:], np.float64)

    def _by_time(self, stopping: threading.Event) -> None:
        begin_s = time.time()
        for number in range(self._train.count if self._train.period_s else 0):
            due_s = begin_s + number * self._train.period_s
            if stopping.wait(max(0.0, due_s - time.time())):
                return
            self._pulse(due_s)

    def _by_position(self, stopping: threading.Event) -> None:
        axis, positions = self.axes[self._train.axis], self._train.positions
        up = positions[-1] >= positions[0]
        since_s = time.time()
        for position in positions:
            while True:
                now_s = time.time()
                here = axis.position_at(now_s)
                if (here >= position) if up else (here <= position):
                    break
                if stopping.wait(_LOOK_S):
                    return
            since_s = _crossing(axis, position, since_s, now_s, up)
            self._captured.append(round(position / _RESOLUTION) * _RESOLUTION)
            self._pulse(since_s)


def _crossing(
    axis: SimulatedMotor, position: float, begin_s: float, end_s: float, up: bool
) -> float:
    """Return when an axis passed a position between two times; at the first if it was beyond."""
    while end_s - begin_s > _EXACT_S:
        middle_s = (begin_s + end_s) / 2
        here = axis.position_at(middle_s)
        if (here >= position) if up else (here <= position):
            end_s = middle_s
        else:
            begin_s = middle_s
    return end_s
