"""The ``grating`` block of a start document: how the fringes were stepped."""

from typing import ClassVar, Literal, TypeAlias

from pydantic import Field, FiniteFloat, PositiveFloat

from ._block import StartBlock

REFERENCE_STEPPING = "reference_stepping"
OBJECT_STEPPING = "object_stepping"

SteppedGrating: TypeAlias = Literal["analyser", "phase", "source"]


class GratingBlock(StartBlock):
    """The phase stepping of a run with a grating interferometer, version 1.

    A start document carries ``block.model_dump(mode="json")`` under ``"grating"``.

    Parameters
    ----------
    version : int
        Of this block.
    period_um : float
        Period of the grating that was stepped, in um.
    num_periods, num_steps_per_period : int
        Frame ``i`` of a stepping is at ``start + i * period / num_steps_per_period``.
    start_um : float
        Position of the first step, in um.
    propagation_distance_mm : float, optional
        From sample to analyser grating, in mm.
    stepping : str
        Name of the stepping motor.
    stepped : {"analyser", "phase", "source"}
        Which grating was stepped.
    direction : {1, -1}
        1 if larger positions of the motor are towards larger columns of the frame, -1 if towards
        smaller ones.
    analyser_period_um : float, optional
        Period of the analyser grating, which is that of the fringes there, in um; `period_um` when the
        analyser was stepped.

    Examples
    --------
    >>> from concertino.documents import GratingBlock
    >>> GratingBlock(period_um=2.4, num_steps_per_period=8, start_um=0, stepping="g2").num_steps
    8
    """

    NAME: ClassVar[str] = "grating"
    WITHOUT: ClassVar[str] = (
        "so it is no phase stepping. Record it with concertino.plans.grating_stepping"
    )

    period_um: PositiveFloat
    num_periods: int = Field(default=1, ge=1)
    num_steps_per_period: int = Field(ge=3)
    start_um: FiniteFloat
    propagation_distance_mm: PositiveFloat | None = None
    stepping: str
    stepped: SteppedGrating = "analyser"
    direction: Literal[1, -1] = 1
    analyser_period_um: PositiveFloat | None = None

    @property
    def refraction_sign(self) -> int:
        """1 if light that is refracted towards larger columns increases the phase, -1 if it lowers it.

        The fringes move with the light. Stepping the phase grating moves them, too; the analyser is
        stepped after them, and the source grating moves them the other way.
        """
        return self.direction * (1 if self.stepped == "phase" else -1)

    @property
    def fringe_period_um(self) -> float | None:
        """Period of the fringes at the analyser, in um; None when it is not known."""
        if self.stepped == "analyser":
            return self.period_um
        return self.analyser_period_um

    @property
    def num_steps(self) -> int:
        """Frames of each stepping."""
        return self.num_periods * self.num_steps_per_period
