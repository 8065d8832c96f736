"""A simulated PandA that speaks the protocol of a real one at its two ports."""

import asyncio
import struct
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress

from concertino import DeviceError
from concertino.devices.control_systems.panda._limits import PandaAxis
from concertino.devices.simulated._motor import SimulatedMotor

from ._blocks import CountsAt
from ._box import BLOCKS, BadCommandError, PandaBoxState

_LOOK_S = 0.002
_START_S = 10.0
_IDN = "PandA SW: 4.0 FPGA: 3.0.0 00000000 00000000 rootfs: simulated"


class SimulatedPanda:
    """A PandA with encoders, position compare, sequencers and capture, at real sockets.

    Parameters
    ----------
    pulse : callable
        Takes the time of each pulse at its output TTLOUT1, in s since the epoch: the camera's trigger input.
    encoders : mapping of str to tuple
        By position output, such as ``"INENC1.VAL"``: the motor, and how many counts it makes.
    host : str
        Address at which it listens.
    control_port, data_port : int
        A real box has 8888 and 8889.

    Notes
    -----
    It has the fields that pulses and captures need, and refuses others as a box does: PCOMP by absolute positions, SEQ with
    rows that wait for nothing or for a position, PCAP with values at pulses, as framed raw data. It looks every
    2 ms what was due and computes the times exactly; so that a simulated pulse is given 2 ms late, with its true time.
    """

    def __init__(
        self,
        pulse: Callable[[float], None],
        encoders: Mapping[str, tuple[SimulatedMotor, PandaAxis]],
        *,
        host: str = "127.0.0.1",
        control_port: int = 8888,
        data_port: int = 8889,
    ) -> None:
        self.host, self._ports = host, (control_port, data_port)
        self._pulse = pulse
        self._encoders = {name: _counts_of(motor, axis) for name, (motor, axis) in encoders.items()}
        self._state = self._fresh()
        self._writers: set[asyncio.StreamWriter] = set()
        self._listeners: dict[asyncio.StreamWriter, bool] = {}
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> "SimulatedPanda":
        """Listen from now on, with all fields as a box has them that was just switched on.

        Raises
        ------
        DeviceError
            If its ports are taken.
        """
        ready, failed = threading.Event(), list[OSError]()
        self._stopping.clear()
        self._state = self._fresh()

        async def serve() -> None:
            try:
                handlers = (self._control, self._data)
                servers = [
                    await asyncio.start_server(handler, self.host, port)
                    for handler, port in zip(handlers, self._ports, strict=True)
                ]
            except OSError as error:
                failed.append(error)
                return
            finally:
                ready.set()
            while not self._stopping.is_set():
                await asyncio.sleep(_LOOK_S)
                self._state.advance(time.time())
            for server in servers:
                server.close()
            for writer in self._writers:
                writer.transport.abort()
            # Those who are being let in now find that it is gone.
            for _ in range(10):
                await asyncio.sleep(_LOOK_S)

        self._thread = threading.Thread(target=asyncio.run, args=(serve(),), daemon=True)
        self._thread.start()
        ready.wait(_START_S)
        if failed:
            raise DeviceError(
                f"The simulated PandA was told to listen at {self.host}, ports {self._ports}, and the system said: "
                f"{failed[0]}. Give it another host, such as '127.0.0.2', or other ports."
            )
        return self

    def stop(self) -> None:
        """Be gone at once, as a box that loses its power; harmless when it is."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(_START_S)

    def __enter__(self) -> "SimulatedPanda":
        return self.start()

    def __exit__(self, *error: object) -> None:
        self.stop()

    def _fresh(self) -> PandaBoxState:
        state = PandaBoxState(self._encoders, self._pulse)
        state.on_arm, state.on_sample, state.on_end = self._armed, self._sampled, self._ended
        return state

    async def _control(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._is_gone_for(writer):
            return
        with suppress(ConnectionError):
            while line := (await reader.readline()).decode().rstrip("\r\n"):
                head, found, _ = line.partition("<")
                if found and "=" not in head and "?" not in head:
                    words = []
                    while word := (await reader.readline()).decode().strip():
                        words.append(word)
                    answer = self._answered(lambda: self._write_table(line, words))  # noqa: B023
                else:
                    answer = self._answered(lambda: self._command(line))
                writer.write(answer.encode())
                await writer.drain()
        self._writers.discard(writer)
        writer.close()

    def _is_gone_for(self, writer: asyncio.StreamWriter) -> bool:
        """Keep who came; cut off who was let in as this one went."""
        if self._stopping.is_set():
            writer.transport.abort()
            return True
        self._writers.add(writer)
        return False

    def _answered(self, work: Callable[[], str | list[str] | None]) -> str:
        try:
            found = work()
        except BadCommandError as error:
            return f"ERR {error}\n"
        except ValueError:
            return "ERR Invalid value\n"
        if isinstance(found, list):
            return "".join(f"!{one}\n" for one in found) + ".\n"
        return "OK\n" if found is None else f"OK ={found}\n"

    def _write_table(self, line: str, words: list[str]) -> None:
        name, _, how = line.partition("<")
        if how not in ("", "<"):
            raise BadCommandError("This simulated PandA takes tables as numbers")
        self._state.put_table(name, [int(word) for word in words], append=how == "<")

    def _command(self, line: str) -> str | list[str] | None:
        state = self._state
        if line.endswith("?"):
            match line[:-1]:
                case "*IDN":
                    return _IDN
                case "*BLOCKS":
                    return [f"{block} {number}" for block, number in BLOCKS.items()]
                case "*PCAP.STATUS":
                    busy = "Busy" if state.capturing else "Idle"
                    taking = sum(self._listeners.values())
                    return f"{busy} {len(self._listeners)} {taking}"
                case "*PCAP.CAPTURED":
                    state.get("PCAP.ACTIVE")
                    return str(state.captured)
                case "*PCAP.COMPLETION":
                    return state.completion
                case name if name.startswith("*"):
                    raise BadCommandError("Unknown command")
                case name:
                    return state.get(name)
        name, found, value = line.partition("=")
        if not found:
            raise BadCommandError("Unknown command")
        if name == "*PCAP.ARM":
            state.arm()
        elif name == "*PCAP.DISARM":
            state.disarm()
        else:
            state.put(name, value)
        return None

    async def _data(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._is_gone_for(writer):
            return
        options = set((await reader.readline()).decode().split())
        if options == {"XML", "FRAMED", "RAW"}:
            writer.write(b"OK\n")
            self._listeners[writer] = False
            with suppress(ConnectionError):
                await reader.read()
        else:
            writer.write(b"ERR This simulated PandA sends XML FRAMED RAW\n")
        self._listeners.pop(writer, None)
        self._writers.discard(writer)
        writer.close()

    def _armed(self, names: list[str]) -> None:
        fields = "".join(
            f'<field name="{name}" type="int32" capture="Value" scale="1" offset="0" units="" />\n'
            for name in names
        )
        size = 4 * len(names)
        header = (
            f'<header>\n<data missed="0" process="Raw" format="Framed" sample_bytes="{size}" />\n'
            f"<fields>\n{fields}</fields>\n</header>\n\n"
        )
        for writer in self._listeners:
            self._listeners[writer] = True
            writer.write(header.encode())

    def _sampled(self, row: bytes) -> None:
        for writer, taking in self._listeners.items():
            if taking:
                writer.write(b"BIN " + struct.pack("<I", len(row) + 8) + row)

    def _ended(self, samples: int, why: str) -> None:
        for writer, taking in self._listeners.items():
            if taking:
                writer.write(f"END {samples} {why}\n".encode())
                self._listeners[writer] = False


def _counts_of(motor: SimulatedMotor, axis: PandaAxis) -> CountsAt:
    return lambda at_s: axis.counts(motor.position_at(at_s))
