"""Fields of an EPICS motor record that ophyd's `EpicsMotor` has no component for."""

import asyncio
import sys
from contextlib import suppress
from typing import Any
from weakref import WeakKeyDictionary

_ANSWER_S = 2.0
_signals: "WeakKeyDictionary[Any, dict[str, Any]]" = WeakKeyDictionary()


async def record_field(motor: Any, field: str) -> float | None:
    """Return a field of the record of an `ophyd.EpicsMotor`, such as VMAX.

    Parameters
    ----------
    motor : device
        Any.
    field : str
        Its name.

    Returns
    -------
    float or None
        None for another device, or when the record does not answer within 2 s.
    """
    if not _is_classic(motor):
        return None
    known = _signals.setdefault(motor, {})
    if field not in known:
        known[field] = await asyncio.to_thread(_connected, motor, field)
    if known[field] is None:
        return None
    with suppress(Exception):
        return float(await asyncio.to_thread(known[field].get, timeout=_ANSWER_S))
    return None


def _is_classic(motor: Any) -> bool:
    """Whether it is a motor of ophyd's that has its record on a control system."""
    # Whoever has one has imported its module; nobody else pays for that.
    motors, signals = sys.modules.get("ophyd.epics_motor"), sys.modules.get("ophyd.signal")
    if motors is None or signals is None or not isinstance(motor, motors.EpicsMotor):
        return False
    return isinstance(motor.velocity, signals.EpicsSignalBase)


def _connected(motor: Any, field: str) -> Any:
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
