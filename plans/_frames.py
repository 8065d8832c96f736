"""Building blocks: take the frames of one stream."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal

import bluesky.plan_stubs as bps
from bluesky import Msg
from bluesky.utils import MsgGenerator, short_uid

from concertino.frames import FrameRequest

from ._protocols import Beam, FrameCamera, Rotation, Stage
from ._safety import beam_off, beam_on

OnLost = Literal["fail", "flag"]

_FLUSH_S = 0.25


def take_frames(
    camera: FrameCamera,
    count: int,
    stream: str,
    *,
    on_lost: OnLost = "fail",
    starting: Callable[[], MsgGenerator[Any]] | None = None,
    started: Callable[[], MsgGenerator[Any]] | None = None,
) -> MsgGenerator[None]:
    """Take frames at the camera's own pace.

    Must be an acquisition of `imaging_run`, which ends the stream when this fails.

    Parameters
    ----------
    camera : FrameCamera
        The camera.
    count : int
        Number of frames.
    stream : str
        Name of the document stream.
    on_lost : {"fail", "flag"}
        What lost frames do.
    starting, started : callable, optional
        Return messages to be run just before the camera starts, and once it exposes.
    """
    yield from bps.stage(camera, wait=True)
    yield from bps.prepare(camera, FrameRequest(count, stream, on_lost=on_lost), wait=True)
    yield from bps.declare_stream(camera, name=stream)
    if starting is not None:
        yield from starting()
    yield from bps.kickoff(camera, wait=True)
    if started is not None:
        yield from started()
    yield from bps.collect_while_completing(
        [camera], [camera], flush_period=_FLUSH_S, stream_name=stream
    )
    yield from finish_stream(camera, stream)


def take_stepped_frames(
    camera: FrameCamera,
    rotation: Rotation,
    angles: Sequence[float],
    stream: str,
    *,
    along: Sequence[tuple[Any, Sequence[float]]] = (),
    on_lost: OnLost = "fail",
) -> MsgGenerator[None]:
    """Take one frame at each angle, and save the rotation's read-back with it.

    While a frame becomes safe the rotation moves on.

    Parameters
    ----------
    camera : FrameCamera
        The camera; takes software triggers.
    rotation : Rotation
        In deg; any other motor in its unit.
    angles : sequence of float
        In deg; any other motor's positions in its unit.
    stream : str
        Name of the document stream.
    along : sequence of (motor, sequence of float)
        Motors that step together with the rotation, and as many positions of each.
    on_lost : {"fail", "flag"}
        What lost frames do.
    """
    axes = [rotation, *(motor for motor, _ in along)]
    points = list(zip(angles, *(positions for _, positions in along), strict=True))
    request = FrameRequest(len(points), stream, trigger="software", on_lost=on_lost)
    yield from bps.stage(camera, wait=True)
    yield from bps.prepare(camera, request, wait=True)
    yield from bps.declare_stream(camera, *axes, name=stream)
    arrived, exposed = short_uid("arrived"), short_uid("exposed")

    def move_to(point: Sequence[float]) -> MsgGenerator[None]:
        for axis, position in zip(axes, point, strict=True):
            yield Msg("set", axis, position, group=arrived)

    yield from move_to(points[0])
    for following in [*points[1:], None]:
        yield Msg("wait", None, group=arrived)
        yield Msg("trigger", camera, group=exposed)
        yield Msg("wait", None, group=exposed)
        yield Msg("create", None, name=stream)
        for axis in axes:
            yield Msg("read", axis)
        if following is not None:
            yield from move_to(following)
        yield Msg("read", camera)
        yield Msg("save")
    yield from bps.complete(camera, wait=True)
    yield from bps.unstage(camera, wait=True)
    yield from collect_ledger(camera)


def finish_stream(camera: FrameCamera, stream: str | None) -> MsgGenerator[None]:
    """Stop the camera, describe the frames that are safe, and put the ledger into the run."""
    # Unstage first: only then is the last frame that anybody stored known.
    yield from bps.unstage(camera, wait=True)
    if stream is not None:
        yield from bps.collect(camera, name=stream)
    yield from collect_ledger(camera)


def collect_ledger(camera: FrameCamera) -> MsgGenerator[None]:
    """Put the ledgers of the streams that ended into the run's ``ledger`` stream."""
    yield from bps.collect(camera.account, name="ledger")


def take_darks(
    camera: FrameCamera, beam: Beam, count: int, *, on_lost: OnLost = "fail"
) -> MsgGenerator[None]:
    """Take frames without beam into the stream ``darks``."""
    yield from beam_off(beam)
    yield from take_frames(camera, count, "darks", on_lost=on_lost)


def take_flats(
    camera: FrameCamera,
    beam: Beam,
    sample_stage: Stage,
    flat_position: float,
    count: int,
    *,
    on_lost: OnLost = "fail",
) -> MsgGenerator[None]:
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
    """
    yield from bps.mv(sample_stage, flat_position)
    yield from beam_on(beam)
    yield from take_frames(camera, count, "flats", on_lost=on_lost)
    yield from beam_off(beam)


def move_together(*moves: tuple[Any, float]) -> MsgGenerator[None]:
    """Move several axes at once and wait for all."""
    group = short_uid("together")
    for axis, position in moves:
        yield Msg("set", axis, position, group=group)
    yield Msg("wait", None, group=group)


def observed_streams(plan: MsgGenerator[Any], seen: list[str | None]) -> MsgGenerator[Any]:
    """Pass a plan's messages on; ``seen[0]`` is the fly stream that is declared and not collected."""
    response: Any = None
    error: BaseException | None = None
    while True:
        try:
            message = plan.send(response) if error is None else plan.throw(error)
        except StopIteration as stop:
            return stop.value
        error = None
        if message.command == "declare_stream":
            seen[0] = message.kwargs["name"] if len(message.args) == 1 else None
        try:
            response = yield message
        except GeneratorExit:
            plan.close()
            raise
        except BaseException as thrown:
            error = thrown


def each(blocks: Iterable[MsgGenerator[Any]]) -> MsgGenerator[None]:
    """Run plans one after the other."""
    for block in blocks:
        yield from block
