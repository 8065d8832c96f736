"""Building blocks: take the frames of one stream."""

import itertools
import time
from collections.abc import Sequence
from typing import Any, Literal

import bluesky.plan_stubs as bps
from bluesky import Msg
from bluesky.utils import MsgGenerator, short_uid

from concertino import CameraError
from concertino.frames import PulseTrain
from concertino.plans.core._arrival import Steps, arriving
from concertino.plans.core._awaited import names_of
from concertino.plans.core._cameras import (
    CameraSet,
    OnLost,
    camera_set,
    wait_briefly,
)
from concertino.plans.core._deadlines import deadlines
from concertino.plans.core._device_queries import run_in_loop
from concertino.plans.core._offers import HasExposure
from concertino.plans.core._parameters import read_number
from concertino.plans.core._protocols import Beam, FrameCamera, Rotation, Stage, TriggerDevice
from concertino.plans.run._pause_request import PauseRequest
from concertino.plans.safety._safety import beam_off

from ._taking import Taking


def take_frames(
    camera: FrameCamera | Sequence[FrameCamera] | CameraSet,
    count: int,
    stream: str,
    *,
    on_lost: OnLost = "fail",
    trigger: Literal["internal", "edge"] = "internal",
    beam: Beam | None = None,
    hold: PauseRequest | None = None,
) -> MsgGenerator[bool]:
    """Take frames at the cameras' own pace, or at that of pulses at their inputs, all together.

    Must be an acquisition of `imaging_run`, which ends the stream when this fails.

    Parameters
    ----------
    camera : FrameCamera, sequence of FrameCamera, or CameraSet
        The camera or cameras.
    count : int
        Number of frames of each.
    stream : str
        Name of the first camera's document stream; of a segment, such as ``projections_from_00057``, when it
        continues another.
    on_lost : {"fail", "flag"}
        What lost frames do.
    trigger : {"internal", "edge"}
        Who starts an exposure.
    beam : Beam, optional
        Switched on when all is prepared and described, and off as soon as nothing is exposed any more:
        before slow subscribers have stored the frames, and before they are read out of a memory.
    hold : PauseRequest, optional
        Ends the stream early when it asks for a pause, if one camera is read out directly.

    Returns
    -------
    bool
        False if it was ended early.
    """
    cameras = camera_set(camera)
    taking = Taking(cameras, count, stream, on_lost, trigger, beam, hold)
    yield from taking.open()
    yield from taking.light()
    yield from taking.start()
    yield from taking.expose()
    while (yield from taking.flush()):
        if taking.held:
            yield from taking.end_early()
    return (yield from taking.finish())


def take_stepped_frames(
    camera: FrameCamera | Sequence[FrameCamera] | CameraSet,
    rotation: Rotation,
    angles: Sequence[float],
    stream: str,
    *,
    along: Sequence[tuple[Any, Sequence[float]]] = (),
    on_lost: OnLost = "fail",
    hold: PauseRequest | None = None,
    pulses: TriggerDevice | None = None,
    beam: Beam | None = None,
) -> MsgGenerator[bool]:
    """Take one frame at each angle, and save the rotation's read-back with it.

    While a frame becomes safe the rotation moves on. Of several cameras all expose at each angle; the
    events, with the read-backs, are in the first one's stream.

    Parameters
    ----------
    camera : FrameCamera, sequence of FrameCamera, or CameraSet
        The camera or cameras; they take software triggers.
    rotation : Rotation
        In deg; any other motor in its unit.
    angles : sequence of float
        In deg; any other motor's positions in its unit.
    stream : str
        Name of the document stream, or of a segment, as for `take_frames`.
    along : sequence of (motor, sequence of float)
        Motors that step together with the rotation, and as many positions of each.
    on_lost : {"fail", "flag"}
        What lost frames do.
    hold : PauseRequest, optional
        As for `take_frames`; it stops before the next angle.
    pulses : TriggerDevice, optional
        Gives a pulse to the camera's input for each frame, instead of a software trigger.
    beam : Beam, optional
        Switched on when all is prepared and described, and off as soon as the last frame is exposed.

    Returns
    -------
    bool
        False if it was ended early.
    """
    cameras = camera_set(camera)
    axes = [rotation, *(motor for motor, _ in along)]
    points = list(zip(angles, *(positions for _, positions in along), strict=True))
    trigger: Literal["software", "edge"] = "software" if pulses is None else "edge"
    taking = Taking(cameras, len(points), stream, on_lost, trigger, beam, hold)
    yield from taking.open(*axes)
    arrived, exposed = short_uid("arrived"), short_uid("exposed")
    if pulses is not None:
        yield from bps.prepare(pulses, PulseTrain(len(points)), wait=True)
        yield from taking.start()
    yield from taking.light()

    def move_to(point: Sequence[float]) -> MsgGenerator[None]:
        for axis, position in zip(axes, point, strict=True):
            yield Msg("set", axis, position, group=arrived)

    yield from move_to(points[0])
    steps = Steps(axes, points)
    yield from run_in_loop(steps.learn, f"{names_of(axes)} were asked where they are")
    for point, following in itertools.zip_longest(points, points[1:]):
        yield Msg("wait", None, group=arrived)
        arrived_s = time.time()
        if taking.held:
            yield from taking.end_early()
            break
        for each_camera in cameras.cameras:
            yield Msg("trigger", each_camera, group=exposed)
        if pulses is not None:
            yield Msg("trigger", pulses, group=exposed)
            yield from _await_pulse(cameras, exposed, stream)
        else:
            yield Msg("wait", None, group=exposed)
        if following is None:
            yield from taking.darken()
        yield from steps.read(point, stream, arrived_s)
        if following is not None:
            yield from move_to(following)
        yield Msg("read", cameras.first)
        yield Msg("save")
        yield from taking.describe()
    yield from bps.complete_all(*cameras.cameras, wait=True)
    return (yield from taking.finish())


def _await_pulse(cameras: CameraSet, exposed: str, stream: str) -> MsgGenerator[None]:
    """Wait for the frame that a pulse starts; a pulse that got lost is told, not waited for."""
    within_s = deadlines().frame_s
    if isinstance(cameras.first, HasExposure):
        within_s += 2 * (yield from read_number(cameras.first.exposure))
    done = yield from wait_briefly(exposed, within_s)
    if done is False:
        raise CameraError(
            f"Camera {cameras.first.name} was given a pulse for a frame of {stream} and exposed none "
            f"within {within_s:g} s. Check the cable, and that its trigger input is chosen."
        )


def take_darks(
    camera: FrameCamera | Sequence[FrameCamera] | CameraSet,
    beam: Beam,
    count: int,
    *,
    on_lost: OnLost = "fail",
    stream: str = "darks",
    hold: PauseRequest | None = None,
) -> MsgGenerator[bool]:
    """Take frames without beam into the stream ``darks``; tells whether all were taken."""
    yield from beam_off(beam)
    return (yield from take_frames(camera, count, stream, on_lost=on_lost, hold=hold))


def take_flats(
    camera: FrameCamera | Sequence[FrameCamera] | CameraSet,
    beam: Beam,
    sample_stage: Stage,
    flat_position: float,
    count: int,
    *,
    on_lost: OnLost = "fail",
    stream: str = "flats",
    hold: PauseRequest | None = None,
) -> MsgGenerator[bool]:
    """Take frames with beam and without sample into the stream ``flats``.

    Parameters
    ----------
    camera, beam, sample_stage : device
        The devices.
    flat_position : float
        Where the stage holds the sample out of the beam, in the stage's unit.
    count : int
        Number of frames.
    on_lost : {"fail", "flag"}
        What lost frames do.
    stream, hold
        As for `take_frames`.

    Returns
    -------
    bool
        Whether all were taken.
    """
    yield from move_together((sample_stage, flat_position))
    return (yield from take_frames(camera, count, stream, on_lost=on_lost, beam=beam, hold=hold))


def move_together(*moves: tuple[Any, float]) -> MsgGenerator[None]:
    """Move several axes at once, wait for all, and check that they are where they were sent."""

    def move() -> MsgGenerator[None]:
        group = short_uid("together")
        for axis, position in moves:
            yield Msg("set", axis, position, group=group)
        yield Msg("wait", None, group=group)

    yield from arriving(moves, move())
