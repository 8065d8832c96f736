"""Radiography: darks, flats and frames of the sample at rest."""

from collections.abc import Sequence
from typing import Any

import bluesky.plan_stubs as bps
from bluesky.protocols import Movable, Readable
from bluesky.utils import MsgGenerator

from concertino.units import QuantityLike

from ._frames import OnLost, take_frames
from ._imaging import (
    DEFAULT_ORDER,
    Imaging,
    Projections,
    checked_counts,
    imaging_numbers,
    imaging_plan,
)
from ._safety import beam_off, beam_on


def radiography(
    camera: Readable[Any],
    beam: Movable[Any],
    sample_stage: Movable[Any],
    *,
    radio_position: QuantityLike,
    flat_position: QuantityLike,
    num_darks: int = 200,
    num_flats: int = 200,
    num_projections: int = 3000,
    order: Sequence[str] = DEFAULT_ORDER,
    on_lost: OnLost = "fail",
    md: dict[str, Any] | None = None,
) -> MsgGenerator[str]:
    """Take darks, flats and radiographs of the sample at rest, as one run.

    Parameters
    ----------
    camera : device
        The camera, with a frame stream.
    beam : device
        The shutter or tube: takes True for beam, False for none.
    sample_stage : device
        Moves the sample across the beam; linear (mm) or rotary (deg).
    radio_position : quantity
        Where the stage holds the sample in the beam; a plain number is in the stage's unit.
    flat_position : quantity
        Where the stage holds the sample out of the beam; likewise.
    num_darks, num_flats, num_projections : int
        Number of frames without beam, without sample, and with both.
    order : sequence of str
        The acquisitions and their order; one that is not named is left out.
    on_lost : {"fail", "flag"}
        What lost frames do: fail the run, or only stand in its ledger.
    md : dict, optional
        Metadata for the run, such as ``{"sample": "tooth"}``.

    Returns
    -------
    str
        The run's uid.

    Raises
    ------
    ParameterError
        If a parameter cannot work; nothing has moved then.

    Examples
    --------
    >>> from concertino.devices import SimulatedBeamline
    >>> from concertino.plans import radiography
    >>> b = SimulatedBeamline(shape=(16, 16))
    >>> plan = radiography(b.camera, b.beam, b.sample_stage,
    ...                    radio_position="0 mm", flat_position="1 cm", num_projections=10)
    """
    asked = Imaging(
        camera, beam, sample_stage, radio_position, flat_position,
        imaging_numbers(num_darks, num_flats, num_projections), order, on_lost, md,
    )  # fmt: skip
    frames = checked_counts(asked)

    def take(radio: float) -> MsgGenerator[None]:
        yield from bps.mv(sample_stage, radio)
        yield from beam_on(asked.beam)
        yield from take_frames(asked.camera, frames["projections"], "projections", on_lost=on_lost)
        yield from beam_off(asked.beam)

    projections = Projections(
        "radiography", take, tomo={"scheme": "radiography", "acquisition": "single"}
    )
    return (yield from imaging_plan(asked, frames, projections))
