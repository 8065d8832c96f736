"""A Tango server without a database, run as a program: ``python motion_server.py PORT``.

Motors with the names that servers usually have, and shutters. ``Break`` has one fail from now on: a motor ``stall``,
stop ``short``, go to ``fault``, or be ``deaf``; a shutter be ``stuck``.
"""

import math
import sys
import threading
import time
from enum import IntEnum

from tango import AttrWriteType, DevState, EnsureOmniThread
from tango.server import Device, attribute, command, run

PORT = sys.argv[1]
_READ_WRITE = AttrWriteType.READ_WRITE


class Breakable(Device):  # type: ignore[misc]
    _broken = ""

    @command(dtype_in=str)
    def Break(self, how: str) -> None:  # noqa: N802
        self.freeze()
        self._broken = how

    def freeze(self) -> None:
        pass


class Motion(Breakable):
    """Moves by a trapezium; where it is, is computed when it is asked."""

    _begin_s = _begin = _target = _ends_s = 0.0
    _speed, _gains_s = 60.0, 0.2

    def place(self) -> float:
        since_s, takes_s = time.time() - self._begin_s, self._ends_s - self._begin_s
        way, sign = abs(self._target - self._begin), math.copysign(1, self._target - self._begin)
        if since_s >= takes_s or not way:
            return self._target
        peak = min(self._speed, math.sqrt(way * self._speed / self._gains_s))
        gains_s, left_s = peak * self._gains_s / self._speed, takes_s - since_s
        gone = peak * (since_s - gains_s / 2)
        if since_s < gains_s:
            gone = peak * since_s**2 / gains_s / 2
        elif left_s < gains_s:
            gone = way - peak * left_s**2 / gains_s / 2
        return self._begin + sign * gone

    def go(self, target: float) -> None:
        if self._broken:
            return
        self._begin, self._target, self._begin_s = self.place(), target, time.time()
        way = abs(target - self._begin)
        peak = min(self._speed, math.sqrt(way * self._speed / self._gains_s))
        takes_s = way / peak + peak * self._gains_s / self._speed if way else 0.0
        self._ends_s = self._begin_s + takes_s

    def freeze(self) -> None:
        self._begin = self._target = self.place()
        self._ends_s = 0.0

    def dev_state(self) -> DevState:
        told = {"stall": DevState.MOVING, "short": DevState.ALARM, "fault": DevState.FAULT}
        if self._broken in told:
            return told[self._broken]
        return DevState.MOVING if time.time() < self._ends_s else DevState.ON


class Axis(Motion):
    """A rotation; Tango reads it ten times a second for all clients, and pushes what changed."""

    def init_device(self) -> None:
        super().init_device()
        self.set_change_event("State", True, False)

    def go(self, target: float) -> None:
        super().go(target)
        self.push_change_event("State", self.dev_state())
        timer = threading.Timer(self._ends_s - time.time() + 0.01, self._ended)
        timer.daemon = True
        timer.start()

    def _ended(self) -> None:
        with EnsureOmniThread():
            self.push_change_event("State", self.dev_state())

    @attribute(
        dtype=float, access=_READ_WRITE, unit="deg", min_value=-720, max_value=720,
        polling_period=100, abs_change=0.001,
    )  # fmt: skip
    def Position(self) -> float:  # noqa: N802
        return self.place()

    @Position.write  # type: ignore[no-redef]
    def Position(self, value: float) -> None:  # noqa: N802
        self.go(value)

    @attribute(dtype=float, access=_READ_WRITE, unit="deg/s", max_value=150)
    def Velocity(self) -> float:  # noqa: N802
        return self._speed

    @Velocity.write  # type: ignore[no-redef]
    def Velocity(self, value: float) -> None:  # noqa: N802
        self._speed = value

    @attribute(dtype=float, unit="s")
    def AccelerationTime(self) -> float:  # noqa: N802
        return self._gains_s

    @command
    def Stop(self) -> None:  # noqa: N802
        self.freeze()
        self._broken = "short" if self._broken == "stall" else self._broken


class Slide(Motion):
    """A stage with other names, of which nothing is pushed, and which may be stopped only while it moves."""

    @attribute(dtype=float, unit="mm", format="%8.4f")
    def position(self) -> float:
        return self.place()

    @attribute(dtype=float, access=_READ_WRITE, unit="mm", min_value=-50, max_value=50)
    def target(self) -> float:
        return self._target

    @target.write  # type: ignore[no-redef]
    def target(self, value: float) -> None:
        self.go(value)

    @attribute(dtype=float, access=_READ_WRITE, unit="mm/s")
    def speed(self) -> float:
        return self._speed

    @speed.write  # type: ignore[no-redef]
    def speed(self, value: float) -> None:
        self._speed = value

    @attribute(dtype=float, unit="mm/s^2")
    def Acceleration(self) -> float:  # noqa: N802
        return self._speed / self._gains_s

    @command
    def Abort(self) -> None:  # noqa: N802
        self.freeze()

    def is_Abort_allowed(self) -> bool:  # noqa: N802
        return bool(self.dev_state() == DevState.MOVING)


class Door(Breakable):
    """A shutter that takes a while."""

    _open, _since_s = False, 0.0

    def dev_state(self) -> DevState:
        if time.time() - self._since_s < 0.1:
            return DevState.MOVING
        return DevState.OPEN if self._open else DevState.CLOSE

    def _turn(self, on: bool) -> None:
        if not self._broken and on != self._open:
            self._open, self._since_s = on, time.time()

    @command
    def Open(self) -> None:  # noqa: N802
        self._turn(True)

    @command
    def Close(self) -> None:  # noqa: N802
        self._turn(False)


class Switch(Breakable):
    _open = False

    @attribute(dtype=bool, access=_READ_WRITE)
    def opened(self) -> bool:
        return self._open

    @opened.write  # type: ignore[no-redef]
    def opened(self, value: bool) -> None:
        self._open = self._open if self._broken else value


class Places(IntEnum):
    Closed = 0
    Open = 1
    Half = 2


class Choice(Breakable):
    _place = Places.Closed

    @attribute(dtype=Places, access=_READ_WRITE)
    def Shutter(self) -> Places:  # noqa: N802
        return self._place

    @Shutter.write  # type: ignore[no-redef]
    def Shutter(self, value: int) -> None:  # noqa: N802
        self._place = self._place if self._broken else Places(value)


class Valves(Device):  # type: ignore[misc]
    """Neither motor nor shutter."""

    @attribute(dtype=float)
    def Pressure(self) -> float:  # noqa: N802
        return 1.0


if __name__ == "__main__":
    devices = {
        "Axis": "t/axis/rot", "Slide": "t/axis/slide", "Door": "t/shutter/door",
        "Switch": "t/shutter/switch", "Choice": "t/shutter/choice", "Valves": "t/valves/1",
    }  # fmt: skip
    run(
        [Axis, Slide, Door, Switch, Choice, Valves],
        args=[
            "motion", "test", "-nodb", "-host", "127.0.0.1", "-port", PORT,
            "-dlist", ",".join(f"{kind}::{name}" for kind, name in devices.items()),
        ],
    )  # fmt: skip
