"""Settings of a reconstruction, completed by what a run's documents say."""

from typing import Any

from concertino.documents import TomoBlock
from concertino.reconstruction import ReconstructionSettings


def described_settings(
    settings: ReconstructionSettings | None, tomo: TomoBlock
) -> ReconstructionSettings:
    """Complete settings by what a run's documents say; what the settings say themselves holds.

    Parameters
    ----------
    settings : ReconstructionSettings or None
        As they were given; None for the defaults.
    tomo : TomoBlock
        The run's geometry: its rotation axis, when known, and whether that is at the edge.

    Returns
    -------
    ReconstructionSettings
        The same for live, replayed and batch reconstruction.

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
    return given.updated(**changes) if changes else given
