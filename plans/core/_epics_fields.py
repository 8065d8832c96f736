"""Fields of an EPICS motor record that a motor of ophyd or ophyd-async has no component for."""

import asyncio
import sys
from contextlib import suppress
from typing import Any
from weakref import WeakKeyDictionary

from bluesky.utils import maybe_await

_ANSWER_S = 2.0
_signals: "WeakKeyDictionary[Any, dict[str, Any]]" = WeakKeyDictionary()


async def record_field(motor: Any, field: str) -> float | None:
    """Return a field of the record of a motor, such as VMAX or BDST.

    Parameters
    ----------
    motor : device
        Any; an `ophyd.EpicsMotor` or `ophyd_async.epics.motor.Motor` has a record.
    field : str
        Its name.

    Returns
    -------
    float or None
        None for another device, or when the record does not answer within 2 s.
    """
    classic = _is_classic(motor)
    if not classic and not _is_async(motor):
        return None
    known = _signals.setdefault(motor, {})
    if field not in known:
        known[field] = await (
            asyncio.to_thread(_classic_signal, motor, field)
            if classic
            else _async_signal(motor, field)
        )
    if known[field] is None:
        return None
    with suppress(Exception):
        if classic:
            return float(await asyncio.to_thread(known[field].get, timeout=_ANSWER_S))
        async with asyncio.timeout(_ANSWER_S):
            return float(await known[field].get_value())
    return None


def gives_up(signal: object, within_s: float) -> dict[str, float]:
    """Return what to add to a signal's ``set`` so that it gives up in time: one of ophyd compares for ever otherwise."""
    signals = sys.modules.get("ophyd.signal")
    return {"timeout": within_s} if signals and isinstance(signal, signals.EpicsSignalBase) else {}


def _is_classic(motor: Any) -> bool:
    """Whether it is a motor of ophyd's that has its record on a control system."""
    # Whoever has one has imported its module; nobody else pays for that.
    motors, signals = sys.modules.get("ophyd.epics_motor"), sys.modules.get("ophyd.signal")
    if motors is None or signals is None or not isinstance(motor, motors.EpicsMotor):
        return False
    return isinstance(motor.velocity, signals.EpicsSignalBase)


def _is_async(motor: Any) -> bool:
    motors = sys.modules.get("ophyd_async.epics.motor")
    return motors is not None and isinstance(motor, motors.Motor)


def _classic_signal(motor: Any, field: str) -> Any:
    # Imported with the motor; plans themselves do without ophyd.
    signal = sys.modules["ophyd.signal"].EpicsSignalRO(
        f"{motor.prefix}.{field}", name=f"{motor.name}_{field.lower()}"
    )
    try:
        signal.wait_for_connection(timeout=_ANSWER_S)
    except Exception:  # What a record does not have is not known.
        signal.destroy()
        return None
    return signal


async def _async_signal(motor: Any, field: str) -> Any:
    record, point, _ = motor.user_setpoint.source.rpartition(".")
    if not point or record.startswith("mock+"):
        return None
    signal = sys.modules["ophyd_async.epics.core"].epics_signal_r(float, f"{record}.{field}")
    try:
        await maybe_await(signal.connect(timeout=_ANSWER_S))
    except Exception:
        return None
    return signal
