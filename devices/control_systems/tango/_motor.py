"""A motor of Tango, whatever its attributes are called."""

from functools import cached_property

from ophyd_async.core import (
    SignalR,
    SignalRW,
    StandardMovable,
    StandardReadable,
    StandardReadableFormat,
)

from concertino._extras import extra

from ._interface import TangoInterface, check_address
from ._move import TangoMove

_READBACK = ("position", "readback", "userposition", "actualposition", "value")
_SETPOINT = ("setpoint", "positionsetpoint", "targetposition", "target", "demandposition")
_VELOCITY = ("velocity", "speed")
_GAINS = ("accelerationtime", "acceleration_time", "acceleration")
_STOP = ("stop", "stopmove", "abort", "halt", "motorstop")


class TangoMotor(StandardReadable, StandardMovable[float]):
    """A motor behind a Tango device, for every plan that moves something.

    Its attributes and commands are found when it is connected, by the names that servers usually give them;
    capitals do not matter. What has another name is named here. Unit and limits are those of the attributes, as
    they are when a plan asks. With a velocity it is fit for continuous tomography.

    Connect it in a session by ``with init_devices():`` of ophyd-async. After its server was started again it goes on
    by itself with the next move; a server that is lost in a move fails it.

    Parameters
    ----------
    address : str
        Such as ``"tango://host:10000/domain/family/member"``; without a database
        ``"tango://host:port/domain/family/member#dbase=no"``.
    name : str
        Name of the device.
    readback : str
        Attribute that tells the position. By default the first that is there of Position, Readback,
        UserPosition, ActualPosition and Value.
    setpoint : str
        Attribute that is set to move. By default the first of Setpoint, PositionSetpoint, TargetPosition, Target and
        DemandPosition that can be written, or else what tells the position.
    velocity : str
        Attribute with the velocity, in the unit of the position per second. By default Velocity or Speed, if there
        is one.
    acceleration_time : str
        Attribute with the time in which it gains its velocity, in s; or with the acceleration, if its unit is one
        per s². By default AccelerationTime or Acceleration, if there is one.
    stop_command : str
        Command that stops it. By default Stop, StopMove, Abort, Halt or MotorStop.
    support_events : bool
        Whether State and position are told by change events, which the server has to push; polled by default.
    poll_s : float
        How often they are polled, in s.
    timeout_s : float
        A device that does not answer for so long is lost, in s.
    still_s : float
        A motor whose State is MOVING and whose position does not change for so long has stalled, in s.

    Raises
    ------
    ParameterError
        If the address is none.
    MissingExtraError
        If PyTango is not installed.
    """

    def __init__(
        self,
        address: str,
        *,
        name: str = "",
        readback: str = "",
        setpoint: str = "",
        velocity: str = "",
        acceleration_time: str = "",
        stop_command: str = "",
        support_events: bool = False,
        poll_s: float = 0.05,
        timeout_s: float = 5.0,
        still_s: float = 10.0,
    ) -> None:
        check_address(address)
        with extra("tango", f"The motor at {address}"):
            from ._signals import TangoSignals
        self._signals = TangoSignals(address, timeout_s, support_events, poll_s)
        self._link = self._signals.link
        self._still_s = still_s
        self._named = {
            "readback": readback,
            "setpoint": setpoint,
            "velocity": velocity,
            "acceleration_time": acceleration_time,
            "stop_command": stop_command,
        }
        self._backends = {part: self._signals.attribute(float) for part in ("readback", "setpoint")}
        self._state = self._signals.attribute(str)
        with self.add_children_as_readables(StandardReadableFormat.HINTED_SIGNAL):
            self.readback = SignalR(self._backends["readback"], timeout=None)
        self.setpoint = SignalRW(self._backends["setpoint"], timeout=None)
        self.state = SignalR(self._state, timeout=None)
        super().__init__(name=name, connector=self._signals.connector)

    @property
    def address(self) -> str:
        """Where it is."""
        return self._link.address

    @cached_property
    def movable_logic(self) -> TangoMove:
        """How it moves."""
        return TangoMove(
            setpoint=self.setpoint, readback=self.readback, state=self.state, place=self._link,
            by_events=self._state.by_events, still_s=self._still_s,
        )  # fmt: skip

    def learn(self, interface: TangoInterface) -> None:
        """Take what the device has; called when it is connected.

        Raises
        ------
        DeviceError
            If it has no position that can be read and set, or nothing that stops it.
        """
        numbers, named = (float, int), self._named
        readback = interface.attribute("readback", named["readback"], _READBACK, numbers)
        if readback is None:
            raise interface.lacks("readback", _READBACK)
        usual = [each for each in _SETPOINT if _writable(interface, each)]
        usual += [readback.name.lower()] if readback.writable else []
        setpoint = interface.attribute("setpoint", named["setpoint"], usual, numbers)
        if setpoint is None or not setpoint.writable:
            looked_for = (named["setpoint"],) if named["setpoint"] else (*_SETPOINT, readback.name)
            raise interface.lacks("setpoint", [f"{each} (to be written)" for each in looked_for])
        stop = interface.command("stop_command", named["stop_command"], _STOP)
        if stop is None:
            raise interface.lacks("stop_command", _STOP)
        state = interface.attribute("state", "State", (), (str,))
        assert state is not None
        self._backends["readback"].assign(readback)
        self._backends["setpoint"].assign(setpoint)
        self._state.assign(state)
        self.movable_logic.stop_command = self.stop_command = self._signals.command(stop)
        self._learn_speed(interface)

    def _learn_speed(self, interface: TangoInterface) -> None:
        """Have signals for velocity and acceleration, if the device has them: who has none cannot be asked."""
        for part, usual in (("velocity", _VELOCITY), ("acceleration_time", _GAINS)):
            found = interface.attribute(part, self._named[part], usual, (float, int))
            if found is None or (part == "velocity" and not found.writable):
                continue
            if part not in self._backends:
                backend = self._backends[part] = self._signals.attribute(float, changes=False)
                signal = SignalRW(backend, timeout=None)
                self.add_readables([signal], StandardReadableFormat.CONFIG_SIGNAL)
                if part == "velocity":
                    self.velocity = signal
                else:
                    self.acceleration_time = signal
            self._backends[part].assign(found)


def _writable(interface: TangoInterface, name: str) -> bool:
    found = interface.attributes.get(name)
    return found is not None and found.writable
