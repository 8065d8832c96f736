"""Acquisitions of any kind as one run: checked, rehearsed, pausable, with metadata and a safe end."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from bluesky import Msg
from bluesky.utils import MsgGenerator

from concertino.documents import IMAGE_KINDS

from ._cameras import Trigger
from ._frames import move_together
from ._hold import Hold
from ._imaging import Imaging
from ._interruptible import Interruptible
from ._metadata import imaging_metadata, quantity
from ._parameters import motor_position, motor_unit
from ._pieces import Piece, Take, Work
from ._preflight import checked_run
from ._roles import check_roles
from ._run import imaging_run
from ._safety import Cleanup, motor_off, run_safely
from ._sample_use import SampleToTheEnd
from ._scan_so_far import scan_so_far


@dataclass(frozen=True)
class Acquisitions:
    """The acquisitions of a plan, whatever they are.

    Parameters
    ----------
    plan_name : str
        Name of the plan.
    blocks : callable
        Takes the radio and the flat position in the sample stage's unit; returns for each stream
        what takes a piece of it. `Imaging.around` gives those of a plan whose projections alone are its own.
    tomo : dict
        Fields of the `TomoBlock`; the number of projections, if it is another than that of their stream.
    motors : dict
        What moves besides the sample stage, by its part in the plan.
    plan_args : dict
        Its own parameters, JSON-safe.
    restore : sequence of callable
        Each returns the messages that bring a setting back.
    triggers : mapping
        Who starts an exposure, for the streams that are not taken at the camera's own pace.
    metadata : mapping
        More for the start document.
    whole : sequence of str
        Streams that are taken as a whole or not at all, because their frames belong together.
    interruptible : bool
        False: it does not pause, and takes no pieces.
    max_blur_px : float, optional
        Refuse more motion blur than this, in px; None: more than 1 px is warned about.
    afterwards : sequence of (device, float)
        Where axes go when the run is closed, in their unit, as its data do not wait for that; or after the
        projections, if these are not last.
    """

    plan_name: str
    blocks: Callable[[float, float], Mapping[str, Take]]
    tomo: dict[str, Any]
    motors: dict[str, Any] = field(default_factory=dict)
    plan_args: dict[str, Any] = field(default_factory=dict)
    restore: Sequence[Cleanup] = ()
    triggers: Mapping[str, Trigger] = field(default_factory=dict)
    metadata: Mapping[str, Any] = field(default_factory=dict)
    whole: Sequence[str] = ()
    interruptible: bool = True
    max_blur_px: float | None = None
    afterwards: Sequence[tuple[Any, float]] = ()


def imaging_plan(
    asked: Imaging, frames: Mapping[str, int], acquisitions: Acquisitions
) -> MsgGenerator[str]:
    """Run acquisitions as one run, in the order asked for.

    Parameters
    ----------
    asked : Imaging
        Parameters that all imaging plans take.
    frames : mapping
        From `checked_counts`.
    acquisitions : Acquisitions
        What this plan does.

    Returns
    -------
    str
        The run's uid.
    """
    beam, stage = asked.beam, asked.sample_stage
    motors = {"sample_stage": stage, **acquisitions.motors}
    yield from check_roles(beam, motors)
    scan = yield from scan_so_far()
    if scan.missing is not None:
        asked.check_one_camera("a scan of several cannot be resumed")
    why_no_pause = _why_no_pause(asked, acquisitions)
    radio = yield from motor_position(stage, asked.radio_position, "radio_position")
    flat = yield from motor_position(stage, asked.flat_position, "flat_position")
    unit = yield from motor_unit(stage)
    yield from asked.check_requests(frames, acquisitions.triggers)

    def work() -> Work:
        return Work(
            frames, scan.missing, scan.names,
            whole=acquisitions.whole, averaged=averaged(frames, acquisitions.tomo),
        )  # fmt: skip

    metadata = yield from imaging_metadata(
        acquisitions.plan_name,
        asked.cameras,
        beam,
        motors,
        {
            "radio_position": quantity(radio, unit),
            "flat_position": quantity(flat, unit),
            **{f"num_{name}": count for name, count in frames.items()},
            **acquisitions.plan_args,
            "order": list(asked.order),
            "on_lost": asked.on_lost,
            **({} if asked.cameras.readout == "direct" else {"readout": asked.cameras.readout}),
        },
        frames,
        tomo={"num_projections": frames.get("projections", 0), **acquisitions.tomo},
        announced=work().announced(),
        md={**acquisitions.metadata, **scan.metadata, **(asked.md or {})},
    )
    yield from scan.check(metadata)
    takes, afterwards = dict(acquisitions.blocks(radio, flat)), acquisitions.afterwards
    if list(frames)[-1] != "projections":  # A run without projections moves nothing back.
        if "projections" in frames:
            takes["projections"] = partial(_and_back, takes["projections"], afterwards)
        afterwards = ()
    elif scan.missing is not None and not scan.missing.get("projections"):
        afterwards = ()  # Nor does the rest of a scan that has them all.
    axes = [*acquisitions.motors.values(), stage]

    def run(md: Mapping[str, Any], rehearsed: bool) -> MsgGenerator[str]:
        hold = None if rehearsed else scan.hold  # Nobody holds a rehearsal.
        frames_of = Interruptible(
            asked.cameras.first, takes, work(), hold, may_pause=not why_no_pause, axes=axes
        )
        plan = imaging_run(
            frames_of.blocks(),
            camera=asked.cameras,
            beam=beam,
            motors=axes,
            restore=[frames_of.flag_spoiled, *acquisitions.restore],
            md=md,
        )
        return plan if hold is None else _heard(plan, hold, why_no_pause)

    uid = yield from checked_run(run, metadata, acquisitions.max_blur_px)
    if afterwards:
        yield from run_safely(
            move_together(*afterwards), *(partial(motor_off, axis) for axis, _ in afterwards)
        )
    return uid


def _and_back(
    take: Take, places: Sequence[tuple[Any, float]], piece: Piece, hold: Hold | None
) -> MsgGenerator[bool]:
    """Take projections and move back: flats are of the sample as it stood before."""
    whole = yield from take(piece, hold)
    if places:
        yield from move_together(*places)
    return whole


def _why_no_pause(asked: Imaging, acquisitions: Acquisitions) -> str:
    """Return why a run cannot pause between frames; nothing if it can."""
    if asked.cameras.others:
        names = ", ".join(camera.name for camera in asked.cameras.cameras)
        return f"several cameras ({names}) would not agree on which frames are missing"
    if asked.cameras.readout != "direct":
        return f"{asked.cameras.first.name} records its frames first and reads them out later"
    if not acquisitions.interruptible:
        return f"{acquisitions.plan_name} takes its frames as a whole"
    return ""


def _heard(plan: MsgGenerator[str], hold: Hold, why_no_pause: str) -> MsgGenerator[str]:
    """Run a plan that hears a switch, or cannot; what was asked before waits for it."""
    if why_no_pause:
        yield from hold.wait()
    with hold.scanning(why_no_pause):
        return (yield from plan)


def undivided(block: Callable[[], MsgGenerator[Any]]) -> Take:
    """Return what takes a stream that comes in no pieces."""

    def take(piece: Piece, hold: Hold | None) -> MsgGenerator[bool]:
        yield Msg("null", None, SampleToTheEnd())
        yield from block()
        return True

    return take


def averaged(frames: Mapping[str, int], tomo: Mapping[str, Any]) -> list[str]:
    """Return the streams whose frames are averaged: of darks and flats."""
    kinds = tomo.get("image_kinds", IMAGE_KINDS)
    return [stream for stream in frames if kinds.get(stream) in ("dark", "flat")]
