"""Radiography: darks, flats and frames of the sample at rest."""

from collections.abc import Sequence
from typing import Any

from bluesky.protocols import Movable, Readable
from bluesky.utils import MsgGenerator

from concertino.units import QuantityLike

from .core._cameras import Cameras, OnLost, Readout
from .core._described import described
from .imaging._acquisition import Darks, Flats, Radiographs
from .imaging._imaging_scan import DEFAULT_ORDER, ImagingScan
from .imaging._take_scan import take_scan


@described
def radiography(
    camera: Cameras,
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
    readout: Readout = "direct",
    per_frame: Sequence[Readable[Any]] = (),
    md: dict[str, Any] | None = None,
) -> MsgGenerator[str]:
    """Take darks, flats and radiographs of the sample at rest, as one run.

    Parameters
    ----------
    camera : device, or sequence of devices
        The camera, with a frame stream. Of several, which expose together, each has
        streams of its own: those of the first have the plain names.
    beam, sample_stage, radio_position, flat_position
    num_darks, num_flats, num_projections : int
        Number of frames without beam, without sample, and with both.
    order, on_lost, readout, per_frame, md

    Examples
    --------
    >>> from concertino.devices import SimulatedBeamline
    >>> from concertino.plans import radiography
    >>> b = SimulatedBeamline(shape=(16, 16))
    >>> plan = radiography(b.camera, b.beam, b.sample_stage,
    ...                    radio_position="0 mm", flat_position="1 cm", num_projections=10)
    """
    scan = ImagingScan(
        plan="radiography",
        acquisitions=[
            Darks(number=num_darks), Flats(number=num_flats), Radiographs(number=num_projections),
        ],
        radio_position=radio_position, flat_position=flat_position,
        order=order, on_lost=on_lost, readout=readout,
    )  # fmt: skip
    return (yield from take_scan(scan, camera, beam, sample_stage, per_frame=per_frame, md=md))
