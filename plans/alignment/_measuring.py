"""Runs in which numbers are read at points."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import bluesky.plan_stubs as bps
from bluesky import Msg
from bluesky.protocols import HasHints, Stageable
from bluesky.utils import MsgGenerator, short_uid

from concertino import ParameterError
from concertino.frames import FrameRequest
from concertino.plans.core._awaited import OfARun
from concertino.plans.core._cameras import camera_set, collect_ledgers
from concertino.plans.core._device_queries import outcome
from concertino.plans.core._parameters import check_motor, check_request
from concertino.plans.core._roles import check_beam, check_roles
from concertino.plans.run._run import Block, imaging_run
from concertino.plans.safety._safety import Cleanup, beam_off, beam_on

from ._image_measure import ImageMeasure, check_measures

FRAMES = "frames"
PRIMARY = "primary"


@dataclass
class Measuring:
    """What is read at each point, and with what.

    Parameters
    ----------
    measures : sequence of device
        What is read.
    motors : sequence of device
        What moves, and is read along.
    beam : device, optional
        On from the first point to the last.
    """

    measures: Sequence[Any]
    motors: Sequence[Any]
    beam: Any = None
    camera: Any = None
    exposures: int = 0
    _staged: list[Any] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.measures = check_measures(self.measures)
        for motor in self.motors:
            check_motor(motor, "motor")
        if self.beam is not None:
            check_beam(self.beam)
        for measure in self.measures:
            if isinstance(measure, ImageMeasure):
                self.camera, self.exposures = measure.camera, measure.frames

    @property
    def pausable(self) -> bool:
        """Whether a pause does no harm: no frame can be taken twice, no beam stays on."""
        return self.camera is None and self.beam is None

    def check(self) -> MsgGenerator[None]:
        """Ask the devices whether they can do it.

        Raises
        ------
        ParameterError
            If the beam is none, or a motor.
        CameraError
            If it cannot.
        """
        yield from check_roles(self.beam, {f"motor {motor.name}": motor for motor in self.motors})
        if self.camera is not None:
            yield from check_request(self.camera, FrameRequest(None, FRAMES, trigger="software"))

    def run(
        self, block: Block, md: Mapping[str, Any], restore: Sequence[Cleanup] = ()
    ) -> MsgGenerator[str]:
        """Run a block, whose points are taken with `take`, as one run with a safe end."""

        def acquisition() -> MsgGenerator[None]:
            yield from self._begin()
            yield from block()
            yield from self._end()

        names = [device.name for device in self.measures]
        metadata = {
            "detectors": names if self.camera is None else [*names, self.camera.name],
            "motors": [motor.name for motor in self.motors],
            **md,
        }
        return (
            yield from imaging_run(
                [acquisition],
                camera=self.camera,
                beam=self.beam,
                motors=self.motors,
                restore=[self._unstage, *restore],
                md=metadata,
            )
        )

    def take(self, *, last: bool = False) -> MsgGenerator[dict[str, Any]]:
        """Read everything once, after taking the frames that it needs; return all readings.

        Each frame has an event with the motors in the stream ``frames``, each point one in
        ``primary``. After the `last` point's frames the beam goes off, if nothing but frames is measured.
        """
        frames_only = all(isinstance(measure, ImageMeasure) for measure in self.measures)
        for number in range(1, self.exposures + 1):
            exposed = short_uid("exposed")
            yield Msg("trigger", self.camera, group=exposed)
            yield Msg("wait", None, group=exposed)
            if last and frames_only and number == self.exposures and self.beam is not None:
                yield from beam_off(self.beam)
            yield Msg("create", None, name=FRAMES)
            for device in (*self.motors, self.camera):
                yield Msg("read", device)
            yield Msg("save")
        devices = [*self.motors, *self.measures]
        readings: dict[str, Any] = yield from bps.trigger_and_read(devices, name=PRIMARY)
        return readings

    def value(self, readings: Mapping[str, Any]) -> MsgGenerator[float]:
        """Return the first measure's number out of the readings of a point.

        A RunEngine that was suspended at the point has kept the reading to itself: it is read again.

        Raises
        ------
        ParameterError
            If it gives none.
        """
        measure = self.measures[0]
        fields = ((measure.hints if isinstance(measure, HasHints) else None) or {}).get(
            "fields"
        ) or [measure.name]
        if fields[0] not in readings:
            readings = yield from outcome(OfARun(measure.read, f"{measure.name} was read"))
        try:
            return float(readings[fields[0]]["value"])
        except (KeyError, TypeError, ValueError):
            raise ParameterError(
                f"measure: {measure.name} gives no number as {fields[0]!r}. Give a device whose first "
                "hinted field is a number."
            ) from None

    def _begin(self) -> MsgGenerator[None]:
        for device in (*self.measures, *self.motors):
            if isinstance(device, Stageable):
                self._staged.append(device)
                yield from bps.stage(device, wait=True)
        if self.camera is not None:
            request = FrameRequest(None, FRAMES, trigger="software")
            yield from bps.stage(self.camera, wait=True)
            yield from bps.prepare(self.camera, request, wait=True)
            yield from bps.declare_stream(self.camera, *self.motors, name=FRAMES)
        yield from bps.declare_stream(*self.motors, *self.measures, name=PRIMARY)
        if self.beam is not None:
            yield from beam_on(self.beam)

    def _end(self) -> MsgGenerator[None]:
        if self.beam is not None:
            yield from beam_off(self.beam)
        if self.camera is not None:
            yield from bps.complete(self.camera, wait=True)
            yield from bps.unstage(self.camera, wait=True)
            yield from collect_ledgers(camera_set(self.camera))

    def _unstage(self) -> MsgGenerator[None]:
        while self._staged:
            yield from bps.unstage(self._staged[-1], wait=True)
            self._staged.pop()
