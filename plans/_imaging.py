"""What every imaging plan has in common: darks, flats, and projections of its own kind."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from bluesky.utils import MsgGenerator

from concertino import ParameterError
from concertino.frames import FrameRequest
from concertino.units import QuantityLike, convert_count

from ._frames import OnLost, take_darks, take_flats
from ._metadata import imaging_metadata, quantity
from ._parameters import check_devices, check_request, motor_position, motor_unit
from ._run import Block, imaging_run, ordered
from ._safety import Cleanup

Trigger = Literal["internal", "software", "edge"]

DEFAULT_ORDER: Sequence[str] = ("darks", "flats", "projections")


@dataclass
class Imaging:
    """The part of an imaging plan's parameters that all of them take, as they were given.

    `numbers` has the frames of each stream; the user knows each as ``num_<stream>``.
    """

    camera: Any
    beam: Any
    sample_stage: Any
    radio_position: QuantityLike
    flat_position: QuantityLike
    numbers: Mapping[str, int]
    order: Sequence[str]
    on_lost: OnLost
    md: Mapping[str, Any] | None


@dataclass
class Projections:
    """What distinguishes one imaging plan from another.

    Parameters
    ----------
    plan_name : str
        Name of the plan.
    take : callable
        Takes the radio position in the sample stage's unit; returns the messages.
    tomo : dict
        Fields of the `TomoBlock`.
    motors : dict
        What moves besides the sample stage, by its part in the plan.
    plan_args : dict
        Its own parameters, JSON-safe.
    restore : sequence of callable
        Each returns the messages that bring a setting back.
    trigger : {"internal", "software", "edge"}
        Who starts an exposure.
    """

    plan_name: str
    take: Callable[[float], MsgGenerator[None]]
    tomo: dict[str, Any]
    motors: dict[str, Any] = field(default_factory=dict)
    plan_args: dict[str, Any] = field(default_factory=dict)
    restore: Sequence[Cleanup] = ()
    trigger: Trigger = "internal"


@dataclass
class Acquisitions:
    """The acquisitions of a plan, whatever they are.

    Parameters
    ----------
    plan_name : str
        Name of the plan.
    blocks : callable
        Takes the radio and the flat position in the sample stage's unit; returns for each stream
        what gives the messages of its acquisition.
    tomo : dict
        Fields of the `TomoBlock`.
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
    """

    plan_name: str
    blocks: Callable[[float, float], Mapping[str, Block]]
    tomo: dict[str, Any]
    motors: dict[str, Any] = field(default_factory=dict)
    plan_args: dict[str, Any] = field(default_factory=dict)
    restore: Sequence[Cleanup] = ()
    triggers: Mapping[str, Trigger] = field(default_factory=dict)
    metadata: Mapping[str, Any] = field(default_factory=dict)


def imaging_numbers(num_darks: int, num_flats: int, num_projections: int) -> dict[str, int]:
    """Return the frames of each stream of an imaging plan, as they were asked for."""
    return {"darks": num_darks, "flats": num_flats, "projections": num_projections}


def checked_counts(asked: Imaging) -> dict[str, int]:
    """Return the number of frames of each stream that is to be taken, in order.

    Raises
    ------
    ParameterError
        If a number is not positive, or something is not a device.
    """
    check_devices(asked.camera, asked.beam, asked.sample_stage)
    counts = {
        stream: convert_count(number, parameter=f"num_{stream}")
        for stream, number in asked.numbers.items()
    }
    if asked.on_lost not in ("fail", "flag"):
        raise ParameterError(
            f"on_lost: {asked.on_lost!r} was given; give 'fail' to fail the run when frames are "
            "lost, or 'flag' to only note it in the ledger."
        )
    ordered(dict.fromkeys(counts, _nothing), asked.order)
    return {name: counts[name] for name in asked.order}


def check_requests(
    asked: Imaging, frames: Mapping[str, int], triggers: Mapping[str, Trigger]
) -> MsgGenerator[None]:
    """Ask the camera whether it can deliver the frames of each stream.

    Parameters
    ----------
    asked : Imaging
        Parameters that all imaging plans take.
    frames : mapping
        From `checked_counts`.
    triggers : mapping
        Who starts an exposure, for the streams that are not taken at the camera's own pace.

    Raises
    ------
    CameraError
        If it cannot.
    """
    for kind, count in frames.items():
        by = triggers.get(kind, "internal")
        yield from check_request(asked.camera, FrameRequest(count, kind, by, asked.on_lost))


def imaging_plan(
    asked: Imaging, frames: Mapping[str, int], projections: Projections
) -> MsgGenerator[str]:
    """Run darks, flats and projections as one run, in the order asked for.

    Parameters
    ----------
    asked : Imaging
        Parameters that all imaging plans take.
    frames : mapping
        From `checked_counts`.
    projections : Projections
        What this plan does.

    Returns
    -------
    str
        The run's uid.
    """
    camera, beam, stage, lost = asked.camera, asked.beam, asked.sample_stage, asked.on_lost

    def blocks(radio: float, flat: float) -> dict[str, Block]:
        return {
            "darks": lambda: take_darks(camera, beam, frames["darks"], on_lost=lost),
            "flats": lambda: take_flats(camera, beam, stage, flat, frames["flats"], on_lost=lost),
            "projections": lambda: projections.take(radio),
        }

    acquisitions = Acquisitions(
        projections.plan_name,
        blocks,
        tomo={"num_projections": frames.get("projections", 0), **projections.tomo},
        motors=projections.motors,
        plan_args=projections.plan_args,
        restore=projections.restore,
        triggers={"projections": projections.trigger},
    )
    return (yield from acquisitions_plan(asked, frames, acquisitions))


def acquisitions_plan(
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
    camera, beam, stage = asked.camera, asked.beam, asked.sample_stage
    radio = yield from motor_position(stage, asked.radio_position, "radio_position")
    flat = yield from motor_position(stage, asked.flat_position, "flat_position")
    unit = yield from motor_unit(stage)
    yield from check_requests(asked, frames, acquisitions.triggers)
    metadata = yield from imaging_metadata(
        acquisitions.plan_name,
        camera,
        beam,
        {"sample_stage": stage, **acquisitions.motors},
        {
            "radio_position": quantity(radio, unit),
            "flat_position": quantity(flat, unit),
            **{f"num_{name}": count for name, count in frames.items()},
            **acquisitions.plan_args,
            "order": list(asked.order),
            "on_lost": asked.on_lost,
        },
        frames,
        tomo=acquisitions.tomo,
        md={**acquisitions.metadata, **(asked.md or {})},
    )
    return (
        yield from imaging_run(
            ordered(acquisitions.blocks(radio, flat), asked.order),
            camera=camera,
            beam=beam,
            motors=[*acquisitions.motors.values(), stage],
            restore=acquisitions.restore,
            md=metadata,
        )
    )


def _nothing() -> MsgGenerator[None]:
    yield from ()
