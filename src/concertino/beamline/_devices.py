"""Devices as the file says: made side by side, connected in the loop of the RunEngine that will use them."""

import asyncio
import inspect
import operator
import threading
import time
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, Protocol, get_type_hints, runtime_checkable

from ophyd_async.core import Device, NotConnectedError

from concertino import ConcertinoError, DeviceError
from concertino._extras import extra

from ._arguments import Takes, resolved
from ._check import levels
from ._classes import find_class
from ._mistakes import BeamlineFileError, Mistake, dotted
from ._read import BeamlineFile
from ._settings import DeviceEntry

_MARGIN_S = 2.0
_CHECK = "Check that it is switched on, that its server or IOC runs, and that this computer reaches its network."


@runtime_checkable
class _WaitsForConnection(Protocol):
    """A device of ophyd."""

    def wait_for_connection(self, all_signals: bool = ..., timeout: float = ...) -> None: ...


@dataclass
class Devices:
    """The devices of a file.

    Attributes
    ----------
    found : dict of str to device
        Those that are made, by name; parts of others among them.
    failed : dict of str to str
        Why others cannot be had, by name.
    """

    found: dict[str, Any] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)

    def __getitem__(self, name: str) -> Any:
        """Return a device, or what belongs to one, such as ``"ring.current"``.

        Raises
        ------
        DeviceError
            If there is none.
        """
        first, _, inner = name.partition(".")
        if first not in self.found:
            why = self.failed.get(first)
            raise DeviceError(
                f"{first} is needed and cannot be had. Mend that first: {why}"
                if why
                else f"There is no device {first!r}; there are {', '.join(self.found)}."
            )
        device = self.found[first]
        if not inner:
            return device
        try:
            return operator.attrgetter(inner)(device)
        except AttributeError:
            raise DeviceError(
                f"{name} was asked for, and {first} has no {inner!r}. Give one of its attributes."
            ) from None


def make_devices(file: BeamlineFile) -> Devices:
    """Make the devices of a file; those that need no other at the same time.

    Raises
    ------
    BeamlineFileError
        If a part is none, or a module of devices cannot be used.
    """
    # An areaDetector is asked when it is made, in a thread of its own, before motors are connected in the RunEngine's; where
    # pyepics is imported, too, aioca says there that it takes its own first context, as is right.
    warnings.filterwarnings("ignore", "There is already a CA context for this thread", UserWarning)
    devices, mistakes = Devices(), list[Mistake]()
    for module in file.settings.device_modules:
        devices.found |= _of_module(module)
    for level in levels(file.settings):
        entries = {name: file.settings.devices[name] for name in level}
        _at_once(
            {name: _maker(file, name, entry, devices) for name, entry in entries.items()},
            {name: entry.timeout for name, entry in entries.items()},
            devices,
        )
        for name, entry in entries.items():
            mistakes += _take_parts(file, name, entry, devices)
    if mistakes:
        raise BeamlineFileError(file.path, mistakes)
    return devices


def timeouts(file: BeamlineFile) -> dict[str, float]:
    """Return within which time each device must be connected, in s."""
    return {name: entry.timeout for name, entry in file.settings.devices.items()}


def _at_once(
    makers: Mapping[str, Callable[[], Any]], within_s: Mapping[str, float], devices: Devices
) -> None:
    """Make devices in a thread each: some talk to their control system, and one that waits keeps no other up."""
    made: dict[str, Any] = {}

    def make(name: str) -> None:
        try:
            made[name] = makers[name]()
        except Exception as error:
            made[name] = error

    begun_s = time.monotonic()
    threads = {
        name: threading.Thread(target=make, args=(name,), name=f"makes {name}", daemon=True)
        for name in makers
    }
    for thread in threads.values():
        thread.start()
    for name, thread in threads.items():
        thread.join(max(0.0, begun_s + within_s[name] + _MARGIN_S - time.monotonic()))
        one = made.get(name)
        if one is None:
            devices.failed[name] = f"it was not made within {within_s[name]:g} s. {_CHECK}"
        elif isinstance(one, Exception):
            devices.failed[name] = _said(one)
        else:
            devices.found[name] = one


def _maker(
    file: BeamlineFile, name: str, entry: DeviceEntry, devices: Devices
) -> Callable[[], Any]:
    if entry.happi:
        return lambda: _of_happi(file, entry.happi)
    maker = find_class(entry.class_)
    return lambda: made(maker, entry.arguments, devices, positional=entry.positional, name=name)


def made(
    maker: Callable[..., Any],
    arguments: Mapping[str, object],
    devices: Devices,
    *,
    positional: Iterable[object] = (),
    name: str = "",
) -> Any:
    """Return what a class makes of arguments as the file has them.

    Parameters
    ----------
    maker : callable
        The class or function.
    arguments : mapping
        By name.
    devices : Devices
        Those that arguments may refer to.
    positional : iterable
        Arguments before these.
    name : str
        Given to a device that takes one, and has none.
    """
    takes = Takes(maker)
    before = [resolved(value, devices.__getitem__) for value in positional]
    given = {
        key: takes.value(key, resolved(value, devices.__getitem__))
        for key, value in arguments.items()
    }
    if name and "name" in takes.names and "name" not in given:
        given["name"] = name
    device = maker(*before, **given)
    if name and isinstance(device, Device) and not device.name:
        device.set_name(name)
    return device


def _take_parts(
    file: BeamlineFile, name: str, entry: DeviceEntry, devices: Devices
) -> Iterable[Mistake]:
    for index, part in enumerate(entry.parts):
        if name in devices.failed:
            devices.failed[part] = f"it is a part of {name}, which cannot be had."
            continue
        try:
            devices.found[part] = operator.attrgetter(part)(devices.found[name])
        except AttributeError:
            place = ("devices", name, "parts", index)
            yield file.source.mistake(
                place,
                f"{dotted(place)}: {name} has no {part!r}. Give names of its attributes that are devices.",
            )


def _of_happi(file: BeamlineFile, name: str) -> Any:
    assert file.settings.happi is not None
    with extra("happi", "A happi database"):
        import happi
    client = happi.Client(path=str(file.path.parent / file.settings.happi.database))
    return client.load_device(name=name)


def _of_module(name: str) -> dict[str, Any]:
    """Return the devices of a module: its own, and those that its functions without arguments make, as for blueapi."""
    module = import_module(name)
    found: dict[str, Any] = {}
    for key, one in vars(module).items():
        if key.startswith("_"):
            continue
        if isinstance(one, Device):
            found[key] = one
        elif inspect.isfunction(one) and one.__module__ == name and _makes_device(one):
            device = one()
            if isinstance(device, Device) and not device.name:
                device.set_name(key)
            found[key] = device
    return found


def _makes_device(function: Callable[..., Any]) -> bool:
    parameters = inspect.signature(function).parameters.values()
    needed = [one for one in parameters if one.default is one.empty and one.kind not in (one.VAR_KEYWORD, one.VAR_POSITIONAL)]  # fmt: skip
    try:
        returned = get_type_hints(function).get("return")
    except NameError:
        return False
    if needed or not isinstance(returned, type):
        return False
    return issubclass(returned, Device) or "describe" in dir(returned)


def connect_devices(
    devices: Devices, within_s: Mapping[str, float], loop: asyncio.AbstractEventLoop
) -> None:
    """Connect devices in a loop, all at the same time; those that do not answer are told in ``devices.failed``.

    Parameters
    ----------
    devices : Devices
        They are taken out of ``found`` when they cannot be connected.
    within_s : mapping of str to float
        How long each may take, in s; 10 s for what is not named.
    loop : asyncio.AbstractEventLoop
        That of the RunEngine which will use them.
    """
    longest_s = max([10.0, *within_s.values()]) + 2 * _MARGIN_S
    future = asyncio.run_coroutine_threadsafe(_connect_all(devices, within_s), loop)
    try:
        future.result(longest_s)
    except TimeoutError:
        future.cancel()
        raise DeviceError(
            f"The devices were not connected within {longest_s:g} s, as the RunEngine's loop is held up. See which device "
            "or callback blocks it."
        ) from None


async def _connect_all(devices: Devices, within_s: Mapping[str, float]) -> None:
    names = list(devices.found)
    results = await asyncio.gather(
        *(_connect(devices.found[name], within_s.get(name, 10.0)) for name in names),
        return_exceptions=True,
    )
    for name, result in zip(names, results, strict=True):
        if isinstance(result, BaseException):
            devices.found.pop(name)
            devices.failed[name] = _said(result, within_s.get(name, 10.0))


async def _connect(device: object, within_s: float) -> None:
    if isinstance(device, Device):
        await asyncio.wait_for(device.connect(timeout=within_s), within_s + _MARGIN_S)
    elif isinstance(device, _WaitsForConnection):
        wait = device.wait_for_connection
        await asyncio.wait_for(asyncio.to_thread(wait, timeout=within_s), within_s + _MARGIN_S)


def _said(error: BaseException, within_s: float = 0.0) -> str:
    """Return why a device cannot be had, as the end of a sentence."""
    text = " ".join(str(error).split()).rstrip(".") or type(error).__name__
    if isinstance(error, ConcertinoError):
        return f"{text}."
    if isinstance(error, NotConnectedError | TimeoutError):
        return f"it did not answer within {within_s:g} s ({text}). {_CHECK}"
    return f"{type(error).__name__}: {text}. See what its class wants."
