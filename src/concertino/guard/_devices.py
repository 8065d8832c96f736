"""How a device is switched off over a second connection, as far as the device tells."""

from collections.abc import Mapping
from enum import Enum
from typing import Any, Protocol, runtime_checkable

from ._switches import EpicsSwitch, SwitchOff, TangoSwitch, switch_from_json


@runtime_checkable
class GuardedBeam(Protocol):
    """A beam that tells how another process switches it off."""

    def guard_switch(self) -> SwitchOff | Mapping[str, Any] | None:
        """Return how; a mapping as `switch_from_json` takes it, None when it cannot be done."""


@runtime_checkable
class EndsWithSession(Protocol):
    """A beam that tells whether it is a part of this process."""

    @property
    def ends_with_session(self) -> bool:
        """Whether it is, so that nothing has to switch it off."""


@runtime_checkable
class _Pv(Protocol):
    """A PV of ophyd, written to by the name by which it is read."""

    pvname: object


@runtime_checkable
class _SetpointPv(Protocol):
    """A PV of ophyd that is written to by a name of its own."""

    setpoint_pvname: object


@runtime_checkable
class _Connected(Protocol):
    """A signal of ophyd-async."""

    _connector: object


@runtime_checkable
class _Switches(Protocol):
    """What switches a beam for somebody, as the guard of a plan does."""

    beam: Any


@runtime_checkable
class _Moved(Protocol):
    """A motor of ophyd-async."""

    movable_logic: Any


@runtime_checkable
class _Sourced(Protocol):
    """A signal of ophyd-async, which tells where it reads."""

    source: Any


@runtime_checkable
class _Prefixed(Protocol):
    """A device of ophyd, by the part of its PVs that is common to all."""

    prefix: object


@runtime_checkable
class _Addressed(Protocol):
    """A device that tells its address, as our cameras do."""

    address: Any


@runtime_checkable
class _NumpyScalar(Protocol):
    """A number of numpy, which the guard does without."""

    def item(self) -> Any: ...


def switch_off_of(beam: Any) -> SwitchOff | None:
    """Return how another process switches a beam off; None when the beam does not tell.

    Parameters
    ----------
    beam : Movable
        As plans take it; it tells when it is a `GuardedBeam`, such as a `concertino.devices.SignalBeam` over a
        signal that is a PV of EPICS or an attribute of Tango.

    Raises
    ------
    ParameterError
        If what it tells describes no switch.
    """
    given = beam.guard_switch() if isinstance(beam, GuardedBeam) else None
    return switch_from_json(given) if isinstance(given, Mapping) else given


def ends_with_session(beam: Any) -> bool:
    """Tell whether a beam is a part of this process, so that nothing has to switch it off.

    Such a device says so with an attribute ``ends_with_session``; soft signals and ophyd's simulated devices are
    known.
    """
    return (
        (isinstance(beam, EndsWithSession) and bool(beam.ends_with_session))
        or _write_source(beam).startswith(("soft://", "mock+"))
        or type(beam).__module__ == "ophyd.sim"
    )


def switch_of_signal(signal: Any, off: Any) -> SwitchOff | None:
    """Return how a signal of ophyd or ophyd-async gets a value from another process.

    Parameters
    ----------
    signal : Movable
        A PV of EPICS or an attribute of Tango.
    off
        The value for no beam.

    Returns
    -------
    SwitchOff or None
        None when the signal is something else, or does not know yet what it is.
    """
    off = _plain(off)
    pv = signal.setpoint_pvname if isinstance(signal, _SetpointPv) else None
    if not pv and isinstance(signal, _Pv):
        pv = signal.pvname
    source = f"ca://{pv}" if isinstance(pv, str) and pv else _write_source(signal)
    if source.startswith(("ca://", "pva://")):
        return EpicsSwitch(source, int(off) if isinstance(off, bool) else off)
    address, mark, rest = source.partition("#")
    if address.startswith("tango://") or address.count("/") == 3:
        device, _, attribute = address.rpartition("/")
        return TangoSwitch(f"{device}{mark}{rest}", attribute=attribute, off=off)
    return None


def address_of(device: object) -> str:
    """Return where a control system has a device, to say so in a message; empty when it tells none.

    Parameters
    ----------
    device : device
        A signal or a motor of ophyd or ophyd-async, a beam, or a camera.

    Returns
    -------
    str
        Such as ``ca://BL:ROT`` or ``tango://HOST:10000/a/b/c``.
    """
    try:
        found = _address(device)
    except Exception:  # It knows only when it is connected.
        return ""
    return "" if found.startswith(("soft://", "mock+")) else found


def named_with_address(name: str, device: object) -> str:
    """Return a name with the address of a device in brackets, if that tells one."""
    address = address_of(device)
    return f"{name} ({address})" if address else name


def _address(device: object) -> str:
    if isinstance(device, _Switches):
        return _address(device.beam)
    if isinstance(device, GuardedBeam):
        return str(switch_off_of(device) or "")
    if isinstance(device, _Moved):
        return str(device.movable_logic.setpoint.source).removesuffix(".VAL")
    for pv in (
        device.setpoint_pvname if isinstance(device, _SetpointPv) else None,
        device.pvname if isinstance(device, _Pv) else None,
    ):
        if isinstance(pv, str) and pv:
            return f"ca://{pv}"
    if isinstance(device, _Sourced) and isinstance(device.source, str):
        return device.source
    if isinstance(device, _Addressed) and isinstance(device.address, str):
        return device.address
    prefix = device.prefix if isinstance(device, _Prefixed) else None
    return f"ca://{prefix}" if isinstance(prefix, str) and prefix else ""


def _write_source(signal: Any) -> str:
    """Return where a signal of ophyd-async writes to; what it tells itself is where it reads."""
    backend = (
        getattr(signal._connector, "backend", None) if isinstance(signal, _Connected) else None
    )
    try:
        return str(backend.source(signal.name, read=False)) if backend else ""
    except Exception:  # It knows only when it is connected.
        return ""


def _plain(value: Any) -> Any:
    """Return a value of JSON's types."""
    if isinstance(value, Enum):
        return value.value
    return value.item() if isinstance(value, _NumpyScalar) else value
