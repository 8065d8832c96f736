"""Settings of a reconstruction, completed by what a run's documents say."""

import logging
from typing import Any

from concertino import ParameterError
from concertino.documents import TomoBlock
from concertino.reconstruction import ReconstructionSettings

LOG = logging.getLogger(__name__)

#: How far a value that was given may be from the run's, as a part of it.
_TOLERANCE = 0.01


def described_settings(
    settings: ReconstructionSettings | None, tomo: TomoBlock
) -> ReconstructionSettings:
    """Complete settings by what a run's documents say; what the settings say themselves holds.

    Parameters
    ----------
    settings : ReconstructionSettings or None
        As they were given; None for the defaults.
    tomo : TomoBlock
        The run's geometry: its rotation axis, when known, and whether that is at the edge; where the source of a
        tube's cone and the detector are; and for phase retrieval energy, distance, and the detector's pixel,
        which follows the camera's binning.

    Returns
    -------
    ReconstructionSettings
        The same for live, replayed and batch reconstruction.

    Raises
    ------
    ParameterError
        If a phase retrieval needs what neither the settings nor the run tell.

    Examples
    --------
    >>> from concertino.callbacks import described_settings
    >>> from concertino.documents import TomoBlock
    >>> tomo = TomoBlock(
    ...     scheme="equidistant", acquisition="continuous", num_projections=900, camera="camera",
    ...     start_angle_deg=0, angular_range_deg=360, half_acquisition=True, rotation_axis_px=12.0)
    >>> described_settings(None, tomo).half_acquisition
    True
    """
    given = settings or ReconstructionSettings()
    changes: dict[str, Any] = {}
    if given.center is None and tomo.rotation_axis_px is not None:
        changes["center"] = tomo.rotation_axis_px
    if given.half_acquisition is None and tomo.half_acquisition:
        changes["half_acquisition"] = True
    if given.source_distance is None and tomo.source_kind == "tube":
        changes |= _cone(tomo)
    described = given.updated(**changes) if changes else given
    if given.phase_method == "none":
        return described
    told = {
        "energy_kev": tomo.energy_kev,
        "propagation_distance_mm": tomo.propagation_distance_mm,
        "pixel_size_um": tomo.pixel_size_um and tomo.pixel_size_um * described.magnification,
    }
    phase = {name: value for name, value in told.items() if value}
    mine = given.model_dump(include=set(phase))
    for name, value in phase.items():
        if mine[name] is not None and abs(mine[name] / value - 1) > _TOLERANCE:
            LOG.warning(
                "%s: %g was given for the phase retrieval, and the run was taken with %g. Leave it out to have the "
                "run's.", name, mine[name], value,
            )  # fmt: skip
    described = described.updated(
        **{name: value for name, value in phase.items() if mine[name] is None}
    )
    if missing := described.phase_parameters_missing():
        raise ParameterError(
            f"phase_method: {given.phase_method!r} needs {', '.join(missing)}, which neither the settings nor the run "
            "tell. Give them, or have the scan know them: session.optics.add(Monochromator(…), DetectorStage(…))."
        )
    return described


def _cone(tomo: TomoBlock) -> dict[str, float]:
    """Return where source and detector are, in pixels of the detector, if the run tells it."""
    source, distance, pixel_um = (
        tomo.source_distance_mm, tomo.propagation_distance_mm, tomo.pixel_size_um,
    )  # fmt: skip
    if source is None or distance is None or pixel_um is None:
        return {}
    detector_mm = pixel_um * (source + distance) / source * 1e-3
    return {"source_distance": source / detector_mm, "detector_distance": distance / detector_mm}
