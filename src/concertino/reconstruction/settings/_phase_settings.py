"""What phase retrieval must be told."""

import logging
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, Field, field_validator, model_validator

LOG = logging.getLogger("concertino.reconstruction")

_HIGHEST_KEV = 1000.0
_LOWEST_KEV = 0.1  # the water window begins at 0.28
_NEAREST_MM, _FARTHEST_MM = 1.0, 3e5  # no sample and detector are so near, no hall is so long
_FINEST_UM = 0.002  # a fifth of what the finest microscopes have

PhaseMethod = Literal["none", "tie", "ctf", "qp", "qp2"]


class PhaseSettings(BaseModel):
    """Phase retrieval before -log; lengths in the units of the names."""

    phase_method: PhaseMethod = Field(
        "none",
        description="'tie': one material (Paganin), gives attenuation; 'ctf', 'qp', 'qp2': weak "
        "absorption, gives the phase shift in rad per px.",
    )
    energy_kev: float | None = Field(
        None, gt=0, description="Photon energy in keV; that of the run by default."
    )
    propagation_distance_mm: float | None = Field(
        None, gt=0, description="From sample to detector in mm; that of the run by default."
    )
    pixel_size_um: float | None = Field(
        None,
        gt=0,
        description="Detector pixel in um, as it was binned; that of the run by default.",
    )
    delta_beta: float | None = Field(
        None, gt=0, description="'tie': refractive decrement over absorption index of the material."
    )
    amplification: float = Field(
        1e4,
        gt=1,
        description="'ctf', 'qp', 'qp2': how much frequencies that the image hardly shows, the low ones among "
        "them, are amplified at most. Less gives less noise, and too low values of what is large.",
    )
    thresholding_rate: float = Field(
        0.01, gt=0, lt=1, description="'qp', 'qp2': |sin| below which a frequency counts as lost."
    )
    delta: float | None = Field(
        None, gt=0, description="Refractive decrement: 'ctf', 'qp' and 'qp2' then give its share."
    )

    @model_validator(mode="before")
    @classmethod
    def _regularization_has_a_name(cls, values: Any) -> Any:
        if isinstance(values, Mapping) and "regularization_rate" in values:
            rate = values["regularization_rate"]
            raise ValueError(
                f"regularization_rate was given, {rate!r}, which meant one thing or the other; give "
                "delta_beta, 10 to the power of it, for 'tie', or amplification for the other methods"
            )
        return values

    @field_validator("energy_kev")
    @classmethod
    def _is_in_kev(cls, energy: float | None) -> float | None:
        if energy is not None and energy > _HIGHEST_KEV:
            raise ValueError(
                f"{energy:g} keV is no energy of X-ray imaging; if it was meant in eV, give {energy / 1e3:g}"
            )
        if energy is not None and energy < _LOWEST_KEV:
            raise ValueError(
                f"{energy:g} keV is no energy of X-ray imaging; if it was meant in MeV, give {energy * 1e3:g}"
            )
        return energy

    @field_validator("propagation_distance_mm")
    @classmethod
    def _is_in_mm(cls, distance: float | None) -> float | None:
        if distance is not None and distance > _FARTHEST_MM:
            LOG.warning(
                "propagation_distance_mm: %g mm are %g m, farther than any detector; if it was meant in um, give %g",
                distance, distance / 1e3, distance / 1e3,
            )  # fmt: skip
        elif distance is not None and distance < _NEAREST_MM:
            LOG.warning(
                "propagation_distance_mm: %g mm show no phase; if it was meant in m, give %g",
                distance, distance * 1e3,
            )  # fmt: skip
        return distance

    @field_validator("pixel_size_um")
    @classmethod
    def _is_in_um(cls, pixel: float | None) -> float | None:
        if pixel is not None and pixel < _FINEST_UM:
            raise ValueError(
                f"{pixel:g} um is no pixel of a detector; if it was meant in mm, give {pixel * 1e3:g}, "
                f"if in m, {pixel * 1e6:g}"
            )
        return pixel

    def phase_parameters_missing(self) -> list[str]:
        """Names of settings that the method needs and that are not given."""
        if self.phase_method == "none":
            return []
        needed = {
            "energy_kev": self.energy_kev,
            "propagation_distance_mm": self.propagation_distance_mm,
            "pixel_size_um": self.pixel_size_um,
        }
        if self.phase_method == "tie":
            needed["delta_beta"] = self.delta_beta
        return [name for name, value in needed.items() if value is None]
