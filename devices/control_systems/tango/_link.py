"""The connection to one Tango device: what goes wrong is said in sentences, with where and what to check."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, TypeVar

from ophyd_async.core import StrictEnum
from ophyd_async.tango.core import get_python_type
from tango import (
    AttrDataFormat,
    AttrWriteType,
    CmdArgType,
    CommunicationFailed,
    ConnectionFailed,
    DevFailed,
    GreenMode,
)
from tango.asyncio import DeviceProxy as AsyncDeviceProxy

from concertino import DeviceError

from ._interface import TangoAttribute, TangoInterface, TangoLostError, TangoNotConnectedError

T = TypeVar("T")
_choice: Any = StrictEnum

#: Tango calls a server that it could not reach again after a second; until then it only says that it waits.
_CALLS_AGAIN_S = 1.3
_PAUSE_S = 0.1
#: How long a call of a device may take that did not answer before, in s: whoever cleans up after a fault asks it often.
_LOST_S = 1.0
#: How much longer than Tango itself a call is waited for, in s.
_MARGIN_S = 1.0
_LOST = {
    "API_CantConnectToDevice",
    "API_DeviceNotExported",
    "API_DeviceNotDefined",
    "API_ServerNotRunning",
}
_CHECK = "Check that its device server runs and is not stopped, and the network to it."


class TangoLink:
    """The connection to one Tango device.

    Parameters
    ----------
    address : str
        The device.
    timeout_s : float
        A device that does not answer for so long is lost, in s.
    support_events : bool
        Whether its attributes are told by event.
    poll_s : float
        How often they are read otherwise, in s.
    """

    def __init__(self, address: str, timeout_s: float, support_events: bool, poll_s: float) -> None:
        self.address, self.timeout_s = address, timeout_s
        self.support_events, self.poll_s = support_events, poll_s
        self.name = ""
        self.proxy: Any = None
        self._lost = False

    @property
    def where(self) -> str:
        """The device and its address, for messages."""
        return f"{self.name or 'A device'} at {self.address}"

    async def open(self, name: str, within_s: float) -> TangoInterface:
        """Connect, and return what the device has.

        Raises
        ------
        TangoNotConnectedError
            If it does not answer.
        """
        self.name = name
        try:
            return await self.ask("asked what it has", self._interface, within_s)
        except DeviceError as error:
            raise TangoNotConnectedError(str(error)) from error

    async def _interface(self) -> TangoInterface:
        proxy = self.proxy = await AsyncDeviceProxy(self.address)
        proxy.set_timeout_millis(round(self.timeout_s * 1000))
        configs = await asyncio.to_thread(proxy.attribute_list_query_ex)
        commands = await asyncio.to_thread(proxy.command_list_query)
        return TangoInterface(
            self.where,
            {config.name.lower(): _attribute(config) for config in configs},
            {
                command.cmd_name.lower(): command.cmd_name
                for command in commands
                if command.in_type == CmdArgType.DevVoid
            },
        )

    async def ask(
        self, what: str, call: Callable[[], Awaitable[T]], within_s: float | None = None
    ) -> T:
        """Have something asked of the device.

        Parameters
        ----------
        what : str
            What, as a part of a sentence: ``asked for its Position``.
        call : callable
            Returns what is waited for.
        within_s : float, optional
            How long, in s.

        Raises
        ------
        DeviceError
            If it does not answer, or refuses.
        """
        limit_s = min(self.timeout_s, _LOST_S) if self._lost else within_s or self.timeout_s
        begin_s = time.monotonic()
        while True:
            try:
                answer = await asyncio.wait_for(call(), limit_s + _MARGIN_S)
                self._note(lost=False)
                return answer
            except TimeoutError as error:
                self._note(lost=True)
                raise TangoLostError(
                    f"{self.where} was {what} and has not answered within {limit_s:g} s. {_CHECK}"
                ) from error
            except (DevFailed, RuntimeError, TypeError) as error:
                failed = error if isinstance(error, DevFailed) else error.__cause__
                if isinstance(error, TypeError):
                    # PyTango's words of a value that it would write and of which the server, being gone, tells no type.
                    failed = await self._why_lost()
                if isinstance(error, DeviceError) or not isinstance(failed, DevFailed):
                    raise
                told = told_by(failed)
                # What keeps it from connecting is told by the next try only.
                if "delayed" in told and time.monotonic() < begin_s + _CALLS_AGAIN_S:
                    await asyncio.sleep(_PAUSE_S)
                    continue
                raise self._failure(failed, what, told, limit_s) from error

    async def _why_lost(self) -> DevFailed | None:
        """Return why the device does not answer; None if it does."""
        try:
            await asyncio.to_thread(self.proxy.ping, green_mode=GreenMode.Synchronous)
        except DevFailed as error:
            return error
        return None

    def _failure(self, failed: DevFailed, what: str, told: str, limit_s: float) -> DeviceError:
        """Return what to raise for what Tango raised."""
        reasons = {each.reason for each in failed.args}
        if "API_DeviceTimedOut" in reasons:
            self._note(lost=True)
            return TangoLostError(
                f"{self.where} was {what} and has not answered within {limit_s:g} s. {_CHECK}"
            )
        if isinstance(failed, CommunicationFailed | ConnectionFailed) or reasons & _LOST:
            self._note(lost=True)
            return TangoLostError(f"{self.where} was {what} and does not answer: {told}. {_CHECK}")
        return DeviceError(
            f"{self.where} was {what} and refused: {told}. See its State and Status, and give it what it takes."
        )

    def _note(self, *, lost: bool) -> None:
        """Note whether it answers: one that does not is waited for less long, until it does again."""
        if lost != self._lost:
            self._lost = lost
            with suppress(Exception):
                limit_s = min(self.timeout_s, _LOST_S) if lost else self.timeout_s
                self.proxy.set_timeout_millis(round(limit_s * 1000))

    async def status(self) -> str:
        """Return what the device says of its state, in brackets; empty when it says nothing."""
        with suppress(Exception):
            said = (
                await asyncio.wait_for(self.proxy.read_attribute("Status"), self.timeout_s)
            ).value
            return f" ({' '.join(said.split())})" if said else ""
        return ""


def _attribute(config: Any) -> TangoAttribute:
    datatype: Any = None
    choices = tuple(map(str, config.enum_labels or ()))
    if config.data_type == CmdArgType.DevEnum and config.data_format == AttrDataFormat.SCALAR:
        datatype = _choice("Choice", {f"CHOICE_{i}": each for i, each in enumerate(choices)})
    else:
        with suppress(TypeError):
            datatype = get_python_type(config)
    writable = config.writable in (
        AttrWriteType.READ_WRITE,
        AttrWriteType.READ_WITH_WRITE,
        AttrWriteType.WRITE,
    )
    kind = datatype if isinstance(datatype, type) else None
    return TangoAttribute(config.name, kind, writable, choices)


def told_by(error: DevFailed) -> str:
    """Return what Tango says, what caused it first."""
    lines = [
        line.strip().rstrip(".") for each in error.args[::-1] for line in each.desc.splitlines()
    ]
    return "; ".join(dict.fromkeys(line for line in lines if line))
