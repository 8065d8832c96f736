"""Take an imaging scan with its devices: checked, rehearsed, pausable, with metadata and a safe end."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from bluesky.protocols import Movable, Readable
from bluesky.utils import MsgGenerator

from concertino import ParameterError
from concertino.frames import RecordingTrigger
from concertino.plans.core._cameras import Cameras, CameraSet, camera_set, check_requests_of
from concertino.plans.core._device_queries import ends_where_only_a_run_can_tell
from concertino.plans.core._frame_values import frame_values
from concertino.plans.core._offers import name_of
from concertino.plans.core._parameters import check_devices, check_motor, motor_position, motor_unit
from concertino.plans.core._protocols import TriggerDevice
from concertino.plans.core._roles import check_roles
from concertino.plans.rehearsal._preflight import checked_run
from concertino.plans.run._interruptible import Interruptible
from concertino.plans.run._metadata import check_md, imaging_metadata, quantity
from concertino.plans.run._pause_request import PauseRequest
from concertino.plans.run._resume_context import ResumeContext, scan_so_far
from concertino.plans.run._run import imaging_run
from concertino.plans.run._segments import AcquisitionSegment, RemainingFrames, Take, Visit
from concertino.plans.safety._safety import motor_off, run_safely
from concertino.plans.stubs._frames import move_together
from concertino.plans.stubs._scan_setup import ScanSetup

from ._acquisition import Acquisition, Ready
from ._checked_take import checked_take
from ._imaging_scan import ImagingScan
from ._scan_values import MotorPosition

#: What the `TomoBlock` says when no acquisition says otherwise.
_NO_TOMOGRAPHY = {"scheme": "radiography", "acquisition": "single"}
#: Where axes go, in their unit.
_Places = Sequence[tuple[Any, float]]


@ends_where_only_a_run_can_tell
def take_scan(
    scan: ImagingScan,
    camera: Cameras | CameraSet,
    beam: Movable[Any],
    sample_stage: Movable[Any],
    motors: Mapping[str, Movable[Any]] | None = None,
    *,
    trigger: TriggerDevice | RecordingTrigger | Readable[Any] | None = None,
    per_frame: Sequence[Readable[Any]] = (),
    md: Mapping[str, Any] | None = None,
    found: dict[str, Any] | None = None,
) -> MsgGenerator[str]:
    """Take an imaging scan as one run; every imaging plan does so.

    Parameters
    ----------
    scan : ImagingScan
        What is taken.
    camera : device, sequence of devices, or CameraSet
        The camera, with a frame stream, or several that expose together. Frames are read out later if the scan
        or the set says so.
    beam, sample_stage : device
        What every scan uses.
    motors : mapping of str to device, optional
        What moves besides, by its part: ``{"rotation": …}``.
    trigger : device, optional
        What starts the exposures, if the scan says that a device does.
    per_frame : sequence of Readable
        Signals of which each frame of the first camera has a value.
    md : mapping, optional
        Metadata for the run.
    found : dict, optional
        Is given what acquisitions measure, by the plans that look at frames.

    Returns
    -------
    str
        The run's uid.

    Raises
    ------
    ParameterError
        If something cannot work; nothing has moved then.

    Examples
    --------
    >>> from concertino.devices import SimulatedBeamline
    >>> from concertino.plans import Darks, ImagingScan, Radiographs, take_scan
    >>> b = SimulatedBeamline(shape=(16, 16))
    >>> scan = ImagingScan(acquisitions=[Darks(number=5), Radiographs(number=20)],
    ...                    radio_position="0 mm", flat_position="1 cm")
    >>> plan = take_scan(scan, b.camera, b.beam, b.sample_stage)
    """
    if not isinstance(scan, ImagingScan):
        raise ParameterError(
            f"scan: {scan!r} was given. Give an ImagingScan; of a start document, ImagingScan.from_start(start)."
        )
    if motors is not None and not isinstance(motors, Mapping):
        raise ParameterError(
            f"motors: {name_of(motors)} was given. Give a mapping of each part to its motor, such as {{'rotation': rotation}}."
        )
    parts: dict[str, Any] = dict(motors or {})
    cameras = camera_set(camera, scan.readout)
    if scan.readout == "later":  # What is set counts, be it for the scan or for a set of cameras.
        cameras = replace(cameras, readout="later")
    scan = scan.model_copy(update={"readout": cameras.readout})
    check_md(md)
    check_devices(beam, sample_stage)
    _check_parts(scan, parts)
    _check_trigger(scan, trigger)
    cameras = replace(cameras, values=(yield from frame_values(per_frame, cameras.first)))
    yield from check_roles(beam, {"sample_stage": sample_stage, **parts})
    so_far = yield from scan_so_far()
    if so_far.missing is not None:
        cameras.check_one("a scan of several cannot be resumed")
    setup = ScanSetup(
        cameras, beam, sample_stage, parts, trigger, scan.on_lost,
        (yield from motor_position(sample_stage, scan.radio_position.asked, "radio_position")),
        (yield from motor_position(sample_stage, scan.flat_position.asked, "flat_position")),
        tuple(scan.frames), {} if found is None else found,
    )  # fmt: skip
    taking = _Taking(scan, setup, so_far)
    yield from taking.get_ready((yield from motor_unit(sample_stage)))
    metadata = yield from taking.metadata(md)
    yield from so_far.check(metadata)
    uid = yield from checked_run(taking.run, metadata, scan.max_blur)
    yield from taking.go_back()
    return uid


def _check_parts(scan: ImagingScan, motors: Mapping[str, Any]) -> None:
    for part, velocity in scan.motors.items():
        if part not in motors:
            raise ParameterError(
                f"motors: {part} is not among {', '.join(motors) or 'none'}. Give what moves as {part}, too."
            )
        check_motor(motors.get(part), part, velocity=velocity)
    unused = [part for part in motors if part not in scan.motors]
    if unused:
        raise ParameterError(
            f"motors: {', '.join(unused)} was given, which nothing of the scan moves; it has "
            f"{', '.join(scan.motors) or 'the sample_stage only'}. Leave it out."
        )


def _check_trigger(scan: ImagingScan, trigger: object) -> None:
    if trigger is not None and not scan.needs_trigger:
        raise ParameterError(
            f"trigger: {name_of(trigger)} was given, and no acquisition of the scan is started by a device. Leave it "
            "out, or give the acquisition trigger='device'."
        )


@dataclass
class _Taking:
    """A scan that is taken, and what its acquisitions found out about their devices."""

    scan: ImagingScan
    setup: ScanSetup
    so_far: ResumeContext
    ready: Sequence[Ready] = ()

    def get_ready(self, unit: str) -> MsgGenerator[None]:
        """Ask the devices what is to be known; leave nothing of the scan open."""
        setup, ready = self.setup, []
        for acquisition in self.scan.acquisitions:
            ready.append(_checked(acquisition, (yield from acquisition.ready(setup))))
        self.ready = ready
        self.scan = self.scan.model_copy(
            update={
                "acquisitions": tuple(each.value for each in ready),
                "radio_position": MotorPosition(setup.radio, unit),
                "flat_position": MotorPosition(setup.flat, unit),
            }
        )
        triggers = {each.value.stream: each.trigger for each in ready}
        largest: dict[str, int] = {}
        for visit in self.scan.visits:
            count = visit.stop - visit.first
            largest[visit.stream] = max(count, largest.get(visit.stream, 0))
        for stream, count in largest.items():
            trigger = triggers[stream]
            yield from check_requests_of(setup.cameras, count, stream, trigger, setup.on_lost)

    def metadata(self, md: Mapping[str, Any] | None) -> MsgGenerator[dict[str, Any]]:
        """Return the start document to be."""
        scan, frames, setup = self.scan, self.scan.frames, self.setup
        tomo: dict[str, Any] = {
            **_NO_TOMOGRAPHY,
            "num_projections": frames.get("projections", 0),
            "image_kinds": scan.image_kinds,
        }
        told: dict[str, Any] = {}
        more: dict[str, Any] = {}
        for each in self.ready:
            # What is not taken has no angles.
            without = () if each.value.stream in frames else ("angles_deg",)
            tomo |= {key: value for key, value in each.tomo.items() if key not in without}
            told |= each.plan_args
            more |= each.metadata
        return (
            yield from imaging_metadata(
                scan.plan,
                setup.cameras,
                setup.beam,
                self._motors,
                {
                    "radio_position": quantity(*_pair(scan.radio_position)),
                    "flat_position": quantity(*_pair(scan.flat_position)),
                    **{f"num_{stream}": scan.of(stream).count for stream in frames},
                    **told,
                    "order": list(scan.order),
                    "on_lost": scan.on_lost,
                    **({} if scan.readout == "direct" else {"readout": scan.readout}),
                    **(
                        {}
                        if setup.cameras.values is None
                        else {"per_frame": setup.cameras.values.names}
                    ),
                    **(
                        {} if scan.max_blur is None else {"max_blur": quantity(scan.max_blur, "px")}
                    ),
                },
                self._work().announced(),
                tomo=tomo,
                scan=scan.to_json(),
                md={**more, **self.so_far.metadata, **(md or {})},
            )
        )

    def run(self, md: Mapping[str, Any], rehearsed: bool) -> MsgGenerator[str]:
        """Return the run, or what is rehearsed of it."""
        setup, axes = self.setup, [*self.setup.motors.values(), self.setup.sample_stage]
        hold = None if rehearsed else self.so_far.hold  # Nobody holds a rehearsal.
        why_no_pause = self._why_no_pause()
        frames_of = Interruptible(
            setup.cameras.first, self._takes(), self._work(), hold,
            may_pause=not why_no_pause, axes=axes,
        )  # fmt: skip
        plan = imaging_run(
            frames_of.blocks(),
            camera=setup.cameras,
            beam=setup.beam,
            motors=axes,
            restore=[
                frames_of.flag_spoiled,
                *(end for each in self.ready for end in each.restore),
                *(() if setup.cameras.values is None else (setup.cameras.values.stopped,)),
            ],
            md=md,
        )
        return plan if hold is None else _heard(plan, hold, why_no_pause)

    def go_back(self) -> MsgGenerator[None]:
        """Bring axes back when the run is closed: its data do not wait for that."""
        last, missing = self.scan.visits[-1].stream, self.so_far.missing
        places = next(each for each in self.ready if each.value.stream == last).afterwards
        # The rest of a scan that has them all moves nothing back.
        if places and (missing is None or missing.get(last)):
            yield from run_safely(
                move_together(*places), *(partial(motor_off, axis) for axis, _ in places)
            )

    @property
    def _motors(self) -> dict[str, Any]:
        return {"sample_stage": self.setup.sample_stage, **self.setup.motors}

    def _work(self) -> RemainingFrames:
        scan, so_far = self.scan, self.so_far
        return RemainingFrames(
            scan.visits, so_far.missing, so_far.names, whole=scan.whole, averaged=scan.averaged
        )

    def _takes(self) -> dict[str, Take]:
        """Return what takes a piece of each stream; all but the last visit bring their axes back."""
        takes: dict[str, Take] = {}
        last = self.scan.visits[-1]
        for each in self.ready:
            stream = each.value.stream
            take: Take = partial(checked_take, each.value, partial(each.take, self.setup))
            if each.afterwards:
                take = partial(_and_back, take, each.afterwards, last)
            for other in self.ready:
                take = take if other.around is None else other.around(stream, take)
            takes[stream] = take
        return takes

    def _why_no_pause(self) -> str:
        """Return why a run cannot pause between frames; nothing if it can."""
        cameras = self.setup.cameras
        if cameras.others:
            names = ", ".join(camera.name for camera in cameras.cameras)
            return f"several cameras ({names}) would not agree on which frames are missing"
        if cameras.readout != "direct":
            return f"{cameras.first.name} records its frames first and reads them out later"
        if not self.scan.pauses:
            return f"{self.scan.plan} takes its frames as a whole"
        return ""


def _checked(acquisition: Acquisition, ready: object) -> Ready:
    """Return what an acquisition returned when it was asked to be ready, if it is that."""
    kind = type(acquisition).__name__
    if not isinstance(ready, Ready):
        raise ParameterError(
            f"acquisitions: the ready of {kind} returned {ready!r}. Have it return a Ready."
        )
    if not isinstance(ready.tomo, Mapping):
        raise ParameterError(
            f"acquisitions: the tomo of {kind} returned {ready.tomo!r}. Have it return fields of a TomoBlock, by name."
        )
    return ready


def _pair(place: MotorPosition) -> tuple[float, str]:
    return place.value, place.unit


def _and_back(
    take: Take, places: _Places, last: Visit, piece: AcquisitionSegment, hold: PauseRequest | None
) -> MsgGenerator[bool]:
    """Take frames and move back, unless nothing comes after: flats are of the sample as it stood before."""
    whole = yield from take(piece, hold)
    if piece.base != last.stream or piece.first < last.first:
        yield from move_together(*places)
    return whole


def _heard(plan: MsgGenerator[str], hold: PauseRequest, why_no_pause: str) -> MsgGenerator[str]:
    """Run a plan that hears a switch, or cannot; what was asked before waits for it."""
    if why_no_pause:
        yield from hold.wait()
    with hold.scanning(why_no_pause):
        return (yield from plan)
