"""Device kinds that a reconstruction needs: energy, pixel size, distances.

References
----------
Constants of CODATA 2018, exact by definition, https://physics.nist.gov/cuu/Constants/
"""

from collections.abc import Mapping
from typing import ClassVar

from concertino import DeviceError

from ._device_kind import DeviceKind
from ._value import Source

_PLANCK_JS, _LIGHT_MS, _CHARGE_C = 6.62607015e-34, 299792458.0, 1.602176634e-19
#: Planck's constant times the speed of light, in keV and angstrom.
HC_KEV_ANGSTROM = _PLANCK_JS * _LIGHT_MS / _CHARGE_C * 1e7
#: How far energy and wavelength may be from one another, as a part of it.
_SAME = 1e-3


class Monochromator(DeviceKind):
    """What chooses the energy of the photons, by energy or by wavelength: ``E = h c / wavelength``.

    Parameters
    ----------
    energy : Readable or quantity, optional
        A plain number is in keV.
    wavelength : Readable or quantity, optional
        A plain number is in angstrom.
    bandwidth : Readable or quantity, optional
        As a part of the energy.
    name, camera, units
        As for `DeviceKind`.

    Examples
    --------
    >>> from concertino.devices import Monochromator
    >>> sorted(Monochromator(energy="20 keV").values)
    ['energy']
    """

    VALUES: ClassVar[Mapping[str, str | None]] = {
        "energy": "keV", "wavelength": "angstrom", "bandwidth": "",
    }  # fmt: skip
    KIND: ClassVar[str] = "monochromator"

    def __init__(
        self,
        *,
        energy: Source | None = None,
        wavelength: Source | None = None,
        bandwidth: Source | None = None,
        name: str = "",
        camera: str = "",
        units: Mapping[str, str] | None = None,
    ) -> None:
        values = {"energy": energy, "wavelength": wavelength, "bandwidth": bandwidth}
        super().__init__(values, name=name, camera=camera, units=units)

    async def _optics(self) -> dict[str, float]:
        energy, wavelength = await self.get("energy"), await self.get("wavelength")
        if wavelength is None:
            return {} if energy is None else {"energy_kev": energy}
        follows = HC_KEV_ANGSTROM / wavelength if wavelength > 0 else 0.0
        if energy is not None and abs(follows - energy) > _SAME * abs(energy):
            raise DeviceError(
                f"{self.name} tells an energy of {energy:g} keV and a wavelength of {wavelength:g} angstrom, which is "
                f"{follows:g} keV. Calibrate it, or give only the one that is right."
            )
        return {"energy_kev": follows if energy is None else energy}


class LensChanger(DeviceKind):
    """What magnifies between scintillator and camera: the pixel in the plane of the sample follows.

    Parameters
    ----------
    magnification : Readable or quantity, optional
        How many times.
    objective : Readable or str, optional
        Name or number of the lens in the beam; `magnifications` tells what it is then.
    magnifications : mapping of str to float, optional
        Of each objective.
    scintillator : Readable or str, optional
        What is behind the sample.
    name, camera, units
        As for `DeviceKind`.

    Examples
    --------
    >>> from ophyd_async.core import soft_signal_rw
    >>> from concertino.devices import LensChanger
    >>> turret = soft_signal_rw(str, "10x", name="turret")
    >>> lens = LensChanger(objective=turret, magnifications={"5x": 5, "10x": 10})
    """

    VALUES: ClassVar[Mapping[str, str | None]] = {
        "magnification": "", "objective": None, "scintillator": None,
    }  # fmt: skip
    KIND: ClassVar[str] = "lens_changer"

    def __init__(
        self,
        *,
        magnification: Source | None = None,
        objective: Source | None = None,
        magnifications: Mapping[str, float] | None = None,
        scintillator: Source | None = None,
        name: str = "",
        camera: str = "",
        units: Mapping[str, str] | None = None,
    ) -> None:
        self._magnifications = dict(magnifications or {})
        values = {
            "magnification": magnification, "objective": objective, "scintillator": scintillator,
        }  # fmt: skip
        super().__init__(values, name=name, camera=camera, units=units)

    async def _optics(self) -> dict[str, float]:
        found = await self.get("magnification")
        if self._magnifications and "objective" in self.values:
            lens = str(await self.values["objective"].present())
            if lens not in self._magnifications:
                raise DeviceError(
                    f"{self.name} has the objective {lens!r} in the beam; magnifications are known of "
                    f"{', '.join(self._magnifications)}. Choose one of these, or add it."
                )
            follows = float(self._magnifications[lens])
            if found is not None and abs(found - follows) > _SAME * follows:
                raise DeviceError(
                    f"{self.name} tells a magnification of {found:g}, and the objective {lens!r} has {follows:g}. "
                    "Give only the one that is right."
                )
            found = follows
        if found is None:
            return {}
        if not found > 0:
            raise DeviceError(
                f"{self.name} tells a magnification of {found:g}. Give one that is more than 0."
            )
        return {"magnification": found}


class DetectorStage(DeviceKind):
    """What holds the detector behind the sample.

    Parameters
    ----------
    distance : Readable or quantity, optional
        From sample to detector; a plain number is in mm.
    source_distance : Readable or quantity, optional
        From source to sample; a plain number is in mm. The beam magnifies by it.
    offset : quantity
        Added to what `distance` reads; a plain number is in mm.
    name, camera, units
        As for `DeviceKind`.

    Examples
    --------
    >>> from concertino.devices import DetectorStage
    >>> stage = DetectorStage(distance="12 cm", source_distance="44 m")
    """

    VALUES: ClassVar[Mapping[str, str | None]] = {
        "distance": "mm", "source_distance": "mm", "offset": "mm",
    }  # fmt: skip
    KIND: ClassVar[str] = "detector_stage"

    def __init__(
        self,
        *,
        distance: Source | None = None,
        source_distance: Source | None = None,
        offset: Source | None = None,
        name: str = "",
        camera: str = "",
        units: Mapping[str, str] | None = None,
    ) -> None:
        values = {"distance": distance, "source_distance": source_distance, "offset": offset}
        super().__init__(values, name=name, camera=camera, units=units)

    async def _optics(self) -> dict[str, float]:
        distance, source = await self.get("distance"), await self.get("source_distance")
        found = {}
        if distance is not None:
            found["propagation_distance_mm"] = distance + (await self.get("offset") or 0.0)
        if source is not None:
            found["source_distance_mm"] = source
        return found


class TubeSettings(DeviceKind):
    """How an X-ray tube is set; what switches it is the beam.

    Parameters
    ----------
    voltage : Readable or quantity, optional
        A plain number is in kV.
    current : Readable or quantity, optional
        A plain number is in uA.
    target : Readable or str, optional
        Its material.
    power_limit : Readable or quantity, optional
        A plain number is in W. A scan with more is refused.
    name, camera, units
        As for `DeviceKind`.

    Examples
    --------
    >>> from concertino.devices import SimulatedTube, TubeSettings
    >>> tube = SimulatedTube(name="tube")
    >>> settings = TubeSettings(voltage=tube.voltage, current=tube.current, target="W", power_limit="80 W")
    """

    VALUES: ClassVar[Mapping[str, str | None]] = {
        "voltage": "kV", "current": "uA", "target": None, "power_limit": "W",
    }  # fmt: skip
    KIND: ClassVar[str] = "tube_settings"

    def __init__(
        self,
        *,
        voltage: Source | None = None,
        current: Source | None = None,
        target: Source | None = None,
        power_limit: Source | None = None,
        name: str = "",
        camera: str = "",
        units: Mapping[str, str] | None = None,
    ) -> None:
        values = {
            "voltage": voltage, "current": current, "target": target, "power_limit": power_limit,
        }  # fmt: skip
        super().__init__(values, name=name, camera=camera, units=units)

    async def _optics(self) -> dict[str, float]:
        voltage, current = await self.get("voltage"), await self.get("current")
        limit = await self.get("power_limit")
        if None not in (voltage, current, limit):
            power = (voltage or 0.0) * (current or 0.0) / 1e3
            if power > (limit or 0.0):
                raise DeviceError(
                    f"{self.name} is set to {voltage:g} kV and {current:g} uA, which are {power:g} W; its target takes "
                    f"{limit:g} W. Set a lower voltage or current."
                )
        return {}
