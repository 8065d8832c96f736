"""Records and images by PV Access: p4p's server, on this computer only."""

import os
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from p4p.nt import NTEnum, NTNDArray, NTScalar
from p4p.server import Server
from p4p.server.asyncio import SharedPV
from p4p.server.thread import SharedPV as ThreadPV

from concertino import ConcertinoError

from ._record import Record


class ImagePV:
    """The PV of areaDetector's plugin NDPluginPva."""

    def __init__(self) -> None:
        self.pv = ThreadPV(initial=NTNDArray().wrap(np.zeros((0, 0), np.uint16)))

    def post(self, number: int, end_ns: int, pixels: NDArray[np.uint16]) -> None:
        """Show an image; in any thread.

        Parameters
        ----------
        number : int
            Its ``uniqueId``.
        end_ns : int
            End of its exposure, in ns since the epoch.
        pixels : ndarray, shape (height, width), uint16
            In counts.
        """
        value = NTNDArray().wrap(pixels.copy())
        value.uniqueId = number
        value.timeStamp.secondsPastEpoch, value.timeStamp.nanoseconds = divmod(end_ns, 10**9)
        self.pv.post(value)


def pva_server(served: Mapping[str, Iterable[Record]], image: ImagePV) -> Server:
    """Return a server that is running; in the records' event loop.

    Parameters
    ----------
    served : mapping of str to iterable of Record
        Prefixes, and what is served with each beside the images.
    image : ImagePV
        Served as ``Pva1:Image``.
    """
    provided = {f"{prefix}Pva1:Image": image.pv for prefix in served}
    for prefix, records in served.items():
        provided |= {prefix + record.name: _pv(record) for record in records}
    told = {
        "EPICS_PVAS_INTF_ADDR_LIST": "127.0.0.1",
        "EPICS_PVAS_AUTO_BEACON_ADDR_LIST": "NO",
        "EPICS_PVAS_BEACON_ADDR_LIST": "127.0.0.1",
    }
    ports = ("EPICS_PVAS_SERVER_PORT", "EPICS_PVAS_BROADCAST_PORT")
    told |= {name: os.environ[name] for name in ports if name in os.environ}
    return Server(providers=[provided], conf=told, useenv=False)


def _pv(record: Record) -> Any:
    """Return the PV of a record."""

    class Handler:
        async def put(self, pv: Any, operation: Any) -> None:
            value = operation.value().raw.value
            try:
                await record.put(value.index if record.choices else value)
                operation.done()
            except ConcertinoError as error:
                operation.done(error=str(error))

    made = SharedPV(Handler(), nt=_type(record), initial=_shown(record, first=True))

    async def publish(changed: Record) -> None:
        made.post(_shown(changed), timestamp=changed.time_s)

    record.listen(publish)
    return made


def _type(record: Record) -> Any:
    if record.choices:
        return NTEnum()
    code = {float: "d", int: "i", str: "s"}[type(record.value)]
    number = code != "s"
    return NTScalar(code, display=True, control=number, form=number)


def _shown(record: Record, *, first: bool = False) -> Any:
    if record.choices:
        return (
            {"index": int(record.value), "choices": list(record.choices)}
            if first
            else int(record.value)
        )
    if not first or isinstance(record.value, str):
        return record.value
    shown: dict[str, Any] = {
        "value": record.value,
        "display.units": record.unit,
        "display.precision": record.precision,
    }
    if record.limits is not None:
        shown |= {
            "control.limitLow": record.limits[0],
            "control.limitHigh": record.limits[1],
        }
    return shown


def search_port(server: Any) -> int:
    """Return the port at which a server is searched for."""
    return int(server.conf()["EPICS_PVAS_BROADCAST_PORT"])
