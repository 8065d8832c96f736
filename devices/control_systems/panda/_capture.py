"""What a PandA captures at its pulses, by its data port."""

import asyncio
import struct
from contextlib import suppress
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from concertino import DeviceError

from ._link import PandaLink

_BYTES = {"int32": "<i4", "uint32": "<u4", "int64": "<i8", "uint64": "<u8", "double": "<f8"}


class PandaCapture:
    """Has a box note the encoder's counts at each pulse, and takes them as they come.

    Parameters
    ----------
    link : PandaLink
        To the box' control port.
    port : int
        Its data port.
    """

    def __init__(self, link: PandaLink, port: int) -> None:
        self._link, self._port = link, port
        self._counts: list[float] = []
        self._lost = ""
        self._writer: asyncio.StreamWriter | None = None
        self._task: asyncio.Task[None] | None = None
        self._running = False

    async def start(self, position: str, bit: str) -> None:
        """Note a position at each rising edge of a bit from now on, and forget what was noted.

        Parameters
        ----------
        position, bit : str
            Outputs of the box, such as ``"INENC1.VAL"`` and ``"PCOMP1.OUT"``.

        Raises
        ------
        DeviceError
            If the box is not there or refuses; or it captures for somebody else.
        """
        await self.stop()
        link = self._link
        if await link.get("PCAP.ACTIVE") != "0":
            raise DeviceError(
                f"PandA {link.name} was asked to note {position} at {link.host}, and captures already. Stop whoever uses "
                "its capture, or take the scan without: PandaTrigger(…, capture=False)."
            )
        for field, value in (
            (f"{position}.CAPTURE", "Value"), ("PCAP.TRIG", bit), ("PCAP.TRIG_EDGE", "Rising"), ("PCAP.ENABLE", "ONE"),
        ):  # fmt: skip
            await link.put(field, value)
        self._counts, self._lost = [], ""
        try:
            reader, writer = await asyncio.wait_for(
                asyncio.open_connection(link.host, self._port), link.timeout_s
            )
            self._writer = writer
            writer.write(b"XML FRAMED RAW\n")
            line = await asyncio.wait_for(reader.readline(), link.timeout_s)
        except (OSError, TimeoutError) as error:
            raise self._failed(f"the connection failed ({error})") from error
        if line != b"OK\n":
            raise self._failed(f"it answered {line.decode()!r}")
        self._task = asyncio.create_task(self._take(reader, f"{position}.Value"))
        await link.put("*PCAP.ARM", "")
        self._running = True

    async def stop(self) -> None:
        """Note no more; what was noted stays. Harmless when nothing is noted."""
        try:
            if self._running:  # also of a box that was lost: it captures for us until it is told
                await self._link.put("*PCAP.DISARM", "")
                self._running = False
        finally:
            await self._close()

    async def counts(self) -> NDArray[np.float64]:
        """Return the counts at all pulses until now.

        Raises
        ------
        DeviceError
            If the box is lost, or does not send what it says that it captured.
        """
        if self._running and not self._lost:
            told = int(await self._link.get("*PCAP.CAPTURED"))
            with suppress(TimeoutError):
                async with asyncio.timeout(self._link.timeout_s):
                    while len(self._counts) < told and not self._lost:
                        await asyncio.sleep(0.005)
            if len(self._counts) < told and not self._lost:
                self._lost = f"it captured {told} pulses and sent {len(self._counts)}"
        if self._lost:
            raise self._failed(self._lost)
        return np.array(self._counts, np.float64)

    async def _close(self) -> None:
        task, self._task = self._task, None
        if task is not None:
            if (
                not self._running
            ):  # It ends by itself at the box' END line, after which nothing comes.
                await asyncio.wait([task], timeout=self._link.timeout_s)
            task.cancel()
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.close()

    async def _take(self, reader: asyncio.StreamReader, column: str) -> None:
        try:
            header = (await reader.readuntil(b"</header>\n")).decode()
            await reader.readexactly(1)
            fields = ElementTree.fromstring(header).findall("fields/field")
            names = [f"{field.get('name')}.{field.get('capture')}" for field in fields]
            row = np.dtype(
                [
                    (name, _BYTES[str(field.get("type"))])
                    for name, field in zip(names, fields, strict=True)
                ]
            )
            while (await reader.readexactly(4)) == b"BIN ":
                (size,) = struct.unpack("<I", await reader.readexactly(4))
                self._counts += np.frombuffer(await reader.readexactly(size - 8), row)[
                    column
                ].tolist()
            why = (await reader.readline()).decode().strip().partition(" ")[2]
            if why not in ("Ok", "Disarmed"):
                self._lost = f"its capture ended: {why}"
        except (OSError, EOFError) as error:
            self._lost = f"the connection is lost ({error})"

    def _failed(self, found: str) -> DeviceError:
        link = self._link
        return DeviceError(
            f"PandA {link.name} was asked what it captured at {link.host}:{self._port}, and {found} after "
            f"{len(self._counts)} pulses. Check that the box has power and network, and that its server runs."
        )
