"""One value of each signal for each frame: read all the while, and taken at the middle of the exposure."""

import asyncio
import inspect
import math
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from bluesky.protocols import EventPageCollectable, HasName, Readable
from bluesky.utils import MsgGenerator, maybe_await
from event_model import DataKey, PartialEventPage
from numpy.typing import NDArray

from concertino import ParameterError
from concertino._clocks import CameraTimes, ClockCalibration
from concertino.documents import PER_FRAME, StreamSegment, check_device_name

from ._deadlines import deadlines
from ._device_queries import number, query, run_in_loop
from ._offers import HasClock, TellsExposures, name_of
from ._protocols import FrameCamera

#: How often a signal is read, in s: as often as frames come, within these.
_PERIODS_S = (0.02, 0.5)
#: Who reads on when nobody has wanted a value for so long, in s, belongs to a plan that was halted.
_FORGOTTEN_S = 600.0
_PARTS = ("-setpoint", "-low_limit", "-high_limit")
_ROWS = 256  # of a page


async def _told(device: Any, question: str) -> Mapping[str, Any]:
    """Return what a device reads or describes; what answers at once may wait for its control system."""
    method = device.read if question == "read" else device.describe
    if inspect.iscoroutinefunction(method):
        return dict(await method())
    return dict(await maybe_await(await asyncio.to_thread(method)))


@dataclass
class _Readings:
    """What a device has read, and when; NaN where it did not answer."""

    device: Any
    keys: Mapping[str, DataKey]
    when_s: list[float] = field(default_factory=list)
    values: list[list[float]] = field(default_factory=list)

    async def read(self) -> None:
        """Read once; what takes too long, or fails, is not known from its beginning to its end."""
        before_s, found = time.time(), None
        with suppress(Exception):
            reading = await asyncio.wait_for(_told(self.device, "read"), deadlines().answer_s)
            found = [float(reading[key]["value"]) for key in self.keys]
        after_s = time.time()
        if found is not None:
            self.note((before_s + after_s) / 2, found)
            return
        for when_s in (before_s, after_s):
            self.note(when_s, [math.nan] * len(self.keys))

    def note(self, when_s: float, values: list[float]) -> None:
        self.when_s.append(when_s)
        self.values.append(values)

    def at(self, when_s: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the values at some times, (n, keys), and how far the nearest reading is from each, in s, (n,).

        Between two readings the value is on the straight line; where the nearest one failed it is NaN.
        """
        known_s, known = np.asarray(self.when_s), np.asarray(self.values)
        after = np.clip(np.searchsorted(known_s, when_s), 1, max(1, len(known_s) - 1))
        before = after - 1
        after = np.minimum(after, len(known_s) - 1)
        width = np.maximum(known_s[after] - known_s[before], 1e-9)
        share = np.clip((when_s - known_s[before]) / width, 0, 1)
        nearest = np.where(share > 0.5, after, before)
        line = known[before] + share[:, None] * (known[after] - known[before])
        values = np.where(np.isfinite(line), line, known[nearest])
        values[~np.isfinite(known[nearest])] = np.nan
        return values, np.abs(when_s - known_s[nearest])

    def forget(self, before_s: float) -> None:
        """Let go of what is before a time, but for the last reading."""
        kept = max(0, int(np.searchsorted(self.when_s, before_s)) - 1)
        del self.when_s[:kept], self.values[:kept]


class FrameValues:
    """The values that are to be told for each frame of a scan, and how many could not be had.

    Parameters
    ----------
    devices : sequence of Readable
        Signals, or devices of several; what they read as numbers is told.
    keys : sequence of mapping
        Data keys of each.

    Attributes
    ----------
    missing : dict of str to int
        Values that could not be had, by data key.
    frames : int
        Of how many frames.
    """

    def __init__(self, devices: Sequence[Any], keys: Sequence[Mapping[str, DataKey]]) -> None:
        self.devices, self.keys = tuple(devices), tuple(keys)
        self.missing: dict[str, int] = {key: 0 for each in keys for key in each}
        self.frames = 0
        self._last: StreamValues | None = None

    @property
    def names(self) -> list[str]:
        """The devices' names."""
        return [str(device.name) for device in self.devices]

    def stopped(self) -> MsgGenerator[None]:
        """Read no more, as a plan's clean-up."""
        yield from run_in_loop(self.stop, f"{', '.join(self.names)} were to be read no more")

    @property
    def warning(self) -> str:
        """What the stop document says of values that could not be had; empty if there are all."""
        lost = [f"{key} of {count}" for key, count in self.missing.items() if count]
        return f"no value of {', '.join(lost)} of {self.frames} frames could be had" if lost else ""

    def of(self, camera: FrameCamera, stream: str) -> "StreamValues":
        """Return what collects the values of the frames of a stream, or of a segment of one."""
        self._last = StreamValues(self, camera, StreamSegment.of(stream))
        return self._last

    async def stop(self) -> None:
        """Read no more, however the scan ended."""
        if self._last is not None:
            await self._last.stop()


class StreamValues(EventPageCollectable):
    """Reads the signals while a camera takes a stream, and collects their values at its exposures.

    Parameters
    ----------
    of : FrameValues
        Which signals.
    camera : FrameCamera
        Takes the frames, and tells when.
    segment : StreamSegment
        Its stream, and which frame of that its first is.
    """

    parent = None

    def __init__(self, of: FrameValues, camera: FrameCamera, segment: StreamSegment) -> None:
        self._of, self._segment = of, segment
        self._camera: Any = camera
        self._readings = [
            _Readings(device, keys) for device, keys in zip(of.devices, of.keys, strict=True)
        ]
        self._clock = ClockCalibration(
            CameraTimes, camera.clock if isinstance(camera, HasClock) else None
        )
        self._done = 0
        self._tasks: list[asyncio.Task[None]] = []
        self._reading, self._ended = True, False
        self._wanted_s = time.monotonic()

    @property
    def name(self) -> str:
        """Name in messages."""
        return f"{PER_FRAME}-{self._segment.name}"

    async def begin(self) -> None:
        """Read from now on; the first readings are there when it returns."""
        rate = await number(self._camera.frame_rate)
        period_s = min(max(1 / rate if rate else _PERIODS_S[1], _PERIODS_S[0]), _PERIODS_S[1])
        await self._clock.look()
        await asyncio.gather(*(readings.read() for readings in self._readings))
        self._wanted_s = time.monotonic()
        self._tasks = [
            asyncio.ensure_future(self._go_on(readings, period_s)) for readings in self._readings
        ]

    async def end(self) -> None:
        """Read no more, after a last time; harmless when that is over."""
        if self._tasks:
            await self.stop()
            await asyncio.gather(*(readings.read() for readings in self._readings))
        self._ended = True

    async def stop(self) -> None:
        """Read no more, at once."""
        self._reading = False  # A read that ends as it is cancelled does not hear of that.
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _go_on(self, readings: _Readings, period_s: float) -> None:
        while self._reading and time.monotonic() - self._wanted_s < _FORGOTTEN_S:
            await asyncio.sleep(period_s)
            await readings.read()

    def describe_collect(self) -> dict[str, DataKey]:
        """Describe the columns."""
        where = {"source": str(self._camera.name), "shape": []}
        described: dict[str, Any] = {
            "stream": {**where, "dtype": "string", "dtype_numpy": "<U64"},
            "frame": {**where, "dtype": "integer", "dtype_numpy": "<i8"},
        }
        for keys in self._of.keys:
            for key, told in keys.items():
                described[key] = told
                described[f"{key}-apart"] = {
                    "source": told["source"], "dtype": "number", "dtype_numpy": "<f8", "shape": [],
                    "units": "s",
                }  # fmt: skip
        return described

    async def collect_pages(self) -> AsyncIterator[PartialEventPage]:
        """Yield pages with the frames that were exposed since, as far as there is a later reading."""
        self._wanted_s = time.monotonic()
        numbers, times_ns = await maybe_await(self._camera.exposures(self._done))
        if not len(numbers):
            return
        await self._clock.look()
        host, _ = self._clock.to_host(CameraTimes(times_ns))
        when_s = host.seconds
        if not self._ended:
            read_until_s = min(readings.when_s[-1] for readings in self._readings)
            count = int(np.argmax(when_s > read_until_s)) if (when_s > read_until_s).any() else None
            numbers, when_s = numbers[:count], when_s[:count]
        for start in range(0, len(numbers), _ROWS):
            part = slice(start, start + _ROWS)
            yield self._page(np.asarray(numbers[part]), when_s[part])
            await asyncio.sleep(0)

    def _page(self, numbers: NDArray[np.int64], when_s: NDArray[np.float64]) -> PartialEventPage:
        count = len(numbers)
        data: dict[str, list[Any]] = {
            "stream": [self._segment.base] * count,
            "frame": (numbers + self._segment.first).tolist(),
        }
        for readings in self._readings:
            values, apart_s = readings.at(when_s)
            for column, key in enumerate(readings.keys):
                data[key] = values[:, column].tolist()
                data[f"{key}-apart"] = apart_s.tolist()
                self._of.missing[key] += int(np.isnan(values[:, column]).sum())
            readings.forget(float(when_s[-1]))
        self._done += count
        self._of.frames += count
        return PartialEventPage(
            data=data, timestamps=dict.fromkeys(data, when_s.tolist()), time=[time.time()] * count
        )


def _number_key(told: Mapping[str, Any]) -> DataKey:
    key = DataKey(source=str(told["source"]), dtype="number", dtype_numpy="<f8", shape=[])
    if told.get("units"):
        key["units"] = str(told["units"])
    return key


def frame_values(devices: Sequence[Any], camera: FrameCamera) -> MsgGenerator[FrameValues | None]:
    """Return what tells a value of each device for each frame of a camera; None if there are no devices.

    Raises
    ------
    ParameterError
        If one reads as no number or does not answer, or the camera does not tell when it exposes.
    """
    if isinstance(devices, str) or not isinstance(devices, Sequence):
        raise ParameterError(
            f"per_frame: {name_of(devices)} was given. Give a list of signals, such as [ring.current]."
        )
    if not devices:
        return None
    if not isinstance(camera, TellsExposures):
        raise ParameterError(
            f"per_frame: camera {camera.name} does not tell when it exposes its frames, so that nobody knows which value "
            "is of which. Leave per_frame out, and monitor the signals instead."
        )
    keys: list[Mapping[str, DataKey]] = []
    for device in devices:
        if not isinstance(device, Readable) or not isinstance(device, HasName):
            raise ParameterError(
                f"per_frame: {device!r} cannot be read. Give signals, or devices with some."
            )
        check_device_name(device.name, "per_frame")
        told = yield from query(
            partial(_told, device, "describe"), f"{device.name} was asked what it reads"
        )
        numbers = {
            key: about
            for key, about in told.items()
            if about["dtype"] in ("number", "integer")
            and not about.get("shape")
            and not key.endswith(_PARTS)
        }
        if not numbers:
            raise ParameterError(
                f"per_frame: {device.name} reads as no number. Give signals whose value is one."
            )
        keys.append({key: _number_key(about) for key, about in numbers.items()})
    all_keys = [key for each in keys for key in each]
    twice = sorted({key for key in all_keys if all_keys.count(key) > 1})
    if twice:
        raise ParameterError(
            f"per_frame: {', '.join(twice)} would be told twice. Give each signal once, and a name of its own."
        )
    return FrameValues(devices, keys)
