"""The devices of a file, connected, and how each of them is."""

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from bluesky.protocols import HasName, Movable, Readable

from concertino.session import DeviceState, DeviceTable, states_of

from ._check import device_names
from ._devices import Devices, connect_devices, make_devices, timeouts
from ._engine import process_engine
from ._read import BeamlineFile

_READ_S, _MORE_S = 5.0, 5.0
#: Arguments that say where a device is.
_PLACES = ("address", "prefix", "read_pv", "detector", "pv", "trl", "write_pv")


def report_devices(file: BeamlineFile) -> DeviceTable:
    """Connect the devices of a file, all at the same time, and tell how each is.

    They are connected in the RunEngine of this process, which can use them afterwards.

    Parameters
    ----------
    file : BeamlineFile
        By `read_beamline`.

    Returns
    -------
    DeviceTable
        A `DeviceState` for each; one that cannot be had says why, with its address.

    Raises
    ------
    BeamlineFileError
        If an attribute that is to be a device is not there.
    DeviceError
        If the loop in which devices live does not answer.
    """
    loop = process_engine().loop
    devices = make_devices(file)
    connect_devices(devices, timeouts(file), loop)
    names = list(dict.fromkeys([*device_names(file.settings), *devices.found, *devices.failed]))
    asked = [name for name in names if _tells(devices.found.get(name))]
    told = asyncio.run_coroutine_threadsafe(
        states_of([devices.found[name] for name in asked], _READ_S), loop
    ).result(_READ_S + _MORE_S)
    states = {name: replace(state, name=name) for name, state in zip(asked, told, strict=True)}
    return DeviceTable(_state(file, name, devices, states) for name in names)


def _tells(device: object) -> bool:
    return isinstance(device, HasName) and isinstance(device, Readable | Movable)


def _state(
    file: BeamlineFile, name: str, devices: Devices, states: Mapping[str, DeviceState]
) -> DeviceState:
    entry = file.settings.devices.get(name)
    arguments: Mapping[str, Any] = {} if entry is None else entry.arguments
    written = next((str(arguments[key]) for key in _PLACES if key in arguments), "")
    if name in states:
        state = states[name]
        return state if state.address else replace(state, address=written)
    if name in devices.found:
        return DeviceState(name, type(devices.found[name]).__name__, written)
    kind = "" if entry is None else (entry.class_ or entry.happi).rpartition(".")[2]
    where = f"{name} ({written})" if written else name
    return DeviceState(name, kind, written, error=f"{where} cannot be had: {devices.failed[name]}")
