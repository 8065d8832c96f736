"""The twin's camera as the driver of an areaDetector, record by record."""

import asyncio
import threading
from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from concertino import CameraError, ParameterError
from concertino.devices import CameraSettings, Region, SimulatedSource
from concertino.frames import FrameRequest
from concertino.simulation import Faults

from ._array_records import array_records
from ._record import Record, Value, plain

_STATES = (
    "Idle", "Acquire", "Readout", "Correct", "Saving", "Aborting", "Error", "Waiting", "Initializing", "Disconnected",
    "Aborted",
)  # fmt: skip
_MODES = ("Single", "Multiple", "Continuous")
_NEVER_S = 1e6
#: Within which the twin's event loop does what it is asked, in s.
LOOP_S = 30.0
#: What can go wrong with a camera, and what the simulation plays then.
CAMERA_FAULTS = {
    "none": Faults(),
    "silent": Faults(slow_s=_NEVER_S),
    "loses frames": Faults(drop_probability=0.2),
    "error": Faults(die_at=0),
}
Image = Callable[[int, int, NDArray[np.uint16]], None]


class CameraDriver:
    """Takes images of the twin as simDetector of areaDetector does.

    It counts, stamps each image with the end of its exposure, and passes it on. What an image shows is computed by the
    camera of the simulated beamline.

    Parameters
    ----------
    source : SimulatedSource
        What exposes.
    loop : asyncio.AbstractEventLoop
        In which the records live.
    exposure_s, period_s : float
        At the start, in s.

    References
    ----------
    ADBase of areaDetector's ADCore: https://areadetector.github.io/areaDetector/ADCore/ADDriver.html
    """

    def __init__(
        self,
        source: SimulatedSource,
        loop: asyncio.AbstractEventLoop,
        *,
        exposure_s: float,
        period_s: float,
    ) -> None:
        self._source, self._loop = source, loop
        #: Gets the number of each image, the end of its exposure in ns since the epoch, and its pixels.
        self.images: list[Image] = []
        height, width = source.twin.shape
        self._records: dict[str, Record] = {}
        for name, value, low, high in (
            ("AcquireTime", exposure_s, 1e-5, 60.0), ("AcquirePeriod", period_s, 0.0, 3600.0), ("NumImages", 1, 1, 10**9),
            ("ArrayCounter", 0, 0, 2**31 - 1), ("MinX", 0, 0, width - 1), ("MinY", 0, 0, height - 1),
            ("SizeX", width, 1, width), ("SizeY", height, 1, height), ("BinX", 1, 1, 4), ("BinY", 1, 1, 4),
        ):  # fmt: skip
            self._pair(name, value, limits=(low, high), precision=6)
        self._pair("ImageMode", _MODES.index("Continuous"), choices=_MODES)
        self._pair("TriggerMode", 0, choices=("Internal",))
        at_start: tuple[tuple[str, Value, tuple[str, ...]], ...] = (
            ("Acquire_RBV", 0, ("Done", "Acquiring")), ("DetectorState_RBV", 0, _STATES),
            ("MaxSizeX_RBV", width, ()), ("MaxSizeY_RBV", height, ()), ("StatusMessage_RBV", "", ()),
            ("Manufacturer_RBV", "Concertino", ()), ("Model_RBV", "twin", ()), ("SerialNumber_RBV", "1", ()),
            ("SDKVersion_RBV", "1", ()), ("FirmwareVersion_RBV", "1", ()),
        )  # fmt: skip
        for record in array_records((height, width)):
            self._add(record)
        for name, told, choices in at_start:
            self._add(Record(name, told, choices=choices))
        self._add(Record("Acquire", 0, choices=("Done", "Acquire"), put=self._acquire))
        self._add(plain("WaitForPlugins", 0, choices=("No", "Yes")))
        self._add(plain("ArrayCallbacks", 1, choices=("Disable", "Enable")))
        self._add(Record("Fault", 0, choices=tuple(CAMERA_FAULTS), put=self._fail))
        self._taking: threading.Thread | None = None
        self._stopped = threading.Event()

    def records(self) -> Iterator[Record]:
        """Yield the records, without the driver's prefix."""
        yield from self._records.values()

    def _add(self, record: Record) -> None:
        self._records[record.name] = record

    def _pair(self, name: str, value: Value, **told: object) -> None:
        """Add a setting and its read-back, which is within the limits."""
        record = plain(name, value, **told)
        back = Record(f"{name}_RBV", value, **told)  # type: ignore[arg-type]

        async def follow(changed: Record) -> None:
            low, high = changed.limits or (0, len(changed.choices) - 1)
            kind = type(back.value)
            await back.set(kind(min(max(changed.number, low), high)))

        record.listen(follow)
        self._add(record)
        self._add(back)

    def _number(self, name: str) -> float:
        return self._records[f"{name}_RBV"].number

    async def _fail(self, value: Value) -> None:
        await self._records["Fault"].set(value)
        self._source.faults = CAMERA_FAULTS[self._records["Fault"].word]

    async def _acquire(self, value: Value) -> None:
        await self._records["Acquire"].set(value)
        if not value:
            self._stopped.set()
            self._source.stop()
        elif self._taking is None:
            self._stopped.clear()
            await self._records["Acquire_RBV"].set(1)
            await self._records["DetectorState_RBV"].set(_STATES.index("Acquire"))
            done = asyncio.Event()
            self._taking = threading.Thread(
                target=self._take, args=(done,), name="camera", daemon=True
            )
            self._taking.start()
            # The put of a client is done when it acquires no more, as that of a busy record.
            await done.wait()

    def _settings(self) -> CameraSettings:
        exposure_s = self._number("AcquireTime")
        period_s = max(self._number("AcquirePeriod"), exposure_s)
        column, row, width, height = (
            int(self._number(name)) for name in ("MinX", "MinY", "SizeX", "SizeY")
        )
        sensor_height, sensor_width = self._source.twin.shape
        region = Region(
            row, column, min(height, sensor_height - row), min(width, sensor_width - column)
        )
        return CameraSettings(
            exposure_s,
            1 / period_s,
            {"region": region, "binning": int(self._number("BinX"))},
        )

    def _take(self, done: asyncio.Event) -> None:
        """Take one acquisition, in a thread of its own."""
        mode = self._records["ImageMode_RBV"].word
        most = {"Single": 1, "Multiple": int(self._number("NumImages")), "Continuous": None}[mode]
        state, said = "Idle", ""
        try:
            settings, first = self._settings(), int(self._number("ArrayCounter"))
            # The noise goes on by the counter, so that no two images of a sample have the same.
            self._source.prepare(FrameRequest(most, kind="images", first=first), settings)
            height, width = self._source.shape
            self._publish(("ArraySizeX_RBV", width), ("ArraySizeY_RBV", height))
            if not self._stopped.is_set():
                self._expose(most, settings.exposure_s)
        except (CameraError, ParameterError) as error:
            state, said = "Error", str(error)[:39]
        finally:
            self._source.stop()
            self._taking = None
            self._publish(
                ("StatusMessage_RBV", said), ("DetectorState_RBV", _STATES.index(state)),
                ("Acquire", 0), ("Acquire_RBV", 0),
            )  # fmt: skip
            self._loop.call_soon_threadsafe(done.set)

    def _expose(self, most: int | None, exposure_s: float) -> None:
        out = np.empty((1, *self._source.shape), np.uint16)
        self._source.start()
        taken = 0
        while not self._stopped.is_set() and (most is None or taken < most):
            grab = self._source.grab(out)
            lost, came = len(grab.dropped), len(grab.numbers)
            taken += lost + came
            if not lost + came:
                continue
            number = int(self._number("ArrayCounter")) + lost + came
            self._publish(("ArrayCounter", number))
            if came:
                end_ns = int(grab.timestamps[0]) + round(exposure_s * 1e9 / 2)
                for image in self.images:
                    image(number, end_ns, out[0])

    def _publish(self, *changes: tuple[str, Value]) -> None:
        """Change records; returns when clients that ask get the new values."""

        async def change() -> None:
            for name, value in changes:
                await self._records[name].set(value)

        asyncio.run_coroutine_threadsafe(change(), self._loop).result(LOOP_S)
