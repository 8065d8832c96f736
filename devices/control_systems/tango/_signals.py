"""Signals of ophyd-async to a Tango device, which say in sentences what went wrong, where, and what to check."""

from typing import Any

from bluesky.protocols import Reading
from event_model import DataKey
from ophyd_async.core import (
    Device,
    DeviceConnector,
    SignalDatatypeT,
    SignalMetadata,
    TriggerableCommand,
    make_datakey,
)
from ophyd_async.tango.core import (
    AttributeConfig,
    AttributeProxy,
    CommandConfig,
    CommandProxy,
    TangoCommandBackend,
    TangoSignalBackend,
    get_full_attr_trl,
)
from tango import DevFailed, EventType

from concertino import DeviceError

from ._interface import TangoAttribute, TangoNotConnectedError
from ._link import TangoLink, told_by


class TangoSignals:
    """Makes what a device is connected by.

    Parameters
    ----------
    address, timeout_s, support_events, poll_s
        As of `TangoLink`.
    """

    def __init__(self, address: str, timeout_s: float, support_events: bool, poll_s: float) -> None:
        self.link = TangoLink(address, timeout_s, support_events, poll_s)
        self.connector = TangoConnector(self.link)

    def attribute(
        self, datatype: type[SignalDatatypeT] | None = None, *, changes: bool = True
    ) -> "AttributeBackend[SignalDatatypeT]":
        """Return what reads and sets an attribute, as `AttributeBackend`."""
        return AttributeBackend(self.link, datatype, changes=changes)

    def command(self, command: str) -> TriggerableCommand:
        """Return a command."""
        backend = CommandOf(self.link)
        backend.assign(command)
        return TriggerableCommand(backend, timeout=None)


class TangoConnector(DeviceConnector):
    """Connects a device, which then learns what it has, and has signals for that.

    Parameters
    ----------
    link : TangoLink
        The connection.
    """

    def __init__(self, link: TangoLink) -> None:
        self._link = link

    async def connect_real(self, device: Device, timeout: float, force_reconnect: bool) -> None:
        """Connect."""
        learner: Any = device
        learner.learn(await self._link.open(device.name, timeout))
        device.set_name(device.name)
        await super().connect_real(device, timeout, force_reconnect)


class _Proxy(AttributeProxy):
    """Looks for events only where they are wanted."""

    def __init__(self, link: TangoLink, attribute: str, by_events: bool) -> None:
        super().__init__(link.proxy, attribute.lower())
        self._link, self._attribute, self._by_events = link, attribute, by_events

    async def connect(self) -> None:
        if not self._by_events:
            return
        try:
            number = await self._link.proxy.subscribe_event(
                self._attribute, EventType.CHANGE_EVENT, _ignore
            )
        except DevFailed as error:
            raise TangoNotConnectedError(
                f"{self._link.where} was to tell its {self._attribute} by event, and does not: {told_by(error)}. Have its "
                "server push change events, or leave out support_events=True."
            ) from error
        self._link.proxy.unsubscribe_event(number, green_mode=False)


class AttributeBackend(TangoSignalBackend[SignalDatatypeT]):
    """An attribute of a device.

    Parameters
    ----------
    link : TangoLink
        The connection.
    datatype : type or None
        What it holds; None when that is known when it is connected.
    changes : bool
        Whether it changes by itself, and is told by event where that is wanted.
    """

    def __init__(
        self, link: TangoLink, datatype: type[SignalDatatypeT] | None, *, changes: bool = True
    ) -> None:
        super().__init__(datatype)
        self.by_events = changes and link.support_events
        self._link, self._attribute = link, ""
        self._choices: tuple[str, ...] = ()

    def assign(self, attribute: TangoAttribute) -> None:
        """Say which it is."""
        self._attribute, self._choices = attribute.name, attribute.choices
        self.datatype = attribute.datatype
        self.device_proxy = self._link.proxy
        self.set_trl(get_full_attr_trl(self._link.address, attribute.name))

    async def connect(self, timeout: float) -> None:
        """Connect.

        Raises
        ------
        TangoNotConnectedError
            If it is to push events and does not.
        """
        self.allow_events(self.by_events)
        # What is polled so only shows progress: moves, and plans, ask by themselves.
        self.set_polling(not self.by_events, 4 * self._link.poll_s, 0.0, None)
        self.proxies[self.read_trl] = _Proxy(self._link, self._attribute, self.by_events)
        await super().connect(timeout)

    def _verify_datatype_matches(self, config: AttributeConfig | CommandConfig) -> None:
        # What ophyd-async makes of an enumeration wants its labels in capitals.
        if not self._choices:
            super()._verify_datatype_matches(config)

    async def get_datakey(self, source: str) -> DataKey:
        """Return its description, with unit and limits as they are now."""

        async def asked() -> DataKey:
            proxy = self.proxies[self.read_trl]
            assert isinstance(proxy, AttributeProxy)
            self.trl_configs[self.read_trl] = await proxy.get_config()
            if self._choices:
                value = await super(AttributeBackend, self).get_value()
                told = SignalMetadata(choices=list(self._choices))
                assert self.datatype is not None
                return make_datakey(self.datatype, value, source, metadata=told)
            return await super(AttributeBackend, self).get_datakey(source)

        return await self._link.ask(f"asked for the description of {self._attribute}", asked)

    async def get_reading(self) -> Reading[SignalDatatypeT]:
        """Return its reading."""
        reading = await self._link.ask(f"asked for its {self._attribute}", super().get_reading)
        self._must_be_there(reading["value"])
        return reading

    async def get_value(self) -> SignalDatatypeT:
        """Return its value."""
        value = await self._link.ask(f"asked for its {self._attribute}", super().get_value)
        self._must_be_there(value)
        return value

    async def get_setpoint(self) -> SignalDatatypeT:
        """Return what it was set to last."""
        return await self._link.ask(
            f"asked what its {self._attribute} was set to", super().get_setpoint
        )

    async def put(self, value: SignalDatatypeT | None, timeout: float | None = None) -> None:
        """Set it."""

        async def put() -> None:
            await super(AttributeBackend, self).put(value, timeout)

        await self._link.ask(f"told to set its {self._attribute} to {value}", put)

    def _must_be_there(self, value: object) -> None:
        if value is None:
            raise DeviceError(
                f"{self._link.where} was asked for its {self._attribute}, and has no valid value now. See its State and "
                "Status, and whether the hardware is connected."
            )


class CommandOf(TangoCommandBackend[[], None]):
    """A command of a device, without argument.

    Parameters
    ----------
    link : TangoLink
        The connection.
    """

    def __init__(self, link: TangoLink) -> None:
        super().__init__(None)
        self._link, self.command = link, ""

    def assign(self, command: str) -> None:
        """Say which it is."""
        self.command = command
        # A device may have an attribute of the same name.
        self.device_proxy = CommandProxy(self._link.proxy, command.lower())  # type: ignore[abstract]
        self.set_trl(get_full_attr_trl(self._link.address, command))

    async def execute(self) -> None:
        """Have it done."""
        await self._link.ask(f"told to {self.command}", super().execute)


async def _ignore(event: object) -> None:
    """Do nothing."""
