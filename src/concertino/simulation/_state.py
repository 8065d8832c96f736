"""What the devices of the beamline were doing during one exposure."""

import math
from dataclasses import dataclass

from concertino import ParameterError


@dataclass(frozen=True)
class BeamlineState:
    """The state of the beamline from the start to the end of one exposure.

    Parameters
    ----------
    time_s : float
        Start of the exposure, in s since the beamline began; the slow drifts follow it.
    beam_on : float
        Part of the exposure, 0 to 1, during which beam reached the sample.
    angle_start_rad, angle_end_rad : float
        Angle of the rotation stage when the exposure starts and ends, in rad. Without an end the
        stage stands still.
    sample_offset_mm : (float, float)
        Shift of sample and rotation axis out of the beam's centre to the right and up, in mm.
    sample_offset_end_mm : (float, float), optional
        The same at the end of the exposure, if the sample stage moves.
    ring_current_ma : float, optional
        Current in the storage ring, in mA; None for the nominal one.
    grating_position_um : float
        Position of the stepped grating, if the beamline has one, in um.
    tube_current_ma, tube_voltage_kv : float, optional
        Current and voltage of an X-ray tube, in mA and kV; None for the nominal ones.
    axis_tilt_rad : (float, float)
        Roll and pitch, in rad, that the stages under the rotation add to the axis's own.
    focus_mm : float
        Position of the camera along the beam, in mm, if the beamline can be out of focus.
    """

    time_s: float = 0.0
    beam_on: float = 1.0
    angle_start_rad: float = 0.0
    angle_end_rad: float | None = None
    sample_offset_mm: tuple[float, float] = (0.0, 0.0)
    sample_offset_end_mm: tuple[float, float] | None = None
    ring_current_ma: float | None = None
    grating_position_um: float = 0.0
    tube_current_ma: float | None = None
    tube_voltage_kv: float | None = None
    axis_tilt_rad: tuple[float, float] = (0.0, 0.0)
    focus_mm: float = 0.0

    def __post_init__(self) -> None:
        if not 0.0 <= self.beam_on <= 1.0:
            raise ParameterError(
                f"beam_on: {self.beam_on} was given; give the part of the exposure with beam, 0 to "
                "1."
            )
        if not all(
            map(math.isfinite, (self.time_s, self.angle_start_rad, *self.sample_offset_mm))
        ) or not all(
            map(
                math.isfinite,
                (self.angle_stop_rad, *self.sample_stop_mm, *self.axis_tilt_rad, self.focus_mm),
            )
        ):
            raise ParameterError(
                f"The state of a beamline was set to {self!r}; give finite numbers."
            )

    @property
    def angle_stop_rad(self) -> float:
        """Angle at the end of the exposure, in rad."""
        return self.angle_start_rad if self.angle_end_rad is None else self.angle_end_rad

    @property
    def sample_stop_mm(self) -> tuple[float, float]:
        """Sample offset at the end of the exposure, in mm."""
        return self.sample_offset_end_mm or self.sample_offset_mm
