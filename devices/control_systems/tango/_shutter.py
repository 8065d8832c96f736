"""A shutter of Tango: by commands that open and close it, or by an attribute."""

import asyncio
import time
from contextlib import suppress
from typing import Any, Literal

import numpy as np
from ophyd_async.core import (
    AsyncStatus,
    SignalRW,
    StandardReadable,
    StandardReadableFormat,
    StrictEnum,
    TriggerableCommand,
)

from concertino import DeviceError, ParameterError
from concertino._extras import extra
from concertino.guard import SwitchOff, TangoSwitch

from ._interface import TangoAttribute, TangoInterface, TangoNotConnectedError, check_address

_OPEN = ("open", "openshutter", "shutteropen")
_CLOSE = ("close", "closeshutter", "shutterclose")
_ATTRIBUTE = ("open", "opened", "isopen", "is_open", "shutter", "shutteropen")
_WORDS = {"open": True, "opened": True, "on": True, "close": False, "closed": False, "off": False}
_BROKEN = ("FAULT", "DISABLE")
_REMEDY = "Check its interlock, its compressed air or power, and its device server's log."


class TangoShutter(StandardReadable):
    """A shutter behind a Tango device, as the beam of plans: ``set(True)`` opens it, ``set(False)`` closes it.

    Which commands or attribute switch it is found when it is connected; capitals do not matter. It is done when it
    reads as open or closed, not when the command has been taken. What closes it takes back an opening that is not
    done. The session's guard closes it over a connection of its own when the session dies.

    Parameters
    ----------
    address : str
        As of `TangoMotor`.
    name : str
        Name of the device.
    open_command, close_command : str
        Commands without argument. By default Open and Close, OpenShutter and CloseShutter, or ShutterOpen and
        ShutterClose.
    attribute : str
        Attribute that is set to open and close, true and false or named states, instead of commands. Without commands by
        default the first that is there of Open, Opened, IsOpen, Is_Open, Shutter and ShutterOpen.
    on, off : str or bool, optional
        What it reads as when it is open and closed, and what an attribute is set to for that. By default True and
        False; the named states open and closed; and of commands the State OPEN and CLOSE.
    source_kind : {"tube", "synchrotron"}, optional
        What makes the beam; plans cover a full turn by default where opposite views differ.
    support_events, poll_s, timeout_s
        As of `TangoMotor`.
    moves_s : float
        Within this time it is open, or closed, in s.

    Raises
    ------
    ParameterError
        If the address is none, or a value is missing.
    MissingExtraError
        If PyTango is not installed.
    """

    is_beam = True
    state: SignalRW[Any]

    def __init__(
        self,
        address: str,
        *,
        name: str = "",
        open_command: str = "",
        close_command: str = "",
        attribute: str = "",
        on: str | bool | None = None,
        off: str | bool | None = None,
        source_kind: Literal["tube", "synchrotron"] | None = None,
        support_events: bool = False,
        poll_s: float = 0.05,
        timeout_s: float = 5.0,
        moves_s: float = 10.0,
    ) -> None:
        check_address(address)
        self._check_pairs(open_command, close_command, attribute, on, off)
        with extra("tango", f"The shutter at {address}"):
            from ._signals import TangoSignals
        self._signals = TangoSignals(address, timeout_s, support_events, poll_s)
        self._link = self._signals.link
        self._backend: Any = self._signals.attribute()
        self._known = False
        self._named = (open_command, close_command, attribute)
        self._values = {True: on, False: off}
        self._moves_s = moves_s
        self.source_kind = source_kind
        self._commands: dict[bool, TriggerableCommand] = {}
        self._guard: TangoSwitch | None = None
        self._coming: AsyncStatus[None] | None = None
        self._order: asyncio.Task[None] | None = None
        super().__init__(name=name, connector=self._signals.connector)

    def _check_pairs(
        self, open_command: str, close_command: str, attribute: str, on: object, off: object
    ) -> None:
        if bool(open_command) != bool(close_command) or (open_command and attribute):
            raise ParameterError(
                f"open_command: {open_command!r} was given with close_command {close_command!r} and attribute "
                f"{attribute!r}; give both commands, or an attribute, or none of them."
            )
        if (on is None) != (off is None) or (on is not None and on == off):
            raise ParameterError(
                f"on: {on!r} was given with off {off!r}; give two values, or none."
            )

    @property
    def address(self) -> str:
        """Where it is."""
        return self._link.address

    def learn(self, interface: TangoInterface) -> None:
        """Take what the device has; called when it is connected.

        Raises
        ------
        DeviceError
            If it has neither commands nor an attribute for a shutter.
        """
        opens, closes, attribute = self._named
        pair = None if attribute else self._pair(interface, opens, closes)
        if pair is not None:
            self._learn_commands(interface, *pair)
            return
        found = interface.attribute("attribute", attribute, _ATTRIBUTE, (bool, StrictEnum))
        if found is None or not found.writable:
            looked_for = (attribute,) if attribute else _ATTRIBUTE
            raise interface.lacks(
                "attribute",
                [f"{each} (to be written)" for each in looked_for]
                + [f"the commands {opens or 'Open'} and {closes or 'Close'}"] * (not attribute),
            )
        self._learn_attribute(interface, found)

    def _pair(self, interface: TangoInterface, opens: str, closes: str) -> tuple[str, str] | None:
        for opening, closing in zip(_OPEN, _CLOSE, strict=True):
            names = [
                interface.command(keyword, given, (usual,))
                for keyword, given, usual in (
                    ("open_command", opens, opening),
                    ("close_command", closes, closing),
                )
            ]
            if names[0] and names[1]:
                return names[0], names[1]
        return None

    def _learn_commands(self, interface: TangoInterface, opens: str, closes: str) -> None:
        state = interface.attribute("state", "State", (), (str,))
        assert state is not None
        if self._values[True] is None:
            self._values = {True: "OPEN", False: "CLOSE"}
        self.open_command = self._signals.command(opens)
        self.close_command = self._signals.command(closes)
        self._commands = {True: self.open_command, False: self.close_command}
        self._guard = TangoSwitch(self.address, command=closes)
        self._reads(state)

    def _learn_attribute(self, interface: TangoInterface, found: TangoAttribute) -> None:
        if self._values[True] is None:
            words = {_WORDS[each.lower()]: each for each in found.choices if each.lower() in _WORDS}
            self._values = {True: True, False: False} if found.datatype is bool else dict(words)
        if set(self._values) != {True, False}:
            raise TangoNotConnectedError(
                f"{interface.where} is switched by {found.name}, whose states are {', '.join(found.choices)}: which of "
                "them is open, and which closed, is not known. Give on='…' and off='…'."
            )
        off: object = self._values[False]
        if found.choices:
            off = found.choices.index(str(off))
        self._guard = TangoSwitch(self.address, attribute=found.name, off=off)
        self._reads(found)

    def _reads(self, attribute: TangoAttribute) -> None:
        """Have a signal that tells whether it is open."""
        if not self._known:
            self._known = True
            self.state = SignalRW(self._backend, timeout=None)
            self.add_readables([self.state], StandardReadableFormat.HINTED_SIGNAL)
        self._backend.assign(attribute)

    def state_of(self, value: object) -> bool | None:
        """Return whether it is open when it reads as a value; None for neither open nor closed."""
        if isinstance(value, bool | np.bool_ | str):
            for on, own in self._values.items():
                if own is not None and value == own:
                    return on
        return None

    def set(self, value: bool) -> AsyncStatus[None]:
        """Open (True) or close (False) the shutter.

        Raises
        ------
        DeviceError
            From the status, if it does not; or if it was closed before it was open.
        """
        on = bool(value)
        coming, self._coming = self._coming, None
        if not on and coming is not None and not coming.done:
            coming.task.cancel()
        status = AsyncStatus(self._open() if on else self._close())
        if on:
            self._coming = status
        return status

    async def _open(self) -> None:
        # An order that is on its way cannot be taken back: who closes waits for its end.
        self._order = asyncio.ensure_future(self._tell(True))
        await asyncio.shield(self._order)
        await self._comes_to_be(True)

    async def _close(self) -> None:
        opening = self._order
        await self._tell(False)
        if opening is not None and not opening.done():
            with suppress(Exception):
                await asyncio.wait({opening}, timeout=self._link.timeout_s + self._moves_s)
            await self._tell(False)
        await self._comes_to_be(False)

    async def _tell(self, on: bool) -> None:
        if not self._known:
            raise DeviceError(
                f"{self.name} was told to switch, and is not connected. Make it in ophyd_async's 'with init_devices():', or await "
                "its connect()."
            )
        if self._commands:
            await self._commands[on].trigger()
        else:
            await self.state.set(self._values[on], timeout=None)

    async def _comes_to_be(self, on: bool) -> None:
        until_s = time.monotonic() + self._moves_s
        while True:
            value = await self.state.get_value(cached=False)
            if self.state_of(value) is on:
                return
            late = time.monotonic() > until_s
            if late or (value in _BROKEN and self._commands):
                raise DeviceError(
                    f"{self._link.where} was told to {'open' if on else 'close'} and reads "
                    f"{value}{await self._link.status()} {'after' if late else 'within'} {self._moves_s:g} s"
                    f"{'' if on else ': THE BEAM MAY BE ON'}. {_REMEDY}"
                )
            await asyncio.sleep(self._link.poll_s)

    def guard_switch(self) -> SwitchOff | None:
        """Return how the guard process closes it; None before it is connected."""
        return self._guard
