"""Stepped tomography: the rotation rests while a frame is taken."""

from collections.abc import Sequence
from typing import Any

from bluesky.protocols import Movable, Readable
from bluesky.utils import MsgGenerator

from concertino.units import QuantityLike

from .core._cameras import Cameras, OnLost
from .core._described import described
from .imaging._acquisition import Darks, Flats
from .imaging._imaging_scan import DEFAULT_ORDER, ImagingScan
from .imaging._projections import StepProjections
from .imaging._scheme_values import SchemeLike
from .imaging._take_scan import take_scan
from .stubs._triggers import TriggerLike, who_starts


@described
def step_tomography(
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
    angular_range: QuantityLike | None = None,
    start_angle: QuantityLike = "0 deg",
    scheme: SchemeLike = "equidistant",
    trigger: TriggerLike = "software",
    half_acquisition: bool = False,
    rotation_axis: QuantityLike | None = None,
    order: Sequence[str] = DEFAULT_ORDER,
    on_lost: OnLost = "fail",
    per_frame: Sequence[Readable[Any]] = (),
    md: dict[str, Any] | None = None,
) -> MsgGenerator[str]:
    """Take darks, flats and one projection at each of some angles, as one run.

    Without another scheme they are ``start + i * range / N``, the end excluded. Each event of the stream
    ``projections`` has the rotation's read-back.

    Parameters
    ----------
    camera : device, or sequence of devices
        The camera, with a frame stream; takes software triggers. Of several, which expose together, each has
        streams of its own: those of the first have the plain names.
    rotation : device
        Rotation stage; one whose unit is no angle is taken to be in deg.
    beam : device
        The shutter or tube: takes True for beam, False for none. A tube's says so by its attribute
        ``source_kind``; ``SignalBeam(…, source_kind="tube")`` gives one to any device.
    sample_stage, radio_position, flat_position
    num_darks, num_flats, num_projections : int
        Number of frames without beam, without sample, and with both.
    angular_range : quantity, optional
        Angle to cover; a plain number is in deg. By default 180 deg, and 360 deg in half acquisition
        or when the beam says that it is a tube's (``beam.source_kind == "tube"``): opposite views
        of a cone differ.
    start_angle
    scheme : AngleScheme, str or list of float
        Which angles and in which order: ``"equidistant"``, ``"golden_ratio"``, ``"timbir"``, a
        scheme such as ``Timbir(rounds=4)``, or as many angles as projections, in deg.
    trigger : str or TriggerDevice
        ``"software"``, or a device that gives a pulse to the camera's input at each angle.
    half_acquisition, rotation_axis, order, on_lost, per_frame, md

    Examples
    --------
    >>> from concertino.devices import SimulatedBeamline
    >>> from concertino.plans import step_tomography
    >>> b = SimulatedBeamline(shape=(16, 16))
    >>> plan = step_tomography(b.camera, b.rotation, b.beam, b.sample_stage,
    ...                        radio_position=0, flat_position=10, num_projections=90)
    """
    started_by, device = who_starts(trigger)
    projections = StepProjections(
        number=num_projections, angular_range=angular_range, start_angle=start_angle, scheme=scheme,
        trigger=started_by, half_acquisition=half_acquisition, rotation_axis=rotation_axis,
    )  # fmt: skip
    scan = ImagingScan(
        plan="step_tomography",
        acquisitions=[Darks(number=num_darks), Flats(number=num_flats), projections],
        radio_position=radio_position, flat_position=flat_position, order=order, on_lost=on_lost,
    )  # fmt: skip
    motors = {"rotation": rotation}
    return (
        yield from take_scan(
            scan, camera, beam, sample_stage, motors, trigger=device, per_frame=per_frame, md=md
        )
    )
