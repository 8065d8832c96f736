"""The angle of each projection of a sweep: from an encoder, or computed from time and velocity."""

import asyncio
import math
import time
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import numpy as np
from bluesky.protocols import EventPageCollectable
from bluesky.utils import maybe_await
from event_model import DataKey, PartialEventPage
from numpy.typing import NDArray

from concertino import DeviceError
from concertino._clocks import CameraTimes, ClockCalibration, EncoderTimes, HostTimes
from concertino.plans.core._offers import HasClock, HasEncoder, HasResolution, TellsExposures
from concertino.plans.core._protocols import PositionEncoder
from concertino.plans.core._readback import Readback, TimedPosition

from ._asked_angles import AnglesCompared, AskedAngles

_KEYS: Mapping[str, tuple[Any, str, str]] = {
    "projection": ("integer", "<i8", ""),
    "angle": ("number", "<f8", "deg"),
    "uncertainty": ("number", "<f8", "deg"),
    "source": ("string", "<U16", ""),
}
_TRIES = 5
#: A read-back that does not change for so long, in s, belongs to an axis that is at rest.
_CHANGES_S = 2.0
_PAUSE_S = 0.002
_ROWS = 256  # of a page
_READINGS_BEFORE = 64  # of the encoder that are kept from before the newest frame


class SweepAngles(EventPageCollectable):
    """Collects the angles of the projections that were exposed since the last time.

    An encoder's readings are interpolated at the middle of each exposure, both clocks being related to the
    computer's. Without one, the angle is where the axis was read when the camera had started, and the
    velocity times the time from then on.

    Parameters
    ----------
    camera : FrameCamera
        Takes the projections.
    axis : device
        The rotation.
    velocity : float
        Of the axis, in its unit per second, with its sign.
    per_degree : float
        What 1 deg is in the axis' unit.
    first : int
        Projection of the scan that the camera's first frame is.
    """

    parent = None

    def __init__(
        self, camera: Any, axis: Any, velocity: float, per_degree: float, first: int = 0
    ) -> None:
        self._camera, self._axis = camera, axis
        self._velocity, self._per_degree, self._first = velocity, per_degree, first
        self.encoder = encoder_of(axis)
        self._camera_clock = ClockCalibration(
            CameraTimes, camera.clock if isinstance(camera, HasClock) else None
        )
        self._encoder_clock = ClockCalibration(
            EncoderTimes, None if self.encoder is None else self.encoder.clock
        )
        self._done = 0
        self._times, self._positions, self._recorded = np.empty(0), np.empty(0), 0
        self._anchor: TimedPosition | None = None
        self.asked: AskedAngles | None = None
        self.comparison = AnglesCompared(f"{self.name}-asked")
        self._last: float | None = None

    def expect(self, step: float, count: int, last: float) -> None:
        """Know what the sweep is to give.

        Parameters
        ----------
        step : float
            From projection to projection, in the axis' unit, with its sign.
        count : int
            Projections.
        last : float
            Where the axis stops, in its unit: it is nowhere beyond, however late a frame is.
        """
        velocity = self._velocity / self._per_degree
        self._last = last
        self.asked = AskedAngles(step / self._per_degree, count, velocity)

    def of_piece(self, first: int, trigger: Any = None) -> "SweepAngles":
        """Return what collects the angles of another sweep of the axis, from a projection on."""
        return SweepAngles(self._camera, self._axis, self._velocity, self._per_degree, first)

    @property
    def name(self) -> str:
        """Name in messages."""
        return f"{self._axis.name}-angles"

    @property
    def source(self) -> str:
        """Where the angles come from: ``"encoder"`` or ``"computed"``."""
        return "computed" if self.encoder is None else "encoder"

    async def begin(self) -> None:
        """Have the encoder record, before the axis moves."""
        if self.encoder is not None:
            await _asked(self._axis, self.encoder.start_recording)

    async def started(self, anchor: TimedPosition | None = None) -> None:
        """Note where the axis is, now that the camera exposes.

        Parameters
        ----------
        anchor : TimedPosition, optional
            Where it was seen at speed, if it tells too seldom to be asked again.
        """
        await self._look()
        if self.encoder is None:
            self._anchor = anchor or await self._read()

    async def _read(self) -> TimedPosition:
        """Return where the axis is: its read-back changes while it moves."""
        readback, until_s = Readback(self._axis), time.time() + _CHANGES_S
        while len(readback.changes) < _TRIES and time.time() < until_s:
            if not await readback.look() and readback.repeats:
                if readback.changes:
                    break
                await asyncio.sleep(_PAUSE_S)
        return min(readback.changes, key=lambda place: place.half_s, default=readback.here())

    async def end(self) -> None:
        """Have the encoder record no more."""
        if self.encoder is not None:
            await _asked(self._axis, self.encoder.stop_recording)

    def describe_collect(self) -> dict[str, DataKey]:
        """Describe the columns."""
        source, described = f"{self._axis.name} and {self._camera.name}", {}
        for key, (dtype, dtype_numpy, unit) in _KEYS.items():
            described[key] = DataKey(source=source, shape=[], dtype=dtype, dtype_numpy=dtype_numpy)
            if unit:
                described[key]["units"] = unit
        return described

    async def collect_pages(self) -> AsyncIterator[PartialEventPage]:
        """Yield pages with the projections that are new, so short that the loop is not held up."""
        numbers, times_ns = await maybe_await(self._camera.exposures(self._done))
        if not len(numbers):
            return
        await self._look()
        await self._learn()
        for start in range(0, len(numbers), _ROWS):
            part = slice(start, start + _ROWS)
            yield self._page(np.asarray(numbers[part]), CameraTimes(times_ns[part]))
            await asyncio.sleep(0)

    def _page(self, numbers: NDArray[np.int64], shown: CameraTimes) -> PartialEventPage:
        host, spread_s = self._camera_clock.to_host(shown)
        positions, spread = self._at(numbers, host, spread_s)
        self._done += len(numbers)
        if self.asked is not None:
            self.asked.got(numbers, positions / self._per_degree, spread / abs(self._per_degree))
        now = time.time()
        data: dict[str, list[Any]] = {
            "projection": (numbers + self._first).tolist(),
            "angle": (positions / self._per_degree).tolist(),
            "uncertainty": (spread / abs(self._per_degree)).tolist(),
            "source": [self.source] * len(numbers),
        }
        when_s = host.seconds.tolist()
        return PartialEventPage(
            data=data,
            timestamps=dict.fromkeys(data, when_s),
            time=[now] * len(numbers),
        )

    def _at(
        self,
        numbers: NDArray[np.int64],
        host: HostTimes,
        spread_s: NDArray[np.float64],
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the axis' positions at some frames, and their uncertainty, in its unit."""
        if self.encoder is None:
            return self._computed(host, spread_s)
        return self._interpolated(self.encoder, host, spread_s)

    async def _look(self) -> None:
        await self._camera_clock.look()
        await self._encoder_clock.look()

    def _computed(
        self, host: HostTimes, spread_s: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        if self._anchor is None:
            raise DeviceError(
                f"The angles of {self._axis.name} were asked for before its start. Ask for them "
                "when the sweep has begun."
            )
        anchor = self._anchor
        spread = abs(self._velocity) * np.hypot(anchor.half_s / math.sqrt(3), spread_s)
        where = anchor.position + self._velocity * (host.seconds - anchor.when_s)
        if self._last is not None:
            where = (np.minimum if self._velocity > 0 else np.maximum)(where, self._last)
        return where, spread

    async def _learn(self) -> None:
        """Take what the encoder, if there is one, has recorded since the last time."""
        encoder = self.encoder
        if encoder is None:
            return
        times, positions = await _asked(self._axis, lambda: encoder.recorded(self._recorded))
        self._recorded += len(times)
        self._times = np.concatenate([self._times, times])
        self._positions = np.concatenate([self._positions, positions])
        if len(self._times) < 2:
            raise DeviceError(
                f"The encoder of {self._axis.name} recorded {len(self._times)} positions during the "
                "sweep, and an angle wants two; check that it records, and its rate."
            )

    def _interpolated(
        self,
        encoder: PositionEncoder,
        host: HostTimes,
        spread_s: NDArray[np.float64],
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        when, own_spread_s = self._encoder_clock.of_host(host)
        when_s = when.seconds
        after = np.clip(np.searchsorted(self._times, when_s), 1, len(self._times) - 1)
        before = after - 1
        step = self._times[after] - self._times[before]
        share = (when_s - self._times[before]) / step  # beyond the last reading: goes straight on
        rise = self._positions[after] - self._positions[before]
        beyond = np.clip(share - 1, 0, None) * np.abs(rise)
        resolution = float(encoder.resolution) if isinstance(encoder, HasResolution) else 0.0
        spread = np.sqrt(
            (self._velocity * np.hypot(spread_s, own_spread_s)) ** 2
            + resolution**2 / 12 + beyond**2
        )  # fmt: skip
        found = self._positions[before] + share * rise
        # Later frames are later: what is long before them is not wanted again.
        known = min(max(0, int(before.min()) - _READINGS_BEFORE), len(self._times) - 2)
        self._times, self._positions = self._times[known:], self._positions[known:]
        return found, spread


def encoder_of(axis: object) -> PositionEncoder | None:
    """Return the encoder of an axis, if it has one that records by a clock."""
    encoder = axis.encoder if isinstance(axis, HasEncoder) else None
    return encoder if isinstance(encoder, PositionEncoder) else None


def tells_exposures(camera: object) -> bool:
    """Whether a camera can say when each frame was exposed."""
    return isinstance(camera, TellsExposures)


async def _asked(axis: Any, question: Callable[[], Any]) -> Any:
    try:
        return await maybe_await(question())
    except DeviceError:
        raise
    except Exception as error:
        raise DeviceError(
            f"The encoder of {axis.name} failed: {type(error).__name__}: {error}"
        ) from error
