"""The twin as Tango device servers, without a database, on this computer only."""

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any, ClassVar, TypeVar

from tango import AttrWriteType, DevState
from tango.server import Device, attribute, command, device_property, run

from concertino import ParameterError
from concertino.servers import CameraServer

from ._axis import AXIS_FAULTS, Axis
from ._beam_records import SHUTTER_FAULTS
from ._camera import CAMERA_FAULTS, LOOP_S
from ._host import TwinHost, die

T = TypeVar("T")
_READ_WRITE = AttrWriteType.READ_WRITE


class _TwinDevice(Device):
    host: ClassVar[TwinHost]

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        """Do something in the twin's loop."""
        return asyncio.run_coroutine_threadsafe(work, self.host.loop).result(LOOP_S)


class _Motor(_TwinDevice):
    """An axis; its name is the last part of the device's name."""

    def init_device(self) -> None:
        super().init_device()
        self._axis: Axis = self.host.axes[self.get_name().rpartition("/")[2]]
        motor, position = self._axis.motor, self.get_device_attr().get_attr_by_name("Position")
        told = position.get_properties()
        told.unit = motor.unit
        low, high = motor.limits
        if high < float("inf"):
            told.min_value, told.max_value = str(low), str(high)
        position.set_properties(told)
        velocity = self.get_device_attr().get_attr_by_name("Velocity")
        told = velocity.get_properties()
        told.unit, told.max_value = f"{motor.unit}/s", str(motor.max_velocity)
        velocity.set_properties(told)

    @attribute(dtype=float, access=_READ_WRITE, format="%12.5f")
    def Position(self) -> Any:
        return self._axis.position(time.time())

    @Position.write  # type: ignore[no-redef]
    def Position(self, value: float) -> None:
        asyncio.run_coroutine_threadsafe(self._axis.move(value), self.host.loop)
        self.do(self._begun())

    async def _begun(self) -> None:
        """Come to pass after the move has begun."""

    @attribute(dtype=float, access=_READ_WRITE)
    def Velocity(self) -> float:
        return self.do(self._axis.motor.velocity.get_value())

    @Velocity.write  # type: ignore[no-redef]
    def Velocity(self, value: float) -> None:
        self.do(self._axis.set_velocity(value))

    @attribute(dtype=float, access=_READ_WRITE, unit="s", min_value=1e-4)
    def AccelerationTime(self) -> float:
        return self.do(self._axis.motor.acceleration_time.get_value())

    @AccelerationTime.write  # type: ignore[no-redef]
    def AccelerationTime(self, value: float) -> None:
        self.do(self._axis.set_ramp(value))

    @attribute(dtype=str, access=_READ_WRITE)
    def Fault(self) -> str:
        return self._axis.fault

    @Fault.write  # type: ignore[no-redef]
    def Fault(self, value: str) -> None:
        _check(value, AXIS_FAULTS)
        self.do(self._axis.fail(value))

    def dev_state(self) -> DevState:
        if self._axis.moving:
            return DevState.MOVING
        return DevState.ALARM if self._axis.at_switch else DevState.ON

    @command
    def Stop(self) -> None:
        self.do(self._axis.stop())


class _Shutter(_TwinDevice):
    """What switches the beam."""

    def dev_state(self) -> DevState:
        return DevState.OPEN if self.host.switch.on else DevState.CLOSE

    @command
    def Open(self) -> None:
        self.do(self.host.switch.turn(True))

    @command
    def Close(self) -> None:
        self.do(self.host.switch.turn(False))

    @attribute(dtype=str, access=_READ_WRITE)
    def Fault(self) -> str:
        return self.host.switch.fault

    @Fault.write  # type: ignore[no-redef]
    def Fault(self, value: str) -> None:
        _check(value, SHUTTER_FAULTS)
        self.host.switch.fault = value


class _Ring(_TwinDevice):
    @attribute(dtype=float, unit="mA")
    def Current(self) -> float:
        return self.host.beamline.ring.current_at(time.time())


class _Control(_TwinDevice):
    """What goes wrong with the camera and with the server itself."""

    camera_fault: ClassVar[list[str]] = ["none"]

    @attribute(dtype=str, access=_READ_WRITE)
    def CameraFault(self) -> str:
        return self.camera_fault[0]

    @CameraFault.write  # type: ignore[no-redef]
    def CameraFault(self, value: str) -> None:
        _check(value, tuple(CAMERA_FAULTS))
        self.camera_fault[0] = value
        for source in self.host.sources:
            source.faults = CAMERA_FAULTS[value]

    @command
    def Die(self) -> None:
        self.do(die(1))


class _Camera(CameraServer):
    """The camera, as other cameras of Concertino's Tango servers."""

    host = device_property(dtype=str, default_value="127.0.0.1")
    lease_seconds = device_property(dtype=float, default_value=10.0)


def _check(value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise ParameterError(f"Fault: {value!r} was given; give one of {', '.join(known)}.")


def serve_devices(host: TwinHost, port: int, say: Callable[[str], None]) -> None:
    """Serve the twin's devices until a signal ends the process; in the main thread.

    Parameters
    ----------
    host : TwinHost
        The twin.
    port : int
        Of the server.
    say : callable
        Gets the addresses.
    """
    _TwinDevice.host = host
    _Camera.make_source = staticmethod(host.source)
    devices = {f"twin/motor/{name}": "_Motor" for name in host.axes}
    devices |= {
        "twin/shutter/1": "_Shutter",
        "twin/camera/1": "_Camera",
        "twin/control/1": "_Control",
    }
    if host.beamline.source == "synchrotron":
        devices["twin/ring/1"] = "_Ring"
    for name in devices:
        say(f"tango://127.0.0.1:{port}/{name}#dbase=no")
    arguments = ["twin", "1", "-nodb", "-host", "127.0.0.1", "-port", str(port)]
    listed = ",".join(f"{kind}::{name}" for name, kind in devices.items())
    run(
        [_Motor, _Shutter, _Ring, _Camera, _Control],
        args=[*arguments, "-dlist", listed],
        post_init_callback=lambda: say("ready"),
        msg_stream=None,
    )
