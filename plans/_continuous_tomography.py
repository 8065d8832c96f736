"""Continuous tomography: the rotation turns steadily while the camera runs freely."""

from collections.abc import Sequence
from typing import Any

from bluesky.protocols import Movable, Readable
from bluesky.utils import MsgGenerator

from concertino.units import QuantityLike

from .core._cameras import Cameras, OnLost, Readout
from .core._described import described
from .imaging._acquisition import Darks, Flats
from .imaging._imaging_scan import DEFAULT_ORDER, ImagingScan
from .imaging._projections import SweepProjections
from .imaging._scheme_values import SchemeLike
from .imaging._take_scan import take_scan
from .stubs._triggers import TriggerLike, who_starts


@described
def continuous_tomography(
    camera: Cameras,
    rotation: Movable[Any],
    beam: Movable[Any],
    sample_stage: Movable[Any],
    *,
    radio_position: QuantityLike,
    flat_position: QuantityLike,
    num_darks: int = 200,
    num_flats: int = 200,
    num_projections: int = 3000,
    num_tomograms: int = 1,
    angular_range: QuantityLike | None = None,
    start_angle: QuantityLike = "0 deg",
    scheme: SchemeLike = "equidistant",
    trigger: TriggerLike = "software",
    half_acquisition: bool = False,
    rotation_axis: QuantityLike | None = None,
    order: Sequence[str] = DEFAULT_ORDER,
    on_lost: OnLost = "fail",
    max_blur: QuantityLike | None = None,
    readout: Readout = "direct",
    unwind: bool = True,
    per_frame: Sequence[Readable[Any]] = (),
    md: dict[str, Any] | None = None,
) -> MsgGenerator[str]:
    """Take darks, flats and projections while the rotation turns steadily, as one run.

    The rotation's velocity is ``frame rate * range / N``, and what it was before returns at the end.
    The camera starts when the rotation has reached it. The stream ``projection_angles`` has the angle
    of each projection in the middle of its exposure: by the rotation's encoder, if it has one that
    records, and otherwise computed from where the rotation was when the camera started.

    Parameters
    ----------
    camera : device, or sequence of devices
        The camera, with a frame stream and a frame rate. Of several, which expose together, each has
        streams of its own: those of the first have the plain names.
    rotation : device
        Rotation stage with a ``velocity``; one whose unit is no angle is taken to be in deg.
    beam, sample_stage, radio_position, flat_position
    num_darks, num_flats, num_projections : int
        Number of frames without beam, without sample, and with both (for each tomogram).
    num_tomograms : int
        A time series of so many tomograms, one after the other while the rotation goes on and on.
    angular_range : quantity, optional
        Angle to cover, by each tomogram; 180 deg by default, and 360 deg in half acquisition. A
        plain number is in deg.
    start_angle
    scheme : AngleScheme or str
        Which angles: ``"equidistant"``, ``MultiTurn(turns=…)`` for several turns whose angles fall between
        one another, or ``Timbir(rounds=…)``, whose rounds begin at uneven distances: for a trigger
        device that knows the rotation's position.
    trigger : str or TriggerDevice
        ``"software"``: the plan starts the camera, which goes on at its frame rate. ``"edge"``: each frame
        is started by a pulse at the camera's input, that somebody gives at that rate. A trigger device, such
        as a PandA: it gives the pulses where the rotation is at the angles, if it knows the
        rotation's position, and at the frame rate otherwise.
    half_acquisition, rotation_axis, order, on_lost, max_blur, readout
    unwind : bool
        Turn back to the start when the run is closed, which takes as long as the velocity that the
        rotation had before allows; `preflight` tells. False: it stays where it stops, and the next scan begins
        with the way back.
    per_frame, md

    Examples
    --------
    >>> from concertino.devices import SimulatedBeamline
    >>> from concertino.plans import continuous_tomography
    >>> b = SimulatedBeamline(shape=(16, 16))
    >>> plan = continuous_tomography(b.camera, b.rotation, b.beam, b.sample_stage,
    ...                              radio_position="0 mm", flat_position="10 mm",
    ...                              num_projections=500, md={"sample": "foam"})
    """
    started_by, device = who_starts(trigger)
    projections = SweepProjections(
        number=num_projections, tomograms=num_tomograms, unwind=unwind,
        angular_range=angular_range, start_angle=start_angle, scheme=scheme, trigger=started_by,
        half_acquisition=half_acquisition, rotation_axis=rotation_axis,
    )  # fmt: skip
    scan = ImagingScan(
        plan="continuous_tomography",
        acquisitions=[Darks(number=num_darks), Flats(number=num_flats), projections],
        radio_position=radio_position, flat_position=flat_position,
        order=order, on_lost=on_lost, readout=readout, max_blur=max_blur,
    )  # fmt: skip
    motors = {"rotation": rotation}
    return (
        yield from take_scan(
            scan, camera, beam, sample_stage, motors, trigger=device, per_frame=per_frame, md=md
        )
    )
