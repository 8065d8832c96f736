"""Records by Channel Access: caproto's server, on this computer only."""

import logging
from collections.abc import Callable, Iterable
from typing import Any

from caproto import (
    ChannelChar,
    ChannelDouble,
    ChannelEnum,
    ChannelInteger,
    ChannelString,
    SkipWrite,
)
from caproto.asyncio.server import start_server

from ._record import Record, Value

#: Bytes of a long text at most.
_TEXT = 1024


class _Written:
    """What a client writes goes to the record, which then publishes what came of it."""

    record: Record

    async def verify_value(self, data: Any) -> Any:
        await self.record.put(data if isinstance(data, str) else self._plain(data))
        raise SkipWrite

    def _plain(self, data: Any) -> Value:
        return data.decode() if isinstance(data, bytes) else float(data)


class _Double(_Written, ChannelDouble):  # type: ignore[misc]
    pass


class _Integer(_Written, ChannelInteger):  # type: ignore[misc]
    pass


class _Enum(_Written, ChannelEnum):  # type: ignore[misc]
    pass


class _Text(_Written, ChannelChar):  # type: ignore[misc]
    pass


class _String(_Written, ChannelString):  # type: ignore[misc]
    pass


async def serve_channels(prefix: str, records: Iterable[Record], ready: Callable[[], None]) -> None:
    """Serve records until the task is cancelled.

    Parameters
    ----------
    prefix : str
        What all names begin with.
    records : iterable of Record
        What is served.
    ready : callable
        Called when clients are answered.
    """
    # That it is there is said by beacons, to a repeater that need not run.
    logging.getLogger("caproto.ctx").addFilter(lambda told: "beacon" not in told.getMessage())
    channels = {prefix + record.name: _channel(record) for record in records}

    async def begun(library: object) -> None:
        ready()

    await start_server(channels, interfaces=["127.0.0.1"], startup_hook=begun)


def _channel(record: Record) -> Any:
    channel: Any
    numeric: dict[str, Any] = {"units": record.unit}
    if record.limits is not None:
        low, high = record.limits
        numeric |= {
            "lower_ctrl_limit": low, "upper_ctrl_limit": high, "lower_disp_limit": low,
            "upper_disp_limit": high,
        }  # fmt: skip
    if record.choices:
        channel = _Enum(value=record.word, enum_strings=record.choices)
    elif record.long:
        channel = _Text(value=str(record.value), max_length=_TEXT, string_encoding="utf-8")
    elif isinstance(record.value, str):
        channel = _String(value=record.value)
    elif isinstance(record.value, float):
        channel = _Double(value=record.value, precision=record.precision, **numeric)
    else:
        channel = _Integer(value=record.value, **numeric)
    channel.record = record

    async def publish(changed: Record) -> None:
        value = changed.word if changed.choices else changed.value
        await channel.write(value, verify_value=False, timestamp=changed.time_s)

    record.listen(publish)
    return channel
