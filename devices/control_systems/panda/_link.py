"""A connection to a PandA's control port."""

import asyncio
from collections.abc import Sequence

from concertino import DeviceError


class PandaLink:
    """Sends commands to a box, one after the other, and connects again when the connection was lost.

    Parameters
    ----------
    name : str
        Of the device, for messages.
    host : str
        Address of the box.
    port : int
        Its control port.
    timeout_s : float
        How long an answer may take, in s.
    """

    def __init__(self, name: str, host: str, port: int, timeout_s: float) -> None:
        self.name, self.host, self.port, self.timeout_s = name, host, port, timeout_s
        self._lock: asyncio.Lock | None = None
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def get(self, field: str) -> str:
        """Return a value of one line."""
        answer = await self._ask([f"{field}?"])
        if not answer[0].startswith("OK ="):
            raise self._refused(f"{field}?", answer)
        return answer[0].removeprefix("OK =")

    async def get_lines(self, field: str) -> list[str]:
        """Return a value of several lines, such as a table's."""
        answer = await self._ask([f"{field}?"])
        if answer[-1] != ".":
            raise self._refused(f"{field}?", answer)
        return [line.removeprefix("!") for line in answer[:-1]]

    async def put(self, field: str, value: str) -> None:
        """Set a field.

        Raises
        ------
        DeviceError
            If the box is not there, does not answer in time, or refuses.
        """
        answer = await self._ask([f"{field}={value}"])
        if answer != ["OK"]:
            raise self._refused(f"{field}={value}", answer)

    async def put_lines(self, field: str, values: Sequence[str]) -> None:
        """Write a table; raise as `put`."""
        answer = await self._ask([f"{field}<", *values, ""])
        if answer != ["OK"]:
            raise self._refused(f"{field}<", answer)

    def close(self) -> None:
        """Let go of the connection; the next command makes another."""
        if self._writer is not None:
            self._writer.close()
        self._reader = self._writer = None

    async def _ask(self, lines: Sequence[str]) -> list[str]:
        self._lock = self._lock or asyncio.Lock()
        async with self._lock:
            try:
                return await asyncio.wait_for(self._exchange(lines), self.timeout_s)
            except TimeoutError:
                found = f"it did not answer within {self.timeout_s:g} s"
            except (OSError, EOFError) as error:
                found = f"the connection is lost ({error})"
            except asyncio.CancelledError:
                self.close()
                raise
            self.close()
        raise DeviceError(
            f"PandA {self.name} was told {lines[0]!r} at {self.host}:{self.port}, and {found}. Check that the box has "
            "power and network, and that its server runs."
        )

    async def _exchange(self, lines: Sequence[str]) -> list[str]:
        if self._writer is None or self._reader is None:
            self._reader, self._writer = await asyncio.open_connection(self.host, self.port)
        self._writer.write(("\n".join(lines) + "\n").encode())
        await self._writer.drain()
        answer = [await self._line(self._reader)]
        while answer[0].startswith("!") and answer[-1] != ".":
            answer.append(await self._line(self._reader))
        return answer

    async def _line(self, reader: asyncio.StreamReader) -> str:
        line = await reader.readline()
        if not line.endswith(b"\n"):
            raise EOFError("the box closed it")
        return line.decode().rstrip("\n")

    def _refused(self, command: str, answer: Sequence[str]) -> DeviceError:
        return DeviceError(
            f"PandA {self.name} was told {command!r} at {self.host}:{self.port}, and answered {answer[0]!r}. Check that "
            "its firmware has this block, and that nobody else uses it."
        )
